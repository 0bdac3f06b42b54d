package mysql

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// errShort is the error of a message that ends before its content does.
var errShort = errors.New("message is cut short")

// cursor reads the little-endian fields of one message. Its first error
// sticks; from then on every read returns zeros, so that a decoder may check
// once at the end. It is the only place that takes integers out of raw bytes.
type cursor struct {
	b   []byte // what is left
	err error
}

func (c *cursor) fail() { c.b, c.err = nil, errShort }

func (c *cursor) u8() byte {
	if len(c.b) < 1 {
		c.fail()
		return 0
	}
	v := c.b[0]
	c.b = c.b[1:]
	return v
}

func (c *cursor) u16() uint16 {
	if len(c.b) < 2 {
		c.fail()
		return 0
	}
	v := binary.LittleEndian.Uint16(c.b)
	c.b = c.b[2:]
	return v
}

func (c *cursor) u32() uint32 {
	if len(c.b) < 4 {
		c.fail()
		return 0
	}
	v := binary.LittleEndian.Uint32(c.b)
	c.b = c.b[4:]
	return v
}

func (c *cursor) u64() uint64 {
	if len(c.b) < 8 {
		c.fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(c.b)
	c.b = c.b[8:]
	return v
}

// uint returns the next n bytes, at most 8, as an integer.
func (c *cursor) uint(n int) (v uint64) {
	if len(c.b) < n {
		c.fail()
		return 0
	}
	for i := range n {
		v |= uint64(c.b[i]) << (8 * i)
	}
	c.b = c.b[n:]
	return v
}

// big returns the next n bytes, at most 8, as a big-endian integer: the parts
// of temporal values, decimals and BIT are stored that way.
func (c *cursor) big(n int) (v uint64) {
	if len(c.b) < n {
		c.fail()
		return 0
	}
	for i := range n {
		v = v<<8 | uint64(c.b[i])
	}
	c.b = c.b[n:]
	return v
}

// bytes returns the next n bytes; they alias the message.
func (c *cursor) bytes(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.fail()
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

// packed returns a length-encoded integer: MySQL internals manual, "Protocol
// Basics, Integer Types".
func (c *cursor) packed() uint64 {
	switch first := c.u8(); first {
	case 0xfc:
		return uint64(c.u16())
	case 0xfd:
		return c.uint(3)
	case 0xfe:
		return c.u64()
	case 0xfb, 0xff: // NULL, and an error's mark
		c.fail()
		return 0
	default:
		return uint64(first)
	}
}

// text returns the bytes of a length-encoded string.
func (c *cursor) text() []byte { return c.bytes(c.packed()) }

// finish returns the first error, or one when bytes are left over.
func (c *cursor) finish() error {
	if c.err == nil && len(c.b) > 0 {
		return fmt.Errorf("message has %d bytes too many", len(c.b))
	}
	return c.err
}

// bit reports whether bit i of a bitmap is set, lowest bit first. A bitmap that
// is too short has no more bits.
func bit(bitmap []byte, i int) bool {
	return i/8 < len(bitmap) && bitmap[i/8]&(1<<(i%8)) != 0
}
