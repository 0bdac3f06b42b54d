package postgres

import (
	"encoding/hex"
	"math"
	"strconv"

	"cdc/replication"
	"cdc/replication/civil"
)

// The text that PostgreSQL's input functions read (manual, chapter 8 "Data
// Types"): the target's column type parses it, so a column of another type
// than the source's gets the conversion that PostgreSQL itself knows from
// text. All functions append to dst and allocate nothing but dst's growth.

const hexDigits = "0123456789abcdef"

// appendText appends the plain text of v: unquoted, unescaped. v is neither
// NULL nor Unchanged. bits is the width of a float.
func appendText(dst []byte, v replication.Value, bits uint8) []byte {
	switch v.Kind() {
	case replication.KindBool:
		if v.Bool() {
			return append(dst, 't')
		}
		return append(dst, 'f')
	case replication.KindInt:
		return strconv.AppendInt(dst, v.Int(), 10)
	case replication.KindUint:
		return strconv.AppendUint(dst, v.Uint(), 10)
	case replication.KindFloat:
		return appendFloat(dst, v.Float(), bits)
	case replication.KindBytes:
		return hex.AppendEncode(append(dst, '\\', 'x'), v.Bytes())
	case replication.KindDate:
		return appendDate(dst, v.Int())
	case replication.KindTime:
		return appendTime(dst, v.Int())
	case replication.KindTimestamp:
		return appendTimestamp(dst, v.Int(), false)
	case replication.KindTimestampTZ:
		return appendTimestamp(dst, v.Int(), true)
	case replication.KindUUID:
		return appendUUID(dst, v.Bytes())
	case replication.KindArray:
		return appendArray(dst, v.Elems(), bits)
	default: // decimal, string, json
		return append(dst, v.Bytes()...)
	}
}

func appendFloat(dst []byte, f float64, bits uint8) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	if bits == 32 {
		return strconv.AppendFloat(dst, f, 'g', -1, 32)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}

func appendUUID(dst, u []byte) []byte {
	for i, b := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, hexDigits[b>>4], hexDigits[b&15])
	}
	return dst
}

func appendDate(dst []byte, days int64) []byte {
	switch days {
	case replication.Infinity:
		return append(dst, "infinity"...)
	case replication.NegInfinity:
		return append(dst, "-infinity"...)
	}
	dst, bc := appendCivil(dst, days)
	if bc {
		dst = append(dst, " BC"...)
	}
	return dst
}

const microsPerDay = 24 * 60 * 60 * 1_000_000

func appendTimestamp(dst []byte, micros int64, zone bool) []byte {
	switch micros {
	case replication.Infinity:
		return append(dst, "infinity"...)
	case replication.NegInfinity:
		return append(dst, "-infinity"...)
	}
	days := micros / microsPerDay
	rest := micros % microsPerDay
	if rest < 0 {
		rest += microsPerDay
		days--
	}
	dst, bc := appendCivil(dst, days)
	dst = append(dst, ' ')
	dst = appendTime(dst, rest)
	if zone {
		dst = append(dst, "+00"...)
	}
	if bc {
		dst = append(dst, " BC"...)
	}
	return dst
}

// appendCivil appends year-month-day of the proleptic Gregorian calendar, the
// year with at least four digits, and reports whether it is before Christ:
// PostgreSQL has no year 0, 1 BC is astronomical year 0. Days beyond any
// calendar become a date that PostgreSQL refuses.
func appendCivil(dst []byte, days int64) (_ []byte, bc bool) {
	const limit = 1 << 40 // keeps sums from overflowing; far outside PostgreSQL's range
	year, month, day := civil.Date(min(max(days, -limit), limit))
	if year <= 0 {
		year, bc = 1-year, true
	}
	return civil.AppendDate(dst, year, 4, month, day), bc
}

// appendTime appends hh:mm:ss[.ffffff]. What lies outside 0 to 24:00:00 comes
// from foreign bytes and is printed so that PostgreSQL refuses it.
func appendTime(dst []byte, micros int64) []byte {
	if micros < 0 || micros > microsPerDay {
		dst = append(dst, "out of range: "...)
		return strconv.AppendInt(dst, micros, 10)
	}
	return civil.AppendClock(dst, micros)
}

// appendArray appends an array literal (manual, section 8.15.6).
func appendArray(dst []byte, elems []replication.Value, bits uint8) []byte {
	dst = append(dst, '{')
	for i, e := range elems {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendElement(dst, e, bits)
	}
	return append(dst, '}')
}

// appendElement appends one element of an array literal: NULL, or the text,
// quoted where the kind's text could contain something special.
func appendElement(dst []byte, v replication.Value, bits uint8) []byte {
	switch v.Kind() {
	case replication.KindNull, replication.KindUnchanged:
		return append(dst, "NULL"...)
	case replication.KindBool, replication.KindInt, replication.KindUint, replication.KindFloat, replication.KindUUID:
		return appendText(dst, v, bits)
	default: // the others are quoted
	}
	dst = append(dst, '"')
	start := len(dst)
	dst = appendText(dst, v, bits)
	dst = escapeTail(dst, start, &arrayEscapes)
	return append(dst, '"')
}

// escapes says for each byte what follows the backslash that replaces it; 0
// leaves the byte as it is.
type escapes [256]byte

var (
	// arrayEscapes are those inside a quoted array element.
	arrayEscapes = escapes{'"': '"', '\\': '\\'}
	// copyEscapes are those of COPY's text format (manual, COPY, "Text Format").
	copyEscapes = escapes{'\\': '\\', '\t': 't', '\n': 'n', '\r': 'r'}
)

// escapeTail escapes dst[start:] in place: each escape makes one byte two, so
// the tail is rewritten from its end.
func escapeTail(dst []byte, start int, esc *escapes) []byte {
	n := 0
	for _, c := range dst[start:] {
		if esc[c] != 0 {
			n++
		}
	}
	if n == 0 {
		return dst
	}
	end := len(dst)
	for range n {
		dst = append(dst, 0)
	}
	for r, w := end-1, len(dst)-1; r >= start; r-- {
		if e := esc[dst[r]]; e != 0 {
			dst[w], dst[w-1] = e, '\\'
			w -= 2
		} else {
			dst[w] = dst[r]
			w--
		}
	}
	return dst
}

// appendCopy appends v as a field of COPY's text format.
func appendCopy(dst []byte, v replication.Value, bits uint8) []byte {
	switch v.Kind() {
	case replication.KindNull, replication.KindUnchanged:
		return append(dst, '\\', 'N')
	case replication.KindBytes:
		return hex.AppendEncode(append(dst, '\\', '\\', 'x'), v.Bytes())
	case replication.KindString, replication.KindJSON, replication.KindArray, replication.KindDecimal:
		start := len(dst)
		dst = appendText(dst, v, bits)
		return escapeTail(dst, start, &copyEscapes)
	default:
		return appendText(dst, v, bits)
	}
}
