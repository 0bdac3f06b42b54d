// Package replicationtest is what every replication.Source must do, as tests
// over a real server: a family of databases adds a Driver, and Run takes it
// through all scenarios. The scenarios speak plain SQL that the families share
// and compare what arrives by the columns' names; what differs between the
// families, or between versions of one, stands in Dialect.
package replicationtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cdc/replication"
)

// Driver is one server of a family, at one version. Nobody else uses it, so
// that scenarios may stop it.
type Driver interface {
	Dialect() Dialect
	// Database makes an empty database for one scenario. When t ends it is
	// gone, with all that sources made on the server for it.
	Database(t testing.TB) Database
	// Stop ends the server: in the ordinary way, with crash as kill -9 does.
	Stop(ctx context.Context, crash bool) error
	// Start starts it again, at the same address, and waits until it answers.
	Start(ctx context.Context) error
}

// Database is one empty database.
type Database interface {
	// Open opens a source. What commits after it returned comes as a change,
	// not as a row of the snapshot. An error of the source is returned as it is.
	Open(ctx context.Context, o Options) (replication.Source, error)
	// Connect opens a session as an application has one.
	Connect(ctx context.Context) (Session, error)
	// Disconnect ends, from the server's side, the connections over which open
	// sources of this database read its log, and returns how many it ended: 0
	// while they are about to connect.
	Disconnect(ctx context.Context) (int, error)
}

// Options are what a scenario wants of a source.
type Options struct {
	Tables     []string // unquoted, in the database's ordinary schema
	From       replication.Position
	Snapshot   bool // read the rows that there are first; else changes alone
	BatchBytes int  // budget of a Batch; 0 is the source's own
}

// Session is one connection in which each statement commits by itself, unless
// it stands between BEGIN and COMMIT or ROLLBACK.
type Session interface {
	Exec(ctx context.Context, sql string) error
	// Query returns the values as text, NULL as "null".
	Query(ctx context.Context, sql string) ([][]string, error)
	Close()
}

// Dialect is what scenarios must know of a server's SQL. They use INT, BIGINT,
// VARCHAR and TEXT, constants in single quotes without backslashes, and
// statements that need no more than what is said here.
type Dialect struct {
	// Quote quotes a name.
	Quote func(name string) string
	// RenameColumn returns the statement that renames a column of that type.
	RenameColumn func(table, from, to, definition string) string
	// DDLInTransaction says that CREATE, ALTER and TRUNCATE are part of an open
	// transaction, and do not commit it.
	DDLInTransaction bool
}

// Server is one column of the report.
type Server struct {
	Name  string // family and version: "PostgreSQL 17"
	Start func(t *testing.T) Driver
}

// Run takes each server through all scenarios, and reports a table of them.
// The tests are called Server/scenario.
func Run(t *testing.T, servers []Server) {
	t.Helper()
	report := newReport(servers)
	t.Cleanup(func() { report.publish(t) })
	for column, s := range servers {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			d := s.Start(t)
			t.Run("all", func(t *testing.T) { // ends when the parallel ones have
				for row, sc := range scenarios {
					if sc.alone {
						continue
					}
					t.Run(sc.name, func(t *testing.T) {
						t.Parallel()
						report.run(t, row, column, d)
					})
				}
			})
			for row, sc := range scenarios {
				if sc.alone {
					t.Run(sc.name, func(t *testing.T) { report.run(t, row, column, d) })
				}
			}
		})
	}
}

// scenario is one row of the report.
type scenario struct {
	name  string
	run   func(*world)
	alone bool // it stops the server
}

// patience bounds a scenario.
const patience = 5 * time.Minute

// world is one scenario on one server.
type world struct {
	*testing.T
	Driver
	ctx context.Context //nolint:containedctx // of the one test that has it
	db  Database
	sql Session

	fences int
}

// fence is a table that every source of a scenario captures: its rows tell that
// everything before has come.
const fence = "fence"

func newWorld(t *testing.T, d Driver) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	w := &world{T: t, Driver: d, ctx: ctx, db: d.Database(t)}
	w.sql = w.session()
	w.exec("CREATE TABLE fence (id INT PRIMARY KEY)")
	return w
}

func (w *world) nextFence() int {
	w.fences++
	return w.fences
}

func (w *world) session() Session {
	w.Helper()
	s, err := w.db.Connect(w.ctx)
	if err != nil {
		w.Fatalf("connect: %v", err)
	}
	w.Cleanup(s.Close)
	return s
}

// exec runs statements in the scenario's own session.
func (w *world) exec(statements ...string) {
	w.Helper()
	w.in(w.sql, statements...)
}

func (w *world) in(s Session, statements ...string) {
	w.Helper()
	for _, sql := range statements {
		if err := s.Exec(w.ctx, sql); err != nil {
			w.Fatalf("%.200s: %v", sql, err)
		}
	}
}

// open opens a source and a reader of it. It captures the fence, too.
func (w *world) open(o Options) *reader {
	w.Helper()
	o.Tables = append([]string{fence}, o.Tables...)
	s, err := w.db.Open(w.ctx, o)
	if err != nil {
		w.Fatalf("open: %v", err)
	}
	r := &reader{w: w, s: s, pos: o.From}
	w.Cleanup(r.close)
	return r
}

// capture opens a source of the changes of tables.
func (w *world) capture(tables ...string) *reader {
	w.Helper()
	return w.open(Options{Tables: tables})
}

func (w *world) fatal(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// closeTimeout is how long a source may take to close.
const closeTimeout = time.Minute

// close closes the source. A second call does nothing.
func (r *reader) close() {
	r.w.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.w.ctx), closeTimeout)
	defer cancel()
	if err := r.s.Close(ctx); err != nil {
		r.w.Errorf("close: %v", err)
	}
}

var errStopped = errors.New("stopped")

// insert returns the statement; a nil is NULL.
func insert(table string, values ...any) string {
	list := make([]string, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case nil:
			list[i] = "NULL"
		case string:
			list[i] = "'" + v + "'"
		default:
			list[i] = fmt.Sprint(v)
		}
	}
	return "INSERT INTO " + table + " VALUES (" + strings.Join(list, ", ") + ")"
}
