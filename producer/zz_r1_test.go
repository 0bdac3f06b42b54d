package producer

import (
	"context"
	"testing"
	"time"

	"cdc/internal/servicetest"
	"cdc/kafka"
	"cdc/mapping"
)

func TestR1Time(t *testing.T) {
	conf := Config{Kafka: kafka.Config{Brokers: servicetest.Kafka(t)}, Topics: TopicConfig{Create: true, Partitions: 1, Replication: 1, Extra: map[string]string{"message.timestamp.after.max.ms": "60000"}}}
	p, err := New(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	done := make(chan error, 1)
	r := &mapping.Records{List: []mapping.Record{{Topic: servicetest.Name(t, "ts"), Key: []byte("a"), Value: []byte("b"), Time: time.Now().Add(2 * time.Hour).UnixMicro()}}}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	p.Produce(ctx, r, func(err error) { done <- err })
	select {
	case err := <-done:
		t.Logf("%v", err)
	case <-ctx.Done():
		t.Log("nothing")
	}
}
