package avro

import (
	"errors"
	"fmt"
	"math"

	"cdc/replication"
)

// compileStep finds how a column is written as a type: by the type itself, or
// by the first branch of a union that holds it.
func compileStep(n *node, c replication.Column) (step, error) {
	if n.typ != typeUnion {
		if !c.NotNull {
			return step{}, fmt.Errorf("the column may be null, and %s has no null", n.spelled)
		}
		return fit(n, c.Kind, c)
	}
	if len(n.branches) > 64 {
		return step{}, errors.New("a union of more than 64 branches")
	}
	if !c.NotNull && n.null < 0 {
		return step{}, errors.New("the column may be null, and the union has no null")
	}
	var problems []error
	for i, b := range n.branches {
		if b.typ == typeNull {
			continue
		}
		s, err := fit(b, c.Kind, c)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		s.union, s.branch = true, byte(i<<1)
		s.zero = append([]byte{s.branch}, s.zero...)
		if n.null >= 0 {
			s.nullable, s.null = true, byte(n.null<<1)
		}
		return s, nil
	}
	if len(problems) == 0 {
		return step{}, errors.New("the union holds nothing but null")
	}
	return step{}, errors.Join(problems...)
}

// fit finds how a value of that kind is written as a type that is no union; c
// tells its width, precision and scale. Only what loses nothing fits.
func fit(n *node, kind replication.Kind, c replication.Column) (step, error) {
	s := step{kind: kind, size: n.size, precision: n.precision, scale: n.scale, zero: zeroBytes(n)}
	switch kind {
	case replication.KindBool:
		if n.typ == typeBoolean {
			s.op = encodeBool
			return s, nil
		}
	case replication.KindInt, replication.KindUint:
		if fitInteger(&s, n, kind, int(c.Bits)) {
			return s, nil
		}
	case replication.KindFloat:
		switch {
		case n.typ == typeFloat && c.Bits <= 32:
			s.op = encodeFloat
			return s, nil
		case n.typ == typeDouble:
			s.op = encodeDouble
			return s, nil
		}
	case replication.KindDecimal:
		switch {
		case n.typ == typeString && n.logical == logicalNone:
			s.op = encodeText
			return s, nil
		case n.logical == logicalDecimal && c.Precision > 0 && max(c.Scale, 0) <= n.scale && c.Precision-c.Scale <= n.precision-n.scale:
			s.op = encodeDecimal
			return s, nil
		}
	case replication.KindString, replication.KindJSON:
		if (n.typ == typeString || n.typ == typeBytes) && n.logical == logicalNone {
			s.op = encodeText
			return s, nil
		}
	case replication.KindBytes:
		if n.typ == typeBytes && n.logical == logicalNone {
			s.op = encodeBytes
			return s, nil
		}
	case replication.KindDate:
		if n.logical == logicalDate {
			s.op = encodeDate
			return s, nil
		}
	case replication.KindTime:
		if n.logical == logicalTimeMicros {
			s.op, s.lo, s.hi = encodeIntChecked, 0, 24*3600*1e6
			return s, nil
		}
	case replication.KindTimestamp:
		if n.logical == logicalLocalMicros {
			s.op = encodeInt
			return s, nil
		}
	case replication.KindTimestampTZ:
		if n.logical == logicalTimestampMicros {
			s.op = encodeInt
			return s, nil
		}
	case replication.KindUUID:
		switch {
		case n.typ == typeString:
			s.op = encodeUUIDText
			return s, nil
		case n.typ == typeFixed && n.size == 16 && n.logical != logicalDecimal:
			s.op = encodeUUIDFixed
			return s, nil
		}
	case replication.KindArray:
		if n.typ == typeArray {
			return fitArray(s, n, c)
		}
	default: // nothing fits
	}
	what := kind.String()
	if c.TypeName != "" {
		what = c.TypeName + " (" + what + ")"
	}
	return step{}, fmt.Errorf("%s does not fit %s", what, n.spelled)
}

func fitArray(s step, n *node, c replication.Column) (step, error) {
	elem := c
	elem.Kind = c.Elem
	// Elements may be null; where the items have no null, a null is an error of
	// its row.
	elem.NotNull = n.items.typ != typeUnion || n.items.null < 0
	e, err := compileStep(n.items, elem)
	if err != nil {
		return step{}, fmt.Errorf("its elements: %w", err)
	}
	s.op, s.elem = encodeArray, &e
	return s, nil
}

func fitInteger(s *step, n *node, kind replication.Kind, bits int) bool {
	unsigned := kind == replication.KindUint
	value := bits // bits of the magnitude
	if !unsigned {
		value--
	}
	switch {
	case n.logical == logicalDecimal:
		// Digits of the largest magnitude of 8, 16, 32 and 64 bits.
		digits := map[int]int{7: 3, 8: 3, 15: 5, 16: 5, 23: 7, 24: 8, 31: 10, 32: 10, 63: 19, 64: 20}[value]
		if digits == 0 || digits > n.precision-n.scale {
			return false
		}
		s.op = encodeIntDecimal
		if unsigned {
			s.op = encodeUintDecimal
		}
	case n.logical != logicalNone:
		return false
	case n.typ == typeInt && value <= 31, n.typ == typeLong && value <= 63:
		s.lo, s.hi = math.MinInt64, math.MaxInt64
		if n.typ == typeInt {
			s.lo, s.hi = math.MinInt32, math.MaxInt32
		}
		switch {
		case unsigned:
			s.op = encodeUintChecked
		case n.typ == typeInt:
			s.op = encodeIntChecked
		default:
			s.op = encodeInt
		}
	case n.typ == typeFloat && value <= 24:
		s.op = encodeIntFloat
		if unsigned {
			s.op = encodeUintFloat
		}
	case n.typ == typeDouble && value <= 53:
		s.op = encodeIntDouble
		if unsigned {
			s.op = encodeUintDouble
		}
	default:
		return false
	}
	return true
}

// zeroBytes is the encoding of the type's zero, which stands for a value that
// the log left out.
func zeroBytes(n *node) []byte {
	switch n.typ {
	case typeFloat:
		return make([]byte, 4)
	case typeDouble:
		return make([]byte, 8)
	case typeFixed:
		return make([]byte, n.size)
	case typeBytes:
		if n.logical == logicalDecimal {
			return []byte{2, 0}
		}
		return []byte{0}
	case typeString:
		if n.logical == logicalUUID {
			return appendUUID([]byte{36 << 1}, make([]byte, 16))
		}
		return []byte{0}
	case typeNull:
		return nil
	default: // boolean, int, long, enum, an array or map without items
		return []byte{0}
	}
}
