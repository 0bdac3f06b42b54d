package avro

import (
	"math"
	"strconv"
	"unicode/utf8"

	"cdc/replication"
	"cdc/replication/civil"
)

// The names under which Kafka Connect's converters and Debezium hold types that
// Avro has no word for, in the property connect.name.
const (
	propConnectName   = "connect.name"
	propConnectType   = "connect.type"
	propConnectParams = "connect.parameters"
)

// compileConnect finds how a type with a name of Connect's or Debezium's is
// read; false leaves it to Avro's own.
func compileConnect(n *node, s *readStep, c *replication.Column) bool {
	set := func(op decodeOp, kind replication.Kind, typeName string) bool {
		s.op, s.kind, c.Kind, c.TypeName = op, kind, kind, typeName
		return true
	}
	if t, _ := n.props[propConnectType].(string); t == "int16" && n.typ == typeInt {
		c.Bits = 16
		return set(decodeInt, replication.KindInt, "")
	}
	name, _ := n.props[propConnectName].(string)
	if compileShape(name, n, s, c) || compileParts(name, n, s, c) {
		return true
	}
	switch n.typ {
	case typeInt:
		switch name {
		case "io.debezium.time.Date":
			return set(decodeDate, replication.KindDate, "")
		case "io.debezium.time.Time":
			return set(decodeMillis, replication.KindTime, "")
		}
	case typeLong:
		switch name {
		case "io.debezium.time.MicroTime":
			return set(decodeTimeMicros, replication.KindTime, "")
		case "io.debezium.time.NanoTime":
			return set(decodeConnectNanoTime, replication.KindTime, "")
		case "io.debezium.time.Timestamp", "org.apache.kafka.connect.data.Timestamp":
			return set(decodeConnectMillis, replication.KindTimestamp, "")
		case "io.debezium.time.MicroTimestamp":
			return set(decodeConnectMicros, replication.KindTimestamp, "")
		case "io.debezium.time.NanoTimestamp":
			return set(decodeTimestampNano, replication.KindTimestamp, "")
		case "io.debezium.time.MicroDuration":
			return set(decodeConnectDuration, replication.KindString, "interval")
		}
	case typeString:
		switch name {
		case "io.debezium.data.Uuid":
			return set(decodeUUIDText, replication.KindUUID, "")
		case "io.debezium.data.Json":
			return set(decodeJSONText, replication.KindJSON, "")
		case "io.debezium.data.Xml":
			return set(decodeString, replication.KindString, "xml")
		case "io.debezium.data.Tsvector":
			return set(decodeString, replication.KindString, "tsvector")
		case "io.debezium.data.Ltree":
			return set(decodeString, replication.KindString, "ltree")
		case "io.debezium.time.ZonedTime":
			return set(decodeString, replication.KindString, "time with time zone")
		case "io.debezium.time.Interval":
			return set(decodeString, replication.KindString, "interval")
		case "io.debezium.time.ZonedTimestamp":
			return set(decodeConnectISO, replication.KindTimestampTZ, "")
		case "io.debezium.time.IsoTimestamp":
			return set(decodeConnectISO, replication.KindTimestamp, "")
		case "io.debezium.time.IsoDate":
			return set(decodeConnectISO, replication.KindDate, "")
		case "io.debezium.time.IsoTime":
			return set(decodeConnectISO, replication.KindTime, "")
		}
	case typeBytes:
		if name == "io.debezium.data.Bits" {
			params, _ := n.props[propConnectParams].(map[string]any)
			text, _ := params["length"].(string)
			if s.size, _ = strconv.Atoi(text); s.size <= 0 || s.size > 1<<23 {
				s.size = 0
				return set(decodeConnectBits, replication.KindString, "bit varying")
			}
			return set(decodeConnectBits, replication.KindString, "bit("+text+")")
		}
	case typeRecord:
		shape := func(names ...string) bool {
			if len(n.fields) < len(names) {
				return false
			}
			for i, name := range names {
				if n.fields[i].name != name {
					return false
				}
			}
			return true
		}
		switch {
		case name == "io.debezium.data.VariableScaleDecimal" && shape("scale", "value") && n.fields[0].node.typ == typeInt && n.fields[1].node.typ == typeBytes:
			return set(decodeConnectDecimal, replication.KindDecimal, "")
		case name == "io.debezium.data.geometry.Point" && shape("x", "y") && doubles(n.fields[:2]):
			return set(decodeConnectPoint, replication.KindString, "point")
		case name == "io.debezium.data.geometry.Line" && shape("a", "b", "c") && doubles(n.fields):
			return set(decodeConnectLine, replication.KindString, "line")
		}
	default: // Avro's own
	}
	return false
}

func doubles(fields []field) bool {
	for _, f := range fields {
		if f.node.typ != typeDouble {
			return false
		}
	}
	return true
}

