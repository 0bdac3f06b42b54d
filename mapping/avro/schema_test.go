package avro

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	twmb "github.com/twmb/avro"

	"cdc/replication"
)

// columnTypes is the table of api and docs/types.md: what each column becomes.
var columnTypes = []struct {
	column replication.Column
	want   string // the type of a NOT NULL field
	props  string
}{
	{replication.Column{Kind: replication.KindBool}, `"boolean"`, ""},
	{replication.Column{Kind: replication.KindInt, Bits: 16}, `"int"`, ""},
	{replication.Column{Kind: replication.KindInt, Bits: 32}, `"int"`, ""},
	{replication.Column{Kind: replication.KindInt, Bits: 64}, `"long"`, ""},
	{replication.Column{Kind: replication.KindUint, Bits: 8}, `"int"`, ""},
	{replication.Column{Kind: replication.KindUint, Bits: 16}, `"int"`, ""},
	{replication.Column{Kind: replication.KindUint, Bits: 32}, `"long"`, ""},
	{replication.Column{Kind: replication.KindUint, Bits: 64}, `{"type":"bytes","logicalType":"decimal","precision":20,"scale":0}`, ""},
	{replication.Column{Kind: replication.KindFloat, Bits: 32}, `"float"`, ""},
	{replication.Column{Kind: replication.KindFloat, Bits: 64}, `"double"`, ""},
	{replication.Column{Kind: replication.KindDecimal, Precision: 12, Scale: 2}, `{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}`, ""},
	{replication.Column{Kind: replication.KindDecimal}, `"string"`, `,"cdc.kind":"decimal"`},
	{replication.Column{Kind: replication.KindDecimal, Precision: 3, Scale: -2}, `"string"`, `,"cdc.kind":"decimal"`},
	{replication.Column{Kind: replication.KindDecimal, Precision: 3, Scale: 5}, `"string"`, `,"cdc.kind":"decimal"`},
	{replication.Column{Kind: replication.KindString, TypeName: "character varying(40)"}, `"string"`, `,"cdc.type":"character varying(40)"`},
	{replication.Column{Kind: replication.KindJSON, TypeName: "jsonb"}, `"string"`, `,"cdc.type":"jsonb","cdc.kind":"json"`},
	{replication.Column{Kind: replication.KindBytes}, `"bytes"`, ""},
	{replication.Column{Kind: replication.KindDate}, `{"type":"int","logicalType":"date"}`, ""},
	{replication.Column{Kind: replication.KindTime}, `{"type":"long","logicalType":"time-micros"}`, ""},
	{replication.Column{Kind: replication.KindTimestamp}, `{"type":"long","logicalType":"local-timestamp-micros"}`, ""},
	{replication.Column{Kind: replication.KindTimestampTZ}, `{"type":"long","logicalType":"timestamp-micros"}`, ""},
	{replication.Column{Kind: replication.KindUUID}, `{"type":"string","logicalType":"uuid"}`, ""},
	{replication.Column{Kind: replication.KindArray, Elem: replication.KindInt, Bits: 32}, `{"type":"array","items":["null","int"]}`, ""},
	{replication.Column{Kind: replication.KindArray, Elem: replication.KindDecimal}, `{"type":"array","items":["null","string"]}`, `,"cdc.kind":"decimal"`},
}

func TestRecordSchema(t *testing.T) {
	for _, tt := range columnTypes {
		for _, notNull := range []bool{true, false} {
			c := tt.column
			c.Name, c.NotNull = "c", notNull
			got, names, err := RecordSchema("cdc.public", "t", "", []FieldSpec{{Name: "c", Column: c}})
			if err != nil {
				t.Fatalf("%v: %v", c, err)
			}
			typ, end := tt.want, ""
			if !notNull {
				typ, end = `["null",`+tt.want+`]`, `,"default":null`
			}
			want := `{"type":"record","name":"t","namespace":"cdc.public","fields":[{"name":"c","type":` + typ + end + tt.props + `}]}`
			if got != want {
				t.Errorf("%v:\n got %s\nwant %s", c, got, want)
			}
			if diff := cmp.Diff([]string{"c"}, names); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
			if _, err := twmb.Parse(got); err != nil {
				t.Errorf("%s: %v", got, err)
			}
		}
	}
}

