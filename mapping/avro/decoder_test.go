package avro

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/replication"
)

func decoder(t testing.TB, schema string) *Decoder {
	t.Helper()
	s, err := ParseSchema(schema)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDecoder(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func oneField(typ string) string {
	return `{"type":"record","name":"r","fields":[{"name":"f","type":` + typ + `}]}`
}

const (
	nested  = `{"type":"record","name":"in","fields":[{"name":"a","type":"int"},{"name":"b","type":["null","string"]}]}`
	enum    = `{"type":"enum","name":"mood","symbols":["sad","happy"]}`
	tree    = `{"type":"record","name":"tree","fields":[{"name":"v","type":"int"},{"name":"next","type":["null","tree"]}]}`
	endless = `{"type":"record","name":"endless","fields":[{"name":"self","type":"endless"}]}`
)

// What others write: every type of the specification, whether our encoder
// writes it or not. The bytes follow from the specification.
func TestDecodeForeignTypes(t *testing.T) {
	str := replication.StringValue
	num := replication.NumValue
	stampTZ, stamp := replication.KindTimestampTZ, replication.KindTimestamp
	tests := []struct {
		typ    string
		bytes  string
		want   replication.Value
		column replication.Column
	}{
		{`"null"`, "", replication.Null, replication.Column{Kind: replication.KindString}},
		{`"boolean"`, "01", replication.BoolValue(true), replication.Column{Kind: replication.KindBool, NotNull: true}},
		{`"int"`, "7f", replication.IntValue(-64), replication.Column{Kind: replication.KindInt, Bits: 32, NotNull: true}},
		{`"int"`, "ff80808000", replication.IntValue(-64), replication.Column{Kind: replication.KindInt, Bits: 32, NotNull: true}},
		{`["long","null"]`, "008001", replication.IntValue(64), replication.Column{Kind: replication.KindInt, Bits: 64}},
		{`["long","null"]`, "02", replication.Null, replication.Column{Kind: replication.KindInt, Bits: 64}},
		{`["string"]`, "000261", str(replication.KindString, "a"), replication.Column{Kind: replication.KindString, NotNull: true}},
		{`["null"]`, "00", replication.Null, replication.Column{Kind: replication.KindString}},
		{`"float"`, "0000c03f", replication.FloatValue(1.5), replication.Column{Kind: replication.KindFloat, Bits: 32, NotNull: true}},
		{`"double"`, "00000000000000c0", replication.FloatValue(-2), replication.Column{Kind: replication.KindFloat, Bits: 64, NotNull: true}},
		{enum, "02", str(replication.KindString, "happy"), replication.Column{Kind: replication.KindString, NotNull: true}},
		{`{"type":"fixed","name":"x","size":2}`, "beef", replication.BytesValue(replication.KindBytes, []byte{0xbe, 0xef}), replication.Column{Kind: replication.KindBytes, NotNull: true}},
		{`{"type":"fixed","name":"x","size":16,"logicalType":"uuid"}`, hex.EncodeToString(uuidBytes), replication.BytesValue(replication.KindUUID, uuidBytes), replication.Column{Kind: replication.KindUUID, NotNull: true}},
		{`{"type":"string","logicalType":"uuid"}`, "48" + hex.EncodeToString([]byte(strings.ToUpper(uuidText))), replication.BytesValue(replication.KindUUID, uuidBytes), replication.Column{Kind: replication.KindUUID, NotNull: true}},
		{`{"type":"fixed","name":"x","size":3,"logicalType":"decimal","precision":5,"scale":2}`, "ffff6a", str(replication.KindDecimal, "-1.50"), replication.Column{Kind: replication.KindDecimal, Precision: 5, Scale: 2, NotNull: true}},
		{`{"type":"bytes","logicalType":"decimal","precision":5,"scale":5}`, "0201", str(replication.KindDecimal, "0.00001"), replication.Column{Kind: replication.KindDecimal, Precision: 5, Scale: 5, NotNull: true}},
		{`{"type":"int","logicalType":"date"}`, "01", num(replication.KindDate, -1), replication.Column{Kind: replication.KindDate, NotNull: true}},
		{`{"type":"int","logicalType":"date"}`, "feffffff0f", num(replication.KindDate, replication.Infinity), replication.Column{Kind: replication.KindDate, NotNull: true}},
		{`{"type":"int","logicalType":"date"}`, "ffffffff0f", num(replication.KindDate, replication.NegInfinity), replication.Column{Kind: replication.KindDate, NotNull: true}},
		{`{"type":"int","logicalType":"time-millis"}`, "d00f", num(replication.KindTime, 1_000_000), replication.Column{Kind: replication.KindTime, NotNull: true}},
		{`{"type":"long","logicalType":"time-micros"}`, "d00f", num(replication.KindTime, 1000), replication.Column{Kind: replication.KindTime, NotNull: true}},
		{`{"type":"long","logicalType":"timestamp-millis"}`, "03", num(stampTZ, -2000), replication.Column{Kind: stampTZ, NotNull: true}},
		{`{"type":"long","logicalType":"timestamp-micros"}`, "03", num(stampTZ, -2), replication.Column{Kind: stampTZ, NotNull: true}},
		{`{"type":"long","logicalType":"timestamp-nanos"}`, "03", num(stampTZ, -1), replication.Column{Kind: stampTZ, NotNull: true}},
		{`{"type":"long","logicalType":"timestamp-nanos"}`, "d00f", num(stampTZ, 1), replication.Column{Kind: stampTZ, NotNull: true}},
		{`{"type":"long","logicalType":"local-timestamp-millis"}`, "02", num(stamp, 1000), replication.Column{Kind: stamp, NotNull: true}},
		{`{"type":"long","logicalType":"local-timestamp-micros"}`, "02", num(stamp, 1), replication.Column{Kind: stamp, NotNull: true}},
		{`{"type":"long","logicalType":"local-timestamp-nanos"}`, "01", num(stamp, -1), replication.Column{Kind: stamp, NotNull: true}},
		{`{"type":"long","logicalType":"timestamp-millis"}`, "feffffffffffffffff01", num(stampTZ, replication.Infinity), replication.Column{Kind: stampTZ, NotNull: true}},
		{`{"type":"long","logicalType":"nonsense"}`, "02", replication.IntValue(1), replication.Column{Kind: replication.KindInt, Bits: 64, NotNull: true}},
		{`{"type":"string","logicalType":"date"}`, "0261", str(replication.KindString, "a"), replication.Column{Kind: replication.KindString, NotNull: true}},
		// blocks: plain; with a size in bytes; several
		{`{"type":"array","items":"long"}`, "04063600", replication.ArrayValue([]replication.Value{replication.IntValue(3), replication.IntValue(27)}), replication.Column{Kind: replication.KindArray, Elem: replication.KindInt, Bits: 64, NotNull: true}},
		{`{"type":"array","items":"long"}`, "0304063600", replication.ArrayValue([]replication.Value{replication.IntValue(3), replication.IntValue(27)}), replication.Column{Kind: replication.KindArray, Elem: replication.KindInt, Bits: 64, NotNull: true}},
		{`{"type":"array","items":"long"}`, "02060102" + "3600", replication.ArrayValue([]replication.Value{replication.IntValue(3), replication.IntValue(27)}), replication.Column{Kind: replication.KindArray, Elem: replication.KindInt, Bits: 64, NotNull: true}},
		{`{"type":"array","items":["null","string"]}`, "040002026100", replication.ArrayValue([]replication.Value{replication.Null, str(replication.KindString, "a")}), replication.Column{Kind: replication.KindArray, Elem: replication.KindString, NotNull: true}},
		{`{"type":"array","items":"null"}`, "0600", replication.ArrayValue([]replication.Value{replication.Null, replication.Null, replication.Null}), replication.Column{Kind: replication.KindArray, Elem: replication.KindString, NotNull: true}},
		// what has no kind of its own
		{`{"type":"array","items":{"type":"array","items":"int"}}`, "0202020000", str(replication.KindJSON, "[[1]]"), replication.Column{Kind: replication.KindJSON, NotNull: true}},
		{nested, "36020261", str(replication.KindJSON, `{"a":27,"b":"a"}`), replication.Column{Kind: replication.KindJSON, NotNull: true}},
		{`["null",` + nested + `]`, "023600", str(replication.KindJSON, `{"a":27,"b":null}`), replication.Column{Kind: replication.KindJSON}},
		{`{"type":"map","values":"int"}`, "0402610202620400", str(replication.KindJSON, `{"a":1,"b":2}`), replication.Column{Kind: replication.KindJSON, NotNull: true}},
		{`["int","string"]`, "020261", str(replication.KindJSON, `"a"`), replication.Column{Kind: replication.KindJSON, NotNull: true}},
		{`["null","int","string"]`, "00", str(replication.KindJSON, `null`), replication.Column{Kind: replication.KindJSON}},
		{tree, "02020400", str(replication.KindJSON, `{"v":1,"next":{"v":2,"next":null}}`), replication.Column{Kind: replication.KindJSON, NotNull: true}},
		{`["int",{"type":"bytes","logicalType":"decimal","precision":5,"scale":2}]`, "020296", str(replication.KindJSON, `-1.06`), replication.Column{Kind: replication.KindJSON, NotNull: true}},
	}
	for _, tt := range tests {
		d := decoder(t, oneField(tt.typ))
		tt.column.Name = "f"
		if diff := cmp.Diff([]replication.Column{tt.column}, d.Columns()); diff != "" {
			t.Errorf("%s: columns (-want +got):\n%s", tt.typ, diff)
		}
		got := make([]replication.Value, 1)
		if err := d.Decode(unhexed(t, tt.bytes), got, new(Memory)); err != nil {
			t.Errorf("%s of %s: %v", tt.typ, tt.bytes, err)
			continue
		}
		if !got[0].Equal(tt.want) {
			t.Errorf("%s of %s = %v (%s), want %v (%s)", tt.typ, tt.bytes, got[0], got[0].Kind(), tt.want, tt.want.Kind())
		}
		s, _ := ParseSchema(oneField(tt.typ))
		if _, err := JSON(s, unhexed(t, tt.bytes)); err != nil {
			t.Errorf("JSON of %s of %s: %v", tt.typ, tt.bytes, err)
		}
	}
}

// A schema that is no record: keys of other producers.
func TestDecodeAPrimitive(t *testing.T) {
	d := decoder(t, `"long"`)
	got := make([]replication.Value, 1)
	if err := d.Decode([]byte{0x0e}, got, new(Memory)); err != nil || got[0].Int() != 7 {
		t.Errorf("got %v, %v", got[0], err)
	}
	if c := d.Columns(); len(c) != 1 || c[0].Name != "" {
		t.Errorf("columns %v", c)
	}
}

// A name of another namespace, and a short one of the enclosing namespace.
func TestDecodeReferences(t *testing.T) {
	schema := `{"type":"record","name":"r","namespace":"a.b","fields":[
		{"name":"x","type":{"type":"fixed","name":"f","size":1}},
		{"name":"y","type":{"type":"record","name":"c.d.inner","fields":[{"name":"p","type":{"type":"enum","name":"e","symbols":["s","t"]}}]}},
		{"name":"z","type":"f"},{"name":"w","type":"c.d.e"},{"name":"v","type":["null","a.b.f"]}]}`
	d := decoder(t, schema)
	got := make([]replication.Value, 5)
	if err := d.Decode(unhexed(t, "01 02 03 00 0204"), got, new(Memory)); err != nil {
		t.Fatal(err)
	}
	want := []string{"01", `{"p":"t"}`, "03", `"s"`, "04"}
	for i := range got {
		if got[i].String() != want[i] {
			t.Errorf("column %d = %s, want %s", i, got[i], want[i])
		}
	}
}

// Bytes that do not fit the schema are errors that name the field; none makes
// the decoder panic or grow.
func TestDecodeHostileBytes(t *testing.T) {
	tests := []struct {
		name, typ, bytes string
		want             error
	}{
		{"nothing", `"long"`, "", errShort},
		{"half a number", `"long"`, "80", errShort},
		{"a number of 11 bytes", `"long"`, "8080808080808080808001", errVarint},
		{"an int beyond 32 bits", `"int"`, "8080808020", errInt},
		{"a length beyond the end", `"string"`, "0861", errLength},
		{"a huge length", `"bytes"`, "feffffffffffffffff01", errLength},
		{"a negative length", `"string"`, "0161", errLength},
		{"a boolean of 2", `"boolean"`, "02", errBoolean},
		{"half a double", `"double"`, "00000000", errShort},
		{"half a fixed", `{"type":"fixed","name":"x","size":4}`, "0000", errShort},
		{"branch 2 of 2", `["null","int"]`, "0402", errBranch},
		{"branch -1", `["null","int"]`, "01", errBranch},
		{"branch -1 where null is absent", `["int"]`, "01", errBranch},
		{"branch of a wide union", `["int","string","boolean"]`, "06", errBranch},
		{"symbol 2 of 2", enum, "04", errSymbol},
		{"symbol -1", enum, "01", errSymbol},
		{"text that is not UTF-8", `"string"`, "02ff", errUTF8},
		{"a key that is not UTF-8", `{"type":"map","values":"int"}`, "0202ff0200", errUTF8},
		{"no UUID", `{"type":"string","logicalType":"uuid"}`, "0461" + "62", errUUID},
		{"a UUID of bad digits", `{"type":"string","logicalType":"uuid"}`, "48" + hex.EncodeToString([]byte(strings.Replace(uuidText, "e", "g", 1))), errUUID},
		{"a UUID without hyphens", `{"type":"string","logicalType":"uuid"}`, "48" + hex.EncodeToString([]byte(strings.Repeat("1", 36))), errUUID},
		{"25 hours", `{"type":"long","logicalType":"time-micros"}`, "8080f6f3ef05", errTime},
		{"a negative time", `{"type":"int","logicalType":"time-millis"}`, "01", errTime},
		{"milliseconds beyond", `{"type":"long","logicalType":"timestamp-millis"}`, "fcffffffffffffffff01", errRange},
		{"an array without its end", `{"type":"array","items":"long"}`, "0202", errShort},
		{"more items than bytes", `{"type":"array","items":"long"}`, "feffffffffffffffff0102", errShort},
		{"the smallest count", `{"type":"array","items":"long"}`, "ffffffffffffffffff0102", errLength},
		{"a block that is too long", `{"type":"array","items":"long"}`, "01060200", errLength},
		{"a block of another size", `{"type":"array","items":"long"}`, "0104020000", errBlock},
		{"countless nulls", `{"type":"array","items":"null"}`, "feffffffffffffffff01", errEmpty},
		{"countless empty records", `{"type":"array","items":{"type":"record","name":"e","fields":[]}}`, "feffffffffffffffff01", errEmpty},
		{"countless nulls in arrays", `{"type":"array","items":{"type":"array","items":"null"}}`, "20" + strings.Repeat("80a00600", 16), errEmpty},
		{"a record in itself", endless, "", errDepth},
		{"a chain of records", tree, strings.Repeat("0202", 500), errDepth},
		{"a decimal of no byte", `{"type":"bytes","logicalType":"decimal","precision":5,"scale":0}`, "00", nil},
		{"a decimal of 600 bytes", `{"type":"bytes","logicalType":"decimal","precision":5,"scale":0}`, "b009" + strings.Repeat("11", 600), errTooLong},
		{"more than the record", `"long"`, "0202", errTrailing},
	}
	for _, tt := range tests {
		d := decoder(t, oneField(tt.typ))
		var mem Memory
		err := d.Decode(unhexed(t, tt.bytes), make([]replication.Value, 1), &mem)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.want)
			continue
		}
		if tt.want != errTrailing && !strings.HasPrefix(err.Error(), "decode field f: ") {
			t.Errorf("%s: error %q does not name the field", tt.name, err)
		}
		if mem.Size() > 8<<20 {
			t.Errorf("%s: took %d bytes", tt.name, mem.Size())
		}
		if tt.want == errUTF8 { // JSON replaces it
			continue
		}
		s, _ := ParseSchema(oneField(tt.typ))
		if out, err := JSON(s, unhexed(t, tt.bytes)); err == nil && !strings.Contains(tt.typ, "uuid") {
			t.Errorf("%s: JSON gave %s", tt.name, out)
		}
	}
}

