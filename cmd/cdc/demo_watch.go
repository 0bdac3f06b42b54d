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

	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/kafka"
	"cdc/mapping"
)

// watch is a consumer beside the sink: it measures when changes arrive, and
// knows the last records, which say how far the sink must come.
type watch struct {
	client *kgo.Client
	topics []string
	done   chan struct{}

	mu      sync.Mutex
	since   int64 // commits from then on are measured: microseconds since 1970; 0: none yet
	latency histogram
	mark    string            // the last transaction's name
	last    map[string]placed // by topic
	first   chan struct{}     // closed when a record has come
	begun   bool
}

// placed is a record: the transaction it is of, and its offset.
type placed struct {
	tx     string
	offset int64
}

func startWatch(k kafka.Config, topics []string) (*watch, error) {
	k.ClientID = "cdc-demo"
	opts, err := k.Opts()
	if err != nil {
		return nil, err
	}
	// The topics come to be a moment later: look for them often.
	client, err := kgo.NewClient(append(opts, kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.MetadataMaxAge(500*time.Millisecond), kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		return nil, err
	}
	w := &watch{client: client, topics: topics, done: make(chan struct{}), last: map[string]placed{}, first: make(chan struct{})}
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
		if w.last[r.Topic] = (placed{tx, r.Offset}); !w.begun {
			w.begun = true
			close(w.first)
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
		next, err := target.Offsets(ctx, demoGroup, w.topics)
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
	for _, topic := range w.topics {
		switch last := w.last[topic]; {
		case last.tx != w.mark:
			return fmt.Sprintf("the last change of %s is not in its topic", topic)
		case next[topic][0] <= last.offset:
			return fmt.Sprintf("of %s it has applied up to offset %d, and the last change stands at %d", topic, next[topic][0], last.offset)
		}
	}
	return ""
}

// leaveMark commits the last transaction.
func (d *demo) leaveMark(ctx context.Context, w *watch, l *load) error {
	conn, err := d.shop.connect(ctx, d.sourceURL)
	if err != nil {
		return err
	}
	defer conn.close()
	if d.shop.markBegin != "" {
		if _, err := conn.ExecContext(ctx, d.shop.markBegin); err != nil {
			return err
		}
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing
	s := &steps{ctx: ctx, tx: tx}
	for _, sql := range d.shop.marks {
		s.do(sql)
	}
	if s.err == nil && s.rows != int64(len(demoTables)) {
		s.err = errors.New("mark the end: a table is empty")
	}
	if s.err != nil {
		return s.err
	}
	var id string
	if d.shop.markInside != "" {
		if err := tx.QueryRowContext(ctx, d.shop.markInside).Scan(&id); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if d.shop.markAfter != "" {
		if err := conn.QueryRowContext(ctx, d.shop.markAfter).Scan(&id); err != nil {
			return err
		}
	}
	w.mu.Lock()
	w.mark = id
	w.mu.Unlock()
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
