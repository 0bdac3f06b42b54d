package debezium

import (
	"math"
	"strconv"
	"strings"

	"cdc/replication"
	"cdc/replication/civil"
)

const (
	second = 1_000_000 // in microseconds
	day    = 86400 * second
)

// appendISODate appends java.time's ISO form of a day, with the Z that Debezium
// adds: 2024-02-29Z. Infinity is as PostgreSQL prints it.
func appendISODate(dst []byte, days int64) []byte {
	if days == replication.Infinity || days == replication.NegInfinity {
		return appendInfinity(dst, days)
	}
	return append(appendDay(dst, days), 'Z')
}

func appendInfinity(dst []byte, n int64) []byte {
	if n < 0 {
		dst = append(dst, '-')
	}
	return append(dst, "infinity"...)
}

// appendISOTimestamp appends microseconds since 1970 in UTC with so many
// decimals, or as few as it takes when digits is negative.
func appendISOTimestamp(dst []byte, us int64, digits int) []byte {
	if us == replication.Infinity || us == replication.NegInfinity {
		return appendInfinity(dst, us)
	}
	days, rest := us/day, us%day
	if rest < 0 {
		days, rest = days-1, rest+day
	}
	return append(appendClock(append(appendDay(dst, days), 'T'), rest, digits), 'Z')
}

// appendDay appends a proleptic Gregorian day as java.time does: at least four
// digits of the year, a sign where there are more, the year 0 before 1.
func appendDay(dst []byte, days int64) []byte {
	year, month, day := civil.Date(days)
	switch {
	case year < 0:
		dst = append(dst, '-')
		year = -year
	case year > 9999:
		dst = append(dst, '+')
	}
	return civil.AppendDate(dst, year, 4, month, day)
}

func appendClock(dst []byte, us int64, digits int) []byte {
	if digits < 0 {
		return civil.AppendClock(dst, us)
	}
	dst = civil.AppendClock(dst, us-us%second)
	if digits == 0 {
		return dst
	}
	dst = civil.AppendPadded(append(dst, '.'), us%second, 6)
	return dst[:len(dst)-6+min(digits, 6)]
}

// appendZonedTime turns timetz's text, 10:11:12.12+02[:30[:15]], into UTC:
// 08:11:12.12Z.
func appendZonedTime(dst, text []byte) ([]byte, error) {
	us, rest, ok := clock(text)
	if !ok || len(rest) == 0 || rest[0] != '+' && rest[0] != '-' {
		return dst, errForm
	}
	offset, tail, ok := clock(rest[1:])
	if !ok || len(tail) > 0 {
		return dst, errForm
	}
	if rest[0] == '+' {
		offset = -offset
	}
	if us == day && offset == 0 { // the end of the day, which is not its beginning
		return append(dst, "24:00:00Z"...), nil
	}
	us = ((us+offset)%day + day) % day
	return append(appendClock(dst, us, -1), 'Z'), nil
}

// clock reads hh[:mm[:ss[.ffffff]]] as microseconds and returns what follows.
func clock(b []byte) (us int64, rest []byte, ok bool) {
	for _, unit := range [...]int64{3600 * second, 60 * second, second} {
		if len(b) < 2 || !digit(b[0]) || !digit(b[1]) {
			return 0, nil, false
		}
		us += (int64(b[0]-'0')*10 + int64(b[1]-'0')) * unit
		if b = b[2:]; len(b) == 0 || b[0] != ':' {
			break
		}
		b = b[1:]
	}
	if len(b) > 0 && b[0] == '.' {
		b = b[1:]
		for scale := int64(second / 10); len(b) > 0 && digit(b[0]); scale /= 10 {
			us += int64(b[0]-'0') * scale
			b = b[1:]
		}
	}
	return us, b, true
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// interval is what PostgreSQL's interval holds.
type interval struct {
	months, days, us int64
}

// parseInterval reads interval's text under IntervalStyle postgres: 1 year 2
// mons -3 days +04:05:06.789.
func parseInterval(text []byte) (i interval, err error) {
	for f := range strings.FieldsSeq(view(text)) {
		if strings.IndexByte(f, ':') >= 0 {
			negative := f[0] == '-'
			f = strings.TrimLeft(f, "+-")
			// Hours have any number of digits.
			hours, rest, _ := strings.Cut(f, ":")
			h, err := strconv.ParseInt(hours, 10, 64)
			if err != nil || h > math.MaxInt64/(3600*second)-1 {
				return i, errForm
			}
			us, tail, ok := clock([]byte("00:" + rest))
			if !ok || len(tail) > 0 {
				return i, errForm
			}
			if i.us = h*3600*second + us; negative {
				i.us = -i.us
			}
			continue
		}
		if f[0] == '+' || f[0] == '-' || digit(f[0]) {
			if i.us, err = strconv.ParseInt(strings.TrimPrefix(f, "+"), 10, 32); err != nil {
				return i, errForm
			}
			continue // the number of the unit that follows, kept in us until then
		}
		n := i.us
		i.us = 0
		switch strings.TrimSuffix(f, "s") {
		case "year":
			i.months += 12 * n
		case "mon":
			i.months += n
		case "day":
			i.days += n
		default:
			return i, errForm
		}
	}
	return i, nil
}

// duration is an interval as Debezium counts it in microseconds: a month has
// 365.25/12 days.
func duration(text []byte) (int64, error) {
	i, err := parseInterval(text)
	if err != nil {
		return 0, err
	}
	const month = day * 365.25 / 12 // 2,629,800 s
	sum := float64(i.months)*month + float64(i.days)*day + float64(i.us)
	if math.Abs(sum) >= math.MaxInt64 {
		return 0, errInterval
	}
	return i.months*int64(month) + i.days*day + i.us, nil
}

// appendISOInterval appends an interval in ISO 8601, all units: P1Y2M3DT4H5M6.789S.
func appendISOInterval(dst, text []byte) ([]byte, error) {
	i, err := parseInterval(text)
	if err != nil {
		return dst, err
	}
	for _, f := range [...]struct {
		n    int64
		unit string
	}{{i.months / 12, "Y"}, {i.months % 12, "M"}, {i.days, "DT"}, {i.us / (3600 * second), "H"}, {i.us / (60 * second) % 60, "M"}} {
		if f.unit == "Y" {
			dst = append(dst, 'P')
		}
		dst = append(strconv.AppendInt(dst, f.n, 10), f.unit...)
	}
	us := i.us % (60 * second)
	if us < 0 {
		dst = append(dst, '-')
		us = -us
	}
	dst = strconv.AppendInt(dst, us/second, 10)
	if fraction := us % second; fraction != 0 {
		dst = civil.AppendPadded(append(dst, '.'), fraction, 6)
		for dst[len(dst)-1] == '0' {
			dst = dst[:len(dst)-1]
		}
	}
	return append(dst, 'S'), nil
}
