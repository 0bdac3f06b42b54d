package postgres

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"unsafe"

	"cdc/replication"
	"cdc/replication/arena"
)

// columnDecoder turns PostgreSQL's text output of one column's type into
// Values. It knows the forms under the settings that every session of this
// package has (sessionSettings): ISO dates in UTC, hex bytea, shortest floats.
// Compiled once per column; safe for concurrent use.
type columnDecoder struct {
	kind replication.Kind
	bits uint8
	elem *columnDecoder // of an array
}

// newColumnDecoder compiles the decoder of c.
func newColumnDecoder(c replication.Column) columnDecoder {
	d := columnDecoder{kind: c.Kind, bits: c.Bits}
	if c.Kind == replication.KindArray {
		d.elem = &columnDecoder{kind: c.Elem, bits: c.Bits}
	}
	return d
}

// value is decode, but a text that has no place in the column's kind becomes a
// KindInvalid with it.
func (d *columnDecoder) value(text []byte, a *arena.Arena) replication.Value {
	v, err := d.decode(text, a)
	if err != nil {
		return invalid(text, err)
	}
	return v
}

// invalid is the rest of value, for loops over columns: err is decode's of text.
func invalid(text []byte, err error) replication.Value {
	why := replication.ReasonForm
	switch {
	case errors.Is(err, errDims):
		why = replication.ReasonDimensions
	case errors.Is(err, errBounds):
		why = replication.ReasonBounds
	case errors.Is(err, errRange):
		why = replication.ReasonRange
	}
	return replication.InvalidValue(text, why)
}

// decode parses text, which is not NULL. The Value borrows text, which must
// live as long as a: decode may overwrite it (bytea, uuid and the elements of
// an array are decoded in place), so it is decoded once. After an error text is
// what it was. The error shows the text but not the column.
func (d *columnDecoder) decode(text []byte, a *arena.Arena) (replication.Value, error) {
	switch d.kind {
	case replication.KindString, replication.KindJSON:
		return replication.BytesValue(d.kind, text), nil
	case replication.KindInt:
		if i, ok := parseInt(text, d.bits); ok {
			return replication.IntValue(i), nil
		}
	case replication.KindDecimal:
		if validDecimal(text) {
			return replication.BytesValue(replication.KindDecimal, text), nil
		}
	case replication.KindTimestamp, replication.KindTimestampTZ:
		us, err := parseTimestamp(text, d.kind == replication.KindTimestampTZ)
		if err != nil {
			return replication.Value{}, badText(d, text, err)
		}
		return replication.NumValue(d.kind, us), nil
	case replication.KindBool:
		if len(text) == 1 && (text[0] == 't' || text[0] == 'f') {
			return replication.BoolValue(text[0] == 't'), nil
		}
	case replication.KindFloat:
		if f, ok := parseFloat(text, d.bits); ok {
			return replication.FloatValue(f), nil
		}
	case replication.KindDate:
		if days, ok := parseDate(text); ok {
			return replication.NumValue(replication.KindDate, days), nil
		}
	case replication.KindTime:
		if us, rest, ok := scanTime(text); ok && len(rest) == 0 && us <= usPerDay {
			return replication.NumValue(replication.KindTime, us), nil
		}
	case replication.KindBytes:
		if b, ok := decodeHex(text); ok {
			return replication.BytesValue(replication.KindBytes, b), nil
		}
	case replication.KindUUID:
		if b, ok := decodeUUID(text); ok {
			return replication.BytesValue(replication.KindUUID, b), nil
		}
	case replication.KindUint:
		if u, err := strconv.ParseUint(view(text), 10, int(d.bits)); err == nil {
			return replication.UintValue(u), nil
		}
	case replication.KindArray:
		a.Scratch = append(a.Scratch[:0], text...) // whose elements are decoded in place
		v, err := d.decodeArray(text, a)
		if err != nil {
			copy(text, a.Scratch)
			return replication.Value{}, badText(d, text, err)
		}
		return v, nil
	default: // no text decodes to the others
	}
	return replication.Value{}, badText(d, text, errSyntax)
}

var (
	errSyntax = errors.New("unexpected form")
	errRange  = errors.New(replication.ReasonRange.String())
	errDims   = errors.New(replication.ReasonDimensions.String())
	errBounds = errors.New(replication.ReasonBounds.String())
)

// badText says what could not be decoded, with the beginning of it.
func badText(d *columnDecoder, text []byte, err error) error {
	return fmt.Errorf("decode %s %q: %w", d.kind, clip(string(text[:min(len(text), 200)]), 100), err)
}

// view is b as a string without a copy; it must not outlive the call it is for.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func parseInt(b []byte, bits uint8) (int64, bool) {
	digits := b
	neg := len(b) > 0 && b[0] == '-'
	if neg {
		digits = b[1:]
	}
	if len(digits) == 0 || len(digits) > 18 {
		i, err := strconv.ParseInt(view(b), 10, int(bits))
		return i, err == nil && b[0] != '+'
	}
	var n int64
	for _, c := range digits {
		if c -= '0'; c > 9 {
			return 0, false
		}
		n = n*10 + int64(c)
	}
	if neg {
		n = -n
	}
	shift := 64 - bits
	return n, n<<shift>>shift == n
}

