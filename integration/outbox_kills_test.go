package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/internal/services"
	"cdc/internal/servicetest"
)

// TestKillsOutbox kills the capture of an outbox on PostgreSQL, a table with
// clean-up and messages of the log, at random points under load, over and over
// (CDC_KILLS times, 3 without it; `make kills N=100`). Every committed message
// arrives, none of a transaction that was rolled back does, and each key's order
// is kept.
func TestKillsOutbox(t *testing.T) {
	n := kills(t, 3)
	w := newWorld(t)
	source, admin := connect(t, w.source), w.admin(t)
	ddl, stderr, code := command(t, "outbox", "ddl")
	if code != 0 {
		t.Fatal(stderr)
	}
	exec1(t, source, ddl)
	l := newOutboxLoad(w.name+"_events", func(ctx context.Context) (outboxSession, error) { return dialPostgres(ctx, w.source) })
	// Rows from before the first start, some of them gone again.
	if err := l.backlog(t.Context(), source, 30_000); err != nil {
		t.Fatal(err)
	}
	config := w.outboxConfig(t, `
outbox:
  - table: public.outbox
    cleanup: {every: 200ms}
  - prefix: outbox`, "")
	clean := func() error {
		var rows int
		if err := source.QueryRow(t.Context(), `SELECT count(*) FROM outbox`).Scan(&rows); err != nil || rows > 0 {
			return fmt.Errorf("%d rows, %v", rows, err)
		}
		return nil
	}
	// The first start, which publishes the rows that are there, is killed in the
	// middle. Messages of the log count from then on: before it no slot keeps them.
	first := start(t, binary, "capture", "--config", config)
	l.begun(t, first)
	first.kill()
	l.killed(t, w, admin, config, n, clean, func() { exec1(t, source, `SELECT outbox_publish($1, 'end', '{"n": 0}')`, l.topic+"_end") })
}

// TestKillsOutboxMariaDB is the same for a table of MariaDB.
func TestKillsOutboxMariaDB(t *testing.T) {
	n := kills(t, 2)
	source := newSide(t, services.MariaDB118)
	w := &world{
		name: servicetest.Name(t, "it"), source: source.url, brokers: servicetest.Kafka(t), registry: servicetest.Registry(t), dir: t.TempDir(),
	}
	admin := w.admin(t)
	source.makeOutbox(t, "mariadb")
	l := newOutboxLoad(w.name+"_events", func(ctx context.Context) (outboxSession, error) { return dialMySQL(ctx, source.url) })
	config := w.outboxConfig(t, "outbox:\n  - table: "+source.database(t)+".outbox\n    cleanup: {every: 200ms}", "")
	const backlog = 20_000
	source.exec(t, fmt.Sprintf(`INSERT INTO outbox (topic, `+"`key`"+`, payload) SELECT '%s', CONCAT('b', seq %% 20), CONCAT('{"n": ', seq, '}') FROM seq_1_to_%d`, l.topic, backlog))
	l.backlogged(1, backlog)
	// The first start is killed in the middle of its snapshot.
	first := start(t, binary, "capture", "--config", config)
	l.begun(t, first)
	first.kill()
	clean := func() error {
		left, err := source.query(t.Context(), "SELECT count(*) FROM outbox")
		if err != nil || left[0][0] != "0" {
			return fmt.Errorf("%v rows, %w", left, err)
		}
		return nil
	}
	l.killed(t, w, admin, config, n, clean, func() {
		source.exec(t, fmt.Sprintf("CALL outbox_publish('%s_end', 'end', '{\"n\": 0}', NULL)", l.topic))
	})
}

// outboxLoad writes messages in transactions and knows which were committed.
// Each writer has keys of its own, so their order is that of its commits.
type outboxLoad struct {
	topic     string
	dial      func(context.Context) (outboxSession, error)
	next      atomic.Int64
	aborted   atomic.Int64
	mu        sync.Mutex
	committed map[string][]int64 // key → messages, in order
}

func newOutboxLoad(topic string, dial func(context.Context) (outboxSession, error)) *outboxLoad {
	return &outboxLoad{topic: topic, dial: dial, committed: map[string][]int64{}}
}

