// Package postgres applies a sink's batches to tables of a PostgreSQL
// database: rows and offsets in one transaction, by unnest for small batches,
// by text COPY for large ones.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"cdc/internal/dial"
	"cdc/replication"
	"cdc/secret"
	"cdc/sink"
	"cdc/sink/apply"
)

// Config says which database to write to, and what may be changed in it.
type Config struct {
	// URL is a libpq URL or keyword string, read by pgconn: TLS modes, SCRAM,
	// passfile, service file and unix sockets work as with libpq.
	URL secret.String
	// CreateTables allows CREATE TABLE for topics that have none, AddColumns
	// ALTER TABLE … ADD COLUMN for fields that have none, AlterColumns that of
	// columns which cannot follow their field otherwise: a wider type, NULL, another
	// name.
	CreateTables, AddColumns, AlterColumns bool
	// Schema holds tables for which a topic names no other, and the offsets
	// table. Defaults to "public".
	Schema string
	// OffsetsTable is the table of the groups' offsets, in Schema. Defaults to
	// "cdc_offsets"; it is created when it is absent.
	OffsetsTable string
	// Logger gets warnings, and what was created. nil discards them.
	Logger *slog.Logger
}

func (c *Config) defaults() {
	if c.Schema == "" {
		c.Schema = "public"
	}
	if c.OffsetsTable == "" {
		c.OffsetsTable = "cdc_offsets"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Writer is a sink.Writer for one PostgreSQL database over one connection. It
// reconnects by itself. Not safe for concurrent use.
type Writer struct {
	cfg     Config
	log     *slog.Logger
	conn    *pgconn.PgConn // nil, or closed, between connections
	offsets string         // quoted name of the offsets table
	plans   map[*sink.Shape]*plan
	planned map[*sink.Shape]bool   // those that ever had a plan
	last    map[string]*sink.Shape // by table: the shape planned last
	renamed apply.Renames          // by this Writer
	types   userTypes
	// prepared holds this connection's statements by their SQL.
	prepared map[string]string
	stages   int // temp tables made on this connection so far
	buf      []byte
	params   [][]byte
}

var _ sink.Writer = (*Writer)(nil)

// Open connects, and makes the offsets table when it is absent. It fails at
// once when the server cannot be reached; a *replication.Refusal says what a
// person must do.
func Open(ctx context.Context, cfg Config) (*Writer, error) {
	cfg.defaults()
	w := &Writer{
		cfg: cfg, log: cfg.Logger, offsets: tableName(cfg.Schema, cfg.OffsetsTable), plans: map[*sink.Shape]*plan{},
		planned: map[*sink.Shape]bool{}, last: map[string]*sink.Shape{}, renamed: apply.Renames{},
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

// sessionSettings make the input functions read the texts as the source's
// sessions wrote them. Not in the start-up message: PgBouncer would refuse it.
const sessionSettings = "SET IntervalStyle = postgres; SET lc_monetary = 'C'; SET xmloption = content; SET array_nulls = on"

// connect opens the connection with the settings that our texts rely on.
func (w *Writer) connect(ctx context.Context) error {
	pc, err := pgconn.ParseConfig(w.cfg.URL.Reveal())
	if err != nil {
		return &replication.Refusal{Problem: "the sink's postgres url cannot be read", Remedy: "correct url: postgres://user@host:5432/database", Err: withoutURL(err)}
	}
	if pc.RuntimeParams["application_name"] == "" {
		pc.RuntimeParams["application_name"] = "cdc sink"
	}
	pc.RuntimeParams["client_encoding"] = "UTF8"
	pc.RuntimeParams["DateStyle"] = "ISO, YMD"
	pc.RuntimeParams["TimeZone"] = "UTC"
	if pc.ConnectTimeout == 0 || pc.ConnectTimeout > 30*time.Second {
		pc.ConnectTimeout = 30 * time.Second
	}
	pc.DialFunc = dial.New().DialContext
	conn, err := pgconn.ConnectConfig(ctx, pc)
	switch code := sqlState(err); {
	case strings.HasPrefix(code, "28"), code == "3D000", code == noPrivilege:
		return &replication.Refusal{
			Problem: "the sink's database refuses the connection",
			Remedy:  "check user, password and database of the sink's postgres url, and pg_hba.conf",
			Err:     err,
		}
	case err != nil:
		return fmt.Errorf("connect to the sink's database: %w", err)
	}
	if _, err := conn.Exec(ctx, sessionSettings).ReadAll(); err != nil {
		_ = conn.Close(ctx) // it is given up
		return fmt.Errorf("set up the session of the sink's database: %w", err)
	}
	w.conn = conn
	w.stages, w.prepared = 0, map[string]string{}
	for _, p := range w.plans {
		p.stage = "" // temp tables ended with the connection
	}
	return nil
}

// withoutURL leaves the connection string out of pgconn's error, which masks
// the password in it by best effort alone.
func withoutURL(err error) error {
	if _, ok := errors.AsType[*pgconn.ParseConfigError](err); !ok {
		return err
	}
	text := err.Error() // cannot parse `…`: what is wrong (why)
	text = text[strings.LastIndexByte(text, '`')+1:]
	text, _, _ = strings.Cut(strings.TrimPrefix(text, ": "), " (")
	return errors.New(text)
}

// Close ends the connection.
func (w *Writer) Close(ctx context.Context) error {
	if w.conn == nil {
		return nil
	}
	conn := w.conn
	w.conn = nil
	return conn.Close(ctx)
}

// ready makes sure that there is a connection with no transaction open.
func (w *Writer) ready(ctx context.Context) error {
	if w.conn != nil && !w.conn.IsClosed() {
		if w.conn.TxStatus() == 'I' {
			return nil
		}
		if _, err := w.conn.Exec(ctx, "ROLLBACK").ReadAll(); err == nil {
			return nil
		}
	}
	if w.conn != nil {
		w.conn.Close(ctx)
		w.conn = nil
	}
	return w.connect(ctx)
}

// exec runs statements without parameters.
func (w *Writer) exec(ctx context.Context, sql string) error {
	_, err := w.conn.Exec(ctx, sql).ReadAll()
	return err
}

// query runs one statement with text parameters and returns its rows, copied.
func (w *Writer) query(ctx context.Context, sql string, params ...string) ([][][]byte, error) {
	p := make([][]byte, len(params))
	for i, s := range params {
		p[i] = []byte(s)
	}
	r := w.conn.ExecParams(ctx, sql, p, nil, nil, nil).Read()
	return r.Rows, r.Err
}

// retry runs f until it succeeds or fails for good, reconnecting in between.
func (w *Writer) retry(ctx context.Context, what string, f func() error) error {
	c := apply.Connection{
		Ready: w.ready, Transient: transient, Log: w.log,
		Lost: func(ctx context.Context, err error) {
			if sqlState(err) == readOnly && w.conn != nil {
				// Another server may be the primary by now, behind the same name.
				_ = w.conn.Close(ctx) // it is given up
			}
		},
	}
	return c.Retry(ctx, what, f)
}
