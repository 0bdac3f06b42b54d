package avro

import (
	"errors"
	"math"
	"slices"
	"strconv"

	"cdc/replication"
	"cdc/replication/civil"
)

// This file reads Debezium's dates, times and intervals under
// time.precision.mode structured: records of their parts.

var errParts = errors.New("parts that are no date, time or interval")

// partNames are the parts that such a record may have; what it lacks is 0.
var partNames = [...]string{
	"year", "month", "day", "hour", "minute", "second", "nanos", "offsetSeconds",
	"years", "months", "days", "hours", "minutes", "seconds",
}

// parts are their values, in that order.
type parts [len(partNames)]int64

// compileParts finds how a record of that name is read.
func compileParts(name string, n *node, s *readStep, c *replication.Column) bool {
	kinds := map[string]replication.Kind{
		"io.debezium.time.StructuredDate":           replication.KindDate,
		"io.debezium.time.StructuredTime":           replication.KindTime,
		"io.debezium.time.StructuredTimestamp":      replication.KindTimestamp,
		"io.debezium.time.StructuredZonedTimestamp": replication.KindTimestampTZ,
		"io.debezium.time.StructuredZonedTime":      replication.KindString,
		"io.debezium.time.StructuredDuration":       replication.KindString,
	}
	kind, ok := kinds[name]
	if !ok || n.typ != typeRecord {
		return false
	}
	s.op, s.kind, c.Kind, c.TypeName = decodeConnectParts, kind, kind, ""
	if kind == replication.KindString {
		c.TypeName = "time with time zone"
		if name == "io.debezium.time.StructuredDuration" {
			s.op, c.TypeName = decodeConnectLength, "interval"
		}
	}
	return true
}

// readParts reads such a record, whose fields come in any order.
func (s *readStep) readParts(c *cursor, dst *replication.Value, mem *Memory) {
	var p parts
	special := ""
	for i := range s.node.fields {
		f := &s.node.fields[i]
		if at := slices.Index(partNames[:], f.name); at >= 0 {
			p[at] = optionalInt(c, f.node)
		} else if f.name == "specialValue" {
			special = optionalText(c, f.node)
		} else {
			skip(c, f.node, 0)
		}
	}
	if c.err != nil {
		return
	}
	ok := false
	switch {
	case special != "":
		var n int64
		if n, ok = infinities[special]; ok && s.kind != replication.KindTime && s.kind != replication.KindString {
			*dst = replication.NumValue(s.kind, n)
			return
		}
	case s.op == decodeConnectLength:
		start := len(mem.bytes)
		if mem.bytes, ok = p.appendLength(mem.bytes); ok {
			s.text(dst, mem, start)
		}
	case s.kind == replication.KindString:
		start := len(mem.bytes)
		if mem.bytes, ok = p.appendClock(mem.bytes); ok {
			s.text(dst, mem, start)
		}
	default:
		var n int64
		if n, ok = p.number(s.kind); ok {
			*dst = replication.NumValue(s.kind, n)
		}
	}
	if !ok || special != "" {
		c.fail(errParts)
	}
}

var infinities = map[string]int64{"POSITIVE_INFINITY": replication.Infinity, "NEGATIVE_INFINITY": replication.NegInfinity}

// optionalText reads a string, or a union of one with null, which is "".
func optionalText(c *cursor, n *node) string {
	if n.typ == typeUnion {
		i := c.index(len(n.branches), errBranch)
		if c.err != nil {
			return ""
		}
		n = n.branches[i]
	}
	if n.typ == typeString {
		return string(c.bytes())
	}
	skip(c, n, 0)
	return ""
}

// clock is the time of day in microseconds, up to 24:00.
func (p *parts) clock() (us int64, ok bool) {
	hour, minute, second, nanos := p[3], p[4], p[5], p[6]
	if hour < 0 || hour > 24 || minute < 0 || minute > 59 || second < 0 || second > 59 || nanos < 0 || nanos >= 1e9 {
		return 0, false
	}
	us = ((hour*60+minute)*60+second)*1e6 + nanos/1000
	return us, us <= 86400e6
}

// number is what a Value of the kind holds.
func (p *parts) number(kind replication.Kind) (int64, bool) {
	us, ok := p.clock()
	if kind == replication.KindTime || !ok {
		return us, ok
	}
	year, month, day := p[0], p[1], p[2]
	if month < 1 || month > 12 || day < 1 || year != int64(int32(year)) || day > civil.DaysIn(year, month) {
		return 0, false
	}
	days := civil.Days(year, month, day)
	if kind == replication.KindDate {
		return days, true
	}
	const micros = 86_400_000_000
	offset := p[7]
	if days > math.MaxInt64/micros-2 || days < math.MinInt64/micros+2 || offset < -86400 || offset > 86400 {
		return 0, false
	}
	return days*micros + us - offset*1e6, true
}

// appendClock appends a time of day with its offset from UTC.
func (p *parts) appendClock(dst []byte) ([]byte, bool) {
	us, ok := p.clock()
	offset := p[7]
	if !ok || offset < -86400 || offset > 86400 {
		return dst, false
	}
	dst = civil.AppendClock(dst, us)
	sign := byte('+')
	if offset < 0 {
		sign, offset = '-', -offset
	}
	dst = civil.AppendPadded(append(dst, sign), offset/3600, 2)
	dst = civil.AppendPadded(append(dst, ':'), offset/60%60, 2)
	return civil.AppendPadded(append(dst, ':'), offset%60, 2), true
}

// appendLength appends an interval: what it has of years, months and days, and
// hours with their fractions, all of one sign.
func (p *parts) appendLength(dst []byte) ([]byte, bool) {
	for i, unit := range [...]string{" years ", " mons ", " days "} {
		if n := p[8+i]; n != 0 {
			dst = append(strconv.AppendInt(dst, n, 10), unit...)
		}
	}
	hours, minutes, seconds, nanos := p[11], p[12], p[13], p[6]
	for _, n := range [...]int64{hours, minutes, nanos} {
		if n != int64(int32(n)) {
			return dst, false
		}
	}
	if seconds > 1e12 || seconds < -1e12 {
		return dst, false
	}
	return civil.AppendClock(dst, (hours*3600+minutes*60+seconds)*1e6+nanos/1000), true
}
