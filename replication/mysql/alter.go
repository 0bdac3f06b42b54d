package mysql

import "strings"

// alteration is what an ALTER TABLE does to the names of a table and of its
// columns: MySQL and MariaDB manuals, "ALTER TABLE".
type alteration struct {
	schema, name string
	columns      []columnChange
}

// columnChange is one column that is added, dropped or called otherwise.
type columnChange struct {
	from, to string // "" is none: the column is added, or dropped
	// perhaps: IF EXISTS or IF NOT EXISTS stands with it, so that it may have
	// changed nothing.
	perhaps bool
	value   rowValue // that rows from before have in an added column
}

// rowValue is what an added column has in the rows that were there before.
type rowValue struct {
	kind valueKind
	text string // of valueUnknown the expression
}

type valueKind byte

const (
	valueNull     valueKind = 0
	valueNumber   valueKind = 'n' // text is a number
	valueText     valueKind = 's' // in UTF-8
	valueBytes    valueKind = 'x' // text holds them, big-endian where they stand for a number
	valueImplicit valueKind = '0' // the one that NOT NULL means without a default
	valueUnknown  valueKind = '?' // the server computed it, perhaps for each row
)

// parseAlter reads an ALTER TABLE; ok is false for any other statement.
func parseAlter(list []token, database string) (a alteration, ok bool) {
	p := parser{list}
	if !p.accept("ALTER") {
		return a, false
	}
	for p.accept("ONLINE") || p.accept("IGNORE") {
	}
	if !p.accept("TABLE") {
		return a, false
	}
	if p.accept("IF") {
		p.accept("EXISTS")
	}
	if a.schema, a.name = p.table(database); a.name == "" {
		return a, false
	}
	p.wait()
	for len(p.list) > 0 {
		clause := parser{p.upToComma()}
		a.clause(&clause)
	}
	return a, true
}

func (a *alteration) clause(p *parser) {
	switch {
	case p.accept("ADD"):
		column := p.accept("COLUMN")
		perhaps := p.ifExists()
		if p.accept("(") {
			for inner := (parser{p.upToClosing()}); len(inner.list) > 0; {
				def := parser{inner.upToComma()}
				a.add(&def, false, perhaps)
			}
			return
		}
		a.add(p, column, perhaps)
	case p.accept("CHANGE"):
		p.accept("COLUMN")
		perhaps := p.ifExists()
		a.rename(p.identifier(), p.identifier(), perhaps)
	case p.accept("RENAME"):
		if p.accept("COLUMN") {
			perhaps := p.ifExists()
			from := p.identifier()
			p.accept("TO")
			a.rename(from, p.identifier(), perhaps)
		}
	case p.accept("DROP"):
		if !p.accept("COLUMN") && p.notColumn() {
			return
		}
		perhaps := p.ifExists()
		if name := p.identifier(); name != "" {
			a.columns = append(a.columns, columnChange{from: name, perhaps: perhaps})
		}
	}
}

func (a *alteration) rename(from, to string, perhaps bool) {
	if from != "" && to != "" && from != to {
		a.columns = append(a.columns, columnChange{from: from, to: to, perhaps: perhaps})
	}
}

// add reads the definition of a column, unless it is that of something else.
func (a *alteration) add(p *parser, column, perhaps bool) {
	if !column && p.notColumn() {
		return
	}
	name := p.identifier()
	if name == "" {
		return
	}
	a.columns = append(a.columns, columnChange{to: name, perhaps: perhaps, value: p.existing()})
}

// parser reads tokens.
type parser struct{ list []token }

func (p *parser) peek() token {
	if len(p.list) == 0 {
		return token{}
	}
	return p.list[0]
}

func (p *parser) next() token {
	t := p.peek()
	p.list = p.list[min(1, len(p.list)):]
	return t
}

// accept passes over a keyword or symbol if it comes next.
func (p *parser) accept(word string) bool {
	if !p.peek().is(word) {
		return false
	}
	p.next()
	return true
}

// identifier reads a name; "" when none comes.
func (p *parser) identifier() string {
	if t := p.next(); t.name() {
		return t.text
	}
	return ""
}

// table reads [database.]name.
func (p *parser) table(database string) (schema, name string) {
	name = p.identifier()
	if p.accept(".") {
		return name, p.identifier()
	}
	return database, name
}

// wait passes over MariaDB's WAIT n and NOWAIT.
func (p *parser) wait() {
	if p.accept("WAIT") {
		p.next()
	} else {
		p.accept("NOWAIT")
	}
}

// ifExists passes over IF [NOT] EXISTS and reports whether it stood there.
func (p *parser) ifExists() bool {
	if len(p.list) < 2 || !p.list[0].is("IF") || !p.list[1].is("NOT", "EXISTS") {
		return false
	}
	p.next()
	p.accept("NOT")
	p.accept("EXISTS")
	return true
}

// notColumn reports whether what is added or dropped is no column, though COLUMN
// does not have to stand before one.
func (p *parser) notColumn() bool {
	first, second := p.peek(), token{}
	if len(p.list) > 1 {
		second = p.list[1]
	}
	switch {
	case first.kind != tokenWord:
		return false
	case first.is("INDEX", "KEY", "UNIQUE", "FULLTEXT", "SPATIAL", "PRIMARY", "CONSTRAINT", "FOREIGN", "CHECK", "PARTITION"):
		return true
	case first.is("VECTOR"):
		return second.is("INDEX", "KEY")
	case first.is("PERIOD"):
		return second.is("FOR")
	case first.is("SYSTEM"):
		return second.is("VERSIONING")
	}
	return false
}

// upToComma takes the tokens before the next comma outside of parentheses, and
// passes over it.
func (p *parser) upToComma() []token {
	return p.upTo(func(t token, depth int) bool { return t.is(",") && depth <= 0 })
}

