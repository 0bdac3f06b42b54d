package mysql

import (
	"cdc/replication"
	"cdc/replication/arena"
	"cdc/replication/civil"
)

// clock is a date and a time of day, or a TIME's hours, as the server holds
// them: parts of a date may be zero.
type clock struct {
	year, month, day     int
	hour, minute, second int
	micro                int
	negative             bool // of a TIME
}

// temporal reads a date or time out of a row image: MySQL source, "my_time.cc,
// my_datetime_packed_from_binary" and its neighbours.
func (d *decoder) temporal(c *cursor, a *arena.Arena) replication.Value {
	switch d.op {
	case opDate:
		v := int(c.LE(3))
		return d.date(clock{year: v >> 9, month: v >> 5 & 15, day: v & 31}, a)
	case opDatetime:
		v := c.LE64()
		date, time := int(v/1000000), int(v%1000000)
		return d.datetime(clock{year: date / 10000, month: date / 100 % 100, day: date % 100, hour: time / 10000, minute: time / 100 % 100, second: time % 100}, a)
	case opDatetime2:
		v := int64(c.BE(5)) - 0x8000000000
		k := clock{micro: fraction(c, d.scale)}
		ymd, hms := v>>17, v&(1<<17-1)
		k.year, k.month, k.day = int(ymd>>5/13), int(ymd>>5%13), int(ymd&31)
		k.hour, k.minute, k.second = int(hms>>12), int(hms>>6&63), int(hms&63)
		return d.datetime(k, a)
	case opTimestamp, opTimestamp2:
		var seconds int64
		micro := 0
		if d.op == opTimestamp {
			seconds = int64(c.LE32())
		} else {
			seconds = int64(c.BE(4))
			micro = fraction(c, d.scale)
		}
		return d.timestamp(seconds, micro, a)
	case opTime:
		v := int(int32(c.LE(3)<<8) >> 8)
		k := clock{negative: v < 0}
		v = max(v, -v)
		k.hour, k.minute, k.second = v/10000, v/100%100, v%100
		return d.time(k, a)
	default: // opTime2
		return d.time(time2(c, d.scale), a)
	}
}

// fraction reads the fraction of a second and returns microseconds.
func fraction(c *cursor, digits int) int {
	switch digits {
	case 1, 2:
		return int(c.U8()) * 10000
	case 3, 4:
		return int(c.BE(2)) * 100
	case 5, 6:
		return int(c.BE(3))
	}
	return 0
}

// time2 reads a TIME: a number of 24 bits and its fraction, of which the whole
// is shifted to be positive.
func time2(c *cursor, digits int) clock {
	var packed int64 // hours, minutes and seconds, then 24 bits of microseconds
	switch digits {
	case 5, 6:
		packed = int64(c.BE(6)) - 0x800000000000
	default:
		v := int64(c.BE(3)) - 0x800000
		var frac, scale int64
		switch digits {
		case 1, 2:
			frac, scale = int64(c.U8()), 10000
			if v < 0 && frac > 0 {
				v++
				frac -= 0x100
			}
		case 3, 4:
			frac, scale = int64(c.BE(2)), 100
			if v < 0 && frac > 0 {
				v++
				frac -= 0x10000
			}
		}
		packed = v<<24 + frac*scale
	}
	k := clock{negative: packed < 0}
	packed = max(packed, -packed)
	hms := packed >> 24
	k.hour, k.minute, k.second, k.micro = int(hms>>12&1023), int(hms>>6&63), int(hms&63), int(packed&(1<<24-1))
	return k
}

// The longest texts: "0000-00-00 00:00:00.000000", "-838:59:59.000000".
const temporalText = 26

// date returns a DATE. One with a part that is zero has no place among days.
func (d *decoder) date(k clock, a *arena.Arena) replication.Value {
	if d.text {
		return replication.BytesValue(replication.KindString, appendDate(a.Alloc(temporalText)[:0], k))
	}
	if !k.valid() {
		if d.null {
			return replication.Null
		}
		return replication.InvalidValue(appendDate(a.Alloc(temporalText)[:0], k), replication.ReasonZeroDate)
	}
	return replication.NumValue(replication.KindDate, days(k.year, k.month, k.day))
}

