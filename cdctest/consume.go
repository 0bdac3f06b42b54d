package cdctest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/mapping/avro"
	"cdc/replication"
	"cdc/secret"
	"cdc/sink"
	sinkpg "cdc/sink/postgres"
)

// Target says where a sink writes what.
type Target struct {
	Postgres string // URL
	Topics   []string
	Schema   string             // of the tables; "" is public
	Tables   []sink.TableConfig // topics that do not go to the table of their name
	// Create makes missing tables, and adds missing columns.
	Create  bool
	OnError string // as the sink's; "" is stop
}

// Sink is a running sink.
type Sink struct {
	cluster *Cluster
	client  *kgo.Client
	result  chan error

	mu      sync.Mutex
	applied map[string]int64 // next offset of each topic's only partition
	moved   chan struct{}    // closed and made anew when applied has changed
}

// Sink makes the topics and starts a sink on them. It ends with the test; what
// it wrote stays, with its offsets in the table cdctest_offsets.
func (c *Cluster) Sink(t testing.TB, to Target) *Sink {
	t.Helper()
	s := &Sink{cluster: c, result: make(chan error, 1), applied: map[string]int64{}, moved: make(chan struct{})}
	var err error
	if s.client, err = kgo.NewClient(kgo.SeedBrokers(c.Brokers()...), kgo.MetadataMinAge(10*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := kadm.NewClient(s.client).CreateTopics(ctx, 1, 1, nil, to.Topics...); err != nil {
		t.Fatal(err)
	}
	if to.Schema == "" {
		to.Schema = "public"
	}
	target := sinkpg.Config{URL: secret.New(to.Postgres), Schema: to.Schema, OffsetsTable: "cdctest_offsets", CreateTables: to.Create, AddColumns: to.Create}
	sk, err := sink.New(sink.Config{
		Name: "cdctest", Group: unique(), Kafka: c.kafka(), Topics: to.Topics, Registry: c.schemas, Tables: to.Tables, DefaultSchema: to.Schema,
		OnError: to.OnError, DeadLetterTopic: "cdctest_dead_letters",
		Writer: func(ctx context.Context) (sink.Writer, error) {
			w, err := sinkpg.Open(ctx, target)
			if err != nil {
				return nil, err
			}
			return &watchedWriter{w, s}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	go func() { s.result <- sk.Run(running) }()
	t.Cleanup(func() {
		stop()
		if err := <-s.result; err != nil {
			t.Errorf("sink: %v", err)
		}
	})
	return s
}

// Record is a record to be consumed.
type Record struct {
	Topic string
	// Key and Value become JSON by encoding/json and then Avro by their schemas;
	// without a schema they are text, or bytes, as they are. A Value of nil is a
	// tombstone.
	Key, Value        any
	KeySchema, Schema string
	Headers           map[string]string
}

// Consume publishes the records and returns once the sink has applied them.
func (s *Sink) Consume(t testing.TB, records ...Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	next := map[string]int64{}
	for _, r := range records {
		k := &kgo.Record{Topic: r.Topic}
		var err error
		if k.Key, err = s.encode(ctx, r.Topic+"-key", r.KeySchema, r.Key); err != nil {
			t.Fatalf("key: %v", err)
		}
		if k.Value, err = s.encode(ctx, r.Topic+"-value", r.Schema, r.Value); err != nil {
			t.Fatalf("value: %v", err)
		}
		for name, value := range r.Headers {
			k.Headers = append(k.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
		}
		if err := s.client.ProduceSync(ctx, k).FirstErr(); err != nil {
			t.Fatal(err)
		}
		next[r.Topic] = k.Offset + 1
	}
	for topic, offset := range next {
		for {
			s.mu.Lock()
			done, moved := s.applied[topic] >= offset, s.moved
			s.mu.Unlock()
			if done {
				break
			}
			select {
			case <-moved:
			case err := <-s.result:
				s.result <- err
				t.Fatalf("sink ended: %v", err)
			case <-ctx.Done():
				t.Fatalf("the sink did not apply topic %s up to offset %d within %s", topic, offset, patience)
			}
		}
	}
}

func (s *Sink) encode(ctx context.Context, subject, schema string, v any) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	if schema == "" {
		switch v := v.(type) {
		case []byte:
			return v, nil
		case string:
			return []byte(v), nil
		}
		return nil, fmt.Errorf("%T without a schema: want a text or bytes", v)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	parsed, err := avro.ParseSchema(schema)
	if err != nil {
		return nil, err
	}
	id, err := s.cluster.schemas.ID(ctx, subject, schema)
	if err != nil {
		return nil, err
	}
	encoder, err := avro.NewJSONEncoder(parsed, id)
	if err != nil {
		return nil, err
	}
	return encoder.Append(nil, text, nil, new(avro.JSONScratch))
}

// watchedWriter tells the Sink what has been applied.
type watchedWriter struct {
	sink.Writer
	of *Sink
}

// Apply implements sink.Writer.
func (w *watchedWriter) Apply(ctx context.Context, group string, b *sink.Batch) error {
	err := w.Writer.Apply(ctx, group, b)
	if err == nil {
		w.of.note(b.Offsets...)
	}
	return err
}

// Truncate implements sink.Writer.
func (w *watchedWriter) Truncate(ctx context.Context, group string, shape *sink.Shape, keep func([]replication.Value) bool, o sink.Offset) error {
	err := w.Writer.Truncate(ctx, group, shape, keep, o)
	if err == nil {
		w.of.note(o)
	}
	return err
}

func (s *Sink) note(offsets ...sink.Offset) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range offsets {
		s.applied[o.Topic] = max(s.applied[o.Topic], o.Next)
	}
	close(s.moved)
	s.moved = make(chan struct{})
}
