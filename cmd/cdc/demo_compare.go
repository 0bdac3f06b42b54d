package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"cdc/replication"
)

// comparison is what two shops differ in.
type comparison struct {
	Rows                      int64 // of the source
	Missing, Different, Extra int64
	Examples                  []string // of differences, some
}

const maxExamples = 8

// compareShops compares all tables of the source with those of the target: all
// columns as text, merged in the order of the keys, so that it holds one row a
// side. Both must be at rest.
func compareShops(ctx context.Context, source, target string) (*comparison, error) {
	c := &comparison{}
	s, err := pgx.Connect(ctx, source)
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	defer s.Close(context.WithoutCancel(ctx)) // it only read
	t, err := pgx.Connect(ctx, target)
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	defer t.Close(context.WithoutCancel(ctx)) // it only read
	for _, table := range demoTables {
		if err := c.table(ctx, s, t, table); err != nil {
			return nil, fmt.Errorf("compare table %s: %w", table, err)
		}
	}
	return c, nil
}

// describeSQL lists a table's columns, those of the key first and marked.
const describeSQL = `SELECT a.attname, i.indrelid IS NOT NULL FROM pg_attribute a
  LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY(i.indkey)
  WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped
  ORDER BY array_position(i.indkey::int2[], a.attnum), a.attnum`

func (c *comparison) table(ctx context.Context, source, target *pgx.Conn, table string) error {
	name := "public." + replication.QuoteIdentifier(table)
	rows, err := source.Query(ctx, describeSQL, name)
	if err != nil {
		return err
	}
	var columns, selected, keys []string
	var column string
	var key bool
	if _, err := pgx.ForEachRow(rows, []any{&column, &key}, func() error {
		text := replication.QuoteIdentifier(column) + "::text"
		columns, selected = append(columns, column), append(selected, text)
		if key {
			keys = append(keys, text+` COLLATE "C"`) // the order of bytes, as bytes.Compare's
		}
		return nil
	}); err != nil {
		return err
	}
	sql := "SELECT " + strings.Join(selected, ", ") + " FROM " + name + " ORDER BY " + strings.Join(keys, ", ")
	left, err := openSide(ctx, source, sql)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	defer left.rows.Close()
	right, err := openSide(ctx, target, sql)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	defer right.rows.Close()
	for left.row != nil || right.row != nil {
		order := compareKeys(left.row, right.row, len(keys))
		switch {
		case order < 0:
			c.Missing++
			c.example("%s: the target lacks %s", table, showKey(columns, left.row, len(keys)))
		case order > 0:
			c.Extra++
			c.example("%s: only the target has %s", table, showKey(columns, right.row, len(keys)))
		default:
			if i := firstDifference(left.row, right.row); i >= 0 {
				c.Different++
				c.example("%s: %s: %s is %s in the source, %s in the target", table, showKey(columns, left.row, len(keys)),
					columns[i], showValue(left.row[i]), showValue(right.row[i]))
			}
		}
		if order <= 0 {
			c.Rows++
			if err := left.next(); err != nil {
				return fmt.Errorf("source: %w", err)
			}
		}
		if order >= 0 {
			if err := right.next(); err != nil {
				return fmt.Errorf("target: %w", err)
			}
		}
	}
	return nil
}

func (c *comparison) example(format string, args ...any) {
	if len(c.Examples) < maxExamples {
		c.Examples = append(c.Examples, fmt.Sprintf(format, args...))
	}
}

// side is one of the two sorted streams.
type side struct {
	rows pgx.Rows
	row  [][]byte // nil at the end; valid until next
}

func openSide(ctx context.Context, conn *pgx.Conn, sql string) (*side, error) {
	// One server's settings could differ from the other's.
	if _, err := conn.Exec(ctx, `SET timezone = 'UTC'; SET datestyle = 'ISO'; SET bytea_output = 'hex'; SET extra_float_digits = 1`); err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, err
	}
	s := &side{rows: rows}
	if err := s.next(); err != nil {
		rows.Close()
		return nil, err
	}
	return s, nil
}

func (s *side) next() error {
	if s.rows.Next() {
		s.row = s.rows.RawValues()
		return nil
	}
	s.row = nil
	return s.rows.Err()
}

// compareKeys orders two rows by their first n columns; the end is behind all.
func compareKeys(a, b [][]byte, n int) int {
	switch {
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	for i := range n {
		if order := bytes.Compare(a[i], b[i]); order != 0 {
			return order
		}
	}
	return 0
}

// firstDifference returns the first column in which they differ, or -1. NULL is
// nil, and differs from an empty text.
func firstDifference(a, b [][]byte) int {
	for i := range a {
		if (a[i] == nil) != (b[i] == nil) || !bytes.Equal(a[i], b[i]) {
			return i
		}
	}
	return -1
}

func showKey(columns []string, row [][]byte, n int) string {
	parts := make([]string, n)
	for i := range n {
		parts[i] = columns[i] + "=" + string(row[i])
	}
	return strings.Join(parts, ",")
}

func showValue(b []byte) string {
	if b == nil {
		return "NULL"
	}
	if len(b) > 60 {
		return fmt.Sprintf("%q… (%d bytes)", b[:60], len(b))
	}
	return fmt.Sprintf("%q", b)
}
