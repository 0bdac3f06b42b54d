package mysql

import (
	"strings"
)

// statement looks at the beginning of an SQL text, far enough to tell what may
// matter: it parses no DDL. MySQL manual, "Lexical Structure".
type statement struct{ rest string }

// word returns the next word in upper case, or a quoted name, or one character
// of another kind; "" at the end. Comments do not count, but what stands in
// /*! … */ does.
func (s *statement) word() (text string, quoted bool) {
	s.skip()
	r := s.rest
	if r == "" {
		return "", false
	}
	switch c := r[0]; {
	case c == '`' || c == '"':
		var b strings.Builder
		for i := 1; i < len(r); i++ {
			if r[i] == c {
				if i+1 < len(r) && r[i+1] == c {
					i++
				} else {
					s.rest = r[i+1:]
					return b.String(), true
				}
			}
			b.WriteByte(r[i])
		}
		s.rest = ""
		return b.String(), true
	case wordByte(c):
		n := 1
		for n < len(r) && wordByte(r[n]) {
			n++
		}
		s.rest = r[n:]
		return r[:n], false
	default:
		s.rest = r[1:]
		return r[:1], false
	}
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c >= 0x80
}

// skip passes over space and comments.
func (s *statement) skip() {
	for {
		r := strings.TrimLeft(s.rest, " \t\r\n\f\v")
		switch {
		case strings.HasPrefix(r, "/*!") || strings.HasPrefix(r, "/*M!"):
			r = strings.TrimLeft(strings.TrimPrefix(strings.TrimPrefix(r, "/*!"), "/*M!"), "0123456789")
		case strings.HasPrefix(r, "*/"):
			r = r[2:]
		case strings.HasPrefix(r, "/*"):
			_, after, _ := strings.Cut(r[2:], "*/")
			r = after
		case strings.HasPrefix(r, "#"), strings.HasPrefix(r, "-- "), strings.HasPrefix(r, "--\t"), strings.HasPrefix(r, "--\n"):
			_, after, _ := strings.Cut(r, "\n")
			r = after
		default:
			s.rest = r
			return
		}
		s.rest = r
	}
}

// keyword returns the next word in upper case.
func (s *statement) keyword() string {
	w, quoted := s.word()
	if quoted {
		return ""
	}
	return strings.ToUpper(w)
}

// accept passes over a word if it comes next.
func (s *statement) accept(word string) bool {
	before := s.rest
	if s.keyword() == word {
		return true
	}
	s.rest = before
	return false
}

// table reads [database.]name.
func (s *statement) table(database string) (schema, name string) {
	name, _ = s.word()
	before := s.rest
	if w, quoted := s.word(); w == "." && !quoted {
		second, _ := s.word()
		return name, second
	}
	s.rest = before
	return database, name
}

// statementKind is what a statement of the log means to a capture.
type statementKind uint8

const (
	otherStatement statementKind = iota
	beginStatement
	commitStatement
	rollbackStatement
	rollbackToStatement
	truncateStatement // schema and name say of what
	rowStatement      // it changes rows, and the log does not say which
	xaStartStatement
	xaPrepareStatement
	xaCommitStatement
	xaRollbackStatement
	xaStatement // the others of XA
	dropStatement
	alterRowsStatement // rows come or go without being in the log
	dropRowsStatement  // they only go
	renameStatement    // a table may have got another name
)

