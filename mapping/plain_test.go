package mapping

import (
	"testing"

	"cdc/replication"
)

func TestAppendPlain(t *testing.T) {
	r := replication.NumValue
	s := replication.StringValue
	for _, c := range []struct {
		v    replication.Value
		want string
	}{
		{replication.BoolValue(true), "true"},
		{replication.IntValue(-9223372036854775808), "-9223372036854775808"},
		{replication.UintValue(18446744073709551615), "18446744073709551615"},
		{replication.FloatValue(0.1), "0.1"},
		{s(replication.KindDecimal, "-12.340"), "-12.340"},
		{s(replication.KindString, "ä, b"), "ä, b"},
		{s(replication.KindString, ""), ""},
		{s(replication.KindBytes, "\x00\xff"), "\x00\xff"},
		{s(replication.KindJSON, `{"a": 1}`), `{"a": 1}`},
		{s(replication.KindUUID, "\x12\x3e\x45\x67\xe8\x9b\x12\xd3\xa4\x56\x42\x66\x14\x17\x40\x00"), "123e4567-e89b-12d3-a456-426614174000"}, // RFC 9562, 1.2
		{r(replication.KindDate, 0), "1970-01-01"},
		{r(replication.KindDate, -1), "1969-12-31"},
		{r(replication.KindDate, 19782), "2024-02-29"},
		{r(replication.KindDate, replication.Infinity), "infinity"},
		{r(replication.KindTime, 86_399_999_999), "23:59:59.999999"},
		{r(replication.KindTime, 86_400_000_000), "24:00:00.000000"},
		{r(replication.KindTimestamp, -1), "1969-12-31 23:59:59.999999"},
		{r(replication.KindTimestamp, replication.NegInfinity), "-infinity"},
		{r(replication.KindTimestampTZ, 1_000_000_000_000_000), "2001-09-09 01:46:40.000000Z"},
	} {
		got, err := appendPlain([]byte("k:"), c.v)
		if err != nil || string(got) != "k:"+c.want {
			t.Errorf("%s %v: %q, %v, want %q", c.v.Kind(), c.v, got, err, c.want)
		}
	}
	for _, v := range []replication.Value{replication.Null, replication.Unchanged, replication.ArrayValue(nil), s(replication.KindUUID, "short")} {
		if got, err := appendPlain(nil, v); err == nil {
			t.Errorf("%s became %q", v.Kind(), got)
		}
	}
}
