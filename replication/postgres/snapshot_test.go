package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"cdc/replication"
	"cdc/replication/pace"
)

// TestHandover has writers at work while the snapshot is taken and read. What
// comes out is applied to an empty table, strictly: a row that appears twice
// (overlap) or that is changed without being there (gap) fails.
func TestHandover(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (id bigint PRIMARY KEY, n int NOT NULL)`)
	d.exec(`INSERT INTO t SELECT g, 0 FROM generate_series(1, 20000) g`)

	ctx, stop := context.WithCancel(testContext(t))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for w := range 4 {
		wg.Go(func() {
			conn, err := pgx.Connect(ctx, d.url)
			if err != nil {
				return
			}
			defer conn.Close(context.Background())
			random := rand.New(rand.NewPCG(1, uint64(w)))
			for i := 0; ctx.Err() == nil; i++ {
				tx, err := conn.Begin(ctx)
				if err != nil {
					return
				}
				tx.Exec(ctx, `INSERT INTO t VALUES ($1, 1)`, 1_000_000*(w+1)+i)
				tx.Exec(ctx, `UPDATE t SET n = n + 1 WHERE id = $1`, 1+random.IntN(20000))
				tx.Exec(ctx, `DELETE FROM t WHERE id = $1`, 1+random.IntN(20000))
				if i%7 == 0 {
					tx.Rollback(ctx)
				} else {
					tx.Commit(ctx)
				}
			}
		})
	}

	cfg := d.config("public.t")
	cfg.BatchBytes = 64 << 10
	s := mustOpen(t, cfg)
	rows := map[int64]int64{}
	apply := func(c *replication.Change) error {
		switch c.Op {
		case replication.OpRead, replication.OpInsert:
			id := c.After[0].Int()
			if _, there := rows[id]; there {
				return fmt.Errorf("%s: the row is there already", show(c))
			}
			rows[id] = c.After[1].Int()
		case replication.OpUpdate:
			id := c.After[0].Int()
			if _, there := rows[id]; !there {
				return fmt.Errorf("%s: there is no such row", show(c))
			}
			rows[id] = c.After[1].Int()
		case replication.OpDelete:
			id := c.Before[0].Int()
			if _, there := rows[id]; !there {
				return fmt.Errorf("%s: there is no such row", show(c))
			}
			delete(rows, id)
		}
		return nil
	}
	streamed, marked := 0, false
	for done := false; !done; {
		b, err := s.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Changes {
			if err := apply(&b.Changes[i]); err != nil {
				t.Fatalf("after %d streamed changes: %v", streamed, err)
			}
			if b.Changes[i].Op != replication.OpRead {
				streamed++
				done = done || b.Changes[i].Op == replication.OpInsert && b.Changes[i].After[0].Int() == -1
			}
		}
		b.Release()
		if streamed > 2000 && !marked { // enough: stop the writers and leave a mark
			marked = true
			stop()
			wg.Wait()
			d.exec(`INSERT INTO t VALUES (-1, 0)`)
		}
	}
	want := map[int64]int64{}
	list, err := d.conn.Query(context.Background(), `SELECT id, n FROM t`)
	if err != nil {
		t.Fatal(err)
	}
	for list.Next() {
		var id, n int64
		if err := list.Scan(&id, &n); err != nil {
			t.Fatal(err)
		}
		want[id] = n
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Error(diff)
	}
}

// fill puts n rows of about 120 bytes into table.
func (d *testDB) fill(table string, n int) {
	d.t.Helper()
	d.exec(fmt.Sprintf(`CREATE TABLE %s (id int PRIMARY KEY, pad text)`, table))
	d.exec(fmt.Sprintf(`INSERT INTO %s SELECT g, repeat('x', 100) FROM generate_series(1, %d) g`, table, n))
}

// readAll reads the snapshot to its end and returns the ids by table, and the
// Position that completes it, which must come with the last row.
func readAll(t *testing.T, s *Source) (map[string]int, replication.Position) {
	t.Helper()
	rows := map[string]int{}
	for {
		b, err := s.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Changes {
			if c := &b.Changes[i]; c.Op != replication.OpRead {
				t.Fatalf("%s before the end of the snapshot", show(c))
			} else {
				rows[c.Table.String()]++
			}
		}
		pos := b.Position
		b.Release()
		if pos != "" && !opening(pos) {
			return rows, pos
		}
	}
}

// TestSnapshotBreaksOff leaves the snapshot in the middle, without a Position:
// the next start reads everything again. Rows that the first attempt has handed
// out and that were deleted since are in no later snapshot: their deletes must
// come from the slot, which therefore stays.
func TestSnapshotBreaksOff(t *testing.T) {
	d := newTestDB(t)
	d.fill("t", 5000)
	cfg := d.config("public.t")
	cfg.BatchBytes = 16 << 10
	s := mustOpen(t, cfg)
	for range 3 {
		b, err := s.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if b.Position != "" && !opening(b.Position) {
			t.Fatalf("a batch in the middle of the snapshot has the position %s", b.Position)
		}
		b.Release()
	}
	mustClose(t, s)
	d.exec(`DELETE FROM t WHERE id = 1 OR id > 4999`)

	s = mustOpen(t, cfg)
	rows, pos := readAll(t, s)
	if rows["public.t"] != 4998 {
		t.Errorf("read %d rows, want 4998", rows["public.t"])
	}
	d.exec(`DELETE FROM t WHERE id = 2`)
	want := []string{`delete public.t before (1, unchanged)`, `delete public.t before (5000, unchanged)`, `delete public.t before (2, unchanged)`}
	if diff := cmp.Diff(want, readFrom(t, s).changes(3)); diff != "" {
		t.Errorf("after the snapshot came (-want +got):\n%s", diff)
	}
	mustClose(t, s)

	// With the Position the snapshot is not taken again.
	cfg.From = pos
	s = mustOpen(t, cfg)
	if diff := cmp.Diff(want, readFrom(t, s).changes(3)); diff != "" {
		t.Errorf("after a restart came (-want +got):\n%s", diff)
	}
}

// TestOpeningPosition breaks a first snapshot off when its first Position is
// saved: the next start has a checkpoint, reads everything, and gets the deletes.
func TestOpeningPosition(t *testing.T) {
	d := newTestDB(t)
	d.fill("t", 1000)
	cfg := d.config("public.t")
	cfg.BatchBytes = 16 << 10
	s := mustOpen(t, cfg)
	for n := range 2 {
		b, err := s.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if first := n == 0; first != (len(b.Changes) == 0) || first != opening(b.Position) {
			t.Fatalf("batch %d has %d changes and the position %q", n, len(b.Changes), b.Position)
		}
		if b.Position != "" {
			cfg.From = b.Position
			s.Ack(b.Position)
		}
		b.Release()
	}
	mustClose(t, s)
	d.exec(`DELETE FROM t WHERE id = 1`)
	s = mustOpen(t, cfg)
	rows, _ := readAll(t, s)
	if rows["public.t"] != 999 {
		t.Errorf("read %d rows, want 999", rows["public.t"])
	}
	if diff := cmp.Diff([]string{`delete public.t before (1, unchanged)`}, readFrom(t, s).changes(1)); diff != "" {
		t.Error(diff)
	}
}

// TestSlotOfAnother has a slot that was read from, and no checkpoint, as when
// the configuration names another Kafka cluster: the slot is refused, and stays
// as it is.
func TestSlotOfAnother(t *testing.T) {
	d := newTestDB(t)
	d.fill("t", 1)
	cfg := d.config("public.t")
	s := mustOpen(t, cfg)
	_, pos := readAll(t, s)
	d.exec(`INSERT INTO t VALUES (2, '')`)
	readFrom(t, s).changes(1)
	mustClose(t, s)
	confirmed := func() string {
		return d.text(`SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1`, cfg.Slot)
	}
	was := confirmed()
	for _, mode := range []SnapshotMode{SnapshotInitial, SnapshotNever} {
		cfg.Tables[0].Snapshot = mode
		wantRefusal(t, cfg, `slot "`+cfg.Slot+`" was read from before (1 transactions), but there is no checkpoint`, `or choose another slot name; if nobody needs the slot any more, run cdc drop`)
		wantFinding(t, Check(testContext(t), cfg), replication.LevelError, `was read from before`, `cdc drop`)
	}
	cfg.FromUnknown = true // Kafka does not answer: nobody is told to drop anything
	findings := Check(testContext(t), cfg)
	wantFinding(t, findings, replication.LevelWarning, `the checkpoint could not be read`, `Kafka's findings`)
	for _, f := range findings {
		if strings.Contains(f.Remedy, "cdc drop") {
			t.Errorf("without knowing the checkpoint: %+v", f)
		}
	}
	cfg.FromUnknown = false
	if now := confirmed(); now != was {
		t.Errorf("the slot went from %s to %s", was, now)
	}
	cfg.From = pos
	readFrom(t, mustOpen(t, cfg)).changes(1)
}

