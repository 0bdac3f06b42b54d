package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"cdc/replication"
	"cdc/sink"
)

// noLabel reports whether a row has a label that an enum of the target lacks:
// PostgreSQL tells it by the function alone.
func noLabel(err error) bool {
	pe, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pe.Code == invalidText && pe.Routine == "enum_in"
}

const invalidText = "22P02" // invalid_text_representation

// enumSQL lists the labels of the enums that a table's columns are of, or have
// as elements, or are domains over.
const enumSQL = `SELECT a.attname, format_type(a.atttypid, a.atttypmod), format_type(e.oid, -1), l.enumlabel
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type e ON e.typtype = 'e' AND e.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype WHEN t.typcategory = 'A' THEN t.typelem ELSE t.oid END
LEFT JOIN pg_enum l ON l.enumtypid = e.oid
WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped`

// addLabels gives enums of the target the labels that err is about, where the
// source's column has the type of the same name, and reports whether it did: the
// source's enum has got them meanwhile. They come last in the enum's order.
func (w *Writer) addLabels(ctx context.Context, err error, tables []sink.Rows) (bool, error) {
	missing := noLabel(err)
	if rows, ok := errors.AsType[sink.RowErrors](err); ok {
		missing = slices.ContainsFunc(rows, func(r *sink.RowError) bool { return noLabel(r) })
	}
	if !missing || !w.cfg.AlterColumns {
		return false, nil
	}
	if err := w.ready(ctx); err != nil {
		return false, err
	}
	done := false
	for i := range tables {
		p := w.plans[tables[i].Shape]
		if p == nil {
			continue
		}
		labels, err := w.query(ctx, enumSQL, p.table)
		if err != nil {
			return false, fmt.Errorf("look up enums of table %s: %w", p.table, err)
		}
		for _, c := range p.cols {
			var enum string
			known := map[string]bool{}
			for _, l := range labels {
				if replication.QuoteIdentifier(string(l[0])) == c.name && string(l[1]) == w.types.sqlType(p.shape.Fields[c.field].Column) {
					enum, known[string(l[3])] = string(l[2]), true
				}
			}
			if enum == "" {
				continue
			}
			for _, label := range newLabels(tables[i].Rows, c.field, known) {
				ddl := "ALTER TYPE " + enum + " ADD VALUE IF NOT EXISTS " + replication.QuoteLiteral(label)
				if err := w.alter(ctx, ddl, fmt.Sprintf("type %s of table %s has no label %q, which topic %s has", enum, p.table, label, p.shape.Topic)); err != nil {
					return false, err
				}
				w.log.Info("added a label to an enum", "table", p.table, "statement", ddl)
				done = true
			}
		}
	}
	return done, nil
}

// newLabels returns the texts of a field that are not known, in the order of
// the rows, each once.
func newLabels(rows []sink.Row, field int, known map[string]bool) (labels []string) {
	add := func(v replication.Value) {
		if label := string(v.Bytes()); v.Kind() == replication.KindString && !known[label] {
			known[label] = true
			labels = append(labels, label)
		}
	}
	for i := range rows {
		v := rows[i].Values[field]
		add(v)
		for _, e := range v.Elems() {
			add(e)
		}
	}
	return labels
}
