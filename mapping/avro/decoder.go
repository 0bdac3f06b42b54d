package avro

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"cdc/replication"
)

// Memory is where a Decoder puts what a record does not hold as it is: texts of
// decimals, UUIDs, elements of arrays. It grows to what a batch needs and is
// used again after Reset. The zero Memory is ready.
type Memory struct {
	bytes  []byte
	values []replication.Value
}

// Reset forgets everything: no Value that borrows from m may be used afterwards.
func (m *Memory) Reset() {
	clear(m.values)
	m.bytes, m.values = m.bytes[:0], m.values[:0]
}

// Size is how many bytes the Memory holds on to.
func (m *Memory) Size() int { return cap(m.bytes) + 24*cap(m.values) }

// Decoder reads records of one schema by a plan compiled once. It is immutable:
// any goroutine may use it, each with its own Memory.
type Decoder struct {
	columns []replication.Column
	steps   []readStep
	omitted *omittedReader // nil when the record has no OmittedField
}

type decodeOp uint8

const (
	decodeNull decodeOp = iota
	decodeBool
	decodeInt
	decodeLong
	decodeFloat
	decodeDouble
	decodeBytes
	decodeFixed
	decodeString
	decodeJSONText
	decodeDecimalText
	decodeDecimal
	decodeDecimalFixed
	decodeEnum
	decodeDate
	decodeMillis // time-millis
	decodeTimeMicros
	decodeTimestamp      // of kind, in micros
	decodeTimestampMilli // of kind
	decodeTimestampNano  // of kind
	decodeUUIDText
	decodeUUIDFixed
	decodeArray
	decodeGeneric       // as JSON
	decodeConnectMillis // this and what follows: see compileConnect
	decodeConnectMicros
	decodeConnectNanoTime
	decodeConnectISO
	decodeConnectDuration
	decodeConnectBits
	decodeConnectDecimal
	decodeConnectPoint
	decodeConnectLine
	decodeConnectGeometry
	decodeConnectVector
	decodeConnectSparse
	decodeConnectParts
	decodeConnectLength
)

// readStep reads one field.
type readStep struct {
	op    decodeOp
	kind  replication.Kind
	null  int8 // index of the null branch
	value int8 // index of the value's branch; -1 when the type is no union
	size  int
	scale int
	node  *node
	elem  *readStep
}

// NewDecoder compiles a plan from the schema that records were written with. A
// record has a column per field, OmittedField aside; any other schema is one
// column without a name.
func NewDecoder(s *Schema) (*Decoder, error) {
	if s == nil || s.root == nil {
		return nil, errors.New("no schema")
	}
	fields := s.root.fields
	if s.root.typ != typeRecord {
		fields = []field{{node: s.root}}
	}
	var omitted *omittedReader
	if n := len(fields) - 1; n > 0 && fields[n].omitted() {
		omitted = newOmittedReader(&fields[n], fields[:n])
		fields = fields[:n]
	}
	d := &Decoder{omitted: omitted, columns: make([]replication.Column, len(fields)), steps: make([]readStep, len(fields))}
	for i := range fields {
		d.steps[i], d.columns[i] = compileRead(&fields[i])
	}
	return d, nil
}

// Columns describes the values that Decode returns: the original names and
// types where the schema tells them. A nested record, a map, and a union of
// several types are KindJSON, an enum is a KindString. The slice is shared and
// must not be changed.
func (d *Decoder) Columns() []replication.Column { return d.columns }

// Decode reads one record (without the wire format's first five bytes, see
// SplitWire) into dst, which must be as long as Columns. The values borrow from
// body and mem; those that OmittedField names are Unchanged. No body makes it panic or take memory beyond a small multiple
// of the body's size; after an error dst holds nothing of use.
func (d *Decoder) Decode(body []byte, dst []replication.Value, mem *Memory) error {
	if len(dst) != len(d.steps) {
		return fmt.Errorf("decode record: %d values for %d columns", len(dst), len(d.steps))
	}
	c := cursor{b: body, limit: len(mem.bytes) + outputLimit(len(body))}
	for i := range d.steps {
		d.steps[i].read(&c, &dst[i], mem)
		if c.err != nil {
			return fmt.Errorf("decode field %s: %w", d.columns[i].Name, c.err)
		}
	}
	if d.omitted != nil {
		if err := d.omitted.read(&c, dst, mem); err != nil {
			return err
		}
	}
	if c.left() > 0 {
		return fmt.Errorf("decode record: %d %w", c.left(), errTrailing)
	}
	return nil
}

func compileRead(f *field) (readStep, replication.Column) {
	s, c := compileReadNode(f.node, f.prop(propKind))
	c.Name, c.BaseType = f.name, f.prop(propBase)
	if original := f.prop(propName); original != "" {
		c.Name = original
	}
	if t := f.prop(propType); t != "" {
		c.TypeName = t
	}
	c.ID = f.prop(propColumn)
	c.Missing, c.HasMissing = f.props[propMissing].(string)
	return s, c
}

