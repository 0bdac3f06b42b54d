package debezium

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	twmb "github.com/twmb/avro"

	"cdc/replication"
)

// TestStructured: expected is what a real Debezium 3.7 wrote for the same values,
// 24:00 aside, for which it wrote null.
func TestStructured(t *testing.T) {
	type parts = map[string]any
	text := func(s string) replication.Value { return replication.StringValue(replication.KindString, s) }
	at := replication.NumValue
	no := func(p parts, names ...string) parts {
		for _, n := range names {
			p[n] = nil
		}
		return p
	}
	const leap = 1_709_201_472_123_456 // 2024-02-29 10:11:12.123456
	for _, c := range []struct {
		kind  replication.Kind
		typ   string
		value replication.Value
		want  parts
	}{
		{replication.KindDate, "date", at(replication.KindDate, 19782), no(parts{"year": int32(2024), "month": int32(2), "day": int32(29)}, "specialValue")},
		{replication.KindDate, "date", at(replication.KindDate, replication.Infinity), no(parts{"specialValue": "POSITIVE_INFINITY"}, "year", "month", "day")},
		{replication.KindTime, "time(3) without time zone", at(replication.KindTime, 36_672_120_000), parts{"hour": int32(10), "minute": int32(11), "second": int32(12), "nanos": int32(120_000_000), "precision": int32(3)}},
		{replication.KindTime, "time without time zone", at(replication.KindTime, day), parts{"hour": int32(24), "minute": int32(0), "second": int32(0), "nanos": int32(0), "precision": int32(6)}},
		{
			replication.KindTimestamp, "timestamp without time zone", at(replication.KindTimestamp, leap),
			no(parts{"year": int32(2024), "month": int32(2), "day": int32(29), "hour": int32(10), "minute": int32(11), "second": int32(12), "nanos": int32(123_456_000), "precision": int32(6)}, "specialValue"),
		},
		{
			replication.KindTimestamp, "timestamp(0) without time zone", at(replication.KindTimestamp, replication.NegInfinity),
			no(parts{"specialValue": "NEGATIVE_INFINITY", "precision": int32(0)}, "year", "month", "day", "hour", "minute", "second", "nanos"),
		},
		{
			replication.KindTimestampTZ, "timestamp with time zone", at(replication.KindTimestampTZ, -63_517_780_800_000_000),
			no(parts{"year": int32(-43), "month": int32(3), "day": int32(15), "hour": int32(12), "minute": int32(0), "second": int32(0), "nanos": int32(0), "offsetSeconds": int32(0), "zoneId": "Z", "precision": int32(6)}, "specialValue"),
		},
		{
			replication.KindTimestampTZ, "timestamp with time zone", at(replication.KindTimestampTZ, replication.Infinity),
			no(parts{"specialValue": "POSITIVE_INFINITY", "precision": int32(6)}, "year", "month", "day", "hour", "minute", "second", "nanos", "offsetSeconds", "zoneId"),
		},
		{replication.KindString, "time with time zone", text("10:11:12.5+02"), parts{"hour": int32(10), "minute": int32(11), "second": int32(12), "nanos": int32(500_000_000), "offsetSeconds": int32(7200), "precision": int32(6)}},
		{
			replication.KindString, "interval", text("-1 years -2 mons +3 days -04:05:06.789"),
			parts{"years": int32(-1), "months": int32(-2), "days": int32(3), "hours": int32(-4), "minutes": int32(-5), "seconds": int64(-6), "nanos": int32(-789_000_000), "precision": int32(6)},
		},
		{
			replication.KindString, "interval(3)", text("100000 years 00:00:01.5"),
			parts{"years": int32(100000), "months": int32(0), "days": int32(0), "hours": int32(0), "minutes": int32(0), "seconds": int64(1), "nanos": int32(500_000_000), "precision": int32(3)},
		},
	} {
		o := Options{Time: "structured"}
		if err := o.complete("postgresql"); err != nil {
			t.Fatal(err)
		}
		s, sch, err := compile(&o, "c", replication.Column{Kind: c.kind, TypeName: c.typ, NotNull: true, Default: "now()"})
		if err != nil {
			t.Fatal(err)
		}
		schema, err := twmb.Parse(sch.String())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []replication.Value{c.value, replication.Unchanged} {
			b, err := s.append(nil, &v, false)
			if err != nil {
				t.Errorf("%s %s: %v", c.typ, v, err)
				continue
			}
			var got parts
			if rest, err := schema.Decode(b, &got); err != nil || len(rest) > 0 {
				t.Errorf("%s %s: %v, %d bytes left over", c.typ, v, err, len(rest))
			} else if d := cmp.Diff(c.want, got); d != "" && !v.IsUnchanged() {
				t.Errorf("%s %s (-want +got):\n%s", c.typ, v, d)
			}
		}
	}
}

// TestUnicodeNames: as a real Debezium 3.7 names them.
func TestUnicodeNames(t *testing.T) {
	o := Options{Names: "avro_unicode"}
	if got := o.fullName("shop-p_1", "public", "t_x-y"); got != "shop_u002dp_u005f1.public.t_u005fx_u002dy" {
		t.Error(got)
	}
}
