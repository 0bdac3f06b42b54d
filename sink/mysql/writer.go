// Package mysql applies a sink's batches to tables of a MySQL or MariaDB
// database: rows and offsets in one transaction, in statements of many rows.
// Values go in as literals that this package writes itself, by what the
// target's column can hold: what it cannot is refused, never changed.
package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unsafe"

	"github.com/go-sql-driver/mysql"

	"cdc/replication"
	"cdc/secret"
	"cdc/sink"
	"cdc/sink/apply"
)

// Config says which database to write to, and what may be changed in it.
type Config struct {
	// URL is mysql://user:password@host:3306/database, or mariadb://…, with the
	// parameters tls (preferred, the default: encrypted without verification
	// where the server can; false, true, skip-verify) and socket (the path of a
	// unix socket).
	URL secret.String
	// TLS, when not nil, verifies the server by it; the URL's tls then does not
	// matter.
	TLS *TLS
	// CreateTables allows CREATE TABLE for topics that have none, AddColumns
	// ALTER TABLE … ADD COLUMN for fields that have none, AlterColumns that of
	// columns which were renamed in the source, became wider or may be NULL.
	CreateTables, AddColumns, AlterColumns bool
	// Schema is the database of tables for which a topic names no other, and of
	// the offsets table. Defaults to the URL's.
	Schema string
	// OffsetsTable is the table of the groups' offsets, in Schema. Defaults to
	// "cdc_offsets"; it is created when it is absent.
	OffsetsTable string
	// Logger gets warnings, and what was created. nil discards them.
	Logger *slog.Logger
}

// settings completes the Config and reads its URL.
func (c *Config) settings() (*mysql.Config, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OffsetsTable == "" {
		c.OffsetsTable = "cdc_offsets"
	}
	m, err := parseURL(c.URL.Reveal())
	if err == nil && c.TLS != nil {
		if m.TLS, err = c.TLS.load(m.Addr); err == nil {
			m.TLSConfig, m.AllowFallbackToPlaintext = "", false
		}
	}
	if err != nil {
		return nil, &replication.Refusal{Problem: "the sink's mysql url cannot be used", Remedy: "correct url: mysql://user@host:3306/database", Err: err}
	}
	if c.Schema == "" {
		c.Schema = m.DBName
	}
	if c.Schema == "" {
		return nil, &replication.Refusal{Problem: "the sink's mysql url names no database", Remedy: "mysql://user@host:3306/database, or schema beside it"}
	}
	m.DBName = c.Schema
	return m, nil
}

// Writer is a sink.Writer for one database over one connection. It reconnects
// by itself. Not safe for concurrent use.
type Writer struct {
	cfg     Config
	dial    *mysql.Config
	log     *slog.Logger
	conn    conn // nil between connections
	server  server
	offsets string    // quoted name of the offsets table
	open    bool      // a transaction may be open on conn
	used    time.Time // when conn was last used
	plans   map[*sink.Shape]*plan
	renamed apply.Renames // names in lower case; the offsets table has them, too
	buf     []byte        // of the statement that is being written
}

var _ sink.Writer = (*Writer)(nil)

// conn is what a connection of the driver can do.
type conn interface {
	driver.Conn
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.Validator
}

// Open connects, and makes the offsets table when it is absent. It fails at
// once when the server cannot be reached; a *replication.Refusal says what a
// person must do.
func Open(ctx context.Context, cfg Config) (*Writer, error) {
	w, err := newWriter(cfg)
	if err != nil {
		return nil, err
	}
	if err := w.connect(ctx); err != nil {
		return nil, err
	}
	if err := w.ensureOffsets(ctx); err != nil {
		if !transient(err) && !replication.IsRefusal(err) {
			err = &replication.Refusal{Problem: "the sink's database cannot be used", Err: err}
		}
		return nil, errors.Join(err, w.Close(ctx))
	}
	return w, nil
}

func newWriter(cfg Config) (*Writer, error) {
	dial, err := cfg.settings()
	if err != nil {
		return nil, err
	}
	return &Writer{cfg: cfg, dial: dial, log: cfg.Logger, offsets: tableName(cfg.Schema, cfg.OffsetsTable), plans: map[*sink.Shape]*plan{}, renamed: apply.Renames{}}, nil
}

// connectTimeout bounds how long connecting and logging in may take.
const connectTimeout = 30 * time.Second

// connect opens the connection with the settings that our literals rely on.
func (w *Writer) connect(ctx context.Context) error {
	c, err := mysql.NewConnector(w.dial)
	if err != nil {
		return &replication.Refusal{Problem: "the sink's mysql url cannot be used", Remedy: "correct url: mysql://user@host:3306/database", Err: err}
	}
	within, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	raw, err := c.Connect(within)
	if err == nil {
		w.conn, w.open, w.used = raw.(conn), false, time.Now() //nolint:forcetypeassert // as the driver documents
		if err = w.prepareSession(within); err != nil {
			w.drop()
		}
	}
	if err == nil {
		return nil
	}
	if remedy := connectRemedy(err, w.cfg.Schema); remedy != "" {
		return &replication.Refusal{Problem: "the sink's database refuses the connection", Remedy: remedy, Err: err}
	}
	return fmt.Errorf("connect to the sink's database: %w", err)
}

