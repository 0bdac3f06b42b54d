package avro

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unsafe"
)

var (
	errJSONZone = errors.New("a time of day in a place has no zone: leave it out, or use a timestamp")
	errEnum     = errors.New("none of the enum's symbols")
)

// mismatch says that a value has no form in a type.
func mismatch(t *jsonType, tok token) error {
	what := jsonNames[tok.kind]
	switch tok.kind {
	case jsonNumber:
		what += " " + string(appendCut(nil, tok.text, 0))
	case jsonString:
		what += " " + string(appendCut(nil, tok.text, '\''))
	default: // nothing to show
	}
	return fmt.Errorf("%s is no %s and cannot become one", what, t.spelled)
}

// coerce writes a scalar as a type that is no union, record, array or map.
func (s *JSONScratch) coerce(dst []byte, t *jsonType, tok token) ([]byte, error) {
	if tok.kind == jsonNull {
		if t.typ == typeNull {
			return dst, nil
		}
		return dst, errNull
	}
	switch t.typ {
	case typeBoolean:
		return appendJSONBool(dst, t, tok)
	case typeInt, typeLong:
		return s.integer(dst, t, tok)
	case typeFloat, typeDouble:
		return appendJSONFloat(dst, t, tok)
	case typeString:
		b := tok.literal()
		if t.logical == logicalUUID {
			if _, ok := parseUUIDText(b); !ok {
				return dst, mismatch(t, tok)
			}
		}
		return append(binary.AppendVarint(dst, int64(len(b))), b...), nil
	case typeBytes, typeFixed:
		return s.bytes(dst, t, tok)
	case typeEnum:
		if tok.kind == jsonString {
			for i, symbol := range t.symbols {
				if symbol == string(tok.text) {
					return binary.AppendVarint(dst, int64(i)), nil
				}
			}
			return dst, fmt.Errorf("%s: %w", appendCut(nil, tok.text, '\''), errEnum)
		}
	default: // null, and what has parts
	}
	return dst, mismatch(t, tok)
}

var trueText, falseText = []byte("true"), []byte("false")

// literal is the token as a text.
func (tok token) literal() []byte {
	switch tok.kind {
	case jsonTrue:
		return trueText
	case jsonFalse:
		return falseText
	default: // a text or a number
	}
	return tok.text
}

func appendJSONBool(dst []byte, t *jsonType, tok token) ([]byte, error) {
	switch tok.kind {
	case jsonTrue:
		return append(dst, 1), nil
	case jsonFalse:
		return append(dst, 0), nil
	default: // a text or a number
	}
	switch string(tok.text) {
	case "true", "t", "1":
		return append(dst, 1), nil
	case "false", "f", "0":
		return append(dst, 0), nil
	}
	return dst, mismatch(t, tok)
}

// integer writes an int or a long, also those that are times.
func (s *JSONScratch) integer(dst []byte, t *jsonType, tok token) ([]byte, error) {
	var v int64
	ok := tok.kind == jsonNumber || tok.kind == jsonString
	if ok {
		v, ok = parseInteger(tok.text)
	}
	if !ok && tok.kind == jsonString {
		var err error
		if v, err = parseTimeAs(t, tok); err != nil {
			return dst, err
		}
	} else if !ok {
		return dst, mismatch(t, tok)
	}
	if t.typ == typeInt && v != int64(int32(v)) {
		return dst, fmt.Errorf("%s: %w", appendCut(nil, tok.text, 0), errOverflow)
	}
	return binary.AppendVarint(dst, v), nil
}

// parseInteger reads a whole number, also one with a fraction of zeros or an
// exponent.
func parseInteger(b []byte) (v int64, ok bool) {
	digits, negative := b, false
	if len(digits) > 0 && (digits[0] == '-' || digits[0] == '+') {
		digits, negative = digits[1:], digits[0] == '-'
	}
	if len(digits) == 0 || digits[0]-'0' > 9 {
		return 0, false
	}
	for _, c := range digits {
		if c-'0' > 9 {
			return wholeFloat(b)
		}
		v = v*10 + int64(c-'0')
	}
	if len(digits) > 18 { // which may overflow
		v, err := strconv.ParseInt(view(b), 10, 64)
		return v, err == nil
	}
	if negative {
		v = -v
	}
	return v, true
}

