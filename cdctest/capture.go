package cdctest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cdc/mapping"
	"cdc/outbox/route"
	"cdc/pipeline"
	"cdc/producer"
	"cdc/replication"
	"cdc/replication/postgres"
	"cdc/secret"
)

// Source says what to capture.
type Source struct {
	Postgres string // URL of a role that may replicate
	Outboxes []route.Outbox
	Tables   []string // schema.table, captured as rows
}

// Capture is a running capture. What was committed before it began is not
// published.
type Capture struct {
	cluster *Cluster
	sent    recorder
	conn    *pgx.Conn
	prefix  string // of the messages by which it is known how far the log is read
	marks   int
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
	cp := &Capture{cluster: c, prefix: name, result: make(chan error, 1)}
	source := postgres.Config{Name: name, URL: secret.New(s.Postgres), Slot: name, Publication: name, Messages: []string{name}}
	rows := mapping.Config{Registry: c.schemas}
	for _, table := range s.Tables {
		schema, table, found := strings.Cut(table, ".")
		if !found {
			t.Fatalf("table %s: write schema.table", schema)
		}
		source.Tables = append(source.Tables, postgres.TableConfig{Schema: schema, Name: table, Snapshot: postgres.SnapshotNever})
		rows.Tables = append(rows.Tables, mapping.TableConfig{Schema: schema, Name: table})
	}
	routing := route.Config{Name: name, Registry: c.schemas, Outboxes: []route.Outbox{{Prefix: name, Topic: name}}}
	for _, o := range s.Outboxes {
		if o.Prefix != "" {
			source.Messages = append(source.Messages, o.Prefix)
		} else {
			source.Tables = append(source.Tables, postgres.TableConfig{Schema: o.Schema, Name: o.Table, Snapshot: postgres.SnapshotNever, Keyless: true})
		}
		routing.Outboxes = append(routing.Outboxes, o)
	}
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
	if cp.conn, err = pgx.Connect(ctx, s.Postgres); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = within(cp.conn.Close) })
	src, err := postgres.Open(ctx, source)
	if err != nil {
		t.Fatal(err)
	}
	cp.sent.Producer = prod
	p := pipeline.New(pipeline.Config{
		Source: src, Mapper: mapper, Producer: &cp.sent, Checkpoints: &forgetful{}, OnError: pipeline.OnErrorStop, DeadLetters: prod.DeadLetters(),
		SaveInterval: time.Millisecond,
	})
	running, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	go func() { cp.result <- p.Run(running) }()
	t.Cleanup(func() {
		stop()
		if err := <-cp.result; err != nil {
			t.Errorf("capture: %v", err)
		}
		if err := within(func(ctx context.Context) error { _, _, err := postgres.Drop(ctx, source); return err }); err != nil {
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
	c.marks++
	mark := fmt.Sprint(c.marks)
	if _, err := c.conn.Exec(ctx, `SELECT pg_logical_emit_message(true, $1, $2::text)`, c.prefix, mark); err != nil {
		t.Fatal(err)
	}
	passed := c.sent.await(c.prefix, mark)
	select {
	case <-passed:
	case err := <-c.result:
		c.result <- err
		t.Fatalf("capture ended: %v", err)
	case <-ctx.Done():
		t.Fatalf("capture did not come to the end of the log within %s", patience)
	}
}

// forgetful stores a position no longer than the process lives.
type forgetful struct{ saved replication.Position }

func (f *forgetful) Load(context.Context) (replication.Position, error) { return f.saved, nil }
func (f *forgetful) Save(_ context.Context, p replication.Position) error {
	f.saved = p
	return nil
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
