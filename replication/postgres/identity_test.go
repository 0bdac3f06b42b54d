package postgres

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestColumnIdentitiesOutliveRenames: the columns' identities, by which a
// table's configuration goes on holding for it, are the same under all its
// names, also for rows that are read after the table has another one.
func TestColumnIdentitiesOutliveRenames(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE mine (id int PRIMARY KEY, card text)`)
	d.exec(`CREATE SCHEMA archive`)
	cfg := d.config("public.mine")
	s := mustOpen(t, cfg)
	d.exec(`INSERT INTO mine VALUES (1, 'a')`)
	d.exec(`ALTER TABLE mine RENAME TO ours`)
	d.exec(`INSERT INTO ours VALUES (2, 'b')`)
	d.exec(`ALTER TABLE ours SET SCHEMA archive`)
	d.exec(`INSERT INTO archive.ours VALUES (3, 'c')`)
	var names []string
	ids := map[string]bool{}
	for ctx := testContext(t); len(names) < 3; {
		b, err := s.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Changes {
			table := b.Changes[i].Table
			if name := table.String(); !slices.Contains(names, name) {
				names = append(names, name)
			}
			for _, c := range table.Columns {
				ids[c.Name+" "+c.ID] = c.ID != ""
			}
		}
		b.Release()
	}
	if diff := cmp.Diff([]string{"public.mine", "public.ours", "archive.ours"}, names); diff != "" {
		t.Error(diff)
	}
	if len(ids) != 2 || slices.ContainsFunc([]string{"id ", "card "}, func(k string) bool { _, none := ids[k]; return none }) {
		t.Errorf("the columns' identities are %v, want one a column", ids)
	}
}
