package mysql

import (
	"math"
	"math/bits"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"

	"cdc/replication"
	"cdc/replication/arena"
)

// decoder says how the values of one column are read out of a row image of the
// binlog: MySQL source, "log_event.h, Table_map_log_event" and "field.cc,
// unpack". It is immutable.
type decoder struct {
	op       decoderOp
	width    int // bytes of the value, or of its length; of a DECIMAL the precision
	scale    int
	unsigned bool
	text     bool // temporal values as text
	null     bool // zero dates as NULL
	skip     bool // the table is captured without the column
	charset  *charset
	labels   []replication.Value // of an ENUM, from 0 on
	names    []string            // of a SET
}

type decoderOp uint8

const (
	opInt decoderOp = iota
	opYear
	opFloat
	opDouble
	opDecimal
	opBit
	opBool
	opDate
	opDatetime  // DATETIME of before 5.6: a decimal number
	opDatetime2 // packed
	opTimestamp
	opTimestamp2
	opTime
	opTime2
	opEnum
	opSet
	opText   // length, characters
	opBytes  // length, bytes
	opPadded // length, bytes, filled up with zeros to the width in scale
	opJSON   // length, MySQL's binary JSON
	opJSONText
	opUUID
	opInet4
	opInet6
	opVector
)

// newDecoder compiles how a column is read.
func newDecoder(c *column, p policy) decoder {
	d := decoder{
		width: c.size, scale: c.scale, unsigned: c.unsigned, charset: c.charset,
		text: p.zeroDates == ZeroDatesText, null: p.zeroDates == ZeroDatesNull,
	}
	switch c.special {
	case "uuid":
		d.op, d.width = opUUID, 1
		return d
	case "inet4":
		d.op, d.width = opInet4, 1
		return d
	case "inet6":
		d.op, d.width = opInet6, 1
		return d
	case "vector":
		d.op, d.width = opVector, lengthBytes(c.size)
		return d
	case "json":
		d.op = opJSONText
		return d
	}
	switch c.typ {
	case gomysql.MYSQL_TYPE_TINY:
		d.width = 1
	case gomysql.MYSQL_TYPE_SHORT:
		d.width = 2
	case gomysql.MYSQL_TYPE_INT24:
		d.width = 3
	case gomysql.MYSQL_TYPE_LONG:
		d.width = 4
	case gomysql.MYSQL_TYPE_LONGLONG:
		d.width = 8
	case gomysql.MYSQL_TYPE_YEAR:
		d.op, d.width = opYear, 1
	case gomysql.MYSQL_TYPE_FLOAT:
		d.op, d.width = opFloat, 4
	case gomysql.MYSQL_TYPE_DOUBLE:
		d.op, d.width = opDouble, 8
	case gomysql.MYSQL_TYPE_NEWDECIMAL:
		d.op = opDecimal
	case gomysql.MYSQL_TYPE_BIT:
		d.op, d.width = opBit, (c.size+7)/8
		if c.size == 1 {
			d.op = opBool
		}
	case gomysql.MYSQL_TYPE_DATE, gomysql.MYSQL_TYPE_NEWDATE:
		d.op, d.width = opDate, 3
	case gomysql.MYSQL_TYPE_DATETIME:
		d.op, d.width = opDatetime, 8
	case gomysql.MYSQL_TYPE_DATETIME2:
		d.op, d.width = opDatetime2, 5
	case gomysql.MYSQL_TYPE_TIMESTAMP:
		d.op, d.width = opTimestamp, 4
	case gomysql.MYSQL_TYPE_TIMESTAMP2:
		d.op, d.width = opTimestamp2, 4
	case gomysql.MYSQL_TYPE_TIME:
		d.op, d.width = opTime, 3
	case gomysql.MYSQL_TYPE_TIME2:
		d.op, d.width = opTime2, 3
	case gomysql.MYSQL_TYPE_ENUM:
		d.op = opEnum
		d.labels = append(d.labels, replication.StringValue(replication.KindString, "")) // 0: a value that was refused
		for _, l := range c.labels {
			d.labels = append(d.labels, replication.StringValue(replication.KindString, l))
		}
	case gomysql.MYSQL_TYPE_SET:
		d.op, d.names = opSet, c.labels
	case gomysql.MYSQL_TYPE_STRING:
		d.op, d.width, d.scale = opText, lengthBytes(c.size), c.size
		if c.binary() {
			d.op = opPadded
		}
	case gomysql.MYSQL_TYPE_VARCHAR, gomysql.MYSQL_TYPE_VAR_STRING:
		d.op, d.width = opText, lengthBytes(c.size)
		if c.binary() {
			d.op = opBytes
		}
	case gomysql.MYSQL_TYPE_BLOB:
		d.op = opText
		if c.binary() {
			d.op = opBytes
		}
	case gomysql.MYSQL_TYPE_GEOMETRY:
		d.op = opBytes
	case gomysql.MYSQL_TYPE_JSON:
		d.op = opJSON
	case gomysql.MYSQL_TYPE_VECTOR:
		d.op = opVector
	}
	return d
}