// A record that repeats a long symbol per byte must not become gigabytes.
func TestOutputIsBounded(t *testing.T) {
	symbol := strings.Repeat("s", 100_000)
	schema := oneField(`{"type":"map","values":{"type":"enum","name":"e","symbols":["` + symbol + `"]}}`)
	body := append([]byte{0xa0, 0x9c, 0x01}, make([]byte, 20_000)...) // 10,000 entries of an empty key
	body = append(body, 0)
	var mem Memory
	if err := decoder(t, schema).Decode(body, make([]replication.Value, 1), &mem); !errors.Is(err, errOutput) {
		t.Errorf("error %v", err)
	}
	s, _ := ParseSchema(schema)
	if _, err := JSON(s, body); !errors.Is(err, errOutput) {
		t.Errorf("JSON: error %v", err)
	}
	// So must not decimals of 1,000 digits after the point.
	schema = oneField(`{"type":"array","items":{"type":"bytes","logicalType":"decimal","precision":1000,"scale":1000}}`)
	body = append([]byte{0xa0, 0x9c, 0x01}, bytes.Repeat([]byte{2, 1}, 10_000)...)
	body = append(body, 0)
	mem = Memory{}
	if err := decoder(t, schema).Decode(body, make([]replication.Value, 1), &mem); !errors.Is(err, errOutput) || mem.Size() > 6<<20 {
		t.Errorf("decimals: error %v, %d bytes", err, mem.Size())
	}
}

