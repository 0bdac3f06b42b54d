package mysql

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"cdc/replication"
	"cdc/sink"
)

// An index's entry holds 3072 bytes (manual, "InnoDB Limits"), and a character
// of utf8mb4 may take four. Texts in a new key get room for maxKeyText
// characters, or as many as the source's own type says.
const (
	maxKeyBytes = 3072
	maxKeyText  = 255
)

// maxRowBytes bounds the lengths of varchar columns of a new table together:
// a row may have 65,535 bytes without its long texts. Those beyond become
// longtext, which has no such bound.
const maxRowBytes = 32_000

// builder makes the column types of one new table or column.
type builder struct {
	server  *server
	keyText int // characters that each text of the key may have
	room    int // bytes left for varchar columns
}

func newBuilder(s *server, shape *sink.Shape) *builder {
	texts, others := 0, 0
	for _, f := range shape.Fields {
		switch {
		case !f.Key:
		case indexedAsText(f.Kind):
			texts++
		default:
			others++
		}
	}
	return &builder{server: s, keyText: (maxKeyBytes - 40*others) / 4 / max(texts, 1), room: maxRowBytes}
}

func indexedAsText(k replication.Kind) bool {
	switch k {
	case replication.KindString, replication.KindBytes, replication.KindJSON, replication.KindArray:
		return true
	default:
		return false
	}
}

// lengthForm matches the type names of texts and bytes with a length, of
// PostgreSQL and of MySQL.
var lengthForm = regexp.MustCompile(`^(?:character varying|varchar|character|char|bpchar|nchar|nvarchar|binary|varbinary)\((\d{1,8})\)$`)

// clockForm matches the type names of times with the digits of their
// fractions; the ones of MySQL have none when they do not say so.
var clockForm = regexp.MustCompile(`^(time|timestamp|datetime)(?:\((\d)\))?( with(?:out)? time zone)?$`)

// numberName, shapeName and vectorForm match types of MySQL's own.
var (
	numberName = regexp.MustCompile(`^(?:(?:tinyint|smallint|mediumint|int|bigint)(?: unsigned)?|year|bit\(\d{1,2}\))$`)
	shapeName  = regexp.MustCompile(`^(?:point|linestring|polygon|geometry|multi(?:point|linestring|polygon)|geom(?:etry)?collection)$`)
	vectorForm = regexp.MustCompile(`^vector\((\d{1,5})\)$`)
)

// fraction returns how many digits of a second a column of that source type has.
func fraction(typeName string) int {
	m := clockForm.FindStringSubmatch(typeName)
	switch {
	case m == nil:
		return 6
	case m[2] != "":
		n, _ := strconv.Atoi(m[2])
		return min(n, 6)
	case m[3] == "": // MySQL's: PostgreSQL always says with or without
		return 0
	}
	return 6
}

