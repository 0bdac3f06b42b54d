package producer

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/internal/servicetest"
	"cdc/replication"
)

func TestCheckpoints(t *testing.T) {
	p := open(t, nil)
	topic := servicetest.Name(t, "checkpoints")
	dropTopics(t, p, topic)
	ctx := t.Context()
	c := p.Checkpoints(topic, "shop")
	load := func(want replication.Position) {
		t.Helper()
		for _, who := range []*Checkpoints{c, open(t, nil).Checkpoints(topic, "shop")} {
			if got, err := who.Load(ctx); err != nil || got != want {
				t.Fatalf("load: %q, %v; want %q", got, err, want)
			}
		}
	}
	if got, err := c.Peek(ctx); err != nil || got != "" {
		t.Fatalf("peek: %q, %v", got, err)
	}
	if found, err := p.describe(ctx, topic); err != nil || found.exists {
		t.Fatalf("Peek made the topic, or: %v", err)
	}
	load("")
	for i := range 5 {
		if err := c.Save(ctx, replication.Position(fmt.Sprintf(`{"lsn":"0/%d"}`, i))); err != nil {
			t.Fatal(err)
		}
		if err := p.Checkpoints(topic, "other").Save(ctx, "x"); err != nil {
			t.Fatal(err)
		}
	}
	load(`{"lsn":"0/4"}`)
	if got, err := c.Peek(ctx); err != nil || got != `{"lsn":"0/4"}` {
		t.Fatalf("peek: %q, %v", got, err)
	}

	// An aborted transaction counts for nothing, and its marks hide nothing.
	txn, err := kgo.NewClient(kgo.SeedBrokers(p.conf.Kafka.Brokers...), kgo.TransactionalID(topic), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Close()
	for _, how := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		if err := txn.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		r := &kgo.Record{Key: []byte("shop"), Value: []byte(`{"position":"in a transaction"}`)}
		if err := txn.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := txn.EndTransaction(ctx, how); err != nil {
			t.Fatal(err)
		}
		if how == kgo.TryAbort {
			load(`{"lsn":"0/4"}`)
		} else {
			// The coordinator answers before it has marked the partition: until
			// then the record is not committed for a reader.
			deadline := time.Now().Add(2 * time.Minute)
			for got := replication.Position(""); got != "in a transaction" && time.Now().Before(deadline); {
				if got, err = c.Load(ctx); err != nil {
					t.Fatal(err)
				}
			}
			load("in a transaction")
		}
	}
	if err := c.Delete(ctx); err != nil {
		t.Fatal(err)
	}
	load("")
	s, err := p.settings(ctx, topic)
	if err != nil || s[cleanupPolicy] != "compact" || s["segment.bytes"] != "16777216" {
		t.Errorf("cleanup.policy=%s, segment.bytes=%s, %v", s[cleanupPolicy], s["segment.bytes"], err)
	}
}

func TestCheckpointSaysWhoSavedItAndWhen(t *testing.T) {
	p := open(t, nil)
	topic := servicetest.Name(t, "checkpoints")
	dropTopics(t, p, topic)
	if err := p.Checkpoints(topic, "shop").Save(t.Context(), "here"); err != nil {
		t.Fatal(err)
	}
	r := read(t, p.conf.Kafka.Brokers, topic, 1)[0]
	var got struct {
		Position string    `json:"position"`
		SavedAt  time.Time `json:"saved_at"`
		Host     string    `json:"host"`
	}
	if err := json.Unmarshal(r.Value, &got); err != nil {
		t.Fatal(err)
	}
	if string(r.Key) != "shop" || got.Position != "here" || time.Since(got.SavedAt).Abs() > time.Minute || got.Host == "" {
		t.Errorf("%s: %s", r.Key, r.Value)
	}
}

// Compaction is asked for, which only kfake can be.
func TestCheckpointsAfterCompaction(t *testing.T) {
	c := fake(t)
	p := openFake(t, c.ListenAddrs(), nil)
	ctx := t.Context()
	for i := range 50 {
		if err := p.Checkpoints("saved", fmt.Sprint("c", i%3)).Save(ctx, replication.Position(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	c.Compact()
	for i, want := range []replication.Position{"48", "49", "47"} {
		if got, err := p.Checkpoints("saved", fmt.Sprint("c", i)).Load(ctx); err != nil || got != want {
			t.Errorf("c%d: %q, %v; want %q", i, got, err, want)
		}
	}
	// All gone, but the offsets went on.
	info := c.PartitionInfo("saved", 0)
	if err := c.DeleteRecords("saved", 0, info.HighWatermark); err != nil {
		t.Fatal(err)
	}
	if got, err := p.Checkpoints("saved", "c0").Load(ctx); err != nil || got != "" {
		t.Errorf("after all was deleted: %q, %v", got, err)
	}
}

func TestCheckpointTopicWithRetentionIsRefused(t *testing.T) {
	p := open(t, nil)
	topic := servicetest.Name(t, "checkpoints")
	dropTopics(t, p, topic)
	if err := p.Ensure(t.Context(), []Topic{{Name: topic}}); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("topic %s has cleanup.policy=delete: the saved positions in it would vanish with its retention\n  to mend it: kafka-configs.sh --alter --entity-type topics --entity-name %s --add-config cleanup.policy=compact", topic, topic)
	c := p.Checkpoints(topic, "shop")
	if _, err := c.Load(t.Context()); !replication.IsRefusal(err) || err.Error() != want {
		t.Errorf("load: %v\nwant %s", err, want)
	}
	if err := c.Save(t.Context(), "x"); !replication.IsRefusal(err) {
		t.Errorf("save: %v", err)
	}
}

// A fake, because it starts only after Load has begun to wait for it.
func TestLoadWaitsForBrokers(t *testing.T) {
	gone := fake(t)
	addrs := gone.ListenAddrs()
	gone.Close()
	p := openFake(t, addrs, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := p.Checkpoints("saved", "shop").Load(ctx); err == nil || replication.IsRefusal(err) {
		t.Fatalf("without brokers: %v", err)
	}
	loaded := make(chan error, 1)
	go func() {
		_, err := p.Checkpoints("saved", "shop").Load(t.Context())
		loaded <- err
	}()
	var port int
	fmt.Sscanf(addrs[0], "127.0.0.1:%d", &port)
	fake(t, kfake.Ports(port))
	if err := await(t, loaded); err != nil {
		t.Fatal(err)
	}
}