func lengthBytes(size int) int {
	if size > 255 {
		return 2
	}
	return 1
}

// value reads one value that is not NULL. Texts and bytes that need no change
// alias c's message, which must live as long as the arena.
func (d *decoder) value(c *cursor, a *arena.Arena) replication.Value {
	switch d.op {
	case opInt:
		v := c.LE(d.width)
		if d.unsigned {
			return replication.UintValue(v)
		}
		shift := 64 - 8*d.width
		return replication.IntValue(int64(v<<shift) >> shift)
	case opYear:
		y := int64(c.U8())
		if y != 0 {
			y += 1900
		}
		return replication.IntValue(y)
	case opFloat:
		return replication.FloatValue(float64(math.Float32frombits(c.LE32())))
	case opDouble:
		return replication.FloatValue(math.Float64frombits(c.LE64()))
	case opDecimal:
		return decodeDecimal(c, a, d.width, d.scale)
	case opBit:
		return replication.UintValue(c.BE(d.width))
	case opBool:
		return replication.BoolValue(c.BE(d.width) != 0)
	case opDate, opDatetime, opDatetime2, opTimestamp, opTimestamp2, opTime, opTime2:
		return d.temporal(c, a)
	case opEnum:
		if i := c.LE(d.width); i < uint64(len(d.labels)) {
			return d.labels[i]
		}
		c.Fail()
		return replication.Null
	case opSet:
		return d.set(c, a)
	case opText:
		return d.characters(c.Bytes(c.LE(d.width)), a, replication.KindString)
	case opBytes:
		return replication.BytesValue(replication.KindBytes, c.Bytes(c.LE(d.width)))
	case opPadded:
		return replication.BytesValue(replication.KindBytes, padded(c.Bytes(c.LE(d.width)), d.scale, a))
	case opJSON:
		return d.json(c.Bytes(c.LE(d.width)), a)
	case opJSONText:
		return d.characters(c.Bytes(c.LE(d.width)), a, replication.KindJSON)
	case opUUID:
		return replication.BytesValue(replication.KindUUID, uuidFromStorage(padded(c.Bytes(c.LE(d.width)), 16, a), a))
	case opInet4:
		return replication.BytesValue(replication.KindString, inet4Text(padded(c.Bytes(c.LE(d.width)), 4, a), a))
	case opInet6:
		return replication.BytesValue(replication.KindString, inet6Text(padded(c.Bytes(c.LE(d.width)), 16, a), a))
	case opVector:
		return decodeVector(c.Bytes(c.LE(d.width)), a)
	}
	c.Fail()
	return replication.Null
}

// characters converts text to UTF-8.
func (d *decoder) characters(b []byte, a *arena.Arena, kind replication.Kind) replication.Value {
	text, isScratch, ok := d.charset.decode(b, a.Scratch)
	if isScratch {
		a.Scratch = text[:0]
		if ok {
			text = a.Copy(text)
		}
	}
	if !ok {
		return replication.InvalidValue(a.Copy(appendHex(a.Scratch[:0], b)), replication.ReasonForm)
	}
	return replication.BytesValue(kind, text)
}

// appendHex renders bytes that are no text, for an error's message.
func appendHex(out, b []byte) []byte {
	const digits = "0123456789abcdef"
	out = append(out, '\\', 'x')
	for _, x := range b[:min(len(b), 256)] {
		out = append(out, digits[x>>4], digits[x&15])
	}
	return out
}

// padded fills b up with the zeros that the server leaves out at the end of a
// BINARY.
func padded(b []byte, n int, a *arena.Arena) []byte {
	if len(b) >= n {
		return b
	}
	full := a.Alloc(n)
	clear(full[copy(full, b):])
	return full
}

// set renders the members of a SET, separated by commas.
func (d *decoder) set(c *cursor, a *arena.Arena) replication.Value {
	members := c.LE(d.width)
	if bits.Len64(members) > len(d.names) {
		c.Fail()
		return replication.Null
	}
	n := 0
	for m := members; m != 0; m &= m - 1 {
		n += len(d.names[bits.TrailingZeros64(m)]) + 1
	}
	if n == 0 {
		return replication.StringValue(replication.KindString, "")
	}
	out := a.Alloc(n - 1)[:0]
	for m := members; m != 0; m &= m - 1 {
		if len(out) > 0 || m != members {
			out = append(out, ',')
		}
		out = append(out, d.names[bits.TrailingZeros64(m)]...)
	}
	return replication.BytesValue(replication.KindString, out)
}

// decodeVector reads little-endian floats of 32 bits.
func decodeVector(b []byte, a *arena.Arena) replication.Value {
	c := cursor{B: b}
	elems := a.Values(len(b) / 4)
	for i := range elems {
		elems[i] = replication.FloatValue(float64(math.Float32frombits(c.LE32())))
	}
	return replication.ArrayValue(elems)
}
