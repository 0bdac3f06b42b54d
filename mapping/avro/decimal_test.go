package avro

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAppendDecimal(t *testing.T) {
	tests := []struct {
		text                   string
		precision, scale, size int
		want                   string // hex, with the length's varint when size is 0
		err                    error
	}{
		{text: "0", precision: 5, scale: 0, want: "02 00"},
		{text: "0.00", precision: 5, scale: 2, want: "02 00"},
		{text: "-0.00", precision: 5, scale: 2, want: "02 00"},
		{text: "127", precision: 5, want: "02 7f"},
		{text: "128", precision: 5, want: "04 0080"},
		{text: "-128", precision: 5, want: "02 80"},
		{text: "-129", precision: 5, want: "04 ff7f"},
		{text: "1.5", precision: 5, scale: 2, want: "04 0096"},
		{text: "1.500", precision: 5, scale: 2, want: "04 0096"},
		{text: "99.99", precision: 4, scale: 2, want: "04 270f"},
		{text: "100.00", precision: 4, scale: 2, err: errPrecision},
		{text: "-100", precision: 4, scale: 2, err: errPrecision},
		{text: "1.005", precision: 5, scale: 2, err: errScale},
		{text: "999999999999999999", precision: 18, want: "10 0de0b6b3a763ffff"},
		{text: "-999999999999999999", precision: 18, want: "10 f21f494c589c0001"},
		// 2^64-1 and 2^63, from the definition of two's complement
		{text: "18446744073709551615", precision: 20, want: "12 00ffffffffffffffff"},
		{text: "9223372036854775808", precision: 20, want: "12 008000000000000000"},
		{text: "-9223372036854775808", precision: 20, want: "10 8000000000000000"},
		{text: "-9223372036854775809", precision: 20, want: "12 ff7fffffffffffffff"},
		{text: "-18446744073709551616", precision: 20, want: "12 ff0000000000000000"},
		{text: "100000000000000000000", precision: 20, err: errPrecision},
		{text: "0000000000000000000000000000001", precision: 2, want: "02 01"},
		{text: "-0000000000000000000000000000000.00", precision: 2, scale: 2, want: "02 00"},
		{text: "0.0000000000000000000000000001", precision: 2, scale: 2, err: errScale},
		{text: "1", precision: 30, scale: 29, want: "1a 0143 1e0fae6d7217caa0000000"},
		{text: "1.5", precision: 9, scale: 2, size: 4, want: "00000096"},
		{text: "-1.5", precision: 9, scale: 2, size: 4, want: "ffffff6a"},
		{text: "-18446744073709551616", precision: 24, size: 10, want: "ffff0000000000000000"},
		{text: "18446744073709551616", precision: 24, size: 8, err: errPrecision},
		{text: "NaN", precision: 9, err: errNotFinite},
		{text: "-Infinity", precision: 9, err: errNotFinite},
		{text: "", precision: 9, err: errNotNumber},
		{text: "-", precision: 9, err: errNotNumber},
		{text: ".", precision: 9, err: errNotNumber},
		{text: "1.2.3", precision: 9, scale: 3, err: errNotNumber},
		{text: "1e5", precision: 9, err: errNotNumber},
		{text: "--1", precision: 9, err: errNotNumber},
		{text: "12345678901234567890x", precision: 40, err: errNotNumber},
		{text: "-.-12345678901234567890", precision: 40, err: errNotNumber},
	}
	for _, tt := range tests {
		got, err := appendDecimal([]byte("head"), []byte(tt.text), tt.precision, tt.scale, tt.size)
		if !errors.Is(err, tt.err) {
			t.Errorf("decimal(%d,%d) of %s: error %v, want %v", tt.precision, tt.scale, tt.text, err, tt.err)
			continue
		}
		if tt.err != nil {
			continue
		}
		want, err := hex.DecodeString(strings.ReplaceAll(tt.want, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[4:], want) {
			t.Errorf("decimal(%d,%d) of %s = %x, want %x", tt.precision, tt.scale, tt.text, got[4:], want)
		}
	}
}

// twosComplement is the shortest two's complement of x as math/big tells it.
func twosComplement(x *big.Int) []byte {
	n := 1
	for {
		lowest := new(big.Int).Neg(new(big.Int).Lsh(big.NewInt(1), uint(8*n-1)))
		highest := new(big.Int).Sub(new(big.Int).Neg(lowest), big.NewInt(1))
		if x.Cmp(lowest) >= 0 && x.Cmp(highest) <= 0 {
			break
		}
		n++
	}
	mod := new(big.Int).Lsh(big.NewInt(1), uint(8*n))
	return new(big.Int).Mod(x, mod).FillBytes(make([]byte, n))
}

func drawDecimal(t *rapid.T) (text string, precision, scale int) {
	precision = rapid.OneOf(rapid.IntRange(1, 40), rapid.IntRange(1, maxPrecision)).Draw(t, "precision")
	scale = rapid.IntRange(0, precision).Draw(t, "scale")
	digits := rapid.StringOfN(rapid.SampledFrom([]rune("0123456789900")), 1, precision, -1).Draw(t, "digits")
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale+1-len(digits)) + digits
	}
	whole, fraction := digits[:len(digits)-scale], digits[len(digits)-scale:]
	whole = strings.TrimLeft(whole[:len(whole)-1], "0") + whole[len(whole)-1:]
	text = whole
	if scale > 0 {
		text += "." + fraction
	}
	if rapid.Bool().Draw(t, "negative") && strings.Trim(text, "0.") != "" {
		text = "-" + text
	}
	return text, precision, scale
}

