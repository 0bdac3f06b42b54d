package apply

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"cdc/replication"
)

// MicrosPerDay is the length of a day in microseconds.
const MicrosPerDay = 24 * 60 * 60 * 1_000_000

const hexDigits = "0123456789abcdef"

// AppendFloat appends the shortest text that reads back as f, of so many bits;
// NaN and infinities as PostgreSQL prints them.
func AppendFloat(dst []byte, f float64, bits uint8) []byte {
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

// AppendUUID appends the text of a UUID's 16 bytes.
func AppendUUID(dst, u []byte) []byte {
	for i, b := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, hexDigits[b>>4], hexDigits[b&15])
	}
	return dst
}

// Day returns the day of a timestamp, from 1970-01-01, and the microseconds
// since its midnight.
func Day(micros int64) (days, rest int64) {
	days, rest = micros/MicrosPerDay, micros%MicrosPerDay
	if rest < 0 {
		days, rest = days-1, rest+MicrosPerDay
	}
	return days, rest
}

// Escapes says for each byte what follows the backslash that replaces it; 0
// leaves the byte as it is.
type Escapes [256]byte

// EscapeTail escapes dst[start:] in place: each escape makes one byte two, so
// the tail is rewritten from its end.
func EscapeTail(dst []byte, start int, esc *Escapes) []byte {
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

// ParseKey reads a key column of that kind from the text that a truncate's
// query makes of it: a boolean t, true or 1, days and microseconds as numbers,
// bytes in hexadecimal.
func ParseKey(k replication.Kind, s string) (replication.Value, error) {
	switch k {
	case replication.KindBool:
		return replication.BoolValue(s == "t" || s == "true" || s == "1"), nil
	case replication.KindInt:
		n, err := strconv.ParseInt(s, 10, 64)
		return replication.IntValue(n), err
	case replication.KindUint:
		n, err := strconv.ParseUint(s, 10, 64)
		return replication.UintValue(n), err
	case replication.KindFloat:
		f, err := strconv.ParseFloat(s, 64)
		return replication.FloatValue(f), err
	case replication.KindDate, replication.KindTime, replication.KindTimestamp, replication.KindTimestampTZ:
		switch s {
		case "infinity":
			return replication.NumValue(k, replication.Infinity), nil
		case "-infinity":
			return replication.NumValue(k, replication.NegInfinity), nil
		}
		n, err := strconv.ParseInt(s, 10, 64)
		return replication.NumValue(k, n), err
	case replication.KindBytes, replication.KindUUID:
		raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
		return replication.BytesValue(k, raw), err
	case replication.KindDecimal, replication.KindString, replication.KindJSON:
		return replication.StringValue(k, s), nil
	default:
		return replication.Null, fmt.Errorf("a key of kind %s cannot be compared", k)
	}
}
