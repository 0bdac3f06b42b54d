package oracle

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	twmb "github.com/twmb/avro"

	"cdc/replication"
)

// The libraries hold the same value in different types: it is compared as text,
// which these functions make with the standard library alone.

func floatText(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	// As Python's float.hex: 0x1.8000000000000p+1.
	if f == 0 {
		if math.Signbit(f) {
			return "-0x0.0p+0"
		}
		return "0x0.0p+0"
	}
	if math.Abs(f) < 0x1p-1022 { // subnormal
		mantissa := math.Float64bits(f) & (1<<52 - 1)
		sign := ""
		if f < 0 {
			sign = "-"
		}
		return fmt.Sprintf("%s0x0.%013xp-1022", sign, mantissa)
	}
	s := strconv.FormatFloat(f, 'x', 13, 64)
	mantissa, exponent, _ := strings.Cut(s, "p")
	sign := exponent[:1]
	return mantissa + "p" + sign + strings.TrimLeft(exponent[1:len(exponent)-1], "0") + exponent[len(exponent)-1:]
}

func timeText(kind replication.Kind, micros int64) string {
	switch kind {
	case replication.KindDate:
		return time.Unix(micros*86400, 0).UTC().Format("2006-01-02")
	case replication.KindTime:
		d := time.Duration(micros) * time.Microsecond
		return fmt.Sprintf("%02d:%02d:%02d.%06d", int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60, micros%1e6)
	}
	return time.UnixMicro(micros).UTC().Format("2006-01-02T15:04:05.000000")
}

// valueText is the text of a value of ours.
func valueText(v replication.Value, c replication.Column) string {
	switch v.Kind() {
	case replication.KindNull:
		return "null"
	case replication.KindBool:
		return strconv.FormatBool(v.Bool())
	case replication.KindInt:
		return strconv.FormatInt(v.Int(), 10)
	case replication.KindUint:
		return strconv.FormatUint(v.Uint(), 10)
	case replication.KindFloat:
		return floatText(v.Float())
	case replication.KindDate:
		// Infinity is the end of Avro's date.
		days := min(max(v.Int(), math.MinInt32), math.MaxInt32)
		return timeText(v.Kind(), days)
	case replication.KindTime, replication.KindTimestamp, replication.KindTimestampTZ:
		return timeText(v.Kind(), v.Int())
	case replication.KindBytes:
		return "0x" + hex.EncodeToString(v.Bytes())
	case replication.KindUUID:
		u := v.Bytes()
		return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
	case replication.KindArray:
		var parts []string
		for _, e := range v.Elems() {
			parts = append(parts, valueText(e, c))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	return string(v.Bytes())
}

// goText is the text of what a Go library decoded for a column of that kind.
func goText(v any, kind replication.Kind, c replication.Column) string {
	switch x := v.(type) {
	case nil:
		return "null"
	case bool, int, int32, int64, string:
		return fmt.Sprint(x)
	case float32:
		return floatText(float64(x))
	case float64:
		return floatText(x)
	case []byte:
		return "0x" + hex.EncodeToString(x)
	case time.Time:
		if kind == replication.KindDate {
			return x.UTC().Format("2006-01-02")
		}
		return x.UTC().Format("2006-01-02T15:04:05.000000")
	case time.Duration:
		return timeText(replication.KindTime, x.Microseconds())
	case *big.Rat:
		return x.FloatString(c.Scale)
	case []any:
		var parts []string
		for _, e := range x {
			parts = append(parts, goText(e, c.Elem, c))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case map[string]any: // hamba's way to hold a value of a union
		for _, e := range x {
			return goText(e, kind, c)
		}
	case twmb.Duration:
		return x.String()
	}
	return fmt.Sprintf("%T %v", v, v)
}
