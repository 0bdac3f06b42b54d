package postgres

import (
	"strconv"
	"strings"

	"cdc/sink/apply"
)

// unnest is the FROM item that turns one array parameter a column into rows
// named s.
func (p *plan) unnest(cols []column) string {
	n := 0
	return "unnest(" + apply.Join(cols, ", ", func(c *column) string {
		n++
		return "$" + strconv.Itoa(n) + "::" + c.typ + "[]"
	}) + ") AS s(" + p.names(cols) + ")"
}

// insert is INSERT … SELECT cols FROM from, without a conflict clause.
func (p *plan) insert(cols []column, from string) string {
	var b strings.Builder
	b.WriteString("INSERT INTO " + p.table + " AS t (" + p.names(cols) + ")")
	for _, c := range cols {
		if c.identity {
			b.WriteString(" OVERRIDING SYSTEM VALUE")
			break
		}
	}
	b.WriteString(" SELECT " + apply.Join(cols, ", ", func(c *column) string { return "s." + c.name }) + " FROM " + from)
	return b.String()
}

// upsert inserts, and on the key's conflict sets all other columns, and those of
// the key in which the two may differ.
func (p *plan) upsert(cols []column, from string) string {
	sql := p.insert(cols, from)
	if len(p.key) == 0 {
		return sql
	}
	sql += " ON CONFLICT (" + p.names(p.keyColumns()) + ") DO "
	if set := settable(cols); len(set) > 0 {
		return sql + "UPDATE SET " + apply.Join(set, ", ", func(c *column) string { return c.name + " = EXCLUDED." + c.name })
	}
	return sql + "NOTHING"
}

func settable(cols []column) []column {
	var set []column
	for _, c := range cols {
		if (!c.key || c.alike) && !c.identity {
			set = append(set, c)
		}
	}
	return set
}

// merge sets the given columns of the rows that are there, and inserts those
// that are not: for rows with Unchanged values, whose columns are left out.
// An upsert would not do: PostgreSQL checks NOT NULL of the left-out columns
// before it looks for the conflict. The insert's NOT EXISTS sees the table as
// it was before the statement, as does the update.
func (p *plan) merge(cols []column, from string) string {
	match := apply.Join(p.keyColumns(), " AND ", (*column).equal)
	insert := p.insert(cols, "src s") + " WHERE NOT EXISTS (SELECT FROM " + p.table + " t WHERE " + match + ")"
	sql := "WITH src AS (SELECT * FROM " + from + ")"
	if set := settable(cols); len(set) > 0 {
		sql += ", upd AS (UPDATE " + p.table + " t SET " +
			apply.Join(set, ", ", func(c *column) string { return c.name + " = s." + c.name }) + " FROM src s WHERE " + match + ")"
	}
	return sql + " " + insert
}

// equal is the condition that t and s have the same there.
func (c *column) equal() string { return "t." + c.name + " = s." + c.name }

// remove deletes by key, to the letter: the row of a key that only looks alike is
// the same one under its new key, whose record came first from another partition.
func (p *plan) remove(from string) string {
	same := func(c *column) string {
		sql := c.equal()
		if c.alike {
			sql += " AND t." + c.name + `::text COLLATE "C" = s.` + c.name + "::text"
		}
		return sql
	}
	return "DELETE FROM " + p.table + " t USING " + from + " WHERE " + apply.Join(p.keyColumns(), " AND ", same)
}

// copyInto is COPY … FROM STDIN in the text format with its defaults.
func (p *plan) copyInto(table string, cols []column) string {
	return "COPY " + table + " (" + p.names(cols) + ") FROM STDIN"
}

// stageDDL makes the temp table with the target's column types, with
// modifiers and without constraints.
func (p *plan) stageDDL(name string) string {
	return "CREATE TEMP TABLE " + name + " AS SELECT " + p.names(p.cols) + " FROM " + p.table + " LIMIT 0"
}
