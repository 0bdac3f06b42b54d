package mysql

import (
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// charset turns the bytes of a character set into UTF-8. The tables of those
// that are not Unicode come from the server itself (charsets.load), so that the
// stream converts as the server does. It is immutable.
type charset struct {
	name   string
	maxLen int // bytes of the longest character, as the server counts
	form   charsetForm
	one    *[256]rune   // of single bytes; 0 is none, except of byte 0
	two    *[65536]rune // of two bytes, big-endian; 0 is none
	three  *[65536]rune // of 0x8f and two bytes, in EUC
}

type charsetForm uint8

const (
	formUTF8   charsetForm = iota // as it is: utf8mb4, utf8mb3, ascii
	formBinary                    // no characters
	formUTF16BE
	formUTF16LE
	formUTF32
	formTable   // one, two and three
	formGB18030 // the table, and four bytes by rule
)

func (c *charset) binary() bool { return c.form == formBinary }

// unicodeForms are those that need no table.
var unicodeForms = map[string]charsetForm{
	"utf8mb4": formUTF8, "utf8mb3": formUTF8, "utf8": formUTF8, "ascii": formUTF8, "binary": formBinary,
	"ucs2": formUTF16BE, "utf16": formUTF16BE, "utf16le": formUTF16LE, "utf32": formUTF32,
}

// decode returns b in UTF-8: b itself where that is the same, else the scratch,
// grown. It returns false when b is no text of the charset.
func (c *charset) decode(b, scratch []byte) (text []byte, isScratch, ok bool) {
	switch c.form {
	case formUTF8:
		return b, false, utf8.Valid(b)
	case formBinary:
		return b, false, true
	case formTable, formGB18030:
		if ascii(b) && c.asciiAlike() {
			return b, false, true
		}
		text, ok = c.byTable(b, scratch[:0])
	case formUTF32:
		text, ok = decodeUTF32(b, scratch[:0])
	default:
		text, ok = decodeUTF16(b, scratch[:0], c.form == formUTF16LE)
	}
	return text, true, ok
}

// ascii reports whether every byte is below 0x80.
func ascii(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return false
		}
		b = b[8:]
	}
	for _, x := range b {
		if x >= 0x80 {
			return false
		}
	}
	return true
}

// asciiAlike reports whether the lower half is ASCII. In swe7 it is not, and in
// sjis the server may take 0x5c for a yen sign.
func (c *charset) asciiAlike() bool {
	return c.one['\\'] == '\\' && c.one['['] == '[' && c.one['~'] == '~'
}

func (c *charset) byTable(b, out []byte) ([]byte, bool) {
	for len(b) > 0 {
		if r := c.one[b[0]]; r != 0 || b[0] == 0 {
			out = utf8.AppendRune(out, r)
			b = b[1:]
			continue
		}
		if len(b) >= 2 && c.two != nil {
			if r := c.two[binary.BigEndian.Uint16(b)]; r != 0 {
				out = utf8.AppendRune(out, r)
				b = b[2:]
				continue
			}
		}
		if len(b) >= 3 && c.three != nil && b[0] == 0x8f {
			if r := c.three[binary.BigEndian.Uint16(b[1:])]; r != 0 {
				out = utf8.AppendRune(out, r)
				b = b[3:]
				continue
			}
		}
		if len(b) >= 4 && c.form == formGB18030 {
			u, err := simplifiedchinese.GB18030.NewDecoder().Bytes(b[:4])
			if err == nil && string(u) != "\uFFFD" {
				out = append(out, u...)
				b = b[4:]
				continue
			}
		}
		return out, false
	}
	return out, true
}

func decodeUTF16(b, out []byte, little bool) ([]byte, bool) {
	order := binary.ByteOrder(binary.BigEndian)
	if little {
		order = binary.LittleEndian
	}
	if len(b)%2 != 0 {
		return out, false
	}
	for len(b) > 0 {
		r := rune(order.Uint16(b))
		b = b[2:]
		if utf16.IsSurrogate(r) {
			if len(b) < 2 {
				return out, false
			}
			if r = utf16.DecodeRune(r, rune(order.Uint16(b))); r == utf8.RuneError {
				return out, false
			}
			b = b[2:]
		}
		out = utf8.AppendRune(out, r)
	}
	return out, true
}

func decodeUTF32(b, out []byte) ([]byte, bool) {
	if len(b)%4 != 0 {
		return out, false
	}
	for ; len(b) > 0; b = b[4:] {
		r := binary.BigEndian.Uint32(b)
		if r > utf8.MaxRune || !utf8.ValidRune(rune(r)) {
			return out, false
		}
		out = utf8.AppendRune(out, rune(r))
	}
	return out, true
}
