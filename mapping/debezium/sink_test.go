package debezium

import (
	"testing"

	"cdc/mapping/avro"
	"cdc/replication"
)

// TestSinkReadsTypes: what is written of a value is read as that value.
func TestSinkReadsTypes(t *testing.T) {
	text := func(s string) replication.Value { return replication.StringValue(replication.KindString, s) }
	at := replication.NumValue
	const leap = 1_709_201_472_123_456
	for _, c := range []struct {
		typ   string
		value replication.Value
		want  string // another text of the same; "" is none
		as    string // the type that the sink finds
	}{
		{"date", at(replication.KindDate, -703_750), "", ""},
		{"date", at(replication.KindDate, replication.NegInfinity), "", ""},
		{"time without time zone", at(replication.KindTime, day), "", ""},
		{"timestamp(3) without time zone", at(replication.KindTimestamp, leap), "", ""},
		{"timestamp without time zone", at(replication.KindTimestamp, replication.Infinity), "", ""},
		{"timestamp with time zone", at(replication.KindTimestampTZ, -63_517_780_800_000_001), "", ""},
		{"timestamp with time zone", at(replication.KindTimestampTZ, replication.Infinity), "", ""},
		{"time with time zone", text("10:11:12.5+02:30"), "10:11:12.5+02:30:00", "time with time zone"},
		{"time with time zone", text("24:00:00-15:59:59"), "", "time with time zone"},
		{"interval", text("1 year 2 mons 3 days 04:05:06.789"), "1 years 2 mons 3 days 04:05:06.789", "interval"},
		{"interval", text("-178000000 years +100:00:00.000001"), "-178000000 years 100:00:00.000001", "interval"},
		{"interval", text("-00:00:00.5"), "", "interval"},
		{"lseg", text("[(0,0.5),(1,1e+300)]"), "", ""},
		{"box", text("(1,1),(0,-0)"), "", ""},
		{"path", text("[(0,0),(1,1),(2,0)]"), "", ""},
		{"path", text("((0,0),(1,1),(2,0))"), "", ""},
		{"polygon", text("((0,0),(1,1),(2,0))"), "", ""},
		{"geometry", text("0101000020E6100000000000000000F03F0000000000000040"), "", ""},
		{"geography(PointZ,4326)", text("01010000A0E6100000000000000000F03F00000000000000400000000000000840"), "", "geography"},
		{"vector(3)", text("[1,2.5,-3e-05]"), "", "vector"},
		{"halfvec(2)", text("[0.099975586,-6e-08]"), "", "halfvec"},
		{"sparsevec(5)", text("{1:1.5,5:-2}/5"), "", "sparsevec"},
		{"sparsevec(5)", text("{}/5"), "", "sparsevec"},
	} {
		column := replication.Column{Name: "c", Kind: c.value.Kind(), TypeName: c.typ}
		specs := []avro.FieldSpec{{Name: "c", Column: column}}
		table, err := Compile(Options{Time: "structured"}, Source{"postgresql", "p", "d"}, &replication.Table{Schema: "s", Name: "t", Columns: []replication.Column{column}}, specs, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := table.AppendValue(nil, 1, &Event{Op: 'c', After: []replication.Value{c.value}, Snapshot: "false"})
		if err != nil {
			t.Errorf("%s %s: %v", c.typ, c.value, err)
			continue
		}
		schema, err := avro.ParseSchema(table.ValueSchema)
		if err != nil {
			t.Fatal(err)
		}
		e, ok := avro.NewEnvelope(schema, DefaultUnavailable)
		if !ok {
			t.Fatal("it is no envelope")
		}
		if got := e.Columns()[0].TypeName; got != c.as {
			t.Errorf("%s is found as %q, want %q", c.typ, got, c.as)
		}
		var mem avro.Memory
		var row [1]replication.Value
		if _, err := e.Decode(b[5:], row[:], &mem); err != nil {
			t.Errorf("%s %s: %v", c.typ, c.value, err)
			continue
		}
		want := c.value
		if c.want != "" {
			want = text(c.want)
		}
		if !row[0].Equal(want) {
			t.Errorf("%s: read %s, want %s", c.typ, row[0], want)
		}
	}
}

// TestMySQLGeometry: a SRID beside well-known binary that does not hold it goes
// into what PostGIS reads.
func TestMySQLGeometry(t *testing.T) {
	row := &schema{typ: "record", name: "a.Value", fields: []field{{"g", &schema{typ: "record", name: "io.debezium.data.geometry.Geometry", version: 1, fields: []field{
		{"wkb", plain("bytes")}, {"srid", orNull(plain("int"))},
	}}}}}
	schema, err := avro.ParseSchema(row.String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := avro.NewDecoder(schema)
	if err != nil {
		t.Fatal(err)
	}
	body := append(appendBytes(nil, []byte{1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0x40}), 2, 0xcc, 0x43)
	var mem avro.Memory
	var v [1]replication.Value
	if err := d.Decode(body, v[:], &mem); err != nil {
		t.Fatal(err)
	}
	if got := string(v[0].Bytes()); got != "0101000020E6100000000000000000F03F0000000000000040" {
		t.Error(got)
	}
}
