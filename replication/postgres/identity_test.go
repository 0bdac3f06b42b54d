package postgres

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/replication"
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

// TestHome: a captured table that has another name in the log than in the
// configuration tells the configured one, from its first row on, also when it is
// gone by then, and when the configuration has the new name and the log the old.
func TestHome(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE SCHEMA archive`)
	d.exec(`CREATE TABLE mine (id int PRIMARY KEY, card text)`)
	d.exec(`CREATE TABLE gone (id int PRIMARY KEY, card text)`)
	d.exec(`CREATE TABLE late (id int PRIMARY KEY, card text)`)
	cfg := d.stream("mine", "gone", "late")
	cfg.Tables[0].AsText = []string{"id"} // the rest of its configuration goes with it, too
	s := mustOpen(t, cfg)
	cfg.From = firstPosition(t, s)
	read := func(s *Source, n int) (got []string) {
		t.Helper()
		for ctx := testContext(t); len(got) < n; {
			b, err := s.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for i := range b.Changes {
				table := b.Changes[i].Table
				line := table.String()
				if table.Home != (replication.TableName{}) {
					line += " of " + table.Home.Schema + "." + table.Home.Name
				}
				if table.Columns[0].AsText {
					line += " as text"
				}
				got = append(got, line)
			}
			b.Release()
		}
		return got
	}
	d.exec(`INSERT INTO late VALUES (1, 'before it has its name')`)
	d.exec(`ALTER TABLE mine RENAME TO ours`)
	d.exec(`ALTER TABLE ours SET SCHEMA archive`)
	d.exec(`INSERT INTO archive.ours VALUES (1, 'a')`)
	want := []string{"public.late", "archive.ours of public.mine as text"}
	if diff := cmp.Diff(want, read(s, 2)); diff != "" {
		t.Error(diff)
	}
	// All of it lies before the stream's first sight of the table.
	d.exec(`BEGIN; ALTER TABLE gone RENAME TO parting; INSERT INTO parting VALUES (1, 'b'); DROP TABLE parting; COMMIT`)
	if diff := cmp.Diff([]string{"public.parting of public.gone"}, read(s, 1)); diff != "" {
		t.Error(diff)
	}
	mustClose(t, s)

	d.exec(`ALTER TABLE late RENAME TO latest`)
	d.exec(`INSERT INTO latest VALUES (2, 'after')`)
	cfg.Tables = []TableConfig{{Schema: "public", Name: "latest", Snapshot: SnapshotNever}}
	if diff := cmp.Diff([]string{"public.late of public.latest", "public.latest"}, read(mustOpen(t, cfg), 2)); diff != "" {
		t.Error(diff)
	}
}
