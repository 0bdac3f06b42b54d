package debezium

import (
	"fmt"
	"strconv"
	"strings"

	"cdc/replication"
)

// op says how a value becomes bytes.
type op uint8

const (
	opBool          op = iota
	opInt              // KindInt, as int or long
	opFloat            // KindFloat as float
	opDouble           // KindFloat as double
	opText             // any bytes that are UTF-8, as string
	opBytes            // KindBytes
	opBytesText        // KindBytes as base64, URL-safe base64 or hexadecimal
	opDecimal          // KindDecimal as Connect's Decimal
	opDecimalDouble    // KindDecimal as double
	opVariable         // KindDecimal as VariableScaleDecimal
	opMoney            // money's text as one of the three above
	opOID              // digits as long
	opBit              // "0" or "1" as boolean
	opBits             // the bits' text as bytes, the lowest bits first
	opDate             // days
	opTime             // microseconds times mul by div
	opTimestamp        // the same, with infinity
	opISODate          // 2024-02-29Z
	opISOTime          // 10:11:12.123Z
	opISOTimestamp     // 2024-02-29T10:11:12.123Z
	opZoned            // the same with digits decimals
	opZonedTime        // timetz's text in UTC
	opDuration         // interval's text as microseconds
	opISOInterval      // P1Y2M3DT4H5M6.789S
	opUUID             // 16 bytes as 36 characters
	opHStoreJSON       // hstore's text as JSON
	opHStoreMap        // hstore's text as a map
	opPoint
	opLine
	opCircle
	opShape        // lseg, box, path, polygon as well-known binary
	opGeometry     // hexadecimal well-known binary of PostGIS
	opVector       // pgvector's text as an array
	opSparseVector // the same of a sparse one
	opStructured   // dates, times and intervals as records of their parts
	opArray
	// of MySQL and MariaDB
	opUint        // KindUint as int or long
	opUintDecimal // KindUint as Connect's Decimal
	opUintBits    // KindUint as bytes, the lowest bits first
	opTimeText    // TIME's text as microseconds times mul by div
	opISOTimeText // TIME's text as 10:11:12.123Z
	opGeometryWKB
	opPointWKB
)

// column is how one column of a table is written.
type column struct {
	name   string // of the column, for messages
	source int    // index into the row
	step   step
	schema *schema
}

// compile finds schema and encoding of a column that is no array's element.
func compile(o *Options, name string, c replication.Column) (step, *schema, error) {
	s, sch, err := compileType(o, c)
	if err != nil {
		return s, nil, err
	}
	geometry := s.op == opGeometry && s.mode == "" // is nullable in Debezium's schemas whether or not it is NOT NULL
	s.nullable = !c.NotNull || geometry
	if preset, ok := presetOf(o, c, &s, sch); ok {
		sch.preset = preset
	}
	sch.optional = s.nullable
	if s.nullable {
		s.value, s.null = 2, 0
		if sch.preset != "" {
			s.value, s.null = 0, 2
		}
	}
	if err := s.complete(o, sch); err != nil {
		return s, nil, fmt.Errorf("column %s: %w", name, err)
	}
	if geometry && c.NotNull {
		s.absent = append(s.branch(), s.noGeometry()...)
	}
	return s, sch, nil
}

func compileType(o *Options, c replication.Column) (step, *schema, error) {
	if o.binlog {
		return binlogType(o, c)
	}
	if c.Kind != replication.KindArray {
		return compileScalar(o, c.Kind, c)
	}
	elem, items, err := compileScalar(o, c.Elem, c)
	if err != nil {
		return step{}, nil, err
	}
	elem.nullable, elem.value, items.optional = true, 2, true
	return step{op: opArray, kind: replication.KindArray, elem: &elem}, &schema{typ: "array", items: items}, nil
}

// typeName splits the name of a column's type, or of its elements', from its
// modifiers: timestamp(3) without time zone.
func typeName(c replication.Column) (name string, mods []int) {
	if name = c.BaseType; name == "" {
		name = c.TypeName
	}
	if strings.HasSuffix(name, "[]") {
		if c.Kind != replication.KindArray {
			return "", nil // an array that travels as its text
		}
		name = strings.TrimSuffix(name, "[]")
	}
	if open := strings.IndexByte(name, '('); open >= 0 && !strings.Contains(name, `"`) {
		if shut := strings.IndexByte(name[open:], ')'); shut > 0 {
			for m := range strings.SplitSeq(name[open+1:open+shut], ",") {
				n, _ := strconv.Atoi(strings.TrimSpace(m))
				mods = append(mods, n)
			}
			name = name[:open] + name[open+shut+1:]
		}
	}
	return name[strings.LastIndexByte(name, '.')+1:], mods
}