// datetime returns a DATETIME, which has no zone.
func (d *decoder) datetime(k clock, a *arena.Arena) replication.Value {
	if d.text {
		return replication.BytesValue(replication.KindString, appendTime(append(appendDate(a.Alloc(temporalText)[:0], k), ' '), k, d.scale))
	}
	if !k.valid() {
		if d.null {
			return replication.Null
		}
		return replication.InvalidValue(appendTime(append(appendDate(a.Alloc(temporalText)[:0], k), ' '), k, d.scale), replication.ReasonZeroDate)
	}
	return replication.NumValue(replication.KindTimestamp, k.micros())
}

// timestamp returns a TIMESTAMP, in UTC. Second 0 stands for the zero date.
func (d *decoder) timestamp(seconds int64, micro int, a *arena.Arena) replication.Value {
	if seconds == 0 && micro == 0 {
		return d.zeroTimestamp(a)
	}
	if d.text {
		k := clockAt(seconds)
		k.micro = micro
		return replication.BytesValue(replication.KindString, appendTime(append(appendDate(a.Alloc(temporalText)[:0], k), ' '), k, d.scale))
	}
	return replication.NumValue(replication.KindTimestampTZ, seconds*1e6+int64(micro))
}

func (d *decoder) zeroTimestamp(a *arena.Arena) replication.Value {
	if d.null {
		return replication.Null
	}
	text := appendTime(append(appendDate(a.Alloc(temporalText)[:0], clock{}), ' '), clock{}, d.scale)
	if d.text {
		return replication.BytesValue(replication.KindString, text)
	}
	return replication.InvalidValue(text, replication.ReasonZeroDate)
}

// time returns a TIME as text: it may be negative and reach beyond 24 hours.
func (d *decoder) time(k clock, a *arena.Arena) replication.Value {
	out := a.Alloc(temporalText)[:0]
	if k.negative {
		out = append(out, '-')
	}
	return replication.BytesValue(replication.KindString, appendTime(out, k, d.scale))
}

// valid reports whether the date exists.
func (k clock) valid() bool {
	return k.year >= 0 && k.month >= 1 && k.month <= 12 && k.day >= 1 && int64(k.day) <= civil.DaysIn(int64(k.year), int64(k.month)) && !(k.year == 0 && k.month == 0)
}

func (k clock) micros() int64 {
	return ((days(k.year, k.month, k.day)*24+int64(k.hour))*60+int64(k.minute))*60e6 + int64(k.second)*1e6 + int64(k.micro)
}

func appendDate(out []byte, k clock) []byte {
	out = appendDigits(out, k.year, 4)
	out = appendDigits(append(out, '-'), k.month, 2)
	return appendDigits(append(out, '-'), k.day, 2)
}

func appendTime(out []byte, k clock, scale int) []byte {
	if k.hour > 99 {
		out = appendDigits(out, k.hour, 3)
	} else {
		out = appendDigits(out, k.hour, 2)
	}
	out = appendDigits(append(out, ':'), k.minute, 2)
	out = appendDigits(append(out, ':'), k.second, 2)
	if scale <= 0 {
		return out
	}
	out = appendDigits(append(out, '.'), k.micro, 6)
	return out[:len(out)-6+min(scale, 6)]
}

// appendDigits appends n digits of v.
func appendDigits(out []byte, v, n int) []byte {
	at := len(out)
	for range n {
		out = append(out, '0')
	}
	for i := at + n - 1; i >= at; i-- {
		out[i] = byte('0' + v%10)
		v /= 10
	}
	return out
}

// days returns the days from 1970-01-01 to a date.
func days(year, month, day int) int64 { return civil.Days(int64(year), int64(month), int64(day)) }

// clockAt is what micros is the inverse of, for seconds since 1970.
func clockAt(seconds int64) clock {
	z, rest := seconds/86400, seconds%86400
	if rest < 0 {
		z, rest = z-1, rest+86400
	}
	year, month, day := civil.Date(z)
	return clock{year: int(year), month: int(month), day: int(day), hour: int(rest / 3600), minute: int(rest / 60 % 60), second: int(rest % 60)}
}