func compileReadNode(n *node, as string) (readStep, replication.Column) {
	null, value := -1, -1
	if n.typ == typeUnion {
		switch {
		case len(n.branches) == 1:
			null, value = n.null, 0
			n = n.branches[0]
		case len(n.branches) == 2 && n.null >= 0:
			null, value = n.null, 1-n.null
			n = n.branches[value]
		}
	}
	s, c := compileReadType(n, as)
	s.null, s.value = int8(null), int8(value)
	c.NotNull = null < 0 && n.typ != typeNull && !(n.typ == typeUnion && n.null >= 0)
	return s, c
}

func compileReadType(n *node, as string) (readStep, replication.Column) {
	s := readStep{node: n, size: n.size, scale: n.scale}
	c := replication.Column{}
	set := func(op decodeOp, kind replication.Kind, bits uint8) {
		s.op, s.kind, c.Kind, c.Bits = op, kind, kind, bits
	}
	if compileConnect(n, &s, &c) {
		return s, c
	}
	switch n.typ {
	case typeNull:
		set(decodeNull, replication.KindString, 0)
	case typeBoolean:
		set(decodeBool, replication.KindBool, 0)
	case typeInt:
		switch n.logical {
		case logicalDate:
			set(decodeDate, replication.KindDate, 0)
		case logicalTimeMillis:
			set(decodeMillis, replication.KindTime, 0)
		default:
			set(decodeInt, replication.KindInt, 32)
		}
	case typeLong:
		switch n.logical {
		case logicalTimeMicros:
			set(decodeTimeMicros, replication.KindTime, 0)
		case logicalTimestampMillis:
			set(decodeTimestampMilli, replication.KindTimestampTZ, 0)
		case logicalTimestampMicros:
			set(decodeTimestamp, replication.KindTimestampTZ, 0)
		case logicalTimestampNanos:
			set(decodeTimestampNano, replication.KindTimestampTZ, 0)
		case logicalLocalMillis:
			set(decodeTimestampMilli, replication.KindTimestamp, 0)
		case logicalLocalMicros:
			set(decodeTimestamp, replication.KindTimestamp, 0)
		case logicalLocalNanos:
			set(decodeTimestampNano, replication.KindTimestamp, 0)
		default:
			set(decodeLong, replication.KindInt, 64)
		}
	case typeFloat:
		set(decodeFloat, replication.KindFloat, 32)
	case typeDouble:
		set(decodeDouble, replication.KindFloat, 64)
	case typeString:
		switch {
		case n.logical == logicalUUID:
			set(decodeUUIDText, replication.KindUUID, 0)
		case as == "json":
			set(decodeJSONText, replication.KindJSON, 0)
		case as == "decimal":
			set(decodeDecimalText, replication.KindDecimal, 0)
		default:
			set(decodeString, replication.KindString, 0)
		}
	case typeBytes, typeFixed:
		fixed := n.typ == typeFixed
		switch {
		case n.logical == logicalDecimal:
			set(decodeDecimal, replication.KindDecimal, 0)
			if fixed {
				s.op = decodeDecimalFixed
			}
			c.Precision, c.Scale = n.precision, n.scale
		case n.logical == logicalUUID:
			set(decodeUUIDFixed, replication.KindUUID, 0)
		case fixed:
			set(decodeFixed, replication.KindBytes, 0)
		default:
			set(decodeBytes, replication.KindBytes, 0)
		}
	case typeEnum:
		set(decodeEnum, replication.KindString, 0)
	case typeArray:
		elem, column := compileReadNode(n.items, as)
		if elem.op == decodeGeneric || elem.op == decodeArray {
			set(decodeGeneric, replication.KindJSON, 0)
			break
		}
		c = column
		c.Elem = column.Kind
		set(decodeArray, replication.KindArray, column.Bits)
		s.elem = &elem
	default: // a map, a record, a union of several
		set(decodeGeneric, replication.KindJSON, 0)
	}
	return s, c
}

