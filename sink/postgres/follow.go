package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"cdc/replication"
	"cdc/sink"
)

// This file lets the target's columns follow the topic's: what was renamed, what
// has become wider, what may be NULL now.

// rename gives columns of fields that were renamed their new names, and reports
// whether it did. A field without a column, one of whose former names is a column
// that no field has, was renamed.
func (w *Writer) rename(ctx context.Context, p *plan, target map[string][][]byte) (bool, error) {
	if !w.cfg.AlterColumns || p.shape.KeysOnly {
		return false, nil
	}
	done := false
	for _, f := range p.shape.Fields {
		if target[f.Name] != nil {
			continue
		}
		i := slices.IndexFunc(f.Aliases, func(name string) bool { return target[name] != nil && !p.has(name) })
		if i < 0 {
			continue
		}
		from, to := f.Aliases[i], replication.QuoteIdentifier(f.Name)
		ddl := fmt.Sprintf("ALTER TABLE %s RENAME COLUMN %s TO %s; COMMENT ON COLUMN %s.%s IS %s", p.table, replication.QuoteIdentifier(from), to,
			p.table, to, replication.QuoteLiteral(noteFormer(string(target[from][6]), from)))
		if err := w.alter(ctx, ddl, fmt.Sprintf("column %q of table %s was renamed to %q in the source of topic %s", f.Aliases[i], p.table, f.Name, p.shape.Topic)); err != nil {
			return false, err
		}
		w.log.Info("renamed column", "table", p.table, "from", f.Aliases[i], "to", f.Name)
		w.renamed.Note(p.table, f.Aliases[i], f.Name)
		delete(target, f.Aliases[i])
		done = true
	}
	return done, nil
}

func (p *plan) has(field string) bool {
	return slices.ContainsFunc(p.shape.Fields, func(f sink.Field) bool { return f.Name == field })
}

// formerMark begins the last line of a renamed column's comment: it and a JSON
// array of the names that the column had before, the newest first.
const formerMark = "cdc: formerly "

// formerNames returns the names before that a column's comment tells.
func formerNames(comment string) (names []string) {
	at := strings.LastIndex("\n"+comment, "\n"+formerMark)
	if at < 0 || json.Unmarshal([]byte(comment[at+len(formerMark):]), &names) != nil {
		return nil // it is somebody's own text
	}
	return names
}

// noteFormer returns the comment of a column that had the name from.
func noteFormer(comment, from string) string {
	names := formerNames(comment)
	if names != nil {
		comment = strings.TrimSuffix(comment[:strings.LastIndex("\n"+comment, "\n"+formerMark)], "\n")
	}
	if comment != "" {
		comment += "\n"
	}
	list, _ := json.Marshal(append([]string{from}, names...)) // never fails
	return comment + formerMark + string(list)
}

// columnName is the column of a field: of its name, unless that column was
// renamed since, by a newer version of the topic. What another Writer has
// renamed, or this one before a restart, the columns' comments tell.
func (w *Writer) columnName(p *plan, field string, target map[string][][]byte) string {
	name := w.renamed.Latest(p.table, field, func(name string) bool { return target[name] != nil }, p.has)
	if target[name] != nil {
		return name
	}
	for _, to := range slices.Sorted(maps.Keys(target)) {
		if !p.has(to) && slices.Contains(formerNames(string(target[to][6])), field) {
			return to
		}
	}
	return field
}

// widen makes columns that cannot hold every value of their field wider, where
// that is allowed, and reports whether it did. Where it is not, p.hints says what
// to run, for the row that does not fit.
func (w *Writer) widen(ctx context.Context, p *plan, target map[string][][]byte) (bool, error) {
	if p.shape.KeysOnly {
		return false, nil
	}
	var actions, cut []string
	for _, f := range p.shape.Fields {
		name := w.columnName(p, f.Name, target)
		c := target[name]
		if c == nil || string(c[3]) == "t" { // GENERATED … STORED computes itself
			continue
		}
		have, want := string(c[5]), w.types.sqlType(f.Column)
		action := "ALTER COLUMN " + replication.QuoteIdentifier(name) + " TYPE "
		switch r := relate(have, want); {
		case r.wider != "" && w.cfg.AlterColumns:
			actions = append(actions, action+r.wider)
		case r.wider != "":
			p.hints = append(p.hints, action+r.wider)
			if r.cuts {
				cut = append(cut, action+r.wider)
			}
		case !r.related && !w.planned[p.shape] && have == w.was(p, f.Name):
			retyped, err := w.retype(p, name, have, want)
			if err != nil {
				return false, err
			}
			actions = append(actions, retyped)
		case !r.related:
			p.hints = append(p.hints, action+want+" USING "+replication.QuoteIdentifier(name)+"::"+want)
		}
	}
	if len(cut) > 0 {
		w.log.Warn("columns of the target keep less than the topic's fields have: digits, or the time of day, are cut",
			"table", p.table, "topic", p.shape.Topic, "remedy", "ALTER TABLE "+p.table+" "+strings.Join(cut, ", "))
	}
	if len(actions) == 0 {
		return false, nil
	}
	ddl := "ALTER TABLE " + p.table + " " + strings.Join(actions, ", ")
	if err := w.alter(ctx, ddl, fmt.Sprintf("columns of table %s cannot hold what topic %s has", p.table, p.shape.Topic)); err != nil {
		return false, err
	}
	w.log.Info("changed types of columns", "table", p.table, "statement", ddl)
	return true, nil
}