// compileScalar maps one value of a kind; c tells what more is known of it.
func compileScalar(o *Options, kind replication.Kind, c replication.Column) (step, *schema, error) {
	s := step{kind: kind}
	name, mods := typeName(c)
	switch kind {
	case replication.KindBool:
		s.op = opBool
		return s, plain("boolean"), nil
	case replication.KindInt:
		s.op = opInt
		switch {
		case c.Bits <= 16:
			return s, &schema{typ: "int", int16: true}, nil
		case c.Bits <= 32:
			return s, plain("int"), nil
		}
		return s, plain("long"), nil
	case replication.KindFloat:
		if c.Bits <= 32 {
			s.op = opFloat
			return s, plain("float"), nil
		}
		s.op = opDouble
		return s, plain("double"), nil
	case replication.KindDecimal:
		bounded := c.Precision > 0 && c.Scale >= 0 && c.Scale <= c.Precision
		return decimal(o, s, bounded, c.Precision, c.Scale)
	case replication.KindBytes:
		if o.Binary == "bytes" {
			s.op = opBytes
			return s, plain("bytes"), nil
		}
		s.op, s.mode = opBytesText, o.Binary
		return s, plain("string"), nil
	case replication.KindDate, replication.KindTime, replication.KindTimestamp, replication.KindTimestampTZ:
		return temporal(o, s, mods)
	case replication.KindUUID:
		s.op = opUUID
		return s, semantic("string", "io.debezium.data.Uuid"), nil
	case replication.KindJSON:
		s.op = opText
		return s, semantic("string", "io.debezium.data.Json"), nil
	case replication.KindString:
		if c.AsText { // not of the name's usual form: an array's, or as the user wants it
			s.op = opText
			return s, plain("string"), nil
		}
		return text(o, s, name, mods, c.Labels)
	default: // the others have no form
		return s, nil, fmt.Errorf("%s (%s) has no form in Debezium's records", c.TypeName, kind)
	}
}

func decimal(o *Options, s step, bounded bool, precision, scale int) (step, *schema, error) {
	switch o.Decimal {
	case "double":
		s.op = opDecimalDouble
		return s, plain("double"), nil
	case "string":
		s.op = opText
		return s, plain("string"), nil
	}
	if !bounded {
		s.op = opVariable
		return s, &schema{typ: "record", name: "io.debezium.data.VariableScaleDecimal", version: 1, fields: []field{
			{"scale", plain("int")}, {"value", plain("bytes")},
		}}, nil
	}
	s.op, s.precision, s.scale = opDecimal, precision, scale
	sch := semantic("bytes", decimalName, [2]string{"scale", strconv.Itoa(scale)}, [2]string{"connect.decimal.precision", strconv.Itoa(precision)})
	sch.precision, sch.scale = precision, scale
	return s, sch, nil
}

