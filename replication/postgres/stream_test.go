package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"cdc/replication"
)

// stream captures the named tables of schema public without their snapshot.
func (db *testDB) stream(tables ...string) Config {
	cfg := db.config()
	cfg.Publication = "Pub 'n\" " + cfg.Slot
	cfg.Logger = slog.New(slog.NewTextHandler(testWriter{db.t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, t := range tables {
		cfg.Tables = append(cfg.Tables, TableConfig{Schema: "public", Name: t, Snapshot: SnapshotNever, Keyless: true})
	}
	return cfg
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// tape reads a source and keeps what it read in readable form.
type tape struct {
	t    *testing.T
	s    *Source
	rows []string // "tx.index op table before → after"
	last replication.Position
	// positions holds, for each row, the last Position before it.
	positions []replication.Position
	tables    []*replication.Table
	batches   int
	ack       bool
}

// until reads until done is true, which is asked after every batch.
func (r *tape) until(done func() bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	for !done() {
		b, err := r.s.Next(ctx)
		if err != nil {
			r.t.Fatalf("after %d rows: %v", len(r.rows), err)
		}
		r.batches++
		for i := range b.Changes {
			c := &b.Changes[i]
			r.rows = append(r.rows, describe(c))
			r.positions = append(r.positions, r.last)
			r.tables = append(r.tables, c.Table)
		}
		if b.Position != "" {
			r.last = b.Position
			if r.ack {
				r.s.Ack(b.Position)
			}
		}
		b.Release()
	}
}

// want reads as many rows as want has and compares them.
func (r *tape) want(want ...string) {
	r.t.Helper()
	start := len(r.rows)
	r.until(func() bool { return len(r.rows) >= start+len(want) })
	got := r.rows[start:]
	for i := range max(len(got), len(want)) {
		var g, w string
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			r.t.Errorf("row %d\n got %s\nwant %s", i, g, w)
		}
	}
}

func describe(c *replication.Change) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s %s", c.Index, c.Op, c.Table.Name)
	for _, img := range []struct {
		name string
		vals []replication.Value
	}{{"before", c.Before}, {"after", c.After}} {
		if img.vals == nil {
			continue
		}
		b.WriteString(" " + img.name)
		for i, v := range img.vals {
			text := v.String()
			if len(text) > 60 {
				text = fmt.Sprintf("%s…%d", text[:10], len(text))
			}
			fmt.Fprintf(&b, " %s=%s", c.Table.Columns[i].Name, text)
		}
	}
	if c.Refetched != nil {
		fmt.Fprintf(&b, " refetched %v", c.Refetched)
	}
	return b.String()
}

func TestOperations(t *testing.T) {
	db := newTestDB(t)
	db.exec(`CREATE TABLE a (id int PRIMARY KEY, name text);
		CREATE TABLE b (x int, y int, PRIMARY KEY (y, x));
		CREATE TABLE f (id int PRIMARY KEY, name text);
		ALTER TABLE f REPLICA IDENTITY FULL`)
	r := &tape{t: t, s: mustOpen(t, db.stream("a", "b", "f")), ack: true}

	db.exec(`INSERT INTO a VALUES (1, 'one'), (2, NULL)`)
	r.want(`0 insert a after id=1 name="one"`, `1 insert a after id=2 name=null`)

	db.exec(`UPDATE a SET name = 'uno' WHERE id = 1`)
	r.want(`0 update a after id=1 name="uno"`)

	db.exec(`UPDATE a SET id = 7 WHERE id = 1`)
	r.want(`0 update a before id=1 name=unchanged after id=7 name="uno"`)

	db.exec(`DELETE FROM a WHERE id = 2`)
	r.want(`0 delete a before id=2 name=unchanged`)

	db.exec(`BEGIN; INSERT INTO a VALUES (10, 'lost'); ROLLBACK`)
	db.exec(`BEGIN; INSERT INTO a VALUES (11, 'kept'); SAVEPOINT s; INSERT INTO b VALUES (1, 1);
		ROLLBACK TO s; INSERT INTO b VALUES (2, 3); RELEASE s; INSERT INTO f VALUES (1, 'f'); COMMIT`)
	r.want(`0 insert a after id=11 name="kept"`, `1 insert b after x=2 y=3`, `2 insert f after id=1 name="f"`)

	db.exec(`UPDATE f SET name = 'g'`)
	r.want(`0 update f before id=1 name="f" after id=1 name="g"`)
	db.exec(`DELETE FROM f`)
	r.want(`0 delete f before id=1 name="g"`)

	db.exec(`BEGIN; TRUNCATE a, b; INSERT INTO a VALUES (5, ''); COMMIT`)
	r.until(func() bool { return strings.Contains(r.rows[len(r.rows)-1], "id=5") })
	got := strings.Join(r.rows[len(r.rows)-3:], "\n")
	if got != "0 truncate a\n1 truncate b\n2 insert a after id=5 name=\"\"" &&
		got != "0 truncate b\n1 truncate a\n2 insert a after id=5 name=\"\"" {
		t.Errorf("truncate:\n%s", got)
	}

	if _, err := db.conn.PgConn().CopyFrom(t.Context(), strings.NewReader("20\tx\n21\t\\N\n"), `COPY a FROM STDIN`); err != nil {
		t.Fatal(err)
	}
	r.want(`0 insert a after id=20 name="x"`, `1 insert a after id=21 name=null`)

	b := r.tables[6]
	if b.Name != "b" || fmt.Sprint(b.Key) != "[1 0]" {
		t.Errorf("key of %s is %v, want the key's order [1 0]", b, b.Key)
	}
	first := r.tables[0]
	for i, tbl := range r.tables {
		if tbl.Name == "a" && tbl != first {
			t.Errorf("row %d has another *Table of the same shape", i)
		}
	}
}
