package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"

	"cdc/replication"
)

// load commits transactions of 1 to 40 rows into table l (tx, n, pad), of which
// one in five is rolled back, until ctx ends or count are committed. It returns
// how many rows each committed transaction has; their numbers ascend in the
// order of their commits.
func load(ctx context.Context, db *testDB, first, count int) (map[int]int, error) {
	conn, err := pgx.Connect(context.Background(), db.url)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.Background())
	sizes := map[int]int{}
	rng := rand.New(rand.NewPCG(1, uint64(first)))
	for tx := first; len(sizes) < count && ctx.Err() == nil; tx++ {
		n := 1 + rng.IntN(40)
		end := "COMMIT"
		if rng.IntN(5) == 0 {
			end = "ROLLBACK"
		}
		sql := fmt.Sprintf(`BEGIN; INSERT INTO l SELECT %d, g, repeat('x', g * 10) FROM generate_series(0, %d) g; %s`, tx, n-1, end)
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			return sizes, err
		}
		if end == "COMMIT" {
			sizes[tx] = n
		}
	}
	return sizes, nil
}

// ledger checks what arrives of load: every transaction whole, in order, each
// row at its index.
type ledger struct {
	t    *testing.T
	rows map[int]int // by transaction
	tx   int         // the newest
	next uint64      // index in it
}

func (l *ledger) take(b *replication.Batch) {
	l.t.Helper()
	for i := range b.Changes {
		c := &b.Changes[i]
		tx, n := int(c.After[0].Int()), c.After[1].Int()
		if tx != l.tx {
			l.tx, l.next = tx, 0
			l.rows[tx] = 0
		}
		if c.Index != l.next || int64(c.Index) != n {
			l.t.Fatalf("transaction %d: change %d has row %d, want %d", tx, c.Index, n, l.next)
		}
		l.next++
		l.rows[tx]++
	}
}

const loadTable = `CREATE TABLE l (tx int, n int, pad text, PRIMARY KEY (tx, n))`

// TestReconnect kills the walsender again and again under load: what the
// source hands out has every committed row exactly once, in order.
func TestReconnect(t *testing.T) {
	db := newTestDB(t)
	db.exec(loadTable)
	cfg := db.stream("l")
	cfg.BatchBytes = 4 << 10 // transactions straddle batches
	s := mustOpen(t, cfg)
	ctx := testContext(t)

	var sizes map[int]int
	var loadErr error
	var wg sync.WaitGroup
	loaded := make(chan struct{})
	loading, enough := context.WithCancel(ctx)
	wg.Go(func() {
		defer close(loaded)
		sizes, loadErr = load(loading, db, 1, math.MaxInt)
	})
	defer wg.Wait()
	defer enough()
	got := &ledger{t: t, rows: map[int]int{}}
	var first *replication.Table
	kills, sinceKill, total := 0, 0, -1
	for have := 0; have != total; {
		b, err := s.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got.take(b)
		have += len(b.Changes)
		sinceKill += len(b.Changes)
		if len(b.Changes) > 0 {
			if first == nil {
				first = b.Changes[0].Table
			}
			if b.Changes[0].Table != first {
				t.Fatal("another *Table of the same shape after a reconnect")
			}
		}
		if b.Position != "" && kills%2 == 0 {
			s.Ack(b.Position)
		}
		b.Release()
		if sinceKill > 700 {
			sinceKill = 0
			if db.text(`SELECT count(pg_terminate_backend(active_pid)) FROM pg_replication_slots WHERE slot_name = $1 AND active`, cfg.Slot) == "1" {
				if kills++; kills == 8 {
					enough() // the rows after the last kill come, too
				}
			}
		}
		select {
		case <-loaded:
			total = 0
			for _, n := range sizes {
				total += n
			}
		default:
		}
	}
	if loadErr != nil {
		t.Fatal(loadErr)
	}
	if kills < 8 {
		t.Fatalf("only %d kills", kills)
	}
	if want := fmt.Sprint(sizes); fmt.Sprint(got.rows) != want {
		t.Errorf("got  %v\nwant %s", got.rows, want)
	}
}

