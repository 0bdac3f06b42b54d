package mysql

import (
	"strconv"
	"strings"

	"cdc/replication"
	"cdc/sink"
)

// class is what a column of the target takes.
type class uint8

const (
	classOther   class = iota // the server reads the text
	classInteger              // tinyint … bigint
	classYear
	classDecimal
	classFloat  // float, double
	classBit    // bit(n)
	classText   // char, varchar, text
	classEnum   // enum, set
	classBinary // binary, varbinary, blob
	classDate
	classTime
	classStamp // datetime, timestamp
	classJSON  // MySQL's own binary form; MariaDB's json is a longtext
	classUUID  // MariaDB's
	classSpace // geometry types, vector: their bytes
)

var classes = map[string]class{
	"tinyint": classInteger, "smallint": classInteger, "mediumint": classInteger, "int": classInteger, "bigint": classInteger, "year": classYear,
	"decimal": classDecimal, "float": classFloat, "double": classFloat, "bit": classBit,
	"char": classText, "varchar": classText, "tinytext": classText, "text": classText, "mediumtext": classText, "longtext": classText,
	"enum": classEnum, "set": classEnum,
	"binary": classBinary, "varbinary": classBinary, "tinyblob": classBinary, "blob": classBinary, "mediumblob": classBinary, "longblob": classBinary,
	"date": classDate, "time": classTime, "datetime": classStamp, "timestamp": classStamp, "json": classJSON, "uuid": classUUID,
	"geometry": classSpace, "point": classSpace, "linestring": classSpace, "polygon": classSpace, "multipoint": classSpace,
	"multilinestring": classSpace, "multipolygon": classSpace, "geomcollection": classSpace, "geometrycollection": classSpace, "vector": classSpace,
}

// column is one column to write.
type column struct {
	field     int    // index into Shape.Fields
	name      string // quoted
	def       string // what the target's catalog says of it, to see whether it changed
	class     class
	kind      replication.Kind // of the field
	bits      uint8            // of the field
	key       bool
	notNull   bool
	limit     int    // characters of a text, bytes of a binary or of what is inBytes; 0 is none
	inBytes   bool   // tinytext, text, mediumtext
	fixed     bool   // char, binary: a shorter value is padded, or loses its padding
	padded    bool   // a text whose comparison ignores trailing spaces
	blank     bool   // the source's own type says that trailing spaces mean nothing
	whole     int    // digits before a decimal's point
	scale     int    // digits after it, or of a second's fraction
	labels    labels // of an enum or set
	set       bool
	rounds    bool // its JSON may miss the nearest double of a number with many digits
	collation string
	typ       string // as the catalog prints it
}

// labels are those of an enum or set.
type labels map[string]struct{}

// catalogSQL lists a table's columns.
const catalogSQL = `SELECT COLUMN_NAME, lower(DATA_TYPE), COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT IS NOT NULL, CHARACTER_MAXIMUM_LENGTH,
NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION, COLLATION_NAME, lower(EXTRA)
FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION`

// described is a row of catalogSQL.
type described struct {
	name, dataType, typ, collation, extra string
	nullable, hasDefault                  bool
	length, precision, scale, fsp         int
}

func describe(row []cell) described {
	n := func(i int) int { // absent is 0; longtext says 4294967295
		v, _ := strconv.ParseInt(row[i].text, 10, 64)
		return int(v)
	}
	return described{
		name: row[0].text, dataType: row[1].text, typ: row[2].text, nullable: row[3].text == "YES", hasDefault: row[4].text == "1",
		length: n(5), precision: n(6), scale: n(7), fsp: n(8), collation: row[9].text, extra: row[10].text,
	}
}

// generated reports whether the column computes itself.
func (d *described) generated() bool {
	return strings.Contains(d.extra, "virtual generated") || strings.Contains(d.extra, "stored generated") || strings.Contains(d.extra, "persistent")
}

// needed reports whether an insert must name the column.
func (d *described) needed() bool {
	return !d.nullable && !d.hasDefault && !d.generated() && !strings.Contains(d.extra, "auto_increment") && !strings.Contains(d.extra, "default_generated")
}

func newColumn(i int, f *sink.Field, d *described) column {
	c := column{
		field: i, name: quoteName(d.name), class: classes[d.dataType], kind: f.Kind, bits: f.Bits, key: f.Key, notNull: !d.nullable,
		collation: d.collation, typ: d.typ,
	}
	c.def = strings.Join([]string{d.typ, d.collation, strconv.FormatBool(d.nullable)}, " ")
	switch c.class {
	case classText:
		c.limit = d.length
		c.inBytes = strings.HasSuffix(d.dataType, "text")
		c.fixed = d.dataType == "char"
		c.padded = !strings.Contains(d.collation, "nopad") && !strings.Contains(d.collation, "_0900_")
		c.blank = strings.HasPrefix(f.TypeName, "character(") || strings.HasPrefix(f.TypeName, "char(") || strings.HasPrefix(f.TypeName, "bpchar") || f.TypeName == "character"
	case classBinary:
		c.limit, c.inBytes, c.fixed = d.length, true, d.dataType == "binary"
	case classInteger, classBit:
		c.whole = 20
	case classYear:
		c.whole = 4
	case classDecimal:
		c.whole, c.scale = d.precision-d.scale, d.scale
	case classTime, classStamp:
		c.scale = d.fsp
	case classEnum:
		c.labels, c.set = parseLabels(d.typ), d.dataType == "set"
	default: // nothing more to know
	}
	return c
}

// parseLabels reads the labels out of enum('a','it”s').
func parseLabels(typ string) labels {
	_, list, _ := strings.Cut(typ, "(")
	out := labels{}
	for strings.HasPrefix(list, "'") {
		var label strings.Builder
		list = list[1:]
		for {
			i := strings.IndexByte(list, '\'')
			if i < 0 {
				return out
			}
			label.WriteString(list[:i])
			list = list[i+1:]
			if !strings.HasPrefix(list, "'") {
				break
			}
			label.WriteByte('\'')
			list = list[1:]
		}
		out[label.String()] = struct{}{}
		list = strings.TrimPrefix(list, ",")
	}
	return out
}

// exactly reports whether the column tells any two keys apart (but for
// trailing spaces, which each value is asked for).
func (c *column) exactly() bool {
	if c.class != classText {
		return true
	}
	switch c.kind {
	case replication.KindString, replication.KindJSON, replication.KindArray:
		return strings.HasSuffix(c.collation, "_bin")
	default:
		return true
	}
}

// exactDDL is the type that would tell them apart.
func (c *column) exactDDL(s *server) string {
	charset, _, _ := strings.Cut(c.collation, "_")
	collation := s.exact()
	if charset != "utf8mb4" {
		collation = charset + "_bin"
	}
	return c.typ + " CHARACTER SET " + charset + " COLLATE " + collation
}
