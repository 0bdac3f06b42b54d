package cleanup

import (
	"context"
	"fmt"
	"strings"
	"time"

	"cdc/replication/mysql"
)

// settle is how long a server may take, at the most, from making a transaction
// visible to counting it among those of its log: MySQL does so a moment later.
const settle = time.Second

// OpenMySQL connects to a MySQL or MariaDB server as the source does.
func OpenMySQL(ctx context.Context, c mysql.Config) (Store, error) {
	conn, err := mysql.OpenBeside(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("connect to clean up: %w", err)
	}
	// A row that somebody has locked is left for the next round; and no gaps
	// between rows are locked, where applications insert.
	for _, sql := range []string{"SET SESSION innodb_lock_wait_timeout = 1", "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			conn.Close()
			return nil, fmt.Errorf("connect to clean up: %w", err)
		}
	}
	return &mysqlStore{conn: conn, keys: map[Table][]string{}}, nil
}

type mysqlStore struct {
	conn *mysql.Beside
	keys map[Table][]string // quoted columns of the primary key
}

func (s *mysqlStore) Close(context.Context) error {
	s.conn.Close()
	return nil
}

func (s *mysqlStore) key(ctx context.Context, t Table) ([]string, error) {
	if key := s.keys[t]; key != nil {
		return key, nil
	}
	rows, err := s.conn.Query(ctx, "SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = "+mysql.QuoteText(t.Schema)+
		" AND TABLE_NAME = "+mysql.QuoteText(t.Name)+" AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX")
	if err != nil {
		return nil, fmt.Errorf("look up the key of %s: %w", t, err)
	}
	var key []string
	for _, r := range rows {
		key = append(key, mysql.QuoteName(r[0]))
	}
	if len(key) == 0 {
		return nil, refuse(t)
	}
	s.keys[t] = key
	return key, nil
}

func (t Table) mysql() string { return mysql.QuoteName(t.Schema) + "." + mysql.QuoteName(t.Name) }

// Find implements Store. Between the rows and the end of the log lies a pause:
// what was visible must be counted by then. Rows are told by their key alone, so
// no key may be used twice; those that AUTO_INCREMENT or uuid() make are not.
func (s *mysqlStore) Find(ctx context.Context, t Table, n int) (Rows, Mark, error) {
	key, err := s.key(ctx, t)
	if err != nil {
		return nil, "", err
	}
	list := strings.Join(key, ", ")
	found, err := s.conn.Query(ctx, fmt.Sprintf("SELECT %s FROM %s ORDER BY %s LIMIT %d", list, t.mysql(), list, n))
	if err != nil {
		return nil, "", fmt.Errorf("look for rows of %s: %w", t, err)
	}
	r := &mysqlRows{store: s, table: t, key: list}
	for _, row := range found {
		for i, text := range row {
			row[i] = mysql.QuoteText(text)
		}
		r.keys = append(r.keys, "("+strings.Join(row, ", ")+")")
	}
	if len(r.keys) > 0 && !pause(ctx, settle) {
		return nil, "", ctx.Err()
	}
	end, err := s.conn.End(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("look for the end of the log: %w", err)
	}
	return r, Mark(end), nil
}

// mysqlRows are rows by their keys, as SQL writes them.
type mysqlRows struct {
	store *mysqlStore
	table Table
	key   string
	keys  []string
}

func (r *mysqlRows) Len() int { return len(r.keys) }

func (r *mysqlRows) Delete(ctx context.Context, first, last int) (int64, error) {
	n, err := r.store.conn.Exec(ctx, fmt.Sprintf("DELETE FROM %s WHERE (%s) IN (%s)", r.table.mysql(), r.key, strings.Join(r.keys[first:last], ", ")))
	if err != nil {
		return 0, fmt.Errorf("delete published rows of %s: %w", r.table, err)
	}
	return n, nil
}
