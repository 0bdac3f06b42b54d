package producer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/mapping"
	"cdc/replication"
)

// partitioner places records as Java's default partitioner does: by murmur2 of
// the key, and those without a key in runs of sticky bytes, partition after
// partition. A record that comes with a Partition of 0 or more keeps it.
type partitioner struct{ p *Producer }

// sticky is how many bytes without a key go to one partition before the next
// has its turn, so that they share requests; as Java's batch.size times four.
const sticky = 64 << 10

func (p partitioner) ForTopic(name string) kgo.TopicPartitioner {
	t, _ := p.p.topics.Load(name)
	topic, _ := t.(*topic)
	return &topicPartitioner{topic: topic}
}

// topicPartitioner is used by one record at a time.
type topicPartitioner struct {
	topic *topic
	on    int // partition of the current run
	bytes int // in it
}

func (*topicPartitioner) RequiresConsistency(r *kgo.Record) bool {
	return r.Key != nil || r.Partition != hashed
}

func (t *topicPartitioner) Partition(r *kgo.Record, n int) int {
	if t.topic != nil && (r.Partition >= 0 || r.Partition == counting) {
		t.topic.partitions.Store(int32(n))
	}
	switch {
	case r.Partition == counting:
		r.Partition = int32(n)
		return -1 // none: kgo gives the record back
	case r.Partition >= 0:
		return int(r.Partition)
	case r.Partition == prehashed:
		return int(uint64(r.Offset) % uint64(n))
	case r.Key != nil:
		return int(mapping.Murmur2(r.Key)&0x7fffffff) % n
	}
	if t.bytes >= sticky || t.on >= n {
		t.on, t.bytes = (t.on+1)%n, 0
	}
	t.bytes += len(r.Value)
	return t.on
}

// A partition that was made a moment ago may be unknown to a broker for a few
// milliseconds, and to kgo for minutes.
const (
	// grace is how long the brokers are asked again before a partition is missing
	// for good, and forgiven how long no other of the topic gets as much.
	grace    = 500 * time.Millisecond
	forgiven = 5 * time.Second
	// patience is how long kgo may take to learn of a partition that there is.
	patience = 10 * time.Second
)

// await returns once kgo knows partition n of t, having it look again. why says
// that there is no such partition.
func (p *Producer) await(ctx context.Context, t *topic, n int32) (why, err error) {
	begun := time.Now()
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		if err := p.learn(ctx, t); err != nil || n < t.partitions.Load() {
			return nil, err
		}
		there, err := p.count(ctx, t.name)
		spent := time.Since(begun)
		switch {
		case err != nil:
			return nil, err
		case there == 0 && spent >= grace:
			return nil, deleted(t.name, kerr.UnknownTopicOrPartition)
		case there == 0: // as below
		case n < there && spent >= p.patience:
			return nil, &replication.Refusal{
				Problem: fmt.Sprintf("partition %d of topic %s is chosen, which has %d; the brokers that this client asks know %d of them", n, t.name, there, t.partitions.Load()),
				Remedy:  fmt.Sprintf("start again once every broker answers alike to kafka-topics.sh --describe --topic %s", t.name),
			}
		case n >= there && (spent >= grace || begun.Sub(t.beyond) < forgiven):
			t.beyond = time.Now()
			return fmt.Errorf("partition %d is chosen, and topic %s has %d (0 to %d)", n, t.name, there, there-1), nil
		}
		p.client.ForceMetadataRefresh()
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-p.closed:
			return nil, errClosed
		case <-time.After(wait):
		}
	}
}

// learn asks kgo how many partitions of t it knows, once it knows any. It does so
// by a record that goes nowhere: kgo tells the partitioner, which chooses none.
func (p *Producer) learn(ctx context.Context, t *topic) error {
	p.gather.handOver() // what is held back need not wait, too
	back := make(chan error, 1)
	k := &kgo.Record{Topic: t.name, Partition: counting}
	p.client.Produce(context.WithoutCancel(ctx), k, func(_ *kgo.Record, err error) { back <- err })
	select {
	case err := <-back:
		if k.Partition == counting {
			return explain(err, "count the partitions of topic "+t.name, "Write on topic "+t.name)
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-p.closed:
		return errClosed
	}
}

// count asks a broker how many partitions a topic has: 0 when there is none.
func (p *Producer) count(ctx context.Context, name string) (int32, error) {
	var n int
	err := p.retry(ctx, "describe topic "+name, func(ctx context.Context) error {
		// With the rights kadm asks a broker and not its memory.
		details, err := p.admin.ListTopics(kadm.WithAuthorizedOps(ctx), name)
		if err != nil {
			return err
		}
		if n = len(details[name].Partitions); errors.Is(details[name].Err, kerr.UnknownTopicOrPartition) {
			return nil
		}
		return details[name].Err
	})
	return int32(n), explain(err, "describe topic "+name, "Describe on topic "+name)
}
