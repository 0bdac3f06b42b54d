package avro

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"cdc/replication"
)

// Encoder appends rows as Avro records in Confluent's wire format by a plan
// compiled once. It is immutable: any goroutine may use it.
type Encoder struct {
	prefix [5]byte
	steps  []step
}

type encodeOp uint8

const (
	encodeConstant encodeOp = iota
	encodeOmitted           // OmittedField
	encodeBool
	encodeInt         // KindInt, or any other number that is an int64 as it stands
	encodeIntChecked  // the same, between lo and hi
	encodeUintChecked // KindUint up to hi
	encodeFloat       // KindFloat
	encodeDouble      // KindFloat
	encodeIntFloat    // KindInt as float
	encodeIntDouble   // KindInt as double
	encodeUintFloat   // KindUint as float
	encodeUintDouble  // KindUint as double
	encodeText        // bytes that must be UTF-8
	encodeBytes       // any bytes
	encodeDecimal     // KindDecimal as decimal
	encodeIntDecimal  // KindInt as decimal
	encodeUintDecimal // KindUint as decimal
	encodeDate        // days, with infinity
	encodeUUIDText    // 16 bytes as 36 characters
	encodeUUIDFixed   // 16 bytes
	encodeArray       // elements by elem
)

// step writes one field.
type step struct {
	op     encodeOp
	kind   replication.Kind // of every value that is neither null nor unchanged
	union  bool
	null   byte // how the null branch is written
	branch byte // how the value's branch is written
	// nullable says that the union has a null branch.
	nullable         bool
	source           int // index into the row
	lo, hi           int64
	precision, scale int
	size             int // of a fixed, in bytes
	elem             *step
	zero             []byte // what stands for Unchanged when there is no null
	constant         []byte
	column           string // for messages
	field            string // its name in the record
}

var (
	errNull      = errors.New("null, but the field is not nullable")
	errOverflow  = errors.New("beyond the range of the Avro type")
	errTimeOfDay = errors.New("not a time of day from 0 to 24 hours")
	errDateRange = errors.New("beyond the range of Avro's date")
	errUUIDSize  = errors.New("not 16 bytes")
	errArrayKind = errors.New("an element of another kind than the column's")
)

// hint is what a person can do about a value that the column's type has and the
// field's has not.
const hint = " (list the column in the table's as_text, or set on_error: dead-letter)"

func noPlace(kind replication.Kind, why replication.Reason) error {
	way := ""
	switch why {
	case replication.ReasonRange, replication.ReasonDimensions, replication.ReasonBounds:
		way = hint
	default: // no text that any column of the type should have
	}
	return fmt.Errorf("has no place in %s: %s%s", kind, why, way)
}

// NewEncoder compiles a plan that writes rows by the schema, a record, under
// the id that the registry gave it. Each field takes the column of the spec
// whose Name, or Avro name, it bears (else of the one that its property
// cdc.name or one of its aliases names), and must hold every value of it
// without loss; a field without a column must have a default, which is then
// written always. A spec that no field names is not written. The error names
// the field and the column that do not fit.
func NewEncoder(schemaJSON string, schemaID int, fields []FieldSpec) (*Encoder, error) {
	s, err := ParseSchema(schemaJSON)
	if err != nil {
		return nil, err
	}
	if s.root.typ != typeRecord {
		return nil, fmt.Errorf("schema is %s, not a record", s.root.spelled)
	}
	if schemaID < 0 || int64(schemaID) > math.MaxUint32 {
		return nil, fmt.Errorf("schema id %d is beyond 32 bits", schemaID)
	}
	e := &Encoder{steps: make([]step, len(s.root.fields))}
	binary.BigEndian.PutUint32(e.prefix[1:], uint32(schemaID))
	for i := range s.root.fields {
		f := &s.root.fields[i]
		if f.omitted() {
			e.steps[i] = step{op: encodeOmitted}
			continue
		}
		spec := findSpec(f, fields)
		if spec == nil {
			constant, err := defaultBytes(f)
			if err != nil {
				return nil, fmt.Errorf("field %s: %w", f.name, err)
			}
			e.steps[i] = step{op: encodeConstant, constant: constant}
			continue
		}
		st, err := compileStep(f.node, spec.Column)
		if err != nil {
			return nil, fmt.Errorf("field %s cannot hold column %s: %w", f.name, spec.Column.Name, err)
		}
		st.source, st.column, st.field = spec.Source, spec.Column.Name, f.name
		e.steps[i] = st
	}
	return e, nil
}

func findSpec(f *field, specs []FieldSpec) *FieldSpec {
	for _, match := range []func(s *FieldSpec) bool{
		func(s *FieldSpec) bool { return s.Name == f.name },
		func(s *FieldSpec) bool { return Name(s.Name) == f.name },
		func(s *FieldSpec) bool { return f.prop(propName) == s.Name },
		func(s *FieldSpec) bool { return slices.Contains(f.aliases, s.Name) },
	} {
		for i := range specs {
			if match(&specs[i]) {
				return &specs[i]
			}
		}
	}
	return nil
}

func defaultBytes(f *field) ([]byte, error) {
	if !f.origin.HasDefault {
		return nil, errors.New("no column of that name, and no default")
	}
	s, err := f.origin.Type.Schema()
	if err != nil {
		return nil, fmt.Errorf("its type: %w", err)
	}
	b, err := s.Encode(f.origin.Default)
	if err != nil {
		return nil, fmt.Errorf("its default: %w", err)
	}
	return b, nil
}