func TestDecimalAgainstMathBig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, precision, scale := drawDecimal(t)
		unscaled, ok := new(big.Int).SetString(strings.Replace(text, ".", "", 1), 10)
		if !ok {
			t.Fatalf("bad draw %q", text)
		}
		got, err := appendDecimal(nil, []byte(text), precision, scale, 0)
		if err != nil {
			t.Fatalf("decimal(%d,%d) of %s: %v", precision, scale, text, err)
		}
		c := cursor{b: got}
		body := c.bytes()
		if want := twosComplement(unscaled); !bytes.Equal(body, want) || c.left() != 0 {
			t.Fatalf("decimal(%d,%d) of %s = %x, want %x", precision, scale, text, body, want)
		}
		back, err := appendDecimalText(nil, body, scale)
		if err != nil || string(back) != text {
			t.Fatalf("%x at scale %d reads %s, %v; want %s", body, scale, back, err, text)
		}
		// The same in a fixed, and with sign bytes that say nothing.
		padded, err := appendDecimal(nil, []byte(text), precision, scale, len(body)+9)
		if err != nil {
			t.Fatal(err)
		}
		back, err = appendDecimalText(nil, padded, scale)
		if err != nil || string(back) != text {
			t.Fatalf("%x at scale %d reads %s, %v; want %s", padded, scale, back, err, text)
		}
	})
}

func TestDecimalTextIsBounded(t *testing.T) {
	if _, err := appendDecimalText(nil, bytes.Repeat([]byte{1}, maxDecimalBytes+1), 0); !errors.Is(err, errTooLong) {
		t.Errorf("a decimal of %d bytes: error %v", maxDecimalBytes+1, err)
	}
	for _, b := range [][]byte{
		bytes.Repeat([]byte{0x7f}, maxDecimalBytes), bytes.Repeat([]byte{0x80}, maxDecimalBytes), bytes.Repeat([]byte{0xff}, 5000),
	} {
		got, err := appendDecimalText(nil, b, 3)
		if err != nil {
			t.Fatal(err)
		}
		x := new(big.Int).SetBytes(b)
		if b[0]&0x80 != 0 {
			x.Sub(x, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
		}
		if back, _ := new(big.Int).SetString(strings.Replace(string(got), ".", "", 1), 10); back == nil || back.Cmp(x) != 0 {
			t.Errorf("%x… reads %s, want %s/1000", b[:4], got, x)
		}
	}
	if _, err := appendDecimalText(nil, nil, 0); err == nil {
		t.Error("a decimal without a byte was read")
	}
}
