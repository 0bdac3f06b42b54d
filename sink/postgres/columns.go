package postgres

import (
	"fmt"
	"regexp"
	"strings"

	"cdc/replication"
	"cdc/sink"
)

// typeGrammar is what a source's type name may look like to be used in a
// CREATE TABLE: the name of a built-in type as format_type prints it, with
// numbers as its only modifiers. The text comes from a schema in a registry,
// so nothing else ever gets into SQL; user-defined types need not exist in the
// target anyway.
var typeGrammar = regexp.MustCompile(`^(?:` +
	`smallint|integer|bigint|real|double precision|boolean|text|name|bytea|date|uuid|json|jsonb|xml|` +
	`numeric(?:\(\d{1,4}(?:,-?\d{1,4})?\))?|` +
	`(?:character varying|character|bit|bit varying)(?:\(\d{1,8}\))?|bpchar|` +
	`(?:time|timestamp)(?:\(\d\))?(?: with time zone| without time zone)?|` +
	`interval(?: (?:year|month|day|hour|minute|second)(?: to (?:month|hour|minute|second))?)?(?:\(\d\))?|` +
	`inet|cidr|macaddr|macaddr8|money|oid|pg_lsn|tsvector|tsquery|` +
	`point|line|lseg|box|path|polygon|circle|` +
	`(?:int4|int8|num|ts|tstz|date)(?:multi)?range` +
	`)(?:\[\])?$`)

// sqlType returns the type for a new column: the source's own where it is a
// built-in one, else one that holds every value of the neutral kind.
func sqlType(c replication.Column) string {
	if typeGrammar.MatchString(c.TypeName) {
		return c.TypeName
	}
	if c.Kind == replication.KindArray {
		e := c
		e.Kind = c.Elem
		return kindType(e) + "[]"
	}
	return kindType(c)
}

func kindType(c replication.Column) string {
	switch c.Kind {
	case replication.KindBool:
		return "boolean"
	case replication.KindInt:
		switch {
		case c.Bits > 0 && c.Bits <= 16:
			return "smallint"
		case c.Bits > 0 && c.Bits <= 32:
			return "integer"
		}
		return "bigint"
	case replication.KindUint:
		switch {
		case c.Bits > 0 && c.Bits <= 8:
			return "smallint"
		case c.Bits > 0 && c.Bits <= 16:
			return "integer"
		case c.Bits > 0 && c.Bits <= 32:
			return "bigint"
		}
		return "numeric(20,0)"
	case replication.KindFloat:
		if c.Bits == 32 {
			return "real"
		}
		return "double precision"
	case replication.KindDecimal:
		if c.Precision > 0 && c.Precision <= 1000 && c.Scale >= 0 && c.Scale <= c.Precision {
			return fmt.Sprintf("numeric(%d,%d)", c.Precision, c.Scale)
		}
		return "numeric"
	case replication.KindBytes:
		return "bytea"
	case replication.KindDate:
		return "date"
	case replication.KindTime:
		return "time without time zone"
	case replication.KindTimestamp:
		return "timestamp without time zone"
	case replication.KindTimestampTZ:
		return "timestamp with time zone"
	case replication.KindUUID:
		return "uuid"
	case replication.KindJSON:
		return "json" // keeps the text as it was; jsonb would reorder keys
	default:
		return "text"
	}
}

// createTable returns the statement that makes the shape's table: NOT NULL
// stands on the key alone, since a later version of the topic may leave out
// any other column.
func createTable(table string, s *sink.Shape) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE IF NOT EXISTS %s (", table)
	var key []string
	for i, f := range s.Fields {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(replication.QuoteIdentifier(f.Name) + " " + sqlType(f.Column))
		if f.Key {
			b.WriteString(" NOT NULL")
			key = append(key, replication.QuoteIdentifier(f.Name))
		}
	}
	if len(key) > 0 {
		fmt.Fprintf(&b, ", PRIMARY KEY (%s)", strings.Join(key, ", "))
	}
	b.WriteString(")")
	return b.String()
}

// addColumn returns the statement that adds one column to a table.
func addColumn(table string, f sink.Field) string {
	return fmt.Sprintf("ALTER TABLE %s ADD COLUMN IF NOT EXISTS %s %s", table, replication.QuoteIdentifier(f.Name), sqlType(f.Column))
}

// tableName quotes a table's qualified name.
func tableName(schema, table string) string {
	return replication.QuoteIdentifier(schema) + "." + replication.QuoteIdentifier(table)
}
