package avro

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// An Avro decimal is its unscaled integer in two's complement, big endian, in
// as few bytes as hold it. Up to 18 digits go through an int64; longer ones
// through limbs on the stack.

var (
	errNotFinite = errors.New("a decimal of Avro has no NaN and no infinity" + hint)
	errNotNumber = errors.New("not a decimal number")
	errPrecision = errors.New("more digits than the precision")
	errScale     = errors.New("more digits after the point than the scale")
	errTooLong   = errors.New("decimal too long")
)

const (
	// chunkDigits is how many decimal digits always fit a uint64.
	chunkDigits = 19
	// maxDecimalBytes holds any number of maxPrecision digits, with its sign.
	maxDecimalBytes = 416
	maxLimbs        = maxDecimalBytes / 8
)

var pow10 = [chunkDigits + 1]uint64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}

// appendDecimal appends the number in text, [-]digits[.digits], as a decimal of
// that precision and scale: with its length as Avro's bytes, or, when size is
// not 0, as a fixed of size bytes. It never rounds.
func appendDecimal(dst, text []byte, precision, scale, size int) ([]byte, error) {
	if len(text) > chunkDigits {
		return appendLongDecimal(dst, text, precision, scale, size)
	}
	digits, neg := text, false
	if len(digits) > 0 && digits[0] == '-' {
		digits, neg = digits[1:], true
	}
	var u uint64
	n, point := 0, -1
	for _, c := range digits {
		if d := c - '0'; d <= 9 {
			u = u*10 + uint64(d)
			n++
		} else if c == '.' && point < 0 {
			point = n
		} else {
			return dst, notNumber(text)
		}
	}
	if n == 0 {
		return dst, notNumber(text)
	}
	fraction := 0
	if point >= 0 {
		fraction = n - point
	}
	for ; fraction > scale; fraction-- {
		if u%10 != 0 {
			return dst, errScale
		}
		u /= 10
	}
	if n+scale-fraction > 18 {
		return appendLongDecimal(dst, text, precision, scale, size)
	}
	u *= pow10[scale-fraction]
	if precision < chunkDigits && u >= pow10[precision] {
		return dst, errPrecision
	}
	v := int64(u)
	if neg {
		v = -v
	}
	width := (bits.Len64(uint64(v^v>>63)) + 8) >> 3
	if size == 0 {
		dst = append(dst, byte(width)<<1)
	} else {
		if width > size {
			return dst, errPrecision
		}
		for range size - width {
			dst = append(dst, byte(v>>63))
		}
	}
	return appendInt(dst, v, width), nil
}

// appendInt appends the low width bytes of v, big endian.
func appendInt(dst []byte, v int64, width int) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(v))
	return append(dst, b[8-width:]...)
}

func notNumber(text []byte) error {
	switch string(text) {
	case "NaN", "Infinity", "-Infinity":
		return errNotFinite
	}
	return errNotNumber
}

// limbs is a magnitude, the least significant first.
type limbs struct {
	w [maxLimbs + 1]uint64
	n int // how many are in use; the last is not 0
}

// mulAdd makes l = l*m + a.
func (l *limbs) mulAdd(m, a uint64) {
	carry := a
	for i := range l.n {
		hi, lo := bits.Mul64(l.w[i], m)
		lo, c := bits.Add64(lo, carry, 0)
		l.w[i], carry = lo, hi+c
	}
	if carry != 0 {
		l.w[l.n] = carry
		l.n++
	}
}

// divide makes l = l/m and returns the remainder.
func (l *limbs) divide(m uint64) (rem uint64) {
	for i := l.n - 1; i >= 0; i-- {
		l.w[i], rem = bits.Div64(rem, l.w[i], m)
	}
	for l.n > 0 && l.w[l.n-1] == 0 {
		l.n--
	}
	return rem
}

// negate makes the first n words of l their two's complement.
func (l *limbs) negate(n int) {
	carry := uint64(1)
	for i := range n {
		l.w[i], carry = bits.Add64(^l.w[i], 0, carry)
	}
}

func appendLongDecimal(dst, text []byte, precision, scale, size int) ([]byte, error) {
	digits, neg := text, false
	if len(digits) > 0 && digits[0] == '-' {
		digits, neg = digits[1:], true
	}
	var (
		l           limbs
		chunk       uint64
		inChunk     int
		significant int
		fraction    = -1 // digits after the point so far; -1 before it
		digit       bool // there was one
	)
	add := func(d uint64) {
		if significant == 0 && d == 0 {
			return
		}
		significant++
		if significant > precision {
			return
		}
		chunk = chunk*10 + d
		if inChunk++; inChunk == chunkDigits {
			l.mulAdd(pow10[chunkDigits], chunk)
			chunk, inChunk = 0, 0
		}
	}
	for _, c := range digits {
		switch d := c - '0'; {
		case d <= 9:
			digit = true
			if fraction >= 0 {
				if fraction == scale {
					if d != 0 {
						return dst, errScale
					}
					continue
				}
				fraction++
			}
			add(uint64(d))
		case c == '.' && fraction < 0:
			fraction = 0
		default:
			return dst, notNumber(text)
		}
	}
	if !digit {
		return dst, notNumber(text)
	}
	for range scale - max(fraction, 0) {
		add(0)
	}
	if significant > precision {
		return dst, errPrecision
	}
	if inChunk > 0 {
		l.mulAdd(pow10[inChunk], chunk)
	}
	return l.appendTo(dst, neg, size)
}

