package postgres

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/internal/services"
	"cdc/internal/servicetest"
)

// TestFailoverSlot looks at what slot is made by which server.
func TestFailoverSlot(t *testing.T) {
	majors(t, 14, 18, func(t *testing.T, d *testDB, major int) {
		d.fill("t", 1)
		failover := func(slot string) string {
			return d.text(`SELECT coalesce(to_jsonb(s) ->> 'failover', 'unknown') FROM pg_replication_slots s WHERE slot_name = $1`, slot)
		}
		want := map[Failover]string{FailoverAuto: "true", FailoverNever: "false", FailoverRequired: "true"}
		if major < 17 {
			want = map[Failover]string{FailoverAuto: "unknown", FailoverNever: "unknown"}
		}
		for _, choice := range []Failover{FailoverAuto, FailoverNever, FailoverRequired} {
			cfg := d.config("public.t")
			cfg.Failover = choice
			if want[choice] == "" {
				wantRefusal(t, cfg, "failover is required, but PostgreSQL "+d.text("SHOW server_version")+" has no failover slots", "upgrade to PostgreSQL 17")
				continue
			}
			s := mustOpen(t, cfg)
			_, cfg.From = readAll(t, s)
			mustClose(t, s)
			if got := failover(cfg.Slot); got != want[choice] {
				t.Errorf("%s: failover of the slot is %s, want %s", choice, got, want[choice])
			}
			if choice == FailoverNever && major >= 17 {
				cfg.Failover = FailoverRequired
				mustClose(t, mustOpen(t, cfg))
				if got := failover(cfg.Slot); got != "true" {
					t.Errorf("a slot that there was: failover is %s", got)
				}
			}
		}
	})
}

// TestTwoPhase prepares transactions: they come when they are committed, also
// when reading begins anew in between, and never when they are rolled back.
func TestTwoPhase(t *testing.T) {
	for _, major := range services.PostgresMajors() {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			server := servicetest.OwnPostgres(t, services.Postgres{Major: major, Settings: map[string]string{"max_prepared_transactions": "5"}})
			d := openTestDB(t, server.Address())
			d.exec(`CREATE TABLE t (id int PRIMARY KEY, s text)`)
			cfg := d.stream("t")
			s := mustOpen(t, cfg)
			r := &tape{t: t, s: s}
			d.exec(`BEGIN; INSERT INTO t VALUES (1, 'prepared'), (2, 'prepared'); PREPARE TRANSACTION 'first'`)
			d.exec(`BEGIN; INSERT INTO t VALUES (3, 'never'); PREPARE TRANSACTION 'second'`)
			d.exec(`INSERT INTO t VALUES (4, 'plain')`)
			d.exec(`ROLLBACK PREPARED 'second'`)
			r.want(`0 insert t after id=4 s="plain"`)
			d.exec(`INSERT INTO t VALUES (5, 'plain')`)
			r.want(`0 insert t after id=5 s="plain"`)
			r.until(func() bool { return r.last != "" })
			s.Ack(r.last)
			mustClose(t, s)

			cfg.From = r.last
			r = &tape{t: t, s: mustOpen(t, cfg)}
			d.exec(`COMMIT PREPARED 'first'`)
			r.until(func() bool { return slices.Contains(r.rows, `1 insert t after id=2 s="prepared"`) })
			got := slices.DeleteFunc(r.rows, func(row string) bool { return strings.Contains(row, "plain") }) // before the Position's
			if diff := cmp.Diff([]string{`0 insert t after id=1 s="prepared"`, `1 insert t after id=2 s="prepared"`}, got); diff != "" {
				t.Error(diff)
			}

			// The same while they are in progress.
			large := mustOpen(t, d.eager(d.stream("t")))
			r = &tape{t: t, s: large}
			d.exec(`BEGIN; INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(1000, 1999) g;
				SAVEPOINT a; INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(2000, 2999) g; ROLLBACK TO a; PREPARE TRANSACTION 'first'`)
			d.exec(`BEGIN; INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(3000, 3999) g; PREPARE TRANSACTION 'second'`)
			d.exec(`ROLLBACK PREPARED 'second'`)
			d.exec(`INSERT INTO t VALUES (6, 'plain')`)
			r.want(`0 insert t after id=6 s="plain"`)
			d.exec(`COMMIT PREPARED 'first'`)
			d.exec(`INSERT INTO t VALUES (7, 'plain')`)
			r.until(func() bool { return len(r.rows) >= 1002 })
			if got := r.rows[1000][:27] + " " + r.rows[1001]; got != `999 insert t after id=1999  0 insert t after id=7 s="plain"` {
				t.Error(got)
			}
			if n := begun(large); n == 0 { // 18 looks whether a transaction is aborted before it sends it
				t.Error("no transaction came in progress")
			}

			other := d.stream("t")
			d.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput', false, true)`, other.Slot)
			wantRefusal(t, other, `slot "`+other.Slot+`" was made with two_phase`, "configure another slot name")
		})
	}
}

