package cdctest

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"cdc/mapping"
	"cdc/outbox/route"
	"cdc/pipeline"
	"cdc/producer"
)

// Source says what to capture.
type Source struct {
	// URL of a role that may replicate. One of the two is set: MySQL's begins with
	// mysql:// or mariadb://, and the schemas of its tables are databases.
	Postgres, MySQL string

	Outboxes []route.Outbox
	Tables   []string // schema.table, captured as rows
}

// Capture is a running capture. What was committed before it began is not
// published. Tests that run in parallel may share one.
type Capture struct {
	cluster *Cluster
	sent    recorder
	saved   forgetful
	asking  sync.Mutex // one at a time uses origin's connection
	origin  origin
	result  chan error
}

// Capture starts a capture, and returns once it reads the log. When the test
// ends, it ends and leaves nothing in the database.
func (c *Cluster) Capture(t testing.TB, s Source) *Capture {
	t.Helper()
	// Cleanups run after t.Context has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	name := unique()
	from := s.origin(name)
	cp := &Capture{cluster: c, origin: from, result: make(chan error, 1)}
	rows := mapping.Config{Registry: c.schemas}
	for _, table := range s.Tables {
		schema, table, found := strings.Cut(table, ".")
		if !found {
			t.Fatalf("table %s: write schema.table", schema)
		}
		rows.Tables = append(rows.Tables, mapping.TableConfig{Schema: schema, Name: table})
	}
	routing := route.Config{Name: name, Registry: c.schemas, Outboxes: append([]route.Outbox{{Prefix: name, Topic: name}}, s.Outboxes...)}
	inner, err := mapping.New(rows)
	if err != nil {
		t.Fatal(err)
	}
	routing.Inner = inner
	mapper, err := route.New(routing)
	if err != nil {
		t.Fatal(err)
	}
	prod, err := producer.New(ctx, producer.Config{Kafka: c.kafka(), Topics: producer.TopicConfig{Create: true}, OnError: producer.OnErrorDeadLetter, DeadLetterTopic: "cdc_dead_letters"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := within(prod.Close); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		if err := within(from.close); err != nil {
			t.Errorf("capture: %v", err)
		}
	})
	src, err := from.open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cp.sent.Producer = prod
	p := pipeline.New(pipeline.Config{
		Source: src, Mapper: mapper, Producer: &cp.sent, Checkpoints: &cp.saved, OnError: pipeline.OnErrorStop, DeadLetters: prod.DeadLetters(),
		SaveInterval: time.Millisecond,
	})
	running, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	go func() { cp.result <- p.Run(running) }()
	t.Cleanup(func() {
		stop()
		if err := <-cp.result; err != nil {
			t.Errorf("capture: %v", err)
		}
	})
	cp.sync(t)
	return cp
}

// sync waits until all that is committed now has been published.
func (c *Capture) sync(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c.asking.Lock()
	passed, err := c.origin.mark(ctx, c)
	c.asking.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-passed:
	case err := <-c.result:
		c.result <- err
		t.Fatalf("capture ended: %v", err)
	case <-ctx.Done():
		t.Fatalf("capture did not come to the end of the log within %s", patience)
	}
}

// recorder is a Producer that remembers what the broker has acknowledged, in the
// order of the calls: acknowledgements of several topics come in any.
type recorder struct {
	pipeline.Producer
	mu      sync.Mutex
	flights []*flight // calls of which this or an earlier one is not acknowledged
	list    []Sent
	waits   map[string]chan struct{} // topic, NUL, value → closed when it has been sent
}

// flight is one call of Produce.
type flight struct {
	sent   []Sent
	landed bool
}

// Produce implements pipeline.Producer.
func (r *recorder) Produce(ctx context.Context, records *mapping.Records, done func(error)) {
	f := &flight{sent: make([]Sent, len(records.List))}
	for i := range records.List {
		f.sent[i] = newSent(&records.List[i])
	}
	r.mu.Lock()
	r.flights = append(r.flights, f)
	r.mu.Unlock()
	r.Producer.Produce(ctx, records, func(err error) {
		if err == nil {
			r.land(f)
		}
		done(err)
	})
}

// land notes an acknowledgement. A call that failed ends the capture: what comes
// after it does not count.
func (r *recorder) land(f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.landed = true
	for len(r.flights) > 0 && r.flights[0].landed {
		r.add(r.flights[0].sent)
		r.flights = r.flights[1:]
	}
}

// add notes records. The lock is held.
func (r *recorder) add(batch []Sent) {
	for _, s := range batch {
		id := s.Topic + "\x00" + string(s.Value)
		if wait := r.waits[id]; wait != nil {
			close(wait)
			delete(r.waits, id)
			continue
		}
		r.list = append(r.list, s)
	}
}

// await returns what is closed when that record has been sent.
func (r *recorder) await(topic, value string) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := topic + "\x00" + value
	for i, s := range r.list { // it was faster
		if s.Topic == topic && string(s.Value) == value {
			r.list = append(r.list[:i], r.list[i+1:]...)
			done := make(chan struct{})
			close(done)
			return done
		}
	}
	if r.waits == nil {
		r.waits = map[string]chan struct{}{}
	}
	if r.waits[id] == nil {
		r.waits[id] = make(chan struct{})
	}
	return r.waits[id]
}

// sent returns a copy of what has been sent to the topic.
func (r *recorder) sent(topic string) (list []Sent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.list {
		if s.Topic == topic {
			list = append(list, s)
		}
	}
	return list
}

// within runs what ends something, for as long as patience lasts.
func within(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return f(ctx)
}
