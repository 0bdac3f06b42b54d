package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestKillsOutbox kills the capture of an outbox at random points under load,
// over and over (CDC_KILLS times, 3 without it; `make kills N=100`). Every
// committed message arrives, none of a transaction that was rolled back does,
// and each key's order is kept.
func TestKillsOutbox(t *testing.T) {
	n := 3
	if s := os.Getenv("CDC_KILLS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t)
	source, admin := connect(t, w.source), w.admin(t)
	ddl, stderr, code := command(t, "outbox", "ddl")
	if code != 0 {
		t.Fatal(stderr)
	}
	exec1(t, source, ddl)
	l := &outboxLoad{url: w.source, topic: w.name + "_events", committed: map[string][]int64{}}
	// Rows from before the first start, some of them gone again.
	if err := l.backlog(t.Context(), source, 3000); err != nil {
		t.Fatal(err)
	}
	config := w.outboxConfig(t, `
outbox:
  - table: public.outbox
    cleanup: {every: 200ms}
  - prefix: outbox`, "")

	// The first start publishes the rows that are there. Messages of the log count
	// from then on: before it no slot keeps them.
	first := start(t, binary, "capture", "--config", config)
	clean := func() error {
		var rows int
		if err := source.QueryRow(t.Context(), `SELECT count(*) FROM outbox`).Scan(&rows); err != nil || rows > 0 {
			return fmt.Errorf("%d rows, %v", rows, err)
		}
		return nil
	}
	eventually(t, time.Minute, "the backlog is published and gone", clean, first)
	first.kill()

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	loaded := make(chan error, 1)
	go func() { loaded <- l.run(ctx, 4) }()
	begin := time.Now()
	capture := &killer{
		args: []string{"capture", "--config", config}, seed: 3,
		progress: func() (int64, error) { return w.ends(ctx, admin, l.topic) },
	}
	capture.run(ctx, t, n)
	if t.Failed() {
		return
	}
	stop()
	if err := <-loaded; err != nil {
		t.Fatal(err)
	}
	// What is written last is published last.
	exec1(t, source, `SELECT outbox_publish($1, 'end', '{"n": 0}')`, l.topic+"_end")
	eventually(t, 2*time.Minute, "the last message is published, and the table is clean", func() error {
		if sum, err := w.ends(t.Context(), admin, l.topic+"_end"); err != nil || sum < 1 {
			return fmt.Errorf("%d records, %v", sum, err)
		}
		return clean()
	}, capture.last)
	capture.last.stop(t)

	index := map[string]map[int64]int{}
	for key, list := range l.committed {
		index[key] = map[int64]int{}
		for i, n := range list {
			index[key][n] = i
		}
	}
	at, replays, records := map[string]int{}, 0, 0
	for _, r := range w.consume(t, l.topic) {
		records++
		key := string(r.Key)
		var n int64
		if _, err := fmt.Sscanf(string(r.Value), `{"n": %d}`, &n); err != nil {
			t.Fatalf("%q: %v", r.Value, err)
		}
		i, known := index[key][n]
		switch next := at[key]; {
		case !known:
			t.Fatalf("key %s, offset %d: message %d was never committed", key, r.Offset, n)
		case i == next:
		case i < next:
			replays++
		default:
			t.Fatalf("key %s, offset %d: message %d is the %dth, but only %d have come", key, r.Offset, n, i+1, next)
		}
		at[key] = i + 1
	}
	total := 0
	for key, list := range l.committed {
		total += len(list)
		if at[key] != len(list) {
			t.Errorf("key %s: %d of %d messages have come", key, at[key], len(list))
		}
	}
	t.Logf("%d kills (%d before anything was published) in %.0f s; %d messages committed, %d rolled back, %d records of which %d begin a replay; nothing lost, order per key kept, the table is empty",
		capture.kills, capture.early, time.Since(begin).Seconds(), total, l.aborted.Load(), records, replays)
}

// outboxLoad writes messages in transactions and knows which were committed.
// Each writer has keys of its own, so their order is that of its commits.
type outboxLoad struct {
	url, topic string
	next       atomic.Int64
	aborted    atomic.Int64
	mu         sync.Mutex
	committed  map[string][]int64 // key → messages, in order
}

func (l *outboxLoad) backlog(ctx context.Context, conn *pgx.Conn, n int) error {
	_, err := conn.Exec(ctx, `INSERT INTO outbox (topic, key, payload) SELECT $1, 'b' || g % 20, jsonb_build_object('n', g) FROM generate_series(1, $2::int) g`, l.topic, n)
	if err == nil { // of what is left of them the older half was written later
		_, err = conn.Exec(ctx, `DELETE FROM outbox WHERE id <= $1`, n/2)
	}
	if err == nil {
		_, err = conn.Exec(ctx, `VACUUM outbox`)
	}
	if err == nil {
		_, err = conn.Exec(ctx, `INSERT INTO outbox (topic, key, payload) SELECT $1, 'b' || g % 20, jsonb_build_object('n', g) FROM generate_series($2::int, $3::int) g`, l.topic, n+1, n+n/2)
	}
	for g := n/2 + 1; g <= n+n/2; g++ {
		key := "b" + strconv.Itoa(g%20)
		l.committed[key] = append(l.committed[key], int64(g))
	}
	l.next.Store(int64(2 * n))
	return err
}

func (l *outboxLoad) run(ctx context.Context, writers int) error {
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for w := range writers {
		wg.Go(func() { errs[w] = l.write(ctx, w) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (l *outboxLoad) write(ctx context.Context, writer int) error {
	rng := rand.New(rand.NewPCG(uint64(writer), 5))
	conn, err := pgx.Connect(ctx, l.url)
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	for ctx.Err() == nil {
		if err := l.transaction(conn, rng, writer); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(4 * time.Millisecond):
		}
	}
	return nil
}

// transaction writes a few messages by one of the ways that there are, and is
// finished whatever becomes of the test's context.
func (l *outboxLoad) transaction(conn *pgx.Conn, rng *rand.Rand, writer int) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	written := map[string][]int64{}
	commit, back, count := rng.IntN(8) > 0, rng.IntN(8) == 0, 0
	for i := range 1 + rng.IntN(8) {
		n, key := l.next.Add(1), fmt.Sprintf("w%d-%d", writer, rng.IntN(20))
		sql := `SELECT outbox_publish($1, $2, jsonb_build_object('n', $3::bigint), '{"source": "load"}')`
		if rng.IntN(4) == 0 {
			sql = `SELECT pg_logical_emit_message(true, 'outbox', jsonb_build_object('topic', $1::text, 'key', $2::text, 'payload', jsonb_build_object('n', $3::bigint))::text)`
		}
		if back && i == 1 {
			if _, err := tx.Exec(ctx, `SAVEPOINT s`); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, sql, l.topic, key, n); err != nil {
			return err
		}
		count++
		if back && i == 1 {
			if _, err := tx.Exec(ctx, `ROLLBACK TO s`); err != nil {
				return err
			}
			l.aborted.Add(1)
			continue
		}
		written[key] = append(written[key], n)
	}
	if rng.IntN(3) == 0 { // its own rows alone can be seen and are not locked by the clean-up
		if _, err := tx.Exec(ctx, `DELETE FROM outbox WHERE xmin = pg_current_xact_id()::xid`); err != nil {
			return err
		}
	}
	if !commit {
		l.aborted.Add(int64(count))
		return tx.Rollback(ctx)
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, list := range written {
		l.committed[key] = append(l.committed[key], list...)
	}
	return nil
}
