package mysql

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"cdc/internal/services"
	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/secret"
)

// everyServer runs a test on every version.
func everyServer(t *testing.T, f func(t *testing.T, version string)) {
	t.Helper()
	for _, version := range services.MySQLVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			f(t, version)
		})
	}
}

// testConfig captures tables of an empty database, with the rights that the
// manual asks for. exec runs statements in it as a superuser.
func testConfig(t *testing.T, version string, tables ...string) (cfg Config, exec func(...string)) {
	t.Helper()
	return configAt(t, servicetest.MySQL(t, version), tables...)
}

func configAt(t *testing.T, address string, tables ...string) (cfg Config, exec func(...string)) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := servicetest.MySQLConn(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	exec = func(statements ...string) {
		t.Helper()
		for _, sql := range statements {
			if _, err := conn.Execute(sql); err != nil {
				t.Fatalf("%.300s: %v", sql, err)
			}
		}
	}
	database := strings.Trim(u.Path, "/")
	u.User, u.Path = url.UserPassword("cdc", "cdc"), "/"
	// Other tests on the server have transactions prepared for a while.
	cfg = Config{Name: servicetest.Name(t, "c"), Flavor: Flavor(u.Scheme), URL: secret.New(u.String()), IDWait: 45 * time.Second}
	for _, name := range tables {
		cfg.Tables = append(cfg.Tables, TableConfig{Schema: database, Name: name})
	}
	return cfg, exec
}

// impatient is a configuration whose refusal is expected.
func impatient(cfg Config) Config {
	cfg.IDWait = 2 * time.Second
	return cfg
}

// patience is how long anything may take on a machine that is busy.
const patience = 3 * time.Minute

// row is a change that outlives its batch.
type row struct {
	op     replication.Op
	table  *replication.Table
	before []string
	after  []string
	tx     string
	commit string
	index  uint64
}

func (r *row) String() string {
	return r.op.String() + " " + r.table.Name + " " + strings.Join(r.before, " ") + " > " + strings.Join(r.after, " ")
}

func texts(values []replication.Value) (out []string) {
	for _, v := range values {
		out = append(out, v.String())
	}
	return out
}

// reading is an open source in a test.
type reading struct {
	t   *testing.T
	s   *Source
	pos replication.Position
}

func openSource(t *testing.T, cfg Config) *reading {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	r := &reading{t: t, s: s, pos: cfg.From}
	t.Cleanup(r.close)
	return r
}

func (r *reading) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.s.Close(ctx); err != nil {
		r.t.Errorf("close: %v", err)
	}
}

// take reads until n changes have come.
func (r *reading) take(n int) (rows []row) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	for len(rows) < n {
		b, err := r.s.Next(ctx)
		if err != nil {
			r.t.Fatalf("after %d of %d changes: %v", len(rows), n, err)
		}
		for i := range b.Changes {
			c := &b.Changes[i]
			rows = append(rows, row{
				op: c.Op, table: c.Table, before: texts(c.Before), after: texts(c.After),
				tx: string(c.Tx.ID), commit: string(c.Tx.Commit), index: c.Index,
			})
		}
		if b.Position != "" {
			r.pos = b.Position
		}
		b.Release()
	}
	if len(rows) > n {
		r.t.Fatalf("%d changes came, want %d: %v", len(rows), n, rows[n:])
	}
	return rows
}

// fails reads until an error.
func (r *reading) fails() error {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	for {
		b, err := r.s.Next(ctx)
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				r.t.Fatal("no error within " + patience.String())
			}
			return err
		}
		b.Release()
	}
}

// wantRefusal checks that err is one that says both.
func wantRefusal(t *testing.T, err error, problem, remedy string) {
	t.Helper()
	r, ok := errors.AsType[*replication.Refusal](err)
	if !ok {
		t.Fatalf("got %v, want a refusal", err)
	}
	if !strings.Contains(err.Error(), problem) || !strings.Contains(err.Error(), remedy) {
		t.Errorf("refusal reads %q (%q), want %q and %q", err, r.Remedy, problem, remedy)
	}
}

// withUser puts another user into a URL.
func withUser(t *testing.T, address secret.String, user, password string) secret.String {
	t.Helper()
	u, err := url.Parse(address.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, password)
	return secret.New(u.String())
}