func TestDecodeIntoTheWrongLength(t *testing.T) {
	err := decoder(t, oneField(`"long"`)).Decode([]byte{2}, nil, new(Memory))
	if err == nil || !strings.Contains(err.Error(), "0 values for 1 columns") {
		t.Errorf("error %v", err)
	}
}

// A text that the schema calls a decimal is checked, for it reaches SQL.
func TestDecimalTextIsChecked(t *testing.T) {
	d := decoder(t, `{"type":"record","name":"r","fields":[{"name":"f","type":"string","cdc.kind":"decimal"}]}`)
	for text, ok := range map[string]bool{
		"1": true, "-1.5": true, "NaN": true, "Infinity": true, "-Infinity": true, "0.000": true, "1.": true,
		"": false, "-": false, "1e5": false, "1;drop": false, "1.2.3": false, "nan": false, "+1": false,
	} {
		got := make([]replication.Value, 1)
		err := d.Decode(append([]byte{byte(len(text)) << 1}, text...), got, new(Memory))
		if (err == nil) != ok {
			t.Errorf("%q: error %v, want ok %v", text, err, ok)
		}
		if ok && (got[0].Kind() != replication.KindDecimal || string(got[0].Bytes()) != text) {
			t.Errorf("%q: got %v", text, got[0])
		}
	}
}

