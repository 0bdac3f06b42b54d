package replication

import (
	"slices"
	"strings"
)

// Table is one version of a table's shape. It is immutable, and its pointer is
// its identity: a source hands out the same *Table for as long as the shape
// stays the same, also across reconnects, and a new one from the first row on
// that has another shape. Whoever compiles something per table keys it by the
// pointer.
type Table struct {
	Schema string // as in the catalog, unquoted; the database's name on MySQL
	Name   string // as in the catalog, unquoted
	// Home is the name under which the table is configured, where that is not the
	// one that it has at this place of the log: it was renamed, or will be. Else
	// it is zero.
	Home    TableName
	Columns []Column
	// Key holds the indexes into Columns of the primary key, in the key's
	// order; empty when the table has none.
	Key []int
}

// TableName names a table as Schema and Name of a Table do.
type TableName struct{ Schema, Name string }

// Column is one column of a Table.
type Column struct {
	Name string // as in the catalog, unquoted
	// Kind is the kind of every Value of the column that is not NULL or
	// Unchanged.
	Kind Kind
	// Bits is the width of a KindInt, KindUint or KindFloat: 8 to 64. The
	// width of the elements for an array of these. 0 for every other kind.
	Bits uint8
	// Elem is the kind of the elements of a KindArray.
	Elem Kind
	// NotNull says that no value of the column is NULL.
	NotNull bool
	// Identity says that the column is part of the replica identity: its old
	// value stands in Before.
	Identity bool
	// Precision and Scale are those of a KindDecimal (or of an array's decimal
	// elements), in digits. Precision is 0 when the column does not bound them
	// (PostgreSQL's bare numeric); Scale may be negative, or exceed Precision.
	Precision, Scale int
	// TypeName is the source's own name of the type with its modifiers, as the
	// source prints it: "numeric(12,2)", "character varying(40)", "mood".
	TypeName string
	// BaseType is the name of the type that TypeName is a domain over, all the
	// way down, in the same form; of a KindArray that of the elements. Empty when
	// there is no domain.
	BaseType string
	// AsText says that the values of a KindString are the type's text although it
	// has another form elsewhere: the configuration asks for it, or the column is
	// of arrays that a KindArray cannot hold.
	AsText bool
	// Labels are those of an enum (or of an array's elements), in their order,
	// separated by commas; empty for every other type.
	Labels string
	// Default is the expression of the column's default, as the source prints
	// it: "5", "nextval('orders_id_seq'::regclass)"; empty when there is none.
	// What it evaluates to is in the rows already: it is for schemas only.
	Default string
	// ID stays the same when the column or its table is renamed, and no other
	// column of the source ever has it; "" is not known. What is before its dot is
	// the table's. Where a source knows tables by their names only (MySQL), it is
	// made of that.
	ID string
	// HasMissing says that Missing, as the source prints values of the type, is
	// what rows have that were there before the column was added: the default of
	// its ADD COLUMN, which no log ever tells.
	HasMissing bool
	Missing    string
}

// String returns schema.name, unquoted: for messages, not for SQL.
func (t *Table) String() string { return t.Schema + "." + t.Name }

// Column returns the index of the column of that name, or -1.
func (t *Table) Column(name string) int {
	return slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == name })
}

// Equal reports whether both have the same shape.
func (t *Table) Equal(u *Table) bool {
	return t.Schema == u.Schema && t.Name == u.Name && t.Home == u.Home && slices.Equal(t.Key, u.Key) && slices.Equal(t.Columns, u.Columns)
}

// QuoteIdentifier quotes a name for SQL as PostgreSQL and the SQL standard do:
// in double quotes, with each double quote inside doubled.
func QuoteIdentifier(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// QuoteLiteral quotes a text as a PostgreSQL string constant that means the
// same whether standard_conforming_strings is on or off.
func QuoteLiteral(s string) string {
	q := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		q = " E" + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q
}
