package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// history is what the source committed: per key its events in order. An event
// is named for good: a row by its version, which is unique, and a delete by its
// transaction, which deletes a key once at most. A transaction is named by the
// version that its last step writes: it is in the topic, too, and no server's own
// names are needed.
type history struct {
	mu     sync.Mutex
	events map[int][]string
	ends   map[int64]bool // the versions that end a transaction
	begun  atomic.Int64   // transactions committed so far
}

const gone = "gone in "

func rowEvent(version int64) string    { return "v" + strconv.FormatInt(version, 10) }
func deleteEvent(last int64) string    { return gone + strconv.FormatInt(last, 10) }
func (h *history) committed(k int) int { return len(h.events[k]) }

// check walks through a topic's records of each key and compares them with what
// was committed. Allowed is: the next event in order, and a replay, which goes
// back to an earlier event and then on from there in order. A row of a snapshot
// (op read) is the key's state at that moment and may stand anywhere; what
// follows it goes on from there. A key that a snapshot did not find may come
// back after it, by an insert. At the end every key must have come to its last
// event.
func (h *history) check(messages []message) (replays int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	type place struct{ at, snapshot int }
	index := map[int]map[string]int{}
	for k, events := range h.events {
		index[k] = map[string]int{}
		for i, e := range events {
			index[k][e] = i
		}
	}
	last := map[string]int64{} // by the source's name of a transaction
	for _, m := range messages {
		if m.value != nil {
			if v := int64(asInt(m.value["v"])); h.ends[v] {
				last[m.headers["cdc.tx"]] = v
			}
		}
	}
	places := map[int]*place{}
	snapshot, taken := 0, "" // how many so far, and the position of the last
	for _, m := range messages {
		k := asInt(m.key["k"])
		event := deleteEvent(last[m.headers["cdc.tx"]])
		if m.value != nil {
			event = rowEvent(int64(asInt(m.value["v"])))
		}
		i, known := index[k][event]
		if !known {
			return replays, fmt.Errorf("key %d, offset %d: %s was never committed", k, m.offset, event)
		}
		read := m.headers["cdc.op"] == "read"
		at := m.headers["cdc.position"]
		if at = at[:max(0, strings.LastIndexByte(at, ':'))]; read && at != taken {
			snapshot, taken = snapshot+1, at
		}
		p := places[k]
		if p == nil {
			p = &place{at: -1}
			places[k] = p
		}
		switch {
		case i == p.at+1, read:
		case i <= p.at:
			replays++
		case p.snapshot < snapshot && strings.HasPrefix(h.events[k][i-1], gone):
		default:
			return replays, fmt.Errorf("key %d, offset %d: %s is event %d, but the topic is at event %d: events between are lost or late",
				k, m.offset, event, i, p.at)
		}
		p.at, p.snapshot = i, snapshot
	}
	for k, events := range h.events {
		p, last := places[k], events[len(events)-1]
		if p == nil && !strings.HasPrefix(last, gone) {
			return replays, fmt.Errorf("key %d: no record at all of %d events", k, len(events))
		}
		if p != nil && p.at != len(events)-1 {
			return replays, fmt.Errorf("key %d: the topic ends at event %d of %d, %s is missing", k, p.at+1, len(events), last)
		}
	}
	return replays, nil
}

func asInt(v any) int {
	switch n := v.(type) {
	case int:
		return n
	case int32:
		return int(n)
	case int64:
		return int(n)
	case map[string]any: // hamba's union
		for _, one := range n {
			return asInt(one)
		}
	}
	return -1
}

// load writes to table kv until its context ends: transactions of several
// changes, some with a savepoint that is rolled back, some rolled back whole.
// Each writer has keys of its own, so the order of a key's commits is the order
// in which its writer made them.
type load struct {
	url     string
	writers int
	keys    int           // of each writer
	pause   time.Duration // between two transactions of a writer
	history history
	version atomic.Int64
}

const kvTable = `CREATE TABLE kv (k int PRIMARY KEY, v bigint NOT NULL, note text, big text)`

// seed fills the table before anything is captured.
func (l *load) seed(t *testing.T) {
	t.Helper()
	s := sideAt(t, l.url)
	s.exec(t, kvTable)
	l.history.events, l.history.ends = map[int][]string{}, map[int64]bool{}
	var rows []string
	for k := range l.writers * l.keys {
		v := l.version.Add(1)
		rows = append(rows, fmt.Sprintf("(%d, %d, 'seed', NULL)", k, v))
		l.history.events[k] = []string{rowEvent(v)}
	}
	s.exec(t, "INSERT INTO kv VALUES "+strings.Join(rows, ", "))
}

