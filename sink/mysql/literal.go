package mysql

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"cdc/replication"
	"cdc/replication/civil"
	"cdc/sink/apply"
)

// The literals that stand in our statements (manual, section "Literal
// Values"). Each is checked against what the target's column holds exactly:
// the server itself would round digits, cut trailing spaces, take a number for
// an enum's label or a date for a time without an error.
//
// All append to dst and allocate nothing but dst's growth, unless they fail.

var (
	errUTF8   = errors.New("the text is not UTF-8")
	errNaN    = errors.New("there is no NaN and no infinity in MySQL")
	errFinite = errors.New("there is no infinity in MySQL")
	errNumber = errors.New("the text is not a number")
	errBytes  = errors.New("bytes have no place in a column of text")
	errYear   = errors.New("only the years 0001 to 9999 fit")
	// The server makes 2026 of 26.
	errYearDigits = errors.New("a year has four digits, or is 0")
	errMidnight   = errors.New("the column has no time of day, and the value has one")
	errMisfit     = errors.New("the column's type cannot hold such a value")
	errSpaces     = errors.New("the key ends with a space, and the column's collation does not tell it from the one without")
	errNull       = errors.New("NULL in a column that is NOT NULL")
)

// appendLiteral appends v as a literal for the column, or says why the column
// cannot hold it.
func (c *column) appendLiteral(dst []byte, v replication.Value) ([]byte, error) {
	if v.IsNull() || v.IsUnchanged() {
		if c.notNull { // the server would invent a number or a time for some types
			return dst, errNull
		}
		return append(dst, "NULL"...), nil
	}
	switch c.class {
	case classInteger, classDecimal, classFloat:
		return c.appendNumber(dst, v)
	case classYear:
		start := len(dst)
		dst, err := c.appendNumber(dst, v)
		if n := dst[start:]; err == nil && string(n) != "0" && (len(n) != 4 || n[0] == '0' || !digits(n)) {
			err = errYearDigits
		}
		return dst, err
	case classBit:
		return c.appendBits(dst, v)
	case classText, classEnum, classOther:
		return c.appendTextual(dst, v)
	case classBinary, classSpace:
		return c.appendBinary(dst, v)
	case classDate, classTime, classStamp:
		return c.appendClock(dst, v)
	case classJSON:
		return c.appendJSON(dst, v)
	default: // classUUID
		return c.appendTextual(dst, v)
	}
}

// appendNumber appends a number without quotes: the server compares a number
// with a quoted one as floats.
func (c *column) appendNumber(dst []byte, v replication.Value) ([]byte, error) {
	switch v.Kind() {
	case replication.KindBool:
		return append(dst, '0'+byte(v.Uint())), nil
	case replication.KindInt:
		return strconv.AppendInt(dst, v.Int(), 10), nil
	case replication.KindUint:
		return strconv.AppendUint(dst, v.Uint(), 10), nil
	case replication.KindFloat:
		f := v.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return dst, errNaN
		}
		if c.class == classFloat { // as a double, whatever the width: the shortest text of the largest float lies beyond it
			return strconv.AppendFloat(dst, f, 'e', -1, 64), nil
		}
		bits := 64
		if c.bits == 32 {
			bits = 32
		}
		start := len(dst)
		dst = strconv.AppendFloat(dst, f, 'f', -1, bits)
		return dst, c.fits(dst[start:])
	case replication.KindDecimal, replication.KindString:
		b := v.Bytes()
		if err := c.fits(b); err != nil {
			return dst, err
		}
		if dst = append(dst, b...); c.class == classFloat {
			dst = append(dst, "e0"...)
		}
		return dst, nil
	default:
		return dst, errMisfit
	}
}

