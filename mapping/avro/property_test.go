package avro

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"cdc/replication"
)

// drawColumn draws a column of any kind, drawValue a value that it may hold.
func drawColumn(t *rapid.T, i int) replication.Column {
	scalar := []replication.Kind{
		replication.KindBool, replication.KindInt, replication.KindUint, replication.KindFloat, replication.KindDecimal,
		replication.KindString, replication.KindBytes, replication.KindDate, replication.KindTime, replication.KindTimestamp,
		replication.KindTimestampTZ, replication.KindUUID, replication.KindJSON,
	}
	c := replication.Column{Name: fmt.Sprintf("c%d", i), NotNull: rapid.Bool().Draw(t, "notnull")}
	c.Kind = rapid.SampledFrom(append(scalar, replication.KindArray)).Draw(t, "kind")
	kind := c.Kind
	if kind == replication.KindArray {
		c.Elem = rapid.SampledFrom(scalar).Draw(t, "elem")
		kind = c.Elem
	}
	switch kind {
	case replication.KindInt, replication.KindUint:
		c.Bits = rapid.SampledFrom([]uint8{8, 16, 24, 32, 64}).Draw(t, "bits")
	case replication.KindFloat:
		c.Bits = rapid.SampledFrom([]uint8{32, 64}).Draw(t, "bits")
	case replication.KindDecimal:
		if rapid.Bool().Draw(t, "bounded") {
			_, c.Precision, c.Scale = drawDecimal(t)
		}
	}
	return c
}

func drawValue(t *rapid.T, c replication.Column, kind replication.Kind) replication.Value {
	switch kind {
	case replication.KindBool:
		return replication.BoolValue(rapid.Bool().Draw(t, "v"))
	case replication.KindInt:
		half := int64(1) << (c.Bits - 1)
		return replication.IntValue(rapid.OneOf(rapid.Int64Range(-half, half-1), rapid.SampledFrom([]int64{-half, half - 1, 0})).Draw(t, "v"))
	case replication.KindUint:
		return replication.UintValue(rapid.OneOf(rapid.Uint64Range(0, math.MaxUint64>>(64-c.Bits)), rapid.Just(uint64(math.MaxUint64)>>(64-c.Bits))).Draw(t, "v"))
	case replication.KindFloat:
		extremes := rapid.SampledFrom([]float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN()})
		if c.Bits == 32 {
			return replication.FloatValue(float64(rapid.OneOf(rapid.Float32(), rapid.Map(extremes, func(f float64) float32 { return float32(f) })).Draw(t, "v")))
		}
		return replication.FloatValue(rapid.OneOf(rapid.Float64(), extremes, rapid.SampledFrom([]float64{math.MaxFloat64, math.SmallestNonzeroFloat64})).Draw(t, "v"))
	case replication.KindDecimal:
		if c.Precision == 0 {
			return replication.StringValue(kind, rapid.OneOf(rapid.StringMatching(`-?[1-9][0-9]{0,200}(\.[0-9]{1,100})?`), rapid.SampledFrom([]string{"NaN", "Infinity", "-Infinity", "0"})).Draw(t, "v"))
		}
		digits := rapid.StringMatching(fmt.Sprintf("[0-9]{%d}", c.Precision)).Draw(t, "v")
		whole := trimZeros(digits[:c.Precision-c.Scale])
		text := whole
		if c.Scale > 0 {
			text += "." + digits[c.Precision-c.Scale:]
		}
		if rapid.Bool().Draw(t, "negative") && trimZeros(digits) != "0" {
			text = "-" + text
		}
		return replication.StringValue(kind, text)
	case replication.KindString, replication.KindJSON:
		return replication.StringValue(kind, rapid.String().Draw(t, "v"))
	case replication.KindBytes:
		return replication.BytesValue(kind, rapid.SliceOf(rapid.Byte()).Draw(t, "v"))
	case replication.KindDate:
		return replication.NumValue(kind, rapid.OneOf(rapid.Int64Range(math.MinInt32+1, math.MaxInt32-1), rapid.SampledFrom([]int64{math.MinInt32 + 1, math.MaxInt32 - 1, replication.Infinity, replication.NegInfinity})).Draw(t, "v"))
	case replication.KindTime:
		return replication.NumValue(kind, rapid.OneOf(rapid.Int64Range(0, 86_400_000_000), rapid.Just(int64(86_400_000_000))).Draw(t, "v"))
	case replication.KindTimestamp, replication.KindTimestampTZ:
		return replication.NumValue(kind, rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{replication.Infinity, replication.NegInfinity})).Draw(t, "v"))
	case replication.KindUUID:
		return replication.BytesValue(kind, rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "v"))
	case replication.KindArray:
		elems := make([]replication.Value, rapid.IntRange(0, 70).Draw(t, "len"))
		for i := range elems {
			if !rapid.Bool().Draw(t, "null") {
				elems[i] = drawValue(t, c, c.Elem)
			}
		}
		return replication.ArrayValue(elems)
	}
	t.Fatalf("no draw for %s", kind)
	return replication.Null
}

