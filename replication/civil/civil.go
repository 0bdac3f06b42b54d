// Package civil is the arithmetic of the proleptic Gregorian calendar, in which
// the databases and Avro count days and microseconds from 1970-01-01. The year
// before 1 is 0, the one before that -1 (H. Hinnant, "chrono-Compatible
// Low-Level Date Algorithms": years begin in March, so that the leap day is the
// last of one, in eras of 400 years of 146,097 days).
package civil

import (
	"math"
	"strconv"
)

const (
	daysOfEra = 146_097
	epoch     = 719_468 // days from 0000-03-01 to 1970-01-01
)

// Days returns the days from 1970-01-01 to a date. The month is 1 to 12; a day
// that the month does not have is one of the next.
func Days(year, month, day int64) int64 {
	if month <= 2 {
		year--
	}
	era := year / 400
	if year < 0 {
		era = (year - 399) / 400
	}
	yearOfEra := year - era*400
	dayOfYear := (153*((month+9)%12)+2)/5 + day - 1
	dayOfEra := yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear
	return era*daysOfEra + dayOfEra - epoch
}

// Date returns the date that lies so many days after 1970-01-01.
func Date(days int64) (year, month, day int64) {
	days += epoch
	era := days / daysOfEra
	if days < 0 {
		era = (days - (daysOfEra - 1)) / daysOfEra
	}
	dayOfEra := days - era*daysOfEra
	yearOfEra := (dayOfEra - dayOfEra/1460 + dayOfEra/36_524 - dayOfEra/146_096) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	fromMarch := (5*dayOfYear + 2) / 153
	year, month = yearOfEra+era*400, fromMarch+3
	if month > 12 {
		year, month = year+1, month-12
	}
	return year, month, dayOfYear - (153*fromMarch+2)/5 + 1
}

// DaysIn returns how many days a month of that year has.
func DaysIn(year, month int64) int64 {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// AppendPadded appends n, which is not negative, with at least width digits, 1 to
// 20.
func AppendPadded(dst []byte, n int64, width int) []byte {
	for least := int64(10); width > 1; width-- {
		if n < least {
			dst = append(dst, "0000000000000000000"[:width-1]...)
			break
		}
		least *= 10
	}
	return strconv.AppendInt(dst, n, 10)
}

// AppendClock appends a time of day, in microseconds, as hh:mm:ss[.ffffff]
// without the zeros at its end. More than a day gets more hours, less than
// nothing a sign.
func AppendClock(dst []byte, micros int64) []byte {
	if micros < 0 {
		dst, micros = append(dst, '-'), -max(micros, -math.MaxInt64)
	}
	seconds := micros / 1e6
	dst = AppendPadded(dst, seconds/3600, 2)
	dst = append(dst, ':', byte('0'+seconds/600%6), byte('0'+seconds/60%10), ':', byte('0'+seconds/10%6), byte('0'+seconds%10))
	if fraction := micros % 1e6; fraction != 0 {
		dst = append(dst, '.')
		for unit := int64(100_000); fraction > 0; unit /= 10 {
			dst = append(dst, byte('0'+fraction/unit))
			fraction %= unit
		}
	}
	return dst
}

// AppendDate appends year-month-day, the year, which is not negative, with at
// least width digits.
func AppendDate(dst []byte, year int64, width int, month, day int64) []byte {
	dst = AppendPadded(dst, year, width)
	return append(dst, '-', byte('0'+month/10), byte('0'+month%10), '-', byte('0'+day/10), byte('0'+day%10))
}