// fits reports whether the column keeps all digits of a plain decimal number:
// [-]digits[.digits].
func (c *column) fits(b []byte) error {
	if len(b) > 0 && b[0] == '-' {
		b = b[1:]
	}
	whole, frac, pointed := bytes.Cut(b, []byte{'.'})
	if len(whole) == 0 || pointed && len(frac) == 0 || !digits(whole) || !digits(frac) {
		if string(b) == "NaN" || string(b) == "Infinity" {
			return errNaN
		}
		return errNumber
	}
	if c.class == classFloat {
		return nil
	}
	if n := len(bytes.TrimRight(frac, "0")); n > c.scale {
		return fmt.Errorf("%d digits after the point, and the column %s keeps %d", n, c.typ, c.scale)
	}
	if n := len(bytes.TrimLeft(whole, "0")); n > c.whole {
		return fmt.Errorf("%d digits before the point, and the column %s has %d", n, c.typ, c.whole)
	}
	return nil
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

func (c *column) appendBits(dst []byte, v replication.Value) ([]byte, error) {
	switch v.Kind() {
	case replication.KindBool, replication.KindInt, replication.KindUint, replication.KindDecimal:
		return c.appendNumber(dst, v)
	case replication.KindBytes:
		return appendBinaryText(dst, v.Bytes()), nil
	case replication.KindString: // PostgreSQL's bit(n)
		b := v.Bytes()
		for _, d := range b {
			if d != '0' && d != '1' {
				return dst, errMisfit
			}
		}
		if len(b) == 0 || len(b) > 64 {
			return dst, errMisfit
		}
		return append(append(append(dst, "b'"...), b...), '\''), nil
	default:
		return dst, errMisfit
	}
}

// appendTextual appends the text of v in quotes.
func (c *column) appendTextual(dst []byte, v replication.Value) ([]byte, error) {
	switch v.Kind() {
	case replication.KindString, replication.KindJSON, replication.KindDecimal:
		b := v.Bytes()
		if !utf8.Valid(b) {
			return dst, errUTF8
		}
		if err := c.holds(b); err != nil {
			return dst, err
		}
		return appendQuoted(dst, b), nil
	case replication.KindBytes:
		if c.class == classOther {
			return appendBinaryText(dst, v.Bytes()), nil
		}
		return dst, errBytes
	case replication.KindTime:
		if n := v.Int(); n < 0 || n > apply.MicrosPerDay {
			return dst, errMisfit
		}
	case replication.KindArray:
		if !validText(v.Elems()) {
			return dst, errUTF8
		}
	default: // the others have a text that is made
	}
	dst = append(dst, '\'')
	start := len(dst)
	dst = appendPlain(dst, v, c.bits)
	if err := c.holds(dst[start:]); err != nil {
		return dst, err
	}
	if v.Kind() == replication.KindArray {
		dst = apply.EscapeTail(dst, start, &special)
	}
	return append(dst, '\''), nil
}

// holds reports whether a column of text, an enum or a set keeps b as it is.
func (c *column) holds(b []byte) error {
	switch c.class {
	case classText:
		n := len(b)
		if n > c.limit && c.limit > 0 && !c.inBytes {
			n = utf8.RuneCount(b)
		}
		if n > c.limit && c.limit > 0 {
			return fmt.Errorf("the text is too long for the column %s", c.typ)
		}
		if len(b) > 0 && b[len(b)-1] == ' ' {
			switch {
			case c.fixed && !c.blank:
				return fmt.Errorf("the text ends with a space, which a column %s does not keep", c.typ)
			case c.key && c.padded && !c.blank:
				return errSpaces
			}
		}
	case classEnum:
		if !c.set {
			if _, ok := c.labels[string(b)]; !ok {
				return fmt.Errorf("the text is none of the labels of %s", c.typ)
			}
			return nil
		}
		for len(b) > 0 {
			label, rest, _ := bytes.Cut(b, []byte{','})
			if _, ok := c.labels[string(label)]; !ok {
				return fmt.Errorf("the text names a label that is not in %s", c.typ)
			}
			b = rest
		}
	default: // the server reads it
	}
	return nil
}

func (c *column) appendBinary(dst []byte, v replication.Value) ([]byte, error) {
	if c.class == classSpace && v.Kind() == replication.KindArray {
		return c.appendVector(dst, v.Elems())
	}
	switch v.Kind() {
	case replication.KindBytes, replication.KindUUID, replication.KindString, replication.KindJSON, replication.KindDecimal:
	default:
		return dst, errMisfit
	}
	b := v.Bytes()
	if c.limit > 0 && (len(b) > c.limit || c.fixed && len(b) != c.limit) {
		return dst, fmt.Errorf("%d bytes do not fit the column %s", len(b), c.typ)
	}
	if c.class == classSpace && v.Kind() != replication.KindBytes {
		return dst, errMisfit
	}
	return appendBinaryText(dst, b), nil
}

// appendVector appends a vector as its floats of 32 bits, the lowest byte first.
func (c *column) appendVector(dst []byte, elems []replication.Value) ([]byte, error) {
	dst = append(dst, "x'"...)
	for _, e := range elems {
		if e.Kind() != replication.KindFloat {
			return dst, errMisfit
		}
		f := float32(e.Float())
		if float64(f) != e.Float() {
			return dst, errMisfit
		}
		dst = hex.AppendEncode(dst, binary.LittleEndian.AppendUint32(make([]byte, 0, 4), math.Float32bits(f)))
	}
	return append(dst, '\''), nil
}

// appendClock appends a date, a time or a point in time in quotes.
func (c *column) appendClock(dst []byte, v replication.Value) ([]byte, error) {
	n := v.Int()
	switch v.Kind() {
	case replication.KindString: // times beyond a day, dates that there are not
		if !utf8.Valid(v.Bytes()) {
			return dst, errUTF8
		}
		if err := c.keepsText(v.Bytes()); err != nil {
			return dst, err
		}
		return appendQuoted(dst, v.Bytes()), nil
	case replication.KindDate:
		if c.class == classTime {
			return dst, errMisfit
		}
		return appendQuotedDay(dst, n)
	case replication.KindTime:
		if c.class != classTime {
			return dst, errMisfit
		}
		if n < 0 || n > apply.MicrosPerDay {
			return dst, errMisfit
		}
		if err := c.keeps(n); err != nil {
			return dst, err
		}
		return append(civil.AppendClock(append(dst, '\''), n), '\''), nil
	case replication.KindTimestamp, replication.KindTimestampTZ:
		if n == replication.Infinity || n == replication.NegInfinity {
			return dst, errFinite
		}
		days, rest := apply.Day(n)
		switch {
		case c.class == classTime:
			return dst, errMisfit
		case c.class == classDate && rest != 0:
			return dst, errMidnight
		case c.class == classDate:
			return appendQuotedDay(dst, days)
		}
		if err := c.keeps(rest); err != nil {
			return dst, err
		}
		if !inYears(days) {
			return dst, errYear
		}
		dst = append(appendCivil(append(dst, '\''), days), ' ')
		return append(civil.AppendClock(dst, rest), '\''), nil
	default:
		return dst, errMisfit
	}
}

// unit is the microseconds of the last digit that a fraction of n digits has.
var unit = [...]int64{1_000_000, 100_000, 10_000, 1_000, 100, 10, 1}

// keeps reports whether the column has digits enough for the fraction of n
// microseconds.
func (c *column) keeps(n int64) error {
	if n%unit[min(max(c.scale, 0), 6)] != 0 {
		return fmt.Errorf("the column %s has too few digits for the fraction of the second", c.typ)
	}
	return nil
}

// keepsText reports whether a column keeps a text as the date or time that it is.
// The server is generous: it drops the time of day from a date's text and the day
// from a time's, takes 10:11:12 for a day of 2010, and some drop a zone. So only
// the forms go through that servers themselves print, and whether there is such a
// day is for the server to say:
//
//	year-month-day
//	year-month-day hour:minute:second[.fraction]
//	[-]hours:minute:second[.fraction]
func (c *column) keepsText(b []byte) error {
	rest, day := cutNumbers(b, '-', 4, 2, 2)
	if c.class == classTime {
		rest, day = bytes.TrimPrefix(b, []byte{'-'}), false
	}
	if day && len(rest) == 0 {
		return nil
	}
	if c.class != classTime {
		if !day || rest[0] != ' ' {
			return errMisfit
		}
		rest = rest[1:]
	}
	hours := 2
	if c.class == classTime {
		hours = max(2, bytes.IndexByte(rest, ':'))
	}
	clock := rest
	rest, ok := cutNumbers(rest, ':', hours, 2, 2)
	frac, pointed := bytes.CutPrefix(rest, []byte{'.'})
	switch {
	case !ok || hours > 3 || !pointed && len(rest) > 0 || pointed && (len(frac) == 0 || len(frac) > 6 || !digits(frac)):
		return errMisfit
	case c.class == classDate && len(bytes.Trim(clock, "0:.")) > 0:
		return errMidnight
	case c.class != classDate && len(bytes.TrimRight(frac, "0")) > c.scale:
		return fmt.Errorf("the column %s has too few digits for the fraction of the second", c.typ)
	}
	return nil
}

// cutNumbers cuts three numbers of so many digits, with a separator between
// them, off the front of a text.
func cutNumbers(b []byte, separator byte, lengths ...int) (rest []byte, ok bool) {
	for i, n := range lengths {
		if i > 0 {
			if len(b) == 0 || b[0] != separator {
				return b, false
			}
			b = b[1:]
		}
		if len(b) < n || !digits(b[:n]) {
			return b, false
		}
		b = b[n:]
	}
	return b, true
}

// The days of 0001-01-01 and 9999-12-31.
const (
	firstDay = -719162
	lastDay  = 2932896
)

func inYears(days int64) bool { return days >= firstDay && days <= lastDay }

func appendQuotedDay(dst []byte, days int64) ([]byte, error) {
	if days == replication.Infinity || days == replication.NegInfinity {
		return dst, errFinite
	}
	if !inYears(days) {
		return dst, errYear
	}
	return append(appendCivil(append(dst, '\''), days), '\''), nil
}

func (c *column) appendJSON(dst []byte, v replication.Value) ([]byte, error) {
	switch v.Kind() {
	case replication.KindString, replication.KindJSON:
		b := v.Bytes()
		if !utf8.Valid(b) {
			return dst, errUTF8
		}
		if err := exactJSON(b, c.rounds); err != nil {
			return dst, err
		}
		return appendQuoted(dst, b), nil
	case replication.KindArray:
		if !validText(v.Elems()) {
			return dst, errUTF8
		}
		dst = append(dst, '\'')
		start := len(dst)
		dst = appendPlain(dst, v, c.bits)
		if c.rounds {
			if err := exactJSON(dst[start:], true); err != nil {
				return dst, err
			}
		}
		return append(apply.EscapeTail(dst, start, &special), '\''), nil
	case replication.KindBool, replication.KindInt, replication.KindUint, replication.KindDecimal, replication.KindFloat:
		dst = append(dst, '\'')
		start := len(dst)
		dst = appendPlain(dst, v, c.bits)
		if err := exactJSON(dst[start:], c.rounds); err != nil {
			return dst, err
		}
		return append(dst, '\''), nil
	default:
		return dst, errMisfit
	}
}
