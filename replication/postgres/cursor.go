package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// errShort is the error of a message that ends before its content does.
var errShort = errors.New("message is cut short")

// cursor reads the big-endian fields of one message. Its first error sticks;
// from then on every read returns zeros, so that a decoder may check once at
// the end. It is the only place that takes integers out of raw bytes.
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
	v := binary.BigEndian.Uint16(c.b)
	c.b = c.b[2:]
	return v
}

func (c *cursor) u32() uint32 {
	if len(c.b) < 4 {
		c.fail()
		return 0
	}
	v := binary.BigEndian.Uint32(c.b)
	c.b = c.b[4:]
	return v
}

func (c *cursor) u64() uint64 {
	if len(c.b) < 8 {
		c.fail()
		return 0
	}
	v := binary.BigEndian.Uint64(c.b)
	c.b = c.b[8:]
	return v
}

// bytes returns the next n bytes; they alias the message.
func (c *cursor) bytes(n uint32) []byte {
	if uint64(n) > uint64(len(c.b)) {
		c.fail()
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

// text returns the bytes up to the next zero byte, which it passes over.
func (c *cursor) text() []byte {
	for i, x := range c.b {
		if x == 0 {
			v := c.b[:i:i]
			c.b = c.b[i+1:]
			return v
		}
	}
	c.fail()
	return nil
}

// finish returns the first error, or one when bytes are left over.
func (c *cursor) finish() error {
	if c.err == nil && len(c.b) > 0 {
		return fmt.Errorf("message has %d bytes too many", len(c.b))
	}
	return c.err
}
