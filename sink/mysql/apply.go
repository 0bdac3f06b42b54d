package mysql

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cdc/replication"
	"cdc/sink"
	"cdc/sink/apply"
)

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
	// careful bisects statements when rows are refused; they are collected in
	// bad.
	careful bool
	bad     sink.RowErrors
}

// transact moves the offsets and runs body in one transaction, again after
// transient errors. A first try is plain; when rows are refused, a second one
// is careful and finds out which.
func (w *Writer) transact(ctx context.Context, group string, offsets []sink.Offset, body func(*tx) error, tables []sink.Rows) error {
	uncertain := false // a commit's outcome is not known
	careful, replanned, nullable := false, false, 0
	return w.retry(ctx, "applying a batch", func() error {
		for {
			if uncertain {
				if done, err := w.applied(ctx, group, offsets); done || err != nil {
					return err
				}
			}
			t := &tx{careful: careful}
			atCommit, err := w.try(ctx, group, offsets, t, body, tables)
			switch {
			case err == nil:
				return nil
			case errors.Is(err, sink.ErrFenced):
				if uncertain {
					if done, err := w.applied(ctx, group, offsets); done || err != nil {
						return err
					}
				}
				return err
			case apply.IsRowErrors(err):
				return err
			case errors.Is(err, errNull) && !careful:
				nullable++
				done, e := w.allowNull(ctx, err)
				if e != nil {
					return e
				}
				if careful = !done || nullable > apply.MaxBadRows; done {
					w.forget(tables)
				}
			case transient(err):
				uncertain = uncertain || atCommit
				return err
			case rowFault(err) && !careful:
				careful = true
			case staleShape(err) && !replanned:
				replanned = true
				w.forget(tables)
			default:
				return w.explain(err, tables)
			}
			if err := w.ready(ctx); err != nil {
				return err
			}
		}
	})
}

// forget drops the plans of those tables.
func (w *Writer) forget(tables []sink.Rows) {
	for _, r := range tables {
		delete(w.plans, r.Shape)
	}
}

// explain turns what a person must mend into a refusal.
func (w *Writer) explain(err error, tables []sink.Rows) error {
	if !denied(err) || replication.IsRefusal(err) || len(tables) == 0 {
		return err
	}
	var grants strings.Builder
	for _, r := range tables {
		if p := w.plans[r.Shape]; p != nil {
			fmt.Fprintf(&grants, "GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO the sink's user; ", p.table)
		}
	}
	return &replication.Refusal{
		Problem: "the sink's user lacks a privilege",
		Remedy:  grants.String() + fmt.Sprintf("GRANT SELECT, INSERT, UPDATE ON %s TO the sink's user", w.offsets), Err: err,
	}
}

// try runs one transaction and reports whether its error came from COMMIT.
func (w *Writer) try(ctx context.Context, group string, offsets []sink.Offset, t *tx, body func(*tx) error, tables []sink.Rows) (atCommit bool, err error) {
	for _, r := range tables {
		if _, err := w.plan(ctx, r.Shape); err != nil {
			return false, err
		}
	}
	w.open = true
	defer func() {
		if err != nil && w.conn != nil && w.conn.IsValid() {
			if _, e := w.exec(ctx, "ROLLBACK"); e == nil {
				w.open = false
			} // else a failure shows at the next use
		}
	}()
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
	if _, err := w.exec(ctx, "COMMIT"); err != nil {
		return true, fmt.Errorf("commit: %w", err)
	}
	w.open = false
	return false, nil
}

// applyRows writes one Shape's rows: deletes, upserts, and rows with Unchanged
// values grouped by the columns they have.
func (w *Writer) applyRows(ctx context.Context, t *tx, table int, r *sink.Rows) error {
	p := w.plans[r.Shape]
	if p == nil {
		return nil // keys only, and there is no table
	}
	p.Sort(r.Rows, p.fields, false)
	l := newLoader(w, p, t, table, r)
	if len(p.Deletes) > 0 {
		if err := l.run(ctx, p.Deletes, load{verb: remove, cols: p.keyColumns()}); err != nil {
			return err
		}
	}
	if len(p.Upserts) > 0 {
		if err := l.run(ctx, p.Upserts, load{verb: upsert, cols: p.cols}); err != nil {
			return err
		}
	}
	for set, idx := range p.Partial {
		cols := apply.Pick(p.cols, func(c *column) bool { return set[c.field] == 1 })
		if err := l.run(ctx, idx, load{verb: merge, cols: cols}); err != nil {
			return err
		}
	}
	return l.settle(ctx)
}
