package mysql

import (
	"context"
	"fmt"
	"strings"
)

// This file follows the statements of the log that change tables: what they do to
// names.

// definition is a statement that defines something.
type definition struct {
	text, database string
	tokens         []token
}

// defines returns a statement taken apart if it may define a table; nil for any
// other one.
func defines(sql, database string, mode sqlMode) *definition {
	first := statement{rest: sql[:min(len(sql), 4<<10)]}
	switch first.keyword() {
	case "ALTER", "CREATE", "DROP", "RENAME":
		return &definition{text: sql, database: database, tokens: tokenize(sql, mode)}
	}
	return nil
}

// fills returns the table that a statement makes with the rows of a query, which
// are not in the log then; "" for any other one. Where rows are logged, the log
// has the statement without its query.
func (d *definition) fills() (schema, name string) {
	p := parser{d.tokens}
	if !p.accept("CREATE") {
		return "", ""
	}
	if p.accept("OR") {
		p.accept("REPLACE")
	}
	if !p.accept("TABLE") { // TEMPORARY, VIEW
		return "", ""
	}
	p.ifExists()
	schema, name = p.table(d.database)
	for len(p.list) > 0 {
		if t := p.next(); t.is("SELECT", "TABLE") || t.is("VALUES") && p.peek().is("ROW") {
			return schema, name
		}
	}
	return "", ""
}

