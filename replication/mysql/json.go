package mysql

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"

	"cdc/replication"
	"cdc/replication/arena"
)

// MySQL's binary JSON: MySQL source, "json_binary.h". A document is a type and
// its payload; offsets count from the payload's begin.
const (
	jsonSmallObject = 0x00
	jsonLargeObject = 0x01
	jsonSmallArray  = 0x02
	jsonLargeArray  = 0x03
	jsonLiteral     = 0x04
	jsonInt16       = 0x05
	jsonUint16      = 0x06
	jsonInt32       = 0x07
	jsonUint32      = 0x08
	jsonInt64       = 0x09
	jsonUint64      = 0x0a
	jsonDouble      = 0x0b
	jsonString      = 0x0c
	jsonOpaque      = 0x0f

	jsonDepth = 101 // the server allows 100
)

// json renders a document as the server prints it.
func (d *decoder) json(b []byte, a *arena.Arena) replication.Value {
	if len(b) == 0 { // what an UPDATE IGNORE makes of NULL
		return replication.StringValue(replication.KindJSON, "null")
	}
	w := jsonWriter{out: a.Scratch[:0], nodes: len(b) + 1}
	ok := w.value(b[0], b[1:], 0)
	a.Scratch = w.out[:0]
	if !ok {
		return replication.InvalidValue(a.Copy(appendHex(w.out[:0], b)), replication.ReasonForm)
	}
	return replication.BytesValue(replication.KindJSON, a.Copy(w.out))
}

type jsonWriter struct {
	out []byte
	// nodes bounds how many values may still come: a document has no more than
	// bytes, unless its offsets point at the same ones again and again.
	nodes int
}

// value renders one value; ok is false when it is malformed.
func (w *jsonWriter) value(typ byte, b []byte, depth int) (ok bool) {
	if w.nodes--; w.nodes < 0 || depth > jsonDepth {
		return false
	}
	if typ > jsonLargeArray {
		return w.scalar(typ, b)
	}
	box, ok := openJSON(typ, b)
	if !ok {
		return false
	}
	if box.object {
		w.out = append(w.out, '{')
	} else {
		w.out = append(w.out, '[')
	}
	for i := range box.count {
		if i > 0 {
			w.out = append(w.out, ", "...)
		}
		if box.object {
			key, ok := box.key(i)
			if !ok {
				return false
			}
			w.out = append(appendJSONString(w.out, key), ": "...)
		}
		typ, b, ok := box.elem(i)
		if !ok || !w.value(typ, b, depth+1) {
			return false
		}
	}
	if box.object {
		w.out = append(w.out, '}')
	} else {
		w.out = append(w.out, ']')
	}
	return true
}

// jsonBox is an object or an array.
type jsonBox struct {
	b      []byte
	count  int
	object bool
	large  bool
}

func openJSON(typ byte, b []byte) (box jsonBox, ok bool) {
	box = jsonBox{object: typ <= jsonLargeObject, large: typ&1 == 1}
	c := cursor{B: b}
	count, size := c.LE(box.word()), c.LE(box.word())
	if c.Err != nil || size > uint64(len(b)) || count > size {
		return box, false
	}
	box.b, box.count = b[:size], int(count)
	return box, true
}

// word is the width of counts and offsets, in bytes.
func (x *jsonBox) word() int {
	if x.large {
		return 4
	}
	return 2
}

func (x *jsonBox) at(offset int) cursor {
	if offset > len(x.b) {
		return cursor{Err: errShort}
	}
	return cursor{B: x.b[offset:]}
}

func (x *jsonBox) key(i int) ([]byte, bool) {
	c := x.at(2*x.word() + i*(x.word()+2))
	offset, n := c.LE(x.word()), c.LE16()
	if c.Err != nil || offset+uint64(n) > uint64(len(x.b)) {
		return nil, false
	}
	return x.b[offset : offset+uint64(n)], true
}

func (x *jsonBox) elem(i int) (typ byte, b []byte, ok bool) {
	at := 2*x.word() + i*(x.word()+1)
	if x.object {
		at += x.count * (x.word() + 2)
	}
	c := x.at(at)
	typ = c.U8()
	if typ == jsonLiteral || typ == jsonInt16 || typ == jsonUint16 || x.large && (typ == jsonInt32 || typ == jsonUint32) {
		b = c.Bytes(uint64(x.word())) // in the place of the offset
		return typ, b, c.Err == nil
	}
	offset := c.LE(x.word())
	if c.Err != nil || offset > uint64(len(x.b)) {
		return typ, nil, false
	}
	return typ, x.b[offset:], true
}