// TestSnapshotConnectionLost cuts the snapshot's connection: it starts again by
// itself.
func TestSnapshotConnectionLost(t *testing.T) {
	d := newTestDB(t)
	const all = 100_000 // more than the sockets hold
	d.fill("t", all)
	cfg := d.config("public.t")
	cfg.BatchBytes = 16 << 10
	s := mustOpen(t, cfg)
	read := 0
	for read == 0 { // the opening Position comes first
		first, err := s.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		read = len(first.Changes)
		first.Release()
	}
	if n := d.text(`SELECT count(pg_terminate_backend(pid))::text FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY %' AND pid <> pg_backend_pid()`); n != "1" {
		t.Fatalf("%s snapshot connections", n)
	}
	rows, _ := readAll(t, s)
	if read+rows["public.t"] <= all || read+rows["public.t"] >= 2*all {
		t.Errorf("read %d rows, want all %d again after those that had come", read+rows["public.t"], all)
	}
	d.exec(`INSERT INTO t VALUES (0, 'new')`)
	if got := readFrom(t, s).changes(1)[0]; got != `insert public.t (0, "new")` {
		t.Errorf("after the snapshot came %s", got)
	}
}

// TestNewTable configures another table while there is a checkpoint: it is
// published and read, and the stream goes on from the checkpoint.
func TestNewTable(t *testing.T) {
	d := newTestDB(t)
	d.fill("a", 10)
	d.fill("b", 3000)
	cfg := d.config("public.a")
	s := mustOpen(t, cfg)
	_, pos := readAll(t, s)
	s.Ack(pos)
	mustClose(t, s)

	d.exec(`INSERT INTO a VALUES (11, 'while away')`)
	d.exec(`INSERT INTO b VALUES (3001, 'while away')`)
	cfg.From = pos
	cfg.Tables = append(cfg.Tables, TableConfig{Schema: "public", Name: "b"}, TableConfig{Schema: "public", Name: "c", Snapshot: SnapshotNever})
	d.fill("c", 10)
	cfg.BatchBytes = 16 << 10

	s = mustOpen(t, cfg) // breaks off
	b, err := s.Next(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	b.Release()
	mustClose(t, s)

	d.exec(`UPDATE b SET pad = 'changed' WHERE id = 1`)
	s = mustOpen(t, cfg)
	d.exec(`DELETE FROM b WHERE id = 2`)
	d.exec(`DELETE FROM c WHERE id = 2`)
	rows, pos2 := readAll(t, s)
	if diff := cmp.Diff(map[string]int{"public.b": 3001}, rows); diff != "" {
		t.Error(diff)
	}
	want := []string{
		`insert public.a (11, "while away")`,
		`update public.b (1, "changed")`, // the first attempt may have read the row before
		`delete public.b before (2, unchanged)`,
		`delete public.c before (2, unchanged)`,
	}
	if diff := cmp.Diff(want, readFrom(t, s).changes(4)); diff != "" {
		t.Error(diff)
	}
	mustClose(t, s)

	// From the Position after the new table's snapshot it is the same again.
	cfg.From = pos2
	s = mustOpen(t, cfg)
	if diff := cmp.Diff(want, readFrom(t, s).changes(4)); diff != "" {
		t.Error(diff)
	}
}

// TestNever starts with the changes alone, and again at the slot's point when
// nothing more was saved.
func TestNever(t *testing.T) {
	d := newTestDB(t)
	d.fill("t", 10)
	cfg := d.config("public.t")
	cfg.Tables[0].Snapshot = SnapshotNever
	s := mustOpen(t, cfg)
	b, err := s.Next(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Changes) != 0 || b.Position == "" {
		t.Errorf("first batch has %d changes and the position %q", len(b.Changes), b.Position)
	}
	cfg.From = b.Position
	b.Release()
	d.exec(`DELETE FROM t WHERE id = 1`)
	want := []string{`delete public.t before (1, unchanged)`}
	for range 2 {
		if diff := cmp.Diff(want, readFrom(t, s).changes(1)); diff != "" {
			t.Error(diff)
		}
		mustClose(t, s)
		s = mustOpen(t, cfg)
	}
}

// TestSnapshotSameAsStream reads rows of many types by the snapshot, has them
// updated to themselves, and expects the same Values and the same *Table.
func TestSnapshotSameAsStream(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TYPE mood AS ENUM ('sad', 'it''s "ok"')`)
	d.exec(`CREATE DOMAIN price AS numeric(12,2)`)
	d.exec(`CREATE TYPE pair AS (a int, b text)`)
	d.exec(`CREATE TABLE t (
		id int PRIMARY KEY, gone int, b bool, i2 int2, i8 int8, f4 float4, f8 float8, n numeric, np numeric(12,2), s text, v varchar(40), c char(5),
		bin bytea, d date, ti time, ts timestamp, tz timestamptz, u uuid, j json, jb jsonb, m mood, p price, iv interval, ip inet, pr pair,
		ia int[], ta text[], na numeric(12,2)[], ua uuid[], za timestamptz[], ma mood[],
		twice int GENERATED ALWAYS AS (id * 2) STORED)`)
	d.exec(`ALTER TABLE t DROP COLUMN gone`)
	d.exec(`ALTER TABLE t REPLICA IDENTITY FULL`)
	d.exec(`INSERT INTO t VALUES
		(1, true, -32768, 9223372036854775807, 1.1, 'NaN', 123456789012345678901234567890.12345, -0.10, E'a\tb\\c\n\r\f\b\v"''\\N', 'ä€😀', 'ab',
		 '\x00ff5c', '2026-11-21', '24:00', '0044-03-15 12:00:00.123456 BC', '2026-11-21 14:00:00.5+02', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
		 '{"a" : [1, 2]}', '{"a": "b\\c"}', 'it''s "ok"', 12.5, '1 mon -3 days', '10.0.0.0/8', '(1,"x,\"y")',
		 '{1,NULL,3}', E'{"a,b",NULL,"NULL","\\\\\\"q"}', '{1.5,NULL}', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', '{infinity,"2026-01-01 00:00:00+00"}', '{sad}'),
		(2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '', '', '', '', 'infinity', '00:00', '-infinity', 'infinity', NULL, 'null', 'null', NULL, NULL, NULL, NULL, NULL,
		 '{}', '{}', NULL, NULL, NULL, NULL)`)
	cfg := d.config("public.t")
	s := mustOpen(t, cfg)
	d.exec(`UPDATE t SET i2 = i2`)

	type image struct {
		Table *replication.Table
		Row   string
	}
	var read, updated []image
	for len(updated) < 2 {
		b, err := s.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Changes {
			c := &b.Changes[i]
			switch c.Op {
			case replication.OpRead:
				read = append(read, image{c.Table, showRow(c.After)})
			case replication.OpUpdate:
				updated = append(updated, image{c.Table, showRow(c.After)})
			}
		}
		b.Release()
	}
	for i := range updated {
		if read[i].Row != updated[i].Row {
			t.Errorf("row %d\nsnapshot %s\nstream   %s", i, read[i].Row, updated[i].Row)
		}
		if read[i].Table != updated[i].Table {
			t.Errorf("row %d: the snapshot's Table is another one\n%+v\n%+v", i, read[i].Table, updated[i].Table)
		}
	}
	if n := len(read[0].Table.Columns); n != 30 {
		t.Errorf("the table has %d columns, want 30 without the generated one", n)
	}
}

func TestSnapshotPartitioned(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (id int PRIMARY KEY, n int) PARTITION BY RANGE (id)`)
	d.exec(`CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (10)`)
	d.exec(`CREATE TABLE t_2 (n int, id int PRIMARY KEY)`) // another order of columns
	d.exec(`ALTER TABLE t ATTACH PARTITION t_2 FOR VALUES FROM (10) TO (20)`)
	d.exec(`INSERT INTO t VALUES (1, 100), (11, 1100)`)
	s := mustOpen(t, d.config("public.t"))
	r := readFrom(t, s)
	if diff := cmp.Diff([]string{`read public.t (1, 100)`, `read public.t (11, 1100)`}, r.changes(2)); diff != "" {
		t.Error(diff)
	}
	d.exec(`UPDATE t SET n = 7 WHERE id = 11`)
	if diff := cmp.Diff([]string{`update public.t (11, 7)`}, r.changes(1)); diff != "" {
		t.Error(diff)
	}
}

// TestSnapshotInherited leaves rows of tables that inherit out, as the stream
// does.
func TestSnapshotInherited(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (id int PRIMARY KEY)`)
	d.exec(`CREATE TABLE child (extra int, PRIMARY KEY (id)) INHERITS (t)`)
	d.exec(`INSERT INTO t VALUES (1)`)
	d.exec(`INSERT INTO child VALUES (2)`)
	s := mustOpen(t, d.config("public.t"))
	d.exec(`INSERT INTO child VALUES (3)`)
	d.exec(`INSERT INTO t VALUES (4)`)
	if diff := cmp.Diff([]string{`read public.t (1)`, `insert public.t (4)`}, readFrom(t, s).changes(2)); diff != "" {
		t.Error(diff)
	}
}

// TestSnapshotFiltered takes an existing publication's columns and rows.
func TestSnapshotFiltered(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (id int PRIMARY KEY, secret text, n int)`)
	d.exec(`INSERT INTO t VALUES (1, 'a', 10), (2, 'b', 20)`)
	cfg := d.config("public.t")
	d.exec(`CREATE PUBLICATION ` + cfg.Publication + ` FOR TABLE t (id, n) WHERE (id > 1)`)
	s := mustOpen(t, cfg)
	d.exec(`INSERT INTO t VALUES (0, 'c', 30), (3, 'd', 30)`)
	if diff := cmp.Diff([]string{`read public.t (2, 20)`, `insert public.t (3, 30)`}, readFrom(t, s).changes(2)); diff != "" {
		t.Error(diff)
	}
}

