package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

// TestOperations carries every kind of change from the table into the topic and
// into the target table, and reads the topic as a foreign consumer.
func TestOperations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, target := connect(t, w.source), connect(t, w.target)
	exec1(t, source, `CREATE TABLE a (id int PRIMARY KEY, v text, big text);
		CREATE TABLE b (x int, y text, v numeric, PRIMARY KEY (y, x));
		INSERT INTO a VALUES (1, 'snapshot', NULL), (2, 'snapshot', NULL)`)
	p := start(t, binary, "run", "--config", w.config(t, []string{"a", "b"}, ""))
	equal := func() error {
		if err := same(t.Context(), source, target, "a"); err != nil {
			return err
		}
		return same(t.Context(), source, target, "b")
	}
	// The target's table of an empty source table comes with its first row.
	exec1(t, source, `INSERT INTO b VALUES (1, 'one', 1.0)`)
	eventually(t, time.Minute, "the snapshot is in the target", equal, p)

	steps := []struct{ name, sql string }{
		{"insert, update, delete", `INSERT INTO a VALUES (3, 'insert', NULL); UPDATE a SET v = 'update' WHERE id = 1; DELETE FROM a WHERE id = 2`},
		{"many tables in one transaction", `BEGIN; INSERT INTO a VALUES (4, 'tx', NULL); INSERT INTO b VALUES (4, 'tx', 4.50); UPDATE a SET v = 'tx2' WHERE id = 4; DELETE FROM b WHERE x = 1; COMMIT`},
		{"rolled back", `BEGIN; INSERT INTO a VALUES (5, 'never', NULL); UPDATE a SET v = 'never'; ROLLBACK`},
		{"savepoints", `BEGIN; INSERT INTO a VALUES (6, 'kept', NULL); SAVEPOINT s; INSERT INTO a VALUES (7, 'never', NULL); UPDATE a SET v = 'never' WHERE id = 6; ROLLBACK TO s; INSERT INTO a VALUES (8, 'kept', NULL); COMMIT`},
		{"change of the key", `UPDATE a SET id = 30 WHERE id = 3; UPDATE b SET x = 40, y = 'moved' WHERE x = 4`},
		{"unchanged TOAST", `ALTER TABLE a ALTER big SET STORAGE EXTERNAL; INSERT INTO a VALUES (9, 'toast', repeat('0123456789', 2000)); UPDATE a SET v = 'changed beside it' WHERE id = 9; UPDATE a SET id = 90 WHERE id = 9`},
		{"unchanged TOAST, full identity", `ALTER TABLE a REPLICA IDENTITY FULL; INSERT INTO a VALUES (10, 'full', repeat('abc', 7000)); UPDATE a SET v = 'changed' WHERE id = 10; DELETE FROM a WHERE id = 4; ALTER TABLE a REPLICA IDENTITY DEFAULT`},
		{"a column more", `ALTER TABLE a ADD COLUMN more int; INSERT INTO a VALUES (11, 'more', NULL, 11); UPDATE a SET more = 1 WHERE id = 1; ALTER TABLE a ADD COLUMN "Sp ace-é" timestamptz; UPDATE a SET "Sp ace-é" = '2026-01-01 00:00Z' WHERE id = 11`},
		{"truncate, then rows", `TRUNCATE b; INSERT INTO b SELECT g, 'after', g FROM generate_series(1, 10) g`},
		{"insert and delete in one transaction", `BEGIN; INSERT INTO a VALUES (12, 'short', NULL); DELETE FROM a WHERE id = 12; INSERT INTO a VALUES (12, 'again', NULL); COMMIT`},
	}
	for _, step := range steps {
		// Statements that must not share one implicit transaction go one by one.
		for statement := range strings.SplitSeq(step.sql, ";") {
			exec1(t, source, statement)
		}
		eventually(t, time.Minute, step.name, equal, p)
	}
	t.Run("COPY", func(t *testing.T) {
		n, err := source.CopyFrom(t.Context(), pgx.Identifier{"b"}, []string{"x", "y", "v"}, pgx.CopyFromSlice(5000, func(i int) ([]any, error) {
			return []any{1000 + i, fmt.Sprintf("copy %d", i), i}, nil
		}))
		if err != nil || n != 5000 {
			t.Fatal(n, err)
		}
		eventually(t, time.Minute, "the copied rows are in the target", equal, p)
	})
	t.Run("a column less", func(t *testing.T) {
		exec1(t, source, `ALTER TABLE b DROP COLUMN v`)
		exec1(t, source, `INSERT INTO b VALUES (1, 'without v')`)
		eventually(t, time.Minute, "the row without the column is in the target", func() error {
			var n int
			if err := target.QueryRow(t.Context(), `SELECT count(*) FROM b WHERE y = 'without v' AND v IS NULL`).Scan(&n); err != nil || n != 1 {
				return fmt.Errorf("%d rows, %v", n, err)
			}
			return nil
		}, p)
	})
	p.stop(t)

	// What the topic says, by key, in the order in which the source committed.
	got := map[string][]string{}
	for _, m := range w.read(t, w.topic("a")) {
		key := fmt.Sprint(m.key["id"])
		what := "-"
		if m.value != nil {
			what = fmt.Sprint(text(m.value["v"]))
		}
		got[key] = append(got[key], m.headers["cdc.op"]+" "+what)
		for _, h := range []string{"cdc.position", "cdc.commit_time"} {
			if m.headers[h] == "" {
				t.Errorf("a record of key %s has no header %s: %v", key, h, m.headers)
			}
		}
		if (m.headers["cdc.tx"] == "") != (m.headers["cdc.op"] == "read") {
			t.Errorf("a %s record has the transaction %q", m.headers["cdc.op"], m.headers["cdc.tx"])
		}
	}
	want := map[string][]string{
		"1":  {"read snapshot", "update update", "update update"},
		"2":  {"read snapshot", "delete -"},
		"3":  {"insert insert", "delete -"},
		"30": {"update insert"},
		"4":  {"insert tx", "update tx2", "delete -"},
		"6":  {"insert kept"},
		"8":  {"insert kept"},
		"9":  {"insert toast", "update changed beside it", "delete -"},
		"90": {"update changed beside it"},
		"10": {"insert full", "update changed"},
		"11": {"insert more", "update more"},
		"12": {"insert short", "delete -", "insert again"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the topic's records by key (-want +got):\n%s", d)
	}
}

// text is a nullable Avro string, as hamba decodes it.
func text(v any) any {
	if u, ok := v.(map[string]any); ok {
		return u["string"]
	}
	return v
}
