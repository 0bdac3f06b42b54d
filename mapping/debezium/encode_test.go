package debezium

import (
	"bytes"
	"encoding/binary"
	"testing"

	"cdc/mapping/avro"
	"cdc/replication"
)

// TestValues: expected are the values that a real Debezium 3.7 wrote for the
// same texts, where docs/debezium.md does not say that it is wrong.
func TestValues(t *testing.T) {
	text := func(s string) replication.Value { return replication.StringValue(replication.KindString, s) }
	str := func(s string) []byte { return appendString(nil, s) }
	num := func(i int64) []byte { return binary.AppendVarint(nil, i) }
	raw := func(b ...byte) []byte { return appendBytes(nil, b) }
	geometry := func(b ...byte) []byte { return appendBytes([]byte{2}, b) } // always nullable
	column := func(kind replication.Kind, typ string) replication.Column {
		return replication.Column{Name: "c", Kind: kind, TypeName: typ, NotNull: true}
	}
	str1 := func(typ string) replication.Column { return column(replication.KindString, typ) }
	for _, c := range []struct {
		options Options
		column  replication.Column
		value   replication.Value
		want    []byte
	}{
		{Options{}, str1("interval"), text("1 year 2 mons 3 days 04:05:06.789"), num(37091106789000)},
		{Options{}, str1("interval"), text("-1 years -2 mons +3 days -04:05:06.789"), num(-36572706789000)},
		{Options{Interval: "string"}, str1("interval day to second(3)"), text("-1 years -2 mons +3 days -04:05:06.789"), str("P-1Y-2M3DT-4H-5M-6.789S")},
		{Options{Interval: "string"}, str1("interval"), text("00:00:00"), str("P0Y0M0DT0H0M0S")},
		{Options{}, str1("time with time zone"), text("10:11:12.123456+02"), str("08:11:12.123456Z")},
		{Options{}, str1("time with time zone"), text("24:00:00-12"), str("12:00:00Z")},
		{Options{}, str1("time with time zone"), text("24:00:00+00"), str("24:00:00Z")},
		{Options{}, str1("bit(10)"), text("1010101010"), raw(0xaa, 2)},
		{Options{}, str1("bit(10)"), text("1000000000"), raw(0, 2)},
		{Options{}, str1("bit varying"), text("0000000000"), raw()},
		{Options{}, str1("bit(1)"), text("1"), []byte{1}},
		{Options{}, str1("money"), text("-$1,234,567.89"), raw(0xf8, 0xa4, 0x32, 0xeb)},
		{Options{Decimal: "string"}, str1("money"), text("12,34 €"), str("12.34")},
		{Options{}, str1("oid"), text("4294967295"), num(4294967295)},
		{Options{}, str1("hstore"), text(`"a"=>NULL, "b"=>"1", "c d"=>"x\"y"`), str(`{"a":null,"b":"1","c d":"x\"y"}`)},
		{Options{}, str1("hstore"), text(""), str("{}")},
		{Options{}, str1("geometry(Point,4326)"), text("0101000020E610000000000000000008400000000000001040"), append(geometry(1, 1, 0, 0, 0x20, 0xe6, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0x40, 0, 0, 0, 0, 0, 0, 0x10, 0x40), 2, 0xcc, 0x43, 0)},
		{Options{}, str1("public.geometry"), text("010700000000000000"), append(geometry(1, 7, 0, 0, 0, 0, 0, 0, 0), 0, 0)},
		{Options{}, str1("geography"), text("0020000007000010E600000000"), append(raw(0, 0x20, 0, 0, 7, 0, 0, 0x10, 0xe6, 0, 0, 0, 0), 2, 0xcc, 0x43)},
		{Options{}, str1("vector(2)"), text("[1,-2.5]"), append(appendDouble(appendDouble(num(2), 1), -2.5), 0)},
		{Options{}, str1("halfvec(1)"), text("[1.5]"), append(num(1), 0, 0, 0xc0, 0x3f, 0)},
		{Options{}, str1("sparsevec(5)"), text("{1:1.5,3:-2}/5"), append(appendDouble(append(appendDouble(append(num(5), 4, 2), 1.5), 6), -2), 0)},
		{Options{}, str1("sparsevec(5)"), text("{}/5"), []byte{10, 0}},
		{Options{}, str1("inet[]"), text(`{{10.0.0.1}}`), str(`{{10.0.0.1}}`)},
		{Options{}, str1("interval[]"), text(`{{"1 day"}}`), str(`{{"1 day"}}`)},
		{Options{}, column(replication.KindDecimal, "numeric"), replication.StringValue(replication.KindDecimal, "-0.001"), append(num(3), raw(0xff)...)},
		{Options{}, column(replication.KindDecimal, "numeric"), replication.StringValue(replication.KindDecimal, "123.4500"), append(num(4), raw(0x12, 0xd6, 0x44)...)},
		{Options{}, column(replication.KindDate, "date"), replication.NumValue(replication.KindDate, -703750), num(-703750)},
		{Options{Time: "isostring"}, column(replication.KindDate, "date"), replication.NumValue(replication.KindDate, 3672148), str("+12024-01-01Z")},
		{Options{Time: "isostring"}, column(replication.KindTimestamp, "timestamp without time zone"), replication.NumValue(replication.KindTimestamp, -63517780800000000), str("-0043-03-15T12:00:00Z")},
		{Options{}, column(replication.KindTimestamp, "timestamp(0) without time zone"), replication.NumValue(replication.KindTimestamp, -1), num(-1)},
		{Options{}, column(replication.KindTimestampTZ, "timestamp(3) with time zone"), replication.NumValue(replication.KindTimestampTZ, 1709194272120000), str("2024-02-29T08:11:12.120Z")},
		{Options{}, column(replication.KindTimestampTZ, "timestamp with time zone"), replication.NumValue(replication.KindTimestampTZ, replication.NegInfinity), str("-infinity")},
		{Options{Binary: "base64-url-safe"}, column(replication.KindBytes, "bytea"), replication.BytesValue(replication.KindBytes, []byte{0xfb}), str("-w==")},
	} {
		if err := c.options.complete("postgresql"); err != nil {
			t.Fatal(err)
		}
		s, _, err := compile(&c.options, "c", c.column)
		if err != nil {
			t.Errorf("%s: %v", c.column.TypeName, err)
			continue
		}
		got, err := s.append(nil, &c.value, true)
		if err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s %s: %x (%q), %v, want %x", c.column.TypeName, c.value, got, got, err, c.want)
		}
	}
}

