package replication

import (
	"fmt"
	"math"
	"strconv"
	"unsafe"
)

// Kind says which of a closed set of things a Value is.
type Kind uint8

// The kinds. The comment names the accessor that reads a Value of the kind.
const (
	// KindNull is SQL NULL. It is never a column's default.
	KindNull Kind = iota
	// KindUnchanged is a value that the log left out: a TOASTed value that the
	// update did not touch, or a column outside the replica identity in a
	// Before image. It is not NULL and never overwrites anything.
	KindUnchanged
	KindBool        // Bool
	KindInt         // Int
	KindUint        // Uint
	KindFloat       // Float
	KindDecimal     // Bytes: the exact text: [-]digits[.digits], or NaN, Infinity, -Infinity
	KindString      // Bytes: UTF-8
	KindBytes       // Bytes
	KindDate        // Int: days since 1970-01-01, proleptic Gregorian; or Infinity, NegInfinity
	KindTime        // Int: microseconds since midnight, 0 to 86,400,000,000 (24:00:00) inclusive
	KindTimestamp   // Int: microseconds since 1970-01-01 00:00:00 without a zone; or Infinity, NegInfinity
	KindTimestampTZ // Int: microseconds since 1970-01-01 00:00:00 UTC; or Infinity, NegInfinity
	KindUUID        // Bytes: 16 bytes
	KindJSON        // Bytes: the JSON text as the source printed it
	KindArray       // Elems: one dimension, of scalars and nulls
	// KindInvalid is a value that has no place in its column's kind, though the
	// source could read the row: an array of two dimensions, a timestamp beyond
	// the year 294246. Bytes is its text as the source printed it, Reason says
	// why. No record can hold it, so its row is an error, or a dead letter.
	KindInvalid

	kindCount
)

var kindNames = [kindCount]string{
	"null", "unchanged", "bool", "int", "uint", "float", "decimal", "string", "bytes",
	"date", "time", "timestamp", "timestamptz", "uuid", "json", "array", "invalid",
}