// upToClosing takes the tokens before the parenthesis that closes an open one,
// and passes over it.
func (p *parser) upToClosing() []token {
	return p.upTo(func(t token, depth int) bool { return t.is(")") && depth < 0 })
}

// upTo takes the tokens before the first one that ends them, or all, and passes
// over it. depth is how many parentheses are open behind it.
func (p *parser) upTo(end func(t token, depth int) bool) []token {
	depth := 0
	for i, t := range p.list {
		switch {
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		}
		if end(t, depth) {
			taken := p.list[:i]
			p.list = p.list[i+1:]
			return taken
		}
	}
	taken := p.list
	p.list = nil
	return taken
}

// existing reads what stands behind the name of an added column: the value that
// the rows from before get.
func (p *parser) existing() rowValue {
	value, notNull := rowValue{}, false
	for len(p.list) > 0 {
		t := p.next()
		switch {
		case t.is("("):
			p.upToClosing() // of the type, of a check
		case t.is("COLUMN_FORMAT", "STORAGE", "AFTER"), t.is("SET") && p.peek().is("DEFAULT"): // what follows is no part of the value
			p.next()
		case t.is("AUTO_INCREMENT", "SERIAL"):
			return rowValue{valueUnknown, "AUTO_INCREMENT"}
		case t.is("GENERATED"), t.is("AS") && p.peek().is("("):
			return rowValue{valueUnknown, "a generated column"}
		case t.is("NOT") && p.peek().is("NULL"):
			notNull = true
		case t.is("DEFAULT"):
			value = p.literal()
			if value.kind == valueNull {
				continue
			}
			notNull = false
		}
	}
	if notNull && value.kind == valueNull {
		return rowValue{kind: valueImplicit}
	}
	return value
}

// literal reads the expression of a default.
func (p *parser) literal() rowValue {
	before := p.list
	value, ok := p.constant()
	if next := p.peek(); ok && (next.kind == tokenSymbol && !next.is(")", ";") || next.is("DIV", "MOD", "AND", "OR", "XOR", "IS", "IN", "LIKE", "BETWEEN", "REGEXP", "RLIKE")) {
		ok = false
	}
	if ok {
		return value
	}
	return rowValue{valueUnknown, printed(before)}
}

// constant reads one constant, which may stand in parentheses.
func (p *parser) constant() (rowValue, bool) {
	t := p.next()
	switch {
	case t.is("("):
		inner := parser{p.upToClosing()}
		value, ok := inner.constant()
		return value, ok && len(inner.list) == 0
	case t.is("NULL"):
		return rowValue{}, true
	case t.is("TRUE"):
		return rowValue{valueNumber, "1"}, true
	case t.is("FALSE"):
		return rowValue{valueNumber, "0"}, true
	case t.is("-"), t.is("+"):
		sign := strings.TrimPrefix(t.text, "+")
		t = p.next()
		return rowValue{valueNumber, sign + t.text}, t.kind == tokenNumber
	case t.kind == tokenNumber:
		return rowValue{valueNumber, t.text}, true
	case t.kind == tokenString:
		return rowValue{valueText, t.text}, true
	case t.kind == tokenBytes:
		return rowValue{valueBytes, t.text}, true
	case t.is("DATE", "TIME", "TIMESTAMP") && p.peek().kind == tokenString:
		return rowValue{valueText, p.next().text}, true
	case t.is("JSON_ARRAY", "JSON_OBJECT") && len(p.list) >= 2 && p.list[0].is("(") && p.list[1].is(")"):
		p.list = p.list[2:]
		if t.is("JSON_ARRAY") {
			return rowValue{valueText, "[]"}, true
		}
		return rowValue{valueText, "{}"}, true
	}
	return rowValue{}, false
}

// printed renders the begin of an expression for a message.
func printed(list []token) string {
	var b strings.Builder
	for i, t := range list {
		if i == 8 {
			b.WriteString(" …")
			break
		}
		if i > 0 && !t.is("(", ")", ".", ",") && !list[i-1].is("(", ".") {
			b.WriteByte(' ')
		}
		if t.kind == tokenString {
			b.WriteString(quoteLiteral(t.text))
			continue
		}
		b.WriteString(t.text)
	}
	return clip(b.String(), 80)
}

// tableRename is one pair of a RENAME TABLE, or of an ALTER TABLE … RENAME.
type tableRename struct{ from, to [2]string } // database and name

// parseRenames reads the tables that a statement gives other names, in its order.
func parseRenames(list []token, database string) (pairs []tableRename) {
	p := parser{list}
	one := func() (t [2]string) {
		t[0], t[1] = p.table(database)
		return t
	}
	switch {
	case p.accept("RENAME"):
		if !p.accept("TABLE") && !p.accept("TABLES") {
			return nil
		}
		p.ifExists()
		for {
			pair := tableRename{from: one()}
			p.wait()
			if !p.accept("TO") {
				return pairs
			}
			pair.to = one()
			pairs = append(pairs, pair)
			if !p.accept(",") {
				return pairs
			}
		}
	case p.peek().is("ALTER"):
		for len(p.list) > 0 && !p.next().is("TABLE") {
		}
		p.ifExists()
		from := one()
		p.wait()
		for len(p.list) > 0 {
			clause := parser{p.upToComma()}
			if !clause.accept("RENAME") || clause.peek().is("COLUMN", "INDEX", "KEY", "PARTITION") {
				continue
			}
			if !clause.accept("TO") && !clause.accept("AS") {
				clause.accept("=")
			}
			if schema, name := clause.table(database); name != "" {
				pairs = append(pairs, tableRename{from, [2]string{schema, name}})
			}
		}
	}
	return pairs
}
