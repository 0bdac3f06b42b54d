package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSnapshotThenStream(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE orders (id int PRIMARY KEY, note text)`)
	d.exec(`INSERT INTO orders VALUES (1, E'a\tb\\c\nd'), (2, NULL)`)
	cfg := d.config("public.orders")
	s := mustOpen(t, cfg)
	r := readFrom(t, s)
	d.exec(`INSERT INTO orders VALUES (3, 'new')`)
	want := []string{
		`read public.orders (1, "a\tb\\c\nd")`,
		`read public.orders (2, null)`,
		`insert public.orders (3, "new")`,
	}
	if diff := cmp.Diff(want, r.changes(3)); diff != "" {
		t.Fatal(diff)
	}
	pos := r.position()
	s.Ack(pos)
	mustClose(t, s)

	d.exec(`DELETE FROM orders WHERE id = 1`)
	cfg.From = pos
	s = mustOpen(t, cfg)
	r = readFrom(t, s)
	if diff := cmp.Diff([]string{`delete public.orders before (1, unchanged)`}, r.changes(1)); diff != "" {
		t.Fatal(diff)
	}
}

// TestForeignTables has a publication with more tables than are configured, and
// a configured table that is renamed while it is captured.
func TestForeignTables(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE mine (id int PRIMARY KEY)`)
	d.exec(`CREATE TABLE other (id int PRIMARY KEY)`)
	cfg := d.config("public.mine")
	d.exec(`CREATE PUBLICATION ` + cfg.Publication + ` FOR ALL TABLES`)
	s := mustOpen(t, cfg)
	d.exec(`BEGIN; INSERT INTO other VALUES (1); INSERT INTO mine VALUES (1); UPDATE other SET id = 2; DELETE FROM other; COMMIT`)
	d.exec(`TRUNCATE other`)
	d.exec(`ALTER TABLE mine RENAME TO ours`)
	d.exec(`INSERT INTO ours VALUES (2)`)
	d.exec(`CREATE TABLE mine (id int PRIMARY KEY, n int)`)
	d.exec(`INSERT INTO mine VALUES (3, 0)`)
	want := []string{`insert public.mine (1)`, `insert public.ours (2)`, `insert public.mine (3, 0)`}
	if diff := cmp.Diff(want, readFrom(t, s).changes(3)); diff != "" {
		t.Error(diff)
	}
}