// wholeFloat reads a number with a point or an exponent that is whole all the
// same, to the last digit.
func wholeFloat(b []byte) (int64, bool) {
	if r := (jsonReader{b: b}); !r.wholeNumber() {
		return 0, false // a time, or a form of Go's
	}
	shift := 0 // of the point, to the right
	if i := bytes.IndexAny(b, "eE"); i >= 0 {
		var err error
		if shift, err = strconv.Atoi(view(b[i+1:])); err != nil {
			return 0, false
		}
		b = b[:i]
	}
	whole, fraction, _ := bytes.Cut(b, []byte{'.'})
	sign := bytes.TrimRight(whole, "0123456789")
	digits := string(whole[len(sign):]) + string(fraction)
	significant := strings.TrimRight(digits, "0")
	shift += len(digits) - len(significant) - len(fraction)
	switch significant = strings.TrimLeft(significant, "0"); {
	case significant == "":
		return 0, true
	case shift < 0 || shift > 18:
		return 0, false
	}
	v, err := strconv.ParseInt(string(sign)+significant+strings.Repeat("0", shift), 10, 64)
	return v, err == nil
}

// view is b as a string without a copy, for functions that keep nothing of it.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// parseTimeAs reads a text as the time that the type counts: a plain int or long
// takes seconds since 1970.
func parseTimeAs(t *jsonType, tok token) (int64, error) {
	b := tok.text
	if t.logical == logicalTimeMillis || t.logical == logicalTimeMicros {
		seconds, nanos, ok := parseClock(b)
		switch {
		case !ok:
			return 0, mismatch(t, tok)
		case t.logical == logicalTimeMillis:
			return seconds*1e3 + nanos/1e6, nil
		}
		return seconds*1e6 + nanos/1e3, nil
	}
	at, ok := readISO(b)
	if !ok {
		return 0, mismatch(t, tok)
	}
	switch t.logical {
	case logicalDate:
		days := at.seconds / (24 * 3600)
		if at.seconds%(24*3600) < 0 {
			days--
		}
		return days, nil
	case logicalTimestampMillis:
		return at.seconds*1e3 + at.nanos/1e6, nil
	case logicalTimestampMicros:
		return at.seconds*1e6 + at.nanos/1e3, nil
	case logicalLocalMillis, logicalLocalMicros, logicalLocalNanos:
		switch {
		case at.zone:
			return 0, fmt.Errorf("%s: %w", appendCut(nil, b, '\''), errJSONZone)
		case t.logical == logicalLocalMillis:
			return at.seconds*1e3 + at.nanos/1e6, nil
		case t.logical == logicalLocalMicros:
			return at.seconds*1e6 + at.nanos/1e3, nil
		}
		return inNanos(at)
	case logicalTimestampNanos:
		return inNanos(at)
	default:
		if !at.clock {
			return 0, mismatch(t, tok)
		}
		return at.seconds, nil
	}
}

func inNanos(at isoTime) (int64, error) {
	const limit = math.MaxInt64/1_000_000_000 - 1
	if at.seconds > limit || at.seconds < -limit {
		return 0, errOverflow
	}
	return at.seconds*1e9 + at.nanos, nil
}

func appendJSONFloat(dst []byte, t *jsonType, tok token) ([]byte, error) {
	bits := 64
	if t.typ == typeFloat {
		bits = 32
	}
	var f float64
	switch tok.kind {
	case jsonNumber:
	case jsonString:
		switch string(tok.text) {
		case "NaN", "Infinity", "-Infinity":
		default:
			if r := (jsonReader{b: tok.text}); !r.wholeNumber() {
				return dst, mismatch(t, tok)
			}
		}
	default:
		return dst, mismatch(t, tok)
	}
	f, err := strconv.ParseFloat(view(tok.text), bits)
	if err != nil {
		return dst, fmt.Errorf("%s: %w", appendCut(nil, tok.text, 0), errOverflow)
	}
	if bits == 32 {
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(f))), nil
	}
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(f)), nil
}

