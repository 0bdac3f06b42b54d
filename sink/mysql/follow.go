package mysql

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cdc/replication"
	"cdc/sink"
)

// This file lets the target's columns follow the topic's: what was renamed, what
// has become wider, what may be NULL now.

// follow renames and widens columns where that is allowed, and reports whether
// it did.
func (w *Writer) follow(ctx context.Context, p *plan, catalog []described) (bool, error) {
	if !w.cfg.AlterColumns || p.shape.KeysOnly {
		return false, nil
	}
	var actions []string
	types := newBuilder(&w.server, p.shape)
	for i := range p.shape.Fields {
		f := &p.shape.Fields[i]
		want := types.sqlType(f)
		d := w.column(p, catalog, f.Name)
		if d == nil {
			if from := formerName(p.shape, f, catalog); from != "" {
				if err := w.noteRename(ctx, p, from, f.Name); err != nil {
					return false, err
				}
				actions = append(actions, "RENAME COLUMN "+quoteName(from)+" TO "+quoteName(f.Name))
			}
			continue
		}
		wider := widened(d.typ, want)
		if wider == "" || d.generated() {
			continue
		}
		def, err := w.definition(ctx, p, d)
		if err != nil {
			return false, err
		}
		actions = append(actions, "MODIFY "+quoteName(d.name)+" "+wider+def)
	}
	if len(actions) == 0 {
		return false, nil
	}
	done, err := w.change(ctx, p, strings.Join(actions, ", "))
	if err != nil || done || len(actions) == 1 {
		return done, err
	}
	for _, a := range actions { // one of them was not possible
		one, err := w.change(ctx, p, a)
		if err != nil {
			return false, err
		}
		done = done || one
	}
	return done, nil
}

// change alters the table and reports whether it did. What the server refuses
// (the column has an index, or a foreign key to it; a privilege is missing) is
// no obstacle: a row that does not fit is refused then.
func (w *Writer) change(ctx context.Context, p *plan, actions string) (bool, error) {
	ddl := "ALTER TABLE " + p.table + " " + actions
	_, err := w.exec(ctx, ddl)
	switch {
	case err == nil:
		w.log.Info("changed columns", "table", p.table, "statement", ddl)
		return true, nil
	case transient(err) || number(err) == 0:
		return false, fmt.Errorf("%s: %w", ddl, err)
	}
	w.log.Warn("columns of the target hold less than the topic's fields may have, and cannot be changed", "table", p.table, "topic", p.shape.Topic, "statement", ddl, "error", err)
	return false, nil
}

// formerName returns the column that a field without one had before it was
// renamed: no other field has it.
func formerName(s *sink.Shape, f *sink.Field, catalog []described) string {
	for _, alias := range f.Aliases {
		d := find(catalog, alias)
		if d != nil && !slices.ContainsFunc(s.Fields, func(g sink.Field) bool { return strings.EqualFold(g.Name, d.name) }) {
			return d.name
		}
	}
	return ""
}

// definition returns what stands behind a column's type in its table's
// definition: charset, NULL, default, comment. MODIFY forgets what it is not
// told again.
func (w *Writer) definition(ctx context.Context, p *plan, d *described) (string, error) {
	rows, err := w.query(ctx, "SHOW CREATE TABLE "+p.table)
	if err != nil {
		return "", fmt.Errorf("inspect table %s: %w", p.table, err)
	}
	start := "  " + quoteName(d.name) + " " + d.typ
	for line := range strings.SplitSeq(rows[0][1].text, "\n") {
		if rest, ok := strings.CutPrefix(line, start); ok && (rest == "" || rest[0] == ' ' || rest[0] == ',') {
			return strings.TrimSuffix(rest, ","), nil
		}
	}
	return "", &replication.Refusal{
		Problem: fmt.Sprintf("column %s of table %s is too narrow for topic %s, and its definition cannot be read", quoteName(d.name), p.table, p.shape.Topic),
		Remedy:  "make it wider by ALTER TABLE … MODIFY, or set alter_columns: false",
	}
}

// alter runs a statement on the target's table; when the target does not let it,
// why says what it was for.
func (w *Writer) alter(ctx context.Context, ddl, why string) error {
	_, err := w.exec(ctx, ddl)
	switch {
	case err == nil:
		return nil
	case transient(err) || number(err) == 0:
		return fmt.Errorf("%s: %w", ddl, err)
	}
	return &replication.Refusal{Problem: why + ", and the sink cannot change that", Remedy: ddl + " (with the right to); or alter_columns: false", Err: err}
}