// What Debezium before 3.7 wrote for infinity and -infinity, in milliseconds and
// in microseconds.
const (
	oldInfinity    = 9223372036825200000
	oldNegInfinity = -9223372036832400000
)

func infinite(n int64) (int64, bool) {
	switch n {
	case oldInfinity, math.MaxInt64:
		return replication.Infinity, true
	case oldNegInfinity, math.MinInt64:
		return replication.NegInfinity, true
	}
	return n, false
}

// readConnect reads what compileConnect found.
func (s *readStep) readConnect(c *cursor, dst *replication.Value, mem *Memory) {
	switch s.op {
	case decodeConnectMillis:
		n, inf := infinite(c.long())
		if !inf {
			n = microsFromMillis(c, n)
		}
		*dst = replication.NumValue(s.kind, n)
	case decodeConnectMicros:
		n, _ := infinite(c.long())
		*dst = replication.NumValue(s.kind, n)
	case decodeConnectNanoTime:
		*dst = replication.NumValue(s.kind, timeOfDay(c, c.long(), 24*3600*1e9)/1000)
	case decodeConnectISO:
		s.readISO(c, dst)
	case decodeConnectDuration:
		start := len(mem.bytes)
		mem.bytes = append(strconv.AppendInt(mem.bytes, c.long(), 10), " microseconds"...)
		s.text(dst, mem, start)
	case decodeConnectBits:
		s.readBits(c, dst, mem)
	case decodeConnectDecimal:
		s.readVariableDecimal(c, dst, mem)
	case decodeConnectPoint:
		s.readPoint(c, dst, mem)
	case decodeConnectLine:
		s.readLine(c, dst, mem)
	case decodeConnectGeometry:
		s.readGeometry(c, dst, mem)
	case decodeConnectVector:
		s.readVector(c, dst, mem)
	case decodeConnectSparse:
		s.readSparse(c, dst, mem)
	case decodeConnectParts, decodeConnectLength:
		s.readParts(c, dst, mem)
	default: // read reads the others
	}
}

// text makes what was appended to mem since start the value.
func (s *readStep) text(dst *replication.Value, mem *Memory, start int) {
	*dst = replication.BytesValue(s.kind, mem.bytes[start:len(mem.bytes):len(mem.bytes)])
}

// readBits turns bytes, the lowest bits first, into a bit string of s.size bits,
// or as many as there are without leading zeros.
func (s *readStep) readBits(c *cursor, dst *replication.Value, mem *Memory) {
	b := c.bytes()
	size := s.size
	if size == 0 {
		for i := len(b) - 1; i >= 0 && size == 0; i-- {
			for k := 7; k >= 0 && size == 0; k-- {
				if b[i]>>k&1 == 1 {
					size = 8*i + k + 1
				}
			}
		}
	}
	if len(mem.bytes)+size > c.limit {
		c.fail(errOutput)
		return
	}
	start := len(mem.bytes)
	for i := size - 1; i >= 0; i-- {
		bit := byte('0')
		if i/8 < len(b) {
			bit += b[i/8] >> (i % 8) & 1
		}
		mem.bytes = append(mem.bytes, bit)
	}
	s.text(dst, mem, start)
}

func (s *readStep) readVariableDecimal(c *cursor, dst *replication.Value, mem *Memory) {
	scale, b := c.int(), c.bytes()
	if c.err != nil {
		return
	}
	start := len(mem.bytes)
	var err error
	switch {
	case scale < -maxExponent || scale > maxExponent:
		err = errOutput
	case scale >= 0:
		mem.bytes, err = appendDecimalText(mem.bytes, b, int(scale))
	default: // so many zeros at the end
		if mem.bytes, err = appendDecimalText(mem.bytes, b, 0); err == nil && string(mem.bytes[start:]) != "0" {
			for range -scale {
				mem.bytes = append(mem.bytes, '0')
			}
		}
	}
	if err == nil && len(mem.bytes) > c.limit {
		err = errOutput
	}
	if err != nil {
		c.fail(err)
		return
	}
	s.text(dst, mem, start)
}

// maxExponent is more than the digits of any numeric of PostgreSQL.
const maxExponent = 1 << 18

func (s *readStep) readPoint(c *cursor, dst *replication.Value, mem *Memory) {
	x, y := c.double(), c.double()
	for _, f := range s.node.fields[2:] {
		skip(c, f.node, 0)
	}
	start := len(mem.bytes)
	mem.bytes = strconv.AppendFloat(append(mem.bytes, '('), x, 'g', -1, 64)
	mem.bytes = strconv.AppendFloat(append(mem.bytes, ','), y, 'g', -1, 64)
	mem.bytes = append(mem.bytes, ')')
	s.text(dst, mem, start)
}

func (s *readStep) readLine(c *cursor, dst *replication.Value, mem *Memory) {
	start := len(mem.bytes)
	for i, sep := range []byte("{,,") {
		mem.bytes = strconv.AppendFloat(append(mem.bytes, sep), c.double(), 'g', -1, 64)
		if i == 2 {
			mem.bytes = append(mem.bytes, '}')
		}
	}
	s.text(dst, mem, start)
}

