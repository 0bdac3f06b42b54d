package mysql

import (
	"strings"

	"cdc/sink/apply"
)

// upsert returns what stands before and after the rows of an upsert of all
// columns. Without a key it is an insert.
func (p *plan) upsert(s *server) (before, after string) {
	before = p.insertInto(p.cols)
	if len(p.key) == 0 {
		return before, ""
	}
	fresh := func(name string) string { return "VALUES(" + name + ")" }
	var b strings.Builder
	if s.rowAlias() {
		b.WriteString(" AS cdc_new")
		fresh = func(name string) string { return "cdc_new." + name }
	}
	b.WriteString(" ON DUPLICATE KEY UPDATE ")
	sep := ""
	set := func(name, value string) {
		b.WriteString(sep + name + " = " + value)
		sep = ", "
	}
	if p.guard != "" {
		// The row that the conflict is with has another key: NULL in a column
		// that is NOT NULL makes the statement fail, and the rows are tried one
		// by one.
		same := apply.Join(p.keyColumns(), " AND ", func(c *column) string { return p.table + "." + c.name + " <=> " + fresh(c.name) })
		set(p.guard, "IF("+same+", "+p.table+"."+p.guard+", NULL)")
	}
	for i := range p.cols {
		if c := &p.cols[i]; !c.key {
			set(c.name, fresh(c.name))
		}
	}
	if sep == "" { // nothing but the key: leave the row as it is
		k := p.cols[p.key[0]].name
		set(k, p.table+"."+k)
	}
	return before, b.String()
}

// insertInto is what stands before the rows of an insert.
func (p *plan) insertInto(cols []column) string {
	return "INSERT INTO " + p.table + " (" + p.names(cols) + ") VALUES "
}
