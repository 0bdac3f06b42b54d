package producer

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/internal/servicetest"
	"cdc/kafka"
	"cdc/mapping"
	"cdc/replication"
)

// open makes a Producer on the real Kafka and closes it with the test.
func open(t testing.TB, change func(*Config)) *Producer {
	t.Helper()
	conf := Config{Kafka: kafka.Config{Brokers: servicetest.Kafka(t)}, Topics: TopicConfig{Create: true, Partitions: 1, Replication: 1}}
	if change != nil {
		change(&conf)
	}
	p, err := New(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}

// dropTopics deletes topics of the real Kafka when the test ends.
func dropTopics(t testing.TB, p *Producer, topics ...string) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, _ = p.admin.DeleteTopics(ctx, topics...)
	})
}

// produce waits for done.
func produce(t testing.TB, p *Producer, list ...mapping.Record) error {
	t.Helper()
	acked := make(chan error, 2)
	p.Produce(t.Context(), &mapping.Records{List: list}, func(err error) { acked <- err })
	select {
	case err := <-acked:
		return err
	case <-time.After(2 * time.Minute):
		t.Fatal("done was not called")
		return nil
	}
}

var orders = &replication.Table{Schema: "public", Name: "orders"}

func record(topic, key, value string) mapping.Record {
	r := mapping.Record{
		Topic: topic, Op: replication.OpInsert, Table: orders, Time: 1_700_000_000_000_000,
		Describe: func(k []byte) string { return "id=" + string(k) },
		Headers:  []mapping.Header{{Key: mapping.HeaderOp, Value: []byte("insert")}, {Key: mapping.HeaderTx, Value: []byte("742")}, {Key: mapping.HeaderPosition, Value: []byte("0/16B3748:0")}},
	}
	if key != "" {
		r.Key = []byte(key)
	}
	if value != "" {
		r.Value = []byte(value)
	}
	return r
}

// read consumes n records of a topic with a client of its own.
func read(t testing.TB, brokers []string, topic string, n int) []*kgo.Record {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var list []*kgo.Record
	for len(list) < n {
		f := cl.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatalf("read %s: %v after %d of %d records", topic, err, len(list), n)
		}
		list = append(list, f.Records()...)
	}
	return list
}

func TestProduceOrderPerKey(t *testing.T) {
	p := open(t, func(c *Config) { c.Topics.Partitions = 3 })
	topic := servicetest.Name(t, "order")
	dropTopics(t, p, topic)
	const keys, rounds = 7, 300
	var list []mapping.Record
	for i := range rounds {
		for k := range keys {
			list = append(list, record(topic, fmt.Sprintf("k%d", k), fmt.Sprint(i+1)))
		}
	}
	if err := produce(t, p, list...); err != nil {
		t.Fatal(err)
	}
	last, where := map[string]int{}, map[string]int32{}
	for _, r := range read(t, p.conf.Kafka.Brokers, topic, keys*rounds) {
		k := string(r.Key)
		var v int
		fmt.Sscan(string(r.Value), &v)
		if v != last[k]+1 {
			t.Fatalf("key %s: %d after %d", k, v, last[k])
		}
		if last[k] > 0 && where[k] != r.Partition {
			t.Fatalf("key %s is in partitions %d and %d", k, where[k], r.Partition)
		}
		last[k], where[k] = v, r.Partition
		if r.Timestamp.UnixMilli() != 1_700_000_000_000 || len(r.Headers) != 3 || r.Headers[1].Key != mapping.HeaderTx || string(r.Headers[1].Value) != "742" {
			t.Fatalf("record %+v", r)
		}
	}
	if len(last) != keys {
		t.Fatalf("%d keys, want %d", len(last), keys)
	}
}
