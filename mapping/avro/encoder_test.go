package avro

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"cdc/replication"
)

func unhexed(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// single compiles an encoder for one column of a table.
func single(t testing.TB, c replication.Column) *Encoder {
	t.Helper()
	c.Name = "c"
	fields := []FieldSpec{{Name: "c", Column: c}}
	text, _, err := RecordSchema("ns", "t", "", fields)
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEncoder(text, 1, fields)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var (
	uuidBytes = []byte{0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3, 0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0x00}
	uuidText  = "123e4567-e89b-12d3-a456-426614174000"
)

// The bodies follow from the Avro specification, "Binary Encoding": its
// examples for long (0 00, -1 01, 1 02, -64 7f, 64 8001), "foo" (06666f6f) and
// the array [3,27] (04 06 36 00), and the definitions of the rest.
func TestAppendGolden(t *testing.T) {
	long := replication.Column{Kind: replication.KindInt, Bits: 64, NotNull: true}
	date := replication.Column{Kind: replication.KindDate, NotNull: true}
	stamp := replication.Column{Kind: replication.KindTimestamp, NotNull: true}
	tests := []struct {
		column replication.Column
		value  replication.Value
		want   string
	}{
		{long, replication.IntValue(0), "00"},
		{long, replication.IntValue(-1), "01"},
		{long, replication.IntValue(1), "02"},
		{long, replication.IntValue(-2), "03"},
		{long, replication.IntValue(-64), "7f"},
		{long, replication.IntValue(64), "8001"},
		{long, replication.IntValue(math.MaxInt64), "feffffffffffffffff01"},
		{long, replication.IntValue(math.MinInt64), "ffffffffffffffffff01"},
		{replication.Column{Kind: replication.KindInt, Bits: 32, NotNull: true}, replication.IntValue(math.MinInt32), "ffffffff0f"},
		{replication.Column{Kind: replication.KindUint, Bits: 32, NotNull: true}, replication.UintValue(math.MaxUint32), "feffffff1f"},
		{replication.Column{Kind: replication.KindUint, Bits: 64, NotNull: true}, replication.UintValue(math.MaxUint64), "12 00ffffffffffffffff"},
		{replication.Column{Kind: replication.KindBool, NotNull: true}, replication.BoolValue(true), "01"},
		{replication.Column{Kind: replication.KindBool}, replication.BoolValue(false), "02 00"},
		{replication.Column{Kind: replication.KindBool}, replication.Null, "00"},
		{replication.Column{Kind: replication.KindFloat, Bits: 32, NotNull: true}, replication.FloatValue(1.5), "0000c03f"},
		{replication.Column{Kind: replication.KindFloat, Bits: 64, NotNull: true}, replication.FloatValue(-2), "00000000000000c0"},
		{replication.Column{Kind: replication.KindString, NotNull: true}, replication.StringValue(replication.KindString, "foo"), "06666f6f"},
		{replication.Column{Kind: replication.KindString}, replication.StringValue(replication.KindString, "a"), "020261"},
		{replication.Column{Kind: replication.KindString}, replication.StringValue(replication.KindString, ""), "0200"},
		{replication.Column{Kind: replication.KindJSON, NotNull: true}, replication.StringValue(replication.KindJSON, "{}"), "047b7d"},
		{replication.Column{Kind: replication.KindBytes, NotNull: true}, replication.BytesValue(replication.KindBytes, []byte{0xff, 0}), "04ff00"},
		{replication.Column{Kind: replication.KindDecimal, Precision: 12, Scale: 2}, replication.StringValue(replication.KindDecimal, "-1.28"), "02 02 80"},
		{replication.Column{Kind: replication.KindDecimal, NotNull: true}, replication.StringValue(replication.KindDecimal, "NaN"), "064e614e"},
		{date, replication.NumValue(replication.KindDate, 0), "00"},
		{date, replication.NumValue(replication.KindDate, -1), "01"},
		{date, replication.NumValue(replication.KindDate, replication.Infinity), "feffffff0f"},
		{date, replication.NumValue(replication.KindDate, replication.NegInfinity), "ffffffff0f"},
		{replication.Column{Kind: replication.KindTime, NotNull: true}, replication.NumValue(replication.KindTime, 86_400_000_000), "8080bbdd8305"},
		{stamp, replication.NumValue(replication.KindTimestamp, 1), "02"},
		{stamp, replication.NumValue(replication.KindTimestamp, replication.Infinity), "feffffffffffffffff01"},
		{replication.Column{Kind: replication.KindTimestampTZ, NotNull: true}, replication.NumValue(replication.KindTimestampTZ, replication.NegInfinity), "ffffffffffffffffff01"},
		{replication.Column{Kind: replication.KindUUID, NotNull: true}, replication.BytesValue(replication.KindUUID, uuidBytes), "48" + hex.EncodeToString([]byte(uuidText))},
		{
			replication.Column{Kind: replication.KindArray, Elem: replication.KindInt, Bits: 64, NotNull: true},
			replication.ArrayValue([]replication.Value{replication.IntValue(3), replication.Null, replication.IntValue(27)}), "06 0206 00 0236 00",
		},
		{replication.Column{Kind: replication.KindArray, Elem: replication.KindInt, Bits: 64}, replication.ArrayValue(nil), "02 00"},
		{replication.Column{Kind: replication.KindArray, Elem: replication.KindInt, Bits: 64}, replication.Null, "00"},
		// Unchanged: null, or the type's zero
		{replication.Column{Kind: replication.KindString}, replication.Unchanged, "00"},
		{replication.Column{Kind: replication.KindString, NotNull: true}, replication.Unchanged, "00"},
		{long, replication.Unchanged, "00"},
		{replication.Column{Kind: replication.KindDecimal, Precision: 12, Scale: 2, NotNull: true}, replication.Unchanged, "0200"},
		{replication.Column{Kind: replication.KindFloat, Bits: 64, NotNull: true}, replication.Unchanged, "0000000000000000"},
		{replication.Column{Kind: replication.KindUUID, NotNull: true}, replication.Unchanged, "48" + hex.EncodeToString([]byte("00000000-0000-0000-0000-000000000000"))},
		{replication.Column{Kind: replication.KindArray, Elem: replication.KindInt, Bits: 64, NotNull: true}, replication.Unchanged, "00"},
	}
	for _, tt := range tests {
		got, err := single(t, tt.column).Append(nil, []replication.Value{tt.value})
		if err != nil {
			t.Errorf("%v of %v: %v", tt.column, tt.value, err)
			continue
		}
		if want := unhexed(t, "00 00000001"+tt.want); !bytes.Equal(got, want) {
			t.Errorf("%v of %v = %x, want %x", tt.column, tt.value, got, want)
		}
	}
}

// The specification's record {"a": 27, "b": "foo"} is 36 06 66 6f 6f.
func TestAppendTheRecordOfTheSpecification(t *testing.T) {
	fields := []FieldSpec{
		{Name: "b", Column: replication.Column{Name: "b", Kind: replication.KindString, NotNull: true}, Source: 0},
		{Name: "a", Column: replication.Column{Name: "a", Kind: replication.KindInt, Bits: 64, NotNull: true}, Source: 2},
	}
	e, err := NewEncoder(`{"type":"record","name":"test","fields":[{"name":"a","type":"long"},{"name":"b","type":"string"}]}`, 0x01020304, fields)
	if err != nil {
		t.Fatal(err)
	}
	row := []replication.Value{replication.StringValue(replication.KindString, "foo"), replication.Null, replication.IntValue(27)}
	got, err := e.Append([]byte("before"), row)
	if err != nil {
		t.Fatal(err)
	}
	if want := append([]byte("before"), unhexed(t, "00 01020304 3606666f6f")...); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

func TestAppendErrors(t *testing.T) {
	tests := []struct {
		name   string
		column replication.Column
		value  replication.Value
		want   string
	}{
		{"null in NOT NULL", replication.Column{Kind: replication.KindInt, Bits: 32, NotNull: true}, replication.Null, "column c: value null: null, but the field is not nullable"},
		{"int over 32 bits", replication.Column{Kind: replication.KindInt, Bits: 32}, replication.IntValue(1 << 31), "column c: value 2147483648: beyond the range"},
		{"int under 32 bits", replication.Column{Kind: replication.KindInt, Bits: 32}, replication.IntValue(-1<<31 - 1), "beyond the range"},
		{"uint over 16 bits of int", replication.Column{Kind: replication.KindUint, Bits: 16}, replication.UintValue(1 << 31), "beyond the range"},
		{"uint beyond int64", replication.Column{Kind: replication.KindUint, Bits: 32}, replication.UintValue(1 << 63), "beyond the range"},
		{"another kind", replication.Column{Kind: replication.KindInt, Bits: 32}, replication.BoolValue(true), "a value of kind bool where the column's kind is int"},
		{"not UTF-8", replication.Column{Kind: replication.KindString}, replication.StringValue(replication.KindString, "a\xff"), "text that is not UTF-8"},
		{"JSON that is not UTF-8", replication.Column{Kind: replication.KindJSON}, replication.StringValue(replication.KindJSON, "\"\xc0\xaf\""), "text that is not UTF-8"},
		{"NaN", replication.Column{Kind: replication.KindDecimal, Precision: 5, Scale: 2}, replication.StringValue(replication.KindDecimal, "NaN"), "column c: value NaN: a decimal of Avro has no NaN"},
		{"precision", replication.Column{Kind: replication.KindDecimal, Precision: 5, Scale: 2}, replication.StringValue(replication.KindDecimal, "12345.6"), "column c: value 12345.6: more digits than the precision"},
		{"scale", replication.Column{Kind: replication.KindDecimal, Precision: 5, Scale: 2}, replication.StringValue(replication.KindDecimal, "0.001"), "more digits after the point than the scale"},
		{"date", replication.Column{Kind: replication.KindDate}, replication.NumValue(replication.KindDate, math.MaxInt32), "beyond the range of Avro's date"},
		{"date below", replication.Column{Kind: replication.KindDate}, replication.NumValue(replication.KindDate, math.MinInt32), "beyond the range of Avro's date"},
		{"time", replication.Column{Kind: replication.KindTime}, replication.NumValue(replication.KindTime, 86_400_000_001), "not a time of day"},
		{"time below", replication.Column{Kind: replication.KindTime}, replication.NumValue(replication.KindTime, -1), "not a time of day"},
		{"short UUID", replication.Column{Kind: replication.KindUUID}, replication.BytesValue(replication.KindUUID, []byte{1}), "not 16 bytes"},
		{
			"element",
			replication.Column{Kind: replication.KindArray, Elem: replication.KindInt, Bits: 32},
			replication.ArrayValue([]replication.Value{replication.IntValue(1), replication.IntValue(1 << 40)}), "column c: value {1,1099511627776}: element 1: beyond the range",
		},
		{
			"unchanged element",
			replication.Column{Kind: replication.KindArray, Elem: replication.KindInt, Bits: 32},
			replication.ArrayValue([]replication.Value{replication.Unchanged}), "element of another kind",
		},
		{
			"a long value is cut",
			replication.Column{Kind: replication.KindString},
			replication.StringValue(replication.KindString, strings.Repeat("é", 5000)+"\xff"), "value '" + strings.Repeat("é", 31) + "…'",
		},
	}
	for _, tt := range tests {
		before := []byte("before")
		got, err := single(t, tt.column).Append(before, []replication.Value{tt.value})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("%s: an error of %d bytes", tt.name, len(err.Error()))
		}
		if string(got) != "before" {
			t.Errorf("%s: dst came back as %q", tt.name, got)
		}
	}
	if _, err := single(t, replication.Column{Kind: replication.KindBool}).Append(nil, nil); err == nil || !strings.Contains(err.Error(), "column c") {
		t.Errorf("a row that is too short: error %v", err)
	}
}

// Given schemas: what fits without loss is written, what does not is refused
// before the first row.
func TestEncoderForGivenSchemas(t *testing.T) {
	i16 := replication.Column{Kind: replication.KindInt, Bits: 16, NotNull: true}
	i32 := replication.Column{Kind: replication.KindInt, Bits: 32, NotNull: true}
	i64 := replication.Column{Kind: replication.KindInt, Bits: 64, NotNull: true}
	u64 := replication.Column{Kind: replication.KindUint, Bits: 64, NotNull: true}
	f32 := replication.Column{Kind: replication.KindFloat, Bits: 32, NotNull: true}
	f64 := replication.Column{Kind: replication.KindFloat, Bits: 64, NotNull: true}
	num := replication.Column{Kind: replication.KindDecimal, Precision: 6, Scale: 2, NotNull: true}
	bare := replication.Column{Kind: replication.KindDecimal, NotNull: true}
	text := replication.Column{Kind: replication.KindString, NotNull: true}
	nullable := replication.Column{Kind: replication.KindString}
	uuid := replication.Column{Kind: replication.KindUUID, NotNull: true}
	stamp := replication.Column{Kind: replication.KindTimestamp, NotNull: true}
	fixed16 := `{"type":"fixed","name":"u","size":16}`
	dec := func(p, s int) string {
		return fmt.Sprintf(`{"type":"bytes","logicalType":"decimal","precision":%d,"scale":%d}`, p, s)
	}
	tests := []struct {
		typ    string
		column replication.Column
		value  replication.Value
		want   string // hex of the body, or
		refuse string
	}{
		{typ: `"long"`, column: i32, value: replication.IntValue(5), want: "0a"},
		{typ: `"int"`, column: i64, refuse: "int does not fit int"},
		{typ: `"float"`, column: i16, value: replication.IntValue(3), want: "00004040"},
		{typ: `"float"`, column: i32, refuse: "does not fit float"},
		{typ: `"double"`, column: i32, value: replication.IntValue(3), want: "0000000000000840"},
		{typ: `"double"`, column: i64, refuse: "does not fit double"},
		{typ: `"double"`, column: f32, value: replication.FloatValue(1), want: "000000000000f03f"},
		{typ: `"float"`, column: f64, refuse: "does not fit float"},
		{typ: `"long"`, column: u64, refuse: "does not fit long"},
		{typ: dec(20, 0), column: u64, value: replication.UintValue(7), want: "0207"},
		{typ: dec(12, 2), column: i32, value: replication.IntValue(-1), want: "029c"},
		{typ: dec(11, 2), column: i32, refuse: "does not fit bytes/decimal(11,2)"},
		{typ: dec(8, 4), column: num, value: replication.StringValue(replication.KindDecimal, "1.00"), want: "042710"},
		{typ: dec(6, 1), column: num, refuse: "does not fit bytes/decimal(6,1)"},
		{typ: dec(7, 4), column: num, refuse: "does not fit"},
		{typ: dec(38, 10), column: bare, refuse: "does not fit"},
		{typ: `"string"`, column: num, value: replication.StringValue(replication.KindDecimal, "1.00"), want: "08312e3030"},
		{typ: `{"type":"fixed","name":"d","size":4,"logicalType":"decimal","precision":9,"scale":2}`, column: num, value: replication.StringValue(replication.KindDecimal, "-0.01"), want: "ffffffff"},
		{typ: `"string"`, column: uuid, value: replication.BytesValue(replication.KindUUID, uuidBytes), want: "48" + hex.EncodeToString([]byte(uuidText))},
		{typ: fixed16, column: uuid, value: replication.BytesValue(replication.KindUUID, uuidBytes), want: hex.EncodeToString(uuidBytes)},
		{typ: `"bytes"`, column: text, value: replication.StringValue(replication.KindString, "a"), want: "0261"},
		{typ: `{"type":"string","logicalType":"uuid"}`, column: text, refuse: "does not fit string/uuid"},
		{typ: `"long"`, column: stamp, refuse: "timestamp does not fit long"},
		{typ: `{"type":"long","logicalType":"timestamp-micros"}`, column: stamp, refuse: "does not fit long/timestamp-micros"},
		{typ: `["string","null"]`, column: nullable, value: replication.StringValue(replication.KindString, "a"), want: "00 0261"},
		{typ: `["string","null"]`, column: nullable, value: replication.Null, want: "02"},
		{typ: `["string","null"]`, column: nullable, value: replication.Unchanged, want: "02"},
		{typ: `["string"]`, column: text, value: replication.Unchanged, want: "0000"},
		{typ: `["null","int","long"]`, column: i64, value: replication.IntValue(1), want: "0402"},
		{typ: `"string"`, column: nullable, refuse: "the column may be null, and string has no null"},
		{typ: `["int","string"]`, column: nullable, refuse: "the column may be null, and the union has no null"},
		{typ: `["null"]`, column: nullable, refuse: "nothing but null"},
		{typ: `{"type":"map","values":"string"}`, column: text, refuse: "does not fit map"},
		{typ: `{"type":"array","items":"int"}`, column: replication.Column{Kind: replication.KindArray, Elem: replication.KindInt, Bits: 32, NotNull: true}, value: replication.ArrayValue([]replication.Value{replication.IntValue(3), replication.IntValue(27)}), want: "04063600"},
		{typ: `{"type":"array","items":"int"}`, column: replication.Column{Kind: replication.KindArray, Elem: replication.KindString, NotNull: true}, refuse: "its elements: string does not fit int"},
	}
	for _, tt := range tests {
		tt.column.Name = "col"
		schema := `{"type":"record","name":"r","fields":[{"name":"f","type":` + tt.typ + `}]}`
		e, err := NewEncoder(schema, 1, []FieldSpec{{Name: "f", Column: tt.column}})
		if tt.refuse != "" {
			if err == nil || !strings.Contains(err.Error(), tt.refuse) || !strings.Contains(err.Error(), "field f cannot hold column col") {
				t.Errorf("%v into %s: error %v, want %q", tt.column, tt.typ, err, tt.refuse)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v into %s: %v", tt.column, tt.typ, err)
			continue
		}
		got, err := e.Append(nil, []replication.Value{tt.value})
		if err != nil {
			t.Errorf("%v into %s: %v", tt.value, tt.typ, err)
			continue
		}
		if want := unhexed(t, "0000000001"+tt.want); !bytes.Equal(got, want) {
			t.Errorf("%v into %s = %x, want %x", tt.value, tt.typ, got, want)
		}
	}
}

func TestEncoderMatchesFieldsByName(t *testing.T) {
	schema := `{"type":"record","name":"r","fields":[
		{"name":"version","type":"int","default":2},
		{"name":"tag","type":["null","string"],"default":null},
		{"name":"a_x0020_b","type":"boolean"},
		{"name":"ident","type":"long","cdc.name":"id"},
		{"name":"note","aliases":["remark"],"type":"string"}]}`
	specs := []FieldSpec{
		{Name: "unused", Column: replication.Column{Name: "unused", Kind: replication.KindBool, NotNull: true}, Source: 0},
		{Name: "remark", Column: replication.Column{Name: "remark", Kind: replication.KindString, NotNull: true}, Source: 1},
		{Name: "id", Column: replication.Column{Name: "id", Kind: replication.KindInt, Bits: 64, NotNull: true}, Source: 2},
		{Name: "a b", Column: replication.Column{Name: "a b", Kind: replication.KindBool, NotNull: true}, Source: 3},
	}
	e, err := NewEncoder(schema, 1, specs)
	if err != nil {
		t.Fatal(err)
	}
	row := []replication.Value{replication.BoolValue(true), replication.StringValue(replication.KindString, "foo"), replication.IntValue(1), replication.BoolValue(true)}
	got, err := e.Append(nil, row)
	if err != nil {
		t.Fatal(err)
	}
	if want := unhexed(t, "0000000001 04 00 01 02 06666f6f"); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	_, err = NewEncoder(schema, 1, specs[:3])
	if err == nil || !strings.Contains(err.Error(), "field a_x0020_b: no column of that name, and no default") {
		t.Errorf("a field without a column and a default: error %v", err)
	}
	for schema, want := range map[string]string{`"string"`: "not a record", `{"type":"nosuch"}`: "parse schema"} {
		if _, err := NewEncoder(schema, 1, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("encoder for %s: error %v, want %q", schema, err, want)
		}
	}
}

func TestAppendErrorsCanBeAsked(t *testing.T) {
	_, err := single(t, replication.Column{Kind: replication.KindDecimal, Precision: 5, Scale: 2}).Append(nil, []replication.Value{replication.StringValue(replication.KindDecimal, "NaN")})
	if !errors.Is(err, errNotFinite) {
		t.Errorf("error %v", err)
	}
}
