package mysql

import (
	"context"
	"fmt"

	"cdc/replication"
)

// Beside is a connection beside a source, for statements about its tables. One
// goroutine uses it.
type Beside struct{ conn *conn }

// OpenBeside connects as the source does. c.Tables must not be empty.
func OpenBeside(ctx context.Context, c Config) (*Beside, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	return &Beside{conn}, nil
}

// Query runs a statement and returns its rows as text; NULL is "".
func (b *Beside) Query(ctx context.Context, sql string) ([][]string, error) {
	cells, err := b.conn.query(ctx, sql)
	if err != nil {
		return nil, err
	}
	rows := make([][]string, len(cells))
	for i, r := range cells {
		rows[i] = make([]string, len(r))
		for j := range r {
			rows[i][j] = r[j].text
		}
	}
	return rows, nil
}

// Exec runs a statement and returns how many rows it changed.
func (b *Beside) Exec(ctx context.Context, sql string) (rows int64, err error) {
	err = b.conn.within(ctx, queryTimeout, func() error {
		r, err := b.conn.Execute(sql)
		if err == nil {
			rows = int64(r.AffectedRows)
			r.Close()
		}
		return err
	})
	return rows, err
}

// End returns the end of the server's log as Reached reads it. What has
// committed lately may lie behind it: the server counts a transaction a moment
// after others can see its rows.
func (b *Beside) End(ctx context.Context) (string, error) {
	s, err := readServer(ctx, b.conn)
	if err != nil {
		return "", err
	}
	return s.end.String(), nil
}

// Close ends the connection.
func (b *Beside) Close() { b.conn.end() }

// Reached reports whether a saved position is at or behind an end of the log,
// and has the whole snapshot of the table: then every row of the table that was
// committed before that end has been handed out and is safe. An empty position
// has reached nothing.
func Reached(p replication.Position, end, schema, table string) (bool, error) {
	passed, err := Passed(p, end)
	if err != nil || !passed {
		return false, err
	}
	pos, err := parsePosition(p)
	return err == nil && pos.tables[tableKey(schema, table)].state == markDone, err
}

// Passed reports whether a saved position is at or behind an end of the log.
func Passed(p replication.Position, end string) (bool, error) {
	if p == "" {
		return false, nil
	}
	pos, err := parsePosition(p)
	if err != nil {
		return false, err
	}
	place, err := parsePlace(pos.place.form, end)
	if err != nil {
		return false, fmt.Errorf("read the end of the log %q: %w", end, err)
	}
	return pos.place.covers(&place), nil
}

// QuoteName quotes an identifier.
func QuoteName(name string) string { return quoteName(name) }

// QuoteText quotes a text constant.
func QuoteText(s string) string { return sqlString(s) }