// inUTF8 returns the text of a statement, which is in the character set of the
// session that ran it. What cannot be read stays as it is.
func (r *reader) inUTF8(ctx context.Context, text []byte, v statusVars) (sql string, err error) {
	if ascii(text) || v.charset == 0 {
		return string(text), nil
	}
	err = r.aside(func() error {
		ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
		defer cancel()
		r.shapes.mu.Lock()
		defer r.shapes.mu.Unlock()
		cs, err := r.shapes.charsets.collation(ctx, v.charset)
		if err != nil {
			return err
		}
		sql = string(text)
		if utf8, _, ok := cs.decode(text, nil); ok {
			sql = string(utf8)
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("read a statement: %w", err)
	}
	return sql, nil
}

// statusVars are the variables that a statement ran with: MySQL source,
// "Query_event". Only those that matter here, which come early.
type statusVars struct {
	mode    sqlMode
	charset uint64 // the id of a collation of the client's character set; 0 is not known
}

func readStatusVars(b []byte) (v statusVars) {
	const (
		flags2, mode, catalog, increment, charset, catalogNZ = 0, 1, 2, 3, 4, 6
		modeAnsiQuotes, modeNoEscapes                        = 4, 1 << 20
	)
	for c := (cursor{B: b}); len(c.B) > 0 && c.Err == nil; {
		switch c.U8() {
		case flags2:
			c.LE32()
		case mode:
			m := c.LE64()
			v.mode = sqlMode{ansiQuotes: m&modeAnsiQuotes != 0, noEscapes: m&modeNoEscapes != 0}
		case catalog:
			c.Bytes(uint64(c.U8()) + 1)
		case increment:
			c.LE32()
		case charset:
			v.charset = uint64(c.LE16())
			c.LE32()
		case catalogNZ:
			c.Bytes(uint64(c.U8()))
		default:
			return v
		}
	}
	return v
}

// same reports whether a statement's table is a configured one.
func (r *reader) same(t *TableConfig, name [2]string) bool {
	if t.Schema == name[0] && t.Name == name[1] {
		return true
	}
	return r.fold && strings.EqualFold(t.Schema, name[0]) && strings.EqualFold(t.Name, name[1])
}

// renamed looks where renames leave the captured tables. One whose name nobody
// has afterwards is refused: what is written to it from there on would go unseen.
func (r *reader) renamed(d *definition) error {
	pairs := parseRenames(d.tokens, d.database)
	for i := range r.cfg.Tables {
		t := &r.cfg.Tables[i]
		if r.marks.skip(tableKey(t.Schema, t.Name), &r.tx.id) {
			continue
		}
		now, there := [2]string{t.Schema, t.Name}, true
		for _, p := range pairs {
			if r.same(t, p.from) {
				there = false
			}
			if r.same(t, p.to) {
				there = true
			}
			if p.from == now || r.same(t, p.from) && r.same(t, now) {
				now = p.to
			}
		}
		switch {
		case r.same(t, now):
		case there:
			r.cfg.Logger.Warn("a captured table was renamed, and another one to its name, which is captured from here on; what that held already is taken to be the same",
				"table", t.String(), "statement", clip(d.text, 200))
		case r.configured(now[0], now[1]) != nil:
			r.cfg.Logger.Warn("a captured table was renamed; it is captured under the other name", "table", t.String(), "to", now[0]+"."+now[1])
		case r.cfg.OnRename == OnRenameWarn:
			r.cfg.Logger.Warn("a captured table was renamed; what is written to it under the other name is not captured, as on_rename says",
				"table", t.String(), "to", now[0]+"."+now[1], "statement", clip(d.text, 200))
		default:
			return refuse(fmt.Sprintf("table %s was renamed to %s.%s, which is not captured: what is written to it from there on would not be published: %s", t, now[0], now[1], clip(d.text, 200)),
				fmt.Sprintf("name it %s.%s in the configuration, which reads it anew; or, if it has its name back by now or need not be captured, set on_rename: warn: what was written to it under the other name is missing then", now[0], now[1]), nil)
		}
	}
	return nil
}

// follow notes what a statement means to the columns of tables. It comes last:
// what is noted holds from the transaction's end on.
func (r *reader) follow(d *definition) {
	r.shapes.mu.Lock()
	defer r.shapes.mu.Unlock()
	h := r.shapes.histories
	p := parser{d.tokens}
	switch {
	case p.accept("CREATE"):
		r.created(h, &p, d.database)
	case p.accept("DROP"):
		if !p.accept("TABLE") && !p.accept("TABLES") {
			break
		}
		for p.ifExists(); len(p.list) > 0; p.accept(",") {
			schema, name := p.table(d.database)
			if name == "" {
				break
			}
			table, captured := r.knows(schema, name)
			if captured && table != "" {
				r.cfg.Logger.Warn("a captured table was dropped; one made anew under its name is captured from then on", "table", schema+"."+name)
			}
			delete(h, table)
			delete(r.shapes.seen, table)
		}
	default:
		if a, ok := parseAlter(d.tokens, d.database); ok {
			if table, captured := r.knows(a.schema, a.name); table != "" && (captured || h[table] != nil) {
				a.columns = r.shapes.seen[table].alter(a.columns)
				h.of(table).alter(a.columns)
				r.warnAdded(&a)
			}
		}
		r.moved(h, parseRenames(d.tokens, d.database))
	}
	r.marks.remember(h.text())
}

// settle notes that rows have been handed out that have the columns added: whoever
// has these rows safe knows of the columns.
func (r *reader) settle(tables []string) {
	r.shapes.mu.Lock()
	defer r.shapes.mu.Unlock()
	for _, table := range tables {
		if h := r.shapes.histories[table]; h != nil {
			h.settled = true
		}
	}
	r.marks.remember(r.shapes.histories.text())
}

// knows returns the key of a table's history, and whether the table is captured;
// "" when the statement is older than the table's snapshot.
func (r *reader) knows(schema, name string) (table string, captured bool) {
	t := r.configured(schema, name)
	if t == nil {
		return tableKey(schema, name), false
	}
	if table = tableKey(t.Schema, t.Name); r.marks.skip(table, &r.tx.id) {
		return "", true
	}
	return table, true
}

// maxShadows bounds the tables that are not captured and that have a history.
const maxShadows = 64

// created follows CREATE TABLE. A table that is made beside a captured one, with
// its name in its own, may be about to take its place, as those of gh-ost and
// pt-online-schema-change.
func (r *reader) created(h histories, p *parser, database string) {
	if p.accept("OR") {
		p.accept("REPLACE")
	}
	if !p.accept("TABLE") {
		return
	}
	perhaps := p.ifExists()
	schema, name := p.table(database)
	table, captured := r.knows(schema, name)
	if table == "" || perhaps && h[table] != nil {
		return
	}
	delete(h, table)
	delete(r.shapes.seen, table)
	if captured {
		return
	}
	shadows := 0
	for _, c := range h {
		if c.Shadow {
			shadows++
		}
	}
	for i := range r.cfg.Tables {
		if t := &r.cfg.Tables[i]; t.Schema == schema && strings.Contains(name, t.Name) && shadows < maxShadows {
			h[table] = &columnHistory{Shadow: true}
		}
	}
}

// moved lets histories go with their tables.
func (r *reader) moved(h histories, pairs []tableRename) {
	if len(pairs) == 0 {
		return
	}
	before := h.clone()
	for _, p := range pairs {
		from, _ := r.knows(p.from[0], p.from[1])
		to, captured := r.knows(p.to[0], p.to[1])
		if from == "" || to == "" {
			continue
		}
		comes := h[from]
		delete(h, from)
		delete(r.shapes.seen, from)
		delete(r.shapes.seen, to)
		switch {
		case comes == nil && captured && before[to] != nil:
			h[to] = before[to].clone() // of a table that nothing is known of
		case comes == nil:
			delete(h, to)
		case captured && comes.Shadow:
			h[to] = before[to].replacedBy(comes)
		default:
			h[to] = comes
		}
	}
}

// warnAdded says of which added columns rows from before have what nobody can
// know here.
func (r *reader) warnAdded(a *alteration) {
	for _, c := range a.columns {
		if c.value.kind == valueUnknown {
			r.shapes.warnAdded(a.schema+"."+a.name, c.to, c.value)
		}
	}
}