// TestResume closes the source at random places under load and opens another at
// the newest Position: nothing is lost, and only whole transactions come again.
func TestResume(t *testing.T) {
	db := newTestDB(t)
	db.exec(loadTable)
	cfg := db.stream("l")
	cfg.BatchBytes = 4 << 10
	ctx := testContext(t)
	s, err := Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	var sizes map[int]int
	var loadErr error
	var wg sync.WaitGroup
	wg.Go(func() { sizes, loadErr = load(ctx, db, 1, 300) })
	defer wg.Wait()
	seen := map[int]int{} // rows of transactions, of all runs
	repeated := 0
	for run := 0; ; run++ {
		got := &ledger{t: t, rows: map[int]int{}}
		limit := 150 + rand.IntN(450) // eight runs leave some of the 300 transactions for the last
		if run == 8 {
			wg.Wait()
			limit = 1 << 30
		}
		done := func() bool {
			if run < 8 {
				return false
			}
			for tx, n := range sizes {
				if seen[tx] != n && got.rows[tx] != n {
					return false
				}
			}
			return true
		}
		for have := 0; have < limit && !done(); {
			b, err := s.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			got.take(b)
			have += len(b.Changes)
			if b.Position != "" {
				cfg.From = b.Position
				if run%3 == 0 {
					s.Ack(b.Position)
				}
			}
			b.Release()
		}
		mustClose(t, s)
		for tx, n := range got.rows {
			if seen[tx] > 0 {
				repeated++
			}
			seen[tx] = max(seen[tx], n)
		}
		if run == 8 {
			break
		}
		if s, err = Open(ctx, cfg); err != nil {
			t.Fatal(err)
		}
	}
	if loadErr != nil {
		t.Fatal(loadErr)
	}
	if fmt.Sprint(seen) != fmt.Sprint(sizes) {
		t.Errorf("got  %v\nwant %v", seen, sizes)
	}
	if repeated > 8 { // at most the transaction that each Close cut
		t.Errorf("%d transactions came again", repeated)
	}
}

// TestLargeTransaction hands one transaction out over many batches, of which
// only the last may have a Position.
func TestLargeTransaction(t *testing.T) {
	db := newTestDB(t)
	db.exec(loadTable)
	cfg := db.stream("l")
	cfg.BatchBytes = 64 << 10
	s := mustOpen(t, cfg)
	ctx := testContext(t)
	b, err := s.Next(ctx) // the start
	if err != nil {
		t.Fatal(err)
	}
	b.Release()
	const rows = 20_000
	db.exec(`INSERT INTO l SELECT 1, g, 'pad' FROM generate_series(0, $1::int - 1) g`, rows)
	got := &ledger{t: t, rows: map[int]int{}}
	batches := 0
	for got.rows[1] < rows {
		b, err := s.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got.take(b)
		// A keepalive may have told of the boundary before it.
		if b.Position != "" && len(b.Changes) > 0 && got.rows[1] < rows {
			at, err := parsePosition(b.Position)
			if err != nil {
				t.Fatal(err)
			}
			if commit, err := pglogrepl.ParseLSN(string(b.Changes[0].Tx.Commit)); err != nil || at.LSN > commit {
				t.Errorf("Position %s inside the transaction that commits at %s, after %d rows, %v", b.Position, commit, got.rows[1], err)
			}
		}
		batches++
		b.Release()
	}
	if batches < 20 {
		t.Errorf("%d batches", batches)
	}
}

// confirmed returns the slot's confirmed_flush_lsn.
func confirmed(db *testDB, slot string) pglogrepl.LSN {
	lsn, err := pglogrepl.ParseLSN(db.text(`SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1`, slot))
	if err != nil {
		db.t.Fatal(err)
	}
	return lsn
}