// Values of a record stay as they are while later records use the same Memory.
func TestMemoryKeepsWhatItGave(t *testing.T) {
	fields := []FieldSpec{
		{Name: "n", Column: replication.Column{Kind: replication.KindDecimal, Precision: 30, Scale: 3}, Source: 0},
		{Name: "a", Column: replication.Column{Kind: replication.KindArray, Elem: replication.KindUUID}, Source: 1},
	}
	schema, _, err := RecordSchema("", "t", "", fields)
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEncoder(schema, 1, fields)
	if err != nil {
		t.Fatal(err)
	}
	d := decoder(t, schema)
	var mem Memory
	for round := range 3 {
		var kept [][]replication.Value
		var want [][]replication.Value
		for i := range 500 {
			id := bytes.Repeat([]byte{byte(i)}, 16)
			row := []replication.Value{
				replication.StringValue(replication.KindDecimal, strings.Repeat("7", i%20+1)+".125"),
				replication.ArrayValue([]replication.Value{replication.BytesValue(replication.KindUUID, id), replication.Null}),
			}
			b, err := e.Append(nil, row)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]replication.Value, 2)
			if err := d.Decode(b[5:], got, &mem); err != nil {
				t.Fatal(err)
			}
			kept, want = append(kept, got), append(want, row)
		}
		for i := range kept {
			for j := range kept[i] {
				if !kept[i][j].Equal(want[i][j]) {
					t.Fatalf("round %d, row %d: %v, want %v", round, i, kept[i][j], want[i][j])
				}
			}
		}
		mem.Reset()
	}
}

