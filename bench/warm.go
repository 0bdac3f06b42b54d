package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// warm makes the broker compile its code before anything is measured: one that
// has just started takes several times as long for the same requests, and the
// numbers are about cdc. Small requests, one record each, as the latency part
// makes them; then full batches, as the others do.
func (e *environment) warm(ctx context.Context, d time.Duration) error {
	topic := e.id + "_warm"
	if _, err := e.admin.CreateTopic(ctx, 1, 1, nil, topic); err != nil {
		return err
	}
	fmt.Printf("warming the broker up for %s\n", d)
	client, err := kgo.NewClient(kgo.SeedBrokers(e.brokers...), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0),
		kgo.ConsumeTopics(topic), kgo.MetadataMinAge(10*time.Millisecond),
		kgo.UnknownTopicRetries(-1)) // the controller may answer before the broker knows the topic
	if err != nil {
		return err
	}
	defer client.Close()
	value := make([]byte, 256)
	var failed atomic.Pointer[error]
	note := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
		}
	}
	for end := time.Now().Add(d * 3 / 4); time.Now().Before(end); {
		if err := client.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr(); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
		if err := client.PollFetches(ctx).Err(); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
	}
	for end := time.Now().Add(d / 4); time.Now().Before(end); {
		for range 5000 {
			client.Produce(ctx, &kgo.Record{Value: value}, note)
		}
		if err := client.Flush(ctx); err != nil {
			return err
		}
	}
	if err := failed.Load(); err != nil {
		return fmt.Errorf("warm up: %w", *err)
	}
	_, err = e.admin.DeleteTopics(ctx, topic)
	return err
}
