package mysql

import (
	"fmt"
	"strconv"
	"strings"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"

	"cdc/replication"
)

// column is what is known of a column, from the binlog's table map or from the
// catalog. From both comes the same.
type column struct {
	name string
	// typ is a MYSQL_TYPE_… of the binlog; ENUM and SET stand for themselves, not
	// for STRING, and so do TINY_BLOB, MEDIUM_BLOB and LONG_BLOB for BLOB.
	typ byte
	// size is, in bytes, the width of a CHAR, VARCHAR, BINARY or VARBINARY, of the
	// length of a BLOB, JSON, GEOMETRY or VECTOR, of an ENUM or SET; the number of
	// bits of a BIT; the precision of a DECIMAL.
	size int
	// scale of a DECIMAL, fractional digits of a TIME, DATETIME, TIMESTAMP.
	scale    int
	unsigned bool
	notNull  bool
	charset  *charset // of characters; nil for every other type
	labels   []string // of an ENUM or SET, in UTF-8
	geometry int      // the type of a GEOMETRY, as WKB numbers it; 0 is any
	// special is what the binlog does not tell and the catalog does: a type of
	// MariaDB's that is stored as another one.
	special string // "uuid", "inet4", "inet6", "vector", "json"
	// generated says that the server computes it, of which the binlog does not
	// tell either.
	generated bool
	// preset is the default, a literal in quotes or an expression, and digits the
	// "(7,3)" of a FLOAT(7,3): for who asks to describe.
	preset, digits string
}

// The types that are no MYSQL_TYPE_ of their own in a table map.
func (c *column) binary() bool { return c.charset == nil || c.charset.binary() }

// policy is what the configuration says of values that have no place in
// Avro's types.
type policy struct {
	zeroDates ZeroDates
}

// describe returns the column as the other rooms see it.
func (c *column) describe(p policy) (replication.Column, error) {
	out := replication.Column{Name: c.name, NotNull: c.notNull, TypeName: c.typeName(), Default: c.preset}
	integer := func(bits uint8) {
		out.Kind, out.Bits = replication.KindInt, bits
		if c.unsigned {
			out.Kind = replication.KindUint
		}
	}
	dated := func(k replication.Kind) {
		switch p.zeroDates {
		case ZeroDatesText:
			k = replication.KindString
		case ZeroDatesNull:
			out.NotNull = false
		default: // ZeroDatesError: an invalid value
		}
		out.Kind = k
	}
	switch c.special {
	case "uuid":
		out.Kind = replication.KindUUID
		return out, nil
	case "inet4", "inet6":
		out.Kind = replication.KindString
		return out, nil
	case "vector":
		out.Kind, out.Elem, out.Bits = replication.KindArray, replication.KindFloat, 32
		return out, nil
	case "json":
		out.Kind = replication.KindJSON
		return out, nil
	}
	switch c.typ {
	case gomysql.MYSQL_TYPE_TINY:
		integer(8)
	case gomysql.MYSQL_TYPE_SHORT:
		integer(16)
	case gomysql.MYSQL_TYPE_INT24, gomysql.MYSQL_TYPE_LONG:
		integer(32)
	case gomysql.MYSQL_TYPE_LONGLONG:
		integer(64)
	case gomysql.MYSQL_TYPE_YEAR:
		out.Kind, out.Bits = replication.KindInt, 16
	case gomysql.MYSQL_TYPE_FLOAT:
		out.Kind, out.Bits = replication.KindFloat, 32
	case gomysql.MYSQL_TYPE_DOUBLE:
		out.Kind, out.Bits = replication.KindFloat, 64
	case gomysql.MYSQL_TYPE_NEWDECIMAL:
		out.Kind, out.Precision, out.Scale = replication.KindDecimal, c.size, c.scale
	case gomysql.MYSQL_TYPE_BIT:
		switch {
		case c.size == 1:
			out.Kind = replication.KindBool
		case c.size <= 8:
			out.Kind, out.Bits = replication.KindUint, 8
		case c.size <= 16:
			out.Kind, out.Bits = replication.KindUint, 16
		case c.size <= 32:
			out.Kind, out.Bits = replication.KindUint, 32
		default:
			out.Kind, out.Bits = replication.KindUint, 64
		}
	case gomysql.MYSQL_TYPE_DATE, gomysql.MYSQL_TYPE_NEWDATE:
		dated(replication.KindDate)
	case gomysql.MYSQL_TYPE_DATETIME, gomysql.MYSQL_TYPE_DATETIME2:
		dated(replication.KindTimestamp)
	case gomysql.MYSQL_TYPE_TIMESTAMP, gomysql.MYSQL_TYPE_TIMESTAMP2:
		dated(replication.KindTimestampTZ)
	case gomysql.MYSQL_TYPE_ENUM:
		out.Kind, out.Labels = replication.KindString, strings.Join(c.labels, ",")
	case gomysql.MYSQL_TYPE_TIME, gomysql.MYSQL_TYPE_TIME2, gomysql.MYSQL_TYPE_SET:
		out.Kind = replication.KindString
	case gomysql.MYSQL_TYPE_STRING, gomysql.MYSQL_TYPE_VARCHAR, gomysql.MYSQL_TYPE_VAR_STRING, gomysql.MYSQL_TYPE_BLOB:
		out.Kind = replication.KindString
		if c.binary() {
			out.Kind = replication.KindBytes
		}
	case gomysql.MYSQL_TYPE_JSON:
		out.Kind = replication.KindJSON
	case gomysql.MYSQL_TYPE_GEOMETRY:
		out.Kind = replication.KindBytes
	case gomysql.MYSQL_TYPE_VECTOR:
		out.Kind, out.Elem, out.Bits = replication.KindArray, replication.KindFloat, 32
	default:
		return out, fmt.Errorf("column %s has type %d, which is not known", c.name, c.typ)
	}
	return out, nil
}

