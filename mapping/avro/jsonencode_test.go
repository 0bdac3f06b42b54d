package avro

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	twmb "github.com/twmb/avro"
)

// encodeJSON encodes a text by a schema and decodes it by an Avro library that
// is not ours, into JSON.
func encodeJSON(t testing.TB, schema, text string, fill *JSONFill) (string, error) {
	t.Helper()
	s, err := ParseSchema(schema)
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewJSONEncoder(s, 0x01020304)
	if err != nil {
		t.Fatal(err)
	}
	prefix := []byte("before")
	b, err := e.Append(prefix, []byte(text), fill, new(JSONScratch))
	if err != nil {
		if len(b) != len(prefix) {
			t.Errorf("%s: %d bytes are left after the error", text, len(b)-len(prefix))
		}
		return "", err
	}
	b = b[len(prefix):]
	if !bytes.Equal(b[:5], []byte{0, 1, 2, 3, 4}) {
		t.Fatalf("%x does not begin with the schema's id", b)
	}
	other, err := twmb.Parse(schema)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	rest, err := other.Decode(b[5:], &v)
	if err != nil || len(rest) > 0 {
		t.Fatalf("%s: decode %x: %v, %d bytes left over", text, b, err, len(rest))
	}
	return fmt.Sprintf("%v", v), nil
}

