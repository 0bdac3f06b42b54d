package avro

import (
	"encoding/binary"
	"errors"
	"math"
)

// What is wrong with bytes that do not fit their schema.
var (
	errShort    = errors.New("the record ends too early")
	errVarint   = errors.New("a number of more than 64 bits")
	errInt      = errors.New("a number beyond 32 bits")
	errLength   = errors.New("a length that is negative or beyond the record's end")
	errBoolean  = errors.New("a boolean that is neither 0 nor 1")
	errBranch   = errors.New("a branch that the union does not have")
	errSymbol   = errors.New("a symbol that the enum does not have")
	errBlock    = errors.New("a block whose size is not that of its items")
	errEmpty    = errors.New("too many items without a byte")
	errDepth    = errors.New("nested too deeply")
	errUTF8     = errors.New("text that is not UTF-8")
	errUUID     = errors.New("text that is not a UUID")
	errTime     = errors.New("a time of day outside 0 to 24 hours")
	errRange    = errors.New("a time beyond what microseconds hold")
	errISO      = errors.New("text that is no date or time in ISO 8601")
	errNumber   = errors.New("text that is not a decimal number")
	errOutput   = errors.New("out of proportion to its bytes")
	errTrailing = errors.New("bytes after the record's end")
)

// maxEmptyItems bounds the items of arrays and maps that take no byte, such as
// nulls: all others are bounded by the bytes that are there.
const maxEmptyItems = 1 << 16

// cursor reads Avro's binary encoding from bytes that nobody vouches for. The
// first error sticks; after it every read returns zero, and consumes nothing.
type cursor struct {
	b     []byte
	pos   int
	empty int // items read that took no byte
	limit int // of the length of what is written elsewhere, in bytes
	err   error
}

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.b = c.b[:c.pos]
}

func (c *cursor) left() int { return len(c.b) - c.pos }

// long reads a long (an int is one with fewer values).
func (c *cursor) long() int64 {
	if c.pos < len(c.b) {
		if u := c.b[c.pos]; u < 0x80 {
			c.pos++
			return int64(u>>1) ^ -int64(u&1)
		}
	}
	v, n := binary.Varint(c.b[c.pos:])
	if n <= 0 {
		if n < 0 {
			c.fail(errVarint)
		} else {
			c.fail(errShort)
		}
		return 0
	}
	c.pos += n
	return v
}

func (c *cursor) int() int64 {
	v := c.long()
	if v != int64(int32(v)) {
		c.fail(errInt)
		return 0
	}
	return v
}

func (c *cursor) boolean() bool {
	b := c.fixed(1)
	if len(b) == 0 {
		return false
	}
	if b[0] > 1 {
		c.fail(errBoolean)
	}
	return b[0] == 1
}

func (c *cursor) float() float64 {
	b := c.fixed(4)
	if len(b) == 0 {
		return 0
	}
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
}

func (c *cursor) double() float64 {
	b := c.fixed(8)
	if len(b) == 0 {
		return 0
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(b))
}

// bytes reads bytes or a string. The result aliases the input.
func (c *cursor) bytes() []byte {
	n := c.long()
	if n < 0 || n > int64(c.left()) {
		c.fail(errLength)
		return nil
	}
	return c.fixed(int(n))
}

// fixed reads n bytes, which alias the input; nil when they are not there.
func (c *cursor) fixed(n int) []byte {
	if n > c.left() {
		c.fail(errShort)
		return nil
	}
	b := c.b[c.pos : c.pos+n : c.pos+n]
	c.pos += n
	return b
}

// index reads the index of a union's branch or an enum's symbol, below n.
func (c *cursor) index(n int, wrong error) int {
	i := c.long()
	if i < 0 || i >= int64(n) {
		c.fail(wrong)
		return 0
	}
	return int(i)
}

// block reads the head of a block of an array or a map: how many items follow
// (0 ends it) and where they end, or -1 when the block does not say.
func (c *cursor) block() (items int64, end int) {
	n := c.long()
	if n >= 0 {
		return n, -1
	}
	if n == math.MinInt64 {
		c.fail(errLength)
		return 0, -1
	}
	size := c.long()
	if size < 0 || size > int64(c.left()) {
		c.fail(errLength)
		return 0, -1
	}
	return -n, c.pos + int(size)
}

// item is called after each item with the position before it.
func (c *cursor) item(start int) {
	if c.pos == start {
		if c.empty++; c.empty > maxEmptyItems {
			c.fail(errEmpty)
		}
	}
}
