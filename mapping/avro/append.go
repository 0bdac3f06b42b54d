package avro

// AppendDecimal appends the number in text, [-]digits[.digits], as Avro's bytes
// of a decimal of that precision (1000 at most) and scale. It never rounds.
func AppendDecimal(dst, text []byte, precision, scale int) ([]byte, error) {
	return appendDecimal(dst, text, precision, scale, 0)
}
