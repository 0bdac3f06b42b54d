package cdctest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/mapping"
	"cdc/outbox/route"
	"cdc/pipeline"
	"cdc/producer"
	"cdc/replication"
)

// oneBatch is a source with one batch.
type oneBatch struct {
	changes []replication.Change
	out     bool
	mu      sync.Mutex
	acked   replication.Position
}

func (s *oneBatch) Next(ctx context.Context) (*replication.Batch, error) {
	if s.out {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s.out = true
	return &replication.Batch{Changes: s.changes, Position: "end"}, nil
}

func (s *oneBatch) Ack(p replication.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked = p
}

func (s *oneBatch) done() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked == "end"
}

func (*oneBatch) Close(context.Context) error { return nil }

// TestPoison puts every kind of message that cannot be published between two
// that can, under every policy: stop ends the capture with its id in the error
// and nothing after it published, dead-letter puts it whole beside the reason,
// skip leaves it out; all are counted.
func TestPoison(t *testing.T) {
	cluster := Start(t)
	const schema = `{"type":"record","name":"Event","fields":[{"name":"n","type":"int"}]}`
	table := &replication.Table{Schema: "public", Name: "outbox", Columns: []replication.Column{
		{Name: "id", Kind: replication.KindInt}, {Name: "topic", Kind: replication.KindString}, {Name: "payload", Kind: replication.KindString},
	}}
	large := `{"n": 2, "x": "` + strings.Repeat("x", 60_000) + `"}`
	n := 0
	for _, poison := range []struct{ name, kind, topic, payload, reason string }{
		{"unknown schema", route.PayloadAvro, "unknown", `{"n": 2}`, "no usable schema"},
		{"invalid JSON", route.PayloadJSON, "", `{"n": 2`, "not JSON"},
		{"invalid JSON for Avro", route.PayloadAvro, "", `n`, "JSON"},
		{"not coercible", route.PayloadAvro, "", `{"n": "two"}`, "field n: the text 'two' is no int"},
		{"too large", route.PayloadBytes, "", large, "is larger than topic events"},
	} {
		for _, policy := range []string{mapping.OnErrorStop, mapping.OnErrorDeadLetter, mapping.OnErrorSkip} {
			n++
			topic, dead := fmt.Sprintf("events%d", n), fmt.Sprintf("dead%d", n)
			to := topic
			if poison.topic != "" {
				to = fmt.Sprintf("%s%d", poison.topic, n)
			}
			t.Run(poison.name+"/"+policy, func(t *testing.T) {
				t.Parallel()
				cluster.Register(t, topic, schema)
				insert := func(id int64, topic, payload string) replication.Change {
					return replication.Change{
						Op: replication.OpInsert, Table: table, Index: uint64(id), Tx: &replication.Transaction{ID: []byte("77"), Commit: []byte("0/1"), CommitTime: time.Now().UnixMicro()},
						After: []replication.Value{replication.IntValue(id), replication.StringValue(replication.KindString, topic), replication.StringValue(replication.KindString, payload)},
					}
				}
				src := &oneBatch{changes: []replication.Change{insert(1, topic, `{"n": 1}`), insert(2, to, poison.payload), insert(3, topic, `{"n": 3}`)}}
				metrics := prometheus.NewRegistry()
				inner, err := mapping.New(mapping.Config{Registry: cluster.schemas})
				if err != nil {
					t.Fatal(err)
				}
				mapper, err := route.New(route.Config{
					Name: "c", Inner: inner, Registry: cluster.schemas, Registerer: metrics,
					Outboxes: []route.Outbox{{Schema: "public", Table: "outbox", Payload: poison.kind, OnError: policy}},
				})
				if err != nil {
					t.Fatal(err)
				}
				prod, err := producer.New(t.Context(), producer.Config{
					Kafka: cluster.kafka(), OnError: producer.OnErrorStop, DeadLetterTopic: dead, MaxRecordBytes: 1 << 20, Unfit: mapper.Unfit,
					Topics: producer.TopicConfig{Create: true, Partitions: 1, Extra: map[string]string{"max.message.bytes": "20000"}},
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = within(prod.Close) })
				p := pipeline.New(pipeline.Config{
					Source: src, Mapper: mapper, Producer: prod, Checkpoints: &forgetful{}, DeadLetters: prod.DeadLetters(), SaveInterval: time.Millisecond, Registerer: metrics,
				})
				ctx, stop := context.WithCancel(t.Context())
				result := make(chan error, 1)
				go func() { result <- p.Run(ctx) }()
				for deadline := time.Now().Add(patience); policy != mapping.OnErrorStop && !src.done() && len(result) == 0; runtime.Gosched() {
					if time.Now().After(deadline) {
						t.Fatal("the batch is not acknowledged")
					}
				}
				published := count(t, metrics, "cdc_outbox_published_total", "topic="+topic) // gone with the run
				if policy != mapping.OnErrorStop {
					stop()
				}
				err = <-result
				stop()
				if policy == mapping.OnErrorStop {
					row, ok := errors.AsType[*mapping.RowError](err)
					if !ok || !strings.Contains(err.Error(), "table public.outbox, key id=2") || !strings.Contains(err.Error(), poison.reason) || row.Tx != "77" && poison.payload != large {
						t.Errorf("the capture ends with %.300v", err)
					}
					if src.done() {
						t.Error("the position behind the message is acknowledged")
					}
				} else if err != nil {
					t.Fatal(err)
				}
				if failed := count(t, metrics, "cdc_outbox_failed_total", "outbox=public.outbox,topic="+to); failed != 1 {
					t.Errorf("%v messages count as failed", failed)
				}
				if tooLarge := poison.payload == large; policy != mapping.OnErrorStop && !tooLarge && published != 2 {
					t.Errorf("%v messages count as published", published)
				}
				got := cluster.values(t, topic)
				want := []string{`{"n": 1}`, `{"n": 3}`}
				if policy == mapping.OnErrorStop {
					want = want[:min(len(want), len(got), 1)] // the first may be out or not
				}
				if poison.kind == route.PayloadAvro {
					for i := range want {
						want[i] = map[string]string{`{"n": 1}`: "\x02", `{"n": 3}`: "\x06"}[want[i]]
						got[i] = got[i][5:]
					}
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("topic (-want +published):\n%s", d)
				}
				letters := cluster.values(t, dead)
				if whole := len(letters) == 1 && strings.Contains(strings.ReplaceAll(letters[0], `\"`, `"`), poison.payload); whole != (policy == mapping.OnErrorDeadLetter) || !whole && len(letters) > 0 {
					t.Errorf("dead letters: %.300q", letters)
				}
			})
		}
	}
}

// values returns the values that a topic holds.
func (c *Cluster) values(t *testing.T, topic string) (list []string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, 0) // none: there is no such topic
	for len(list) < int(end.Offset) && ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { list = append(list, string(r.Value)) })
	}
	return list
}

// count returns a counter's value.
func count(t *testing.T, g prometheus.Gatherer, name, labels string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var list []string
			for _, l := range m.GetLabel() {
				list = append(list, l.GetName()+"="+l.GetValue())
			}
			if f.GetName() == name && strings.Join(list, ",") == labels {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}
