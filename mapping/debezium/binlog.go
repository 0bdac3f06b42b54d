package debezium

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"strings"

	"cdc/mapping/avro"
	"cdc/replication"
)

// The types of MySQL and MariaDB, as Debezium's connectors for them have them.

var (
	errUnsigned = errors.New("beyond 64 bits with a sign: set bigint_unsigned to precise")
	errTime     = errors.New("no time of a day, which time.precision.mode asks for")
)

// binlogType finds schema and encoding of a column of MySQL or MariaDB.
func binlogType(o *Options, c replication.Column) (step, *schema, error) {
	s := step{kind: c.Kind, zeroDates: o.ZeroDates}
	name, mods := typeName(c)
	name = strings.TrimSuffix(name, " unsigned")
	switch c.Kind {
	case replication.KindInt:
		s.op = opInt
		switch {
		case name == "year":
			return s, semantic("int", "io.debezium.time.Year"), nil
		case c.Bits <= 16:
			return s, &schema{typ: "int", int16: true}, nil
		case c.Bits <= 32:
			return s, plain("int"), nil
		}
		return s, plain("long"), nil
	case replication.KindUint:
		switch {
		case name == "bit":
			s.op, s.precision = opUintBits, mods[0]
			return s, semantic("bytes", "io.debezium.data.Bits", [2]string{"length", strconv.Itoa(mods[0])}), nil
		case name == "bigint" && o.BigintUnsigned == "precise":
			s.op = opUintDecimal
			sch := semantic("bytes", decimalName, [2]string{"scale", "0"}, [2]string{"connect.decimal.precision", "20"})
			sch.precision = 20
			return s, sch, nil
		}
		s.op = opUint
		switch {
		case c.Bits <= 8:
			return s, &schema{typ: "int", int16: true}, nil
		case c.Bits <= 16, name == "mediumint":
			return s, plain("int"), nil
		}
		return s, plain("long"), nil
	case replication.KindFloat:
		if c.Bits <= 32 && len(mods) == 0 {
			s.op = opFloat
			return s, plain("float"), nil
		}
		s.op = opDouble
		return s, plain("double"), nil
	case replication.KindDate, replication.KindTimestamp, replication.KindTimestampTZ:
		if len(mods) == 0 {
			mods = []int{0}
		}
		return temporal(o, s, mods)
	case replication.KindArray:
		elem := step{op: opFloat, kind: replication.KindFloat}
		s.op, s.elem = opArray, &elem
		return s, &schema{typ: "array", items: plain("float"), name: "io.debezium.data.FloatVector", version: 1}, nil
	case replication.KindString:
		return binlogText(o, s, c, name)
	case replication.KindBytes:
		if name == "point" {
			s.op = opPointWKB
			return s, pointSchema(), nil
		}
		if geometries[name] {
			s.op = opGeometryWKB
			return s, &schema{typ: "record", name: "io.debezium.data.geometry.Geometry", version: 1, fields: []field{
				{"wkb", plain("bytes")}, {"srid", orNull(plain("int"))},
			}}, nil
		}
	case replication.KindJSON:
		if o.mariadb { // to which it is a text
			s.op = opText
			return s, plain("string"), nil
		}
	default: // as PostgreSQL's: boolean, decimal, JSON, uuid
	}
	out, sch, err := compileScalar(o, c.Kind, c)
	out.zeroDates = s.zeroDates
	return out, sch, err
}

var geometries = map[string]bool{
	"geometry": true, "linestring": true, "polygon": true, "multipoint": true, "multilinestring": true, "multipolygon": true, "geometrycollection": true,
}

func binlogText(o *Options, s step, c replication.Column, name string) (step, *schema, error) {
	s.op = opText
	switch {
	case name == "time":
		return binlogTime(o, s)
	case strings.HasPrefix(name, "enum"):
		return s, semantic("string", "io.debezium.data.Enum", [2]string{"allowed", allowed(c.TypeName)}), nil
	case strings.HasPrefix(name, "set"):
		return s, semantic("string", "io.debezium.data.EnumSet", [2]string{"allowed", allowed(c.TypeName)}), nil
	}
	return s, plain("string"), nil
}