// TestTableAltered alters tables between the snapshot's point and the lock.
func TestTableAltered(t *testing.T) {
	d := newTestDB(t)
	ctx := testContext(t)
	for n, ddl := range []string{
		`TRUNCATE %s`,
		`ALTER TABLE %s ALTER COLUMN id TYPE bigint`,
		`ALTER TABLE %s ADD COLUMN new int`,
		`ALTER TABLE %s DROP COLUMN pad`,
		`ALTER TABLE %s RENAME COLUMN pad TO other`,
		`SELECT '%s'`, // nothing
	} {
		table := fmt.Sprintf("t%d", n)
		d.fill(table, 3)
		cfg, err := d.config("public." + table).complete()
		if err != nil {
			t.Fatal(err)
		}
		cat := newCatalog(newSession(&cfg))
		insp, err := inspect(ctx, &cfg, cat)
		if err != nil {
			t.Fatal(err)
		}
		repl, err := cfg.connectReplication(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		lsn, exported, err := createSlot(ctx, repl, cfg.Slot, slotOptions{temporary: true, export: true})
		if err != nil {
			t.Fatal(err)
		}
		d.exec(fmt.Sprintf(ddl, table))
		snap, err := openSnapshot(ctx, &cfg, cat, exported, lsn, []*tableState{&insp.tables[0]})
		if err == nil {
			snap.close(ctx)
		}
		if want := !strings.HasPrefix(ddl, "SELECT"); errors.Is(err, errTableChanged) != want || err != nil && !want {
			t.Errorf("%s: %v", fmt.Sprintf(ddl, table), err)
		}
		repl.Close(ctx)
		cat.s.close(ctx)
	}
}

func TestProgress(t *testing.T) {
	d := newTestDB(t)
	d.fill("t", 3000)
	d.exec(`ANALYZE t`)
	d.exec(`CREATE TABLE empty (id int PRIMARY KEY)`)
	cfg := d.config("public.t", "public.empty")
	var told []pace.Progress
	cfg.Progress = func(p pace.Progress) { told = append(told, p) }
	s := mustOpen(t, cfg)
	_, _ = readAll(t, s)
	for i := range told {
		if told[i].Elapsed <= 0 {
			t.Errorf("progress without time: %+v", told[i])
		}
		told[i].Elapsed = 0
	}
	want := []pace.Progress{
		{Schema: "public", Table: "t", Rows: 3000, Bytes: int64(len("1\t")*9 + len("10\t")*90 + len("100\t")*900 + len("1000\t")*2001 + 101*3000), Estimate: 3000, Done: true},
		{Schema: "public", Table: "empty", Estimate: -1, Done: true},
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
	if st := s.Stats(); st.SnapshotRows != 3000 {
		t.Errorf("stats %+v", st)
	}
}

// BenchmarkSnapshot reads a table of 10 columns, by the source and by a bare
// COPY that throws the bytes away.
func BenchmarkSnapshot(b *testing.B) {
	d := newTestDB(b)
	const rows = 200_000
	d.exec(`CREATE TABLE t (id bigint PRIMARY KEY, customer int, name text, note text, total numeric(12,2), at timestamptz, paid bool, weight float8, day date, hash bytea)`)
	d.exec(fmt.Sprintf(`INSERT INTO t SELECT g, g %% 1000, 'customer number ' || g, 'some note that is a bit longer than the name', g / 100.0, now(), g %% 2 = 0, g / 4.0, current_date,
		decode('000102030405060708090a0b0c0d0e0f', 'hex') FROM generate_series(1, %d) g`, rows))
	d.exec(`VACUUM ANALYZE t`)
	b.Run("source", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			cfg := d.config("public.t")
			b.StopTimer() // the slot waits for transactions of others
			s := mustOpen(b, cfg)
			n := 0
			b.StartTimer()
			for {
				batch, err := s.Next(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				n += len(batch.Changes)
				pos := batch.Position
				batch.Release()
				if pos != "" {
					break
				}
			}
			if n != rows {
				b.Fatalf("read %d rows", n)
			}
			b.StopTimer()
			mustClose(b, s)
			if _, _, err := Drop(b.Context(), cfg); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		b.ReportMetric(float64(b.N)*rows/b.Elapsed().Seconds(), "rows/s")
	})
	b.Run("copy", func(b *testing.B) {
		for b.Loop() {
			if _, err := d.conn.PgConn().CopyTo(b.Context(), io.Discard, `COPY t TO STDOUT`); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*rows/b.Elapsed().Seconds(), "rows/s")
	})
}
