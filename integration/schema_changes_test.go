package integration

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

// compatibility sets the rule of a subject.
func (w *world) compatibility(t *testing.T, subject, level string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, w.registry+"/config/"+subject, strings.NewReader(`{"compatibility":"`+level+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("set the compatibility of %s: %s", subject, resp.Status)
	}
}

func columns(ctx context.Context, conn *pgx.Conn, table string) (list []string, err error) {
	err = conn.QueryRow(ctx, `SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
		WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped`, table).Scan(&list)
	return list, err
}

// sameColumns reports how two databases differ in the columns that the source's
// table has: the target keeps columns that were dropped there.
func sameColumns(ctx context.Context, source, target *pgx.Conn, table string) error {
	names, err := columns(ctx, source, table)
	if err != nil {
		return err
	}
	for i, name := range names {
		q := pgx.Identifier{name}.Sanitize()
		names[i] = fmt.Sprintf("'%s=' || coalesce(%s::text, '<null>')", name, q)
	}
	var lists [2][]string
	for i, conn := range []*pgx.Conn{source, target} {
		r, err := conn.Query(ctx, `SELECT concat_ws(' ', `+strings.Join(names, ", ")+`) FROM `+table)
		if err != nil {
			return err
		}
		if lists[i], err = pgx.CollectRows(r, pgx.RowTo[string]); err != nil {
			return err
		}
	}
	if d := difference(lists[0], lists[1]); d != "" {
		return fmt.Errorf("table %s: %s", table, d)
	}
	return nil
}

// schemaChanges is what happens to the table t (id int PRIMARY KEY, v text NOT
// NULL, n int, vc varchar(4), p numeric(6,2)). Changes that rewrite the table come
// first: they make the server forget what rows from before an added column have.
var schemaChanges = []struct {
	name string
	sql  []string
}{
	{"a wider integer", []string{
		`ALTER TABLE t ALTER n TYPE bigint`,
		`INSERT INTO t VALUES (10, 'a', 1099511627776, 'vc', 1.25)`,
	}},
	{"more digits, a longer text", []string{
		`ALTER TABLE t ALTER p TYPE numeric(10,4), ALTER vc TYPE varchar(20)`,
		`INSERT INTO t VALUES (20, 'a', 1, 'longer than four', 999999.1234)`,
		`ALTER TABLE t ALTER vc TYPE text`,
		`INSERT INTO t VALUES (21, 'a', 1, 'longer than twenty, by far', 0)`,
	}},
	{"a narrower integer", []string{
		`DELETE FROM t WHERE id = 10`,
		`ALTER TABLE t ALTER n TYPE int`,
		`INSERT INTO t VALUES (30, 'a', 7)`,
	}},
	{"a column more", []string{
		`ALTER TABLE t ADD a int`,
		`INSERT INTO t (id, v, a) VALUES (40, 'a', 5)`,
		`UPDATE t SET a = 6 WHERE id = 1`,
	}},
	{"NOT NULL with a default", []string{
		`ALTER TABLE t ADD b numeric(6,2) NOT NULL DEFAULT 7`,
		`INSERT INTO t (id, v) VALUES (50, 'a')`,
		`INSERT INTO t (id, v, b) VALUES (51, 'a', 1.5)`,
	}},
	{"a default, and NULL", []string{
		`ALTER TABLE t ADD c text DEFAULT 'it''s \ so', ADD at timestamptz DEFAULT now()`,
		`INSERT INTO t (id, v, c) VALUES (60, 'a', NULL)`,
		`INSERT INTO t (id, v) VALUES (61, 'a')`,
	}},
	{"SET NOT NULL, DROP NOT NULL", []string{
		`UPDATE t SET a = coalesce(a, 0)`,
		`ALTER TABLE t ALTER a SET NOT NULL, ALTER v DROP NOT NULL`,
		`INSERT INTO t (id, a) VALUES (70, 1)`,
	}},
	{"a renamed column", []string{
		`ALTER TABLE t RENAME c TO "C c"`,
		`INSERT INTO t (id, a, "C c") VALUES (80, 1, 'renamed')`,
	}},
	{"an enum and a label more", []string{
		`CREATE TYPE mood AS ENUM ('sad', 'ok')`,
		`ALTER TABLE t ADD m mood DEFAULT 'ok'`,
		`INSERT INTO t (id, a, m) VALUES (90, 1, 'sad')`,
		`ALTER TYPE mood ADD VALUE 'great'`,
		`INSERT INTO t (id, a, m) VALUES (91, 1, 'great')`,
	}},
	{"several in one transaction", []string{
		`BEGIN`,
		`ALTER TABLE t ADD x int DEFAULT 3`,
		`INSERT INTO t (id, a, x) VALUES (100, 1, NULL)`,
		`ALTER TABLE t RENAME x TO y`,
		`INSERT INTO t (id, a) VALUES (101, 1)`,
		`COMMIT`,
	}},
	{"another replica identity", []string{
		`ALTER TABLE t REPLICA IDENTITY FULL`,
		`UPDATE t SET v = 'full' WHERE id = 2`,
		`DELETE FROM t WHERE id = 40`,
		`ALTER TABLE t REPLICA IDENTITY DEFAULT`,
		`INSERT INTO t (id, a) VALUES (110, 1)`,
	}},
	{"a column less", []string{
		`ALTER TABLE t DROP COLUMN n`,
		`INSERT INTO t (id, a) VALUES (120, 1)`,
		`ALTER TABLE t DROP COLUMN m`,
		`DROP TYPE mood`,
		`INSERT INTO t (id, a) VALUES (121, 1)`,
	}},
}