// run writes until ctx ends, and returns the first error that is not ctx's.
func (l *load) run(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, l.writers)
	for w := range l.writers {
		wg.Go(func() { errs[w] = l.write(ctx, w) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// write is one writer. Where a connection is lost it connects again, and finds
// out from the table whether its last transaction was committed.
func (l *load) write(ctx context.Context, writer int) error {
	rng := rand.New(rand.NewPCG(uint64(writer), 7))
	alive := map[int]bool{}
	for k := range l.keys {
		alive[writer*l.keys+k] = true
	}
	var conn *session
	defer func() {
		if conn != nil {
			conn.close()
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		if conn == nil {
			c, err := dialSession(ctx, l.url)
			if err != nil {
				select { // the server restarts
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond):
				}
				continue
			}
			conn = c
		}
		tx := l.plan(rng, writer, alive)
		// The transaction is finished even when ctx ends, so that its fate is known.
		err := tx.execute(conn)
		if err != nil {
			conn.close()
			conn = nil
			done, err2 := tx.settled(ctx, l.url)
			if err2 != nil {
				return fmt.Errorf("after %w: %w", err, err2)
			}
			if !done {
				continue
			}
		}
		if !tx.rollback {
			l.history.mu.Lock()
			for _, s := range tx.steps {
				event := rowEvent(s.version)
				if s.version == 0 {
					event = deleteEvent(tx.version)
				}
				l.history.events[s.key] = append(l.history.events[s.key], event)
			}
			l.history.ends[tx.version] = true
			l.history.mu.Unlock()
			alive = tx.alive
			l.history.begun.Add(1)
		}
		if l.pause > 0 {
			timer.Reset(l.pause)
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
		}
	}
	return nil
}

// step is a change of one key: to a version, or its delete when that is 0.
type step struct {
	key     int
	version int64
	sql     string
}

// transaction is one of a writer's.
type transaction struct {
	steps     []step
	savepoint bool // some steps in the middle are made and rolled back to it
	rollback  bool
	alive     map[int]bool // the keys there afterwards
	mark      int          // a key that is there afterwards with version, -1: none
	version   int64
}

func (l *load) plan(rng *rand.Rand, writer int, before map[int]bool) *transaction {
	tx := &transaction{savepoint: rng.IntN(10) == 0, rollback: rng.IntN(10) == 0, alive: make(map[int]bool, len(before)), mark: -1}
	maps.Copy(tx.alive, before)
	deleted := map[int]bool{}
	for range 1 + rng.IntN(12) {
		k := writer*l.keys + rng.IntN(l.keys)
		v := l.version.Add(1)
		switch {
		case !tx.alive[k]:
			tx.steps = append(tx.steps, step{k, v, fmt.Sprintf(`INSERT INTO kv VALUES (%d, %d, 'insert', repeat('%d', 600))`, k, v, k)})
			tx.alive[k] = true
		case rng.IntN(5) == 0 && !deleted[k]:
			tx.steps = append(tx.steps, step{k, 0, fmt.Sprintf(`DELETE FROM kv WHERE k = %d`, k)})
			tx.alive[k], deleted[k] = false, true
		default:
			tx.steps = append(tx.steps, step{k, v, fmt.Sprintf(`UPDATE kv SET v = %d, note = 'update %d' WHERE k = %d`, v, v, k)})
		}
	}
	// The last step is one whose outcome the table shows.
	k := writer * l.keys
	v := l.version.Add(1)
	sql := fmt.Sprintf(`UPDATE kv SET v = %d WHERE k = %d`, v, k)
	if !tx.alive[k] {
		sql = fmt.Sprintf(`INSERT INTO kv VALUES (%d, %d, 'mark', NULL)`, k, v)
	}
	tx.alive[k], tx.mark, tx.version = true, k, v
	tx.steps = append(tx.steps, step{k, v, sql})
	return tx
}

func (tx *transaction) execute(conn *session) error {
	run := func(statements ...string) error {
		for _, sql := range statements {
			if _, err := conn.do(sql); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
		}
		return nil
	}
	if err := run("BEGIN"); err != nil {
		return err
	}
	for i, s := range tx.steps {
		if tx.savepoint && i == len(tx.steps)/2 {
			if err := run("SAVEPOINT s", fmt.Sprintf(`UPDATE kv SET v = -1 WHERE k = %d`, s.key),
				fmt.Sprintf(`DELETE FROM kv WHERE k = %d`, s.key), "ROLLBACK TO SAVEPOINT s"); err != nil {
				return err
			}
		}
		if n, err := conn.do(s.sql); err != nil {
			return fmt.Errorf("%s: %w", s.sql, err)
		} else if n != 1 {
			return fmt.Errorf("%s: %d rows", s.sql, n)
		}
	}
	if tx.rollback {
		return run("ROLLBACK")
	}
	return run("COMMIT")
}

// settled tells, on a new connection, whether the transaction was committed.
func (tx *transaction) settled(ctx context.Context, url string) (bool, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	for {
		n, err := ask(ctx, url, fmt.Sprintf(`SELECT count(*) FROM kv WHERE k = %d AND v = %d`, tx.mark, tx.version))
		if err == nil {
			return n == 1, nil
		}
		select {
		case <-ctx.Done():
			return false, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