func (s *readStep) read(c *cursor, dst *replication.Value, mem *Memory) {
	if s.value >= 0 {
		switch i := c.long(); i {
		case int64(s.value):
			if s.null == s.value { // a union of null alone
				*dst = replication.Null
				return
			}
		case int64(s.null):
			if i < 0 {
				c.fail(errBranch)
			}
			*dst = replication.Null
			return
		default:
			c.fail(errBranch)
			return
		}
	}
	switch s.op {
	case decodeNull:
		*dst = replication.Null
	case decodeBool:
		*dst = replication.BoolValue(c.boolean())
	case decodeInt:
		*dst = replication.IntValue(c.int())
	case decodeLong:
		*dst = replication.IntValue(c.long())
	case decodeFloat:
		*dst = replication.FloatValue(c.float())
	case decodeDouble:
		*dst = replication.FloatValue(c.double())
	case decodeBytes:
		*dst = replication.BytesValue(replication.KindBytes, c.bytes())
	case decodeFixed:
		*dst = replication.BytesValue(replication.KindBytes, c.fixed(s.size))
	case decodeString, decodeJSONText:
		b := c.bytes()
		if !utf8.Valid(b) {
			c.fail(errUTF8)
		}
		*dst = replication.BytesValue(s.kind, b)
	case decodeDecimalText:
		b := c.bytes()
		if c.err == nil && !isDecimalText(b) {
			c.fail(errNumber)
		}
		*dst = replication.BytesValue(s.kind, b)
	case decodeDecimal:
		s.readDecimal(c, c.bytes(), dst, mem)
	case decodeDecimalFixed:
		s.readDecimal(c, c.fixed(s.size), dst, mem)
	case decodeEnum:
		if i := c.index(len(s.node.symbols), errSymbol); c.err == nil {
			*dst = replication.StringValue(replication.KindString, s.node.symbols[i])
		}
	case decodeDate:
		*dst = replication.NumValue(s.kind, dateFromAvro(c.int()))
	case decodeMillis:
		*dst = replication.NumValue(s.kind, timeOfDay(c, c.int(), 24*3600*1000)*1000)
	case decodeTimeMicros:
		*dst = replication.NumValue(s.kind, timeOfDay(c, c.long(), 24*3600*1e6))
	case decodeTimestamp:
		*dst = replication.NumValue(s.kind, c.long())
	case decodeTimestampMilli:
		*dst = replication.NumValue(s.kind, microsFromMillis(c, c.long()))
	case decodeTimestampNano:
		*dst = replication.NumValue(s.kind, microsFromNanos(c.long()))
	case decodeUUIDText:
		s.readUUID(c, c.bytes(), dst, mem)
	case decodeUUIDFixed:
		*dst = replication.BytesValue(replication.KindUUID, c.fixed(16))
	case decodeArray:
		s.readArray(c, dst, mem)
	case decodeGeneric:
		start := len(mem.bytes)
		w := writer{c: c, strict: true}
		mem.bytes = w.value(mem.bytes, s.node, 0)
		*dst = replication.BytesValue(replication.KindJSON, mem.bytes[start:len(mem.bytes):len(mem.bytes)])
	default:
		s.readConnect(c, dst, mem)
	}
}

func (s *readStep) readDecimal(c *cursor, b []byte, dst *replication.Value, mem *Memory) {
	if c.err != nil {
		return
	}
	start := len(mem.bytes)
	var err error
	if mem.bytes, err = appendDecimalText(mem.bytes, b, s.scale); err != nil {
		c.fail(err)
		return
	}
	if len(mem.bytes) > c.limit { // a byte at a large scale is a long text
		c.fail(errOutput)
		return
	}
	*dst = replication.BytesValue(replication.KindDecimal, mem.bytes[start:len(mem.bytes):len(mem.bytes)])
}

func (s *readStep) readUUID(c *cursor, text []byte, dst *replication.Value, mem *Memory) {
	if c.err != nil {
		return
	}
	start := len(mem.bytes)
	var ok bool
	if mem.bytes, ok = appendUUIDBytes(mem.bytes, text); !ok {
		c.fail(errUUID)
		return
	}
	*dst = replication.BytesValue(replication.KindUUID, mem.bytes[start:start+16:start+16])
}

func (s *readStep) readArray(c *cursor, dst *replication.Value, mem *Memory) {
	start := len(mem.values)
	for c.err == nil {
		n, end := c.block()
		if n == 0 {
			break
		}
		for ; n > 0 && c.err == nil; n-- {
			at := c.pos
			mem.values = append(mem.values, replication.Null)
			// In place: no element is an array, so nothing else appends here.
			s.elem.read(c, &mem.values[len(mem.values)-1], mem)
			c.item(at)
		}
		if end >= 0 && c.pos != end {
			c.fail(errBlock)
		}
	}
	*dst = replication.ArrayValue(mem.values[start:len(mem.values):len(mem.values)])
}

func dateFromAvro(days int64) int64 {
	switch days {
	case math.MaxInt32:
		return replication.Infinity
	case math.MinInt32:
		return replication.NegInfinity
	}
	return days
}

func timeOfDay(c *cursor, t, limit int64) int64 {
	if t < 0 || t > limit {
		c.fail(errTime)
		return 0
	}
	return t
}

func microsFromMillis(c *cursor, ms int64) int64 {
	switch {
	case ms == math.MaxInt64 || ms == math.MinInt64:
		return ms // infinity, as for microseconds
	case ms > math.MaxInt64/1000 || ms < math.MinInt64/1000:
		c.fail(errRange)
		return 0
	}
	return ms * 1000
}

func microsFromNanos(ns int64) int64 {
	if ns == math.MaxInt64 || ns == math.MinInt64 {
		return ns
	}
	us := ns / 1000
	if ns%1000 < 0 {
		us--
	}
	return us
}

// appendUUIDBytes appends the 16 bytes of a UUID in its text form of 8-4-4-4-12
// hexadecimal digits.
func appendUUIDBytes(dst, text []byte) ([]byte, bool) {
	if len(text) != 36 {
		return dst, false
	}
	for i := 0; i < 36; i += 2 {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if text[i] != '-' {
				return dst, false
			}
			i++
		}
		hi, lo := unhex(text[i]), unhex(text[i+1])
		if hi > 15 || lo > 15 {
			return dst, false
		}
		dst = append(dst, hi<<4|lo)
	}
	return dst, true
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
