package debezium

import (
	"encoding/binary"

	"cdc/replication"
	"cdc/replication/civil"
)

// This file writes dates and times under time.precision.mode structured: records
// of their parts, each nullable, with a word in place of the parts for infinity.

// structuredKind is one of the records.
type structuredKind uint8

const (
	structuredDate structuredKind = iota
	structuredTime
	structuredTimestamp
	structuredZonedTimestamp
	structuredZonedTime
	structuredDuration
)

var structuredNames = [...]string{"StructuredDate", "StructuredTime", "StructuredTimestamp", "StructuredZonedTimestamp", "StructuredZonedTime", "StructuredDuration"}

// structured maps a type to the record of that kind. All but dates tell how many
// decimals of a second the column keeps.
func structured(s step, kind structuredKind, mods []int) (step, *schema, error) {
	s.op, s.structured, s.digits = opStructured, kind, 6
	if len(mods) > 0 {
		s.digits = mods[0]
	}
	small, number, text := orNull(&schema{typ: "int", int8: true}), orNull(plain("int")), orNull(plain("string"))
	day := []field{{"year", number}, {"month", small}, {"day", small}}
	clock := []field{{"hour", small}, {"minute", small}, {"second", small}, {"nanos", number}}
	special, precision, offset := field{"specialValue", text}, field{"precision", number}, field{"offsetSeconds", number}
	var fields []field
	add := func(f ...field) { fields = append(fields, f...) }
	switch kind {
	case structuredDate:
		add(day...)
		add(special)
	case structuredTime:
		add(clock...)
		add(precision)
	case structuredTimestamp:
		add(day...)
		add(clock...)
		add(special, precision)
	case structuredZonedTimestamp:
		add(day...)
		add(clock...)
		add(offset, field{"zoneId", text}, special, precision)
	case structuredZonedTime:
		add(clock...)
		add(offset, precision)
	case structuredDuration:
		for _, name := range []string{"years", "months", "days", "hours", "minutes"} {
			add(field{name, number})
		}
		add(field{"seconds", orNull(plain("long"))}, field{"nanos", number}, precision)
	}
	return s, &schema{typ: "record", name: "io.debezium.time." + structuredNames[kind], version: 1, fields: fields}, nil
}

// appendStructured appends the record of v.
func (s *step) appendStructured(dst []byte, v *replication.Value) ([]byte, error) {
	switch s.structured {
	case structuredDate:
		if n := v.Int(); n == replication.Infinity || n == replication.NegInfinity {
			return appendSpecial(append(dst, 0, 0, 0), n), nil
		}
		if n := v.Int(); n != int64(int32(n)) {
			return dst, errDate
		}
		return append(appendDayParts(dst, v.Int()), 0), nil
	case structuredTime:
		return s.appendPrecision(appendClockParts(dst, v.Int())), nil
	case structuredTimestamp, structuredZonedTimestamp:
		return s.appendMoment(dst, v.Int()), nil
	case structuredZonedTime:
		return s.appendOffsetTime(dst, v.Bytes())
	default: // structuredDuration
		return s.appendParts(dst, v.Bytes())
	}
}

// appendMoment appends a timestamp, with a zone in UTC.
func (s *step) appendMoment(dst []byte, us int64) []byte {
	zoned := s.structured == structuredZonedTimestamp
	if us == replication.Infinity || us == replication.NegInfinity {
		dst = append(dst, make([]byte, 7)...)
		if zoned {
			dst = append(dst, 0, 0)
		}
		return s.appendPrecision(appendSpecial(dst, us))
	}
	days := floor(us, day)
	dst = appendClockParts(appendDayParts(dst, days), us-days*day)
	if zoned {
		dst = appendString(append(appendPart(dst, 0), 2), "Z")
	}
	return s.appendPrecision(append(dst, 0))
}

// appendOffsetTime appends timetz's text, 10:11:12.12+02[:30[:15]], as it is.
func (s *step) appendOffsetTime(dst, text []byte) ([]byte, error) {
	us, rest, ok := clock(text)
	if !ok || len(rest) == 0 || rest[0] != '+' && rest[0] != '-' {
		return dst, errForm
	}
	offset, tail, ok := clock(rest[1:])
	if !ok || len(tail) > 0 || us > day || offset > day {
		return dst, errForm
	}
	if rest[0] == '-' {
		offset = -offset
	}
	return s.appendPrecision(appendPart(appendClockParts(dst, us), offset/second)), nil
}

// appendParts appends an interval's text.
func (s *step) appendParts(dst, text []byte) ([]byte, error) {
	i, err := parseInterval(text)
	if err != nil {
		return dst, err
	}
	hours := i.us / (3600 * second)
	if i.months/12 != int64(int32(i.months/12)) || i.days != int64(int32(i.days)) || hours != int64(int32(hours)) {
		return dst, errParts
	}
	for _, n := range [...]int64{i.months / 12, i.months % 12, i.days, hours, i.us / (60 * second) % 60, i.us / second % 60, i.us % second * 1000} {
		dst = appendPart(dst, n)
	}
	return s.appendPrecision(dst), nil
}

func (s *step) appendPrecision(dst []byte) []byte { return appendPart(dst, int64(s.digits)) }

func appendPart(dst []byte, n int64) []byte { return binary.AppendVarint(append(dst, 2), n) }

func appendParts(dst []byte, year, month, day int64) []byte {
	return appendPart(appendPart(appendPart(dst, year), month), day)
}

func appendDayParts(dst []byte, days int64) []byte {
	year, month, day := civil.Date(days)
	return appendParts(dst, year, month, day)
}

// appendClockParts appends microseconds since midnight.
func appendClockParts(dst []byte, us int64) []byte {
	seconds := us / second
	dst = appendParts(dst, seconds/3600, seconds/60%60, seconds%60)
	return appendPart(dst, us%second*1000)
}

func appendSpecial(dst []byte, n int64) []byte {
	if n < 0 {
		return appendString(append(dst, 2), "NEGATIVE_INFINITY")
	}
	return appendString(append(dst, 2), "POSITIVE_INFINITY")
}

// zeroStructured is what stands for a value that nothing is known of.
func (s *step) zeroStructured() []byte {
	switch s.structured {
	case structuredDate:
		return append(appendParts(nil, 1970, 1, 1), 0)
	case structuredTime:
		return s.appendPrecision(appendClockParts(nil, 0))
	case structuredTimestamp:
		return s.appendPrecision(append(appendClockParts(appendParts(nil, 1970, 1, 1), 0), 0))
	case structuredZonedTimestamp:
		return s.appendPrecision(append(appendPart(appendClockParts(appendParts(nil, 1970, 1, 1), 0), 0), 0, 0))
	case structuredZonedTime:
		return s.appendPrecision(appendPart(appendClockParts(nil, 0), 0))
	default: // structuredDuration
		return s.appendPrecision(appendPart(appendParts(appendParts(nil, 0, 0, 0), 0, 0, 0), 0))
	}
}
