package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/secret"
)

// patience is how long anything may take on a machine that is busy.
const patience = 3 * time.Minute

// testDB is a fresh database on the real server.
type testDB struct {
	t    testing.TB
	url  string
	conn *pgx.Conn
}

func newTestDB(t testing.TB) *testDB {
	t.Helper()
	return openTestDB(t, servicetest.Postgres(t))
}

func openTestDB(t testing.TB, url string) *testDB {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(ctx) })
	return &testDB{t: t, url: url, conn: conn}
}

func (d *testDB) exec(sql string, args ...any) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := d.conn.Exec(ctx, sql, args...); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
}

// text returns the one value of a query.
func (d *testDB) text(sql string, args ...any) string {
	d.t.Helper()
	var s *string
	if err := d.conn.QueryRow(context.Background(), sql, args...).Scan(&s); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	if s == nil {
		return "NULL"
	}
	return *s
}

// config captures the tables, named schema.name, with a slot and a publication
// of their own.
func (d *testDB) config(tables ...string) Config {
	name := servicetest.Name(d.t, "s")
	cfg := Config{Name: name, URL: secret.New(d.url), Slot: name, Publication: name, SlotWait: 30 * time.Second}
	for _, t := range tables {
		schema, table, _ := strings.Cut(t, ".")
		cfg.Tables = append(cfg.Tables, TableConfig{Schema: schema, Name: table})
	}
	return cfg
}

// testContext bounds a test that waits for the server.
func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func mustOpen(t testing.TB, cfg Config) *Source {
	t.Helper()
	s, err := Open(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("close source: %v", err)
		}
	})
	return s
}

// firstPosition takes the first batch of a start, which brings its Position and
// nothing else.
func firstPosition(t testing.TB, s *Source) replication.Position {
	t.Helper()
	b, err := s.Next(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Changes) > 0 || b.Position == "" {
		t.Fatalf("first come %d changes and position %q", len(b.Changes), b.Position)
	}
	defer b.Release()
	return b.Position
}

func mustClose(t testing.TB, s *Source) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Fatalf("close source: %v", err)
	}
}

// show renders a change: "insert public.t (1, "a") at 0".
func show(c *replication.Change) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", c.Op, c.Table)
	if c.Before != nil {
		fmt.Fprintf(&b, " before %s", showRow(c.Before))
	}
	if c.After != nil {
		fmt.Fprintf(&b, " %s", showRow(c.After))
	}
	for _, i := range c.Refetched {
		fmt.Fprintf(&b, " refetched %s", c.Table.Columns[i].Name)
	}
	return b.String()
}

func showRow(vals []replication.Value) string {
	s := make([]string, len(vals))
	for i, v := range vals {
		s[i] = v.String()
	}
	return "(" + strings.Join(s, ", ") + ")"
}

// changeReader takes changes from a source and remembers the newest Position.
type changeReader struct {
	t    testing.TB
	s    *Source
	ctx  context.Context
	have []string
	pos  replication.Position
}

func readFrom(t testing.TB, s *Source) *changeReader {
	return &changeReader{t: t, s: s, ctx: testContext(t)}
}

// changes returns the next n changes.
func (r *changeReader) changes(n int) []string {
	r.t.Helper()
	for len(r.have) < n {
		r.batch()
	}
	list := r.have[:n:n]
	r.have = r.have[n:]
	return list
}

func (r *changeReader) batch() {
	r.t.Helper()
	b, err := r.s.Next(r.ctx)
	if err != nil {
		r.t.Fatalf("next: %v (have %q)", err, r.have)
	}
	for i := range b.Changes {
		r.have = append(r.have, show(&b.Changes[i]))
	}
	if b.Position != "" && (len(b.Changes) > 0 || !opening(b.Position)) {
		r.pos = b.Position
	}
	b.Release()
}

// opening reports whether p is that of a start that has read nothing yet.
func opening(p replication.Position) bool {
	return p != "" && !strings.Contains(string(p), `"tables"`)
}

// position reads on until there is a Position and no change is left over.
func (r *changeReader) position() replication.Position {
	r.t.Helper()
	for r.pos == "" {
		r.batch()
	}
	return r.pos
}
