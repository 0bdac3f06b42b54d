package mysql

import (
	"bytes"
	"fmt"
	"strconv"
	"unsafe"
)

// exactJSON reports whether MySQL's binary JSON keeps the numbers of a text:
// it holds integers of 64 bits and doubles. rounds says that the server misses
// some doubles. The text's form is left to the server.
func exactJSON(b []byte, rounds bool) error {
	for i := 0; i < len(b); {
		c := b[i]
		switch {
		case c == '"':
			i++
			for i < len(b) && b[i] != '"' {
				if b[i] == '\\' {
					i++
				}
				i++
			}
			i++
		case c == '-' || c >= '0' && c <= '9':
			start := i
			for i < len(b) && numeral[b[i]] {
				i++
			}
			if !exactNumber(b[start:i], rounds) {
				return fmt.Errorf("MySQL's json cannot keep the number %.60s exactly: a column of type longtext can", b[start:i])
			}
		default:
			i++
		}
	}
	return nil
}

var numeral = func() (t [256]bool) {
	for _, c := range []byte("+-.0123456789eE") {
		t[c] = true
	}
	return t
}()

// exactNumber reports whether a number of JSON is an integer of 64 bits, or
// the shortest text of a double; if the server rounds, one that needs no
// rounding: up to 15 digits, and a power of ten that a double holds.
func exactNumber(b []byte, rounds bool) bool {
	text := unsafe.String(unsafe.SliceData(b), len(b))
	if !bytes.ContainsAny(b, ".eE") {
		if len(b) <= 18 {
			return true
		}
		if _, err := strconv.ParseInt(text, 10, 64); err == nil {
			return true
		}
		_, err := strconv.ParseUint(text, 10, 64)
		return err == nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return false
	}
	var mine, shortest [64]byte
	a, ea, ok := significant(mine[:0], b)
	var printed [32]byte
	s, es, _ := significant(shortest[:0], strconv.AppendFloat(printed[:0], f, 'e', -1, 64))
	if rounds && (len(a) > 15 || max(ea, len(a)-1-ea) > 22) {
		return false
	}
	return ok && ea == es && string(a) == string(s)
}

// significant returns the digits of a number without zeros at either end, and
// the power of ten of the first of them; false when there are too many.
func significant(dst, b []byte) (_ []byte, exponent int, ok bool) {
	mantissa, power, _ := bytes.Cut(b, []byte{'e'})
	if len(power) == 0 {
		mantissa, power, _ = bytes.Cut(b, []byte{'E'})
	}
	if len(power) > 0 {
		n, err := strconv.Atoi(string(bytes.TrimPrefix(power, []byte{'+'})))
		if err != nil {
			return dst, 0, false
		}
		exponent = n
	}
	whole, frac, _ := bytes.Cut(bytes.TrimPrefix(mantissa, []byte{'-'}), []byte{'.'})
	whole = bytes.TrimLeft(whole, "0")
	exponent += len(whole) - 1
	if len(whole) == 0 {
		trimmed := bytes.TrimLeft(frac, "0")
		exponent -= len(frac) - len(trimmed)
		frac = trimmed
	}
	if len(whole)+len(frac) > cap(dst) {
		frac = bytes.TrimRight(frac, "0")
		if len(whole)+len(frac) > cap(dst) {
			return dst, 0, false
		}
	}
	dst = append(append(dst, whole...), frac...)
	if dst = bytes.TrimRight(dst, "0"); len(dst) == 0 {
		return dst, 0, true
	}
	return dst, exponent, true
}
