package mysql

import (
	"encoding/hex"
	"strings"
)

// tokenKind is what a token of an SQL text is.
type tokenKind uint8

const (
	tokenWord    tokenKind = iota + 1 // an unquoted word, as it is written
	tokenName                         // a quoted identifier, without its quotes
	tokenString                       // a text in quotes, as it reads
	tokenNumber                       // digits, as they are written
	tokenBytes                        // x'0f', 0x0f, b'01', 0b01: the bytes, big-endian
	tokenSymbol                       // one character of another kind
	tokenForeign                      // a text with an introducer of another character set
)

type token struct {
	kind tokenKind
	text string
}

// is reports whether a token is a keyword, which is given in upper case, or a
// symbol.
func (t token) is(words ...string) bool {
	if t.kind != tokenWord && t.kind != tokenSymbol {
		return false
	}
	for _, w := range words {
		if strings.EqualFold(t.text, w) {
			return true
		}
	}
	return false
}

// name reports whether a token may name something.
func (t token) name() bool { return t.kind == tokenWord || t.kind == tokenName }

// sqlMode is what of sql_mode changes how a text reads.
type sqlMode struct{ ansiQuotes, noEscapes bool }

// tokenize takes an SQL text apart: MySQL manual, "Lexical Structure". Comments
// do not count, but what stands in /*! … */ does. It returns what it has when
// the text ends inside of a quote.
func tokenize(sql string, mode sqlMode) (list []token) {
	s := statement{rest: sql}
	for {
		s.skip()
		r := s.rest
		if r == "" {
			return list
		}
		var t token
		switch c := r[0]; {
		case c == '`' || c == '"' && mode.ansiQuotes:
			t = token{tokenName, s.quoted(c, false)}
		case c == '\'' || c == '"':
			t = token{tokenString, s.quoted(c, !mode.noEscapes)}
			if n := len(list) - 1; n >= 0 && list[n].kind == tokenString { // 'a' 'b' is one
				t.text = list[n].text + t.text
				list = list[:n]
			}
		case c >= '0' && c <= '9' || c == '.' && len(r) > 1 && r[1] >= '0' && r[1] <= '9' && !afterName(list):
			t = s.number()
		case wordByte(c):
			t = s.wordOrLiteral(mode)
		default:
			s.rest = r[1:]
			t = token{tokenSymbol, r[:1]}
		}
		list = append(list, t)
	}
}

// afterName reports whether a dot would stand behind a name.
func afterName(list []token) bool { return len(list) > 0 && list[len(list)-1].name() }

// quoted reads what stands in quotes; a doubled quote is one, and a backslash
// escapes where it may.
func (s *statement) quoted(quote byte, escapes bool) string {
	r := s.rest
	var b strings.Builder
	for i := 1; i < len(r); i++ {
		switch c := r[i]; {
		case c == '\\' && escapes && i+1 < len(r):
			i++
			b.WriteString(unescape(r[i]))
		case c == quote && i+1 < len(r) && r[i+1] == quote:
			i++
			b.WriteByte(c)
		case c == quote:
			s.rest = r[i+1:]
			return b.String()
		default:
			b.WriteByte(c)
		}
	}
	s.rest = ""
	return b.String()
}

// unescape returns what a backslash and c mean: MySQL manual, "String Literals".
func unescape(c byte) string {
	switch c {
	case '0':
		return "\x00"
	case 'b':
		return "\b"
	case 'n':
		return "\n"
	case 'r':
		return "\r"
	case 't':
		return "\t"
	case 'Z':
		return "\x1a"
	case '%', '_':
		return `\` + string(c)
	}
	return string(c)
}

// number reads a number, or a name that begins like one.
func (s *statement) number() token {
	r := s.rest
	n := 0
	for n < len(r) && (r[n] >= '0' && r[n] <= '9' || r[n] == '.') {
		n++
	}
	if n < len(r) && (r[n] == 'e' || r[n] == 'E') {
		m := n + 1
		if m < len(r) && (r[m] == '+' || r[m] == '-') {
			m++
		}
		if m < len(r) && r[m] >= '0' && r[m] <= '9' {
			for n = m; n < len(r) && r[n] >= '0' && r[n] <= '9'; {
				n++
			}
		}
	}
	if n == len(r) || !wordByte(r[n]) {
		s.rest = r[n:]
		return token{tokenNumber, r[:n]}
	}
	for n < len(r) && wordByte(r[n]) {
		n++
	}
	s.rest = r[n:]
	word := r[:n]
	if digits, ok := strings.CutPrefix(word, "0x"); ok {
		if b, ok := hexBytes(digits); ok {
			return token{tokenBytes, b}
		}
	}
	if digits, ok := strings.CutPrefix(word, "0b"); ok {
		if b, ok := bitBytes(digits); ok {
			return token{tokenBytes, b}
		}
	}
	return token{tokenWord, word}
}

// wordOrLiteral reads a word, or the literal that it introduces: x'0f', b'01',
// N'text', _utf8mb4'text'.
func (s *statement) wordOrLiteral(mode sqlMode) token {
	word, _ := s.word()
	introducer := strings.HasPrefix(word, "_")
	if introducer {
		s.skip()
	}
	if s.rest == "" || s.rest[0] != '\'' && !(introducer && s.rest[0] == '"' && !mode.ansiQuotes) {
		return token{tokenWord, word}
	}
	switch lower := strings.ToLower(word); {
	case lower == "x" || lower == "b":
		text := s.quoted('\'', false)
		decode := hexBytes
		if lower == "b" {
			decode = bitBytes
		}
		if b, ok := decode(text); ok {
			return token{tokenBytes, b}
		}
		return token{tokenForeign, text}
	case lower == "n", lower == "_utf8mb4", lower == "_utf8mb3", lower == "_utf8", lower == "_ascii":
		return token{tokenString, s.quoted(s.rest[0], !mode.noEscapes)}
	case introducer:
		text := s.quoted(s.rest[0], !mode.noEscapes)
		if ascii([]byte(text)) && lower != "_binary" && !strings.HasPrefix(lower, "_utf16") && lower != "_utf32" && lower != "_ucs2" {
			return token{tokenString, text}
		}
		return token{tokenForeign, text}
	}
	return token{tokenWord, word}
}

func hexBytes(digits string) (string, bool) {
	if len(digits)%2 != 0 {
		digits = "0" + digits
	}
	b, err := hex.DecodeString(digits)
	return string(b), err == nil
}

func bitBytes(digits string) (string, bool) {
	out := make([]byte, (len(digits)+7)/8)
	for i := range len(digits) {
		switch digits[len(digits)-1-i] {
		case '1':
			out[len(out)-1-i/8] |= 1 << (i % 8)
		case '0':
		default:
			return "", false
		}
	}
	return string(out), true
}