// wholeNumber reports whether the text is a number and nothing else. A sign may
// be a plus.
func (r *jsonReader) wholeNumber() bool {
	if r.at('+') {
		r.pos++
		if r.at('-') {
			return false
		}
	}
	if !r.at('-') && (r.pos >= len(r.b) || r.b[r.pos]-'0' > 9) {
		return false
	}
	_, err := r.number()
	return err == nil && r.pos == len(r.b)
}

// bytes writes bytes and fixed: decimals as numbers, UUIDs as their 16 bytes,
// any other text as its bytes in UTF-8.
func (s *JSONScratch) bytes(dst []byte, t *jsonType, tok token) ([]byte, error) {
	switch {
	case t.logical == logicalDecimal && (tok.kind == jsonNumber || tok.kind == jsonString):
		text, err := s.plainNumber(tok.text)
		if err != nil {
			return dst, mismatch(t, tok)
		}
		out, err := appendDecimal(dst, text, t.precision, t.scale, t.size)
		if err != nil {
			return dst, fmt.Errorf("%s: %w", appendCut(nil, tok.text, 0), err)
		}
		return out, nil
	case tok.kind != jsonString:
		return dst, mismatch(t, tok)
	case t.typ == typeBytes:
		return append(binary.AppendVarint(dst, int64(len(tok.text))), tok.text...), nil
	case t.logical == logicalUUID:
		u, ok := parseUUIDText(tok.text)
		if !ok {
			return dst, mismatch(t, tok)
		}
		return append(dst, u[:]...), nil
	case len(tok.text) != t.size:
		return dst, fmt.Errorf("a text of %d bytes where the fixed has %d", len(tok.text), t.size)
	}
	return append(dst, tok.text...), nil
}

// plainNumber writes an exponent out.
func (s *JSONScratch) plainNumber(b []byte) ([]byte, error) {
	r := jsonReader{b: b}
	if !r.wholeNumber() {
		return nil, errNotNumber
	}
	if b[0] == '+' {
		b = b[1:]
	}
	e := len(b)
	for i, c := range b {
		if c == 'e' || c == 'E' {
			e = i
		}
	}
	if e == len(b) {
		return b, nil
	}
	exponent, err := strconv.Atoi(view(b[e+1:]))
	if err != nil || exponent > maxPrecision || exponent < -maxPrecision {
		return nil, errTooLong
	}
	out := s.out[:0]
	mantissa := b[:e]
	if mantissa[0] == '-' {
		out, mantissa = append(out, '-'), mantissa[1:]
	}
	point := len(mantissa)
	for i, c := range mantissa {
		if c == '.' {
			point = i
		}
	}
	digits := append(append([]byte(nil), mantissa[:point]...), mantissa[min(point+1, len(mantissa)):]...)
	place := point + exponent // of the point, from the first digit
	for ; place <= 0; place++ {
		digits = append([]byte{'0'}, digits...)
	}
	for len(digits) < place {
		digits = append(digits, '0')
	}
	out = append(out, digits[:place]...)
	if place < len(digits) {
		out = append(append(out, '.'), digits[place:]...)
	}
	s.out = out
	return out, nil
}

// IsUUID reports whether b is a UUID as text.
func IsUUID(b []byte) bool {
	_, ok := parseUUIDText(b)
	return ok
}

// parseUUIDText reads 8-4-4-4-12 hexadecimal digits.
func parseUUIDText(b []byte) (u [16]byte, ok bool) {
	if len(b) != 36 || b[8] != '-' || b[13] != '-' || b[18] != '-' || b[23] != '-' {
		return u, false
	}
	n := 0
	for _, part := range [...][2]int{{0, 8}, {9, 13}, {14, 18}, {19, 23}, {24, 36}} {
		if _, err := hex.Decode(u[n:], b[part[0]:part[1]]); err != nil {
			return u, false
		}
		n += (part[1] - part[0]) / 2
	}
	return u, true
}