// binlogTime maps TIME, which may be negative and beyond 24 hours.
func binlogTime(o *Options, s step) (step, *schema, error) {
	s.op, s.mul, s.div = opTimeText, 1, 1
	switch o.Time {
	case "isostring":
		s.op = opISOTimeText
		return s, semantic("string", "io.debezium.time.IsoTime"), nil
	case "connect":
		s.div = 1000
		return s, semantic("int", "org.apache.kafka.connect.data.Time"), nil
	case "nanoseconds":
		s.mul = 1000
		return s, semantic("long", "io.debezium.time.NanoTime"), nil
	}
	return s, semantic("long", "io.debezium.time.MicroTime"), nil
}

// allowed lists the labels of enum('a','b,c','d”e') as Debezium does: with
// commas between, and a backslash before each that is in a label.
func allowed(typeName string) string {
	var b strings.Builder
	inside := false
	for i := strings.IndexByte(typeName, '(') + 1; i < len(typeName); i++ {
		switch c := typeName[i]; {
		case c == '\'' && inside && i+1 < len(typeName) && typeName[i+1] == '\'':
			b.WriteByte(c)
			i++
		case c == '\'':
			inside = !inside
		case c == ',' && inside:
			b.WriteString(`\,`)
		case inside || c == ',':
			b.WriteByte(c)
		}
	}
	return b.String()
}

// appendBinlog appends a value of one of the types above.
func (s *step) appendBinlog(dst []byte, v *replication.Value) ([]byte, error) {
	switch s.op {
	case opUint:
		n := v.Uint()
		if n > math.MaxInt64 {
			return dst, errUnsigned
		}
		return binary.AppendVarint(dst, int64(n)), nil
	case opUintDecimal:
		var buf [20]byte
		return avro.AppendDecimal(dst, strconv.AppendUint(buf[:0], v.Uint(), 10), 20, 0)
	case opUintBits: // all bytes that the length takes, the lowest first
		n := v.Uint()
		size := (s.precision + 7) / 8
		dst = binary.AppendVarint(dst, int64(size))
		for range size {
			dst = append(dst, byte(n))
			n >>= 8
		}
		return dst, nil
	case opTimeText:
		us, ok := clockText(v.Bytes())
		if !ok {
			return dst, errForm
		}
		n, err := s.number(us)
		return binary.AppendVarint(dst, n), err
	case opPointWKB:
		return appendPointWKB(dst, v.Bytes())
	default: // opGeometryWKB
		return appendGeometryWKB(dst, v.Bytes())
	}
}

// clockText reads a TIME's text as microseconds: -838:59:59.000000.
func clockText(b []byte) (us int64, ok bool) {
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	hours := int64(0)
	for len(b) > 0 && digit(b[0]) && hours < 1000 {
		hours = hours*10 + int64(b[0]-'0')
		b = b[1:]
	}
	if len(b) == 0 || b[0] != ':' {
		return 0, false
	}
	for _, unit := range [...]int64{60 * second, second} {
		if len(b) < 3 || b[0] != ':' || !digit(b[1]) || !digit(b[2]) {
			return 0, false
		}
		us += (int64(b[1]-'0')*10 + int64(b[2]-'0')) * unit
		b = b[3:]
	}
	if len(b) > 0 && b[0] == '.' {
		b = b[1:]
		for scale := int64(second / 10); len(b) > 0 && digit(b[0]); scale /= 10 {
			us += int64(b[0]-'0') * scale
			b = b[1:]
		}
	}
	us += hours * 3600 * second
	if negative {
		us = -us
	}
	return us, len(b) == 0
}

// MySQL stores a geometry as its SRID, in 4 bytes, and well-known binary: MySQL
// manual, "Internal Geometry Storage Format".

func appendGeometryWKB(dst, b []byte) ([]byte, error) {
	if len(b) < 4 {
		return dst, errForm
	}
	return appendSRID(appendBytes(dst, b[4:]), b), nil
}

func appendPointWKB(dst, b []byte) ([]byte, error) {
	if len(b) != 25 || b[4] != 1 {
		return dst, errForm
	}
	dst = append(dst, b[9:25]...) // x and y are little-endian doubles in either form
	return appendSRID(appendBytes(append(dst, 2), b[4:]), b), nil
}

// appendSRID appends the SRID that b begins with; 0 is null.
func appendSRID(dst, b []byte) []byte {
	srid := int32(binary.LittleEndian.Uint32(b))
	if srid == 0 {
		return append(dst, 0)
	}
	return binary.AppendVarint(append(dst, 2), int64(srid))
}