// allowNull drops the NOT NULL of the column that err is about, and reports
// whether it did: the source has NULL there by now.
func (w *Writer) allowNull(ctx context.Context, err error) (bool, error) {
	e, ok := errors.AsType[*cellError](err)
	if !ok || !w.cfg.AlterColumns || !errors.Is(e.err, errNull) || e.plan == nil {
		return false, nil
	}
	i := slices.IndexFunc(e.plan.cols, func(c column) bool { return c.name == e.column })
	if i < 0 || e.plan.cols[i].key {
		return false, nil
	}
	if err := w.ready(ctx); err != nil {
		return false, err
	}
	c := &e.plan.cols[i]
	def, err := w.definition(ctx, e.plan, &described{name: unquoteName(c.name), typ: c.typ})
	if err != nil {
		return false, err
	}
	ddl := "ALTER TABLE " + e.plan.table + " MODIFY " + c.name + " " + c.typ + strings.Replace(def, " NOT NULL", " NULL", 1)
	if err := w.alter(ctx, ddl, "column "+c.name+" of table "+e.plan.table+" cannot be NULL, and topic "+e.plan.shape.Topic+" has NULL for it"); err != nil {
		return false, err
	}
	w.log.Info("dropped NOT NULL", "table", e.plan.table, "statement", ddl)
	return true, nil
}

// typeForm splits a type into its name, its numbers and whether it is unsigned.
var typeForm = regexp.MustCompile(`^([a-z]+)(?:\((\d+)(?:,(\d+))?\))?( unsigned)?`)

type sqlForm struct {
	name     string
	a, b     int
	unsigned bool
}

func parseForm(typ string) sqlForm {
	m := typeForm.FindStringSubmatch(typ)
	if m == nil {
		return sqlForm{}
	}
	f := sqlForm{name: m[1], unsigned: m[4] != ""}
	f.a, _ = strconv.Atoi(m[2])
	f.b, _ = strconv.Atoi(m[3])
	return f
}

// ranks order the types of a family by what they hold.
var (
	intRanks  = []string{"tinyint", "smallint", "mediumint", "int", "bigint"}
	textRanks = []string{"varchar", "tinytext", "text", "mediumtext", "longtext"}
	byteRanks = []string{"varbinary", "tinyblob", "blob", "mediumblob", "longblob"}
	realRanks = []string{"float", "double"}
)

// widened returns the type that holds all of the column's values and all of the
// field's, "" when the column does already, or when the two are of different
// families.
func widened(have, want string) string {
	h, n := parseForm(have), parseForm(want)
	for _, ranks := range [][]string{intRanks, textRanks, byteRanks, realRanks} {
		hr, nr := slices.Index(ranks, h.name), slices.Index(ranks, n.name)
		if hr < 0 || nr < 0 {
			continue
		}
		number := h.name != "varchar" && h.name != "varbinary"
		switch {
		case h.unsigned != n.unsigned && (n.unsigned || nr <= hr): // neither holds the other
			return ""
		case nr > hr && number:
			return sign(n)
		case nr > hr: // varchar to a text
			return ranks[len(ranks)-1]
		case nr == hr && !number && n.a > h.a:
			return fmt.Sprintf("%s(%d)", n.name, n.a)
		}
		return ""
	}
	switch {
	case n.name == "decimal" && h.name == "decimal":
		whole, scale := max(h.a-h.b, n.a-n.b), max(h.b, n.b)
		if wider := (sqlForm{name: "decimal", a: whole + scale, b: scale}); (wider.a != h.a || wider.b != h.b) && wider.a <= 65 && h.unsigned == n.unsigned {
			return fmt.Sprintf("decimal(%d,%d)", wider.a, wider.b)
		}
	case n.name == "decimal" && slices.Contains(intRanks, h.name) && n.a-n.b >= 20:
		return fmt.Sprintf("decimal(%d,%d)", n.a, n.b)
	case n.name == h.name && (h.name == "datetime" || h.name == "time" || h.name == "timestamp") && n.a > h.a:
		return fmt.Sprintf("%s(%d)", n.name, n.a)
	}
	return ""
}

func sign(f sqlForm) string {
	if f.unsigned {
		return f.name + " unsigned"
	}
	return f.name
}
