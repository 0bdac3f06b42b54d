package debezium

import (
	"testing"

	"cdc/mapping/avro"
	"cdc/replication"
)

// everyType is a table with a column of each form that the format has.
func everyType(t testing.TB, o Options) (*Table, *replication.Table) {
	t.Helper()
	tab := &replication.Table{Schema: "public", Name: "t"}
	add := func(kind replication.Kind, bits uint8, typ string) {
		tab.Columns = append(tab.Columns, replication.Column{Name: "c" + string(rune('a'+len(tab.Columns))), Kind: kind, Bits: bits, TypeName: typ})
	}
	add(replication.KindBool, 0, "boolean")
	add(replication.KindInt, 16, "smallint")
	add(replication.KindInt, 64, "bigint")
	add(replication.KindFloat, 32, "real")
	add(replication.KindFloat, 64, "double precision")
	add(replication.KindDecimal, 0, "numeric")
	add(replication.KindBytes, 0, "bytea")
	add(replication.KindDate, 0, "date")
	add(replication.KindTime, 0, "time without time zone")
	add(replication.KindTimestamp, 0, "timestamp without time zone")
	add(replication.KindTimestampTZ, 0, "timestamp with time zone")
	add(replication.KindUUID, 0, "uuid")
	add(replication.KindJSON, 0, "jsonb")
	for _, typ := range []string{"text", "interval", "time with time zone", "bit(10)", "bit varying", "money", "oid", "hstore", "point", "line", "circle", "box"} {
		add(replication.KindString, 0, typ)
	}
	var specs []avro.FieldSpec
	for i, c := range tab.Columns {
		specs = append(specs, avro.FieldSpec{Name: c.Name, Column: c, Source: i})
	}
	table, err := Compile(o, Source{"postgresql", "p", "d"}, tab, specs, nil)
	if err != nil {
		t.Fatal(err)
	}
	return table, tab
}

// FuzzEnvelope: no bytes make the sink's side panic or take memory out of
// proportion.
func FuzzEnvelope(f *testing.F) {
	var plans []*avro.Envelope
	for _, o := range []Options{{}, {Time: "isostring", Decimal: "string", HStore: "map", Interval: "string", Binary: "hex"}, {Time: "nanoseconds", Decimal: "double"}, {Time: "connect"}} {
		table, tab := everyType(f, o)
		schema, err := avro.ParseSchema(table.ValueSchema)
		if err != nil {
			f.Fatal(err)
		}
		e, ok := avro.NewEnvelope(schema, DefaultUnavailable)
		if !ok {
			f.Fatal("it is no envelope")
		}
		row := make([]replication.Value, len(tab.Columns))
		for _, v := range []replication.Value{replication.Null, replication.Unchanged} {
			for i := range row {
				row[i] = v
			}
			b, err := table.AppendValue(nil, 1, &Event{Op: 'u', Before: row, After: row, Snapshot: "false", TxID: 7, LSN: 8})
			if err != nil {
				f.Fatal(err)
			}
			f.Add(len(plans), b[5:])
		}
		plans = append(plans, e)
	}
	f.Fuzz(func(t *testing.T, plan int, b []byte) {
		e := plans[uint(plan)%uint(len(plans))]
		var mem avro.Memory
		dst := make([]replication.Value, len(e.Columns()))
		_, err := e.Decode(b, dst, &mem)
		if size := mem.Size(); size > 4<<20+1000*len(b) {
			t.Errorf("%d bytes took %d (%v)", len(b), size, err)
		}
	})
}

// TestRoundTrip: what the format keeps whole comes back as the value that went
// in, in every mode that keeps it whole.
func TestRoundTrip(t *testing.T) {
	bytesOf := replication.StringValue
	num := replication.NumValue
	row := []replication.Value{
		replication.BoolValue(true), replication.IntValue(-3), replication.IntValue(1 << 60), replication.FloatValue(1.5), replication.FloatValue(2.5),
		bytesOf(replication.KindDecimal, "-123.4500"), bytesOf(replication.KindBytes, "\x01\xff"), num(replication.KindDate, -703750),
		num(replication.KindTime, 36672123456), num(replication.KindTimestamp, -1), num(replication.KindTimestampTZ, 1709194272123456),
		bytesOf(replication.KindUUID, "0123456789abcdef"), bytesOf(replication.KindJSON, `{"a": 1}`),
		bytesOf(replication.KindString, "é"), bytesOf(replication.KindString, "1 day"), bytesOf(replication.KindString, "08:11:12+00"), bytesOf(replication.KindString, "0000000001"),
		bytesOf(replication.KindString, "101"), bytesOf(replication.KindString, "$1.00"), bytesOf(replication.KindString, "5"), bytesOf(replication.KindString, `"a"=>"1"`),
		bytesOf(replication.KindString, "(1,2.5)"), bytesOf(replication.KindString, "{1,2,3}"), bytesOf(replication.KindString, "<(1,2),3>"), bytesOf(replication.KindString, "(1,1),(0,0)"),
	}
	// What comes back in another form: an interval as microseconds or ISO 8601, a
	// time zone as Z, money and oid as numbers, hstore as JSON, a circle and a box as structs.
	changed := map[int]bool{14: true, 15: true, 18: true, 19: true, 20: true, 23: true, 24: true}
	for _, o := range []Options{{}, {Time: "isostring"}, {Time: "microseconds"}, {Time: "nanoseconds"}} {
		table, _ := everyType(t, o)
		b, err := table.AppendValue(nil, 1, &Event{Op: 'c', After: row, Snapshot: "false"})
		if err != nil {
			t.Fatal(err)
		}
		schema, err := avro.ParseSchema(table.ValueSchema)
		if err != nil {
			t.Fatal(err)
		}
		e, ok := avro.NewEnvelope(schema, DefaultUnavailable)
		if !ok {
			t.Fatal("it is no envelope")
		}
		var mem avro.Memory
		got := make([]replication.Value, len(row))
		if op, err := e.Decode(b[5:], got, &mem); err != nil || op != 'c' {
			t.Fatal(op, err)
		}
		for i := range row {
			if !changed[i] && !got[i].Equal(row[i]) {
				t.Errorf("%q: column %d: %s became %s", o.Time, i, row[i], got[i])
			}
		}
	}
}
