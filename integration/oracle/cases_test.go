package oracle

import (
	"math"
	"math/rand/v2"
	"strings"

	"cdc/replication"
)

// testCase is a value of a column and its text as every reader must see it,
// written by hand; without names the readers that cannot hold the value.
type testCase struct {
	column  replication.Column
	value   replication.Value
	want    string
	without string
}

func cases() []testCase {
	str := replication.StringValue
	num := replication.NumValue
	i := func(bits uint8) replication.Column { return replication.Column{Kind: replication.KindInt, Bits: bits} }
	u := func(bits uint8) replication.Column { return replication.Column{Kind: replication.KindUint, Bits: bits} }
	dec := func(p, s int) replication.Column {
		return replication.Column{Kind: replication.KindDecimal, Precision: p, Scale: s}
	}
	f32, f64 := replication.Column{Kind: replication.KindFloat, Bits: 32}, replication.Column{Kind: replication.KindFloat, Bits: 64}
	of := func(c replication.Column) replication.Column {
		c.Elem, c.Kind = c.Kind, replication.KindArray
		return c
	}
	date, clock := replication.KindDate, replication.KindTime
	local, stamp := replication.KindTimestamp, replication.KindTimestampTZ
	column := func(k replication.Kind) replication.Column { return replication.Column{Kind: k} }
	uuid := replication.BytesValue(replication.KindUUID, []byte{0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3, 0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0x00})
	return []testCase{
		{column(replication.KindBool), replication.BoolValue(true), "true", ""},
		{column(replication.KindBool), replication.BoolValue(false), "false", ""},
		{i(16), replication.IntValue(math.MinInt16), "-32768", ""},
		{i(32), replication.IntValue(math.MinInt32), "-2147483648", ""},
		{i(32), replication.IntValue(math.MaxInt32), "2147483647", ""},
		{i(64), replication.IntValue(math.MinInt64), "-9223372036854775808", ""},
		{i(64), replication.IntValue(math.MaxInt64), "9223372036854775807", ""},
		{u(16), replication.UintValue(math.MaxUint16), "65535", ""},
		{u(32), replication.UintValue(math.MaxUint32), "4294967295", ""},
		{u(64), replication.UintValue(math.MaxUint64), "18446744073709551615", ""},
		{u(64), replication.UintValue(0), "0", ""},
		{f32, replication.FloatValue(1.5), "0x1.8000000000000p+0", ""},
		{f32, replication.FloatValue(float64(math.MaxFloat32)), "0x1.fffffe0000000p+127", ""},
		{f64, replication.FloatValue(-0.1), "-0x1.999999999999ap-4", ""},
		{f64, replication.FloatValue(math.SmallestNonzeroFloat64), "0x0.0000000000001p-1022", ""},
		{f64, replication.FloatValue(math.Inf(-1)), "-Infinity", ""},
		{f64, replication.FloatValue(math.NaN()), "NaN", ""},
		{f64, replication.FloatValue(math.Copysign(0, -1)), "-0x0.0p+0", ""},
		{dec(12, 2), str(replication.KindDecimal, "-1234567890.12"), "-1234567890.12", ""},
		{dec(12, 2), str(replication.KindDecimal, "0.00"), "0.00", ""},
		{dec(5, 5), str(replication.KindDecimal, "-0.00001"), "-0.00001", ""},
		{dec(3, 0), str(replication.KindDecimal, "-128"), "-128", ""},
		{dec(3, 0), str(replication.KindDecimal, "128"), "128", ""},
		{dec(38, 10), str(replication.KindDecimal, "-9999999999999999999999999999.9999999999"), "-9999999999999999999999999999.9999999999", ""},
		{dec(38, 10), str(replication.KindDecimal, "1.5"), "1.5000000000", ""},
		{dec(200, 100), str(replication.KindDecimal, strings.Repeat("9", 100)+"."+strings.Repeat("9", 100)), strings.Repeat("9", 100) + "." + strings.Repeat("9", 100), ""},
		{dec(0, 0), str(replication.KindDecimal, "NaN"), "NaN", ""},
		{dec(0, 0), str(replication.KindDecimal, "3.14159265358979323846264338327950288"), "3.14159265358979323846264338327950288", ""},
		{column(replication.KindString), str(replication.KindString, ""), "", ""},
		{column(replication.KindString), str(replication.KindString, "näme 😀 \x00 end"), "näme 😀 \x00 end", ""},
		{column(replication.KindJSON), str(replication.KindJSON, `{"a": [1, null]}`), `{"a": [1, null]}`, ""},
		{column(replication.KindBytes), replication.BytesValue(replication.KindBytes, []byte{0, 0xff, 0x80}), "0x00ff80", ""},
		{column(replication.KindBytes), replication.BytesValue(replication.KindBytes, nil), "0x", ""},
		{column(date), num(date, 0), "1970-01-01", ""},
		{column(date), num(date, -1), "1969-12-31", ""},
		{column(date), num(date, 20_454), "2026-01-01", ""},
		{column(date), num(date, -719_162), "0001-01-01", ""},
		{column(date), num(date, 2_932_896), "9999-12-31", ""},
		// A date, as a time.Time, is +5881580-07-11; Python ends with 9999.
		{column(date), num(date, replication.Infinity), "5881580-07-11", "fastavro"},
		{column(date), num(date, replication.NegInfinity), "-5877641-06-23", "fastavro"},
		{column(clock), num(clock, 0), "00:00:00.000000", ""},
		{column(clock), num(clock, 86_399_999_999), "23:59:59.999999", ""},
		{column(clock), num(clock, 86_400_000_000), "24:00:00.000000", "fastavro"}, // no such datetime.time
		{column(local), num(local, -1), "1969-12-31T23:59:59.999999", ""},
		{column(local), num(local, 1_767_225_600_000_001), "2026-01-01T00:00:00.000001", ""},
		{column(stamp), num(stamp, -1), "1969-12-31T23:59:59.999999", ""},
		{column(stamp), num(stamp, -62_135_596_800_000_000), "0001-01-01T00:00:00.000000", ""},
		{column(stamp), num(stamp, 253_402_300_799_999_999), "9999-12-31T23:59:59.999999", ""},
		{column(stamp), num(stamp, replication.Infinity), "294247-01-10T04:00:54.775807", "fastavro"},
		{column(stamp), num(stamp, replication.NegInfinity), "-290308-12-21T19:59:05.224192", "fastavro"},
		{column(replication.KindUUID), uuid, "123e4567-e89b-12d3-a456-426614174000", ""},
		{of(i(64)), replication.ArrayValue(nil), "[]", ""},
		{of(i(32)), replication.ArrayValue([]replication.Value{replication.IntValue(1), replication.Null, replication.IntValue(-1)}), "[1,null,-1]", ""},
		{of(column(replication.KindString)), replication.ArrayValue([]replication.Value{str(replication.KindString, "ü"), replication.Null}), "[ü,null]", ""},
		{of(dec(6, 2)), replication.ArrayValue([]replication.Value{str(replication.KindDecimal, "-0.01"), replication.Null}), "[-0.01,null]", ""},
		{of(column(date)), replication.ArrayValue([]replication.Value{num(date, -1), replication.Null}), "[1969-12-31,null]", ""},
		{of(column(stamp)), replication.ArrayValue([]replication.Value{num(stamp, 1), replication.Null}), "[1970-01-01T00:00:00.000001,null]", ""},
		{of(column(replication.KindUUID)), replication.ArrayValue([]replication.Value{uuid, replication.Null}), "[123e4567-e89b-12d3-a456-426614174000,null]", ""},
	}
}