// TestSchemaChanges alters a captured table: while cdc runs, and all at once
// while it is stopped, so that every row is read when the catalog is younger than
// it. Each record has the columns of its time, and the target is as the source.
func TestSchemaChanges(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		t.Run(map[bool]string{false: "running", true: "stopped"}[stopped], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			source, target := connect(t, w.source), connect(t, w.target)
			exec1(t, source, `CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL, n int, vc varchar(4), p numeric(6,2))`)
			exec1(t, source, `INSERT INTO t VALUES (1, 'one', 1, 'vc', 1.5), (2, 'two', NULL, NULL, NULL)`)
			file := w.config(t, []string{"t"}, "")
			p := start(t, binary, "run", "--config", file)
			equal := func() error { return sameColumns(t.Context(), source, target, "t") }
			eventually(t, time.Minute, "the snapshot is in the target", equal, p)
			for _, part := range []string{"-key", "-value"} {
				w.compatibility(t, w.topic("t")+part, "BACKWARD")
			}
			if stopped {
				p.stop(t)
			}
			shapes := map[string][]string{} // by id: the columns that the row was inserted with
			for _, change := range schemaChanges {
				for _, sql := range change.sql {
					exec1(t, source, sql)
					if !strings.HasPrefix(sql, "INSERT") {
						continue
					}
					var id string
					if err := source.QueryRow(t.Context(), `SELECT max(id)::text FROM t`).Scan(&id); err != nil {
						t.Fatal(err)
					}
					names, err := columns(t.Context(), source, "t")
					if err != nil {
						t.Fatal(err)
					}
					shapes[id] = names
				}
				if !stopped {
					eventually(t, time.Minute, change.name, equal, p)
				}
			}
			if stopped {
				p = start(t, binary, "run", "--config", file)
				eventually(t, time.Minute, "all changes are in the target", equal, p)
			}
			p.stop(t)

			seen := map[string]bool{}
			for _, m := range w.read(t, w.topic("t")) {
				id := fmt.Sprint(m.key["id"])
				if m.headers["cdc.op"] != "insert" || shapes[id] == nil {
					continue
				}
				seen[id] = true
				want := slices.Clone(shapes[id])
				for i := range want {
					want[i] = strings.ReplaceAll(want[i], "C c", "C_x0020_c")
				}
				slices.Sort(want)
				if d := cmp.Diff(want, slices.Sorted(maps.Keys(m.value))); d != "" {
					t.Errorf("the record of row %s (-want +got):\n%s", id, d)
				}
			}
			if len(seen) != len(shapes) {
				t.Errorf("%d of %d inserted rows are in the topic", len(seen), len(shapes))
			}
		})
	}
}

// TestSchemaChangesRefused meets what nobody can follow alone: each time cdc ends
// with what to run, and goes on once that was run.
func TestSchemaChangesRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, target := connect(t, w.source), connect(t, w.target)
	exec1(t, source, `CREATE TABLE t (id int PRIMARY KEY, u int NOT NULL, v int)`)
	exec1(t, source, `INSERT INTO t VALUES (1, 10, 100)`)
	file := w.config(t, []string{"t"}, "")
	p := start(t, binary, "run", "--config", file)
	equal := func() error { return sameColumns(t.Context(), source, target, "t") }
	eventually(t, time.Minute, "the snapshot is in the target", equal, p)
	for _, part := range []string{"-key", "-value"} {
		w.compatibility(t, w.topic("t")+part, "BACKWARD")
	}
	refused := func(want ...string) {
		t.Helper()
		if code := p.exit(t, time.Minute); code == 0 {
			t.Fatalf("it ended as if all were well:\n%s", p.output())
		}
		for _, text := range want {
			if !strings.Contains(p.output(), text) {
				t.Errorf("the output lacks %q:\n%s", text, p.output())
			}
		}
		p = start(t, binary, "run", "--config", file)
	}

	// A type of another family: the registry first, then the target.
	exec1(t, source, `ALTER TABLE t ALTER v TYPE boolean USING v > 0`)
	exec1(t, source, `INSERT INTO t VALUES (2, 20, false)`)
	refused("subject "+w.topic("t")+"-value", `/config/`+w.topic("t")+"-value", "another topic")
	p.kill()
	w.compatibility(t, w.topic("t")+"-value", "NONE")
	p = start(t, binary, "run", "--config", file)
	refused(`ALTER TABLE`, `TYPE boolean USING "v"::boolean`)
	p.kill()
	exec1(t, target, `ALTER TABLE public.t ALTER COLUMN v TYPE boolean USING v::boolean`)
	w.compatibility(t, w.topic("t")+"-value", "BACKWARD")
	p = start(t, binary, "run", "--config", file)
	eventually(t, time.Minute, "the retyped column is in the target", equal, p)

	// Another key: of the topic, too, and of the target.
	exec1(t, source, `ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (u)`)
	exec1(t, source, `UPDATE t SET id = 5 WHERE u = 20`)
	refused("subject "+w.topic("t")+"-key", "the table's key have changed", `/config/`+w.topic("t")+"-key")
	p.kill()
	w.compatibility(t, w.topic("t")+"-key", "NONE")
	p = start(t, binary, "run", "--config", file)
	refused(`no unique index on exactly the key`, `CREATE UNIQUE INDEX ON`)
	p.kill()
	exec1(t, target, `CREATE UNIQUE INDEX ON public.t (u)`)
	exec1(t, target, `ALTER TABLE public.t DROP CONSTRAINT t_pkey`)
	p = start(t, binary, "run", "--config", file)
	eventually(t, time.Minute, "the row is found by its new key", equal, p)
	exec1(t, source, `DELETE FROM t WHERE id = 5`)
	eventually(t, time.Minute, "and deleted by it", equal, p)
	p.signal(syscall.SIGTERM)
	p.exit(t, time.Minute)
}

