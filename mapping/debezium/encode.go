package debezium

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	"cdc/mapping/avro"
	"cdc/replication"
)

// step writes one value.
type step struct {
	op   op
	kind replication.Kind // of every value that is neither null nor unchanged
	// nullable says that the type is a union with null; value and null are how
	// its branches are written.
	nullable         bool
	value, null      byte
	structured       structuredKind
	mode             string // of opBytesText; the name of an opShape
	money            op     // opDecimal, opDecimalDouble or opText, of an opMoney
	precision, scale int
	mul, div         int64
	digits           int
	elem             *step
	// zeroDates writes absent for a date that the calendar does not have.
	zeroDates bool
	// absent is what is written when nothing is known of the value: null, or the
	// column's default or the type's zero where there is no null.
	absent []byte
	// unavailable stands for a large value that the log left out of a row after
	// a change; nil is absent.
	unavailable []byte
}

var (
	errNull       = errors.New("null, but the column is NOT NULL")
	errUTF8       = errors.New("text that is not UTF-8")
	errForm       = errors.New("a form that is not known")
	errNanos      = errors.New("beyond the range of nanoseconds (1677 to 2262), which time.precision.mode asks for")
	errDate       = errors.New("beyond the range of a date in 32 bits")
	errInterval   = errors.New("beyond the range of microseconds in 64 bits, which interval.handling.mode numeric asks for")
	errNotFinite  = errors.New("a decimal of Connect has no NaN and no infinity: set decimal to string or double")
	errUUID       = errors.New("not 16 bytes")
	errParts      = errors.New("its parts do not fit into 32 bits each, which time.precision.mode structured asks for")
	errDimensions = errors.New("more than 32767 dimensions, which a SparseDoubleVector cannot count")
	errNested     = errors.New("an element of another kind than the column's")
)

// append appends v. after says that it stands in the row after a change.
func (s *step) append(dst []byte, v *replication.Value, after bool) ([]byte, error) {
	if kind := v.Kind(); kind != s.kind {
		switch {
		case kind == replication.KindInvalid && s.zeroDates && v.Reason() == replication.ReasonZeroDate:
			return append(dst, s.absent...), nil
		case kind == replication.KindInvalid:
			return dst, fmt.Errorf("has no place in %s: %s", s.kind, v.Reason())
		case kind == replication.KindNull && s.nullable:
			return append(dst, s.null), nil
		case kind == replication.KindNull && after:
			return dst, errNull
		case kind == replication.KindUnchanged && after && s.unavailable != nil:
			return append(dst, s.unavailable...), nil
		case kind == replication.KindUnchanged, kind == replication.KindNull:
			return append(dst, s.absent...), nil
		}
		return dst, fmt.Errorf("a value of kind %s where the column's kind is %s", kind, s.kind)
	}
	if s.nullable {
		dst = append(dst, s.value)
	}
	return s.appendValue(dst, v)
}

func (s *step) appendValue(dst []byte, v *replication.Value) ([]byte, error) {
	switch s.op {
	case opBool:
		return appendBool(dst, v.Bool()), nil
	case opInt:
		return binary.AppendVarint(dst, v.Int()), nil
	case opFloat:
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(v.Float()))), nil
	case opDouble:
		return appendDouble(dst, v.Float()), nil
	case opText:
		if !utf8.Valid(v.Bytes()) {
			return dst, errUTF8
		}
		return appendBytes(dst, v.Bytes()), nil
	case opBytes:
		return appendBytes(dst, v.Bytes()), nil
	case opBytesText:
		return s.appendBytesText(dst, v.Bytes()), nil
	case opDecimal, opDecimalDouble, opVariable:
		return s.appendDecimal(dst, s.op, v.Bytes())
	case opMoney:
		var buf [32]byte
		number, err := moneyNumber(buf[:0], v.Bytes())
		if err != nil {
			return dst, err
		}
		if s.money == opText {
			return appendBytes(dst, number), nil
		}
		return s.appendDecimal(dst, s.money, number)
	case opOID:
		n, err := strconv.ParseUint(view(v.Bytes()), 10, 32)
		if err != nil {
			return dst, errForm
		}
		return binary.AppendVarint(dst, int64(n)), nil
	case opBit:
		b := v.Bytes()
		if len(b) != 1 {
			return dst, errForm
		}
		return appendBool(dst, b[0] == '1'), nil
	case opBits:
		return appendBits(dst, v.Bytes())
	case opDate, opTime, opTimestamp:
		n, err := s.number(v.Int())
		return binary.AppendVarint(dst, n), err
	case opISODate, opISOTime, opISOTimestamp, opZoned, opUUID, opHStoreJSON, opZonedTime, opISOInterval, opISOTimeText:
		return s.appendSized(dst, v)
	case opDuration:
		n, err := duration(v.Bytes())
		return binary.AppendVarint(dst, n), err
	case opHStoreMap:
		return appendHStoreMap(dst, v.Bytes())
	case opUint, opUintDecimal, opUintBits, opTimeText, opGeometryWKB, opPointWKB:
		return s.appendBinlog(dst, v)
	case opPoint, opLine, opCircle, opShape:
		return s.appendGeometry(dst, v.Bytes())
	case opGeometry:
		return s.appendEWKB(dst, v.Bytes())
	case opVector:
		return s.appendVector(dst, v.Bytes())
	case opSparseVector:
		return appendSparseVector(dst, v.Bytes())
	case opStructured:
		return s.appendStructured(dst, v)
	case opArray:
		return s.appendArray(dst, v.Elems())
	}
	return dst, errForm
}

