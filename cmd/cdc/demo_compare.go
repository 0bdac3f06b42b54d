package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"strings"
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
func compareShops(ctx context.Context, shop *dialect, source, target string) (*comparison, error) {
	c := &comparison{}
	s, err := shop.connect(ctx, source)
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	defer s.close()
	t, err := shop.connect(ctx, target)
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	defer t.close()
	for _, sql := range shop.settings {
		for _, conn := range []*shopConn{s, t} {
			if _, err := conn.ExecContext(ctx, sql); err != nil {
				return nil, fmt.Errorf("compare: %s: %w", sql, err)
			}
		}
	}
	for _, table := range demoTables {
		if err := c.table(ctx, shop, s, t, table); err != nil {
			return nil, fmt.Errorf("compare table %s: %w", table, err)
		}
	}
	return c, nil
}

func (c *comparison) table(ctx context.Context, shop *dialect, source, target *shopConn, table string) error {
	columns, sql, keys, err := comparing(ctx, shop, source, table)
	if err != nil {
		return err
	}
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
		order := compareKeys(left.row, right.row, keys)
		switch {
		case order < 0:
			c.Missing++
			c.example("%s: the target lacks %s", table, showKey(columns, left.row, keys))
		case order > 0:
			c.Extra++
			c.example("%s: only the target has %s", table, showKey(columns, right.row, keys))
		default:
			if i := firstDifference(left.row, right.row); i >= 0 {
				c.Different++
				c.example("%s: %s: %s is %s in the source, %s in the target", table, showKey(columns, left.row, keys),
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

// comparing returns a table's columns, those of the key first, how many these
// are, and the query that reads them as text in the order of the key's bytes, as
// bytes.Compare's is.
func comparing(ctx context.Context, shop *dialect, conn *shopConn, table string) (columns []string, query string, keys int, err error) {
	rows, err := conn.QueryContext(ctx, shop.columns, table)
	if err != nil {
		return nil, "", 0, err
	}
	defer rows.Close()
	var selected, order []string
	for rows.Next() {
		var column, text string
		var key bool
		if err := rows.Scan(&column, &key, &text); err != nil {
			return nil, "", 0, err
		}
		columns, selected = append(columns, column), append(selected, text)
		if key {
			order = append(order, shop.order(text))
		}
	}
	return columns, "SELECT " + strings.Join(selected, ", ") + " FROM " + table + " ORDER BY " + strings.Join(order, ", "), len(order), rows.Err()
}

func (c *comparison) example(format string, args ...any) {
	if len(c.Examples) < maxExamples {
		c.Examples = append(c.Examples, fmt.Sprintf(format, args...))
	}
}

// side is one of the two sorted streams.
type side struct {
	rows   *sql.Rows
	row    []sql.RawBytes // nil at the end; valid until next
	values []sql.RawBytes
	scan   []any // pointers to values
}

func openSide(ctx context.Context, conn *shopConn, query string) (*side, error) {
	rows, err := conn.QueryContext(ctx, query) //nolint:rowserrcheck // next looks at it
	if err != nil {
		return nil, err
	}
	s := &side{rows: rows}
	columns, err := rows.Columns()
	if err == nil {
		s.values = make([]sql.RawBytes, len(columns))
		for i := range s.values {
			s.scan = append(s.scan, &s.values[i])
		}
		err = s.next()
	}
	if err != nil {
		rows.Close() //nolint:sqlclosecheck // else who reads them does
		return nil, err
	}
	return s, nil
}

func (s *side) next() error {
	if s.rows.Next() {
		s.row = s.values
		return s.rows.Scan(s.scan...)
	}
	s.row = nil
	return s.rows.Err()
}

// compareKeys orders two rows by their first n columns; the end is behind all.
func compareKeys(a, b []sql.RawBytes, n int) int {
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
func firstDifference(a, b []sql.RawBytes) int {
	for i := range a {
		if (a[i] == nil) != (b[i] == nil) || !bytes.Equal(a[i], b[i]) {
			return i
		}
	}
	return -1
}

func showKey(columns []string, row []sql.RawBytes, n int) string {
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
