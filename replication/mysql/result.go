package mysql

import (
	"encoding/hex"
	"math"

	"cdc/replication"
	"cdc/replication/arena"
)

// result reads one value that is not NULL out of a row of the binary protocol:
// MySQL source, "Binary Protocol Resultset Row". The snapshot is read that way:
// numbers come exact, dates in parts. The Values are those that value makes of
// the binlog.
func (d *decoder) result(c *cursor, a *arena.Arena) replication.Value {
	switch d.op {
	case opInt:
		width := d.width
		if width == 3 {
			width = 4
		}
		v := c.LE(width)
		if d.unsigned {
			return replication.UintValue(v)
		}
		shift := 64 - 8*width
		return replication.IntValue(int64(v<<shift) >> shift)
	case opYear:
		return replication.IntValue(int64(c.LE16()))
	case opFloat:
		return replication.FloatValue(float64(math.Float32frombits(c.LE32())))
	case opDouble:
		return replication.FloatValue(math.Float64frombits(c.LE64()))
	case opDate, opDatetime, opDatetime2, opTimestamp, opTimestamp2:
		return d.resultDate(c, a)
	case opTime, opTime2:
		return d.time(resultTime(c), a)
	default: // all others are bytes after a length
	}
	b := c.PackedBytes()
	switch d.op {
	case opDecimal:
		return replication.BytesValue(replication.KindDecimal, trimDecimal(b))
	case opBit, opBool:
		bits := cursor{B: b}
		v := bits.BE(min(len(b), 8))
		if d.op == opBool {
			return replication.BoolValue(v != 0)
		}
		return replication.UintValue(v)
	case opEnum, opSet, opText:
		return d.characters(b, a, replication.KindString)
	case opJSON:
		return replication.BytesValue(replication.KindJSON, b)
	case opJSONText:
		return d.characters(b, a, replication.KindJSON)
	case opUUID:
		return parseUUID(c, b, a)
	case opInet4, opInet6:
		return replication.BytesValue(replication.KindString, b)
	case opVector:
		return decodeVector(b, a)
	default: // opBytes, opPadded
		return replication.BytesValue(replication.KindBytes, b)
	}
}

// resultDate reads a date: a length, and as many parts as are not zero.
func (d *decoder) resultDate(c *cursor, a *arena.Arena) replication.Value {
	p := cursor{B: c.Bytes(uint64(c.U8()))}
	var k clock
	if len(p.B) > 0 {
		k.year, k.month, k.day = int(p.LE16()), int(p.U8()), int(p.U8())
	}
	if len(p.B) > 0 {
		k.hour, k.minute, k.second = int(p.U8()), int(p.U8()), int(p.U8())
	}
	if len(p.B) > 0 {
		k.micro = int(p.LE32())
	}
	if p.Finish() != nil {
		c.Fail()
	}
	switch d.op {
	case opDate:
		return d.date(k, a)
	case opTimestamp, opTimestamp2:
		if k.year == 0 {
			return d.zeroTimestamp(a)
		}
		micros := k.micros()
		return d.timestamp(micros/1e6, int(micros%1e6), a)
	default:
		return d.datetime(k, a)
	}
}

func resultTime(c *cursor) (k clock) {
	p := cursor{B: c.Bytes(uint64(c.U8()))}
	if len(p.B) == 0 {
		return k
	}
	k.negative = p.U8() != 0
	days := p.LE32()
	k.hour, k.minute, k.second = int(days)*24+int(p.U8()), int(p.U8()), int(p.U8())
	if len(p.B) > 0 {
		k.micro = int(p.LE32())
	}
	if p.Finish() != nil {
		c.Fail()
	}
	return k
}

// parseUUID reads the text of a UUID.
func parseUUID(c *cursor, b []byte, a *arena.Arena) replication.Value {
	out := a.Alloc(16)
	digits := make([]byte, 0, 32)
	for _, x := range b {
		if x != '-' && len(digits) < 32 {
			digits = append(digits, x)
		}
	}
	if n, err := hex.Decode(out, digits); err != nil || n != 16 {
		c.Fail()
		return replication.Null
	}
	return replication.BytesValue(replication.KindUUID, out)
}
