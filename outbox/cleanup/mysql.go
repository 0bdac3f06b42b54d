package cleanup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"

	"cdc/replication"
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
	if c.Flavor != mysql.MariaDB { // which has no such cache
		if _, err := conn.Exec(ctx, "SET SESSION information_schema_stats_expiry = 0"); err != nil {
			conn.Close()
			return nil, fmt.Errorf("connect to clean up: %w", err)
		}
	}
	return &mysqlStore{conn: conn, settle: settle}, nil
}

type mysqlStore struct {
	conn   *mysql.Beside
	settle time.Duration
}

// keyColumn is a column of a primary key: how its value is read as text, and
// what makes a constant of the column's own type of that text again. Were the
// types different, servers would compare some of them as floating-point
// numbers, which take neighbours for equal: MySQL manual, "Type Conversion in
// Expression Evaluation".
type keyColumn struct {
	name    string // quoted
	read    string // with the quoted name in place of %s
	literal string // with the text in place of %s
}

// exactly says how a type's values are compared without loss, or that they
// cannot be.
func exactly(column, dataType string) (k keyColumn, ok bool) {
	k = keyColumn{name: mysql.QuoteName(column), read: "%s", literal: "'%s'"}
	switch dataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "year":
		k.literal = "%s"
	case "bit", "enum":
		k.read, k.literal = "CAST(%s AS UNSIGNED)", "%s"
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext", "uuid", "inet4", "inet6":
		k.read, k.literal = "HEX(CONVERT(%s USING utf8mb4))", "_utf8mb4 x'%s'"
	case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
		k.read, k.literal = "HEX(%s)", "x'%s'"
	case "date", "time":
		k.literal = strings.ToUpper(dataType) + "'%s'"
	case "datetime", "timestamp":
		k.literal = "TIMESTAMP'%s'"
	default:
		return k, false
	}
	return k, true
}

func (s *mysqlStore) Close(context.Context) error {
	s.conn.Close()
	return nil
}

// key returns the columns of the primary key as it is now, and a text that tells
// it from others: by the columns of one that the table had before, other rows
// would be deleted, too.
func (s *mysqlStore) key(ctx context.Context, t Table) (key []keyColumn, form string, err error) {
	rows, err := s.conn.Query(ctx, "SELECT c.COLUMN_NAME, LOWER(c.DATA_TYPE), c.COLUMN_TYPE FROM information_schema.STATISTICS s"+
		" JOIN information_schema.COLUMNS c ON c.TABLE_SCHEMA = s.TABLE_SCHEMA AND c.TABLE_NAME = s.TABLE_NAME AND c.COLUMN_NAME = s.COLUMN_NAME"+
		" WHERE s.TABLE_SCHEMA = "+mysql.QuoteText(t.Schema)+" AND s.TABLE_NAME = "+mysql.QuoteText(t.Name)+" AND s.INDEX_NAME = 'PRIMARY' ORDER BY s.SEQ_IN_INDEX")
	if err != nil {
		return nil, "", fmt.Errorf("look up the key of %s: %w", t, err)
	}
	for _, r := range rows {
		k, ok := exactly(r[0], r[1])
		if !ok {
			return nil, "", &replication.Refusal{
				Problem: fmt.Sprintf("outbox table %s has column %s of type %s in its primary key: such values cannot be compared exactly to delete rows by them", t, r[0], r[1]),
				Remedy:  "give the table a primary key of integers, texts, bytes or times, or remove cleanup from the outbox in the configuration",
			}
		}
		key = append(key, k)
		form += k.name + " " + r[2] + ", "
	}
	if len(key) == 0 {
		return nil, "", refuse(t)
	}
	return key, form, nil
}

func (t Table) mysql() string { return mysql.QuoteName(t.Schema) + "." + mysql.QuoteName(t.Name) }