// temporal maps dates and times by time.precision.mode.
func temporal(o *Options, s step, mods []int) (step, *schema, error) {
	precision := 6
	if len(mods) > 0 {
		precision = mods[0]
	}
	if o.Time == "structured" {
		return structured(s, structuredKind(s.kind-replication.KindDate), mods)
	}
	s.mul, s.div = 1, 1
	if s.kind == replication.KindTimestampTZ {
		s.op, s.digits = opZoned, precision
		return s, semantic("string", "io.debezium.time.ZonedTimestamp"), nil
	}
	what := "Date"
	switch s.kind {
	case replication.KindTime:
		s.op, what = opTime, "Time"
	case replication.KindTimestamp:
		s.op, what = opTimestamp, "Timestamp"
	default:
		s.op = opDate
	}
	mode := o.Time
	switch {
	case mode == "isostring":
		s.op += opISODate - opDate
		return s, semantic("string", "io.debezium.time.Iso"+what), nil
	case s.op == opDate && mode == "connect":
		return s, semantic("int", "org.apache.kafka.connect.data.Date"), nil
	case s.op == opDate:
		return s, semantic("int", "io.debezium.time.Date"), nil
	case mode == "connect":
		s.div = 1000
		if s.op == opTime {
			return s, semantic("int", "org.apache.kafka.connect.data.Time"), nil
		}
		return s, semantic("long", "org.apache.kafka.connect.data.Timestamp"), nil
	case mode == "nanoseconds":
		s.mul = 1000
		return s, semantic("long", "io.debezium.time.Nano"+what), nil
	case mode == "microseconds", mode == "adaptive_time_microseconds" && s.op == opTime, precision > 3:
		return s, semantic("long", "io.debezium.time.Micro"+what), nil
	}
	s.div = 1000
	if s.op == opTime {
		return s, semantic("int", "io.debezium.time.Time"), nil
	}
	return s, semantic("long", "io.debezium.time.Timestamp"), nil
}

// text maps what a source hands over as its text.
func text(o *Options, s step, name string, mods []int, labels string) (step, *schema, error) {
	s.op = opText
	if labels != "" {
		return s, semantic("string", "io.debezium.data.Enum", [2]string{"allowed", labels}), nil
	}
	switch name {
	case "xml":
		return s, semantic("string", "io.debezium.data.Xml"), nil
	case "tsvector":
		return s, semantic("string", "io.debezium.data.Tsvector"), nil
	case "ltree":
		return s, semantic("string", "io.debezium.data.Ltree"), nil
	case "oid":
		s.op = opOID
		return s, plain("long"), nil
	case "money":
		s, sch, err := decimal(o, s, true, 64, 2)
		sch.params = sch.params[:min(1, len(sch.params))]
		s.money, s.op = s.op, opMoney
		return s, sch, err
	case "bit", "bit varying":
		length := 1
		if name == "bit varying" {
			length = 1<<31 - 1
		}
		if len(mods) > 0 {
			length = mods[0]
		}
		if name == "bit" && length == 1 {
			s.op = opBit
			return s, plain("boolean"), nil
		}
		s.op = opBits
		return s, semantic("bytes", "io.debezium.data.Bits", [2]string{"length", strconv.Itoa(length)}), nil
	case "time with time zone":
		if o.Time == "structured" {
			return structured(s, structuredZonedTime, mods)
		}
		s.op = opZonedTime
		return s, semantic("string", "io.debezium.time.ZonedTime"), nil
	case "hstore":
		if o.HStore == "map" {
			s.op = opHStoreMap
			return s, &schema{typ: "map", items: orNull(plain("string"))}, nil
		}
		s.op = opHStoreJSON
		return s, semantic("string", "io.debezium.data.Json"), nil
	case "point":
		s.op = opPoint
		return s, pointSchema(), nil
	case "line":
		s.op = opLine
		number := plain("double")
		return s, &schema{typ: "record", name: "io.debezium.data.geometry.Line", version: 1, fields: []field{{"a", number}, {"b", number}, {"c", number}}}, nil
	case "circle":
		s.op = opCircle
		return s, &schema{typ: "record", name: "io.debezium.data.geometry.Circle", version: 1, fields: []field{{"center", pointSchema()}, {"radius", plain("double")}}}, nil
	case "lseg", "box", "path", "polygon":
		s.op, s.mode = opShape, name
		return s, geometrySchema(), nil
	}
	if e, sch, ok := extension(s, name); ok {
		return e, sch, nil
	}
	if name == "interval" || strings.HasPrefix(name, "interval ") {
		if o.Time == "structured" {
			return structured(s, structuredDuration, mods)
		}
		if o.Interval == "string" {
			s.op = opISOInterval
			return s, semantic("string", "io.debezium.time.Interval"), nil
		}
		s.op = opDuration
		return s, semantic("long", "io.debezium.time.MicroDuration"), nil
	}
	return s, plain("string"), nil
}

func pointSchema() *schema {
	return &schema{typ: "record", name: "io.debezium.data.geometry.Point", version: 1, fields: []field{
		{"x", plain("double")}, {"y", plain("double")}, {"wkb", orNull(plain("bytes"))}, {"srid", orNull(plain("int"))},
	}}
}