// killed runs the load while the capture is killed n times, waits until a last
// message has come and the table is clean, and compares what was committed with what was published.
func (l *outboxLoad) killed(t *testing.T, w *world, admin *kadm.Client, config string, n int, clean func() error, last func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	loaded := make(chan error, 1)
	go func() { loaded <- l.run(ctx, 4) }()
	from := l.next.Load()
	eventually(t, time.Minute, "messages are written while there is no capture", func() error {
		if n := l.next.Load() - from; n < 200 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
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
	last()
	eventually(t, 2*time.Minute, "the last message is published", func() error {
		if sum, err := w.ends(t.Context(), admin, l.topic+"_end"); err != nil || sum == 0 {
			return fmt.Errorf("%d records, %v", sum, err)
		}
		for _, r := range w.consume(t, l.topic+"_end") {
			if string(r.Key) == "end" {
				return nil
			}
		}
		return errors.New("not yet")
	}, capture.last)
	eventually(t, time.Minute, "the table is clean", clean, capture.last)
	capture.last.stop(t)
	replays, records := l.check(t, w.consume(t, l.topic))
	total := 0
	for _, list := range l.committed {
		total += len(list)
	}
	t.Logf("%d kills (%d before anything was published) in %.0f s; %d messages committed, %d rolled back, %d records of which %d begin a replay; nothing lost, order per key kept, the table is empty",
		capture.kills.Load(), capture.early, time.Since(begin).Seconds(), total, l.aborted.Load(), records, replays)
}

// check walks through the records of each key: allowed is the next message that
// was committed, and a replay, which goes back to an earlier one and then on
// from there.
func (l *outboxLoad) check(t *testing.T, list []*kgo.Record) (replays, records int) {
	t.Helper()
	index := map[string]map[int64]int{}
	for key, list := range l.committed {
		index[key] = map[int64]int{}
		for i, n := range list {
			index[key][n] = i
		}
	}
	at := map[string]int{}
	for _, r := range list {
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
			t.Fatalf("key %s, offset %d: message %d is number %d, but only %d have come", key, r.Offset, n, i+1, next)
		}
		at[key] = i + 1
	}
	for key, list := range l.committed {
		if at[key] != len(list) {
			t.Errorf("key %s: %d of %d messages have come", key, at[key], len(list))
		}
	}
	return replays, len(list)
}

// backlog writes n rows and deletes the older half of them, whose places on disk
// younger ones take.
func (l *outboxLoad) backlog(ctx context.Context, conn *pgx.Conn, n int) error {
	const insert = `INSERT INTO outbox (topic, key, payload) SELECT $1, 'b' || g % 20, jsonb_build_object('n', g) FROM generate_series($2::int, $3::int) g`
	_, err := conn.Exec(ctx, insert, l.topic, 1, n)
	if err == nil {
		_, err = conn.Exec(ctx, `DELETE FROM outbox WHERE id <= $1`, n/2)
	}
	if err == nil {
		_, err = conn.Exec(ctx, `VACUUM outbox`)
	}
	if err == nil {
		_, err = conn.Exec(ctx, insert, l.topic, n+1, n+n/2)
	}
	l.backlogged(n/2+1, n+n/2)
	return err
}

// backlogged notes the messages from first up to last, which are there before
// anything else.
func (l *outboxLoad) backlogged(first, last int) {
	for g := first; g <= last; g++ {
		key := "b" + strconv.Itoa(g%20)
		l.committed[key] = append(l.committed[key], int64(g))
	}
	l.next.Store(int64(2 * last))
}

// begun waits until the first records of the backlog are on their way.
func (l *outboxLoad) begun(t *testing.T, capture *process) {
	t.Helper()
	eventually(t, time.Minute, "the topic is made", func() error {
		if !strings.Contains(capture.output(), `msg="topic created" topic=`+l.topic+" ") {
			return errors.New("not yet")
		}
		return nil
	}, capture)
	t.Cleanup(func() {
		t.Logf("when the first start was killed, its snapshot was read: %v", strings.Contains(capture.output(), "read all rows of table"))
	})
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
	s, err := l.dial(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	for ctx.Err() == nil {
		if err := l.transaction(s, rng, writer); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(4 * time.Millisecond):
		}
	}
	return nil
}

// outboxSession is a connection to one family of databases.
type outboxSession interface {
	do(sql string) (affected int64, err error)
	// publish is the statement that publishes a message, by one of the ways that
	// there are; deleteOwn one that deletes rows of the session.
	publish(way int, topic, key, payload string) string
	deleteOwn() string
	close()
}

// transaction writes a few messages, and is finished whatever becomes of the
// test's context.
func (l *outboxLoad) transaction(s outboxSession, rng *rand.Rand, writer int) error {
	written := map[string][]int64{}
	statements := []string{"BEGIN"}
	commit, back, count := rng.IntN(8) > 0, rng.IntN(8) == 0, 0
	for i := range 1 + rng.IntN(8) {
		n, key := l.next.Add(1), fmt.Sprintf("w%d-%d", writer, rng.IntN(20))
		gone := back && i == 1
		if gone {
			statements = append(statements, "SAVEPOINT s")
		}
		statements = append(statements, s.publish(rng.IntN(4), l.topic, key, fmt.Sprintf(`{"n": %d}`, n)))
		count++
		if gone {
			statements = append(statements, "ROLLBACK TO SAVEPOINT s")
			l.aborted.Add(1)
			continue
		}
		written[key] = append(written[key], n)
	}
	if rng.IntN(3) == 0 {
		statements = append(statements, s.deleteOwn())
	}
	end := "COMMIT"
	if !commit {
		end = "ROLLBACK"
		l.aborted.Add(int64(count))
	}
	for _, sql := range append(statements, end) {
		if _, err := s.do(sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	if !commit {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, list := range written {
		l.committed[key] = append(l.committed[key], list...)
	}
	return nil
}

type postgresSession struct{ *session }

func dialPostgres(ctx context.Context, url string) (outboxSession, error) {
	s, err := dialSession(ctx, url)
	return postgresSession{s}, err
}

func (s postgresSession) publish(way int, topic, key, payload string) string {
	if way == 0 {
		return fmt.Sprintf(`SELECT pg_logical_emit_message(true, 'outbox', '{"topic": "%s", "key": "%s", "payload": %s}')`, topic, key, payload)
	}
	return fmt.Sprintf(`SELECT outbox_publish('%s', '%s', '%s', '{"source": "load"}')`, topic, key, payload)
}

// deleteOwn deletes what the transaction itself wrote: the clean-up cannot see
// these rows yet.
func (postgresSession) deleteOwn() string {
	return `DELETE FROM outbox WHERE xmin = pg_current_xact_id()::xid`
}