// TestIdle writes to another table only: the log up to there is handed out as a
// Position, and confirmed once that is acknowledged, not before.
func TestIdle(t *testing.T) {
	db := newTestDB(t)
	db.exec(`CREATE TABLE quiet (id int PRIMARY KEY); CREATE TABLE busy (id int, pad text)`)
	db.exec(`ALTER DATABASE ` + db.conn.Config().Database + ` SET wal_sender_timeout = '2s'`) // status every 500 ms
	cfg := db.stream("quiet")
	s := mustOpen(t, cfg)
	ctx := testContext(t)
	db.exec(`INSERT INTO busy SELECT g, repeat('x', 1000) FROM generate_series(1, 30000) g`) // > idleBytes
	target, err := pglogrepl.ParseLSN(db.text(`SELECT pg_current_wal_insert_lsn()::text`))
	if err != nil {
		t.Fatal(err)
	}
	start := confirmed(db, cfg.Slot)
	var pos position
	var text replication.Position
	for pos.LSN+idleBytes < target {
		b, err := s.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Changes) > 0 {
			t.Fatalf("changes: %s", describe(&b.Changes[0]))
		}
		text = b.Position
		if pos, err = parsePosition(text); err != nil {
			t.Fatal(err)
		}
		b.Release()
	}
	// Several status updates later nothing is confirmed.
	for sent := s.stream.statuses.Load(); s.stream.statuses.Load() < sent+3; {
		wait(t, ctx)
	}
	if c := confirmed(db, cfg.Slot); c != start {
		t.Errorf("confirmed %s without an Ack, want %s", c, start)
	}
	s.Ack(text)
	for confirmed(db, cfg.Slot) != pos.LSN {
		wait(t, ctx)
	}
}

// TestIdleBesideBusy has others write to other tables without a pause: the
// confirmed position, and the log that the slot holds back, follow all the same.
func TestIdleBesideBusy(t *testing.T) {
	t.Parallel()
	db := newTestDB(t)
	db.exec(`CREATE TABLE quiet (id int PRIMARY KEY); CREATE TABLE busy (id int, pad text)`)
	db.exec(`ALTER DATABASE ` + db.conn.Config().Database + ` SET wal_sender_timeout = '2s'`) // status every 500 ms
	cfg := db.stream("quiet")
	s := mustOpen(t, cfg)
	ctx := testContext(t)
	writing, enough := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var failed [2]error
	for i := range failed {
		wg.Go(func() {
			conn, err := pgx.Connect(context.Background(), db.url)
			if err == nil {
				defer conn.Close(context.Background())
			}
			for err == nil && writing.Err() == nil {
				_, err = conn.Exec(context.Background(), `INSERT INTO busy SELECT g, repeat('x', 1000) FROM generate_series(1, 2000) g`)
			}
			failed[i] = err
		})
	}
	defer wg.Wait()
	defer enough()
	start := confirmed(db, cfg.Slot)
	restart := func() string {
		return db.text(`SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = $1`, cfg.Slot)
	}
	held := restart()
	steps, last := 0, start
	for steps < 4 || last < start+3*idleBytes || restart() == held {
		b, err := s.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Changes) > 0 {
			t.Fatalf("changes: %s", describe(&b.Changes[0]))
		}
		if b.Position != "" {
			s.Ack(b.Position)
		}
		b.Release()
		if c := confirmed(db, cfg.Slot); c > last {
			steps, last = steps+1, c
		}
		if steps == 4 {
			db.exec(`CHECKPOINT`) // which tells what runs, without waiting for the server's own time
		}
	}
	enough()
	wg.Wait()
	if err := errors.Join(failed[:]...); err != nil {
		t.Fatal(err)
	}
}

// wait lets a moment pass in a loop that polls a server.
func wait(t testing.TB, ctx context.Context) {
	t.Helper()
	tick := time.NewTimer(20 * time.Millisecond)
	defer tick.Stop()
	select {
	case <-tick.C:
	case <-ctx.Done():
		t.Fatal("waited too long")
	}
}

// TestSlowConsumer leaves batches untaken for longer than the server waits for
// an answer: the connection stays.
func TestSlowConsumer(t *testing.T) {
	db := newTestDB(t)
	db.exec(loadTable)
	db.exec(`ALTER DATABASE ` + db.conn.Config().Database + ` SET wal_sender_timeout = '4s'`) // status every second
	cfg := db.stream("l")
	cfg.BatchBytes = 16 << 10
	s := mustOpen(t, cfg)
	ctx := testContext(t)
	b, err := s.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b.Release()
	db.exec(`INSERT INTO l SELECT 1, g, repeat('x', 500) FROM generate_series(0, 39999) g`) // 20 MB: more than all buffers
	got := &ledger{t: t, rows: map[int]int{}}
	pid := ""
	for got.rows[1] < 40000 {
		b, err := s.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got.take(b)
		b.Release()
		if pid == "" {
			pid = db.text(`SELECT active_pid::text FROM pg_replication_slots WHERE slot_name = $1`, cfg.Slot)
			for sent := s.stream.statuses.Load(); s.stream.statuses.Load() < sent+5; { // 5 s
				wait(t, ctx)
			}
		}
	}
	if now := db.text(`SELECT active_pid::text FROM pg_replication_slots WHERE slot_name = $1`, cfg.Slot); now != pid {
		t.Errorf("walsender %s became %s", pid, now)
	}
}

