package mysql

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cdc/replication"
)

// Check looks at what a sink into this database needs, and changes nothing.
func Check(ctx context.Context, cfg Config) []replication.Finding {
	found := func(level replication.Level, problem, remedy string) replication.Finding {
		return replication.Finding{Level: level, Subject: "sink: database", Problem: problem, Remedy: remedy}
	}
	w, err := newWriter(cfg)
	if err == nil {
		err = w.connect(ctx)
	}
	if err != nil {
		remedy := "start the server, or correct the sink's mysql url"
		if r, ok := errors.AsType[*replication.Refusal](err); ok {
			remedy, err = r.Remedy, fmt.Errorf("%s: %w", r.Problem, r.Err)
		}
		return []replication.Finding{found(replication.LevelError, err.Error(), remedy)}
	}
	defer w.Close(ctx)
	var grants [][]cell
	rows, err := w.query(ctx, "SELECT current_user(), (SELECT count(*) FROM information_schema.ENGINES WHERE ENGINE = 'InnoDB' AND SUPPORT IN ('YES', 'DEFAULT'))")
	if err == nil {
		grants, err = w.query(ctx, "SHOW GRANTS")
	}
	if err != nil {
		return []replication.Finding{found(replication.LevelError, "look at the sink's database: "+err.Error(), "")}
	}
	user := quoteUser(rows[0][0].text)
	list := []replication.Finding{found(replication.LevelOK, fmt.Sprintf("%s %s, connected as %s", w.server.family(), w.server.text, rows[0][0].text), "")}
	if w.server.readOnly {
		list = append(list, found(replication.LevelError, "the server is read-only (a replica?)", "use the primary's address"))
	}
	if rows[0][1].text == "0" {
		list = append(list, found(replication.LevelError, "the server has no InnoDB, the engine with transactions", "use a server with InnoDB"))
	}
	need := []string{"SELECT", "INSERT", "UPDATE", "DELETE"}
	if w.cfg.CreateTables {
		need = append(need, "CREATE")
	}
	if w.cfg.AddColumns || w.cfg.AlterColumns {
		need = append(need, "ALTER")
	}
	var lines []string
	for _, g := range grants {
		lines = append(lines, g[0].text)
	}
	if missing := lacking(need, lines, w.cfg.Schema); len(missing) > 0 {
		// Tables may have grants of their own, which say nothing about later ones.
		list = append(list, found(replication.LevelWarning, fmt.Sprintf("user %s may not %s in all of database %s", user, strings.Join(missing, ", "), quoteName(w.cfg.Schema)),
			fmt.Sprintf("GRANT %s ON %s.* TO %s", strings.Join(missing, ", "), quoteName(w.cfg.Schema), user)))
	}
	return list
}

// quoteUser turns name@host into 'name'@'host'.
func quoteUser(s string) string {
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return quoteText(s)
	}
	return quoteText(s[:i]) + "@" + quoteText(s[i+1:])
}

var grantForm = regexp.MustCompile("(?i)^GRANT (.+?) ON (?:TABLE )?(\\*|`(?:[^`]|``)*`)\\.\\* TO ")

// lacking returns the privileges that no line of SHOW GRANTS gives on the
// whole database.
func lacking(need, grants []string, database string) []string {
	return slices.DeleteFunc(slices.Clone(need), func(privilege string) bool {
		for _, g := range grants {
			m := grantForm.FindStringSubmatch(g)
			if m == nil || m[2] != "*" && !grantCovers(m[2], database) {
				continue
			}
			for p := range strings.SplitSeq(m[1], ",") {
				if p = strings.ToUpper(strings.TrimSpace(p)); p == privilege || p == "ALL PRIVILEGES" || p == "ALL" {
					return true
				}
			}
		}
		return false
	})
}

// grantCovers reports whether a grant's quoted database, a pattern of LIKE,
// matches the name.
func grantCovers(quoted, database string) bool {
	pattern := strings.ReplaceAll(quoted[1:len(quoted)-1], "``", "`")
	var re strings.Builder
	re.WriteString("(?s)^")
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\' && i+1 < len(pattern):
			i++
			re.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		case c == '%':
			re.WriteString(".*")
		case c == '_':
			re.WriteString(".")
		default:
			re.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	matched, err := regexp.MatchString(re.String()+"$", database)
	return err == nil && matched
}
