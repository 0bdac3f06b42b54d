package postgres

import (
	"encoding/hex"
	"strconv"

	"cdc/replication"
	"cdc/replication/civil"
	"cdc/sink/apply"
)

// The text that PostgreSQL's input functions read (manual, chapter 8 "Data
// Types"): the target's column type parses it, so a column of another type
// than the source's gets the conversion that PostgreSQL itself knows from
// text. All functions append to dst and allocate nothing but dst's growth.

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
		return apply.AppendFloat(dst, v.Float(), bits)
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
		return apply.AppendUUID(dst, v.Bytes())
	case replication.KindArray:
		return appendArray(dst, v.Elems(), bits)
	default: // decimal, string, json
		return append(dst, v.Bytes()...)
	}
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

func appendTimestamp(dst []byte, micros int64, zone bool) []byte {
	switch micros {
	case replication.Infinity:
		return append(dst, "infinity"...)
	case replication.NegInfinity:
		return append(dst, "-infinity"...)
	}
	days, rest := apply.Day(micros)
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
	if micros < 0 || micros > apply.MicrosPerDay {
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
	dst = apply.EscapeTail(dst, start, &arrayEscapes)
	return append(dst, '"')
}

var (
	// arrayEscapes are those inside a quoted array element.
	arrayEscapes = apply.Escapes{'"': '"', '\\': '\\'}
	// copyEscapes are those of COPY's text format (manual, COPY, "Text Format").
	copyEscapes = apply.Escapes{'\\': '\\', '\t': 't', '\n': 'n', '\r': 'r'}
)

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
		return apply.EscapeTail(dst, start, &copyEscapes)
	default:
		return appendText(dst, v, bits)
	}
}