func (k Kind) String() string {
	if k < kindCount {
		return kindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Infinity and NegInfinity are the payloads of a KindDate, KindTimestamp or
// KindTimestampTZ that lies beyond every finite one, as PostgreSQL's
// 'infinity' and '-infinity' do.
const (
	Infinity    int64 = math.MaxInt64
	NegInfinity int64 = math.MinInt64
)

// Reason says why a KindInvalid is one.
type Reason uint8

// The reasons.
const (
	ReasonForm       Reason = iota + 1 // the text has no form that the source knows
	ReasonRange                        // the kind's number cannot hold it
	ReasonDimensions                   // an array of more than one dimension
	ReasonBounds                       // an array whose first index is not 1
	ReasonZeroDate                     // a date with a part that is zero, as MySQL allows
)

func (r Reason) String() string {
	switch r {
	case ReasonRange:
		return "lies outside the range of a 64-bit count of microseconds since 1970 (years up to 294246)"
	case ReasonDimensions:
		return "arrays of more than one dimension are not supported"
	case ReasonBounds:
		return "arrays whose first index is not 1 are not supported"
	case ReasonZeroDate:
		return "is no date of the calendar (zero_dates of the source says what else to make of it)"
	default: // ReasonForm
	}
	return "unexpected form"
}

// Value is one cell: a kind and its payload in 24 bytes, without boxing. The
// zero Value is NULL. Bytes and elements are borrowed: they point into the
// arena of the Batch (or of the sink's batch) that the Value came in and are
// valid until that is released.
type Value struct {
	ptr  unsafe.Pointer // first byte, or first element of an array; nil when n is 0
	num  uint64
	n    uint32 // bytes, or elements
	kind Kind
}

// Null is SQL NULL; Unchanged is the mark of a value the log left out.
var (
	Null      = Value{}
	Unchanged = Value{kind: KindUnchanged}
)

// BoolValue returns a KindBool.
func BoolValue(b bool) Value {
	if b {
		return Value{kind: KindBool, num: 1}
	}
	return Value{kind: KindBool}
}

// IntValue returns a KindInt.
func IntValue(i int64) Value { return Value{kind: KindInt, num: uint64(i)} }

// UintValue returns a KindUint.
func UintValue(u uint64) Value { return Value{kind: KindUint, num: u} }

// FloatValue returns a KindFloat. A column of 32 bits holds exactly the value
// of its float32.
func FloatValue(f float64) Value { return Value{kind: KindFloat, num: math.Float64bits(f)} }

// NumValue returns a Value of kind KindDate, KindTime, KindTimestamp or
// KindTimestampTZ, in the unit that the kind's comment names. Any other kind
// panics.
func NumValue(k Kind, i int64) Value {
	if k < KindDate || k > KindTimestampTZ {
		panic("replication: NumValue of " + k.String()) //nolint:forbidigo // a mistake of the program
	}
	return Value{kind: k, num: uint64(i)}
}

// BytesValue returns a Value of kind KindDecimal, KindString, KindBytes,
// KindUUID or KindJSON that borrows b: b must not change for as long as the
// Value is used, and must be shorter than 4 GiB. Any other kind panics.
func BytesValue(k Kind, b []byte) Value {
	switch k {
	case KindDecimal, KindString, KindBytes, KindUUID, KindJSON:
	default:
		panic("replication: BytesValue of " + k.String()) //nolint:forbidigo // a mistake of the program
	}
	return Value{kind: k, ptr: unsafe.Pointer(unsafe.SliceData(b)), n: uint32(len(b))}
}

// StringValue is BytesValue over the bytes of s.
func StringValue(k Kind, s string) Value {
	return BytesValue(k, unsafe.Slice(unsafe.StringData(s), len(s)))
}

// InvalidValue returns a KindInvalid that borrows text.
func InvalidValue(text []byte, why Reason) Value {
	return Value{kind: KindInvalid, num: uint64(why), ptr: unsafe.Pointer(unsafe.SliceData(text)), n: uint32(len(text))}
}

// ArrayValue returns a KindArray that borrows elems.
func ArrayValue(elems []Value) Value {
	return Value{kind: KindArray, ptr: unsafe.Pointer(unsafe.SliceData(elems)), n: uint32(len(elems))}
}

// Kind returns the kind.
func (v Value) Kind() Kind { return v.kind }

// IsNull reports whether v is SQL NULL. Unchanged is not.
func (v Value) IsNull() bool { return v.kind == KindNull }

// IsUnchanged reports whether the log left the value out.
func (v Value) IsUnchanged() bool { return v.kind == KindUnchanged }

// Bool returns the payload of a KindBool.
func (v Value) Bool() bool { return v.num != 0 }

// Int returns the payload of a KindInt, KindDate, KindTime, KindTimestamp or
// KindTimestampTZ, in the unit of the kind.
func (v Value) Int() int64 { return int64(v.num) }

// Uint returns the payload of a KindUint.
func (v Value) Uint() uint64 { return v.num }

// Float returns the payload of a KindFloat.
func (v Value) Float() float64 { return math.Float64frombits(v.num) }

// Reason returns why a KindInvalid is one.
func (v Value) Reason() Reason { return Reason(v.num) }

// Bytes returns the payload of a KindDecimal, KindString, KindBytes, KindUUID,
// KindJSON or KindInvalid; nil for every other kind. The slice is borrowed and must not be
// changed.
func (v Value) Bytes() []byte {
	if v.ptr == nil || v.kind == KindArray {
		return nil
	}
	return unsafe.Slice((*byte)(v.ptr), v.n)
}

// Elems returns the elements of a KindArray; nil for every other kind. The
// slice is borrowed and must not be changed.
func (v Value) Elems() []Value {
	if v.ptr == nil || v.kind != KindArray {
		return nil
	}
	return unsafe.Slice((*Value)(v.ptr), v.n)
}

// Len returns the number of bytes, or of elements, of a kind that has them.
func (v Value) Len() int { return int(v.n) }

// Equal reports whether v and w are the same kind with the same payload,
// element by element. Two NaN are equal.
func (v Value) Equal(w Value) bool {
	if v.kind != w.kind || v.n != w.n {
		return false
	}
	switch v.kind {
	case KindFloat:
		return v.num == w.num || (math.IsNaN(v.Float()) && math.IsNaN(w.Float()))
	case KindArray:
		a, b := v.Elems(), w.Elems()
		for i := range a {
			if !a[i].Equal(b[i]) {
				return false
			}
		}
		return true
	default:
		return v.num == w.num && string(v.Bytes()) == string(w.Bytes())
	}
}

// String renders v for logs, errors and tests; it is not a wire format.
func (v Value) String() string {
	switch v.kind {
	case KindNull, KindUnchanged:
		return v.kind.String()
	case KindBool:
		return strconv.FormatBool(v.Bool())
	case KindInt:
		return strconv.FormatInt(v.Int(), 10)
	case KindDate, KindTime, KindTimestamp, KindTimestampTZ:
		return fmt.Sprintf("%s(%d)", v.kind, v.Int())
	case KindUint:
		return strconv.FormatUint(v.Uint(), 10)
	case KindFloat:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case KindDecimal, KindJSON:
		return string(v.Bytes())
	case KindString, KindInvalid:
		return strconv.Quote(string(v.Bytes()))
	case KindArray:
		return fmt.Sprint(v.Elems())
	default:
		return fmt.Sprintf("%x", v.Bytes())
	}
}