var geometryNames = [...]string{"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection"}

// typeName renders the type as MySQL 8.4 does in SHOW COLUMNS: without the
// display widths that older servers add.
func (c *column) typeName() string {
	fraction := func(name string) string {
		if c.scale > 0 {
			return fmt.Sprintf("%s(%d)", name, c.scale)
		}
		return name
	}
	signed := func(name string) string {
		if c.unsigned {
			return name + " unsigned"
		}
		return name
	}
	switch c.special {
	case "vector", "":
	default:
		return c.special
	}
	if c.special == "vector" {
		return fmt.Sprintf("vector(%d)", c.size/4)
	}
	switch c.typ {
	case gomysql.MYSQL_TYPE_TINY:
		return signed("tinyint")
	case gomysql.MYSQL_TYPE_SHORT:
		return signed("smallint")
	case gomysql.MYSQL_TYPE_INT24:
		return signed("mediumint")
	case gomysql.MYSQL_TYPE_LONG:
		return signed("int")
	case gomysql.MYSQL_TYPE_LONGLONG:
		return signed("bigint")
	case gomysql.MYSQL_TYPE_YEAR:
		return "year"
	case gomysql.MYSQL_TYPE_FLOAT:
		return signed("float" + c.digits)
	case gomysql.MYSQL_TYPE_DOUBLE:
		return signed("double" + c.digits)
	case gomysql.MYSQL_TYPE_NEWDECIMAL:
		return signed(fmt.Sprintf("decimal(%d,%d)", c.size, c.scale))
	case gomysql.MYSQL_TYPE_BIT:
		return fmt.Sprintf("bit(%d)", c.size)
	case gomysql.MYSQL_TYPE_DATE, gomysql.MYSQL_TYPE_NEWDATE:
		return "date"
	case gomysql.MYSQL_TYPE_DATETIME, gomysql.MYSQL_TYPE_DATETIME2:
		return fraction("datetime")
	case gomysql.MYSQL_TYPE_TIMESTAMP, gomysql.MYSQL_TYPE_TIMESTAMP2:
		return fraction("timestamp")
	case gomysql.MYSQL_TYPE_TIME, gomysql.MYSQL_TYPE_TIME2:
		return fraction("time")
	case gomysql.MYSQL_TYPE_ENUM:
		return "enum(" + quoteLabels(c.labels) + ")"
	case gomysql.MYSQL_TYPE_SET:
		return "set(" + quoteLabels(c.labels) + ")"
	case gomysql.MYSQL_TYPE_STRING:
		if c.binary() {
			return "binary(" + strconv.Itoa(c.size) + ")"
		}
		return "char(" + strconv.Itoa(c.size/c.charset.maxLen) + ")"
	case gomysql.MYSQL_TYPE_VARCHAR, gomysql.MYSQL_TYPE_VAR_STRING:
		if c.binary() {
			return "varbinary(" + strconv.Itoa(c.size) + ")"
		}
		return "varchar(" + strconv.Itoa(c.size/c.charset.maxLen) + ")"
	case gomysql.MYSQL_TYPE_BLOB:
		size := [...]string{"", "tiny", "", "medium", "long"}[min(c.size, 4)]
		if c.binary() {
			return size + "blob"
		}
		return size + "text"
	case gomysql.MYSQL_TYPE_JSON:
		return "json"
	case gomysql.MYSQL_TYPE_GEOMETRY:
		if c.geometry < len(geometryNames) {
			return geometryNames[c.geometry]
		}
		return "geometry"
	case gomysql.MYSQL_TYPE_VECTOR:
		return "vector"
	}
	return "type " + strconv.Itoa(int(c.typ))
}

func quoteLabels(labels []string) string {
	var b strings.Builder
	for i, l := range labels {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(quoteLiteral(l))
	}
	return b.String()
}

// quoteLiteral quotes a text as MySQL's own SHOW COLUMNS does.
func quoteLiteral(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// quoteName quotes an identifier for SQL: MySQL manual, "Schema Object Names".
func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func quoteTable(schema, name string) string { return quoteName(schema) + "." + quoteName(name) }
