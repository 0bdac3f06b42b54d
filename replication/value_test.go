package replication

import (
	"math"
	"strings"
	"testing"
	"unsafe"
)

// A Value is moved by the million: its size is part of its contract.
func TestValueSize(t *testing.T) {
	if got := unsafe.Sizeof(Value{}); got != 24 {
		t.Errorf("a Value takes %d bytes, want 24", got)
	}
}

func TestValuePayloads(t *testing.T) {
	text := []byte("grün")
	tests := []struct {
		name string
		v    Value
		kind Kind
		ok   bool
		str  string
	}{
		{"zero is null", Value{}, KindNull, Value{}.IsNull(), "null"},
		{"unchanged is not null", Unchanged, KindUnchanged, Unchanged.IsUnchanged() && !Unchanged.IsNull(), "unchanged"},
		{"bool", BoolValue(true), KindBool, BoolValue(true).Bool() && !BoolValue(false).Bool(), "true"},
		{"int", IntValue(math.MinInt64), KindInt, IntValue(math.MinInt64).Int() == math.MinInt64, "-9223372036854775808"},
		{"uint", UintValue(math.MaxUint64), KindUint, UintValue(math.MaxUint64).Uint() == math.MaxUint64, "18446744073709551615"},
		{"float", FloatValue(-0.5), KindFloat, FloatValue(-0.5).Float() == -0.5, "-0.5"},
		{"date", NumValue(KindDate, -1), KindDate, NumValue(KindDate, -1).Int() == -1, "date(-1)"},
		{"string", BytesValue(KindString, text), KindString, string(BytesValue(KindString, text).Bytes()) == "grün", `"grün"`},
		{"decimal", StringValue(KindDecimal, "-1.50"), KindDecimal, StringValue(KindDecimal, "-1.50").Len() == 5, "-1.50"},
		{"empty bytes", BytesValue(KindBytes, nil), KindBytes, BytesValue(KindBytes, nil).Len() == 0, ""},
		{"array", ArrayValue([]Value{IntValue(1), Null}), KindArray, len(ArrayValue([]Value{Null, Null}).Elems()) == 2, "[1 null]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.v.Kind() != tt.kind || !tt.ok {
				t.Errorf("%v: kind %v, want %v; payload kept: %v", tt.v, tt.v.Kind(), tt.kind, tt.ok)
			}
			if got := tt.v.String(); got != tt.str {
				t.Errorf("String() = %s, want %s", got, tt.str)
			}
		})
	}
}

func TestValueEqual(t *testing.T) {
	tests := []struct {
		name string
		a, b Value
		want bool
	}{
		{"null and null", Null, Value{}, true},
		{"null and unchanged", Null, Unchanged, false},
		{"same text", StringValue(KindString, "a"), BytesValue(KindString, []byte("a")), true},
		{"same bytes, other kind", StringValue(KindString, "a"), StringValue(KindBytes, "a"), false},
		{"prefix", StringValue(KindString, "a"), StringValue(KindString, "ab"), false},
		{"two NaN", FloatValue(math.NaN()), FloatValue(-math.NaN()), true},
		{"zero and minus zero", FloatValue(0), FloatValue(math.Copysign(0, -1)), false},
		{"int and uint", IntValue(1), UintValue(1), false},
		{"arrays", ArrayValue([]Value{Null, IntValue(2)}), ArrayValue([]Value{Null, IntValue(2)}), true},
		{"array with null for zero", ArrayValue([]Value{Null}), ArrayValue([]Value{IntValue(0)}), false},
		{"empty array and empty text", ArrayValue(nil), StringValue(KindString, ""), false},
	}
	for _, tt := range tests {
		if got := tt.a.Equal(tt.b); got != tt.want {
			t.Errorf("%s: %v equal to %v = %v, want %v", tt.name, tt.a, tt.b, got, tt.want)
		}
	}
}

func TestValueOfTheWrongKindPanics(t *testing.T) {
	for name, build := range map[string]func(){
		"NumValue":   func() { NumValue(KindInt, 1) },
		"BytesValue": func() { BytesValue(KindInt, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s of KindInt did not panic", name)
				}
			}()
			build()
		}()
	}
}

func TestQuoting(t *testing.T) {
	if got, want := QuoteIdentifier(`we"ird; --`), `"we""ird; --"`; got != want {
		t.Errorf("QuoteIdentifier = %s, want %s", got, want)
	}
	for in, want := range map[string]string{`it's`: `'it''s'`, `a\b`: ` E'a\\b'`, ``: `''`} {
		if got := QuoteLiteral(in); got != want {
			t.Errorf("QuoteLiteral(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestRefusalSaysHow(t *testing.T) {
	err := error(&Refusal{Problem: `slot "s" is lost`, Remedy: "cdc drop"})
	if !IsRefusal(err) || !strings.Contains(err.Error(), "to mend it: cdc drop") {
		t.Errorf("refusal reads %q", err)
	}
}
