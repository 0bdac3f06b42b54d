package wire

import (
	"errors"
	"testing"
)

// TestCursor reads each kind of field, whole and one byte short. The numbers
// are those of the manuals' examples of byte orders.
func TestCursor(t *testing.T) {
	tests := []struct {
		name string
		read func(*Cursor) uint64
		in   string
		want uint64
	}{
		{"u8", func(c *Cursor) uint64 { return uint64(c.U8()) }, "\xfe", 0xfe},
		{"be16", func(c *Cursor) uint64 { return uint64(c.BE16()) }, "\x01\x02", 0x0102},
		{"be32", func(c *Cursor) uint64 { return uint64(c.BE32()) }, "\x01\x02\x03\x04", 0x01020304},
		{"be64", func(c *Cursor) uint64 { return c.BE64() }, "\x01\x02\x03\x04\x05\x06\x07\x08", 0x0102030405060708},
		{"le16", func(c *Cursor) uint64 { return uint64(c.LE16()) }, "\x01\x02", 0x0201},
		{"le32", func(c *Cursor) uint64 { return uint64(c.LE32()) }, "\x01\x02\x03\x04", 0x04030201},
		{"le64", func(c *Cursor) uint64 { return c.LE64() }, "\x01\x02\x03\x04\x05\x06\x07\x08", 0x0807060504030201},
		{"be of 3", func(c *Cursor) uint64 { return c.BE(3) }, "\x01\x02\x03", 0x010203},
		{"le of 5", func(c *Cursor) uint64 { return c.LE(5) }, "\x01\x02\x03\x04\x05", 0x0504030201},
		{"packed in 1", (*Cursor).Packed, "\xfa", 250},
		{"packed in 3", (*Cursor).Packed, "\xfc\xfb\x00", 251},
		{"packed in 4", (*Cursor).Packed, "\xfd\x00\x00\x01", 1 << 16},
		{"packed in 9", (*Cursor).Packed, "\xfe\x00\x00\x00\x01\x00\x00\x00\x00", 1 << 24},
		{"bytes", func(c *Cursor) uint64 { return uint64(len(c.Bytes(2))) }, "ab", 2},
		{"packed bytes", func(c *Cursor) uint64 { return uint64(len(c.PackedBytes())) }, "\x03abc", 3},
		{"c string", func(c *Cursor) uint64 { return uint64(len(c.CString())) }, "abc\x00", 3},
	}
	for _, test := range tests {
		c := Cursor{B: []byte(test.in)}
		if got := test.read(&c); got != test.want || c.Finish() != nil {
			t.Errorf("%s: %#x, %v, want %#x", test.name, got, c.Finish(), test.want)
		}
		c = Cursor{B: []byte(test.in[:len(test.in)-1])}
		if got := test.read(&c); got != 0 || !errors.Is(c.Err, ErrShort) {
			t.Errorf("%s, cut short: %#x, %v", test.name, got, c.Err)
		}
		if c.B = []byte("more"); c.Finish() == nil {
			t.Errorf("%s: the error does not stick", test.name)
		}
		c = Cursor{B: []byte(test.in + "x")}
		if test.read(&c); c.Finish() == nil {
			t.Errorf("%s: a byte too many is no error", test.name)
		}
	}
	for _, mark := range []string{"\xfb", "\xff"} {
		if c := (Cursor{B: []byte(mark)}); c.Packed() != 0 || c.Err == nil {
			t.Errorf("%x is a length", mark)
		}
	}
}
