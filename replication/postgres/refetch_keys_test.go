package postgres

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/replication"
)

// TestRefetchKeys has rows whose keys are no values of their columns any more
// when they are to be read again: their values stay unknown, those of the others
// do not.
func TestRefetchKeys(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TYPE mood AS ENUM ('a', 'b', 'c', 'd', 'e'); CREATE DOMAIN small AS int CHECK (value < 100)`)
	d.exec(`CREATE TABLE t (m mood PRIMARY KEY, n int, big text); ALTER TABLE t ALTER big SET STORAGE EXTERNAL`)
	d.exec(`CREATE TABLE u (m small PRIMARY KEY, n int, big text); ALTER TABLE u ALTER big SET STORAGE EXTERNAL`)
	d.exec(`INSERT INTO t SELECT m, 0, ` + bigSQL("v") + ` FROM unnest(enum_range(NULL::mood)) m`)
	d.exec(`INSERT INTO u VALUES (5, 0, ` + bigSQL("w") + `), (50, 0, ` + bigSQL("w") + `)`)
	cfg := d.config("public.t", "public.u")
	s := mustOpen(t, cfg)
	r := readFrom(t, s)
	r.changes(7)
	cfg.From = r.position()
	mustClose(t, s)
	d.exec(`UPDATE t SET n = 1`)
	d.exec(`UPDATE u SET n = 1`)
	d.exec(`ALTER TYPE mood RENAME VALUE 'd' TO 'x'`)
	d.exec(`DELETE FROM u WHERE m = 50; ALTER DOMAIN small DROP CONSTRAINT small_check; ALTER DOMAIN small ADD CHECK (value < 10)`)
	s = mustOpen(t, cfg)
	want := []string{
		`update public.t ("a", 1, vv…8000) refetched big`,
		`update public.t ("b", 1, vv…8000) refetched big`,
		`update public.t ("c", 1, vv…8000) refetched big`,
		`update public.t ("d", 1, unchanged)`,
		`update public.t ("e", 1, vv…8000) refetched big`,
		`update public.u (5, 1, ww…8000) refetched big`,
		`update public.u (50, 1, unchanged)`,
		`delete public.u before (50, unchanged, unchanged)`,
	}
	if diff := cmp.Diff(want, shorts(readFrom(t, s).changes(len(want)))); diff != "" {
		t.Error(diff)
	}
}

// TestFillHolesAgain fills a row that a query, which then failed, had filled: it
// stays marked.
func TestFillHolesAgain(t *testing.T) {
	c := replication.Change{After: []replication.Value{replication.IntValue(1), replication.Unchanged}}
	for range 2 {
		fillHoles(&c, []int{1}, []replication.Value{replication.IntValue(2)}, []int32{1})
		if !slices.Equal(c.Refetched, []int32{1}) || c.After[1].Int() != 2 {
			t.Errorf("%v, marked %v", c.After, c.Refetched)
		}
	}
}