func trimZeros(s string) string {
	for len(s) > 1 && s[0] == '0' {
		s = s[1:]
	}
	if s == "" {
		return "0"
	}
	return s
}

// asRead is what a value of a column comes back as: a number that Avro has no
// type for comes back as the wider one.
func asRead(v replication.Value, c replication.Column) replication.Value {
	switch v.Kind() {
	case replication.KindUint:
		if c.Bits == 64 {
			return replication.StringValue(replication.KindDecimal, fmt.Sprint(v.Uint()))
		}
		return replication.IntValue(int64(v.Uint()))
	case replication.KindArray:
		out := make([]replication.Value, len(v.Elems()))
		for i, e := range v.Elems() {
			out[i] = asRead(e, c)
		}
		return replication.ArrayValue(out)
	}
	return v
}

func TestEncodeThenDecodeGivesTheRow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := make([]FieldSpec, rapid.IntRange(1, 8).Draw(t, "columns"))
		row := make([]replication.Value, len(fields))
		for i := range fields {
			c := drawColumn(t, i)
			fields[i] = FieldSpec{Name: c.Name, Column: c, Source: i}
			if c.NotNull || rapid.IntRange(0, 3).Draw(t, "isnull") > 0 {
				row[i] = drawValue(t, c, c.Kind)
			}
		}
		schema, _, err := RecordSchema("cdc.t", "t", "", fields)
		if err != nil {
			t.Fatal(err)
		}
		e, err := NewEncoder(schema, 42, fields)
		if err != nil {
			t.Fatal(err)
		}
		b, err := e.Append(nil, row)
		if err != nil {
			t.Fatal(err)
		}
		id, body, err := SplitWire(b)
		if err != nil || id != 42 {
			t.Fatalf("split: %d, %v", id, err)
		}
		s, err := ParseSchema(schema)
		if err != nil {
			t.Fatal(err)
		}
		d, err := NewDecoder(s)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]replication.Value, len(row))
		var mem Memory
		if err := d.Decode(body, got, &mem); err != nil {
			t.Fatal(err)
		}
		for i := range row {
			if want := asRead(row[i], fields[i].Column); !got[i].Equal(want) {
				t.Fatalf("column %v: %v, want %v", fields[i].Column, got[i], want)
			}
			if c := d.Columns()[i]; !got[i].IsNull() && got[i].Kind() != c.Kind {
				t.Fatalf("column %v reads as %s, and says it is %s", fields[i].Column, got[i].Kind(), c.Kind)
			}
		}
		if _, err := JSON(s, body); err != nil {
			t.Fatal(err)
		}
		// Cut anywhere it is an error, not a row.
		cut := rapid.IntRange(0, len(body)).Draw(t, "cut")
		if err := d.Decode(body[:cut], got, &mem); err == nil && cut < len(body) {
			t.Fatalf("%d of %d bytes decoded", cut, len(body))
		}
	})
}