// randomCases are values that every reader can hold, from a fixed seed; their
// text is the standard library's.
func randomCases(n int) []testCase {
	r := rand.New(rand.NewPCG(2026, 11))
	kinds := []replication.Kind{
		replication.KindBool, replication.KindInt, replication.KindUint, replication.KindFloat, replication.KindDecimal, replication.KindString,
		replication.KindBytes, replication.KindDate, replication.KindTime, replication.KindTimestamp, replication.KindTimestampTZ, replication.KindUUID,
	}
	out := make([]testCase, n)
	for i := range out {
		c := replication.Column{Kind: kinds[r.IntN(len(kinds))], Bits: []uint8{16, 32, 64}[r.IntN(3)]}
		if c.Kind == replication.KindFloat {
			c.Bits = 64
		}
		if c.Kind == replication.KindDecimal {
			c.Precision = 1 + r.IntN(60)
			c.Scale = r.IntN(c.Precision + 1)
		}
		one := func() replication.Value { return randomValue(r, c) }
		v := one()
		if r.IntN(4) == 0 {
			elems := make([]replication.Value, r.IntN(100))
			for j := range elems {
				if r.IntN(5) > 0 {
					elems[j] = one()
				}
			}
			v = replication.ArrayValue(elems)
			c.Elem, c.Kind = c.Kind, replication.KindArray
		}
		out[i] = testCase{column: c, value: v, want: valueText(v, c)}
	}
	return out
}

func randomValue(r *rand.Rand, c replication.Column) replication.Value {
	randomBytes := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	switch c.Kind {
	case replication.KindBool:
		return replication.BoolValue(r.IntN(2) == 1)
	case replication.KindInt:
		return replication.IntValue(int64(r.Uint64()) >> (64 - r.IntN(int(c.Bits)) - 1))
	case replication.KindUint:
		return replication.UintValue(r.Uint64() >> (64 - r.IntN(int(c.Bits)) - 1))
	case replication.KindFloat:
		return replication.FloatValue((r.Float64() - 0.5) * math.Pow(10, float64(r.IntN(600)-300)))
	case replication.KindDecimal:
		digits := make([]byte, c.Precision)
		for i := range digits {
			digits[i] = byte('0' + r.IntN(10))
		}
		whole := strings.TrimLeft(string(digits[:c.Precision-c.Scale]), "0")
		if whole == "" {
			whole = "0"
		}
		text := whole
		if c.Scale > 0 {
			text += "." + string(digits[c.Precision-c.Scale:])
		}
		if r.IntN(2) == 0 && strings.Trim(text, "0.") != "" {
			text = "-" + text
		}
		return replication.StringValue(replication.KindDecimal, text)
	case replication.KindString:
		runes := make([]rune, r.IntN(80))
		for i := range runes {
			runes[i] = []rune{'a', 'Z', ' ', '"', '\\', 'é', '語', '😀', '\n'}[r.IntN(9)]
		}
		return replication.StringValue(replication.KindString, string(runes))
	case replication.KindBytes:
		return replication.BytesValue(replication.KindBytes, randomBytes(r.IntN(200)))
	case replication.KindDate:
		return replication.NumValue(c.Kind, r.Int64N(2_932_896+719_162)-719_162)
	case replication.KindTime:
		return replication.NumValue(c.Kind, r.Int64N(86_400_000_000))
	case replication.KindUUID:
		return replication.BytesValue(replication.KindUUID, randomBytes(16))
	}
	return replication.NumValue(c.Kind, r.Int64N(253_402_300_800_000_000+62_135_596_800_000_000)-62_135_596_800_000_000)
}