// TestJSONCoercion is the table of docs/outbox.md: what of JSON goes into what
// of Avro. What comes out is what another library reads.
func TestJSONCoercion(t *testing.T) {
	for _, tt := range []struct{ schema, text, want string }{
		{`"int"`, `7`, "7"},
		{`"int"`, `"7"`, "7"},
		{`"int"`, `"-7"`, "-7"},
		{`"int"`, `7.0`, "7"},
		{`"int"`, `7e2`, "700"},
		{`"int"`, `2147483648`, "!beyond the range"},
		{`"int"`, `7.5`, "!the number 7.5 is no int"},
		{`"int"`, `"seven"`, "!the text 'seven' is no int"},
		{`"int"`, `""`, "!is no int"},
		{`"int"`, `"0x10"`, "!is no int"},
		{`"int"`, `true`, "!true is no int"},
		{`"int"`, `null`, "!null"},
		{`"long"`, `-9223372036854775808`, "-9223372036854775808"},
		{`"long"`, `9223372036854775808`, "!is no long"},
		{`"long"`, `"9223372036854775807"`, "9223372036854775807"},
		{`"long"`, `9007199254740993.0`, "9007199254740993"},
		{`"long"`, `-9223372036854775808.00`, "-9223372036854775808"},
		{`"long"`, `9223372036854775808.0`, "!is no long"},
		{`"long"`, `4503599627370496.4`, "!is no long"},
		{`"long"`, `1.00000000000000000001`, "!is no long"},
		{`"long"`, `"+0120.0e-1"`, "!is no long"},
		{`"long"`, `"+120.0e-1"`, "12"},
		{`"long"`, `-0.0`, "0"},
		{`"long"`, `0e9`, "0"},
		{`"long"`, `1e-400`, "!is no long"},
		{`"long"`, `1e99999999999999999999`, "!is no long"},
		{`"long"`, `"2026-01-31 12:30:00 UTC"`, "1769862600"},
		{`"long"`, `"2026-01-31"`, "!is no long"},
		{`"float"`, `1.5`, "1.5"},
		{`"double"`, `"1.5e3"`, "1500"},
		{`"double"`, `1`, "1"},
		{`"double"`, `"NaN"`, "NaN"},
		{`"double"`, `"-Infinity"`, "-Inf"},
		{`"double"`, `"0x1p-2"`, "!is no double"},
		{`"double"`, `1e400`, "!beyond the range"},
		{`"boolean"`, `true`, "true"},
		{`"boolean"`, `"false"`, "false"},
		{`"boolean"`, `1`, "true"},
		{`"boolean"`, `"no"`, "!is no boolean"},
		{`"string"`, `"gr\u00fcn \ud83d\ude00 \"\\\/\b\f\n\r\t"`, "grün 😀 \"\\/\b\f\n\r\t"},
		{`"string"`, `17`, "17"},
		{`"string"`, `1.50`, "1.50"},
		{`"string"`, `false`, "false"},
		{`"string"`, `{"a": [1, 2]}`, `{"a": [1, 2]}`},
		{`"string"`, `null`, "!null"},
		{`"bytes"`, `"grün"`, "[103 114 195 188 110]"},
		{`"bytes"`, `1`, "!is no bytes"},
		{`{"type":"fixed","name":"f","size":3}`, `"abc"`, "[97 98 99]"},
		{`{"type":"fixed","name":"f","size":3}`, `"ab"`, "!2 bytes where the fixed has 3"},
		{`{"type":"bytes","logicalType":"decimal","precision":6,"scale":2}`, `12.5`, "25/2"},
		{`{"type":"bytes","logicalType":"decimal","precision":6,"scale":2}`, `"-1234.56"`, "-30864/25"},
		{`{"type":"bytes","logicalType":"decimal","precision":6,"scale":2}`, `125e-1`, "25/2"},
		{`{"type":"bytes","logicalType":"decimal","precision":6,"scale":2}`, `-1.25E+3`, "-1250/1"},
		{`{"type":"bytes","logicalType":"decimal","precision":6,"scale":2}`, `1.234`, "!more digits after the point"},
		{`{"type":"bytes","logicalType":"decimal","precision":6,"scale":2}`, `"12345.6"`, "!more digits than the precision"},
		{`{"type":"bytes","logicalType":"decimal","precision":6,"scale":2}`, `"abc"`, "!is no bytes/decimal(6,2)"},
		{`{"type":"enum","name":"e","symbols":["A","B"]}`, `"B"`, "B"},
		{`{"type":"enum","name":"e","symbols":["A","B"]}`, `"C"`, "!none of the enum's symbols"},
		{`{"type":"string","logicalType":"uuid"}`, `"0d6e1c4a-5a35-4f4c-9f6b-2d9d5a3f1e77"`, "0d6e1c4a-5a35-4f4c-9f6b-2d9d5a3f1e77"},
		{`{"type":"string","logicalType":"uuid"}`, `"0d6e1c4a"`, "!is no string/uuid"},
		{`{"type":"int","logicalType":"date"}`, `"2026-01-31"`, "2026-01-31 00:00:00 +0000 UTC"},
		{`{"type":"int","logicalType":"date"}`, `"1969-12-31T23:00:00Z"`, "1969-12-31 00:00:00 +0000 UTC"},
		{`{"type":"int","logicalType":"date"}`, `3`, "1970-01-04 00:00:00 +0000 UTC"},
		{`{"type":"int","logicalType":"date"}`, `"2026-02-30"`, "!is no int/date"},
		{`{"type":"int","logicalType":"time-millis"}`, `"12:30:01.5"`, "12h30m1.5s"},
		{`{"type":"long","logicalType":"time-micros"}`, `"23:59:59.999999"`, "23h59m59.999999s"},
		{`{"type":"long","logicalType":"time-micros"}`, `"25:00"`, "!is no long/time-micros"},
		{`{"type":"long","logicalType":"timestamp-millis"}`, `"2026-01-31T12:30:00.123456Z"`, "2026-01-31 12:30:00.123 +0000 UTC"},
		{`{"type":"long","logicalType":"timestamp-micros"}`, `"2026-01-31 12:30:00.123456+05:30"`, "2026-01-31 07:00:00.123456 +0000 UTC"},
		{`{"type":"long","logicalType":"timestamp-micros"}`, `"2026-01-31T12:30:00 -0800"`, "2026-01-31 20:30:00 +0000 UTC"},
		{`{"type":"long","logicalType":"timestamp-micros"}`, `"2024-02-29T23:59:59+00"`, "2024-02-29 23:59:59 +0000 UTC"},
		{`{"type":"long","logicalType":"timestamp-micros"}`, `"0001-01-01T00:00:00Z"`, "0001-01-01 00:00:00 +0000 UTC"},
		{`{"type":"long","logicalType":"timestamp-micros"}`, `1769862600000000`, "2026-01-31 12:30:00 +0000 UTC"},
		{`{"type":"long","logicalType":"timestamp-micros"}`, `"yesterday"`, "!is no long/timestamp-micros"},
		{`{"type":"long","logicalType":"local-timestamp-micros"}`, `"2026-01-31T12:30:00Z"`, "!no zone"},
		{`{"type":"array","items":"int"}`, `[1, "2", 3.0]`, "[1 2 3]"},
		{`{"type":"array","items":"int"}`, `[]`, "[]"},
		{`{"type":"array","items":"int"}`, `[1, 2`, "!ends too early"},
		{`{"type":"array","items":"int"}`, `[1, "x"]`, "!field [1]: the text 'x' is no int"},
		{`{"type":"map","values":"long"}`, `{"a": 1, "b": "2"}`, "map[a:1 b:2]"},
		{`["null","int"]`, `null`, "<nil>"},
		{`["null","int"]`, `"5"`, "5"},
		{`["int","null"]`, `null`, "<nil>"},
		{`["null","int","string"]`, `"5"`, "5"}, // a text stays a text
		{`["null","string","int"]`, `5`, "5"},
		{`["null","long","double"]`, `1.5`, "1.5"},
		{`["null","boolean","long"]`, `"12"`, "12"},
		{`["int",{"type":"array","items":"int"}]`, `[4]`, "[4]"},
		{`["int","boolean"]`, `"x"`, "!no type of the union takes"},
		{`"int"`, `7 8`, "!something after the value"},
		{`"int"`, `01`, "!malformed number"},
		{`"string"`, "\"a\nb\"", "!control character"},
		{`"string"`, "\"a\xffb\"", "!not UTF-8"},
		{`"string"`, `"\ud800"`, "!malformed escape"},
	} {
		got, err := encodeJSON(t, tt.schema, tt.text, nil)
		if want, fails := strings.CutPrefix(tt.want, "!"); fails {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s as %s: %q, %v; want the error %q", tt.text, tt.schema, got, err, want)
			}
		} else if err != nil || got != tt.want {
			t.Errorf("%s as %s: %q, %v; want %q", tt.text, tt.schema, got, err, tt.want)
		}
	}
}

