package avro

import (
	"strings"
	"unicode/utf8"
)

const upperHex = "0123456789ABCDEF"

// Name returns the Avro name of an identifier: the identifier itself when it is
// one already ([A-Za-z_][A-Za-z0-9_]*), otherwise with each character that Avro
// does not allow as _xHHHH_, its code point in hexadecimal (six digits above
// U+FFFF), as SQL/XML maps identifiers to XML names (ISO 9075-14, 9.1). An
// underscore that would read as the start of such an escape is escaped too, so
// two identifiers never get the same name, and no name depends on any other.
func Name(s string) string {
	if validName(s) && !strings.Contains(s, "_x") {
		return s
	}
	if s == "" {
		return "_xDC00_" // a surrogate: no text holds it
	}
	b := make([]byte, 0, len(s)+16)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			// A byte that is no UTF-8 becomes a surrogate, which UTF-8 cannot hold.
			b = appendEscape(b, 0xDC00+rune(s[i]))
		case r == '_' && looksEscaped(s[i+1:]):
			b = appendEscape(b, r)
		case r == '_', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9' && i > 0:
			b = append(b, byte(r))
		default:
			b = appendEscape(b, r)
		}
		i += n
	}
	return string(b)
}

// Namespace returns a valid Avro namespace for names separated by dots; empty
// parts are left out.
func Namespace(s string) string {
	var parts []string
	for p := range strings.SplitSeq(s, ".") {
		if p != "" {
			parts = append(parts, Name(p))
		}
	}
	return strings.Join(parts, ".")
}

func validName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '_', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case c >= '0' && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return s != ""
}

// looksEscaped reports whether s, which follows an underscore, goes on like an
// escape: x and four hexadecimal digits.
func looksEscaped(s string) bool {
	if len(s) < 5 || s[0] != 'x' {
		return false
	}
	for i := 1; i < 5; i++ {
		if strings.IndexByte(upperHex, s[i]) < 0 {
			return false
		}
	}
	return true
}

func appendEscape(b []byte, r rune) []byte {
	digits := 4
	if r > 0xFFFF {
		digits = 6
	}
	b = append(b, '_', 'x')
	for i := digits - 1; i >= 0; i-- {
		b = append(b, upperHex[r>>(4*i)&15])
	}
	return append(b, '_')
}
