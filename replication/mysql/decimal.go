package mysql

import (
	"cdc/replication"
	"cdc/replication/arena"
)

// decimalBytes are the bytes that a rest of 0 to 8 digits takes.
var decimalBytes = [10]int{0, 1, 1, 2, 2, 3, 3, 4, 4, 4}

// decodeDecimal reads a DECIMAL: MySQL source, "decimal.cc, decimal2bin". Nine
// digits take four bytes, big-endian; the first bit is the sign, and a negative
// number has all its bits inverted.
func decodeDecimal(c *cursor, a *arena.Arena, precision, scale int) replication.Value {
	return replication.BytesValue(replication.KindDecimal, appendDecimal(a.Alloc(min(max(precision, 0), 80) + 3)[:0], c, precision, scale))
}

// appendDecimal renders a DECIMAL, which takes at most precision + 3 bytes.
func appendDecimal(text []byte, c *cursor, precision, scale int) []byte {
	whole := precision - scale
	if whole < 0 || scale < 0 || precision > 80 {
		c.Fail()
		return text
	}
	size := whole/9*4 + decimalBytes[whole%9] + scale/9*4 + decimalBytes[scale%9]
	raw := c.Bytes(uint64(size))
	if c.Err != nil || size == 0 {
		c.Fail()
		return text
	}
	var buf [40]byte
	b := append(buf[:0], raw...)
	negative := b[0]&0x80 == 0
	b[0] ^= 0x80
	if negative {
		for i := range b {
			b[i] ^= 0xff
		}
	}
	var digits [84]byte
	out := digits[:0]
	part := cursor{B: b}
	group := func(n int) { // n digits, with leading zeros
		v := part.BE(decimalBytes[n])
		at := len(out)
		out = out[:at+n]
		for i := at + n - 1; i >= at; i-- {
			out[i] = byte('0' + v%10)
			v /= 10
		}
	}
	if whole%9 > 0 {
		group(whole % 9)
	}
	for range whole / 9 {
		group(9)
	}
	at := len(out)
	for range scale / 9 {
		group(9)
	}
	if scale%9 > 0 {
		group(scale % 9)
	}
	// Without leading zeros, with at least one digit before the point.
	first := 0
	for first < at-1 && out[first] == '0' {
		first++
	}
	if negative {
		text = append(text, '-')
	}
	if at == 0 {
		text = append(text, '0')
	}
	text = append(text, out[first:at]...)
	if scale > 0 {
		text = append(text, '.')
		text = append(text, out[at:]...)
	}
	return text
}

// trimDecimal removes the zeros that ZEROFILL puts before a number.
func trimDecimal(b []byte) []byte {
	for len(b) > 1 && b[0] == '0' && b[1] != '.' {
		b = b[1:]
	}
	return b
}