// parseFloat reads float4out and float8out: the shortest text that names the
// number, NaN, Infinity.
func parseFloat(b []byte, bits uint8) (float64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	switch string(b) {
	case "NaN":
		return math.NaN(), true
	case "Infinity":
		return math.Inf(1), true
	case "-Infinity":
		return math.Inf(-1), true
	}
	for _, c := range b { // ParseFloat knows more forms than PostgreSQL prints
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' {
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(view(b), int(bits))
	return f, err == nil
}

// validDecimal checks for numeric_out's forms: [-]digits[.digits], NaN,
// Infinity, -Infinity.
func validDecimal(b []byte) bool {
	switch string(b) {
	case "NaN", "Infinity", "-Infinity":
		return true
	}
	if len(b) > 0 && b[0] == '-' {
		b = b[1:]
	}
	point := -1
	for i, c := range b {
		if c-'0' > 9 {
			if c != '.' || point >= 0 {
				return false
			}
			point = i
		}
	}
	return len(b) > 0 && point != 0 && point != len(b)-1
}

const hexBad = 0xff

var hexNibble = func() (t [256]byte) {
	for i := range t {
		t[i] = hexBad
	}
	for i, c := range []byte("0123456789abcdef") {
		t[c] = byte(i)
	}
	return t // the server prints no capitals
}()

// decodeHex decodes bytea's \x form in place. When it fails b is what it was.
func decodeHex(b []byte) ([]byte, bool) {
	if len(b) < 2 || len(b)%2 != 0 || b[0] != '\\' || b[1] != 'x' {
		return nil, false
	}
	n := len(b)/2 - 1
	for i := range n {
		hi, lo := hexNibble[b[2*i+2]], hexNibble[b[2*i+3]]
		if hi|lo > 15 {
			encodeHex(b, i)
			return nil, false
		}
		b[i] = hi<<4 | lo
	}
	return b[:n:n], true
}

// encodeHex turns the first n bytes of b back into the text that decodeHex made
// them from, from the last one on: what it overwrites it has read.
func encodeHex(b []byte, n int) {
	const digits = "0123456789abcdef"
	for i := n - 1; i >= 0; i-- {
		c := b[i]
		b[2*i+2], b[2*i+3] = digits[c>>4], digits[c&15]
	}
	b[0], b[1] = '\\', 'x'
}

// decodeUUID decodes the 8-4-4-4-12 form in place. When it fails b is what it was.
func decodeUUID(b []byte) ([]byte, bool) {
	if len(b) != 36 || b[8] != '-' || b[13] != '-' || b[18] != '-' || b[23] != '-' {
		return nil, false
	}
	var u [16]byte
	n := 0
	for i := 0; i < 36; i += 2 {
		if b[i] == '-' {
			i++
		}
		hi, lo := hexNibble[b[i]], hexNibble[b[i+1]]
		if hi|lo > 15 {
			return nil, false
		}
		u[n] = hi<<4 | lo
		n++
	}
	copy(b, u[:])
	return b[:16:16], true
}

// decodeArray parses array_out's form of one dimension: {a,"b c",NULL}. The
// elements are unquoted in place.
func (d *columnDecoder) decodeArray(text []byte, a *arena.Arena) (replication.Value, error) {
	if len(text) > 0 && text[0] == '[' {
		return replication.Value{}, errBounds
	}
	if len(text) < 2 || text[0] != '{' || text[len(text)-1] != '}' {
		return replication.Value{}, errSyntax
	}
	elems := a.Elems[:0]
	defer func() { a.Elems = elems }()
	body := text[1 : len(text)-1]
	for i := 0; len(body) > 0; {
		if i == len(body) {
			return replication.Value{}, errSyntax // a comma at the end
		}
		var elem []byte
		null := false
		switch body[i] {
		case '{':
			return replication.Value{}, errDims
		case '"':
			var n int
			if elem, n = unquoteElement(body[i:]); n < 0 {
				return replication.Value{}, errSyntax
			}
			i += n
		default:
			start := i
			for i < len(body) && body[i] != ',' {
				switch body[i] {
				case '"', '\\', '{', '}':
					return replication.Value{}, errSyntax
				}
				i++
			}
			elem = body[start:i:i]
			if len(elem) == 0 {
				return replication.Value{}, errSyntax
			}
			null = string(elem) == "NULL"
		}
		v := replication.Null
		if !null {
			var err error
			if v, err = d.elem.decode(elem, a); err != nil {
				return replication.Value{}, fmt.Errorf("element %d: %w", len(elems)+1, err)
			}
		}
		elems = append(elems, v)
		if i == len(body) {
			break
		}
		if body[i] != ',' {
			return replication.Value{}, errSyntax
		}
		i++
	}
	vals := a.Values(len(elems))
	copy(vals, elems)
	return replication.ArrayValue(vals), nil
}

// unquoteElement reads the quoted element that b begins with, in place, and
// returns it with the number of bytes read, or -1 when its end is missing. An
// element without escapes, as of every type but texts and bytea, stays as it is.
func unquoteElement(b []byte) ([]byte, int) {
	w := 1
	for w < len(b) && b[w] != '"' && b[w] != '\\' {
		w++
	}
	for i := w; i < len(b); i++ {
		c := b[i]
		switch c {
		case '"':
			return b[1:w:w], i + 1
		case '\\':
			if i++; i == len(b) {
				return nil, -1
			}
			c = b[i]
		}
		b[w] = c
		w++
	}
	return nil, -1
}