// TestTruncateTables truncates several tables in one statement, of which one is
// not captured, and one by the cascade of a foreign key.
func TestTruncateTables(t *testing.T) {
	majors(t, 14, 18, func(t *testing.T, d *testDB, _ int) {
		d.exec(`CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE other (id int);
			CREATE TABLE c (id int PRIMARY KEY, a int REFERENCES a)`)
		r := &tape{t: t, s: mustOpen(t, d.stream("a", "b", "c"))}
		d.exec(`BEGIN; INSERT INTO a VALUES (1); INSERT INTO c VALUES (1, 1); TRUNCATE other, a, b RESTART IDENTITY CASCADE; INSERT INTO b VALUES (2); COMMIT`)
		d.exec(`TRUNCATE other`)
		d.exec(`TRUNCATE b`)
		r.until(func() bool { return len(r.rows) == 7 })
		slices.Sort(r.rows[2:5]) // in the order that the server chose
		for i, row := range r.rows[2:5] {
			r.rows[2+i] = row[2:]
		}
		want := []string{
			`0 insert a after id=1`, `1 insert c after id=1 a=1`,
			`truncate a`, `truncate b`, `truncate c`,
			`5 insert b after id=2`,
			`0 truncate b`,
		}
		slices.Sort(r.rows[2:5])
		if diff := cmp.Diff(want, r.rows); diff != "" {
			t.Error(diff)
		}
	})
}

// TestEmptyTransactions commits many transactions that have nothing for us:
// PostgreSQL 14 tells of each all the same, later ones do not.
func TestEmptyTransactions(t *testing.T) {
	majors(t, 14, 18, func(t *testing.T, d *testDB, _ int) {
		d.exec(`CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int)`)
		r := &tape{t: t, s: mustOpen(t, d.stream("t")), ack: true}
		d.exec(`INSERT INTO t VALUES (1)`)
		r.want(`0 insert t after id=1`)
		r.batches = 0
		d.exec(`DO $$ BEGIN FOR i IN 1..500 LOOP INSERT INTO other VALUES (i); COMMIT; END LOOP; END $$`)
		d.exec(`INSERT INTO t VALUES (2)`)
		r.want(`0 insert t after id=2`)
		if r.batches > 10 {
			t.Errorf("500 transactions without a change came in %d batches", r.batches)
		}
	})
}

// TestRowFilter has a publication with filters and column lists: snapshot and
// stream give the same rows and columns.
func TestRowFilter(t *testing.T) {
	majors(t, 15, 18, func(t *testing.T, d *testDB, _ int) {
		d.exec(`CREATE TABLE t (a text, id int PRIMARY KEY, secret text, b int); CREATE TABLE all_of_it (id int PRIMARY KEY, n int)`)
		d.exec(`INSERT INTO t VALUES ('few', 1, 'x', 1), ('many', 11, 'x', 1); INSERT INTO all_of_it VALUES (1, 1)`)
		cfg := d.config("public.t", "public.all_of_it")
		d.exec(`CREATE PUBLICATION ` + cfg.Publication + ` FOR TABLE t (b, id, a) WHERE (id > 10), all_of_it`)
		r := readFrom(t, mustOpen(t, cfg))
		d.exec(`INSERT INTO t VALUES ('few', 2, 'x', 2), ('many', 12, 'x', 2)`)
		d.exec(`UPDATE t SET id = id + 20 WHERE id IN (1, 11)`) // one comes in, one stays
		d.exec(`UPDATE t SET id = 3 WHERE id = 12`)             // goes out
		d.exec(`UPDATE t SET secret = 'y', b = 3`)
		d.exec(`DELETE FROM t`)
		want := []string{
			`read public.t ("many", 11, 1)`,
			`read public.all_of_it (1, 1)`,
			`insert public.t ("many", 12, 2)`,
			`insert public.t ("few", 21, 1)`,
			`update public.t before (unchanged, 11, unchanged) ("many", 31, 1)`,
			`delete public.t before (unchanged, 12, unchanged)`,
			`update public.t ("few", 21, 3)`,
			`update public.t ("many", 31, 3)`,
			`delete public.t before (unchanged, 21, unchanged)`,
			`delete public.t before (unchanged, 31, unchanged)`,
		}
		if diff := cmp.Diff(want, r.changes(len(want))); diff != "" {
			t.Error(diff)
		}
	})
}

