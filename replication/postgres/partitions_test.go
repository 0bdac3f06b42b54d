package postgres

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/secret"
)

const partitioned = `CREATE TABLE p (id int, region text, n int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
	CREATE TABLE p_eu PARTITION OF p FOR VALUES IN ('eu');
	CREATE TABLE p_us (n int, region text NOT NULL, id int NOT NULL, PRIMARY KEY (id, region));
	ALTER TABLE p ATTACH PARTITION p_us FOR VALUES IN ('us')` // its columns stand in another order

// TestPartitionRoot captures a partitioned table: its partitions do not show,
// whatever is done to them.
func TestPartitionRoot(t *testing.T) {
	majors(t, 14, 18, func(t *testing.T, d *testDB, major int) {
		d.exec(partitioned)
		d.exec(`INSERT INTO p VALUES (1, 'eu', 1), (2, 'us', 1)`)
		cfg := d.config("public.p")
		s := mustOpen(t, cfg)
		r := readFrom(t, s)
		d.exec(`INSERT INTO p VALUES (3, 'us', 1)`)
		d.exec(`INSERT INTO p_eu VALUES (4, 'eu', 1)`)
		d.exec(`UPDATE p SET n = 2 WHERE id = 3`)
		d.exec(`UPDATE p SET region = 'eu' WHERE id = 3`) // goes to another partition
		d.exec(`DELETE FROM p WHERE id = 4`)
		d.exec(`CREATE TABLE p_asia (LIKE p INCLUDING ALL)`)
		// PostgreSQL 14 does not notice that a table is attached or detached once
		// it has decoded a change of it: docs/postgres.md.
		if major > 14 {
			d.exec(`INSERT INTO p_asia VALUES (50, 'asia', 1)`)
		}
		d.exec(`ALTER TABLE p ATTACH PARTITION p_asia FOR VALUES IN ('asia')`)
		d.exec(`INSERT INTO p VALUES (5, 'asia', 1); UPDATE p SET n = 5 WHERE id = 5`)
		d.exec(`CREATE TABLE p_rest PARTITION OF p DEFAULT; INSERT INTO p VALUES (6, 'moon', 1)`)
		d.exec(`TRUNCATE p_us`) // not published by way of the root
		d.exec(`ALTER TABLE p DETACH PARTITION p_rest`)
		if major > 14 {
			d.exec(`UPDATE p_rest SET n = 7`)
		}
		d.exec(`TRUNCATE p`)
		d.exec(`INSERT INTO p VALUES (8, 'us', 1)`)
		got := r.changes(2)
		slices.Sort(got) // one partition after another
		want := []string{`read public.p (1, "eu", 1)`, `read public.p (2, "us", 1)`}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		want = []string{
			`insert public.p (3, "us", 1)`,
			`insert public.p (4, "eu", 1)`,
			`update public.p (3, "us", 2)`,
			`delete public.p before (3, "us", unchanged)`,
			`insert public.p (3, "eu", 2)`,
			`delete public.p before (4, "eu", unchanged)`,
			`insert public.p (5, "asia", 1)`,
			`update public.p (5, "asia", 5)`,
			`insert public.p (6, "moon", 1)`,
			`truncate public.p`,
			`insert public.p (8, "us", 1)`,
		}
		if diff := cmp.Diff(want, r.changes(len(want))); diff != "" {
			t.Error(diff)
		}
	})
}