// was is the type that the field had in the table's last version seen here, ""
// when there was none.
func (w *Writer) was(p *plan, field string) string {
	last := w.last[p.table]
	if last == nil || last.Topic != p.shape.Topic {
		return ""
	}
	if i := slices.IndexFunc(last.Fields, func(f sink.Field) bool { return f.Name == field }); i >= 0 {
		return w.types.sqlType(last.Fields[i].Column)
	}
	return ""
}

// retype is the action for a column whose type in the source was replaced by one
// of another family while the sink looked on. Any type has a text; all others
// need the expression that was used in the source.
func (w *Writer) retype(p *plan, column, have, want string) (string, error) {
	action := "ALTER COLUMN " + replication.QuoteIdentifier(column) + " TYPE "
	if t, ok := parseType(want); ok && !t.array && isCharacters(t.base) && w.cfg.AlterColumns {
		return action + "text", nil
	}
	return "", &replication.Refusal{
		Problem: fmt.Sprintf("column %q of table %s is %s, and in the source of topic %s it has become %s", column, p.table, have, p.shape.Topic, want),
		Remedy: fmt.Sprintf("ALTER TABLE %s %s%s USING %s::%s (or the USING of the source's own statement)",
			p.table, action, want, replication.QuoteIdentifier(column), want),
	}
}

// alter runs a statement on the target's table; when the target does not let it,
// why says what it was for.
func (w *Writer) alter(ctx context.Context, ddl, why string) error {
	err := w.exec(ctx, ddl)
	switch {
	case err == nil:
		return nil
	case transient(err) || sqlState(err) == "":
		return fmt.Errorf("%s: %w", ddl, err)
	}
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok && pe.Detail != "" {
		err = fmt.Errorf("%w: %s", err, pe.Detail)
	}
	return &replication.Refusal{
		Problem: why + ", and the sink cannot change that",
		Remedy:  "run as the table's owner, after dropping what depends on the column: " + ddl + "; or alter_columns: false",
		Err:     err,
	}
}

// allowNull drops the NOT NULL of the column that err is about, and reports
// whether it did: the source has NULL there by now, or a record leaves the
// column out.
func (w *Writer) allowNull(ctx context.Context, err error, tables []sink.Rows) (bool, error) {
	if err == nil || !w.cfg.AlterColumns {
		return false, nil
	}
	p, ddl := w.notNull(err, tables)
	if rows, ok := errors.AsType[sink.RowErrors](err); ok {
		for i := 0; p == nil && i < len(rows); i++ {
			p, ddl = w.notNull(rows[i], tables)
		}
	}
	if p == nil {
		return false, nil
	}
	if err := w.ready(ctx); err != nil {
		return false, err
	}
	if err := w.alter(ctx, ddl, "a column of table "+p.table+" cannot be NULL, and topic "+p.shape.Topic+" has NULL for it"); err != nil {
		return false, err
	}
	w.log.Info("dropped NOT NULL", "table", p.table, "statement", ddl)
	return true, nil
}

// notNull returns the plan of the table that refuses a NULL outside its key, and
// the statement that makes it take it.
func (w *Writer) notNull(err error, tables []sink.Rows) (*plan, string) {
	pe, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || pe.Code != notNullViolation || pe.ColumnName == "" {
		return nil, ""
	}
	for i := range tables {
		p := w.plans[tables[i].Shape]
		if p == nil || p.table != tableName(pe.SchemaName, pe.TableName) {
			continue
		}
		quoted := replication.QuoteIdentifier(pe.ColumnName)
		if slices.ContainsFunc(p.cols, func(c column) bool { return c.name == quoted && !c.key }) {
			return p, fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL", p.table, quoted)
		}
	}
	return nil, ""
}

// hint adds to the error of a row what would let the target take it.
func (l *loader) hint(err error) error {
	if _, ddl := l.w.notNull(err, []sink.Rows{*l.rows}); ddl != "" {
		return fmt.Errorf("%w; to let the target take it: %s, or alter_columns: true", err, ddl)
	}
	if noLabel(err) {
		return fmt.Errorf("%w; to let the target take it: ALTER TYPE … ADD VALUE …, or alter_columns: true", err)
	}
	if code := sqlState(err); len(l.p.hints) > 0 && len(code) == 5 && code[:2] == "22" {
		return fmt.Errorf("%w; columns of the target are not of the types that the topic has: ALTER TABLE %s %s", err, l.p.table, strings.Join(l.p.hints, ", "))
	}
	return err
}
