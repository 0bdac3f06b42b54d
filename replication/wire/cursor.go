// Package wire reads the fields of the databases' messages: integers of fixed
// and of packed length, strings, raw bytes, each within the bounds of its
// message.
package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrShort is the error of a message that ends before its content does.
var ErrShort = errors.New("message is cut short")

// Cursor reads the fields of one message. Its first error sticks; from then on
// every read returns zeros, so that a decoder may check once at the end. It is
// the only place of a source that takes integers out of raw bytes.
type Cursor struct {
	B   []byte // what is left
	Err error  // the first; nil so far
}

// Fail makes ErrShort the error and leaves nothing to read.
func (c *Cursor) Fail() { c.B, c.Err = nil, ErrShort }

// U8 returns the next byte.
func (c *Cursor) U8() byte {
	if len(c.B) < 1 {
		c.Fail()
		return 0
	}
	v := c.B[0]
	c.B = c.B[1:]
	return v
}

// BE16 returns the next two bytes as a big-endian integer.
func (c *Cursor) BE16() uint16 {
	if len(c.B) < 2 {
		c.Fail()
		return 0
	}
	v := binary.BigEndian.Uint16(c.B)
	c.B = c.B[2:]
	return v
}

// BE32 returns the next four bytes as a big-endian integer.
func (c *Cursor) BE32() uint32 {
	if len(c.B) < 4 {
		c.Fail()
		return 0
	}
	v := binary.BigEndian.Uint32(c.B)
	c.B = c.B[4:]
	return v
}

// BE64 returns the next eight bytes as a big-endian integer.
func (c *Cursor) BE64() uint64 {
	if len(c.B) < 8 {
		c.Fail()
		return 0
	}
	v := binary.BigEndian.Uint64(c.B)
	c.B = c.B[8:]
	return v
}

// LE16 returns the next two bytes as a little-endian integer.
func (c *Cursor) LE16() uint16 {
	if len(c.B) < 2 {
		c.Fail()
		return 0
	}
	v := binary.LittleEndian.Uint16(c.B)
	c.B = c.B[2:]
	return v
}

// LE32 returns the next four bytes as a little-endian integer.
func (c *Cursor) LE32() uint32 {
	if len(c.B) < 4 {
		c.Fail()
		return 0
	}
	v := binary.LittleEndian.Uint32(c.B)
	c.B = c.B[4:]
	return v
}

// LE64 returns the next eight bytes as a little-endian integer.
func (c *Cursor) LE64() uint64 {
	if len(c.B) < 8 {
		c.Fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(c.B)
	c.B = c.B[8:]
	return v
}

// BE returns the next n bytes, 0 to 8, as a big-endian integer.
func (c *Cursor) BE(n int) (v uint64) {
	if len(c.B) < n {
		c.Fail()
		return 0
	}
	for i := range n {
		v = v<<8 | uint64(c.B[i])
	}
	c.B = c.B[n:]
	return v
}

// LE returns the next n bytes, 0 to 8, as a little-endian integer.
func (c *Cursor) LE(n int) (v uint64) {
	if len(c.B) < n {
		c.Fail()
		return 0
	}
	for i := range n {
		v |= uint64(c.B[i]) << (8 * i)
	}
	c.B = c.B[n:]
	return v
}

// Bytes returns the next n bytes; they alias the message.
func (c *Cursor) Bytes(n uint64) []byte {
	if n > uint64(len(c.B)) {
		c.Fail()
		return nil
	}
	v := c.B[:n:n]
	c.B = c.B[n:]
	return v
}

// CString returns the bytes up to the next zero byte, which it passes over;
// they alias the message.
func (c *Cursor) CString() []byte {
	i := bytes.IndexByte(c.B, 0)
	if i < 0 {
		c.Fail()
		return nil
	}
	v := c.B[:i:i]
	c.B = c.B[i+1:]
	return v
}

// Packed returns a length-encoded integer: MySQL internals manual, "Protocol
// Basics, Integer Types".
func (c *Cursor) Packed() uint64 {
	switch first := c.U8(); first {
	case 0xfc:
		return uint64(c.LE16())
	case 0xfd:
		return c.LE(3)
	case 0xfe:
		return c.LE64()
	case 0xfb, 0xff: // NULL, and an error's mark
		c.Fail()
		return 0
	default:
		return uint64(first)
	}
}

// PackedBytes returns the bytes of a length-encoded string; they alias the
// message.
func (c *Cursor) PackedBytes() []byte { return c.Bytes(c.Packed()) }

// Finish returns the first error, or one when bytes are left over.
func (c *Cursor) Finish() error {
	if c.Err == nil && len(c.B) > 0 {
		return fmt.Errorf("message has %d bytes too many", len(c.B))
	}
	return c.Err
}
