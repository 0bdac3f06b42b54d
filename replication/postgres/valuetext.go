package postgres

import (
	"encoding/hex"
	"strconv"
	"time"

	"cdc/replication"
)

// appendText appends v as text that PostgreSQL reads as the same value of the
// column's type. Two values of a column are equal when their texts are. NULL
// has no text and appends nothing.
func appendText(dst []byte, v replication.Value) []byte {
	switch v.Kind() {
	case replication.KindBool:
		return strconv.AppendBool(dst, v.Bool())
	case replication.KindInt:
		return strconv.AppendInt(dst, v.Int(), 10)
	case replication.KindUint:
		return strconv.AppendUint(dst, v.Uint(), 10)
	case replication.KindFloat:
		return strconv.AppendFloat(dst, v.Float(), 'g', -1, 64)
	case replication.KindDecimal, replication.KindString, replication.KindJSON, replication.KindInvalid:
		return append(dst, v.Bytes()...)
	case replication.KindBytes:
		return hex.AppendEncode(append(dst, `\x`...), v.Bytes())
	case replication.KindUUID:
		return hex.AppendEncode(dst, v.Bytes()) // hyphens are optional
	case replication.KindDate, replication.KindTimestamp, replication.KindTimestampTZ:
		switch v.Int() {
		case replication.Infinity:
			return append(dst, "infinity"...)
		case replication.NegInfinity:
			return append(dst, "-infinity"...)
		}
		t := time.UnixMicro(v.Int()).UTC()
		layout := "-01-02 15:04:05.999999"
		if v.Kind() == replication.KindDate {
			t, layout = time.Unix(v.Int()*86400, 0).UTC(), "-01-02"
		}
		if v.Kind() == replication.KindTimestampTZ {
			layout += "Z07:00"
		}
		year, era := t.Year(), ""
		if year <= 0 {
			year, era = 1-year, " BC"
		}
		for limit := 1000; year < limit && limit > 1; limit /= 10 {
			dst = append(dst, '0')
		}
		dst = strconv.AppendInt(dst, int64(year), 10)
		return append(t.AppendFormat(dst, layout), era...)
	case replication.KindTime:
		const day = 86_400_000_000
		if v.Int() == day {
			return append(dst, "24:00:00"...)
		}
		return time.UnixMicro(v.Int()).UTC().AppendFormat(dst, "15:04:05.999999")
	case replication.KindArray:
		dst = append(dst, '{')
		for i, e := range v.Elems() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendElement(dst, e)
		}
		return append(dst, '}')
	}
	return dst
}

// appendElement appends v as an element of an array's text.
func appendElement(dst []byte, v replication.Value) []byte {
	if v.IsNull() {
		return append(dst, "NULL"...)
	}
	dst = append(dst, '"')
	start := len(dst)
	dst = appendText(dst, v)
	quotes := 0
	for _, c := range dst[start:] {
		if c == '"' || c == '\\' {
			quotes++
		}
	}
	if quotes > 0 { // escape in place, from the end
		old := len(dst)
		dst = append(dst, make([]byte, quotes)...)
		for i, j := old-1, len(dst)-1; i >= start && i < j; i, j = i-1, j-1 {
			dst[j] = dst[i]
			if c := dst[i]; c == '"' || c == '\\' {
				j--
				dst[j] = '\\'
			}
		}
	}
	return append(dst, '"')
}
