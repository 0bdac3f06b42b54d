package producer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/kafka"
	"cdc/mapping"
	"cdc/replication"
)

// What Record.Partition says to the partitioner where it is no partition's
// number: to choose; to take the hash that Record.Offset bears, which kgo
// writes only once the record is acknowledged; or to tell how many there are.
const (
	hashed    = -1
	prehashed = -2
	counting  = -3
)

// Produce implements pipeline.Producer. done may also run before Produce
// returns. Records go on in the order of the calls. Once a record has failed
// for another reason than ctx, the Producer is done for: every later call gets
// that error, so that nothing is published past a gap.
//
// ctx bounds the waiting for space and for a topic to be created; what kgo has
// been given is not taken back.
func (p *Producer) Produce(ctx context.Context, r *mapping.Records, done func(error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.free.get(p)
	c.begin(r, done)
	err := p.broken()
	if err == nil {
		err = p.acquire(ctx, c.bytes)
	}
	if err != nil {
		c.bytes = 0
	}
	for i := 0; i < len(r.List) && err == nil; i++ {
		err = c.add(ctx, i)
	}
	if err != nil {
		c.fail(err)
		if ctx.Err() == nil {
			p.failed.CompareAndSwap(nil, &err)
		}
	}
	p.gather.put(c, r.Bytes())
}

// acquire takes n bytes from the buffer. Before it waits it hands over what is
// being gathered, which else could never be acknowledged.
func (p *Producer) acquire(ctx context.Context, n int) error {
	if p.buffer.try(n) {
		return nil
	}
	p.gather.handOver()
	return p.buffer.acquire(ctx, n, p.closed)
}

// call is one call of Produce under way, and the memory of its records. It is
// recycled after its last promise: kgo does not touch a record past that.
type call struct {
	p       *Producer
	r       *mapping.Records
	done    func(error)
	slab    []kgo.Record // one for each of r.List, as far as they are ready
	others  map[int]other
	bytes   int // taken from the buffer
	runs    []run
	topic   *topic // of the last record
	pending atomic.Int64
	err     atomic.Pointer[error]
	promise func(*kgo.Record, error) // one func value for all records
}

// other is what goes in place of a record of the slab.
type other struct {
	letter     *kgo.Record // a dead letter
	everywhere bool        // a copy to every partition
	skip       bool        // nothing
}

// run counts consecutive records of one topic, for the metrics.
type run struct {
	topic          *topic
	records, bytes int
}

// perRecord is what a record costs in memory beside its bytes: a kgo.Record,
// its place in a batch, and a mapping.Record.
const perRecord = 400

func (c *call) begin(r *mapping.Records, done func(error)) {
	c.p.open.Add(1)
	c.r, c.done, c.topic = r, done, nil
	c.runs = c.runs[:0]
	c.err.Store(nil)
	if cap(c.slab) < len(r.List) {
		c.slab = make([]kgo.Record, 0, max(len(r.List), 2*cap(c.slab)))
	}
	c.slab = c.slab[:0]
	c.others = nil
	c.bytes = r.Bytes() + len(r.List)*perRecord
}

// add makes record i ready.
func (c *call) add(ctx context.Context, i int) error {
	m := &c.r.List[i]
	if c.topic == nil || c.topic.name != m.Topic {
		// A topic of events must not be compacted, with keys or without.
		t, err := c.p.topic(ctx, Topic{Name: m.Topic, Keyed: m.Key != nil && m.Routing == nil})
		if err != nil {
			return err
		}
		c.topic = t
		c.runs = append(c.runs, run{topic: t})
	}
	c.slab = append(c.slab, kgo.Record{
		Topic: m.Topic, Key: m.Key, Value: m.Value, Headers: headers(m.Headers),
		Timestamp: time.UnixMicro(m.Time), Partition: hashed,
	})
	k := &c.slab[i]
	if m.Routing != nil {
		place(k, m.Routing.Partition)
	}
	why, err := c.obstacle(ctx, k)
	if err == nil && why != nil {
		var letter *kgo.Record
		if letter, err = c.unfit(ctx, m, k, why); err == nil {
			c.instead(i, other{letter: letter, skip: letter == nil})
			return nil
		}
	}
	if err != nil {
		c.slab = c.slab[:i]
		return err
	}
	last := &c.runs[len(c.runs)-1]
	last.records++
	last.bytes += len(k.Key) + len(k.Value)
	if m.AllPartitions {
		if err := c.p.learn(ctx, c.topic); err != nil {
			c.slab = c.slab[:i]
			return err
		}
		c.instead(i, other{everywhere: true})
	}
	return nil
}

// place notes the choice of partition for the partitioner.
func place(k *kgo.Record, p mapping.Partition) {
	if n, ok := p.Number(); ok {
		k.Partition = n
	} else if hash, ok := p.Hash(); ok {
		k.Partition, k.Offset = prehashed, int64(hash)
	}
}

func (c *call) instead(i int, o other) {
	if c.others == nil {
		c.others = map[int]other{}
	}
	c.others[i] = o
}

// handOver gives the records that are ready to kgo, which does not block.
func (c *call) handOver() {
	// The count of the records, and one more so that it cannot reach zero early.
	c.pending.Store(int64(len(c.slab)) + 1)
	ctx, client := context.Background(), c.p.client
	for i := range c.slab {
		if c.others != nil {
			if o, ok := c.others[i]; ok && o.everywhere {
				c.everywhere(&c.slab[i])
				continue
			} else if ok && o.skip {
				c.settle(1)
				continue
			} else if ok {
				client.Produce(ctx, o.letter, c.promise)
				continue
			}
		}
		client.Produce(ctx, &c.slab[i], c.promise)
	}
	c.settle(1)
}

// everywhere sends k to every partition. The partitioner counts them, as kgo,
// which knows the topic by now, sees them when it is given the first copy: these
// are the partitions that this producer has written to.
func (c *call) everywhere(k *kgo.Record) {
	known, _ := c.p.topics.Load(k.Topic) // add has put it there; c.topic is the last record's
	t := known.(*topic)
	template := *k
	k.Partition = 0
	c.p.client.Produce(context.Background(), k, c.promise)
	for i := int32(1); i < t.partitions.Load(); i++ {
		another := template
		another.Partition = i
		c.pending.Add(1)
		c.p.client.Produce(context.Background(), &another, c.promise)
	}
}

// obstacle returns what keeps k out of its topic, nil for nothing.
func (c *call) obstacle(ctx context.Context, k *kgo.Record) (why, err error) {
	if size := recordBatchSize(k); size > c.topic.limit {
		return &tooLargeError{topic: c.topic.name, size: size, limit: c.topic.limit}, nil
	}
	if k.Partition >= c.topic.partitions.Load() {
		return c.p.await(ctx, c.topic, k.Partition)
	}
	return nil, nil
}

// unfit returns the dead letter for k, which its topic does not take, if that was
// chosen, nothing if it is to be skipped, else why k cannot be published, as a
// *mapping.RowError.
func (c *call) unfit(ctx context.Context, m *mapping.Record, k *kgo.Record, why error) (*kgo.Record, error) {
	rowErr := rowError(m, why)
	if m.Routing != nil && c.p.conf.Unfit != nil {
		c.p.conf.Unfit(m)
	}
	onError := c.p.conf.OnError
	if m.Routing != nil && m.Routing.OnError != "" {
		onError = m.Routing.OnError
	}
	switch onError {
	case OnErrorDeadLetter:
	case mapping.OnErrorSkip:
		c.p.log.Warn("record is skipped", "topic", c.topic.name, "error", rowErr)
		c.p.metrics.skipped.Inc()
		return nil, nil
	default:
		return nil, rowErr
	}
	t, err := c.p.deadLetterTopic(ctx)
	if err != nil {
		return nil, err
	}
	letter := deadRecord(t.name, k, m, rowErr)
	if size := recordBatchSize(letter); size > t.limit {
		return nil, rowError(m, fmt.Errorf("%w; nor does it fit into the dead-letter topic: %w", why,
			&tooLargeError{topic: t.name, size: size, limit: t.limit}))
	}
	c.p.log.Warn("record goes to the dead-letter topic", "topic", t.name, "error", rowErr)
	c.p.metrics.deadLetters.Inc()
	return letter, nil
}

// acknowledged is the promise of every record. kgo runs promises one after the
// other on one goroutine.
func (c *call) acknowledged(k *kgo.Record, err error) {
	if err != nil {
		c.refused(k, err)
	}
	c.settle(1)
}

// refused is apart from acknowledged because its error escapes to the heap.
func (c *call) refused(k *kgo.Record, err error) {
	err = c.explain(k, err)
	c.fail(err)
	c.p.failed.CompareAndSwap(nil, &err)
}

func (c *call) fail(err error) { c.err.CompareAndSwap(nil, &err) }

// settle takes n off the count of open records. Whoever takes the last one
// recycles c and calls done.
func (c *call) settle(n int64) {
	if c.pending.Add(-n) != 0 {
		return
	}
	var err error
	if e := c.err.Load(); e != nil {
		err = *e
	} else {
		for _, run := range c.runs {
			run.topic.records.Add(float64(run.records))
			run.topic.bytes.Add(float64(run.bytes))
		}
	}
	p, done := c.p, c.done
	p.buffer.release(c.bytes)
	p.free.put(c)
	done(err)
	p.open.Done()
}

// explain says what the error of a record means for people.
func (c *call) explain(k *kgo.Record, err error) error {
	t, _ := c.p.topics.Load(k.Topic)
	if t, ok := t.(*topic); ok {
		t.errors.Inc()
	}
	switch {
	case errors.Is(err, kgo.ErrClientClosed):
		return errClosed
	case errors.Is(err, kerr.MessageTooLarge):
		why := &tooLargeError{topic: k.Topic, size: recordBatchSize(k), err: err}
		if t, ok := t.(*topic); ok {
			why.limit = t.limit
		}
		if m := c.find(k); m != nil {
			return rowError(m, why)
		}
		return why
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		return deleted(k.Topic, err)
	}
	return explain(err, "produce to topic "+k.Topic, "Write on topic "+k.Topic)
}

func deleted(topic string, err error) error {
	return fmt.Errorf("produce to topic %s: it was deleted while cdc wrote to it; the next start makes it anew or asks for it: %w", topic, err)
}

// find returns the record that k was made of, or nil for copies.
func (c *call) find(k *kgo.Record) *mapping.Record {
	for i := range c.slab {
		if &c.slab[i] == k {
			return &c.r.List[i]
		}
	}
	return nil
}

// explain wraps err as "verb: …", or as a Refusal when a person must act. nil
// stays nil, a Refusal stays itself.
func explain(err error, verb, right string) error {
	if err == nil || replication.IsRefusal(err) {
		return err
	}
	if remedy, ok := kafka.Remedy(err, right); ok {
		return &replication.Refusal{Problem: verb, Remedy: remedy, Err: err}
	}
	return fmt.Errorf("%s: %w", verb, err)
}

// tooLargeError says that a record does not fit into its topic.
type tooLargeError struct {
	topic       string
	size, limit int // bytes before compression
	err         error
}

func (e *tooLargeError) Error() string {
	s := fmt.Sprintf("record of %d bytes is larger than topic %s takes (%d)", e.size, e.topic, e.limit)
	if e.err != nil {
		s += ": " + e.err.Error()
	}
	return fmt.Sprintf("%s\n  to mend it: kafka-configs.sh --alter --entity-type topics --entity-name %s --add-config max.message.bytes=%d, and raise kafka.max_record if it is set; or exclude the large column; or set on_error: dead-letter",
		s, e.topic, e.size+e.size/4)
}

func (e *tooLargeError) Unwrap() error { return e.err }

// rowError names the row that m came from.
func rowError(m *mapping.Record, err error) *mapping.RowError {
	e := &mapping.RowError{Op: m.Op, Index: -1, Err: err}
	if m.Table != nil {
		e.Table = m.Table.String()
	}
	if m.Describe != nil {
		e.Key = m.Describe(m.Key)
	}
	if m.Routing != nil {
		e.Key = "id=" + string(m.Routing.ID)
	}
	for _, h := range m.Headers {
		switch h.Key {
		case mapping.HeaderTx:
			e.Tx = string(h.Value)
		case mapping.HeaderPosition:
			e.Commit, _, _ = strings.Cut(string(h.Value), ":")
		}
	}
	return e
}

// headers returns h as kgo's type without a copy. The conversion in the blank
// declaration does not compile unless both have the same fields.
func headers(h []mapping.Header) []kgo.RecordHeader {
	return unsafe.Slice((*kgo.RecordHeader)(unsafe.Pointer(unsafe.SliceData(h))), len(h))
}

var _ = kgo.RecordHeader(mapping.Header{})

// calls keeps calls for reuse; as many as were ever open at once.
type calls struct {
	mu   sync.Mutex
	list []*call
}

func (f *calls) get(p *Producer) *call {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.list); n > 0 {
		c := f.list[n-1]
		f.list = f.list[:n-1]
		return c
	}
	c := &call{p: p}
	c.promise = c.acknowledged
	return c
}

func (f *calls) put(c *call) {
	c.r, c.done = nil, nil
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, c)
}
