package postgres

import (
	"context"
	"fmt"
	"strconv"

	"cdc/replication"
	"cdc/sink"
	"cdc/sink/apply"
)

// Truncate implements sink.Writer.
func (w *Writer) Truncate(ctx context.Context, group string, s *sink.Shape, keep func(key []replication.Value) bool, o sink.Offset) error {
	return w.transact(ctx, group, []sink.Offset{o}, func(*tx) error {
		p := w.plans[s]
		if p == nil {
			return nil // keys only, and there is no table
		}
		if keep == nil {
			return w.truncateAll(ctx, p)
		}
		return w.truncateSome(ctx, p, keep)
	}, []sink.Rows{{Shape: s}})
}

// truncateAll empties the table; by DELETE where TRUNCATE is not possible: a
// foreign key refers to it, or the role has no such right.
func (w *Writer) truncateAll(ctx context.Context, p *plan) error {
	if err := w.exec(ctx, "SAVEPOINT cdc_truncate"); err != nil {
		return fmt.Errorf("savepoint: %w", err)
	}
	err := w.exec(ctx, "TRUNCATE "+p.table)
	switch sqlState(err) {
	case featureUnsupported, noPrivilege, "42809":
		if err := w.exec(ctx, "ROLLBACK TO SAVEPOINT cdc_truncate"); err != nil {
			return fmt.Errorf("rollback to savepoint: %w", err)
		}
		err = w.exec(ctx, "DELETE FROM "+p.table)
	}
	if err != nil {
		return fmt.Errorf("truncate table %s: %w", p.table, err)
	}
	return nil
}

// truncateSome reads all keys by a cursor, and deletes those that are not to
// be kept, chunk by chunk.
func (w *Writer) truncateSome(ctx context.Context, p *plan, keep func([]replication.Value) bool) error {
	cols := p.keyColumns()
	if len(cols) == 0 {
		return &replication.Refusal{
			Problem: fmt.Sprintf("topic %s has several partitions and no key, so a truncate cannot tell which rows of table %s are its own", p.shape.Topic, p.table),
			Remedy:  "truncate the table by hand and set on_error: skip for this record, or use one partition",
		}
	}
	expr := apply.Join(cols, ", ", func(c *column) string { return keyText(p.shape.Fields[c.field].Kind, c.name) })
	raw := apply.Join(cols, ", ", func(c *column) string { return "concat(" + c.name + ")" })
	// As the source prints them.
	if err := w.exec(ctx, "SET LOCAL extra_float_digits = 1; SET LOCAL intervalstyle = 'postgres'"); err != nil {
		return fmt.Errorf("set the style of keys: %w", err)
	}
	if err := w.exec(ctx, "DECLARE cdc_keys NO SCROLL CURSOR FOR SELECT "+expr+", "+raw+" FROM "+p.table); err != nil {
		return fmt.Errorf("read keys of table %s: %w", p.table, err)
	}
	remove := p.remove(p.unnest(cols))
	key := make([]replication.Value, len(cols))
	for {
		rows, err := w.query(ctx, "FETCH "+strconv.Itoa(apply.TruncateChunk)+" FROM cdc_keys")
		if err != nil {
			return fmt.Errorf("read keys of table %s: %w", p.table, err)
		}
		gone := make([][]replication.Value, len(cols))
		for _, r := range rows {
			for i, c := range cols {
				if key[i], err = apply.ParseKey(p.shape.Fields[c.field].Kind, string(r[i])); err != nil {
					return fmt.Errorf("read keys of table %s, column %s: %w", p.table, c.name, err)
				}
			}
			if !keep(key) {
				for i := range cols {
					gone[i] = append(gone[i], replication.BytesValue(replication.KindString, r[len(cols)+i]))
				}
			}
		}
		if len(gone[0]) > 0 {
			params := make([][]byte, len(cols))
			for i := range cols {
				params[i] = appendArray(nil, gone[i], 0)
			}
			if _, err := w.run(ctx, remove, params, false); err != nil {
				return fmt.Errorf("delete from table %s: %w", p.table, err)
			}
		}
		if len(rows) < apply.TruncateChunk {
			return w.exec(ctx, "CLOSE cdc_keys")
		}
	}
}

// keyText is the expression that renders a key column so that apply.ParseKey reads
// the neutral kind from it. concat prints by the type's output function, where
// a cast of character(n) to text would trim it.
func keyText(k replication.Kind, name string) string {
	switch k {
	case replication.KindBytes:
		return "encode(" + name + ", 'hex')"
	case replication.KindDate:
		return "CASE WHEN isfinite(" + name + ") THEN (" + name + " - DATE '1970-01-01')::text ELSE " + name + "::text END"
	case replication.KindTime:
		return "(extract(epoch FROM " + name + ") * 1000000)::bigint::text"
	case replication.KindTimestamp, replication.KindTimestampTZ:
		return "CASE WHEN isfinite(" + name + ") THEN (extract(epoch FROM " + name + ") * 1000000)::bigint::text ELSE " + name + "::text END"
	default:
		return "concat(" + name + ")"
	}
}
