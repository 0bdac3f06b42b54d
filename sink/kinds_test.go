package sink_test

import (
	"fmt"
	"strings"
	"testing"

	"cdc/replication"
)

// TestEveryKindThroughTheTopic sends one row of every kind from the capture's
// encoder to a table that the sink makes, and asks the database whether it is
// what PostgreSQL itself makes of the literals.
func TestEveryKindThroughTheTopic(t *testing.T) {
	w := newWorld(t)
	topic := w.topic("kinds", 1)
	bytesOf := replication.StringValue
	kinds := []struct {
		col  replication.Column
		v    replication.Value
		want string
	}{
		{intCol("id"), num(7), "7::bigint"},
		{replication.Column{Kind: replication.KindBool, TypeName: "boolean"}, replication.BoolValue(true), "true"},
		{replication.Column{Kind: replication.KindInt, Bits: 16, TypeName: "smallint"}, num(-32768), "(-32768)::smallint"},
		{replication.Column{Kind: replication.KindUint, Bits: 64}, replication.UintValue(1<<64 - 1), "18446744073709551615::numeric"},
		{replication.Column{Kind: replication.KindFloat, Bits: 32, TypeName: "real"}, replication.FloatValue(float64(float32(0.1))), "0.1::real"},
		{replication.Column{Kind: replication.KindFloat, Bits: 64, TypeName: "double precision"}, replication.FloatValue(0.1), "0.1::float8"},
		{replication.Column{Kind: replication.KindDecimal, Precision: 12, Scale: 2, TypeName: "numeric(12,2)"}, bytesOf(replication.KindDecimal, "-1234567890.12"), "-1234567890.12"},
		{replication.Column{Kind: replication.KindDecimal, TypeName: "numeric"}, bytesOf(replication.KindDecimal, "NaN"), "'NaN'::numeric"},
		{replication.Column{Kind: replication.KindString, TypeName: "character varying(20)"}, text("ž\t\\N"), "E'ž\\t\\\\N'::varchar"},
		{replication.Column{Kind: replication.KindBytes, TypeName: "bytea"}, bytesOf(replication.KindBytes, "\x00\xff"), "'\\x00ff'::bytea"},
		{replication.Column{Kind: replication.KindDate, TypeName: "date"}, replication.NumValue(replication.KindDate, -719163), "DATE '0001-12-31 BC'"},
		{replication.Column{Kind: replication.KindTime, TypeName: "time without time zone"}, replication.NumValue(replication.KindTime, 86_400_000_000), "TIME '24:00'"},
		{replication.Column{Kind: replication.KindTimestamp, TypeName: "timestamp without time zone"}, replication.NumValue(replication.KindTimestamp, replication.Infinity), "TIMESTAMP 'infinity'"},
		{replication.Column{Kind: replication.KindTimestampTZ, TypeName: "timestamp with time zone"}, replication.NumValue(replication.KindTimestampTZ, -1), "TIMESTAMPTZ '1969-12-31 23:59:59.999999+00'"},
		{replication.Column{Kind: replication.KindUUID, TypeName: "uuid"}, bytesOf(replication.KindUUID, "\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef"), "'01234567-89ab-cdef-0123-456789abcdef'::uuid"},
		{replication.Column{Kind: replication.KindJSON, TypeName: "jsonb"}, bytesOf(replication.KindJSON, `{"a": [1, null]}`), `'{"a": [1, null]}'::jsonb`},
		{replication.Column{Kind: replication.KindArray, Elem: replication.KindInt, Bits: 32, TypeName: "integer[]"}, replication.ArrayValue([]replication.Value{num(1), replication.Null}), "ARRAY[1, NULL]"},
		{replication.Column{Kind: replication.KindArray, Elem: replication.KindString, TypeName: "text[]"}, replication.ArrayValue([]replication.Value{text(`a"\,`)}), `ARRAY['a"\,']`},
		{replication.Column{Kind: replication.KindString, TypeName: "interval"}, text("1 mon"), "INTERVAL '1 mon'"},
		{replication.Column{Kind: replication.KindString, TypeName: "mood"}, text("sad"), "'sad'::text"},
	}
	var cols []replication.Column
	var row, nulls []replication.Value
	var same []string
	for i, k := range kinds {
		if i > 0 {
			k.col.Name = "c" + strings.Repeat("x", i)
		}
		cols, row = append(cols, k.col), append(row, k.v)
		same = append(same, `"`+k.col.Name+`" IS NOT DISTINCT FROM `+k.want)
		nulls = append(nulls, replication.Null)
	}
	nulls[0] = num(8)
	f := w.feed(topic, cols, "id")
	w.produce(f.row(replication.OpInsert, row...), f.row(replication.OpInsert, nulls...))
	cfg := w.config(topic)
	w.run(cfg)
	w.applied("cdc_"+cfg.Name, topic)
	for _, s := range same {
		w.expect("SELECT "+s+" FROM "+table(topic)+" WHERE id = 7", "(t)")
	}
	w.expect("SELECT count(*) FILTER (WHERE value = 'null'), count(*) FROM "+table(topic)+" t, jsonb_each(to_jsonb(t)) WHERE id = 8",
		fmt.Sprintf("(%d,%d)", len(kinds)-1, len(kinds)))
}
