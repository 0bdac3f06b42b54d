package mysql

import "strings"

// plain returns of a statement of the log what its server ran, for those who look
// at its words. sql is as the session wrote it, but that the servers turn what
// they pass over in /*! … */ into a comment of the common kind.
func plain(sql string, mode sqlMode, flavor Flavor) string {
	if flavor == MariaDB {
		return behindSettings(sql, mode)
	}
	return withoutForeign(sql, mode)
}

// behindSettings returns the statement behind SET STATEMENT … FOR: MariaDB's
// documentation, "SET STATEMENT".
func behindSettings(sql string, mode sqlMode) string {
	s := statement{rest: sql}
	if s.keyword() != "SET" || s.keyword() != "STATEMENT" {
		return sql
	}
	for depth := 0; ; {
		s.skip()
		if s.rest == "" {
			return sql
		}
		switch c := s.rest[0]; c {
		case '\'', '"', '`':
			s.pass(c, mode)
			continue
		case '(':
			depth++
		case ')':
			depth--
		}
		if word, _ := s.word(); depth == 0 && strings.EqualFold(word, "FOR") {
			return s.rest
		}
	}
}

// pass passes over what stands in quotes.
func (s *statement) pass(quote byte, mode sqlMode) {
	s.quoted(quote, quote != '`' && !mode.noEscapes && !(quote == '"' && mode.ansiQuotes))
}

// withoutForeign takes out what stands in /*M! … */, which is a comment to MySQL
// and none to MariaDB.
func withoutForeign(sql string, mode sqlMode) string {
	if !strings.Contains(sql, "/*M!") {
		return sql
	}
	var b strings.Builder
	for s := (statement{rest: sql}); s.rest != ""; {
		before := s.rest
		switch r := s.rest; {
		case r[0] == '\'', r[0] == '"', r[0] == '`':
			s.pass(r[0], mode)
		case strings.HasPrefix(r, "/*!"):
			s.rest = r[3:]
		case strings.HasPrefix(r, "/*"), strings.HasPrefix(r, "#"), strings.HasPrefix(r, "-- "), strings.HasPrefix(r, "--\t"), strings.HasPrefix(r, "--\n"):
			end := "\n"
			if r[0] == '/' {
				end = "*/"
			}
			_, s.rest, _ = strings.Cut(r[2:], end)
			b.WriteByte(' ')
			continue
		default:
			s.rest = r[1:]
		}
		b.WriteString(before[:len(before)-len(s.rest)])
	}
	return b.String()
}