// Find implements Store. Between the rows and the end of the log lies a pause:
// what was visible must be counted by then. Rows are told by their key alone, so
// no key may be used twice; those that AUTO_INCREMENT or uuid() make are not.
func (s *mysqlStore) Find(ctx context.Context, t Table, n int) (Rows, Mark, error) {
	key, form, err := s.key(ctx, t)
	if err != nil {
		return nil, "", err
	}
	made, err := s.made(ctx, t)
	if err != nil {
		return nil, "", fmt.Errorf("look up table %s: %w", t, err)
	}
	var names, reads []string
	for _, k := range key {
		names = append(names, k.name)
		reads = append(reads, fmt.Sprintf(k.read, k.name))
	}
	list := strings.Join(names, ", ")
	found, err := s.conn.Query(ctx, fmt.Sprintf("SELECT %s FROM %s ORDER BY %s LIMIT %d", strings.Join(reads, ", "), t.mysql(), list, n))
	if err != nil {
		return nil, "", fmt.Errorf("look for rows of %s: %w", t, err)
	}
	r := &mysqlRows{store: s, table: t, made: made, form: form}
	for _, row := range found {
		for i, text := range row {
			row[i] = key[i].name + " = " + fmt.Sprintf(key[i].literal, text)
		}
		r.keys = append(r.keys, "("+strings.Join(row, " AND ")+")")
	}
	if len(r.keys) > 0 && !pause(ctx, s.settle) {
		return nil, "", ctx.Err()
	}
	end, err := s.conn.End(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("look for the end of the log: %w", err)
	}
	return r, Mark(end), nil
}

// mysqlRows are rows by their keys, a condition each. They are not one IN: some
// servers find no text of a narrow character set by a list of rows.
type mysqlRows struct {
	store *mysqlStore
	table Table
	made  string
	form  string // of the key
	keys  []string
}

func (r *mysqlRows) Len() int { return len(r.keys) }

// Delete implements Rows. A transaction that has looked at the table keeps others
// from renaming or altering it, so that the one whose age and key are asked is the
// one whose rows go: another one may have taken the name since, with the same keys.
func (r *mysqlRows) Delete(ctx context.Context, first, last int) (n int64, err error) {
	conn := r.store.conn
	defer func() {
		if err != nil {
			err = fmt.Errorf("delete published rows of %s: %w", r.table, err)
		}
	}()
	for _, sql := range []string{"START TRANSACTION", "SELECT 1 FROM " + r.table.mysql() + " LIMIT 0"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return 0, err
		}
	}
	made, err := r.store.made(ctx, r.table)
	form := ""
	if err == nil {
		_, form, err = r.store.key(ctx, r.table)
	}
	if err == nil && made == r.made && form == r.form {
		n, err = conn.Exec(ctx, "DELETE FROM "+r.table.mysql()+" WHERE "+strings.Join(r.keys[first:last], " OR "))
	}
	if lockedOut(err) {
		n, err = 0, nil // somebody is at work there: another time
	}
	end := "COMMIT"
	if err != nil {
		end = "ROLLBACK"
	}
	if _, e := conn.Exec(ctx, end); err == nil {
		err = e
	}
	return n, err
}

// made is when the table was made.
func (s *mysqlStore) made(ctx context.Context, t Table) (string, error) {
	rows, err := s.conn.Query(ctx, "SELECT CREATE_TIME FROM information_schema.TABLES WHERE TABLE_SCHEMA = "+mysql.QuoteText(t.Schema)+" AND TABLE_NAME = "+mysql.QuoteText(t.Name))
	if err != nil || len(rows) == 0 {
		return "", err
	}
	return rows[0][0], nil
}

// lockedOut reports whether a lock was not to be had in time, or not without a
// deadlock.
func lockedOut(err error) bool {
	e, ok := errors.AsType[*gomysql.MyError](err)
	return ok && (e.Code == gomysql.ER_LOCK_WAIT_TIMEOUT || e.Code == gomysql.ER_LOCK_DEADLOCK)
}
