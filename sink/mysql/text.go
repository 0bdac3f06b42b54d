package mysql

import (
	"encoding/hex"
	"math"
	"strconv"
	"unicode/utf8"

	"cdc/replication"
	"cdc/replication/civil"
	"cdc/sink/apply"
)

const hexDigits = "0123456789abcdef"

// appendPlain appends the plain text of v for a column of text: as PostgreSQL
// prints it, and an array as JSON. v is neither NULL nor Unchanged. bits is
// the width of a float.
func appendPlain(dst []byte, v replication.Value, bits uint8) []byte {
	switch v.Kind() {
	case replication.KindBool:
		return strconv.AppendBool(dst, v.Bool())
	case replication.KindInt:
		return strconv.AppendInt(dst, v.Int(), 10)
	case replication.KindUint:
		return strconv.AppendUint(dst, v.Uint(), 10)
	case replication.KindFloat:
		return apply.AppendFloat(dst, v.Float(), bits)
	case replication.KindDate:
		if n := v.Int(); n != replication.Infinity && n != replication.NegInfinity {
			return appendEra(appendCivil(dst, n), n)
		}
		return appendInfinity(dst, v.Int())
	case replication.KindTime:
		return civil.AppendClock(dst, v.Int())
	case replication.KindTimestamp, replication.KindTimestampTZ:
		return appendStamp(dst, v.Int(), v.Kind() == replication.KindTimestampTZ)
	case replication.KindUUID:
		return apply.AppendUUID(dst, v.Bytes())
	case replication.KindArray:
		return appendArray(dst, v.Elems(), bits)
	case replication.KindBytes:
		return hex.AppendEncode(append(dst, '\\', 'x'), v.Bytes())
	default: // decimal, string, json
		return append(dst, v.Bytes()...)
	}
}

func appendInfinity(dst []byte, n int64) []byte {
	if n < 0 {
		dst = append(dst, '-')
	}
	return append(dst, "infinity"...)
}

func appendStamp(dst []byte, micros int64, zone bool) []byte {
	if micros == replication.Infinity || micros == replication.NegInfinity {
		return appendInfinity(dst, micros)
	}
	days, rest := apply.Day(micros)
	dst = append(appendCivil(dst, days), ' ')
	dst = civil.AppendClock(dst, rest)
	if zone {
		dst = append(dst, "+00"...)
	}
	return appendEra(dst, days)
}

// appendEra says when a day lies before Christ.
func appendEra(dst []byte, days int64) []byte {
	if days < firstDay {
		return append(dst, " BC"...)
	}
	return dst
}

// appendCivil appends year-month-day of the proleptic Gregorian calendar, the
// year with at least four digits; there is no year 0, the one before 1 is 1 BC
// (see appendEra).
func appendCivil(dst []byte, days int64) []byte {
	const limit = 1 << 40 // keeps sums from overflowing; far outside any calendar
	year, month, day := civil.Date(min(max(days, -limit), limit))
	if year <= 0 {
		year = 1 - year
	}
	return civil.AppendDate(dst, year, 4, month, day)
}

// appendArray appends a JSON array: numbers and truth values as such, all
// else as a string, because a number of JSON is a double in MySQL.
func appendArray(dst []byte, elems []replication.Value, bits uint8) []byte {
	dst = append(dst, '[')
	for i, e := range elems {
		if i > 0 {
			dst = append(dst, ',')
		}
		switch e.Kind() {
		case replication.KindNull, replication.KindUnchanged:
			dst = append(dst, "null"...)
			continue
		case replication.KindBool, replication.KindInt, replication.KindUint:
			dst = appendPlain(dst, e, bits)
			continue
		case replication.KindFloat:
			if f := e.Float(); !math.IsNaN(f) && !math.IsInf(f, 0) {
				dst = appendPlain(dst, e, bits)
				continue
			}
		default: // a string
		}
		dst = append(dst, '"')
		start := len(dst)
		dst = appendPlain(dst, e, bits)
		dst = append(escapeJSON(dst, start), '"')
	}
	return append(dst, ']')
}

// short are the bytes that a string of JSON escapes by two characters, and the
// second of them.
var short = [256]byte{'"': '"', '\\': '\\', '\n': 'n', '\r': 'r', '\t': 't'}

// escapeJSON escapes dst[start:] in place for a string of JSON.
func escapeJSON(dst []byte, start int) []byte {
	grow := 0
	for _, c := range dst[start:] {
		switch {
		case short[c] != 0:
			grow++
		case c < ' ':
			grow += 5
		}
	}
	if grow == 0 {
		return dst
	}
	r := len(dst) - 1
	for range grow {
		dst = append(dst, 0)
	}
	for w := len(dst) - 1; r >= start; r-- {
		switch c := dst[r]; {
		case short[c] != 0:
			dst[w], dst[w-1] = short[c], '\\'
			w -= 2
		case c < ' ':
			copy(dst[w-5:], []byte{'\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15]})
			w -= 6
		default:
			dst[w] = c
			w--
		}
	}
	return dst
}

// special are the bytes that a quoted literal escapes.
var special = apply.Escapes{'\'': '\'', '\\': '\\', 0: '0'}

// appendQuoted appends b in quotes, escaped. No byte of a character of UTF-8
// but the first is one of those escaped.
func appendQuoted(dst, b []byte) []byte {
	dst = append(dst, '\'')
	for {
		i := 0
		for i < len(b) && special[b[i]] == 0 {
			i++
		}
		dst = append(dst, b[:i]...)
		if i == len(b) {
			return append(dst, '\'')
		}
		dst = append(dst, '\\', special[b[i]])
		b = b[i+1:]
	}
}

// appendBinaryText appends bytes as a literal of bytes. The server reads the
// literal's end in the connection's charset; no byte that ends or escapes is
// ever part of a longer character of UTF-8.
func appendBinaryText(dst, b []byte) []byte {
	return appendQuoted(append(dst, "_binary"...), b)
}

// validText reports whether every text of an array is UTF-8.
func validText(elems []replication.Value) bool {
	for _, e := range elems {
		switch e.Kind() {
		case replication.KindString, replication.KindJSON, replication.KindDecimal:
			if !utf8.Valid(e.Bytes()) {
				return false
			}
		default: // made here
		}
	}
	return true
}
