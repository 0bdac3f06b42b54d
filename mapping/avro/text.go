package avro

import (
	"strings"
	"unicode/utf8"

	"cdc/replication"
	"cdc/replication/civil"
)

// maxShown is how much of a value messages show, in bytes.
const maxShown = 64

// KeyText renders the values of columns for messages: id=7, or a=1 b='x'.
func KeyText(columns []replication.Column, values []replication.Value) string {
	var b []byte
	for i := range min(len(columns), len(values)) {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, columns[i].Name...)
		b = append(b, '=')
		b = appendShown(b, values[i])
	}
	return string(b)
}

// Text is KeyText of a record's body; a body that cannot be decoded is shown in
// hexadecimal.
func (d *Decoder) Text(body []byte) string {
	values := make([]replication.Value, len(d.columns))
	if err := d.Decode(body, values, new(Memory)); err != nil {
		return string(appendHex(nil, body))
	}
	return KeyText(d.columns, values)
}

func describe(v replication.Value) string {
	return "value " + string(appendShown(nil, v))
}

func appendShown(b []byte, v replication.Value) []byte {
	switch v.Kind() {
	case replication.KindString, replication.KindJSON, replication.KindInvalid:
		return appendCut(b, v.Bytes(), '\'')
	case replication.KindDecimal:
		return appendCut(b, v.Bytes(), 0)
	case replication.KindBytes:
		return appendHex(b, v.Bytes())
	case replication.KindUUID:
		if v.Len() == 16 {
			return appendUUID(b, v.Bytes())
		}
		return appendHex(b, v.Bytes())
	case replication.KindDate, replication.KindTime, replication.KindTimestamp, replication.KindTimestampTZ:
		return appendTimeText(b, v.Kind(), v.Int())
	case replication.KindArray:
		b = append(b, '{')
		for i, e := range v.Elems() {
			if i == 8 {
				b = append(b, ",…"...)
				break
			}
			if i > 0 {
				b = append(b, ',')
			}
			b = appendShown(b, e)
		}
		return append(b, '}')
	default:
		return append(b, v.String()...)
	}
}

func appendCut(b, text []byte, quote byte) []byte {
	cut := len(text) > maxShown
	if cut {
		text = text[:maxShown]
		// Do not cut within a character.
		for i := 0; i < 3 && len(text) > 0 && !utf8.RuneStart(text[len(text)-1]); i++ {
			text = text[:len(text)-1]
		}
		if len(text) > 0 && text[len(text)-1] >= utf8.RuneSelf {
			text = text[:len(text)-1]
		}
	}
	if quote != 0 {
		b = append(b, quote)
	}
	b = append(b, strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return ' '
		}
		return r
	}, string(text))...)
	if cut {
		b = append(b, "…"...)
	}
	if quote != 0 {
		b = append(b, quote)
	}
	return b
}

func appendHex(b, raw []byte) []byte {
	const hex = "0123456789abcdef"
	cut := len(raw) > maxShown/2
	if cut {
		raw = raw[:maxShown/2]
	}
	b = append(b, '0', 'x')
	for _, c := range raw {
		b = append(b, hex[c>>4], hex[c&15])
	}
	if cut {
		b = append(b, "…"...)
	}
	return b
}

// appendTimeText appends a date or time in ISO 8601; years beyond 9999 and
// before 0 with a sign.
func appendTimeText(b []byte, kind replication.Kind, v int64) []byte {
	if kind != replication.KindTime {
		switch v {
		case replication.Infinity:
			return append(b, "infinity"...)
		case replication.NegInfinity:
			return append(b, "-infinity"...)
		}
	}
	const day = 24 * 3600 * 1e6
	switch kind {
	case replication.KindDate:
		return appendDay(b, v)
	case replication.KindTime:
		return civil.AppendClock(b, v)
	default: // a timestamp, as below
	}
	days, micros := v/day, v%day
	if micros < 0 {
		days, micros = days-1, micros+day
	}
	b = civil.AppendClock(append(appendDay(b, days), 'T'), micros)
	if kind == replication.KindTimestampTZ {
		b = append(b, 'Z')
	}
	return b
}

// appendDay appends the day that lies so many days after 1970-01-01.
func appendDay(b []byte, days int64) []byte {
	year, month, day := civil.Date(days)
	switch {
	case year < 0:
		return civil.AppendDate(append(b, '-'), -year, 6, month, day)
	case year > 9999:
		return civil.AppendDate(append(b, '+'), year, 6, month, day)
	}
	return civil.AppendDate(b, year, 4, month, day)
}
