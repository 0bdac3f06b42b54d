package debezium

import (
	"encoding/json"
	"strconv"
	"strings"
)

// schema is a schema of Kafka Connect's, as far as Debezium uses them.
type schema struct {
	typ      string // of Avro: boolean, int, …, array, map, record
	int16    bool   // an int that Connect knows as one of 16 bits
	int8     bool   // or of 8 bits
	name     string // the semantic name; for a record its full name, too
	version  int    // 0 is none
	nameless bool   // the name is Avro's alone
	params   [][2]string
	optional bool
	preset   string // the default as JSON; "" is none
	fields   []field
	items    *schema // of an array, values of a map
	// precision and scale of a decimal
	precision, scale int
}

type field struct {
	name   string
	schema *schema
}

// String returns the schema as Confluent's AvroData and Avro's Java library
// print it: what Avro does not know stands in properties, in this order.
func (s *schema) String() string {
	text := string(s.append(nil, "", map[string]bool{}))
	// Apicurio takes a schema with "{}" in it for one with placeholders, and
	// refuses it; written so, it is the same text.
	return strings.ReplaceAll(text, `"{}"`, `"\u007b}"`)
}

const decimalName = "org.apache.kafka.connect.data.Decimal"

// logical is what Connect's own names are to Avro.
var logical = map[string]string{
	decimalName:                               "decimal",
	"org.apache.kafka.connect.data.Date":      "date",
	"org.apache.kafka.connect.data.Time":      "time-millis",
	"org.apache.kafka.connect.data.Timestamp": "timestamp-millis",
}

// append appends the type as it stands in a record of that namespace. known
// holds the records that stand before it.
func (s *schema) append(b []byte, namespace string, known map[string]bool) []byte {
	if s.optional {
		bare := *s
		bare.optional = false
		if s.preset != "" {
			return append(bare.append(append(b, '['), namespace, known), `,"null"]`...)
		}
		return append(bare.append(append(b, `["null",`...), namespace, known), ']')
	}
	if s.typ == "record" && known[s.name] {
		space, short := split(s.name)
		if space != namespace {
			short = s.name
		}
		return quote(b, short)
	}
	start := len(b)
	b = append(b, `{"type":"`+s.typ+`"`...)
	plain := len(b)
	switch s.typ {
	case "record":
		space, short := split(s.name)
		b = quote(append(b, `,"name":`...), short)
		if space != namespace {
			b = quote(append(b, `,"namespace":`...), space)
		}
		known[s.name] = true
		b = append(b, `,"fields":[`...)
		for i, f := range s.fields {
			if i > 0 {
				b = append(b, ',')
			}
			b = quote(append(b, `{"name":`...), f.name)
			b = f.schema.append(append(b, `,"type":`...), space, known)
			switch {
			case f.schema.preset != "":
				b = append(append(b, `,"default":`...), f.schema.preset...)
			case f.schema.optional:
				b = append(b, `,"default":null`...)
			}
			b = append(b, '}')
		}
		b = append(b, ']')
	case "array":
		b = s.items.append(append(b, `,"items":`...), namespace, known)
	case "map":
		b = s.items.append(append(b, `,"values":`...), namespace, known)
	}
	if s.name == decimalName {
		b = strconv.AppendInt(append(b, `,"scale":`...), int64(s.scale), 10)
		b = strconv.AppendInt(append(b, `,"precision":`...), int64(s.precision), 10)
	}
	if s.version != 0 {
		b = strconv.AppendInt(append(b, `,"connect.version":`...), int64(s.version), 10)
	}
	if len(s.params) > 0 {
		b = append(b, `,"connect.parameters":{`...)
		for i, p := range s.params {
			if i > 0 {
				b = append(b, ',')
			}
			b = quote(append(quote(b, p[0]), ':'), p[1])
		}
		b = append(b, '}')
	}
	if s.preset != "" {
		b = append(append(b, `,"connect.default":`...), s.preset...)
	}
	if s.name != "" && !s.nameless {
		b = quote(append(b, `,"connect.name":`...), s.name)
	}
	if s.int16 {
		b = append(b, `,"connect.type":"int16"`...)
	} else if s.int8 {
		b = append(b, `,"connect.type":"int8"`...)
	}
	if l := logical[s.name]; l != "" {
		b = quote(append(b, `,"logicalType":`...), l)
	}
	if len(b) == plain { // a type without properties is its name alone
		return quote(b[:start], s.typ)
	}
	return append(b, '}')
}

func split(full string) (namespace, name string) {
	i := strings.LastIndexByte(full, '.')
	return full[:max(i, 0)], full[i+1:]
}

// quote appends s as Java's JSON library writes it: only what must be is escaped.
func quote(b []byte, s string) []byte {
	var w strings.Builder
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes
	return append(b, strings.TrimSuffix(w.String(), "\n")...)
}

// semantic is a type under one of Debezium's names.
func semantic(typ, name string, params ...[2]string) *schema {
	return &schema{typ: typ, name: name, version: 1, params: params}
}

func plain(typ string) *schema { return &schema{typ: typ} }

// orNull is s as the schema of an optional field.
func orNull(s *schema) *schema {
	o := *s
	o.optional = true
	return &o
}

// The blocks that every record has.

func sourceSchema(connector string) *schema {
	snapshot := semantic("string", "io.debezium.data.Enum", [2]string{"allowed", "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"})
	snapshot.optional, snapshot.preset = true, `"false"`
	text, long := plain("string"), plain("long")
	common := []field{
		{"version", text},
		{"connector", text},
		{"name", text},
		{"ts_ms", long},
		{"snapshot", snapshot},
		{"db", text},
		{"sequence", orNull(text)},
		{"ts_us", orNull(long)},
		{"ts_ns", orNull(long)},
	}
	if connector != "postgresql" {
		return binlogSourceSchema(connector, common)
	}
	return &schema{typ: "record", name: "io.debezium.connector.postgresql.Source", version: 1, fields: append(common,
		field{"schema", text},
		field{"table", text},
		field{"txId", orNull(long)},
		field{"lsn", orNull(long)},
		field{"xmin", orNull(long)},
		field{"origin", orNull(text)},
		field{"origin_lsn", orNull(long)},
	)}
}

func envelopeSchema(connector, name string, row []field) *schema {
	value := orNull(&schema{typ: "record", name: name + ".Value", fields: row})
	stamp := orNull(plain("long"))
	return &schema{typ: "record", name: name + ".Envelope", version: 2, fields: []field{
		{"before", value},
		{"after", value},
		{"source", sourceSchema(connector)},
		{"transaction", transactionSchema()},
		{"op", plain("string")},
		{"ts_ms", stamp},
		{"ts_us", stamp},
		{"ts_ns", stamp},
	}}
}
