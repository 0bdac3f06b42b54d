package debezium

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"cdc/replication"
)

// binlogPreset returns the default that Debezium's connectors for MySQL and
// MariaDB put into the schema of a column, as JSON: a literal's, and the type's
// zero for the moment of the insert. Expressions have none.
func binlogPreset(o *Options, c replication.Column, s *step, sch *schema) (string, bool) {
	text, ok := literal(c.Default)
	if !ok {
		d := strings.ToLower(c.Default)
		if moment := strings.HasPrefix(d, "current_timestamp") || strings.HasPrefix(d, "now("); !moment {
			return "", false
		}
		if s.kind == replication.KindTimestamp || s.kind == replication.KindTimestampTZ && c.NotNull {
			return asJSON(sch, binlogZero(s, sch)), true
		}
		return "", false
	}
	v, ok := binlogLiteral(c, text)
	if !ok || o.mariadb && c.Kind == replication.KindBytes {
		return "", false
	}
	if v.Kind() == replication.KindInvalid { // a zero date
		if !c.NotNull {
			return "", false
		}
		return asJSON(sch, binlogZero(s, sch)), true
	}
	b, err := s.appendValue(nil, &v)
	if err != nil {
		return "", false
	}
	return asJSON(sch, b), true
}

// binlogZero is a type's zero where that is another than zero's.
func binlogZero(s *step, sch *schema) []byte {
	switch s.op {
	case opZoned:
		return appendString(nil, "1970-01-01T00:00:00Z")
	case opISOTimeText:
		return appendString(nil, "00:00:00Z")
	case opGeometryWKB:
		return []byte{0, 0}
	case opPointWKB:
		return appendPoint(nil, 0, 0)
	default:
		return zero(s, sch)
	}
}

// binlogLiteral makes a Value of a literal's text, of Kind Invalid for a date
// that is none.
func binlogLiteral(c replication.Column, text string) (replication.Value, bool) {
	bits := strings.HasPrefix(text, "b'") && strings.HasSuffix(text, "'")
	switch c.Kind {
	case replication.KindBool:
		return replication.BoolValue(strings.TrimSuffix(strings.TrimPrefix(text, "b'"), "'") == "1"), true
	case replication.KindUint:
		if bits {
			n, err := strconv.ParseUint(text[2:len(text)-1], 2, 64)
			return replication.UintValue(n), err == nil
		}
		n, err := strconv.ParseUint(text, 10, int(c.Bits))
		return replication.UintValue(n), err == nil
	case replication.KindBytes:
		if strings.HasPrefix(text, "0x") { // as MySQL prints what a binary type has
			if b, err := hex.DecodeString(text[2:]); err == nil {
				return replication.BytesValue(c.Kind, b), true
			}
		}
		return replication.StringValue(c.Kind, text), true
	case replication.KindDate, replication.KindTimestamp, replication.KindTimestampTZ:
		layout := "2006-01-02 15:04:05"
		if c.Kind == replication.KindDate {
			layout = "2006-01-02"
		}
		t, err := time.Parse(layout, text)
		switch {
		case err != nil:
			return replication.InvalidValue([]byte(text), replication.ReasonZeroDate), strings.Contains(text, "-00") || strings.HasPrefix(text, "0000-")
		case c.Kind == replication.KindDate:
			return replication.NumValue(c.Kind, t.Unix()/86400), true
		}
		return replication.NumValue(c.Kind, t.UnixMicro()), true
	case replication.KindDecimal:
		whole, fraction, _ := strings.Cut(text, ".")
		if c.Scale > len(fraction) { // the column's scale, which the text form has, too
			text = whole + "." + fraction + strings.Repeat("0", c.Scale-len(fraction))
		}
		return replication.StringValue(c.Kind, text), true
	default:
		return parse(c, &step{}, text)
	}
}