func TestSchemaNames(t *testing.T) {
	fields := []FieldSpec{
		{Name: "a b", Column: replication.Column{Name: "a b", Kind: replication.KindBool}},
		{Name: "a_x0020_b", Column: replication.Column{Name: "a_x0020_b", Kind: replication.KindBool}},
		{Name: "a_b", Column: replication.Column{Name: "a_b", Kind: replication.KindBool}},
		{Name: `q"\`, Column: replication.Column{Name: `q"\`, Kind: replication.KindBool, TypeName: `mood "x"`}},
	}
	text, names, err := RecordSchema("cdc.my-app", "order-lines", `says "hi"`, fields)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a_x0020_b", "a_x005F_x0020_b", "a_b", "q_x0022__x005C_"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if _, err := twmb.Parse(text); err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	if m["cdc.name"] != "order-lines" || m["name"] != "order_x002D_lines" || m["namespace"] != "cdc.my_x002D_app" || m["doc"] != `says "hi"` {
		t.Errorf("record is %v", m)
	}
	s, err := ParseSchema(text)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDecoder(s)
	if err != nil {
		t.Fatal(err)
	}
	var columns []string
	for _, c := range d.Columns() {
		columns = append(columns, c.Name)
	}
	if diff := cmp.Diff([]string{"a b", "a_x0020_b", "a_b", `q"\`}, columns); diff != "" {
		t.Errorf("columns read back (-want +got):\n%s", diff)
	}
	if got := d.Columns()[3].TypeName; got != `mood "x"` {
		t.Errorf("type read back as %q", got)
	}
}

func TestKeySchemaIsASubsetOfTheValue(t *testing.T) {
	fields := []FieldSpec{
		{Name: "tenant id", Column: replication.Column{Name: "tenant id", Kind: replication.KindUUID, NotNull: true, TypeName: "uuid"}},
		{Name: "id", Column: replication.Column{Name: "id", Kind: replication.KindInt, Bits: 64, NotNull: true}},
		{Name: "note", Column: replication.Column{Name: "note", Kind: replication.KindString}},
	}
	value, _, err := RecordSchema("cdc.public", "orders", "", fields)
	if err != nil {
		t.Fatal(err)
	}
	key, names, err := KeySchema("cdc.public", "orders", "", fields[:2])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"tenant_x0020_id", "id"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	var k, v struct {
		Name, Namespace, Doc string
		Fields               []json.RawMessage
	}
	for text, into := range map[string]any{key: &k, value: &v} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	if k.Name != "orders_key" || k.Namespace != "cdc.public" || k.Doc != "Key for cdc.public.orders" {
		t.Errorf("key is %s in %s, %q", k.Name, k.Namespace, k.Doc)
	}
	if diff := cmp.Diff(v.Fields[:2], k.Fields); diff != "" {
		t.Errorf("fields of the key differ from the value's (-value +key):\n%s", diff)
	}
}

func TestRecordSchemaRefuses(t *testing.T) {
	text := replication.Column{Name: "a", Kind: replication.KindString}
	for name, tt := range map[string]struct {
		fields []FieldSpec
		want   string
	}{
		"the same name twice": {[]FieldSpec{{Name: "x", Column: text}, {Name: "x", Column: replication.Column{Name: "b", Kind: replication.KindString}}}, "columns a and b would both be field x"},
		"a column of no kind": {[]FieldSpec{{Name: "x", Column: replication.Column{Name: "odd"}}}, "column odd: kind null has no Avro type"},
		"an array of arrays":  {[]FieldSpec{{Name: "x", Column: replication.Column{Name: "odd", Kind: replication.KindArray, Elem: replication.KindArray}}}, "column odd: kind array has no Avro type"},
	} {
		if _, _, err := RecordSchema("ns", "t", "", tt.fields); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", name, err, tt.want)
		}
	}
}