// TestPartitionLeaves captures partitions by themselves: through a publication
// of our own, and through one of the root that publishes its partitions.
func TestPartitionLeaves(t *testing.T) {
	majors(t, 14, 18, func(t *testing.T, d *testDB, _ int) {
		d.exec(partitioned)
		own, others := d.config("public.p_eu", "public.p_us"), d.config("public.p_eu", "public.p_us")
		d.exec(`CREATE PUBLICATION ` + others.Publication + ` FOR TABLE p`)
		for _, cfg := range []Config{own, others} {
			d.exec(`TRUNCATE p; INSERT INTO p VALUES (1, 'eu', 1), (2, 'us', 1)`)
			r := readFrom(t, mustOpen(t, cfg))
			d.exec(`INSERT INTO p VALUES (3, 'us', 1)`)
			d.exec(`UPDATE p SET region = 'eu' WHERE id = 3`)
			d.exec(`TRUNCATE p_us`)
			d.exec(`TRUNCATE p`)
			got := r.changes(8)
			slices.Sort(got[6:]) // in the order of the server's list
			want := []string{
				`read public.p_eu (1, "eu", 1)`,
				`read public.p_us (1, "us", 2)`,
				`insert public.p_us (1, "us", 3)`,
				`delete public.p_us before (unchanged, "us", 3)`,
				`insert public.p_eu (3, "eu", 1)`,
				`truncate public.p_us`,
				`truncate public.p_eu`,
				`truncate public.p_us`,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		}
		roots := d.config("public.p")
		roots.Publication = others.Publication
		wantRefusal(t, roots, `publishes the partitions of table public.p, not the table itself`, `SET (publish_via_partition_root = true)`)
	})
}

// TestRenamed renames a table, moves it to another schema, and takes its name
// for another, while it is captured and while it is not.
func TestRenamed(t *testing.T) {
	majors(t, 14, 18, func(t *testing.T, d *testDB, _ int) {
		d.exec(`CREATE TABLE t (id int PRIMARY KEY); CREATE SCHEMA old`)
		cfg := d.config("public.t")
		s := mustOpen(t, cfg)
		r := readFrom(t, s)
		d.exec(`INSERT INTO t VALUES (1)`)
		d.exec(`ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (2)`)
		d.exec(`ALTER TABLE u SET SCHEMA old; INSERT INTO old.u VALUES (3)`)
		d.exec(`ALTER SCHEMA old RENAME TO older; UPDATE older.u SET id = 4 WHERE id = 3`)
		want := []string{
			`insert public.t (1)`, `insert public.u (2)`, `insert old.u (3)`,
			`update older.u before (3) (4)`,
		}
		if diff := cmp.Diff(want, r.changes(len(want))); diff != "" {
			t.Error(diff)
		}
		d.exec(`INSERT INTO older.u VALUES (5)`)
		r.changes(1)
		cfg.From = r.position()
		mustClose(t, s)
		wantRefusal(t, cfg, `table public.t does not exist`, `create it, or mend its name in the configuration`)

		// Under its new name it is a table that nobody has read yet.
		cfg.Tables[0] = TableConfig{Schema: "older", Name: "u"}
		s = mustOpen(t, cfg)
		rows, pos := readAll(t, s)
		if rows["older.u"] != 4 || !strings.Contains(string(pos), `"older.u"`) {
			t.Errorf("read %v up to %s", rows, pos)
		}
		d.exec(`INSERT INTO older.u VALUES (6)`)
		r = readFrom(t, s)
		for got := ""; got != `insert older.u (6)`; { // the slot may have some of the snapshot's rows once more
			got = r.changes(1)[0]
		}
	})
}

// TestHosts names several servers of which some are not there, or are not what
// is wanted.
func TestHosts(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (id int PRIMARY KEY)`)
	host := hostOf(t, d.url)
	_, database, _ := strings.Cut(d.url, host)
	cfg := d.stream("t")
	for _, target := range []string{"any", "read-write", "primary", "prefer-standby"} {
		cfg.URL = secret.New("postgres://postgres:postgres@127.0.0.1:1," + host + database + "?target_session_attrs=" + target)
		s := mustOpen(t, cfg)
		d.exec(`DELETE FROM t`)
		d.exec(`INSERT INTO t VALUES (1)`)
		r := &tape{t: t, s: s, ack: true}
		r.until(func() bool { return slices.Contains(r.rows, `0 insert t after id=1`) })
		r.until(func() bool { return r.last != "" })
		cfg.From = r.last
		mustClose(t, s)
	}
}
