package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/kafka"
	"cdc/mapping"
)

// watch is a consumer beside the sink: it measures when changes arrive, and
// finds the marks that say how far the sink must come.
type watch struct {
	client *kgo.Client
	done   chan struct{}

	mu      sync.Mutex
	since   int64 // commits from then on are measured: microseconds since 1970; 0: none yet
	latency histogram
	mark    string           // a transaction's id
	marks   map[string]int64 // by topic: the offset of that transaction's record
}

func demoTopics() []string {
	topics := make([]string, len(demoTables))
	for i, t := range demoTables {
		topics[i] = "public." + t
	}
	return topics
}

func startWatch(k kafka.Config) (*watch, error) {
	k.ClientID = "cdc-demo"
	opts, err := k.Opts()
	if err != nil {
		return nil, err
	}
	// The topics come to be a moment later: look for them often.
	client, err := kgo.NewClient(append(opts, kgo.ConsumeTopics(demoTopics()...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.MetadataMaxAge(500*time.Millisecond), kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		return nil, err
	}
	w := &watch{client: client, done: make(chan struct{}), marks: map[string]int64{}}
	go func() {
		defer close(w.done)
		for {
			fetches := client.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			w.take(fetches, time.Now().UnixMicro()) // errors are of topics that are not there yet
		}
	}()
	return w, nil
}

func (w *watch) close() {
	w.client.Close()
	<-w.done
}

// take measures what has arrived now, in microseconds since 1970.
func (w *watch) take(fetches kgo.Fetches, now int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fetches.EachRecord(func(r *kgo.Record) {
		var committed int64
		tx := ""
		for _, h := range r.Headers {
			switch h.Key {
			case mapping.HeaderCommitTime:
				committed, _ = strconv.ParseInt(string(h.Value), 10, 64) // our own
			case mapping.HeaderTx:
				tx = string(h.Value)
			}
		}
		if tx == "" {
			return // of the snapshot
		}
		if w.since == 0 {
			w.since = now
		}
		if committed >= w.since {
			w.latency.add(now - committed)
		}
		if tx == w.mark {
			w.marks[r.Topic] = r.Offset
		}
	})
}

// settle waits until the target holds all that the load committed: a last
// transaction changes a row of every table, and its records stand in each topic
// (of one partition) behind all others. The target's own offsets, which it
// writes with the rows, must have passed them.
func (d *demo) settle(ctx context.Context, w *watch, l *load) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	if err := d.leaveMark(ctx, w, l); err != nil {
		return fmt.Errorf("mark the end of the load: %w", err)
	}
	s, err := newSetup(d.conf, d.log, nil)
	if err != nil {
		return err
	}
	target, err := s.sinkTarget(d.conf.Sinks[0]).open(ctx)
	if err != nil {
		return fmt.Errorf("wait for the target: %w", err)
	}
	defer target.Close(context.WithoutCancel(ctx)) // it only read
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	left := "nothing is known of it"
	for {
		next, err := target.Offsets(ctx, demoGroup, demoTopics())
		if err == nil {
			if left = w.left(next); left == "" {
				return nil
			}
		} else if ctx.Err() == nil {
			return fmt.Errorf("wait for the target: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the target has not caught up within %s of the load's end: %s", settleTimeout, left)
		}
	}
}

// left says what the target's next offsets have not passed yet; "" when they
// lie behind every mark.
func (w *watch) left(next map[string]map[int32]int64) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, topic := range demoTopics() {
		mark, seen := w.marks[topic]
		switch {
		case !seen:
			return fmt.Sprintf("the last change of %s is not in its topic", topic)
		case next[topic][0] <= mark:
			return fmt.Sprintf("of %s it has applied up to offset %d, and the last change stands at %d", topic, next[topic][0], mark)
		}
	}
	return ""
}

// leaveMark commits the last transaction.
func (d *demo) leaveMark(ctx context.Context, w *watch, l *load) error {
	conn, err := pgx.Connect(ctx, d.source.URL(demoSource))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) // nothing is open
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx) // after a commit it does nothing
	s := &steps{ctx: ctx, tx: tx}
	s.do(`UPDATE customers SET changed_at = clock_timestamp() WHERE id = (SELECT id FROM customers ORDER BY id LIMIT 1)`)
	s.do(`UPDATE products SET changed_at = clock_timestamp() WHERE sku = (SELECT sku FROM products LIMIT 1)`)
	s.do(`UPDATE orders SET placed_at = clock_timestamp() WHERE id = (SELECT id FROM orders LIMIT 1)`)
	s.do(`UPDATE order_lines SET quantity = quantity + 1 WHERE (order_id, line) = (SELECT order_id, line FROM order_lines LIMIT 1)`)
	if s.err == nil && s.rows != int64(len(demoTables)) {
		s.err = errors.New("mark the end: a table is empty")
	}
	if s.err != nil {
		return s.err
	}
	var id string
	if err := tx.QueryRow(ctx, `SELECT pg_current_xact_id()::text`).Scan(&id); err != nil {
		return err
	}
	w.mu.Lock()
	w.mark = id
	w.mu.Unlock()
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	l.rows.Add(s.rows)
	return nil
}

// percentile returns a percentile of the latencies in milliseconds, 0 when
// there is none.
func (w *watch) percentile(p float64) float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return math.Round(w.latency.percentile(p)) / 1000
}

// histogram counts microseconds in buckets that are 3 % wide at most, so that
// its memory does not grow.
type histogram struct {
	counts [64 << histogramBits]int64
	total  int64
}

const histogramBits = 5

func (h *histogram) add(micros int64) {
	h.counts[bucket(uint64(max(micros, 0)))]++
	h.total++
}

// bucket numbers the bucket of n: the numbers below 64 have one each, and every
// power of two above has 32.
func bucket(n uint64) int {
	shift := max(0, bits.Len64(n)-histogramBits-1)
	return shift<<histogramBits + int(n>>shift)
}

// percentile returns the middle of the bucket that holds it.
func (h *histogram) percentile(p float64) float64 {
	if h.total == 0 {
		return 0
	}
	rank := int64(math.Ceil(p / 100 * float64(h.total)))
	for i, n := range h.counts {
		if rank -= n; rank <= 0 {
			shift := max(0, i>>histogramBits-1)
			low := float64(uint64(i-shift<<histogramBits) << shift)
			return low + float64(uint64(1)<<shift-1)/2
		}
	}
	return 0
}
