package postgres

import (
	"bytes"
	"math"

	"cdc/replication"
	"cdc/replication/civil"
)

const (
	usPerSecond = int64(1_000_000)
	usPerDay    = 86_400 * usPerSecond
	// maxDays is how many whole days fit an int64 of microseconds, either way.
	maxDays = math.MaxInt64 / usPerDay
)

var suffixBC = []byte(" BC")

// parseDate reads date_out in DateStyle ISO as days since 1970-01-01.
func parseDate(b []byte) (int64, bool) {
	b, bc := bytes.CutSuffix(b, suffixBC)
	days, rest, ok := scanDate(b, bc)
	if ok {
		return days, len(rest) == 0
	}
	return parseInfinity(b, bc)
}

// parseTimestamp reads timestamp_out and timestamptz_out in DateStyle ISO as
// microseconds since 1970-01-01, local or UTC.
func parseTimestamp(b []byte, zoned bool) (int64, error) {
	bc := false
	if len(b) > 0 && b[len(b)-1] == 'C' {
		b, bc = bytes.CutSuffix(b, suffixBC)
	}
	days, rest, ok := scanDate(b, bc)
	if !ok {
		if us, ok := parseInfinity(b, bc); ok {
			return us, nil
		}
		return 0, errSyntax
	}
	if len(rest) == 0 || rest[0] != ' ' {
		return 0, errSyntax
	}
	us, rest, ok := scanTime(rest[1:])
	if !ok || us >= usPerDay {
		return 0, errSyntax
	}
	if zoned {
		var offset int64
		if offset, rest, ok = scanZone(rest); !ok {
			return 0, errSyntax
		}
		us -= offset * usPerSecond
	}
	if len(rest) != 0 {
		return 0, errSyntax
	}
	if days < -maxDays || days > maxDays {
		return 0, errRange
	}
	// The two ends of int64 mean the infinities.
	base := days * usPerDay
	if us > 0 && base >= math.MaxInt64-us || us < 0 && base <= math.MinInt64-us {
		return 0, errRange
	}
	return base + us, nil
}

func parseInfinity(b []byte, bc bool) (int64, bool) {
	switch {
	case bc:
		return 0, false
	case string(b) == "infinity":
		return replication.Infinity, true
	case string(b) == "-infinity":
		return replication.NegInfinity, true
	}
	return 0, false
}

// scanDate reads YYYY-MM-DD, with four to seven digits of year, and returns
// what follows.
func scanDate(b []byte, bc bool) (days int64, rest []byte, ok bool) {
	var year int64
	n := 0
	for n < len(b) && b[n]-'0' <= 9 {
		if n == 7 {
			return 0, nil, false
		}
		year = year*10 + int64(b[n]-'0')
		n++
	}
	if n < 4 || year == 0 || len(b) < n+6 || b[n] != '-' || b[n+3] != '-' {
		return 0, nil, false
	}
	month, ok1 := twoDigits(b[n+1:])
	day, ok2 := twoDigits(b[n+4:])
	if bc {
		year = 1 - year
	}
	if !ok1 || !ok2 || month < 1 || month > 12 || day < 1 || day > civil.DaysIn(year, month) {
		return 0, nil, false
	}
	return civil.Days(year, month, day), b[n+6:], true
}

// scanTime reads HH:MM:SS with up to six digits of fraction as microseconds
// since midnight, and returns what follows. 24:00:00 is a time.
func scanTime(b []byte) (us int64, rest []byte, ok bool) {
	if len(b) < 8 || b[2] != ':' || b[5] != ':' {
		return 0, nil, false
	}
	h, ok1 := twoDigits(b)
	m, ok2 := twoDigits(b[3:])
	s, ok3 := twoDigits(b[6:])
	if !ok1 || !ok2 || !ok3 || h > 24 || m > 59 || s > 59 {
		return 0, nil, false
	}
	us = (h*3600 + m*60 + s) * usPerSecond
	b = b[8:]
	if len(b) > 0 && b[0] == '.' {
		var fraction int64
		scale := usPerSecond
		n := 1
		for ; n < len(b) && b[n]-'0' <= 9; n++ {
			if n == 7 {
				return 0, nil, false
			}
			fraction = fraction*10 + int64(b[n]-'0')
			scale /= 10
		}
		if n == 1 {
			return 0, nil, false
		}
		us += fraction * scale
		b = b[n:]
	}
	return us, b, us <= usPerDay
}

// scanZone reads ±HH[:MM[:SS]] as seconds east of UTC, and returns what
// follows.
func scanZone(b []byte) (seconds int64, rest []byte, ok bool) {
	if len(b) < 3 || b[0] != '+' && b[0] != '-' {
		return 0, nil, false
	}
	west := b[0] == '-'
	if seconds, ok = twoDigits(b[1:]); !ok {
		return 0, nil, false
	}
	seconds *= 3600
	b = b[3:]
	for unit := int64(60); unit > 0 && len(b) > 0 && b[0] == ':'; unit /= 60 {
		if len(b) < 3 {
			return 0, nil, false
		}
		n, ok := twoDigits(b[1:])
		if !ok || n > 59 {
			return 0, nil, false
		}
		seconds += n * unit
		b = b[3:]
	}
	if west {
		seconds = -seconds
	}
	return seconds, b, true
}

// twoDigits reads the first two bytes of b, which has them.
func twoDigits(b []byte) (int64, bool) {
	hi, lo := b[0]-'0', b[1]-'0'
	return int64(hi)*10 + int64(lo), hi <= 9 && lo <= 9
}
