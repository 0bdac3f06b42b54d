package avro

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"cdc/replication"
)

// SplitWire splits a record in Confluent's wire format into the id of its
// schema and its body, which aliases b.
func SplitWire(b []byte) (id int, body []byte, err error) {
	switch {
	case len(b) < 5:
		return 0, nil, fmt.Errorf("split record: %d bytes are no schema id and body", len(b))
	case b[0] != 0:
		return 0, nil, fmt.Errorf("split record: it begins with 0x%02x, not with the 0 of the schema registry's wire format", b[0])
	}
	return int(binary.BigEndian.Uint32(b[1:])), b[5:], nil
}

// JSON renders a record of any schema as JSON for people: fields in their
// order, the value of a union bare, decimals as exact numbers, dates and times
// in ISO 8601, bytes in base64, and what JSON has no number for (NaN, infinity)
// as a string. Bytes that are not UTF-8 become U+FFFD.
func JSON(s *Schema, body []byte) ([]byte, error) {
	if s == nil || s.root == nil {
		return nil, errors.New("render record: no schema")
	}
	c := cursor{b: body, limit: outputLimit(len(body))}
	w := writer{c: &c}
	out := w.value(nil, s.root, 0)
	if c.err == nil && c.left() > 0 {
		c.err = errTrailing
	}
	if c.err != nil {
		return nil, fmt.Errorf("render record: at byte %d: %w", c.pos, c.err)
	}
	return out, nil
}

const maxDepth = 100

// outputLimit bounds what a body becomes, in bytes: few bytes of a hostile one
// could name long symbols, wide records and decimals of a large scale over and
// over.
func outputLimit(body int) int { return 1<<20 + 64*body }

// writer walks a record by its schema and appends it as JSON.
type writer struct {
	c      *cursor
	strict bool // text that is not UTF-8 is an error
}

func (w *writer) value(dst []byte, n *node, depth int) []byte {
	c := w.c
	if depth > maxDepth {
		c.fail(errDepth)
	}
	if len(dst) > c.limit {
		c.fail(errOutput)
	}
	if c.err != nil {
		return dst
	}
	switch n.typ {
	case typeNull:
		return append(dst, "null"...)
	case typeBoolean:
		return strconv.AppendBool(dst, c.boolean())
	case typeInt:
		return appendIntText(dst, c, n.logical, c.int())
	case typeLong:
		return appendIntText(dst, c, n.logical, c.long())
	case typeFloat:
		return appendFloat(dst, c.float(), 32)
	case typeDouble:
		return appendFloat(dst, c.double(), 64)
	case typeString:
		return w.text(dst, c.bytes())
	case typeBytes:
		return w.bytes(dst, n, c.bytes())
	case typeFixed:
		return w.bytes(dst, n, c.fixed(n.size))
	case typeEnum:
		if i := c.index(len(n.symbols), errSymbol); c.err == nil {
			return w.text(dst, []byte(n.symbols[i]))
		}
	case typeUnion:
		if i := c.index(len(n.branches), errBranch); c.err == nil {
			return w.value(dst, n.branches[i], depth+1)
		}
	case typeRecord:
		dst = append(dst, '{')
		for i := range n.fields {
			if c.err != nil {
				return dst
			}
			if i > 0 {
				dst = append(dst, ',')
			}
			name := n.fields[i].name
			if original := n.fields[i].prop(propName); original != "" {
				name = original
			}
			dst = append(w.text(dst, []byte(name)), ':')
			dst = w.value(dst, n.fields[i].node, depth+1)
		}
		return append(dst, '}')
	case typeArray:
		return append(w.items(append(dst, '['), n, depth), ']')
	case typeMap:
		return append(w.items(append(dst, '{'), n, depth), '}')
	}
	return dst
}

// items walks the blocks of an array or a map.
func (w *writer) items(dst []byte, n *node, depth int) []byte {
	c := w.c
	first := true
	for c.err == nil {
		count, end := c.block()
		if count == 0 {
			break
		}
		for ; count > 0 && c.err == nil; count-- {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			at := c.pos
			if n.typ == typeMap {
				dst = append(w.text(dst, c.bytes()), ':')
			}
			dst = w.value(dst, n.items, depth+1)
			c.item(at)
		}
		if end >= 0 && c.pos != end {
			c.fail(errBlock)
		}
	}
	return dst
}

func (w *writer) bytes(dst []byte, n *node, b []byte) []byte {
	if w.c.err != nil {
		return dst
	}
	switch n.logical {
	case logicalDecimal:
		out, err := appendDecimalText(dst, b, n.scale)
		if err != nil {
			w.c.fail(err)
		}
		return out
	case logicalUUID:
		return append(appendUUID(append(dst, '"'), b), '"')
	default: // as below
	}
	dst = base64.StdEncoding.AppendEncode(append(dst, '"'), b)
	return append(dst, '"')
}

// text appends b as a JSON string.
func (w *writer) text(dst, b []byte) []byte {
	if w.strict && !utf8.Valid(b) {
		w.c.fail(errUTF8)
		return dst
	}
	return appendJSONString(dst, b)
}

func appendJSONString(dst, b []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(b); {
		ch := b[i]
		if ch < utf8.RuneSelf {
			i++
			switch {
			case ch == '"' || ch == '\\':
				dst = append(dst, '\\', ch)
			case ch == '\n':
				dst = append(dst, '\\', 'n')
			case ch == '\t':
				dst = append(dst, '\\', 't')
			case ch == '\r':
				dst = append(dst, '\\', 'r')
			case ch < 0x20 || ch == 0x7f:
				dst = append(dst, '\\', 'u', '0', '0', hex[ch>>4], hex[ch&15])
			default:
				dst = append(dst, ch)
			}
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		dst = utf8.AppendRune(dst, r) // U+FFFD for what is not UTF-8
		i += n
	}
	return append(dst, '"')
}

func appendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, bits)
}

func appendIntText(dst []byte, c *cursor, l logical, v int64) []byte {
	switch l {
	case logicalDate:
		return quoted(dst, replication.KindDate, dateFromAvro(v))
	case logicalTimeMillis:
		return quoted(dst, replication.KindTime, timeOfDay(c, v, 24*3600*1000)*1000)
	case logicalTimeMicros:
		return quoted(dst, replication.KindTime, timeOfDay(c, v, 24*3600*1e6))
	case logicalTimestampMillis:
		return quoted(dst, replication.KindTimestampTZ, microsFromMillis(c, v))
	case logicalTimestampMicros:
		return quoted(dst, replication.KindTimestampTZ, v)
	case logicalTimestampNanos:
		return quoted(dst, replication.KindTimestampTZ, microsFromNanos(v))
	case logicalLocalMillis:
		return quoted(dst, replication.KindTimestamp, microsFromMillis(c, v))
	case logicalLocalMicros:
		return quoted(dst, replication.KindTimestamp, v)
	case logicalLocalNanos:
		return quoted(dst, replication.KindTimestamp, microsFromNanos(v))
	default: // as below
	}
	return strconv.AppendInt(dst, v, 10)
}

func quoted(dst []byte, kind replication.Kind, v int64) []byte {
	return append(appendTimeText(append(dst, '"'), kind, v), '"')
}
