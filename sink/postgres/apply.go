package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"cdc/replication"
	"cdc/sink"
	"cdc/sink/apply"
)

// copyThreshold is the number of rows from which loading by COPY through a
// temp table beats unnest of arrays. BenchmarkPaths measures both.
var copyThreshold = 2500

// Apply implements sink.Writer. When the database refuses rows it returns
// sink.RowErrors with all of them it found, up to a bound.
func (w *Writer) Apply(ctx context.Context, group string, b *sink.Batch) error {
	return w.transact(ctx, group, b.Offsets, func(t *tx) error {
		for i := range b.Tables {
			if err := w.applyRows(ctx, t, i, &b.Tables[i]); err != nil {
				return err
			}
		}
		return nil
	}, b.Tables)
}

// tx is one try at a transaction.
type tx struct {
	// careful isolates each statement in a savepoint and bisects it when rows
	// are refused; the others are collected in bad.
	careful bool
	bad     sink.RowErrors
}

// transact moves the offsets and runs body in one transaction, again after
// transient errors. A first try is plain; when rows are refused, a second one
// is careful and finds out which.
func (w *Writer) transact(ctx context.Context, group string, offsets []sink.Offset, body func(*tx) error, tables []sink.Rows) error {
	uncertain := false // a commit's outcome is not known
	careful, immediate, replanned := false, false, false
	return w.retry(ctx, "applying a batch", func() error {
		for {
			if uncertain {
				if done, err := w.applied(ctx, group, offsets); done || err != nil {
					return err
				}
			}
			t := &tx{careful: careful}
			atCommit, err := w.try(ctx, group, offsets, t, immediate, body, tables)
			followed, alterErr := w.allowNull(ctx, err, tables)
			if !followed && alterErr == nil {
				followed, alterErr = w.addLabels(ctx, err, tables)
			}
			switch {
			case err == nil:
				return nil
			case alterErr != nil:
				return alterErr
			case followed: // once more
			case errors.Is(err, sink.ErrFenced):
				if uncertain {
					if done, err := w.applied(ctx, group, offsets); done || err != nil {
						return err
					}
				}
				return err
			case apply.IsRowErrors(err):
				// Whoever ran what the error says should not have to restart the sink.
				hinted := slices.DeleteFunc(slices.Clone(tables), func(r sink.Rows) bool { return w.plans[r.Shape] == nil || len(w.plans[r.Shape].hints) == 0 })
				if err := w.forget(ctx, hinted); err != nil {
					w.log.Warn("sink database: plans of tables are not made anew", "error", err)
				}
				return err
			case transient(err):
				uncertain = uncertain || atCommit
				return err
			case rowFault(err) && !careful:
				careful, immediate = true, atCommit
			case rowFault(err) && atCommit && !immediate:
				immediate = true
			case staleShape(err) && !replanned:
				replanned = true
				if err := w.forget(ctx, tables); err != nil {
					return err
				}
			default:
				return err
			}
			if err := w.ready(ctx); err != nil {
				return err
			}
		}
	})
}

// try runs one transaction and reports whether its error came from COMMIT.
func (w *Writer) try(ctx context.Context, group string, offsets []sink.Offset, t *tx, immediate bool, body func(*tx) error, tables []sink.Rows) (atCommit bool, err error) {
	for _, r := range tables {
		p, err := w.plan(ctx, r.Shape)
		if err != nil {
			return false, err
		}
		if p.absent {
			continue
		}
		if p.copied || len(r.Rows) >= copyThreshold {
			if err := w.stage(ctx, p); err != nil {
				return false, err
			}
		}
	}
	if err := w.exec(ctx, "BEGIN"); err != nil {
		return false, fmt.Errorf("begin: %w", err)
	}
	defer func() {
		if err != nil && !w.conn.IsClosed() && w.conn.TxStatus() != 'I' {
			_ = w.exec(ctx, "ROLLBACK") // a failure shows as a broken connection at the next use
		}
	}()
	if immediate {
		if err := w.exec(ctx, "SET CONSTRAINTS ALL IMMEDIATE"); err != nil {
			return false, fmt.Errorf("set constraints immediate: %w", err)
		}
	}
	if ok, err := w.moveOffsets(ctx, group, offsets); err != nil {
		return false, err
	} else if !ok {
		return false, sink.ErrFenced
	}
	if err := body(t); err != nil {
		return false, err
	}
	if len(t.bad) > 0 {
		return false, t.bad
	}
	r, err := w.conn.Exec(ctx, "COMMIT").ReadAll()
	if err != nil {
		return true, fmt.Errorf("commit: %w", err)
	}
	if tag := r[0].CommandTag.String(); tag != "COMMIT" {
		return false, fmt.Errorf("commit: the server answered %s", tag)
	}
	return false, nil
}

