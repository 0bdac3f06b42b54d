package sink

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/kafka"
	"cdc/replication"
)

// errRejoin ends a membership that is of no use any more.
var errRejoin = errors.New("the group must be joined again")

// ErrDrain says that a stop did not wait for the batch in hand any longer. None
// of it is in the target; the next start reads it again.
var ErrDrain = errors.New("the batch in hand was not applied")

// session is one membership in the group, with three goroutines: the poller
// fetches, the builder decodes and collapses, the applier writes. Each hands
// its work to the next over an unbuffered channel, so that at most two batches
// and a fetch are in memory beside the client's own buffer; while the applier
// is busy the builder's batch grows, and when it is idle it gets what is there.
type session struct {
	*Sink
	cl     *kgo.Client // its callbacks wait for made before they use it
	made   chan struct{}
	w      Writer
	topics map[string]*topic // the Sink's: the builder's plans; made by the poller when a partition comes

	fetched chan []chunk
	batches chan *batch
	free    chan *batch

	// writing serializes the Writer between the applier and the group's
	// callbacks.
	writing sync.Mutex
	fail    func(error) // ends the session

	mu      sync.Mutex
	parts   map[string]map[int32]*partition
	settled chan struct{}   // closed and replaced whenever a batch leaves our hands
	stopped context.Context //nolint:containedctx // the caller's
}

// chunk is records of one partition.
type chunk struct {
	part    *partition
	records []*kgo.Record
}

// maxDecompressed bounds what a few bytes of a topic may grow into.
const maxDecompressed = 256 << 20

// maxDeadLetter is below the 100 MiB that brokers take in one request.
const maxDeadLetter = 96 << 20

// rebalanceTimeout is how long the group waits for a member that finishes the
// batch in its hands; settleTimeout is what such a member takes of it.
const rebalanceTimeout = 60 * time.Second

var settleTimeout = 40 * time.Second // shorter in tests

// session runs until ctx ends (nil), the membership fails (ErrFenced), or the
// sink has to stop (any other error).
func (s *Sink) session(ctx context.Context, w Writer) error {
	ss := &session{
		Sink: s, w: w, stopped: ctx, topics: s.topics, parts: map[string]map[int32]*partition{},
		fetched: make(chan []chunk), batches: make(chan *batch), free: make(chan *batch, 3), settled: make(chan struct{}), made: make(chan struct{}),
	}
	for range cap(ss.free) {
		ss.free <- newBatch()
	}
	// reading ends with the first failure and with ctx; writing a while later,
	// so that the batch in hand can be finished.
	reading, stopReading := context.WithCancelCause(ctx)
	defer stopReading(nil)
	writing, stopWriting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWriting()
	stopTimer := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(s.cfg.DrainTimeout, stopWriting)
		context.AfterFunc(writing, func() { t.Stop() })
	})
	defer stopTimer()
	ss.fail = func(err error) {
		if err != nil {
			stopReading(err)
		}
	}

	opts, err := ss.options(reading)
	if err != nil {
		return err
	}
	if ss.cl, err = newClient(opts...); err != nil {
		return &replication.Refusal{Problem: "the sink's Kafka settings cannot be used", Err: err}
	}
	close(ss.made)
	var wg sync.WaitGroup
	wg.Go(func() { ss.fail(ss.poll(reading)) })
	wg.Go(func() {
		defer close(ss.batches)
		ss.fail(ss.build(reading))
	})
	wg.Go(func() { ss.watchLag(reading) })
	var applied error // what ended the applier
	wg.Go(func() {
		applied = ss.applyAll(writing)
		ss.fail(applied)
		for b := range ss.batches { // after a failure nothing is applied any more
			ss.settle(b)
		}
	})
	wg.Wait()
	late := writing.Err() != nil
	stopWriting()
	ss.cl.CloseAllowingRebalance()
	// Whoever failed first set the cause; a stop has ctx's own.
	err = context.Cause(reading)
	switch {
	case err != context.Cause(ctx): //nolint:errorlint // the very same
		return err
	case applied == nil || errors.Is(applied, ErrFenced) || errors.Is(applied, errRejoin): // it is another member's now
		return nil
	case late:
		return fmt.Errorf("%w within %s: %w", ErrDrain, s.cfg.DrainTimeout, applied)
	}
	return applied // in the last batch
}

// newClient starts to join the group before it returns.
var newClient = kgo.NewClient // later in tests