// classify says what a statement means. database is the session's.
func classify(sql, database string) (kind statementKind, schema, name string) {
	s := statement{rest: sql}
	switch first := s.keyword(); first {
	case "BEGIN":
		return beginStatement, "", ""
	case "COMMIT":
		return commitStatement, "", ""
	case "ROLLBACK":
		if s.accept("TO") {
			return rollbackToStatement, "", ""
		}
		return rollbackStatement, "", ""
	case "TRUNCATE":
		s.accept("TABLE")
		schema, name = s.table(database)
		return truncateStatement, schema, name
	case "DROP":
		if !s.accept("TABLE") {
			return otherStatement, "", ""
		}
		if s.accept("IF") {
			s.accept("EXISTS")
		}
		schema, name = s.table(database)
		return dropStatement, schema, name
	case "ALTER":
		for s.accept("ONLINE") || s.accept("IGNORE") {
		}
		if s.accept("TABLE") {
			if s.accept("IF") {
				s.accept("EXISTS")
			}
			schema, name = s.table(database)
			if kind := s.movesRows(); kind != otherStatement {
				return kind, schema, name
			}
			if mentions(s.rest, "RENAME") {
				return renameStatement, "", ""
			}
		}
		return otherStatement, "", ""
	case "RENAME":
		return renameStatement, "", ""
	case "ANALYZE": // MariaDB's runs what it explains
		if s.accept("FORMAT") {
			s.accept("=")
			s.keyword()
		}
		switch s.keyword() {
		case "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH":
			return rowStatement, "", ""
		}
		return otherStatement, "", ""
	case "INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "WITH", "CALL":
		return rowStatement, "", ""
	case "XA":
		switch s.keyword() {
		case "START", "BEGIN":
			return xaStartStatement, "", ""
		case "PREPARE":
			return xaPrepareStatement, "", ""
		case "COMMIT":
			return xaCommitStatement, "", ""
		case "ROLLBACK":
			return xaRollbackStatement, "", ""
		}
		return xaStatement, "", ""
	}
	return otherStatement, "", ""
}

// behindXA returns what stands behind the two words of an XA statement.
func behindXA(sql string) string {
	s := statement{rest: sql}
	s.word()
	s.word()
	return s.rest
}

// movesRows says whether the rest of an ALTER TABLE takes rows away or brings
// others with a partition or a tablespace. Such a clause stands alone, but for
// ALGORITHM, LOCK and WAIT: MySQL and MariaDB manuals, "ALTER TABLE".
func (s *statement) movesRows() statementKind {
	kind := func(moves bool, k statementKind) statementKind {
		if !moves {
			k = otherStatement
		}
		return k
	}
	for {
		switch w := s.keyword(); w {
		case "ALGORITHM", "LOCK":
			s.accept("=")
			s.keyword()
		case "WAIT":
			s.keyword()
		case ",", "NOWAIT":
		case "DROP", "TRUNCATE":
			return kind(s.accept("PARTITION"), dropRowsStatement)
		case "EXCHANGE":
			return kind(s.accept("PARTITION"), alterRowsStatement)
		case "CONVERT":
			return kind(s.accept("PARTITION") || s.accept("TABLE"), alterRowsStatement)
		case "DISCARD":
			return kind(s.accept("PARTITION") || s.accept("TABLESPACE"), dropRowsStatement)
		case "IMPORT":
			return kind(s.accept("PARTITION") || s.accept("TABLESPACE"), alterRowsStatement)
		default:
			return otherStatement
		}
	}
}

// otherTable returns the second table of an ALTER TABLE that exchanges or
// converts partitions; "" when there is none.
func otherTable(sql, database string) (schema, name string) {
	s := statement{rest: sql}
	for n := 0; ; {
		w, quoted := s.word()
		switch {
		case w == "" && !quoted:
			return "", ""
		case !quoted && strings.EqualFold(w, "TABLE"):
			if n++; n == 2 {
				return s.table(database)
			}
		}
	}
}

// mentions reports whether a name stands in a statement as a word of its own.
func mentions(sql, name string) bool {
	for at := 0; ; {
		i := indexFold(sql[at:], name)
		if i < 0 {
			return false
		}
		from, to := at+i, at+i+len(name)
		if (from == 0 || !wordByte(sql[from-1])) && (to == len(sql) || !wordByte(sql[to])) {
			return true
		}
		at = from + 1
	}
}

// indexFold is strings.Index without regard to the case of ASCII letters.
func indexFold(s, sub string) int {
	for i := 0; i+len(sub) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(sub)], sub) {
			return i
		}
	}
	return -1
}