// applyRows writes one Shape's rows: deletes, new rows, upserts, and rows with
// Unchanged values grouped by the columns they have.
func (w *Writer) applyRows(ctx context.Context, t *tx, table int, r *sink.Rows) error {
	p := w.plans[r.Shape]
	if p == nil {
		return nil // keys only, and there is no table
	}
	optimistic := len(p.key) > 0 && !t.careful && p.pause == 0
	p.Sort(r.Rows, p.fields, optimistic)
	if len(p.New) < minCopyNew {
		p.Upserts = append(p.Upserts, p.New...)
		p.New = p.New[:0]
	}
	if p.pause > 0 {
		p.pause--
	}
	l := newLoader(w, p, t, table, r)
	if len(p.Deletes) > 0 {
		if err := l.run(ctx, p.Deletes, load{cols: p.keyColumns(), sql: p.remove, prepare: true, removes: true}); err != nil {
			return err
		}
	}
	if len(p.New) > 0 {
		ok, err := l.copyNew(ctx, p.New)
		if err != nil {
			return err
		}
		if !ok {
			p.Upserts = append(p.Upserts, p.New...)
		}
	}
	if len(p.Upserts) > 0 {
		upsert := func(from string) string { return p.upsert(p.cols, from) }
		if err := l.run(ctx, p.Upserts, load{cols: p.cols, sql: upsert, prepare: true}); err != nil {
			return err
		}
	}
	for set, idx := range p.Partial {
		cols := apply.Pick(p.cols, func(c *column) bool { return set[c.field] == 1 })
		if err := l.run(ctx, idx, load{cols: cols, sql: func(from string) string { return p.merge(cols, from) }}); err != nil {
			return err
		}
	}
	return l.settle(ctx)
}

// minCopyNew is the number of new rows from which trying a COPY straight into
// the table is worth its savepoint.
const minCopyNew = 100

// forget drops the plans of those tables, and their temp tables.
func (w *Writer) forget(ctx context.Context, tables []sink.Rows) error {
	if err := w.ready(ctx); err != nil {
		return err
	}
	for _, r := range tables {
		if p := w.plans[r.Shape]; p != nil && p.stage != "" {
			if err := w.exec(ctx, "DROP TABLE IF EXISTS "+p.stage); err != nil {
				return fmt.Errorf("drop temp table %s: %w", p.stage, err)
			}
		}
		delete(w.plans, r.Shape)
	}
	return nil
}

// stage makes the plan's temp table on this connection.
func (w *Writer) stage(ctx context.Context, p *plan) error {
	if p.stage != "" {
		return nil
	}
	w.stages++
	name := "cdc_stage_" + strconv.Itoa(w.stages)
	err := w.exec(ctx, p.stageDDL(name))
	if sqlState(err) == noPrivilege {
		return &replication.Refusal{
			Problem: fmt.Sprintf("no temporary table may be made to load %s, or it may not be read", p.table),
			Remedy:  fmt.Sprintf("GRANT TEMPORARY ON DATABASE … TO the sink's role; GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO it", p.table),
			Err:     err,
		}
	}
	if err != nil {
		return fmt.Errorf("make a temp table like %s: %w", p.table, err)
	}
	p.stage = "pg_temp." + name
	return nil
}