// appendSized appends a text whose length is known only when it is there: up to
// 63 bytes of it take one byte of length, which is written first.
func (s *step) appendSized(dst []byte, v *replication.Value) ([]byte, error) {
	at := len(dst)
	dst = append(dst, 0)
	var err error
	switch s.op {
	case opISODate:
		dst = appendISODate(dst, v.Int())
	case opISOTime:
		dst = append(appendClock(dst, v.Int(), -1), 'Z')
	case opISOTimestamp:
		dst = appendISOTimestamp(dst, v.Int(), -1)
	case opZoned:
		dst = appendISOTimestamp(dst, v.Int(), s.digits)
	case opISOTimeText:
		us, ok := clockText(v.Bytes())
		if !ok || us < 0 || us >= day {
			return dst[:at], errTime
		}
		dst = append(appendClock(dst, us, -1), 'Z')
	case opZonedTime:
		dst, err = appendZonedTime(dst, v.Bytes())
	case opISOInterval:
		dst, err = appendISOInterval(dst, v.Bytes())
	case opHStoreJSON:
		dst, err = appendHStoreJSON(dst, v.Bytes())
	default:
		if v.Len() != 16 {
			return dst[:at], errUUID
		}
		dst = appendUUID(dst, v.Bytes())
	}
	n := len(dst) - at - 1
	if n < 64 {
		dst[at] = byte(n << 1)
		return dst, err
	}
	var head [binary.MaxVarintLen64]byte
	w := binary.PutVarint(head[:], int64(n))
	dst = append(dst, head[1:w]...) // makes room
	copy(dst[at+w:], dst[at+1:at+1+n])
	copy(dst[at:], head[:w])
	return dst, err
}

// number is a date or time in the unit of the mode. Infinity is the largest
// number of the type, -infinity the smallest.
func (s *step) number(n int64) (int64, error) {
	switch {
	case s.op == opDate && n == replication.Infinity:
		return math.MaxInt32, nil
	case s.op == opDate && n == replication.NegInfinity:
		return math.MinInt32, nil
	case s.op == opDate && n != int64(int32(n)):
		return 0, errDate
	case s.op == opTimestamp && (n == replication.Infinity || n == replication.NegInfinity):
		return n, nil
	}
	if s.mul != 1 {
		hi, lo := bits.Mul64(uint64(max(n, -n)), uint64(s.mul))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, errNanos
		}
		return n * s.mul, nil
	}
	q := n / s.div
	if n%s.div < 0 {
		q-- // a moment belongs to the unit that it lies in, also before 1970
	}
	return q, nil
}

func (s *step) appendBytesText(dst, b []byte) []byte {
	switch s.mode {
	case "hex":
		return hex.AppendEncode(binary.AppendVarint(dst, int64(hex.EncodedLen(len(b)))), b)
	case "base64":
		return base64.StdEncoding.AppendEncode(binary.AppendVarint(dst, int64(base64.StdEncoding.EncodedLen(len(b)))), b)
	default:
		return base64.URLEncoding.AppendEncode(binary.AppendVarint(dst, int64(base64.URLEncoding.EncodedLen(len(b)))), b)
	}
}