func (ss *session) options(ctx context.Context) ([]kgo.Opt, error) {
	opts, err := ss.cfg.Kafka.Opts()
	if err != nil {
		return nil, err
	}
	topics, patterns, err := ss.cfg.topics()
	if err != nil {
		return nil, err
	}
	if patterns {
		var excluded []string
		opts = append(opts, kgo.ConsumeRegex())
		if ss.cfg.DeadLetterTopic != "" {
			excluded = append(excluded, ss.cfg.DeadLetterTopic)
		}
		for _, t := range ss.cfg.NotTables {
			if !ss.cfg.names(t) {
				excluded = append(excluded, t)
			}
		}
		for i, t := range excluded {
			excluded[i] = "^" + quoteTopic(t) + "$"
		}
		opts = append(opts, kgo.ConsumeExcludeTopics(excluded...))
	}
	identity, err := ss.w.Identity(ctx)
	if err != nil {
		return nil, err
	}
	return append(opts,
		kgo.ConsumeTopics(topics...),
		kgo.ConsumerGroup(ss.cfg.Group),
		kgo.Balancers(newBalancer(identity)),
		kgo.MaxDecompressBatchBytes(maxDecompressed),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// An offset that the log does not have any more is missing data: never
		// reset to another one in silence.
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.RebalanceTimeout(rebalanceTimeout),
		// How long the partitions of a member that was killed wait. One that was
		// only stalled for longer is fenced by its offsets in the target.
		kgo.SessionTimeout(10*time.Second),
		kgo.AdjustFetchOffsetsFn(ss.assign),
		kgo.OnPartitionsRevoked(func(ctx context.Context, _ *kgo.Client, parts map[string][]int32) { ss.revoke(ctx, parts, true) }),
		kgo.OnPartitionsLost(func(ctx context.Context, _ *kgo.Client, parts map[string][]int32) { ss.revoke(ctx, parts, false) }),
		// A dead letter may be as large as what could be read. The topic's own
		// bound is the brokers' to keep.
		kgo.ProducerBatchMaxBytes(maxDeadLetter),
		kgo.FetchMaxBytes(16<<20),
		kgo.FetchMaxPartitionBytes(4<<20),
		kgo.MetadataMaxAge(5*time.Second),
		kgo.MetadataMinAge(500*time.Millisecond),
	), nil
}

// poll fetches until ctx ends. The rebalance that a poll blocks is allowed
// again as soon as the records know which assignment they belong to.
func (ss *session) poll(ctx context.Context) error {
	for {
		fetches := ss.cl.PollRecords(ctx, ss.cfg.BatchRows)
		if ctx.Err() != nil {
			ss.cl.AllowRebalance()
			return nil //nolint:nilerr // the end of ctx ends the session, as it should
		}
		var chunks []chunk
		var err error
		ss.mu.Lock()
		fetches.EachPartition(func(fp kgo.FetchTopicPartition) {
			if fp.Err != nil {
				err = errors.Join(err, ss.fetchError(fp.Topic, fp.Partition, fp.Err))
			}
			p := ss.parts[fp.Topic][fp.Partition]
			if p == nil || fp.Err != nil && len(fp.Records) == 0 {
				return
			}
			p.end.Store(fp.HighWatermark)
			p.done.CompareAndSwap(-1, fp.LogStartOffset)
			if len(fp.Records) > 0 {
				p.time.CompareAndSwap(0, fp.Records[0].Timestamp.UnixMilli())
				chunks = append(chunks, chunk{p, fp.Records})
			}
		})
		ss.measure()
		ss.mu.Unlock()
		ss.cl.AllowRebalance()
		if err != nil {
			return err
		}
		if len(chunks) == 0 {
			continue
		}
		select {
		case ss.fetched <- chunks:
		case <-ctx.Done():
			return nil
		}
	}
}

