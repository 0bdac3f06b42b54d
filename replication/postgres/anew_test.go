package postgres

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/replication"
)

// TestTableMadeAnew drops a captured table, with changes that nobody has read,
// and makes another one of its name: while nobody looks, and again.
func TestTableMadeAnew(t *testing.T) {
	for _, publication := range []string{"of tables", "of all tables"} {
		t.Run(publication, func(t *testing.T) {
			d := newTestDB(t)
			d.exec(`CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'old')`)
			d.exec(`CREATE TABLE u (id int PRIMARY KEY)`)
			cfg := d.config("public.t", "public.u")
			if publication == "of all tables" {
				d.exec(`CREATE PUBLICATION ` + cfg.Publication + ` FOR ALL TABLES`)
			}
			s := mustOpen(t, cfg)
			_, cfg.From = readAll(t, s)
			mustClose(t, s)
			for range 2 {
				d.exec(`INSERT INTO u SELECT coalesce(max(id), 0) + 1 FROM u; DELETE FROM t; INSERT INTO t VALUES (1, 'not read')`)
				d.exec(`DROP TABLE t; CREATE TABLE t (name text PRIMARY KEY); INSERT INTO t VALUES ('a'), ('b')`)
				s = mustOpen(t, cfg)
				d.exec(`INSERT INTO t VALUES ('c')`)
				r := readFrom(t, s)
				got := r.changes(5)
				want := []string{`truncate public.t`, `read public.t ("a")`, `read public.t ("b")`}
				if diff := cmp.Diff(want, got[:3]); diff != "" {
					t.Fatal(diff)
				}
				if !strings.HasPrefix(got[3], "insert public.u") || got[4] != `insert public.t ("c")` {
					t.Errorf("then %q", got[3:])
				}
				r.pos = ""
				d.exec(`INSERT INTO u SELECT max(id) + 1 FROM u`)
				r.changes(1)
				cfg.From = r.position()
				mustClose(t, s)
				d.exec(`DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v text)`)
				s = mustOpen(t, cfg)
				if r := readFrom(t, s); r.changes(1)[0] != `truncate public.t` {
					t.Error("the third table of that name goes unnoticed")
				} else {
					cfg.From = r.position()
				}
				mustClose(t, s)
			}
		})
	}
}

// TestTableMadeAnewRunning does that while a source reads: it ends, and the next
// start reads the new table.
func TestTableMadeAnewRunning(t *testing.T) {
	for _, publication := range []string{"of tables", "of all tables"} {
		t.Run(publication, func(t *testing.T) {
			d := newTestDB(t)
			d.exec(`CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)`)
			cfg := d.config("public.t")
			if publication == "of all tables" {
				d.exec(`CREATE PUBLICATION ` + cfg.Publication + ` FOR ALL TABLES`)
			}
			s := mustOpen(t, cfg)
			r := readFrom(t, s)
			r.changes(1)
			cfg.From = r.position()
			d.exec(`INSERT INTO t VALUES (2)`)
			r.changes(1)
			d.exec(`DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY)`)
			d.exec(`INSERT INTO t VALUES (3)`)
			if publication == "of tables" { // nothing comes of it: it is the monitor that sees it
				if err := s.monitor.look(testContext(t)); err != nil {
					t.Fatal(err)
				}
			}
			for {
				b, err := s.Next(testContext(t))
				if err == nil {
					b.Release()
					continue
				}
				if !replication.IsRefusal(err) || !strings.Contains(err.Error(), "table public.t was dropped and made anew") || !strings.Contains(err.Error(), "start cdc again") {
					t.Fatal(err)
				}
				break
			}
			mustClose(t, s)
			want := []string{`truncate public.t`, `read public.t (3)`}
			if diff := cmp.Diff(want, readFrom(t, mustOpen(t, cfg)).changes(2)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestNamesSwapped lets two captured tables take each other's name while a source
// reads: what comes under a name is not what came under it so far.
func TestNamesSwapped(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO a VALUES (1); INSERT INTO b VALUES (2)`)
	cfg := d.config("public.a", "public.b")
	s := mustOpen(t, cfg)
	r := readFrom(t, s)
	r.changes(2)
	cfg.From = r.position()
	d.exec(`INSERT INTO a VALUES (3)`)
	r.changes(1)
	d.exec(`BEGIN; ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b; COMMIT`)
	d.exec(`INSERT INTO a VALUES (4)`)
	for {
		b, err := s.Next(testContext(t))
		if err == nil && len(b.Changes) > 0 {
			t.Fatalf("%s", show(&b.Changes[0]))
		}
		if err == nil {
			b.Release()
			continue
		}
		if !replication.IsRefusal(err) || !strings.Contains(err.Error(), "another one was renamed to its name") {
			t.Fatal(err)
		}
		break
	}
	mustClose(t, s)
	want := []string{
		`truncate public.a`, `read public.a (2)`, `read public.a (4)`,
		`truncate public.b`, `read public.b (1)`, `read public.b (3)`,
	}
	s = mustOpen(t, cfg)
	r = readFrom(t, s)
	if diff := cmp.Diff(want, r.changes(6)); diff != "" {
		t.Error(diff)
	}
	d.exec(`INSERT INTO b VALUES (5)`)
	if diff := cmp.Diff([]string{`insert public.b (5)`}, r.changes(1)); diff != "" {
		t.Error(diff)
	}
}