const orderSchema = `{"type":"record","name":"Order","namespace":"shop","fields":[
	{"name":"message_id","type":"string"},
	{"name":"timestamp","type":"string"},
	{"name":"id","type":"long"},
	{"name":"customer","type":{"type":"record","name":"Customer","fields":[
		{"name":"name","type":"string"},{"name":"vip","type":"boolean","default":false},{"name":"parent","type":["null","Customer"],"default":null}]}},
	{"name":"total","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
	{"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
	{"name":"note","type":["null","string"],"default":null},
	{"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[{"name":"sku","type":"string"},{"name":"n","type":"int"}]}}},
	{"name":"tags","type":{"type":"map","values":"string"},"default":{}}]}`

const orderText = `{"id": "42", "customer": {"name": "Ada", "parent": {"name": "Bob", "vip": true}}, "total": 99.9, "at": "2026-01-31T12:30:00Z",
	"lines": [{"sku": "a", "n": 1}, {"n": "2", "sku": "b", "unknown": {"x": [1, {}]}}], "unknown": null}`

func TestJSONRecord(t *testing.T) {
	fill := &JSONFill{MessageID: []byte("m-1"), Timestamp: 1769862600123456}
	got, err := encodeJSON(t, orderSchema, orderText, fill)
	want := "map[at:2026-01-31 12:30:00 +0000 UTC customer:map[name:Ada parent:map[name:Bob parent:<nil> vip:true] vip:false] id:42 " +
		"lines:[map[n:1 sku:a] map[n:2 sku:b]] message_id:m-1 note:<nil> tags:map[] timestamp:2026-01-31T12:30:00.123456Z total:999/10]"
	if err != nil || got != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	for text, want := range map[string]string{
		`{"message_id": "own", "timestamp": null`:                                          "ends too early",
		`{"customer": {"parent": {"vip": 3}}}`:                                             "field id: missing",
		`{"id": 1, "customer": {"name": "a", "parent": {"name": "b", "vip": 3}}}`:          "field customer.parent.vip: the number 3 is no boolean",
		`{"id": 1, "customer": {"name": "a"}, "total": 1, "at": 0, "lines": [{"sku": 1}]}`: "field lines[0].n: missing",
		`{"id": 1, "id": 2}`:                     "field id: stands there twice",
		`{"at": 1, "id": 1, "at": 2}`:            "field at: stands there twice",
		`{"tags": {"k": {}}, "id": [1]}`:         "field id: an array is no long",
		`[]`:                                     "an array is no record",
		strings.Repeat(`{"u":`, 200):             "nested too deeply",
		`{"customer": ` + nestedCustomer(120, 0): "nested too deeply",
	} {
		if got, err := encodeJSON(t, orderSchema, text, fill); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %s, %v; want the error %q", text, got, err, want)
		}
	}
	// The payload's own come first; a null is as good as none.
	got, err = encodeJSON(t, `{"type":"record","name":"r","fields":[{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},
		{"name":"message_id","type":["null","string"],"default":null}]}`, `{"message_id": "own", "timestamp": null}`, fill)
	if want := "map[message_id:own timestamp:2026-01-31 12:30:00.123 +0000 UTC]"; err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

func nestedCustomer(n, i int) string {
	if i == n {
		return `null`
	}
	return `{"name": "x", "parent": ` + nestedCustomer(n, i+1) + `}`
}

// TestJSONOrder: the order of the fields in the text changes nothing.
func TestJSONOrder(t *testing.T) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(orderText), &fields); err != nil {
		t.Fatal(err)
	}
	fill := &JSONFill{MessageID: []byte("m"), Timestamp: 1}
	want, err := encodeJSON(t, orderSchema, orderText, fill)
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for name, value := range fields {
		parts = append(parts, fmt.Sprintf("%q:%s", name, value))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		text := "{" + strings.Join(parts, ",") + "}"
		if got, err := encodeJSON(t, orderSchema, text, fill); err != nil || got != want {
			t.Fatalf("%s: %s, %v", text, got, err)
		}
	}
}

