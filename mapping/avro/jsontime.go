package avro

import (
	"cdc/replication"
	"cdc/replication/civil"
)

// isoTime is a time read from text.
type isoTime struct {
	seconds int64 // since 1970-01-01 00:00:00, in UTC where a zone was named
	nanos   int64
	zone    bool // one was named
	clock   bool // a time of day was there, not the date alone
}

// readISO reads dates and times as ISO 8601 writes them, and as Ruby, Python and
// PostgreSQL print them: 2026-01-31, 2026-01-31T12:30:00.123456Z,
// 2026-01-31 12:30:00 UTC, 2026-01-31 12:30+05:30, 2026-01-31T12:30:00 -0800.
func readISO(b []byte) (t isoTime, ok bool) {
	r := isoReader{b: b}
	year, month, day := r.number(4), r.after('-', 2), r.after('-', 2)
	if r.bad || year < 1 || month < 1 || month > 12 || day < 1 || day > civil.DaysIn(year, month) {
		return t, false
	}
	t.seconds = civil.Days(year, month, day) * 24 * 3600
	if r.done() {
		return t, true
	}
	if !r.take('T') && !r.take('t') && !r.take(' ') {
		return t, false
	}
	t.clock = true
	seconds, nanos := r.clock()
	t.seconds, t.nanos = t.seconds+seconds, nanos
	if r.bad || seconds >= 24*3600 {
		return t, false
	}
	if r.done() {
		return t, true
	}
	r.take(' ')
	t.zone = true
	switch {
	case r.take('Z'), r.take('z'):
	case len(r.b) == 3 && string(r.b) == "UTC", len(r.b) == 3 && string(r.b) == "GMT":
		r.b = nil
	default:
		sign := int64(1)
		if r.take('-') {
			sign = -1
		} else if !r.take('+') {
			return t, false
		}
		offset := r.number(2) * 3600
		if !r.done() {
			r.take(':')
			minutes := r.number(2)
			if minutes > 59 {
				return t, false
			}
			offset += minutes * 60
		}
		t.seconds -= sign * offset
	}
	return t, !r.bad && r.done()
}

// ParseInstant reads a time in ISO 8601 and returns it in microseconds since
// 1970-01-01 UTC. Without a zone it is UTC.
func ParseInstant(b []byte) (micros int64, ok bool) {
	t, ok := readISO(b)
	return t.seconds*1e6 + t.nanos/1e3, ok && t.clock
}

// AppendInstant appends a time of so many microseconds since 1970-01-01 UTC in
// ISO 8601.
func AppendInstant(dst []byte, micros int64) []byte {
	return appendTimeText(dst, replication.KindTimestampTZ, micros)
}

// parseClock reads a time of day: 12:30, 12:30:00, 12:30:00.123456.
func parseClock(b []byte) (seconds, nanos int64, ok bool) {
	r := isoReader{b: b}
	seconds, nanos = r.clock()
	return seconds, nanos, !r.bad && r.done() && (seconds < 24*3600 || seconds == 24*3600 && nanos == 0)
}

type isoReader struct {
	b   []byte
	bad bool
}

func (r *isoReader) done() bool { return len(r.b) == 0 }

func (r *isoReader) take(c byte) bool {
	if len(r.b) > 0 && r.b[0] == c {
		r.b = r.b[1:]
		return true
	}
	return false
}

// number reads exactly n digits.
func (r *isoReader) number(n int) (v int64) {
	if len(r.b) < n {
		r.bad = true
		return 0
	}
	for _, c := range r.b[:n] {
		if c-'0' > 9 {
			r.bad = true
			return 0
		}
		v = v*10 + int64(c-'0')
	}
	r.b = r.b[n:]
	return v
}

func (r *isoReader) after(c byte, n int) int64 {
	if !r.take(c) {
		r.bad = true
		return 0
	}
	return r.number(n)
}

func (r *isoReader) clock() (seconds, nanos int64) {
	hour, minute := r.number(2), r.after(':', 2)
	var second int64
	if r.take(':') {
		second = r.number(2)
		if r.take('.') || r.take(',') {
			n := 0
			for ; n < 9 && len(r.b) > 0 && r.b[0]-'0' <= 9; n++ {
				nanos = nanos*10 + int64(r.b[0]-'0')
				r.b = r.b[1:]
			}
			if n == 0 {
				r.bad = true
			}
			for ; n < 9; n++ {
				nanos *= 10
			}
		}
	}
	if hour > 24 || minute > 59 || second > 59 {
		r.bad = true
	}
	return hour*3600 + minute*60 + second, nanos
}