func (s *step) appendDecimal(dst []byte, how op, text []byte) ([]byte, error) {
	if how == opDecimalDouble {
		f, err := strconv.ParseFloat(view(text), 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return dst, errForm
		}
		return appendDouble(dst, f), nil
	}
	switch string(text) {
	case "NaN", "Infinity", "-Infinity":
		return dst, errNotFinite
	}
	if how == opDecimal {
		return avro.AppendDecimal(dst, text, s.precision, s.scale)
	}
	scale := 0
	for i, c := range text {
		if c == '.' {
			scale = len(text) - i - 1
		}
	}
	dst = binary.AppendVarint(dst, int64(scale))
	if len(text) <= maxDigits {
		return avro.AppendDecimal(dst, text, maxDigits, scale)
	}
	return appendHuge(dst, text)
}

// maxDigits is what avro.AppendDecimal takes.
const maxDigits = 1000

// appendHuge appends an unscaled number of any length: PostgreSQL's limits are
// 131,072 digits before the point and 16,383 after it.
func appendHuge(dst, text []byte) ([]byte, error) {
	n, ok := new(big.Int).SetString(strings.Replace(string(text), ".", "", 1), 10)
	if !ok {
		return dst, errForm
	}
	if n.Sign() >= 0 {
		return appendBytes(dst, append([]byte{0}, n.Bytes()...)), nil
	}
	size := uint(len(n.Bytes()) + 1)
	return appendBytes(dst, n.Add(n, new(big.Int).Lsh(big.NewInt(1), 8*size)).Bytes()), nil
}

func (s *step) appendArray(dst []byte, elems []replication.Value) ([]byte, error) {
	if len(elems) > 0 {
		dst = binary.AppendVarint(dst, int64(len(elems)))
		for i := range elems {
			if elems[i].IsUnchanged() {
				return dst, errNested
			}
			var err error
			if dst, err = s.elem.append(dst, &elems[i], true); err != nil {
				return dst, fmt.Errorf("element %d: %w", i, err)
			}
		}
	}
	return append(dst, 0), nil
}

// appendBits appends a bit string, whose last bit is the lowest, as bytes of
// which the first holds the lowest bits; zero bytes at the end are left out, as
// java.util.BitSet does.
func appendBits(dst, text []byte) ([]byte, error) {
	top := 0
	for top < len(text) && text[top] == '0' {
		top++
	}
	n := (len(text) - top + 7) / 8
	dst = binary.AppendVarint(dst, int64(n))
	for i := range n {
		var b byte
		for k := range 8 {
			if at := len(text) - 1 - 8*i - k; at >= top {
				switch text[at] {
				case '1':
					b |= 1 << k
				case '0':
				default:
					return dst, errForm
				}
			}
		}
		dst = append(dst, b)
	}
	return dst, nil
}

// moneyNumber appends money's text as a number: the server prints it after
// lc_monetary, with a currency sign and separators, and two digits at the end
// behind the last of these.
func moneyNumber(dst, text []byte) ([]byte, error) {
	point := -1
	for i, c := range text {
		switch {
		case c == '-' || c == '(':
			dst = append(dst[:0], '-')
		case (c == '.' || c == ',') && i+2 < len(text):
			point = i
		}
	}
	digits := 0
	for i, c := range text {
		if c >= '0' && c <= '9' {
			dst = append(dst, c)
			digits++
		} else if i == point && fraction(text[i+1:]) {
			dst = append(dst, '.')
		}
	}
	if digits == 0 {
		return dst, errForm
	}
	return dst, nil
}

// fraction reports whether b begins with two digits and no third.
func fraction(b []byte) bool {
	n := 0
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	return n == 2
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func appendDouble(dst []byte, f float64) []byte {
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(f))
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendVarint(dst, int64(len(s))), s...)
}

func appendUUID(dst, u []byte) []byte {
	for i, end := range [...]int{4, 6, 8, 10, 16} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, u[[...]int{0, 4, 6, 8, 10}[i]:end])
	}
	return dst
}

// view is b as a string without a copy; it must not outlive the call it is for.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