// appendTo appends l in two's complement, and destroys it.
func (l *limbs) appendTo(dst []byte, neg bool, size int) ([]byte, error) {
	words := l.n + 1 // one more than the magnitude, for the sign
	if neg {
		l.negate(words)
	}
	top := uint64(0)
	if neg && l.n > 0 {
		top = ^top
	}
	// The shortest width leaves one bit for the sign.
	length := 0
	for i := words - 1; i >= 0; i-- {
		if x := l.w[i] ^ top; x != 0 {
			length = i*64 + bits.Len64(x)
			break
		}
	}
	width := length/8 + 1
	if size == 0 {
		dst = binary.AppendVarint(dst, int64(width))
	} else if width > size {
		return dst, errPrecision
	} else {
		for range size - width {
			dst = append(dst, byte(top))
		}
	}
	for k := width - 1; k >= 0; k-- {
		dst = append(dst, byte(l.w[k/8]>>(8*(k%8))))
	}
	return dst, nil
}

// appendDecimalText appends the number that b holds in two's complement, big
// endian, as [-]digits[.digits] with exactly scale digits after the point.
func appendDecimalText(dst, b []byte, scale int) ([]byte, error) {
	if len(b) > 8 {
		return appendLongDecimalText(dst, b, scale)
	}
	if len(b) == 0 {
		return dst, errors.New("a decimal without a byte")
	}
	v := int64(int8(b[0]))
	for _, c := range b[1:] {
		v = v<<8 | int64(c)
	}
	u := uint64(v)
	if v < 0 {
		u = -u
	}
	var buf [20]byte
	i := len(buf)
	for ; u > 0; u /= 10 {
		i--
		buf[i] = byte('0' + u%10)
	}
	return appendScaled(dst, buf[i:], v < 0, scale), nil
}

func appendLongDecimalText(dst, b []byte, scale int) ([]byte, error) {
	neg := b[0]&0x80 != 0
	sign := byte(0)
	if neg {
		sign = 0xff
	}
	for len(b) > 8 && b[0] == sign && (b[1]^sign)&0x80 == 0 {
		b = b[1:] // says nothing that the next byte does not say
	}
	if len(b) <= 8 {
		return appendDecimalText(dst, b, scale)
	}
	if len(b) > maxDecimalBytes {
		return dst, errTooLong
	}
	var l limbs
	l.n = (len(b) + 7) / 8
	for k := range l.n * 8 {
		c := sign
		if k < len(b) {
			c = b[len(b)-1-k]
		}
		l.w[k/8] |= uint64(c) << (8 * (k % 8))
	}
	if neg {
		l.negate(l.n)
	}
	for l.n > 0 && l.w[l.n-1] == 0 {
		l.n--
	}
	var buf [(maxLimbs + 2) * chunkDigits * 2]byte
	i := len(buf)
	for l.n > 0 {
		chunk := l.divide(pow10[chunkDigits])
		for k := 0; k < chunkDigits && (l.n > 0 || chunk > 0); k++ {
			i--
			buf[i] = byte('0' + chunk%10)
			chunk /= 10
		}
	}
	return appendScaled(dst, buf[i:], neg, scale), nil
}

// appendScaled appends digits, which has no leading zeros, with a point before
// the last scale of them.
func appendScaled(dst, digits []byte, neg bool, scale int) []byte {
	if neg {
		dst = append(dst, '-')
	}
	whole := len(digits) - scale
	if whole <= 0 {
		dst = append(dst, '0')
	} else {
		dst = append(dst, digits[:whole]...)
		digits = digits[whole:]
	}
	if scale == 0 {
		return dst
	}
	dst = append(dst, '.')
	for range -whole {
		dst = append(dst, '0')
	}
	return append(dst, digits...)
}

// isDecimalText reports whether b is [-]digits[.digits], NaN, Infinity or
// -Infinity.
func isDecimalText(b []byte) bool {
	digits := b
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}
	n, point := 0, false
	for _, c := range digits {
		switch {
		case c >= '0' && c <= '9':
			n++
		case c == '.' && !point:
			point = true
		default:
			return errors.Is(notNumber(b), errNotFinite)
		}
	}
	return n > 0
}