// TestSchemaPublication has a publication of all tables of a schema.
func TestSchemaPublication(t *testing.T) {
	majors(t, 15, 18, func(t *testing.T, d *testDB, _ int) {
		d.exec(`CREATE SCHEMA shop; CREATE TABLE shop.t (id int PRIMARY KEY); INSERT INTO shop.t VALUES (1); CREATE TABLE shop.u (id int PRIMARY KEY)`)
		cfg := d.config("shop.t")
		d.exec(`CREATE PUBLICATION ` + cfg.Publication + ` FOR TABLES IN SCHEMA shop`)
		r := readFrom(t, mustOpen(t, cfg))
		d.exec(`INSERT INTO shop.u VALUES (1)`)
		d.exec(`INSERT INTO shop.t VALUES (2)`)
		if diff := cmp.Diff([]string{`read shop.t (1)`, `insert shop.t (2)`}, r.changes(2)); diff != "" {
			t.Error(diff)
		}
	})
}

// TestGenerated has generated columns: snapshot and stream leave them out, or
// have them, alike.
func TestGenerated(t *testing.T) {
	majors(t, 14, 18, func(t *testing.T, d *testDB, major int) {
		d.exec(`CREATE TABLE t (twice int GENERATED ALWAYS AS (n * 2) STORED, id int PRIMARY KEY, n int)`)
		d.exec(`CREATE TABLE f (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (n * 2) STORED, n int); ALTER TABLE f REPLICA IDENTITY FULL`)
		if major >= 18 {
			d.exec(`ALTER TABLE t ADD COLUMN computed int GENERATED ALWAYS AS (n * 3) VIRTUAL`)
		}
		d.exec(`INSERT INTO t VALUES (DEFAULT, 1, 5); INSERT INTO f VALUES (1, DEFAULT, 5)`)
		run := func(cfg Config, want ...string) {
			t.Helper()
			d.exec(`TRUNCATE t, f; INSERT INTO t VALUES (DEFAULT, 1, 5); INSERT INTO f VALUES (1, DEFAULT, 5)`)
			s := mustOpen(t, cfg)
			r := readFrom(t, s)
			d.exec(`INSERT INTO t VALUES (DEFAULT, 2, 6)`)
			d.exec(`UPDATE t SET n = 7 WHERE id = 2`)
			if len(cfg.Tables) > 1 {
				d.exec(`UPDATE f SET n = 7`)
			}
			if diff := cmp.Diff(want, r.changes(len(want))); diff != "" {
				t.Error(diff)
			}
			mustClose(t, s)
		}
		without := []string{
			`read public.t (1, 5)`, `read public.f (1, 5)`,
			`insert public.t (2, 6)`, `update public.t (2, 7)`,
			`update public.f before (1, 5) (1, 7)`,
		}
		with := []string{
			`read public.t (10, 1, 5)`, `read public.f (1, 10, 5)`,
			`insert public.t (12, 2, 6)`, `update public.t (14, 2, 7)`,
			`update public.f before (1, 10, 5) (1, 14, 7)`,
		}
		own := without
		if major >= 18 {
			own = with
		}
		run(d.config("public.t", "public.f"), own...)
		cfg := d.config("public.t", "public.f")
		d.exec(`CREATE PUBLICATION ` + cfg.Publication + ` FOR TABLE t, f`) // of another's making
		if major < 18 {
			run(cfg, without...)
			return
		}
		wantRefusal(t, cfg, `table public.f has the column "twice" in its replica identity (FULL), which publication "`+cfg.Publication+`" leaves out: PostgreSQL rejects UPDATE and DELETE of it`,
			`ALTER PUBLICATION "`+cfg.Publication+`" SET (publish_generated_columns = stored)`)
		d.exec(`ALTER PUBLICATION ` + cfg.Publication + ` DROP TABLE f`)
		cfg.Tables = cfg.Tables[:1]
		run(cfg, without[0], without[2], without[3])
		cfg = d.config("public.t", "public.f")
		d.exec(`CREATE PUBLICATION ` + cfg.Publication + ` FOR TABLE t WITH (publish_generated_columns = stored)`)
		run(cfg, with...) // f is added to it
		cfg = d.config("public.t")
		d.exec(`CREATE PUBLICATION ` + cfg.Publication + ` FOR TABLE t (id, twice, n)`) // a list outranks the option
		run(cfg, with[0], with[2], with[3])
		d.exec(`ALTER TABLE f ADD COLUMN computed int GENERATED ALWAYS AS (n * 3) VIRTUAL`)
		wantRefusal(t, d.config("public.f"), `table public.f has the column "computed" in its replica identity (FULL)`, `ALTER TABLE "public"."f" REPLICA IDENTITY DEFAULT`)
	})
}