// fetchError judges an error of a poll: nil when the client will mend it.
func (ss *session) fetchError(topic string, partition int32, err error) error {
	where := fmt.Sprintf("read topic %s[%d]", topic, partition)
	if topic == "" {
		where = "consume in group " + ss.cfg.Group
	}
	if _, lost := errors.AsType[*kgo.ErrDataLoss](err); lost || errors.Is(err, kerr.OffsetOutOfRange) {
		return ss.offsetsRefusal(topic, where+": the next record to apply is gone from the topic (retention, or the topic was made anew), so rows would be missing in the target", err)
	}
	if errors.Is(err, kerr.InconsistentGroupProtocol) {
		return &replication.Refusal{
			Problem: fmt.Sprintf("group %s is in use by a sink that writes to another database (or to another offsets table), or by another program; the two would take each other's partitions", ss.cfg.Group),
			Remedy:  "give one of the two another group (sinks[].group); when the target has moved, stop all members of the group first",
			Err:     err,
		}
	}
	if e, large := errors.AsType[*kgo.ErrDecompressTooLarge](err); large { // the client has stopped reading the partition
		return &replication.Refusal{
			Problem: fmt.Sprintf("%s: the batch at offset %d decompresses to more than %d MiB", where, e.Offset, maxDecompressed>>20),
			Remedy:  fmt.Sprintf("find out who wrote it; to leave it out, UPDATE the offsets table SET next_offset = %d for this partition", e.NextOffset),
			Err:     err,
		}
	}
	if remedy, ok := kafka.Remedy(err, "Read on topic "+topic+" and on group "+ss.cfg.Group); ok {
		return &replication.Refusal{Problem: where, Remedy: remedy, Err: err}
	}
	if errors.Is(err, kerr.UnknownTopicID) {
		// The topic was deleted, and perhaps made anew: this client would not
		// find it again. A new one does, and then its offsets tell.
		return fmt.Errorf("%w: %s: %w", errRejoin, where, err)
	}
	ss.log.Log(context.Background(), kafka.RetryLevel(err), "kafka: will try again", "topic", topic, "partition", partition, "error", err)
	return nil
}

// build decodes what was fetched into batches. Its loop has no poll in it, so
// a batch leaves the moment that the applier is idle.
func (ss *session) build(ctx context.Context) error {
	var serial int64
	next := func() *batch {
		b := <-ss.free
		serial++
		b.serial = serial
		return b
	}
	b := next()
	defer func() {
		if b != nil {
			ss.settle(b) // not applied: its records will be read again
		}
	}()
	var todo []chunk
	var timer <-chan time.Time
	for {
		full := b.rows >= ss.cfg.BatchRows || b.bytes >= ss.cfg.BatchBytes || b.truncate != nil
		for len(todo) > 0 && !full {
			c := &todo[0]
			if len(c.records) == 0 || c.part.revoked.Load() {
				todo = todo[1:]
				continue
			}
			r := c.records[0]
			c.records = c.records[1:]
			if err := ss.take(ctx, b, c.part, r); err != nil {
				return err
			}
			full = b.rows >= ss.cfg.BatchRows || b.bytes >= ss.cfg.BatchBytes || b.truncate != nil
		}
		if n := b.rows - b.counted; n > 0 {
			b.counted = b.rows
			if ss.health.inFlight.Add(int64(n)) == int64(n) {
				ss.health.touch() // it was idle until now
			}
			ss.metrics.inFlight.Add(float64(n))
		}
		var in <-chan []chunk
		var out chan<- *batch
		if !full {
			in = ss.fetched
		}
		if !b.empty() {
			wait := ss.cfg.MaxWait - time.Since(b.start)
			if full || wait <= 0 || ctx.Err() != nil {
				out, timer = ss.batches, nil
			} else if timer == nil {
				timer = time.After(wait)
			}
		}
		done := ctx.Done()
		if ctx.Err() != nil { // a soft stop finishes the batch in hand
			if b.empty() || ss.failed(ctx) {
				return nil
			}
			in, done = nil, nil
		}
		select {
		case todo = <-in:
		case out <- b:
			if b = nil; ctx.Err() != nil {
				return nil
			}
			b = next()
		case <-timer:
			timer = nil
		case <-done:
		}
	}
}

// failed reports whether the session ends for another reason than that the
// caller asked it to.
func (ss *session) failed(ctx context.Context) bool {
	return context.Cause(ctx) != context.Cause(ss.stopped) //nolint:errorlint // the very same
}

// take adds one record to the batch being built.
func (ss *session) take(ctx context.Context, b *batch, p *partition, r *kgo.Record) error {
	fresh := p.serial != b.serial
	if err := b.add(ctx, ss.cfg.Registry, p, r); err != nil {
		return err
	}
	if fresh {
		ss.mu.Lock()
		p.pending++
		ss.mu.Unlock()
	}
	return nil
}