// scalar renders a value that has no parts.
func (w *jsonWriter) scalar(typ byte, b []byte) bool {
	c := cursor{B: b}
	switch typ {
	case jsonLiteral:
		switch c.U8() {
		case 0:
			w.out = append(w.out, "null"...)
		case 1:
			w.out = append(w.out, "true"...)
		case 2:
			w.out = append(w.out, "false"...)
		default:
			return false
		}
	case jsonInt16:
		w.out = strconv.AppendInt(w.out, int64(int16(c.LE16())), 10)
	case jsonUint16:
		w.out = strconv.AppendUint(w.out, uint64(c.LE16()), 10)
	case jsonInt32:
		w.out = strconv.AppendInt(w.out, int64(int32(c.LE32())), 10)
	case jsonUint32:
		w.out = strconv.AppendUint(w.out, uint64(c.LE32()), 10)
	case jsonInt64:
		w.out = strconv.AppendInt(w.out, int64(c.LE64()), 10)
	case jsonUint64:
		w.out = strconv.AppendUint(w.out, c.LE64(), 10)
	case jsonDouble:
		v := math.Float64frombits(c.LE64())
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
		w.out = appendJSONDouble(w.out, v)
	case jsonString:
		text := c.Bytes(jsonLength(&c))
		if c.Err == nil {
			w.out = appendJSONString(w.out, text)
		}
	case jsonOpaque:
		kind := c.U8()
		data := c.Bytes(jsonLength(&c))
		return c.Err == nil && w.opaque(kind, data)
	default:
		return false
	}
	return c.Err == nil
}

// jsonLength reads a length: seven bits a byte, the lowest first.
func jsonLength(c *cursor) (n uint64) {
	for shift := 0; shift < 35; shift += 7 {
		x := c.U8()
		n |= uint64(x&0x7f) << shift
		if x < 0x80 {
			return n
		}
	}
	c.Fail()
	return 0
}

// opaque renders a value of a type that JSON does not have.
func (w *jsonWriter) opaque(kind byte, data []byte) bool {
	switch kind {
	case gomysql.MYSQL_TYPE_NEWDECIMAL:
		c := cursor{B: data}
		precision, scale := int(c.U8()), int(c.U8())
		w.out = appendDecimal(w.out, &c, precision, scale)
		return c.Finish() == nil
	case gomysql.MYSQL_TYPE_DATE, gomysql.MYSQL_TYPE_TIME, gomysql.MYSQL_TYPE_DATETIME, gomysql.MYSQL_TYPE_TIMESTAMP:
		c := cursor{B: data}
		packed := int64(c.LE64())
		if c.Finish() != nil {
			return false
		}
		w.out = appendPacked(append(w.out, '"'), kind, packed)
		w.out = append(w.out, '"')
		return true
	}
	w.out = append(w.out, `"base64:type`...)
	w.out = append(strconv.AppendUint(w.out, uint64(kind), 10), ':')
	for len(data) > 57 { // the server breaks its lines
		w.out = base64.StdEncoding.AppendEncode(w.out, data[:57])
		w.out = append(w.out, `\n`...)
		data = data[57:]
	}
	w.out = append(base64.StdEncoding.AppendEncode(w.out, data), '"')
	return true
}

// appendPacked renders a date or time of a JSON document.
func appendPacked(out []byte, kind byte, packed int64) []byte {
	k := clock{negative: packed < 0}
	packed = max(packed, -packed)
	k.micro = int(packed & (1<<24 - 1))
	hms := packed >> 24
	if kind == gomysql.MYSQL_TYPE_TIME {
		k.hour, k.minute, k.second = int(hms>>12&1023), int(hms>>6&63), int(hms&63)
		if k.negative {
			out = append(out, '-')
		}
		return appendTime(out, k, 6)
	}
	ymd := hms >> 17
	k.year, k.month, k.day = int(ymd>>5/13), int(ymd>>5%13), int(ymd&31)
	k.hour, k.minute, k.second = int(hms>>12&31), int(hms>>6&63), int(hms&63)
	out = appendDate(out, k)
	if kind == gomysql.MYSQL_TYPE_DATE {
		return out
	}
	return appendTime(append(out, ' '), k, 6)
}

// appendJSONDouble renders a number as the server's my_gcvt does: the shortest
// digits; plain between 1e-15 and 1e15, and where digits stand behind the point;
// with a point or an exponent in any case.
func appendJSONDouble(out []byte, v float64) []byte {
	var buf [32]byte
	e := strconv.AppendFloat(buf[:0], v, 'e', -1, 64) // -d.ddde±XX
	exp := 0
	if i := bytes.LastIndexByte(e, 'e'); i >= 0 {
		exp, _ = strconv.Atoi(string(e[i+1:]))
		e = e[:i]
	}
	digits := 0
	for _, c := range e {
		if c >= '0' && c <= '9' {
			digits++
		}
	}
	if point := exp + 1; point >= -14 && (point <= 15 || digits > point) {
		at := len(out)
		out = strconv.AppendFloat(out, v, 'f', -1, 64)
		if bytes.IndexByte(out[at:], '.') >= 0 {
			return out
		}
		return append(out, ".0"...)
	}
	out = append(append(out, e...), 'e')
	return strconv.AppendInt(out, int64(exp), 10)
}

// appendJSONString quotes a text as the server does.
func appendJSONString(out, s []byte) []byte {
	out = append(out, '"')
	from := 0
	for i, c := range s {
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		out = append(out, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			out = append(out, '\\', c)
		case '\b':
			out = append(out, `\b`...)
		case '\t':
			out = append(out, `\t`...)
		case '\n':
			out = append(out, `\n`...)
		case '\f':
			out = append(out, `\f`...)
		case '\r':
			out = append(out, `\r`...)
		default:
			const digits = "0123456789abcdef"
			out = append(out, `\u00`...)
			out = append(out, digits[c>>4], digits[c&15])
		}
	}
	return append(append(out, s[from:]...), '"')
}
