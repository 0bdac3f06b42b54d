package pipeline

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	twmb "github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/internal/servicetest"
	"cdc/kafka"
	"cdc/mapping"
	prod "cdc/producer"
	"cdc/replication"
)

// schemas is a registry in memory.
type schemas struct {
	mu   sync.Mutex
	list []string
}

func (s *schemas) ID(_ context.Context, _, schema string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.list, schema); i >= 0 {
		return i + 1, nil
	}
	s.list = append(s.list, schema)
	return len(s.list), nil
}

// decode reads a record by an Avro library that is not ours.
func (s *schemas) decode(t *testing.T, b []byte) map[string]any {
	t.Helper()
	schema, err := twmb.Parse(s.list[binary.BigEndian.Uint32(b[1:])-1])
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if rest, err := schema.Decode(b[5:], &m); err != nil || len(rest) > 0 {
		t.Fatalf("decode %x: %v", b, err)
	}
	return m
}

// history is a random log of inserts, updates, changes of keys, deletes and
// truncates of a table (id bigint primary key, v text) in transactions, and the
// rows that are left at its end.
func history(seed uint64, transactions int) (log []*replication.Batch, rows map[int64]string) {
	table := &replication.Table{Schema: "public", Name: "t", Key: []int{0}, Columns: []replication.Column{
		{Name: "id", Kind: replication.KindInt, Bits: 64, NotNull: true, Identity: true},
		{Name: "v", Kind: replication.KindString},
	}}
	rnd := rand.New(rand.NewPCG(seed, 4))
	rows = map[int64]string{}
	row := func(id int64, v string) []replication.Value {
		return []replication.Value{replication.IntValue(id), replication.StringValue(replication.KindString, v)}
	}
	before := func(id int64) []replication.Value {
		return []replication.Value{replication.IntValue(id), replication.Unchanged}
	}
	for n := range transactions {
		b := &replication.Batch{Position: replication.Position(fmt.Sprint(n + 1))}
		tx := &replication.Transaction{ID: fmt.Append(nil, n), Commit: fmt.Appendf(nil, "0/%X", n), CommitTime: time.Now().UnixMicro()}
		for i := range rnd.IntN(20) {
			c := replication.Change{Table: table, Tx: tx, Index: uint64(i)}
			id, to, v := rnd.Int64N(40), rnd.Int64N(40), fmt.Sprintf("%d/%d", n, i)
			_, there := rows[id]
			_, taken := rows[to]
			switch {
			case rnd.IntN(500) == 0:
				c.Op = replication.OpTruncate
				clear(rows)
			case !there:
				c.Op, c.After = replication.OpInsert, row(id, v)
				rows[id] = v
			case rnd.IntN(3) == 0:
				c.Op, c.Before = replication.OpDelete, before(id)
				delete(rows, id)
			case !taken:
				c.Op, c.Before, c.After = replication.OpUpdate, before(id), row(to, v)
				delete(rows, id)
				rows[to] = v
			default:
				c.Op, c.After = replication.OpUpdate, row(id, v)
				rows[id] = v
			}
			b.Changes = append(b.Changes, c)
		}
		log = append(log, b)
	}
	return log, rows
}

// TestThroughKafka runs a history through the real mapper and producer into a
// real Kafka, with a crash of the store and a stop on the way, and reads the
// topic as a consumer does: the last record of each key is the table.
func TestThroughKafka(t *testing.T) {
	brokers := servicetest.Kafka(t)
	name := servicetest.Name(t, "pipeline")
	log, want := history(1, 400)
	reg := &schemas{}

	// run goes on from the saved position and stops when stop says so.
	run := func(die func(replication.Position) error, until replication.Position) error {
		p, err := prod.New(t.Context(), prod.Config{
			Kafka:  kafka.Config{Brokers: brokers},
			Topics: prod.TopicConfig{Create: true, Partitions: 3, Replication: 1, Compact: true},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(context.Background())
		points := &watched{Checkpoints: p.Checkpoints(name+"_checkpoints", "c"), die: die, until: until, reached: make(chan struct{})}
		from, err := points.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if until != "" && position(from) >= position(until) {
			return nil // a run before, which was to stop earlier, was faster
		}
		m, err := mapping.New(mapping.Config{Topic: name, Registry: reg})
		if err != nil {
			t.Fatal(err)
		}
		src := &source{log: log, next: position(from)}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go func() {
			select {
			case <-points.reached:
				stop()
			case <-ctx.Done():
			}
		}()
		err = New(Config{Source: src, Mapper: m, Producer: p, Checkpoints: points, SaveInterval: time.Millisecond, InFlightBytes: 64 << 10}).Run(ctx)
		for _, a := range src.acked() {
			if position(a) > position(points.last) {
				t.Errorf("the source heard of %s, the store has %s", a, points.last)
			}
		}
		return err
	}
	if err := run(func(replication.Position) error { return errKilled }, ""); err == nil {
		t.Error("the killed run ended well")
	}
	if err := run(nil, "1"); err != nil { // stopped by any position
		t.Error(err)
	}
	if err := run(nil, "400"); err != nil {
		t.Error(err)
	}

	got, ops := readTopic(t, brokers, name, reg)
	equal(t, "the rows", got, want)
	for _, op := range []string{"insert", "update", "delete", "truncate"} {
		if ops[op] == 0 {
			t.Errorf("the history has no %s", op)
		}
	}
}

// watched is a real store that may die, and tells when a position is reached.
type watched struct {
	Checkpoints
	die     func(replication.Position) error
	until   replication.Position
	last    replication.Position
	reached chan struct{}
	once    sync.Once
}

func (w *watched) Save(ctx context.Context, p replication.Position) error {
	if w.die != nil {
		if err := w.die(p); err != nil {
			return err
		}
	}
	if err := w.Checkpoints.Save(ctx, p); err != nil {
		return err
	}
	w.last = p
	if w.until != "" && position(p) >= position(w.until) {
		w.once.Do(func() { close(w.reached) })
	}
	return nil
}

// readTopic returns what a consumer that keeps the last record of each key has
// at the end, and how many records of each operation it saw.
func readTopic(t *testing.T, brokers []string, topic string, reg *schemas) (rows map[int64]string, ops map[string]int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(t.Context(), topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	rows, ops = map[int64]string{}, map[string]int{}
	home := map[int64]int32{} // key → partition
	for len(left) > 0 {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			var op string
			for _, h := range r.Headers {
				if h.Key == mapping.HeaderOp {
					op = string(h.Value)
				}
			}
			ops[op]++
			id := reg.decode(t, r.Key)["id"].(int64)
			switch {
			case op == "truncate":
				for id := range rows {
					if home[id] == r.Partition {
						delete(rows, id)
					}
				}
				return
			case r.Value == nil:
				delete(rows, id)
			default:
				rows[id] = reg.decode(t, r.Value)["v"].(string)
			}
			if p, ok := home[id]; ok && p != r.Partition {
				t.Errorf("key %d is in partitions %d and %d", id, p, r.Partition)
			}
			home[id] = r.Partition
		})
	}
	return rows, ops
}
