package cdctest

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"cdc/replication"
	"cdc/replication/mysql"
	"cdc/replication/postgres"
	"cdc/secret"
)

// origin is the database of a capture.
type origin interface {
	open(ctx context.Context) (replication.Source, error)
	// mark returns what is closed when all that is committed now has been
	// published.
	mark(ctx context.Context, c *Capture) (<-chan struct{}, error)
	// close leaves nothing in the database. The source is closed already.
	close(ctx context.Context) error
}

// origin returns the source's database, with nothing opened.
func (s Source) origin(name string) origin {
	if s.MySQL == "" {
		p := &postgresOrigin{config: postgres.Config{Name: name, URL: secret.New(s.Postgres), Slot: name, Publication: name, Messages: []string{name}}}
		s.each(func(schema, table, prefix string, outbox bool) {
			if prefix != "" {
				p.config.Messages = append(p.config.Messages, prefix)
			} else {
				p.config.Tables = append(p.config.Tables, postgres.TableConfig{Schema: schema, Name: table, Snapshot: postgres.SnapshotNever, Keyless: outbox})
			}
		})
		return p
	}
	family, _, _ := strings.Cut(s.MySQL, "://")
	m := &mysqlOrigin{config: mysql.Config{Name: name, Flavor: mysql.Flavor(family), URL: secret.New(s.MySQL)}}
	s.each(func(schema, table, prefix string, outbox bool) {
		if prefix == "" {
			m.config.Tables = append(m.config.Tables, mysql.TableConfig{Schema: schema, Name: table, Snapshot: mysql.SnapshotNever, Keyless: outbox, InsertsOnly: outbox})
		}
	})
	return m
}

// each calls f for every table and prefix.
func (s Source) each(f func(schema, table, prefix string, outbox bool)) {
	for _, t := range s.Tables {
		schema, table, _ := strings.Cut(t, ".")
		f(schema, table, "", false)
	}
	for _, o := range s.Outboxes {
		f(o.Schema, o.Table, o.Prefix, true)
	}
}

// postgresOrigin marks the log by messages of a prefix of its own.
type postgresOrigin struct {
	config postgres.Config
	conn   *pgx.Conn
	marks  int
}

func (o *postgresOrigin) open(ctx context.Context) (_ replication.Source, err error) {
	if o.conn, err = pgx.Connect(ctx, o.config.URL.Reveal()); err != nil {
		return nil, err
	}
	return postgres.Open(ctx, o.config)
}

func (o *postgresOrigin) mark(ctx context.Context, c *Capture) (<-chan struct{}, error) {
	o.marks++
	mark := fmt.Sprint(o.marks)
	if _, err := o.conn.Exec(ctx, `SELECT pg_logical_emit_message(true, $1, $2::text)`, o.config.Name, mark); err != nil {
		return nil, err
	}
	return c.sent.await(o.config.Name, mark), nil
}

func (o *postgresOrigin) close(ctx context.Context) error {
	if o.conn != nil {
		_ = o.conn.Close(ctx) // nothing is open
	}
	_, _, err := postgres.Drop(ctx, o.config)
	return err
}

// mysqlOrigin compares the saved position with the end of the log, and leaves
// nothing in the database.
type mysqlOrigin struct {
	config mysql.Config
	beside *mysql.Beside
}

func (o *mysqlOrigin) open(ctx context.Context) (_ replication.Source, err error) {
	if o.beside, err = mysql.OpenBeside(ctx, o.config); err != nil {
		return nil, err
	}
	return mysql.Open(ctx, o.config)
}

func (o *mysqlOrigin) mark(ctx context.Context, c *Capture) (<-chan struct{}, error) {
	end, err := o.beside.End(ctx)
	if err != nil {
		return nil, err
	}
	return c.saved.await(func(p replication.Position) (bool, error) { return mysql.Passed(p, end) }), nil
}

func (o *mysqlOrigin) close(context.Context) error {
	if o.beside != nil {
		o.beside.Close()
	}
	return nil
}

// forgetful stores a position no longer than the process lives.
type forgetful struct {
	mu    sync.Mutex
	saved replication.Position
	waits []wait
}

// wait is for a position.
type wait struct {
	passed func(replication.Position) (bool, error)
	done   chan struct{}
}

func (f *forgetful) Load(context.Context) (replication.Position, error) { return f.saved, nil }

func (f *forgetful) Save(_ context.Context, p replication.Position) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.saved = p
	return f.look()
}

// await returns what is closed when a position has been saved that passed
// reports true for.
func (f *forgetful) await(passed func(replication.Position) (bool, error)) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := wait{passed, make(chan struct{})}
	f.waits = append(f.waits, w)
	_ = f.look() // an error comes again with the next position
	return w.done
}

// look ends the waits that are over. The lock is held.
func (f *forgetful) look() error {
	var left []wait
	for _, w := range f.waits {
		ok, err := w.passed(f.saved)
		if err != nil {
			return err
		}
		if ok {
			close(w.done)
		} else {
			left = append(left, w)
		}
	}
	f.waits = left
	return nil
}
