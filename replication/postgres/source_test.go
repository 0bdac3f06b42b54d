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