// Append appends the row's record to dst. Unchanged is written as null, or,
// where the field has no null, as its type's zero: the caller marks it in a
// header. The error names the column; dst then comes back as it was.
func (e *Encoder) Append(dst []byte, row []replication.Value) ([]byte, error) {
	before := len(dst)
	dst = append(dst, e.prefix[:]...)
	for i := range e.steps {
		s := &e.steps[i]
		if s.op <= encodeOmitted {
			if s.op == encodeConstant {
				dst = append(dst, s.constant...)
			} else {
				dst = e.appendOmitted(dst, row)
			}
			continue
		}
		if s.source >= len(row) {
			return dst[:before], fmt.Errorf("column %s: the row has %d columns only", s.column, len(row))
		}
		var err error
		if dst, err = s.append(dst, &row[s.source]); err != nil {
			return dst[:before], fmt.Errorf("column %s: %s: %w", s.column, describe(row[s.source]), err)
		}
	}
	return dst, nil
}

func (s *step) append(dst []byte, v *replication.Value) ([]byte, error) {
	if kind := v.Kind(); kind != s.kind {
		switch {
		case kind == replication.KindInvalid:
			return dst, noPlace(s.kind, v.Reason())
		case kind != replication.KindNull && kind != replication.KindUnchanged:
			return dst, fmt.Errorf("a value of kind %s where the column's kind is %s", kind, s.kind)
		case s.nullable:
			return append(dst, s.null), nil
		case kind == replication.KindNull:
			return dst, errNull
		}
		return append(dst, s.zero...), nil
	}
	if s.union {
		dst = append(dst, s.branch)
	}
	switch s.op {
	case encodeBool:
		if v.Bool() {
			return append(dst, 1), nil
		}
		return append(dst, 0), nil
	case encodeInt:
		return binary.AppendVarint(dst, v.Int()), nil
	case encodeIntChecked:
		i := v.Int()
		if i < s.lo || i > s.hi {
			if s.kind == replication.KindTime {
				return dst, errTimeOfDay
			}
			return dst, errOverflow
		}
		return binary.AppendVarint(dst, i), nil
	case encodeUintChecked:
		u := v.Uint()
		if u > uint64(s.hi) {
			return dst, errOverflow
		}
		return binary.AppendVarint(dst, int64(u)), nil
	case encodeFloat:
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(v.Float()))), nil
	case encodeDouble:
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v.Float())), nil
	case encodeIntFloat:
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(v.Int()))), nil
	case encodeIntDouble:
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(float64(v.Int()))), nil
	case encodeUintFloat:
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(v.Uint()))), nil
	case encodeUintDouble:
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(float64(v.Uint()))), nil
	case encodeText:
		b := v.Bytes()
		if !utf8.Valid(b) {
			return dst, errUTF8
		}
		return append(binary.AppendVarint(dst, int64(len(b))), b...), nil
	case encodeBytes:
		b := v.Bytes()
		return append(binary.AppendVarint(dst, int64(len(b))), b...), nil
	case encodeDecimal:
		return appendDecimal(dst, v.Bytes(), s.precision, s.scale, s.size)
	case encodeIntDecimal:
		var buf [24]byte
		return appendDecimal(dst, strconv.AppendInt(buf[:0], v.Int(), 10), s.precision, s.scale, s.size)
	case encodeUintDecimal:
		var buf [24]byte
		return appendDecimal(dst, strconv.AppendUint(buf[:0], v.Uint(), 10), s.precision, s.scale, s.size)
	case encodeDate:
		return appendDate(dst, v.Int())
	case encodeUUIDText:
		if v.Len() != 16 {
			return dst, errUUIDSize
		}
		return appendUUID(append(dst, 36<<1), v.Bytes()), nil
	case encodeUUIDFixed:
		if v.Len() != 16 {
			return dst, errUUIDSize
		}
		return append(dst, v.Bytes()...), nil
	case encodeArray:
		return s.appendArray(dst, v.Elems())
	default: // encodeConstant is the caller's
	}
	return dst, errors.New("the plan has no way to write it")
}

func appendDate(dst []byte, days int64) ([]byte, error) {
	switch {
	case days == replication.Infinity:
		days = math.MaxInt32
	case days == replication.NegInfinity:
		days = math.MinInt32
	case days <= math.MinInt32 || days >= math.MaxInt32:
		return dst, errDateRange
	}
	return binary.AppendVarint(dst, days), nil
}

// appendArray writes all elements as one block.
func (s *step) appendArray(dst []byte, elems []replication.Value) ([]byte, error) {
	if len(elems) > 0 {
		dst = binary.AppendVarint(dst, int64(len(elems)))
		for i := range elems {
			if elems[i].IsUnchanged() {
				return dst, errArrayKind
			}
			var err error
			if dst, err = s.elem.append(dst, &elems[i]); err != nil {
				return dst, fmt.Errorf("element %d: %w", i, err)
			}
		}
	}
	return append(dst, 0), nil
}

func appendUUID(dst, u []byte) []byte {
	const hex = "0123456789abcdef"
	for i, c := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, hex[c>>4], hex[c&15])
	}
	return dst
}