// TestRefusedValues: what has no place is an error, never null.
func TestRefusedValues(t *testing.T) {
	dec := func(s string) replication.Value { return replication.StringValue(replication.KindDecimal, s) }
	for _, c := range []struct {
		options Options
		column  replication.Column
		value   replication.Value
	}{
		{Options{}, replication.Column{Kind: replication.KindDecimal, TypeName: "numeric"}, dec("NaN")},
		{Options{}, replication.Column{Kind: replication.KindDecimal, Precision: 5, Scale: 2, TypeName: "numeric(5,2)"}, dec("Infinity")},
		{Options{Time: "nanoseconds"}, replication.Column{Kind: replication.KindTimestamp, TypeName: "timestamp without time zone"}, replication.NumValue(replication.KindTimestamp, 253402300799999999)},
		{Options{}, replication.Column{Kind: replication.KindString, TypeName: "interval"}, replication.StringValue(replication.KindString, "300000000 years")},
		{Options{}, replication.Column{Kind: replication.KindString, TypeName: "text", NotNull: true}, replication.Null},
		{Options{}, replication.Column{Kind: replication.KindString, TypeName: "text"}, replication.StringValue(replication.KindString, "\xff")},
		{Options{}, replication.Column{Kind: replication.KindArray, Elem: replication.KindInt, Bits: 32, TypeName: "integer[]"}, replication.InvalidValue([]byte("{{1}}"), replication.ReasonDimensions)},
	} {
		if err := c.options.complete("postgresql"); err != nil {
			t.Fatal(err)
		}
		s, _, err := compile(&c.options, "c", c.column)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.append(nil, &c.value, true); err == nil {
			t.Errorf("%s %s became %x", c.column.TypeName, c.value, got)
		}
	}
}

