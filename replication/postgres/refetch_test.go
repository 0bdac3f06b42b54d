package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"

	"cdc/replication"
	"cdc/replication/arena"
)

// bigSQL is a value that is stored out of line: 8,000 bytes that do not
// compress, since storage is EXTERNAL, and begin with its tag.
func bigSQL(tag string) string { return `rpad('` + tag + `', 8000, '` + tag + `')` }

// short shows quoted values of a thousand bytes and more by their tag and length.
func short(s string) string {
	parts := strings.Split(s, `"`)
	for i := 1; i < len(parts)-1; i++ {
		if v := parts[i]; len(v) >= 1000 {
			parts[i-1] += fmt.Sprintf("%s…%d", v[:2], len(v)) + parts[i+1]
			parts = slices.Delete(parts, i, i+2)
			i--
		}
	}
	return strings.Join(parts, `"`)
}

func shorts(list []string) []string {
	for i := range list {
		list[i] = short(list[i])
	}
	return list
}

// bigTable makes a table t with a column big, and a slot, so that what happens
// to the table from then on comes in one batch when the source is opened.
func bigTable(t *testing.T, columns string) (*testDB, Config) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (` + columns + `)`)
	d.exec(`ALTER TABLE t ALTER COLUMN big SET STORAGE EXTERNAL`)
	cfg := d.config("public.t")
	cfg.Tables[0].Snapshot = SnapshotNever
	mustClose(t, mustOpen(t, cfg)) // makes slot and publication
	return d, cfg
}

// TestRefetch has one of each case in one batch.
func TestRefetch(t *testing.T) {
	d, cfg := bigTable(t, `id int PRIMARY KEY, n int, big text, other text`)
	d.exec(`INSERT INTO t SELECT g, 0, ` + bigSQL("a") + `, 'o' FROM generate_series(1, 5) g`)
	s := mustOpen(t, cfg)
	r := readFrom(t, s)
	r.changes(5)
	s.Ack(r.position())
	cfg.From = r.position()
	mustClose(t, s)

	d.exec(`BEGIN`)                           // so that it is one batch
	d.exec(`UPDATE t SET n = 1 WHERE id = 1`) // read again
	d.exec(`UPDATE t SET n = 1 WHERE id = 2`) // gone when read again
	d.exec(`DELETE FROM t WHERE id = 2`)
	d.exec(`UPDATE t SET big = ` + bigSQL("b") + ` WHERE id = 3`)
	d.exec(`UPDATE t SET n = 2 WHERE id = 3`)   // what the change before set
	d.exec(`UPDATE t SET id = 40 WHERE id = 4`) // by the new key
	d.exec(`UPDATE t SET n = 4 WHERE id = 40`)
	d.exec(`INSERT INTO t VALUES (6, 0, ` + bigSQL("c") + `, NULL)`)
	d.exec(`UPDATE t SET id = 60 WHERE id = 6`)
	d.exec(`UPDATE t SET n = 5 WHERE id = 5; UPDATE t SET big = ` + bigSQL("d") + ` WHERE id = 5`)
	d.exec(`COMMIT`)

	s = mustOpen(t, cfg)
	want := []string{
		`update public.t (1, 1, aa…8000, "o") refetched big`,
		`update public.t (2, 1, unchanged, "o")`,
		`delete public.t before (2, unchanged, unchanged, unchanged)`,
		`update public.t (3, 0, bb…8000, "o")`,
		`update public.t (3, 2, bb…8000, "o")`,
		`update public.t before (4, unchanged, unchanged, unchanged) (40, 0, unchanged, "o")`,
		`update public.t (40, 4, aa…8000, "o") refetched big`,
		`insert public.t (6, 0, cc…8000, null)`,
		`update public.t before (6, unchanged, unchanged, unchanged) (60, 0, cc…8000, null)`,
		`update public.t (5, 5, dd…8000, "o") refetched big`,
		`update public.t (5, 5, dd…8000, "o")`,
	}
	// The first update of row 4 has its new key, under which the row is found.
	want[5] = `update public.t before (4, unchanged, unchanged, unchanged) (40, 0, aa…8000, "o") refetched big`
	if diff := cmp.Diff(want, shorts(readFrom(t, s).changes(len(want)))); diff != "" {
		t.Error(diff)
	}
}

// TestRefetchIdentities has keys of many types, and tables whose rows are named
// by an index or by all columns.
func TestRefetchIdentities(t *testing.T) {
	d := newTestDB(t)
	cases := []struct{ table, columns, insert, alter string }{
		{
			"k1", `a text, b timestamptz, c uuid, d numeric, e date, f bytea, g bool, h float4, i char(4), j time, big text, n int, PRIMARY KEY (a, b, c, d, e, f, g, h, i, j)`,
			`'x"y\,{', '0044-03-15 12:00:00.5 BC', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 1.50, 'infinity', '\x5c22', true, 1.1, 'ab', '24:00', `, ``,
		},
		{"k2", `a int NOT NULL, b text NOT NULL, big text, n int, UNIQUE (a, b)`, `1, 'x', `, `ALTER TABLE k2 REPLICA IDENTITY USING INDEX k2_a_b_key`},
		{"k3", `a int, big text, n int`, `1, `, `ALTER TABLE k3 REPLICA IDENTITY FULL`},
		{"k4", `a mood, b price, c int[], d timestamp, big text, n int, PRIMARY KEY (a, b, c, d)`, `'it''s', 2.50, '{1,2}', '-infinity', `, ``},
	}
	d.exec(`CREATE TYPE mood AS ENUM ('sad', 'it''s')`)
	d.exec(`CREATE DOMAIN price AS numeric(12,2)`)
	for _, c := range cases {
		d.exec(`CREATE TABLE ` + c.table + ` (` + c.columns + `)`)
		d.exec(`ALTER TABLE ` + c.table + ` ALTER COLUMN big SET STORAGE EXTERNAL`)
		if c.alter != "" {
			d.exec(c.alter)
		}
		d.exec(`INSERT INTO ` + c.table + ` VALUES (` + c.insert + bigSQL("a") + `, 0)`)
	}
	cfg := d.config("public.k1", "public.k2", "public.k3", "public.k4")
	for i := range cfg.Tables {
		cfg.Tables[i].Snapshot = SnapshotNever
	}
	cfg.Tables[1].Key = []string{"a", "b"}
	cfg.Tables[2].Keyless = true
	s := mustOpen(t, cfg)
	r := readFrom(t, s)
	for _, c := range cases {
		d.exec(`UPDATE ` + c.table + ` SET n = 1`)
		got := short(r.changes(1)[0])
		want := ` refetched big`
		if c.table == "k3" {
			want = `1)` // the log has the old row whole
		}
		if !strings.Contains(got, `aa…8000`) || !strings.HasSuffix(got, want) {
			t.Errorf("table %s: %s", c.table, got)
		}
	}
}

// TestRefetchVisible updates a row twice in a transaction that is in the log
// before other sessions see it: it waits for a synchronous standby that there
// is none of. What is read meanwhile would be a version too old.
func TestRefetchVisible(t *testing.T) {
	d, cfg := bigTable(t, `id int PRIMARY KEY, n int, big text`)
	ctx := testContext(t)
	complete, err := cfg.complete()
	if err != nil {
		t.Fatal(err)
	}
	r := newRefetcher(&complete, newBatchPool(1<<20, 4))
	defer r.close(context.Background())
	b, tx := d.invisible(ctx)
	done := make(chan error, 1)
	go func() {
		_, err := r.fill(ctx, b)
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("filled while the transaction was not visible: %v, %s", err, short(show(&b.Changes[0])))
	case <-time.After(200 * time.Millisecond):
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := short(show(&b.Changes[0])); got != `update public.t (1, 2, bb…8000) refetched big` {
		t.Error(got)
	}
}

// TestVisibleRefused has a transaction that the server never sees, and a slot
// that it does not have, as a standby that took over without either: what ended
// the stream comes out, instead of waiting for ever.
func TestVisibleRefused(t *testing.T) {
	d, cfg := bigTable(t, `id int PRIMARY KEY, n int, big text`)
	ctx := testContext(t)
	s := mustOpen(t, cfg)
	r := readFrom(t, s)
	d.exec(`INSERT INTO t VALUES (0, 0, '')`)
	r.changes(1)
	for {
		d.exec(`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active`, cfg.Slot)
		if _, err := d.conn.Exec(ctx, `SELECT pg_drop_replication_slot($1)`, cfg.Slot); err == nil {
			break
		} else if sqlState(err) != codeInUse {
			t.Fatal(err)
		}
	}
	select {
	case <-s.stream.done:
	case <-ctx.Done():
		t.Fatal(ctx.Err())
	}
	s.stream.held, _ = d.invisible(ctx)
	if _, err := s.Next(ctx); !replication.IsRefusal(err) || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("next: %v", err)
	}
}

// TestVisibleEnded is the same with a stream that ended for another reason, or
// was refused when the transaction is visible: its last batch comes first.
func TestVisibleEnded(t *testing.T) {
	d, cfg := bigTable(t, `id int PRIMARY KEY, n int, big text`)
	ctx := testContext(t)
	complete, err := cfg.complete()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		ended   error
		visible bool
	}{
		{io.ErrUnexpectedEOF, false},
		{&replication.Refusal{Problem: "a later change"}, true},
	} {
		d.exec(`TRUNCATE t`)
		b, tx := d.invisible(ctx)
		r := newRefetcher(&complete, newBatchPool(1<<20, 4))
		s := &stream{done: make(chan struct{}), err: test.ended, held: b, streamConfig: streamConfig{refetch: func(ctx context.Context, b *batch) error {
			_, err := r.fill(ctx, b)
			return err
		}}}
		close(s.done)
		r.refused = s.refused
		committed := make(chan error, 1)
		if test.visible {
			committed <- tx.Commit(ctx)
		} else {
			time.AfterFunc(refusedPatience+200*time.Millisecond, func() { committed <- tx.Commit(ctx) })
		}
		got, err := s.next(ctx)
		if err := <-committed; err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Errorf("ended with %v: %v", test.ended, err)
		} else if got := short(show(&got.Changes[0])); got != `update public.t (1, 2, bb…8000) refetched big` {
			t.Error(got)
		}
		if _, err := s.next(ctx); !errors.Is(err, test.ended) {
			t.Errorf("then %v, want %v", err, test.ended)
		}
		r.close(context.Background())
	}
}

// invisible returns a change to the row 1 of the table of bigTable (id, n, big)
// as the stream would hand it over while its transaction is not visible yet.
func (d *testDB) invisible(ctx context.Context) (*batch, pgx.Tx) {
	t := d.t
	t.Helper()
	d.exec(`INSERT INTO t VALUES (1, 0, ` + bigSQL("a") + `)`)
	other, err := pgx.Connect(ctx, d.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close(context.Background()) })
	tx, err := other.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var xid string
	if err := tx.QueryRow(ctx, `UPDATE t SET n = 1, big = `+bigSQL("b")+` RETURNING (pg_current_xact_id()::text::bigint & 4294967295)::text`).Scan(&xid); err != nil {
		t.Fatal(err)
	}

	b, err := newBatchPool(1<<20, 4).Get(ctx)
	if err != nil {
		t.Fatal(err)
	}
	table := &replication.Table{Schema: "public", Name: "t", Key: []int{0}, Columns: []replication.Column{
		{Name: "id", Kind: replication.KindInt, Bits: 32, TypeName: "integer"},
		{Name: "n", Kind: replication.KindInt, Bits: 32, TypeName: "integer"},
		{Name: "big", Kind: replication.KindString, TypeName: "text"},
	}}
	b.Add(replication.Change{
		Op: replication.OpUpdate, Table: table, Tx: &replication.Transaction{ID: []byte(xid)},
		After: []replication.Value{replication.IntValue(1), replication.IntValue(2), replication.Unchanged},
	}, 10)
	var oid uint32
	if err := other.QueryRow(ctx, `SELECT 't'::regclass::oid`).Scan(&oid); err != nil {
		t.Fatal(err)
	}
	const int4, text = 23, 25 // pg_type.oid
	b.incomplete = append(b.incomplete, hole{0, &origin{oid: oid, types: []uint32{int4, int4, text}}})
	return b, tx
}

// TestVisibleTransactionIDs has transactions in the order of their commits.
func TestVisibleTransactionIDs(t *testing.T) {
	b := &batch{}
	var todo []hole
	for i, xid := range []string{"7", "7", "4294967295", "5", "7", "5", "5", "none"} {
		b.Changes = append(b.Changes, replication.Change{Tx: &replication.Transaction{ID: []byte(xid)}})
		todo = append(todo, hole{at: int32(i)})
	}
	if diff := cmp.Diff([]uint32{5, 7, 4294967295}, transactionIDs(b, todo)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]uint32{7}, transactionIDs(b, todo[:2])); diff != "" {
		t.Error(diff)
	}
}

func TestAllVisible(t *testing.T) {
	for _, test := range []struct {
		snapshot string
		xid      uint32
		want     bool
	}{
		{"100:110:105,107", 99, true},
		{"100:110:105,107", 104, true},
		{"100:110:105,107", 105, false},
		{"100:110:105,107", 107, false},
		{"100:110:", 109, true},
		{"100:110:", 110, false},
		{"100:110:", 4_000_000_000, true},               // before the counter wrapped
		{"4294967290:4294967306:4294967297", 1, false},  // epoch 1
		{"4294967290:4294967306:4294967297", 2, true},   // epoch 1
		{"4294967290:4294967306:4294967297", 10, false}, // = xmax
		{"4294967290:4294967306:", 4294967295, true},    // epoch 0
		{"4294967290:4294967306:4294967291", 4294967291, false},
	} {
		got, err := allVisible(test.snapshot, []uint32{test.xid})
		if err != nil || got != test.want {
			t.Errorf("transaction %d in %s: %v, %v", test.xid, test.snapshot, got, err)
		}
	}
	for snapshot, want := range map[string]bool{"100:110:98,103,108": true, "100:110:98,101": false, "100:110:105": false, "100:110:109": false, "90:108:": false} {
		if got, err := allVisible(snapshot, []uint32{101, 105, 109}); err != nil || got != want {
			t.Errorf("three transactions in %s: %v, %v", snapshot, got, err)
		}
	}
	for _, bad := range []string{"", "1:2", "1:x:", "1:5:y"} {
		if _, err := allVisible(bad, []uint32{1}); err == nil {
			t.Errorf("no error for the snapshot %q", bad)
		}
	}
}

// TestRefetchBounded has far more refetched bytes than a batch may hold: the
// batches stay small, all values come, and only the last has the Position of
// the transaction.
func TestRefetchBounded(t *testing.T) {
	d, cfg := bigTable(t, `id int PRIMARY KEY, n int, big text`)
	d.exec(`ALTER TABLE t ADD COLUMN list text[]`)
	d.exec(`INSERT INTO t SELECT g, 0, ` + bigSQL("a") + `, '{a,b}' FROM generate_series(1, 1000) g`)
	cfg.BatchBytes = 256 << 10
	s := mustOpen(t, cfg)
	r := readFrom(t, s)
	r.changes(1000)
	r.position()
	d.exec(`UPDATE t SET n = 1`)
	next, batches := 1, 0
	for next <= 1000 {
		b, err := s.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		batches++
		if size := b.Bytes; size > 4*cfg.BatchBytes+128*1024 {
			t.Errorf("a batch of %d bytes", size)
		}
		for i := range b.Changes {
			if got := short(show(&b.Changes[i])); got != fmt.Sprintf(`update public.t (%d, 1, aa…8000, [%q %q]) refetched big`, next, "a", "b") {
				t.Fatalf("change %d: %s", next, got)
			}
			if b.Changes[i].Index != uint64(next-1) || string(b.Changes[i].Tx.ID) == "" {
				t.Errorf("change %d has the index %d in transaction %q", next, b.Changes[i].Index, b.Changes[i].Tx.ID)
			}
			next++
		}
		// Before the end of the transaction there may be the boundary before it,
		// which a keepalive told of, and never one beyond its commit.
		switch {
		case b.Position == "" && next > 1000:
			t.Error("no position at the end of the transaction")
		case b.Position != "" && len(b.Changes) > 0:
			at, err := parsePosition(b.Position)
			if err != nil {
				t.Fatal(err)
			}
			commit, err := pglogrepl.ParseLSN(string(b.Changes[0].Tx.Commit))
			if err != nil {
				t.Fatal(err)
			}
			if (at.LSN > commit) != (next > 1000) {
				t.Errorf("after %d changes of the transaction that commits at %s the position is %s", next-1, commit, b.Position)
			}
		}
		b.Release()
	}
	if batches < 6 {
		t.Errorf("8 MB came in %d batches of 1 MiB", batches)
	}
}

// TestRefetchChangedTable has the table altered before it is read again: the
// values stay unchanged.
func TestRefetchChangedTable(t *testing.T) {
	d, cfg := bigTable(t, `id int PRIMARY KEY, n int, big text`)
	d.exec(`BEGIN; INSERT INTO t VALUES (1, 0, ` + bigSQL("a") + `); UPDATE t SET n = 1; COMMIT`) // in one batch
	d.exec(`TRUNCATE t`)                                                                          // or the value would come from the insert
	d.exec(`INSERT INTO t VALUES (1, 0, ` + bigSQL("b") + `)`)
	d.exec(`ALTER TABLE t DROP COLUMN big`)
	s := mustOpen(t, cfg)
	want := []string{
		`insert public.t (1, 0, aa…8000)`,
		`update public.t (1, 1, aa…8000)`,
		`truncate public.t`,
		`insert public.t (1, 0, bb…8000)`,
	}
	if diff := cmp.Diff(want, shorts(readFrom(t, s).changes(4))); diff != "" {
		t.Error(diff)
	}

	d.exec(`ALTER TABLE t ADD COLUMN big text; ALTER TABLE t ALTER COLUMN big SET STORAGE EXTERNAL`)
	d.exec(`UPDATE t SET big = ` + bigSQL("c"))
	r := readFrom(t, s)
	r.changes(1)
	cfg.From = r.position()
	mustClose(t, s)
	d.exec(`UPDATE t SET n = 2`)
	d.exec(`ALTER TABLE t RENAME COLUMN big TO huge`)
	s = mustOpen(t, cfg)
	if got := readFrom(t, s).changes(1)[0]; got != `update public.t (1, 2, unchanged)` {
		t.Error(short(got))
	}
}

// TestValueText has the server read our text of values and print it.
func TestValueText(t *testing.T) {
	d := newTestDB(t)
	for _, test := range []struct{ typ, text string }{
		{"bool", "t"},
		{"int8", "-9223372036854775808"},
		{"float4", "1.1"},
		{"float8", "NaN"},
		{"float8", "-Infinity"},
		{"float8", "1e+300"},
		{"numeric", "-0.10"},
		{"numeric", "NaN"},
		{"text", `a"b\c,{}`},
		{"bytea", `\x00ff5c`},
		{"uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{"date", "2026-11-21"},
		{"date", "infinity"},
		{"date", "-infinity"},
		{"date", "0044-03-15 BC"},
		{"date", "0001-01-01"},
		{"date", "12345-06-07"},
		{"date", "0001-12-31 BC"},
		{"time", "24:00:00"},
		{"time", "00:00:00.000001"},
		{"timestamp", "0044-03-15 12:00:00.123456 BC"},
		{"timestamp", "0999-01-01 00:00:00"},
		{"timestamptz", "2026-11-21 14:00:00.5+00"},
		{"timestamptz", "infinity"},
		{"timestamptz", "4714-11-24 00:00:00+00 BC"},
		{"jsonb", `{"a": 1}`},
		{"text[]", `{"a\"b\\c",NULL,"NULL",""}`},
		{"int[]", "{1,NULL,-3}"},
	} {
		cfg := d.config("public.t")
		cat := newCatalog(newSession(&cfg))
		err := cat.s.do(context.Background(), func(conn *pgx.Conn) error {
			var oid uint32
			if err := conn.QueryRow(context.Background(), `SELECT $1::text::regtype::oid`, test.typ).Scan(&oid); err != nil {
				return err
			}
			col, err := cat.column(context.Background(), oid, -1, 0)
			if err != nil {
				return err
			}
			decoder := newColumnDecoder(col)
			var a arena.Arena
			v, err := decoder.decode([]byte(test.text), &a)
			if err != nil {
				return err
			}
			var got string
			if err := conn.QueryRow(context.Background(), `SELECT $1::text::`+test.typ+`::text`, string(appendText(nil, v))).Scan(&got); err != nil {
				return err
			}
			if want := test.text; got != want && !(test.typ == "bool" && got == "true") {
				t.Errorf("%s %s came back as %s", test.typ, want, got)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s %s: %v", test.typ, test.text, err)
		}
		cat.s.close(context.Background())
	}
}
