package mapping

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"cdc/replication"
)

// AppendText appends v as bare text, in the form of KeyPlain.
func AppendText(dst []byte, v replication.Value) ([]byte, error) { return appendPlain(dst, v) }

// appendPlain appends v as bare text, the form of KeyPlain. Numbers are decimal,
// texts and JSON stand as they are, bytes stand raw, dates and times are as in
// ISO 8601 with a blank between date and time and six digits of a second,
// timestamptz is in UTC with a Z, and what lies beyond every date is infinity
// or -infinity.
func appendPlain(dst []byte, v replication.Value) ([]byte, error) {
	const day = 24 * 60 * 60
	switch k := v.Kind(); k {
	case replication.KindBool:
		return strconv.AppendBool(dst, v.Bool()), nil
	case replication.KindInt:
		return strconv.AppendInt(dst, v.Int(), 10), nil
	case replication.KindUint:
		return strconv.AppendUint(dst, v.Uint(), 10), nil
	case replication.KindFloat:
		return strconv.AppendFloat(dst, v.Float(), 'g', -1, 64), nil
	case replication.KindDecimal, replication.KindString, replication.KindBytes, replication.KindJSON:
		return append(dst, v.Bytes()...), nil
	case replication.KindUUID:
		u := v.Bytes()
		if len(u) != 16 {
			return dst, fmt.Errorf("a UUID of %d bytes", len(u))
		}
		for i, end := range [...]int{4, 6, 8, 10, 16} {
			if i > 0 {
				dst = append(dst, '-')
			}
			dst = hex.AppendEncode(dst, u[[...]int{0, 4, 6, 8, 10}[i]:end])
		}
		return dst, nil
	case replication.KindDate, replication.KindTimestamp, replication.KindTimestampTZ:
		switch v.Int() {
		case replication.Infinity:
			return append(dst, "infinity"...), nil
		case replication.NegInfinity:
			return append(dst, "-infinity"...), nil
		}
		if k == replication.KindDate {
			return time.Unix(v.Int()*day, 0).UTC().AppendFormat(dst, "2006-01-02"), nil
		}
		dst = time.UnixMicro(v.Int()).UTC().AppendFormat(dst, "2006-01-02 15:04:05.000000")
		if k == replication.KindTimestampTZ {
			dst = append(dst, 'Z')
		}
		return dst, nil
	case replication.KindTime:
		if v.Int() == day*1e6 { // midnight at the day's end, which a clock does not show
			return append(dst, "24:00:00.000000"...), nil
		}
		return time.UnixMicro(v.Int()).UTC().AppendFormat(dst, "15:04:05.000000"), nil
	default:
		return dst, fmt.Errorf("%s has no plain text", k)
	}
}