// TestUnavailable: the placeholder stands where it can be told from a value, and
// only in the row after a change.
func TestUnavailable(t *testing.T) {
	o := Options{}
	if err := o.complete("postgresql"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		column        replication.Column
		before, after []byte
	}{
		{replication.Column{Kind: replication.KindString, TypeName: "text"}, []byte{0}, appendString([]byte{2}, DefaultUnavailable)},
		{replication.Column{Kind: replication.KindBytes, TypeName: "bytea", NotNull: true}, []byte{0}, appendString(nil, DefaultUnavailable)},
		{replication.Column{Kind: replication.KindArray, Elem: replication.KindString, TypeName: "text[]"}, []byte{0}, append(appendString([]byte{2, 2, 2}, DefaultUnavailable), 0)},
		{replication.Column{Kind: replication.KindArray, Elem: replication.KindInt, Bits: 32, TypeName: "integer[]"}, []byte{0}, []byte{0}},
		{replication.Column{Kind: replication.KindInt, Bits: 32, TypeName: "integer", NotNull: true, Default: "7"}, []byte{14}, []byte{14}},
	} {
		s, _, err := compile(&o, "c", c.column)
		if err != nil {
			t.Fatal(err)
		}
		unchanged := replication.Unchanged
		before, err1 := s.append(nil, &unchanged, false)
		after, err2 := s.append(nil, &unchanged, true)
		if err1 != nil || err2 != nil || !bytes.Equal(before, c.before) || !bytes.Equal(after, c.after) {
			t.Errorf("%s: %x and %x, want %x and %x (%v, %v)", c.column.TypeName, before, after, c.before, c.after, err1, err2)
		}
	}
}

// TestNames: valid, and never two alike.
func TestNames(t *testing.T) {
	var specs []avro.FieldSpec
	for _, n := range []string{"id", "I d", "I-d", "1st", "é"} {
		specs = append(specs, avro.FieldSpec{Name: n})
	}
	got := new(Options).fieldNames(specs)
	want := []string{"id", "I_x0020_d", "I_x002D_d", "_1st", "_"}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%s became %s, want %s", specs[i].Name, got[i], want[i])
		}
	}
	if got := new(Options).fullName("my-shop", "public", "Or ders"); got != "my_shop.public.Or_ders" {
		t.Error(got)
	}
}

// FuzzTexts: no text of a source makes an encoder panic, and what it wrote is
// valid Avro of the column's schema.
func FuzzTexts(f *testing.F) {
	types := []string{"interval", "time with time zone", "bit varying", "bit(1)", "money", "oid", "hstore", "point", "line", "circle", "lseg", "box", "path", "polygon", "text", "geometry", "geography", "vector", "halfvec", "sparsevec"}
	for i, text := range []string{
		"1 year 2 mons -3 days +04:05:06.789", "10:11:12.5+02:30:15", "0101", "1", "($1,234.50)", "17", `"a"=>NULL, "b\\"=>"1"`,
		"(1,2.5)", "{1,2,3}", "<(1,2),3>", "[(0,0),(1,1)]", "(1,1),(0,0)", "((0,0),(1,1))", "((0,0),(1,1),(2,0))", "é",
		"0101000020E6100000000000000000F03F0000000000000040", "010700000000000000", "[1,2.5]", "[1,-3e-5]", "{1:1.5,3:-2}/5",
	} {
		f.Add(i, text)
	}
	f.Fuzz(func(t *testing.T, typ int, text string) {
		c := replication.Column{Name: "c", Kind: replication.KindString, TypeName: types[uint(typ)%uint(len(types))]}
		for _, o := range []Options{{}, {Interval: "string", HStore: "map", Decimal: "string"}, {Decimal: "double", Time: "structured"}} {
			table, err := Compile(o, Source{"postgresql", "p", "d"}, &replication.Table{Schema: "s", Name: "t", Columns: []replication.Column{c}}, []avro.FieldSpec{{Name: "c", Column: c}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			b, err := table.AppendValue(nil, 1, &Event{Op: 'c', After: []replication.Value{replication.StringValue(replication.KindString, text)}, Snapshot: "false"})
			if err != nil {
				continue
			}
			schema, err := avro.ParseSchema(table.ValueSchema)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := avro.JSON(schema, b[5:]); err != nil {
				t.Errorf("%s %q: %v", c.TypeName, text, err)
			}
			e, ok := avro.NewEnvelope(schema, DefaultUnavailable)
			if !ok {
				t.Fatal("it is no envelope")
			}
			var mem avro.Memory
			if op, err := e.Decode(b[5:], make([]replication.Value, 1), &mem); err != nil || op != 'c' {
				t.Errorf("%s %q: op %c, %v", c.TypeName, text, op, err)
			}
		}
	})
}