// TestTableMadeAnew drops a table while cdc is stopped and makes another one of
// its name: the target loses the old rows and gets the new ones.
func TestTableMadeAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, target := connect(t, w.source), connect(t, w.target)
	exec1(t, source, `CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'old' FROM generate_series(1, 5) g`)
	file := w.config(t, []string{"t"}, "")
	p := start(t, binary, "run", "--config", file)
	equal := func() error { return same(t.Context(), source, target, "t") }
	eventually(t, time.Minute, "the snapshot is in the target", equal, p)
	p.stop(t)
	exec1(t, source, `INSERT INTO t VALUES (6, 'not read')`)
	exec1(t, source, `DROP TABLE t`)
	exec1(t, source, `CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (3, 'new'), (7, 'new')`)
	stdout, stderr, code := command(t, "check", "--config", file)
	if code != 0 || !strings.Contains(stdout, "dropped and made anew") {
		t.Errorf("check ends with %d: %s%s", code, stdout, stderr)
	}
	p = start(t, binary, "run", "--config", file)
	eventually(t, time.Minute, "the target has the new table's rows", equal, p)
	exec1(t, source, `UPDATE t SET v = 'newer' WHERE id = 3; DELETE FROM t WHERE id = 7`)
	eventually(t, time.Minute, "and follows it", equal, p)
	p.stop(t)
}

// TestToastOmit leaves large values out of the records: the header, the field and
// the target say so.
func TestToastOmit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, target := connect(t, w.source), connect(t, w.target)
	exec1(t, source, `CREATE TABLE t (id int PRIMARY KEY, n int, big text NOT NULL, doc text)`)
	exec1(t, source, `ALTER TABLE t ALTER big SET STORAGE EXTERNAL, ALTER doc SET STORAGE EXTERNAL`)
	exec1(t, source, `INSERT INTO t SELECT g, 0, repeat(g::text, 9000), repeat('d', 9000) FROM generate_series(1, 3) g`)
	p := start(t, binary, "run", "--config", w.config(t, []string{"t\ntoast: omit"}, ""))
	equal := func() error { return same(t.Context(), source, target, "t") }
	eventually(t, time.Minute, "the snapshot is in the target", equal, p)
	exec1(t, target, `ALTER TABLE t ALTER big SET NOT NULL`)
	exec1(t, source, `UPDATE t SET n = 1 WHERE id = 1`)
	exec1(t, source, `UPDATE t SET doc = NULL WHERE id = 2`)
	exec1(t, source, `UPDATE t SET id = 30 WHERE id = 3`)
	exec1(t, source, `UPDATE t SET n = 2 WHERE id = 30`)
	eventually(t, time.Minute, "the target has the large values still", equal, p)
	p.stop(t)
	got := map[string]string{}
	for _, m := range w.read(t, w.topic("t")) {
		if m.headers["cdc.op"] == "update" && m.value != nil {
			id := fmt.Sprint(m.key["id"])
			got[id] += fmt.Sprintf("[%s|%v]", m.headers["cdc.unchanged"], m.value["cdc_omitted"])
		}
	}
	want := map[string]string{"1": "[big,doc|[big doc]]", "2": "[big|[big]]", "30": "[|<nil>][big,doc|[big doc]]"}
	for id, records := range got {
		got[id] = strings.ReplaceAll(strings.ReplaceAll(records, "map[array:", ""), "]]]", "]]")
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("omitted by header and field (-want +got):\n%s", d)
	}
}
