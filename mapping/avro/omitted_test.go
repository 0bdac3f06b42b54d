package avro

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	twmb "github.com/twmb/avro"

	"cdc/replication"
)

// TestOmitted writes rows with values that the log left out, and reads them by
// another library and by ours.
func TestOmitted(t *testing.T) {
	specs := []FieldSpec{
		{Name: "id", Column: replication.Column{Name: "id", Kind: replication.KindInt, Bits: 32, NotNull: true}},
		{Name: "größe", Column: replication.Column{Name: "größe", Kind: replication.KindString}, Source: 1},
		{Name: "doc", Column: replication.Column{Name: "doc", Kind: replication.KindJSON}, Source: 2},
	}
	text, names, err := RecordSchema("cdc.public", "t", "", specs)
	if err != nil {
		t.Fatal(err)
	}
	if text, err = WithOmitted(text); err != nil {
		t.Fatal(err)
	}
	enc, err := NewEncoder(text, 1, specs)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := twmb.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := ParseSchema(text)
	if err != nil {
		t.Fatal(err)
	}
	dec, err := NewDecoder(schema)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(dec.Columns()); n != 3 {
		t.Fatalf("%d columns, want 3", n)
	}
	str := func(s string) replication.Value { return replication.StringValue(replication.KindString, s) }
	doc := replication.StringValue(replication.KindJSON, "{}")
	for _, tt := range []struct {
		row  []replication.Value
		want []any
	}{
		{[]replication.Value{replication.IntValue(1), str("a"), doc}, nil},
		{[]replication.Value{replication.IntValue(1), replication.Null, replication.Unchanged}, []any{"doc"}},
		{[]replication.Value{replication.IntValue(1), replication.Unchanged, replication.Unchanged}, []any{names[1], "doc"}},
	} {
		b, err := enc.Append(nil, tt.row)
		if err != nil {
			t.Fatal(err)
		}
		var seen map[string]any
		if rest, err := foreign.Decode(b[5:], &seen); err != nil || len(rest) > 0 {
			t.Fatalf("%v, %d bytes left over", err, len(rest))
		}
		var want any
		if tt.want != nil {
			want = tt.want
		}
		if d := cmp.Diff(want, seen[OmittedField]); d != "" {
			t.Errorf("%v: %s", tt.row, d)
		}
		got := make([]replication.Value, 3)
		var mem Memory
		if err := dec.Decode(b[5:], got, &mem); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(tt.row) {
			t.Errorf("read %v, want %v", got, tt.row)
		}
	}

	// A name of no field is an error, and so is a cut record.
	b, err := enc.Append(nil, []replication.Value{replication.IntValue(1), replication.Null, replication.Unchanged})
	if err != nil {
		t.Fatal(err)
	}
	var mem Memory
	got := make([]replication.Value, 3)
	b[len(b)-2] = 'x' // "doc" becomes "dox"
	if err := dec.Decode(b[5:], got, &mem); err == nil {
		t.Error("a name of no field is taken")
	}
	if err := dec.Decode(b[5:len(b)-3], got, &mem); err == nil {
		t.Error("a cut record is taken")
	}
}

// TestOmittedIsNoColumn: a field of that name that is not ours is a column.
func TestOmittedIsNoColumn(t *testing.T) {
	s, err := ParseSchema(`{"type":"record","name":"t","fields":[{"name":"a","type":"int"},{"name":"cdc_omitted","type":"string"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDecoder(s)
	if err != nil || len(d.Columns()) != 2 {
		t.Errorf("%v, %v", d, err)
	}
}

// TestFieldsAreColumns: both lists go together for any schema.
func TestFieldsAreColumns(t *testing.T) {
	omitted := `{"name":"o","type":["null",{"type":"array","items":"string"}],"default":null,"cdc.kind":"omitted"}`
	for _, fields := range []string{omitted, omitted + `,{"name":"a","type":"int"}`, `{"name":"a","type":"int"},` + omitted, `{"name":"a","type":"int"}`} {
		s, err := ParseSchema(`{"type":"record","name":"t","fields":[` + fields + `]}`)
		if err != nil {
			t.Fatal(err)
		}
		d, err := NewDecoder(s)
		if err != nil || len(d.Columns()) != len(s.Fields()) {
			t.Errorf("%s: %d columns, %d fields, %v", fields, len(d.Columns()), len(s.Fields()), err)
		}
	}
	for _, name := range []string{"a", "größe", "_x0041_", "1st", "a b", "", "日本"} {
		if got := Original(Name(name)); got != name && name != "" {
			t.Errorf("%q became %q", name, got)
		}
	}
}
