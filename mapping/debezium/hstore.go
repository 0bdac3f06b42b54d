package debezium

import (
	"encoding/binary"
	"unicode/utf8"
)

// pairs walks hstore's text, "key"=>"value", "key"=>NULL, in its order. Keys
// and values come unquoted in memory that the next pair overwrites; value is
// nil for NULL.
func pairs(text []byte, each func(key, value []byte)) error {
	var keys, values [64]byte
	for i := 0; i < len(text); {
		key, n := quoted(keys[:0], text[i:])
		if i += n; n < 0 || i+2 > len(text) || string(text[i:i+2]) != "=>" {
			return errForm
		}
		i += 2
		var value []byte
		if i+4 <= len(text) && string(text[i:i+4]) == "NULL" {
			i += 4
		} else {
			if value, n = quoted(values[:0], text[i:]); n < 0 {
				return errForm
			}
			i += n
		}
		if !utf8.Valid(key) || !utf8.Valid(value) {
			return errUTF8
		}
		each(key, value)
		if i == len(text) {
			break
		}
		if i+2 > len(text) || string(text[i:i+2]) != ", " {
			return errForm
		}
		i += 2
	}
	return nil
}

// quoted appends the quoted text that b begins with to dst, and returns it with
// the number of bytes read, or -1.
func quoted(dst, b []byte) ([]byte, int) {
	if len(b) == 0 || b[0] != '"' {
		return dst, -1
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '"':
			return dst, i + 1
		case '\\':
			if i++; i == len(b) {
				return dst, -1
			}
		}
		dst = append(dst, b[i])
	}
	return dst, -1
}

func appendHStoreJSON(dst, text []byte) ([]byte, error) {
	dst = append(dst, '{')
	first := true
	err := pairs(text, func(key, value []byte) {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendJSONText(dst, key), ':')
		if value == nil {
			dst = append(dst, "null"...)
		} else {
			dst = appendJSONText(dst, value)
		}
	})
	return append(dst, '}'), err
}

func appendHStoreMap(dst, text []byte) ([]byte, error) {
	n := 0
	if err := pairs(text, func(_, _ []byte) { n++ }); err != nil {
		return dst, err
	}
	if n == 0 {
		return append(dst, 0), nil
	}
	dst = binary.AppendVarint(dst, int64(n))
	err := pairs(text, func(key, value []byte) {
		dst = appendBytes(dst, key)
		if value == nil {
			dst = append(dst, 0)
		} else {
			dst = appendBytes(append(dst, 2), value)
		}
	})
	return append(dst, 0), err
}

// appendJSONText appends b, which is UTF-8, as Jackson writes a string.
func appendJSONText(dst, b []byte) []byte {
	const hex = "0123456789ABCDEF"
	dst = append(dst, '"')
	for _, c := range b {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c == '\b':
			dst = append(dst, '\\', 'b')
		case c == '\f':
			dst = append(dst, '\\', 'f')
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
