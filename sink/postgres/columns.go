package postgres

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"cdc/replication"
	"cdc/sink"
)

// typeGrammar is what a source's type name may look like to be used in a
// CREATE TABLE as it stands: the name of a built-in type as format_type prints
// it, with numbers as its only modifiers. The text comes from a schema in a
// registry, so nothing else ever gets into SQL by itself. Missing on purpose are
// types whose input looks for an object or a role by its name (regclass, aclitem).
var typeGrammar = regexp.MustCompile(`^(?:` +
	`smallint|integer|bigint|real|double precision|boolean|text|name|"char"|bytea|date|uuid|json|jsonb|jsonpath|xml|` +
	`numeric(?:\(\d{1,4}(?:,-?\d{1,4})?\))?|` +
	`(?:character varying|character|bit|bit varying)(?:\(\d{1,8}\))?|bpchar|"bit"|` +
	`(?:time|timestamp)(?:\(\d\))?(?: with time zone| without time zone)?|` +
	`interval(?: (?:year|month|day|hour|minute|second)(?: to (?:month|hour|minute|second))?)?(?:\(\d\))?|` +
	`inet|cidr|macaddr|macaddr8|money|tsvector|tsquery|` +
	`oid|xid|xid8|cid|tid|pg_lsn|pg_snapshot|txid_snapshot|int2vector|oidvector|refcursor|` +
	`point|line|lseg|box|path|polygon|circle|` +
	`(?:int4|int8|num|ts|tstz|date)(?:multi)?range` +
	`)(?:\[\])?$`)

// userGrammar is what the name of any other type may look like: as format_type
// prints it, with or without its schema, with modifiers like PostGIS's, and []
// for an array. The first group is the name.
var userGrammar = regexp.MustCompile(`^((?:` + identifier + `\.)?` + identifier + `)(\((?:-?\w{1,32})(?:, ?-?\w{1,32}){0,3}\))?(\[\])?$`)

const identifier = `(?:[a-z_][a-z0-9_]{0,62}|"(?:[^"\x00]|""){1,126}")`

// userTypes holds, by the source's name, the target's type of the same name:
// as the target prints it, and "" where it has none.
type userTypes map[string]string

// sqlType returns the type for a new column: the source's own where it is a
// built-in one or one that the target has too, else what a domain is over, else
// one that holds every value of the neutral kind.
func (u userTypes) sqlType(c replication.Column) string {
	if name := foreignType(c); name != "" {
		return name
	}
	base := c.BaseType
	if base != "" && c.Kind == replication.KindArray {
		base += "[]"
	}
	for _, name := range []string{c.TypeName, base} {
		if typeGrammar.MatchString(name) {
			return name
		}
		if m := userGrammar.FindStringSubmatch(name); m != nil && u[m[1]] != "" {
			return u[m[1]] + m[2] + m[3]
		}
	}
	if c.Kind == replication.KindArray {
		e := c
		e.Kind = c.Elem
		return kindType(e) + "[]"
	}
	return kindType(c)
}

// userTypeSQL asks for a type by its name. A row type of a table is none that a
// column should have, a domain that is NOT NULL cannot be added to a table with
// rows, and the built-in types that can be used are those of typeGrammar.
const userTypeSQL = `SELECT format_type(t.oid, -1) FROM pg_type t
WHERE t.oid = to_regtype($1) AND t.typtype IN ('b', 'c', 'd', 'e', 'm', 'r') AND t.typcategory <> 'A' AND NOT t.typnotnull
  AND (t.typrelid = 0 OR EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
  AND t.typnamespace <> 'pg_catalog'::regnamespace AND has_type_privilege(t.oid, 'USAGE')`

// learnTypes looks up the types that the shape's columns have in the source and
// that are not PostgreSQL's own.
func (w *Writer) learnTypes(ctx context.Context, s *sink.Shape) error {
	if w.types == nil {
		w.types = userTypes{}
	}
	asked := map[string]bool{}
	for _, f := range s.Fields {
		for _, name := range []string{f.TypeName, f.BaseType} {
			m := userGrammar.FindStringSubmatch(name)
			if m == nil || typeGrammar.MatchString(name) || w.types[m[1]] != "" || asked[m[1]] {
				continue
			}
			asked[m[1]] = true
			// The source prints the schema when its search_path does not have it.
			found, err := w.lookUpType(ctx, m[1])
			if bare := bareName.FindString(m[1]); err == nil && found == "" && bare != m[1] {
				found, err = w.lookUpType(ctx, bare)
			}
			if err != nil {
				return err
			}
			w.types[m[1]] = found
		}
	}
	return nil
}

// lookUpType returns the target's name of a type, "" when it has none, or none
// that this role may use.
func (w *Writer) lookUpType(ctx context.Context, name string) (string, error) {
	rows, err := w.query(ctx, userTypeSQL, name)
	switch {
	case sqlState(err) == noPrivilege: // on its schema
		return "", nil
	case err != nil:
		return "", fmt.Errorf("look up type %s: %w", name, err)
	case len(rows) == 0:
		return "", nil
	}
	return string(rows[0][0]), nil
}

// bareName matches the last part of a qualified name.
var bareName = regexp.MustCompile(identifier + `$`)

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
func (u userTypes) createTable(table string, s *sink.Shape) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE IF NOT EXISTS %s (", table)
	var key []string
	for i, f := range s.Fields {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(replication.QuoteIdentifier(f.Name) + " " + u.sqlType(f.Column))
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

// addColumn returns the statement that adds one column to a table. What the
// source's rows from before have there becomes the default: the target's rows
// from before get it, and so do those of records that do not have the field.
func (u userTypes) addColumn(table string, f sink.Field) string {
	ddl := fmt.Sprintf("ALTER TABLE %s ADD COLUMN IF NOT EXISTS %s %s", table, replication.QuoteIdentifier(f.Name), u.sqlType(f.Column))
	if f.HasMissing {
		ddl += " DEFAULT " + replication.QuoteLiteral(f.Missing)
	}
	return ddl
}

// tableName quotes a table's qualified name.
func tableName(schema, table string) string {
	return replication.QuoteIdentifier(schema) + "." + replication.QuoteIdentifier(table)
}
