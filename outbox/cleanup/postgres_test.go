package cleanup

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/secret"
)

func TestPostgresDeletesOnlyWhatIsPublished(t *testing.T) {
	url := servicetest.Postgres(t)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	ids := func(table string) (list string) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), "SELECT coalesce(string_agg(id::text, ',' ORDER BY id), '') FROM "+table).Scan(&list); err != nil {
			t.Fatal(err)
		}
		return list
	}
	store, err := OpenPostgres(t.Context(), secret.New(url), "Cdc pub")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()); _ = store.Close(t.Context()) })
	outbox := Table{Schema: "public", Name: "out box"}
	find := func() Rows {
		t.Helper()
		rows, _, err := store.Find(t.Context(), outbox, 100)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	refused := func(want string) {
		t.Helper()
		_, _, err := store.Find(t.Context(), outbox, 100)
		if r, ok := errors.AsType[*replication.Refusal](err); !ok || !strings.Contains(r.Problem, want) || r.Remedy == "" {
			t.Errorf("%v, want a refusal: %s", err, want)
		}
	}
	remove := func(rows Rows, want int64) {
		t.Helper()
		if n, err := rows.Delete(t.Context(), 0, rows.Len()); n != want || err != nil {
			t.Errorf("deleted %d, %v; want %d", n, err, want)
		}
	}

	exec(`CREATE TABLE "out box" (id int PRIMARY KEY, published text, oid text)`)
	exec(`INSERT INTO "out box" VALUES (1), (2)`)
	refused("does not publish")
	exec(`CREATE PUBLICATION "Cdc pub" FOR TABLE "out box" WITH (publish = 'update, delete')`)
	refused("does not publish")
	exec(`ALTER PUBLICATION "Cdc pub" SET (publish = 'insert')`)
	exec(`ALTER PUBLICATION "Cdc pub" SET TABLE "out box" WHERE (id > 1)`)
	refused("row filter")
	exec(`ALTER PUBLICATION "Cdc pub" SET TABLE "out box"`)

	// A child's rows are another table's.
	exec(`CREATE TABLE child () INHERITS ("out box")`)
	exec(`INSERT INTO child VALUES (1), (3)`)
	rows, mark, err := store.Find(t.Context(), outbox, 100)
	var oid string
	if err := conn.QueryRow(t.Context(), `SELECT '"out box"'::regclass::oid::text`).Scan(&oid); err != nil {
		t.Fatal(err)
	}
	if err != nil || rows.Len() != 2 || !strings.HasSuffix(string(mark), " "+oid) {
		t.Fatalf("%d rows, mark %q, %v; want 2 of table %s", rows.Len(), mark, err, oid)
	}
	remove(rows, 2)
	if got := ids("child"); got != "1,3" {
		t.Errorf("left in the child: %s", got)
	}

	// Between the look and the deletion another table takes the name, with rows
	// that the same transaction wrote.
	exec(`DROP TABLE child`)
	exec(`CREATE TABLE other (LIKE "out box" INCLUDING ALL)`)
	exec(`WITH a AS (INSERT INTO other VALUES (5)) INSERT INTO "out box" VALUES (5)`)
	rows = find()
	exec(`ALTER TABLE "out box" RENAME TO old`)
	exec(`ALTER TABLE other RENAME TO "out box"`)
	remove(rows, 0)
	if got := ids(`"out box"`); got != "5" {
		t.Errorf("left in the new table: %s", got)
	}
	refused("does not publish")

	// A partitioned table's rows are in its partitions.
	exec(`DROP TABLE "out box"`)
	exec(`CREATE TABLE "out box" (id int PRIMARY KEY) PARTITION BY RANGE (id)`)
	exec(`CREATE TABLE part PARTITION OF "out box" DEFAULT`)
	exec(`INSERT INTO "out box" VALUES (6), (7)`)
	exec(`ALTER PUBLICATION "Cdc pub" ADD TABLE "out box"`)
	refused("does not publish") // but the partition, under its own name
	exec(`ALTER PUBLICATION "Cdc pub" SET (publish_via_partition_root = true)`)
	remove(find(), 2)
}
