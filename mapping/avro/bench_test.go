package avro

import (
	"testing"

	"cdc/replication"
)

// benchRow is the row of ten columns by which Avro libraries were compared
// (108 bytes): long id; nullable int, 2 strings, decimal(12,2),
// timestamp-micros, boolean, double, date, 32 bytes.
func benchRow(t testing.TB) (schema string, e *Encoder, row []replication.Value) {
	columns := []replication.Column{
		{Name: "id", Kind: replication.KindInt, Bits: 64, NotNull: true},
		{Name: "customer", Kind: replication.KindInt, Bits: 32},
		{Name: "status", Kind: replication.KindString},
		{Name: "note", Kind: replication.KindString},
		{Name: "total", Kind: replication.KindDecimal, Precision: 12, Scale: 2},
		{Name: "created", Kind: replication.KindTimestampTZ},
		{Name: "paid", Kind: replication.KindBool},
		{Name: "weight", Kind: replication.KindFloat, Bits: 64},
		{Name: "day", Kind: replication.KindDate},
		{Name: "hash", Kind: replication.KindBytes},
	}
	fields := make([]FieldSpec, len(columns))
	for i, c := range columns {
		fields[i] = FieldSpec{Name: c.Name, Column: c, Source: i}
	}
	schema, _, err := RecordSchema("cdc.public", "orders", "", fields)
	if err != nil {
		t.Fatal(err)
	}
	if e, err = NewEncoder(schema, 7, fields); err != nil {
		t.Fatal(err)
	}
	return schema, e, []replication.Value{
		replication.IntValue(123456789),
		replication.IntValue(4711),
		replication.StringValue(replication.KindString, "shipped"),
		replication.StringValue(replication.KindString, "leave it at the neighbour's"),
		replication.StringValue(replication.KindDecimal, "-12345.67"),
		replication.NumValue(replication.KindTimestampTZ, 1_700_000_000_123_456),
		replication.BoolValue(true),
		replication.FloatValue(12.75),
		replication.NumValue(replication.KindDate, 19_700),
		replication.BytesValue(replication.KindBytes, make([]byte, 32)),
	}
}

func BenchmarkAppend(b *testing.B) {
	_, e, row := benchRow(b)
	dst := make([]byte, 0, 1<<16)
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = e.Append(dst[:0], row); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(dst)))
}

func BenchmarkDecode(b *testing.B) {
	schema, e, row := benchRow(b)
	rec, err := e.Append(nil, row)
	if err != nil {
		b.Fatal(err)
	}
	d := decoder(b, schema)
	got := make([]replication.Value, len(row))
	var mem Memory
	b.SetBytes(int64(len(rec)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Decode(rec[5:], got, &mem); err != nil {
			b.Fatal(err)
		}
		mem.Reset()
	}
}

func BenchmarkDecimal(b *testing.B) {
	for name, text := range map[string]string{"9digits": "-1234567.89", "38digits": "-123456789012345678901234567890123456.78"} {
		b.Run(name, func(b *testing.B) {
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if dst, err = appendDecimal(dst[:0], []byte(text), 38, 2, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestRowsCostNoAllocation(t *testing.T) {
	schema, e, row := benchRow(t)
	// What takes the slow paths too.
	wide := []FieldSpec{
		{Name: "n", Column: replication.Column{Name: "n", Kind: replication.KindDecimal, Precision: 60, Scale: 10}, Source: 0},
		{Name: "a", Column: replication.Column{Name: "a", Kind: replication.KindArray, Elem: replication.KindDecimal, Precision: 20, Scale: 2}, Source: 1},
		{Name: "u", Column: replication.Column{Name: "u", Kind: replication.KindUUID}, Source: 2},
		{Name: "q", Column: replication.Column{Name: "q", Kind: replication.KindUint, Bits: 64}, Source: 3},
	}
	wideSchema, _, err := RecordSchema("", "wide", "", wide)
	if err != nil {
		t.Fatal(err)
	}
	we, err := NewEncoder(wideSchema, 1, wide)
	if err != nil {
		t.Fatal(err)
	}
	wideRow := []replication.Value{
		replication.StringValue(replication.KindDecimal, "-123456789012345678901234567890.1234567890"),
		replication.ArrayValue([]replication.Value{replication.StringValue(replication.KindDecimal, "1.50"), replication.Null}),
		replication.BytesValue(replication.KindUUID, uuidBytes),
		replication.UintValue(1 << 63),
	}
	for _, tt := range []struct {
		name, schema string
		e            *Encoder
		row          []replication.Value
	}{{"ten columns", schema, e, row}, {"wide", wideSchema, we, wideRow}} {
		dst := make([]byte, 0, 1<<12)
		var err error
		if n := testing.AllocsPerRun(1000, func() { dst, err = tt.e.Append(dst[:0], tt.row) }); n != 0 || err != nil {
			t.Errorf("%s: encode takes %v allocations a row (%v)", tt.name, n, err)
		}
		d := decoder(t, tt.schema)
		got := make([]replication.Value, len(tt.row))
		var mem Memory
		if n := testing.AllocsPerRun(1000, func() { mem.Reset(); err = d.Decode(dst[5:], got, &mem) }); n != 0 || err != nil {
			t.Errorf("%s: decode takes %v allocations a row (%v)", tt.name, n, err)
		}
	}
}