// TestStop cancels Next and closes: the context's error, the slot let go, the
// last Ack known to the server, and a second Close that does nothing.
func TestStop(t *testing.T) {
	db := newTestDB(t)
	db.exec(loadTable)
	cfg := db.stream("l")
	s := mustOpen(t, cfg)
	db.exec(`INSERT INTO l VALUES (1, 0, '')`)
	r := &tape{t: t, s: s}
	r.until(func() bool { return len(r.rows) == 1 && r.last != "" })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for {
		b, err := s.Next(ctx)
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			break
		}
		b.Release()
	}
	s.Ack(r.last)
	mustClose(t, s)
	if active := db.text(`SELECT active::text FROM pg_replication_slots WHERE slot_name = $1`, cfg.Slot); active != "false" {
		t.Error("the slot is still active after Close")
	}
	pos, err := parsePosition(r.last)
	if err != nil {
		t.Fatal(err)
	}
	if c := confirmed(db, cfg.Slot); c < pos.LSN {
		t.Errorf("confirmed %s, acknowledged %s", c, pos.LSN)
	}
	mustClose(t, s)
}

// TestSlotAhead moves the slot on while the source is away: it refuses instead
// of leaving out what lies between.
func TestSlotAhead(t *testing.T) {
	db := newTestDB(t)
	db.exec(loadTable)
	cfg := db.stream("l")
	s := mustOpen(t, cfg)
	db.exec(`INSERT INTO l VALUES (1, 0, '')`)
	r := &tape{t: t, s: s}
	r.until(func() bool { return len(r.rows) == 1 })
	ctx := testContext(t)
	// Cut the connection and be quicker than its return.
	for tx := 2; ; tx++ {
		db.exec(`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active`, cfg.Slot)
		db.exec(`INSERT INTO l VALUES ($1, 0, '')`, tx)
		if _, err := db.conn.Exec(ctx, `SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())`, cfg.Slot); err == nil {
			break
		} else if sqlState(err) != codeInUse {
			t.Fatal(err)
		}
	}
	for {
		b, err := s.Next(ctx)
		if err != nil {
			if !replication.IsRefusal(err) || !strings.Contains(err.Error(), "is ahead of the checkpoint") {
				t.Errorf("got %v", err)
			}
			return
		}
		b.Release() // of a round before the last
	}
}

// TestServerWithShorterLog reconnects to a server whose log ends before what was
// read, as after a failover that lost the end of the log: the changes at the
// positions in between are others there, and would be skipped.
func TestServerWithShorterLog(t *testing.T) {
	db := newTestDB(t)
	db.exec(loadTable)
	cfg := db.stream("l")
	mustClose(t, mustOpen(t, cfg))
	cfg, err := cfg.complete()
	if err != nil {
		t.Fatal(err)
	}
	catalog := newCatalog(newSession(&cfg))
	defer catalog.s.close(context.Background())
	at := func(lsn string) error {
		t.Helper()
		end, err := pglogrepl.ParseLSN(lsn)
		if err != nil {
			t.Fatal(err)
		}
		s := &stream{streamConfig: streamConfig{cfg: &cfg, catalog: catalog}, dec: newDecoder(end)}
		return s.checkSlot(testContext(t))
	}
	if err := at(db.text(`SELECT pg_current_wal_flush_lsn()::text`)); err != nil {
		t.Error(err)
	}
	if err := at("FFFFFF/0"); !replication.IsRefusal(err) || !strings.Contains(err.Error(), "lies beyond the end of the server's log") {
		t.Errorf("beyond the end: %v", err)
	}
}