// sqlType returns the type for a new column: one that holds every value of the
// neutral kind, as narrow as the source's own type allows. The source's type
// name comes from a schema in a registry, so only numbers are ever taken out
// of it.
func (b *builder) sqlType(f *sink.Field) string {
	c := &f.Column
	length := 0
	if m := lengthForm.FindStringSubmatch(c.TypeName); m != nil {
		length, _ = strconv.Atoi(m[1])
	}
	if numberName.MatchString(c.TypeName) {
		switch c.Kind {
		case replication.KindInt, replication.KindUint, replication.KindDecimal: // as they come out of Avro
			return c.TypeName
		default: // others have names that mean the same in both
		}
	}
	switch c.Kind {
	case replication.KindBool:
		return "boolean"
	case replication.KindInt:
		return intType(c.Bits)
	case replication.KindUint:
		return intType(c.Bits) + " unsigned"
	case replication.KindFloat:
		if c.Bits == 32 {
			return "float"
		}
		return "double"
	case replication.KindDecimal:
		if p, s := c.Precision, c.Scale; p > 0 && p <= 65 && s >= 0 && s <= 30 && s <= p {
			return fmt.Sprintf("decimal(%d,%d)", p, s)
		}
		return "decimal(65,30)"
	case replication.KindDate:
		return "date"
	case replication.KindTime:
		return fmt.Sprintf("time(%d)", fraction(c.TypeName))
	case replication.KindTimestampTZ:
		if !strings.HasSuffix(c.TypeName, " time zone") && strings.HasPrefix(c.TypeName, "timestamp") {
			return fmt.Sprintf("timestamp(%d)", fraction(c.TypeName)) // of a MySQL source, which has no others either
		}
		return fmt.Sprintf("datetime(%d)", fraction(c.TypeName)) // in UTC: a timestamp ends in 2038
	case replication.KindTimestamp:
		return fmt.Sprintf("datetime(%d)", fraction(c.TypeName))
	case replication.KindUUID:
		return "char(36) CHARACTER SET ascii COLLATE ascii_bin" // MariaDB's uuid refuses some
	default: // texts, bytes, JSON and arrays: see below
	}
	if f.Key {
		if length == 0 {
			length = maxKeyText
		}
		if c.Kind == replication.KindBytes {
			return fmt.Sprintf("varbinary(%d)", min(length, b.keyText*4))
		}
		return fmt.Sprintf("varchar(%d) CHARACTER SET utf8mb4 COLLATE %s", min(length, b.keyText), b.server.exact())
	}
	switch c.Kind {
	case replication.KindArray:
		if m := vectorForm.FindStringSubmatch(c.TypeName); m != nil && b.server.vectors() {
			return "vector(" + m[1] + ")"
		}
		// MySQL's log does not tell the length, and its vectors may be shorter than
		// their column's (manual, "The VECTOR Type": 16,383 at most); MariaDB's may not.
		if c.TypeName == "vector" && b.server.vectors() && !b.server.mariadb {
			return "vector(16383)"
		}
		return "json"
	case replication.KindJSON:
		return "json"
	case replication.KindBytes:
		if shapeName.MatchString(c.TypeName) {
			return c.TypeName
		}
		if length > 0 && length <= b.room {
			b.room -= length
			return fmt.Sprintf("varbinary(%d)", length)
		}
		return "longblob"
	default:
		if m := clockForm.FindStringSubmatch(c.TypeName); m != nil && m[1] == "time" && m[3] == "" {
			return fmt.Sprintf("time(%d)", fraction(c.TypeName)) // of a MySQL source, beyond a day
		}
		text := "longtext"
		if length > 0 && 4*length <= b.room {
			b.room -= 4 * length
			text = fmt.Sprintf("varchar(%d)", length) // also for char(n): MySQL's would lose the padding
		}
		return text + " CHARACTER SET utf8mb4 COLLATE " + b.server.exact()
	}
}

func intType(bits uint8) string {
	switch {
	case bits > 0 && bits <= 8:
		return "tinyint"
	case bits > 0 && bits <= 16:
		return "smallint"
	case bits > 0 && bits <= 24:
		return "mediumint"
	case bits > 0 && bits <= 32:
		return "int"
	}
	return "bigint"
}

// createTable returns the statement that makes the shape's table: NOT NULL
// stands on the key alone, since a later version of the topic may leave out
// any other column.
func createTable(s *server, table string, shape *sink.Shape) string {
	types := newBuilder(s, shape)
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE IF NOT EXISTS %s (", table)
	var key []string
	for i := range shape.Fields {
		f := &shape.Fields[i]
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quoteName(f.Name) + " " + types.sqlType(f))
		if f.Key {
			b.WriteString(" NOT NULL")
			key = append(key, quoteName(f.Name))
		} else {
			b.WriteString(" NULL")
		}
	}
	if len(key) > 0 {
		fmt.Fprintf(&b, ", PRIMARY KEY (%s)", strings.Join(key, ", "))
	}
	fmt.Fprintf(&b, ") ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE %s", s.exact())
	return b.String()
}

// addColumn returns the statement that adds one column to a table. What the
// source's rows from before have there becomes the default: the target's rows
// from before get it, and so do those of records that do not have the field.
func addColumn(s *server, table string, shape *sink.Shape, f *sink.Field) string {
	b := newBuilder(s, shape)
	b.room = 1 << 10 // what the others take is not known
	typ := b.sqlType(f)
	clause, _ := defaultClause(f, typ)
	return fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s NULL%s", table, quoteName(f.Name), typ, clause)
}