func TestSplitWire(t *testing.T) {
	id, body, err := SplitWire([]byte{0, 0xff, 0, 0, 1, 9})
	if err != nil || id != 0xff000001 || !bytes.Equal(body, []byte{9}) {
		t.Errorf("got %d, %x, %v", id, body, err)
	}
	for _, b := range [][]byte{nil, {0, 0, 0, 1}, {1, 0, 0, 0, 1, 5}, []byte(`{"id":1}`)} {
		if _, _, err := SplitWire(b); err == nil {
			t.Errorf("%x was split", b)
		}
	}
}

func TestJSON(t *testing.T) {
	schema := `{"type":"record","name":"r","fields":[
		{"name":"id","type":"long"},
		{"name":"a_x0020_b","type":["null","string"],"cdc.name":"a b"},
		{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":30,"scale":2}},
		{"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
		{"name":"local","type":{"type":"long","logicalType":"local-timestamp-millis"}},
		{"name":"day","type":{"type":"int","logicalType":"date"}},
		{"name":"clock","type":{"type":"long","logicalType":"time-micros"}},
		{"name":"f","type":"double"},
		{"name":"raw","type":"bytes"},
		{"name":"u","type":{"type":"fixed","name":"u16","size":16,"logicalType":"uuid"}},
		{"name":"m","type":{"type":"map","values":["null","boolean"]}}]}`
	body := unhexed(t, "0e"+"02 0c 22 0a 09 ff 01 61"+"02 96"+"01"+"00"+"feffffff0f"+"80b8f7d18101"+"000000000000f07f"+"04 fbff"+hex.EncodeToString(uuidBytes)+"02 02 6b 02 01 00")
	s, err := ParseSchema(schema)
	if err != nil {
		t.Fatal(err)
	}
	got, err := JSON(s, body)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":7,"a b":"\"\n\t` + "\uFFFD" + `\u0001a","price":-1.06,"at":"1969-12-31T23:59:59.999999Z","local":"1970-01-01T00:00:00",` +
		`"day":"infinity","clock":"04:50:00","f":"Infinity","raw":"+/8=","u":"` + uuidText + `","m":{"k":true}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTimeText(t *testing.T) {
	for _, tt := range []struct {
		kind replication.Kind
		v    int64
		want string
	}{
		{replication.KindDate, 0, "1970-01-01"},
		{replication.KindDate, -1, "1969-12-31"},
		{replication.KindDate, 11016, "2000-02-29"},
		{replication.KindDate, -719468, "0000-03-01"},
		{replication.KindDate, -719529, "-000001-12-31"},
		{replication.KindDate, 2932896, "9999-12-31"},
		{replication.KindDate, 2932897, "+010000-01-01"},
		{replication.KindDate, replication.NegInfinity, "-infinity"},
		{replication.KindTimestamp, math.MaxInt64 - 1, "+294247-01-10T04:00:54.775806"},
		{replication.KindTimestampTZ, 1_500_000, "1970-01-01T00:00:01.5Z"},
		{replication.KindTimestampTZ, math.MaxInt64, "infinity"},
		{replication.KindTime, 86_400_000_000, "24:00:00"},
	} {
		if got := string(appendTimeText(nil, tt.kind, tt.v)); got != tt.want {
			t.Errorf("%s %d = %s, want %s", tt.kind, tt.v, got, tt.want)
		}
	}
}

func TestKeyText(t *testing.T) {
	columns := []replication.Column{{Name: "id"}, {Name: "name"}, {Name: "u"}}
	values := []replication.Value{replication.IntValue(7), replication.StringValue(replication.KindString, "a\nb"), replication.BytesValue(replication.KindUUID, uuidBytes)}
	if got, want := KeyText(columns[:1], values[:1]), "id=7"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := KeyText(columns, values), "id=7 name='a b' u="+uuidText; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	d := decoder(t, oneField(`"long"`))
	if got, want := d.Text([]byte{0x0e}), "f=7"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := d.Text([]byte{0x80}), "0x80"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