// Sessions that have lost their client keep their locks until the server
// notices. idleTimeout, in seconds, is after how long of silence it does; a
// Writer that idles for longer finds that out and connects again.
const idleTimeout = 300

// sqlMode makes the server refuse what does not fit, and take 0 for 0 in a
// column with AUTO_INCREMENT.
const sqlMode = "STRICT_TRANS_TABLES,STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION"

func (w *Writer) prepareSession(ctx context.Context) error {
	rows, err := w.query(ctx, "SELECT version(), @@max_allowed_packet, @@binlog_format, @@read_only")
	if err != nil {
		return err
	}
	if w.server, err = readServer(rows[0]); err != nil {
		return err
	}
	// READ COMMITTED takes no locks between rows, in which members of a group
	// would get in each other's way; with a binlog of statements it is refused.
	isolation := "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
	if rows[0][2].text == "STATEMENT" {
		isolation = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"
	}
	_, err = w.exec(ctx, fmt.Sprintf("SET NAMES utf8mb4 COLLATE utf8mb4_bin; %s; SET SESSION sql_mode = '%s', time_zone = '+00:00', "+
		"autocommit = 1, lock_wait_timeout = 60, innodb_lock_wait_timeout = 30, wait_timeout = %d, foreign_key_checks = 1, unique_checks = 1", isolation, sqlMode, idleTimeout))
	return err
}

// drop gives the connection up.
func (w *Writer) drop() {
	if w.conn != nil {
		_ = w.conn.Close() // it is given up
	}
	w.conn, w.open = nil, false
}

// Close ends the connection.
func (w *Writer) Close(context.Context) error {
	w.drop()
	return nil
}

// ready makes sure that there is a connection with no transaction open.
func (w *Writer) ready(ctx context.Context) error {
	if w.conn != nil && w.conn.IsValid() {
		var err error
		switch {
		case w.open:
			_, err = w.exec(ctx, "ROLLBACK")
			w.open = err != nil
		case time.Since(w.used) > idleTimeout*time.Second/10:
			err = w.conn.Ping(ctx)
		}
		if err == nil {
			return nil
		}
	}
	w.drop()
	return w.connect(ctx)
}

// exec runs statements and returns how many rows each of them matched.
func (w *Writer) exec(ctx context.Context, sql string) ([]int64, error) {
	w.used = time.Now()
	r, err := w.conn.ExecContext(ctx, sql, nil)
	if err != nil {
		return nil, err
	}
	return r.(mysql.Result).AllRowsAffected(), nil //nolint:forcetypeassert // as the driver documents
}

// execBytes runs one statement without copying it, and returns how many rows
// it matched.
func (w *Writer) execBytes(ctx context.Context, sql []byte) (int64, error) {
	w.used = time.Now()
	r, err := w.conn.ExecContext(ctx, unsafe.String(unsafe.SliceData(sql), len(sql)), nil)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// cell is a field of a query's answer as text.
type cell struct {
	text string
	null bool
}

// query runs one statement and returns its rows.
func (w *Writer) query(ctx context.Context, sql string) ([][]cell, error) {
	w.used = time.Now()
	r, err := w.conn.QueryContext(ctx, sql, nil)
	if err != nil {
		return nil, err
	}
	var out [][]cell
	dest := make([]driver.Value, len(r.Columns()))
	for {
		if err = r.Next(dest); err != nil {
			break
		}
		row := make([]cell, len(dest))
		for i, v := range dest {
			switch v := v.(type) {
			case nil:
				row[i].null = true
			case []byte:
				row[i].text = string(v)
			default: // numbers
				row[i].text = fmt.Sprint(v)
			}
		}
		out = append(out, row)
	}
	if !isEOF(err) {
		return nil, errors.Join(err, r.Close())
	}
	return out, r.Close()
}

// retry runs f until it succeeds or fails for good, reconnecting in between.
func (w *Writer) retry(ctx context.Context, what string, f func() error) error {
	c := apply.Connection{
		Ready: w.ready, Transient: transient, Log: w.log,
		Lost: func(_ context.Context, err error) {
			if readOnly(err) {
				w.drop() // another server may be the primary by now, behind the same name
			}
		},
	}
	return c.Retry(ctx, what, f)
}

// quoteName quotes an identifier.
func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// unquoteName undoes quoteName.
func unquoteName(quoted string) string {
	return strings.ReplaceAll(quoted[1:len(quoted)-1], "``", "`")
}

// tableName quotes a table's qualified name.
func tableName(schema, table string) string { return quoteName(schema) + "." + quoteName(table) }

// quoteText quotes a text as a literal; the server reads backslashes as
// escapes, because our sql_mode has no NO_BACKSLASH_ESCAPES.
func quoteText(s string) string { return string(appendQuoted(nil, []byte(s))) }
