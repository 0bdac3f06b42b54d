package mysql

import (
	"context"
	"fmt"
	"strings"

	"cdc/replication"
	"cdc/sink"
	"cdc/sink/apply"
)

// keysTable is a temporary table of this connection.
const keysTable = "cdc_truncate_keys"

// Truncate implements sink.Writer. It deletes: TRUNCATE TABLE commits by
// itself, so that a member which has lost the partition could empty a table
// that is another's by now.
func (w *Writer) Truncate(ctx context.Context, group string, s *sink.Shape, keep func(key []replication.Value) bool, o sink.Offset) error {
	return w.transact(ctx, group, []sink.Offset{o}, func(*tx) error {
		p := w.plans[s]
		switch {
		case p == nil:
			return nil // keys only, and there is no table
		case keep != nil:
			return w.truncateSome(ctx, p, keep)
		}
		if _, err := w.exec(ctx, "DELETE FROM "+p.table); err != nil {
			return fmt.Errorf("truncate table %s: %w", p.table, err)
		}
		return nil
	}, []sink.Rows{{Shape: s}})
}

// truncateSome copies all keys to a temporary table, takes those out of it that
// are to be kept, chunk by chunk, and deletes the rows of the others. Making
// and dropping temporary tables commits nothing.
func (w *Writer) truncateSome(ctx context.Context, p *plan, keep func([]replication.Value) bool) error {
	cols := p.keyColumns()
	if len(cols) == 0 {
		return &replication.Refusal{
			Problem: fmt.Sprintf("topic %s has several partitions and no key, so a truncate cannot tell which rows of table %s are its own", p.shape.Topic, p.table),
			Remedy:  "truncate the table by hand and set on_error: skip for this record, or use one partition",
		}
	}
	for _, c := range cols {
		if c.class == classDecimal && p.shape.Fields[c.field].Precision == 0 {
			return &replication.Refusal{
				Problem: fmt.Sprintf("topic %s has several partitions, and column %s of table %s does not hold its keys as they are written there, so a truncate cannot tell which rows are its own", p.shape.Topic, c.name, p.table),
				Remedy:  "truncate the table by hand and set on_error: skip for this record, or use one partition",
			}
		}
	}
	temp := tableName(w.cfg.Schema, keysTable)
	defs := apply.Join(cols, ", ", func(c *column) string {
		def := c.name + " " + c.typ
		if c.collation != "" {
			charset, _, _ := strings.Cut(c.collation, "_")
			def += " CHARACTER SET " + charset + " COLLATE " + c.collation
		}
		return def + " NOT NULL"
	})
	for _, sql := range []string{
		"DROP TEMPORARY TABLE IF EXISTS " + temp,
		"CREATE TEMPORARY TABLE " + temp + " (cdc_seq bigint AUTO_INCREMENT PRIMARY KEY, " + defs + ") ENGINE=InnoDB",
		"INSERT INTO " + temp + " (" + p.names(cols) + ") SELECT " + p.names(cols) + " FROM " + p.table,
	} {
		_, err := w.exec(ctx, sql)
		if denied(err) {
			return &replication.Refusal{
				Problem: fmt.Sprintf("no temporary table may be made to truncate a part of %s", p.table),
				Remedy:  fmt.Sprintf("GRANT CREATE TEMPORARY TABLES ON %s.* TO the sink's user", quoteName(w.cfg.Schema)), Err: err,
			}
		}
		if err != nil {
			return fmt.Errorf("copy keys of table %s: %w", p.table, err)
		}
	}
	expr := apply.Join(cols, ", ", func(c *column) string { return c.keyText() })
	key := make([]replication.Value, len(cols))
	for last := "0"; ; {
		rows, err := w.query(ctx, fmt.Sprintf("SELECT cdc_seq, %s FROM %s WHERE cdc_seq > %s ORDER BY cdc_seq LIMIT %d", expr, temp, last, apply.TruncateChunk))
		if err != nil {
			return fmt.Errorf("read keys of table %s: %w", p.table, err)
		}
		if len(rows) == 0 {
			break
		}
		last = rows[len(rows)-1][0].text
		var stay []string
		for _, r := range rows {
			for i := range cols {
				if key[i], err = apply.ParseKey(cols[i].kind, r[i+1].text); err != nil {
					return fmt.Errorf("read keys of table %s, column %s: %w", p.table, cols[i].name, err)
				}
			}
			if keep(key) {
				stay = append(stay, r[0].text)
			}
		}
		if len(stay) == 0 {
			continue
		}
		if _, err := w.exec(ctx, "DELETE FROM "+temp+" WHERE cdc_seq IN ("+strings.Join(stay, ",")+")"); err != nil {
			return fmt.Errorf("choose keys of table %s: %w", p.table, err)
		}
	}
	match := apply.Join(cols, " AND ", func(c *column) string { return "t." + c.name + " = k." + c.name })
	if _, err := w.exec(ctx, "DELETE t FROM "+p.table+" t JOIN "+temp+" k ON "+match+"; DROP TEMPORARY TABLE "+temp); err != nil {
		return fmt.Errorf("delete from table %s: %w", p.table, err)
	}
	return nil
}

// keyText is the expression that renders a key column so that apply.ParseKey reads
// the neutral kind from it.
func (c *column) keyText() string {
	switch c.kind {
	case replication.KindBytes:
		return "hex(" + c.name + ")"
	case replication.KindUUID:
		if c.class == classBinary {
			return "hex(" + c.name + ")"
		}
	case replication.KindDate:
		return "datediff(" + c.name + ", '1970-01-01')"
	case replication.KindTime:
		return "((hour(" + c.name + ") * 60 + minute(" + c.name + ")) * 60 + second(" + c.name + ")) * 1000000 + microsecond(" + c.name + ")"
	case replication.KindTimestamp, replication.KindTimestampTZ:
		return "timestampdiff(MICROSECOND, '1970-01-01', " + c.name + ")"
	case replication.KindFloat:
		return c.name + " + 0e0" // a float alone is printed with six digits
	default: // as the server prints it
	}
	return c.name
}