// skip reads a value of any type and forgets it.
func skip(c *cursor, n *node, depth int) {
	if depth > maxDepth {
		c.fail(errDepth)
	}
	if c.err != nil {
		return
	}
	switch n.typ {
	case typeNull:
	case typeBoolean:
		c.boolean()
	case typeInt, typeLong, typeEnum:
		c.long()
	case typeFloat:
		c.fixed(4)
	case typeDouble:
		c.fixed(8)
	case typeString, typeBytes:
		c.bytes()
	case typeFixed:
		c.fixed(n.size)
	case typeUnion:
		if i := c.index(len(n.branches), errBranch); c.err == nil {
			skip(c, n.branches[i], depth+1)
		}
	case typeRecord:
		for i := range n.fields {
			skip(c, n.fields[i].node, depth+1)
		}
	case typeArray, typeMap:
		for c.err == nil {
			count, _ := c.block()
			if count == 0 {
				break
			}
			for ; count > 0 && c.err == nil; count-- {
				at := c.pos
				if n.typ == typeMap {
					c.bytes()
				}
				skip(c, n.items, depth+1)
				c.item(at)
			}
		}
	}
}

// readISO reads java.time's texts of dates and times, always in UTC:
// 2024-02-29Z, 10:11:12.5Z, -0043-03-15T12:00:00Z, infinity.
func (s *readStep) readISO(c *cursor, dst *replication.Value) {
	b := c.bytes()
	if c.err != nil {
		return
	}
	n, ok := javaTime(s.kind, b)
	if !ok {
		if !utf8.Valid(b) {
			c.fail(errUTF8)
		}
		c.fail(errISO)
		return
	}
	*dst = replication.NumValue(s.kind, n)
}

func javaTime(kind replication.Kind, b []byte) (int64, bool) {
	switch string(b) {
	case "infinity":
		return replication.Infinity, kind != replication.KindTime
	case "-infinity":
		return replication.NegInfinity, kind != replication.KindTime
	}
	if len(b) == 0 || b[len(b)-1] != 'Z' {
		return 0, false
	}
	b = b[:len(b)-1]
	var days int64
	if kind != replication.KindTime {
		var ok bool
		if days, b, ok = isoDay(b); !ok {
			return 0, false
		}
	}
	if kind == replication.KindDate {
		return days, len(b) == 0
	}
	if kind != replication.KindTime {
		if len(b) == 0 || b[0] != 'T' {
			return 0, false
		}
		b = b[1:]
	}
	us, ok := isoClock(b)
	if !ok {
		return 0, false
	}
	const day = 86400 * 1000 * 1000
	if days > math.MaxInt64/day-1 || days < math.MinInt64/day+1 {
		return 0, false
	}
	return days*day + us, true
}

// isoDay reads [+|-]yyyy-mm-dd and returns the days since 1970.
func isoDay(b []byte) (days int64, rest []byte, ok bool) {
	neg := false
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		neg, b = b[0] == '-', b[1:]
	}
	year, b, ok := digits(b, 4, 10)
	if !ok || len(b) < 6 || b[0] != '-' || b[3] != '-' {
		return 0, nil, false
	}
	month, _, ok1 := digits(b[1:3], 2, 2)
	d, _, ok2 := digits(b[4:6], 2, 2)
	if !ok1 || !ok2 || month < 1 || month > 12 || d < 1 || d > 31 {
		return 0, nil, false
	}
	if neg {
		year = -year
	}
	return civil.Days(year, month, d), b[6:], true
}

// isoClock reads hh:mm[:ss[.fffffffff]] and returns microseconds.
func isoClock(b []byte) (us int64, ok bool) {
	for i, unit := range [...]int64{3600e6, 60e6, 1e6} {
		n, rest, ok := digits(b, 2, 2)
		if !ok || i > 0 && n > 59 {
			return 0, false
		}
		us += n * unit
		if b = rest; len(b) == 0 {
			return us, i > 0 && us <= 86400e6
		}
		if i < 2 {
			if b[0] != ':' {
				return 0, false
			}
			b = b[1:]
		}
	}
	if b[0] != '.' || len(b) == 1 || len(b) > 10 {
		return 0, false
	}
	scale := int64(100000)
	for _, c := range b[1:] {
		if c < '0' || c > '9' {
			return 0, false
		}
		us += int64(c-'0') * scale
		scale /= 10
	}
	return us, us <= 86400e6
}

// digits reads a number of so many digits.
func digits(b []byte, least, most int) (n int64, rest []byte, ok bool) {
	i := 0
	for ; i < len(b) && i < most && b[i] >= '0' && b[i] <= '9'; i++ {
		n = n*10 + int64(b[i]-'0')
	}
	return n, b[i:], i >= least
}