// TestJSONLongArray: the count of a block takes one byte up to 63 items.
func TestJSONLongArray(t *testing.T) {
	for _, n := range []int{1, 63, 64, 8191, 8192} {
		text := "[" + strings.TrimSuffix(strings.Repeat("7,", n), ",") + "]"
		got, err := encodeJSON(t, `{"type":"array","items":"int"}`, text, nil)
		if want := "[" + strings.TrimSuffix(strings.Repeat("7 ", n), " ") + "]"; err != nil || got != want {
			t.Errorf("%d items: %v", n, err)
		}
	}
}

// TestCheckJSON compares with the standard library, which knows the grammar.
func TestCheckJSON(t *testing.T) {
	for _, text := range []string{
		``, ` `, `{}`, `[]`, `[1,]`, `[,1]`, `{"a":1,}`, `{"a"}`, `{a:1}`, `{"a":1 "b":2}`, `tru`, `true`, `nul`, `-`, `-0`, `1.`, `.5`, `1e`, `1e+`, `1e5`, `+1`,
		`"`, `"\x"`, `"\u12"`, `"\u00e4"`, ` [ 1 , { "a" : [ ] } ] `, `[1] 2`, `[[[]]`, "\"\x01\"", `{"a":1,"a":2}`, `1.5.2`, `00`, "\ufeff1",
	} {
		if err := CheckJSON([]byte(text)); (err == nil) != json.Valid([]byte(text)) {
			t.Errorf("%q: %v, the standard library says valid: %v", text, err, json.Valid([]byte(text)))
		}
	}
}

func FuzzJSONEncoder(f *testing.F) {
	f.Add(orderText)
	f.Add(`{"id": 1, "customer": {"name": "\ud83d\ude00"}, "total": "1e-2", "at": "2026-01-31 12:30:00 +0530", "lines": [], "tags": {"a": 1}}`)
	f.Add(`{"lines": [{}], "customer": {"parent": {"parent": null}}`)
	s, err := ParseSchema(orderSchema)
	if err != nil {
		f.Fatal(err)
	}
	e, err := NewJSONEncoder(s, 1)
	if err != nil {
		f.Fatal(err)
	}
	other := twmb.MustParse(orderSchema)
	fill := &JSONFill{MessageID: []byte("m"), Timestamp: 1}
	f.Fuzz(func(t *testing.T, text string) {
		if err := CheckJSON([]byte(text)); err == nil && !json.Valid([]byte(text)) {
			t.Fatalf("%q passes as JSON", text)
		}
		b, err := e.Append(nil, []byte(text), fill, new(JSONScratch))
		if err != nil {
			return
		}
		if !json.Valid([]byte(text)) {
			t.Fatalf("%q passes as JSON", text)
		}
		var v any
		if rest, err := other.Decode(b[5:], &v); err != nil || len(rest) > 0 {
			t.Fatalf("%q: %x: %v, %d bytes left over", text, b, err, len(rest))
		}
	})
}

func FuzzISO(f *testing.F) {
	for _, s := range []string{"2026-01-31T12:30:00.123456Z", "2026-01-31 12:30 +05:30", "2026-01-31", "12:30:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, ok := readISO([]byte(s))
		if _, _, clock := parseClock([]byte(s)); ok && clock {
			t.Fatalf("%q is both a date and a time of day", s)
		}
		if ok && (at.nanos < 0 || at.nanos >= 1e9 || at.seconds > 253402300800+100*3600 || at.seconds < -62135596800-100*3600) {
			t.Fatalf("%q is %+v", s, at)
		}
	})
}

// TestJSONAllocates: nothing a text, once the scratch has grown.
func TestJSONAllocates(t *testing.T) {
	e, text, fill := orderEncoder(t)
	s, dst := new(JSONScratch), make([]byte, 0, 4096)
	n := testing.AllocsPerRun(100, func() {
		if _, err := e.Append(dst, text, fill, s); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a text", n)
	}
}

func BenchmarkJSONEncoder(b *testing.B) {
	e, text, fill := orderEncoder(b)
	s, dst := new(JSONScratch), make([]byte, 0, 4096)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Append(dst, text, fill, s); err != nil {
			b.Fatal(err)
		}
	}
}

func orderEncoder(t testing.TB) (*JSONEncoder, []byte, *JSONFill) {
	t.Helper()
	s, err := ParseSchema(orderSchema)
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewJSONEncoder(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	return e, []byte(orderText), &JSONFill{MessageID: []byte("0d6e1c4a-5a35-4f4c-9f6b-2d9d5a3f1e77"), Timestamp: 1769862600123456}
}
