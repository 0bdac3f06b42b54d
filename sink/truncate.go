package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/kafka"
	"cdc/mapping/avro"
	"cdc/replication"
)

// truncate applies a truncate record. The producer wrote a copy of it into
// every partition of the topic, since only within a partition there is an
// order. So each copy stands for the rows of its own partition: those whose key
// hashes to it. When all copies are applied the table is as empty as the source
// was, rows that came after the truncate in one partition are never deleted by
// the copy of another, and no member has to wait for one that reads another
// partition.
func (ss *session) truncate(ctx context.Context, r *raw) error {
	p, rec := r.part, r.rec
	count, err := ss.partitions(ctx, rec.Topic)
	if err != nil {
		return err
	}
	if r.plan.envelope != nil {
		if id, wireErr := wire(rec.Value, false, false); wireErr == nil {
			r.plan = p.topic.keyed(r.plan, id)
		}
	}
	var keep func([]replication.Value) bool
	if count > 1 && r.foreign {
		err = fmt.Errorf("a truncate that Debezium wrote into one of %d partitions: there is no telling which rows of the others came before it", count)
	} else if count > 1 {
		keep, err = r.plan.keeper(rec.Topic, rec.Partition, count)
		if stays := keep; stays != nil {
			keep = func(key []replication.Value) bool {
				ss.health.touch() // a large table takes its time, and is no standstill
				return stays(key)
			}
		}
	}
	o := Offset{Topic: rec.Topic, TopicID: p.topicID, Partition: rec.Partition, From: p.applied, Next: rec.Offset + 1}
	if err != nil { // this record cannot be applied: the policy decides, and only its offset moves
		if err := ss.judge(ctx, []fault{{rec, newRecordError(r.plan, rec, err)}}); err != nil {
			return err
		}
		ss.writing.Lock()
		err = ss.w.Apply(ctx, ss.cfg.Group, &Batch{Offsets: []Offset{o}})
		ss.writing.Unlock()
	} else {
		ss.writing.Lock()
		err = ss.w.Truncate(ctx, ss.cfg.Group, r.plan.shape, keep, o)
		ss.writing.Unlock()
	}
	if err != nil {
		return err
	}
	p.applied = o.Next
	p.done.Store(o.Next)
	ss.metrics.rows.WithLabelValues(r.plan.shape.Topic, r.plan.shape.Table, "truncate").Inc()
	ss.log.Info("truncated", "topic", rec.Topic, "partition", rec.Partition, "offset", rec.Offset, "table", r.plan.shape.Table)
	return nil
}

// keeper returns a function that reports whether a row, by its key's values in
// the shape's order, belongs to another partition than this: it encodes the
// key as the producer does, and hashes it as the producer's partitioner does
// (murmur2, as Java's).
func (p *plan) keeper(topic string, partition int32, count int) (func([]replication.Value) bool, error) {
	if p.key == nil {
		return nil, fmt.Errorf("a truncate of a topic with %d partitions whose keys are not Avro: there is no telling which rows are this partition's", count)
	}
	var specs []avro.FieldSpec
	for i, c := range p.key.Columns() {
		at := -1
		for k, f := range p.keyFields {
			if f == p.fromKey[i] {
				at = k
			}
		}
		if at < 0 {
			return nil, fmt.Errorf("a truncate of a topic with %d partitions whose key has column %q beyond the configured ones", count, c.Name)
		}
		specs = append(specs, avro.FieldSpec{Name: c.Name, Column: c, Source: at})
	}
	enc, err := avro.NewEncoder(p.keySchema.String(), p.keyID, specs)
	if err != nil {
		return nil, fmt.Errorf("encode keys to tell a truncate's rows: %w", err)
	}
	part := kgo.StickyKeyPartitioner(nil).ForTopic(topic)
	var buf []byte
	return func(key []replication.Value) bool {
		b, err := enc.Append(buf[:0], key)
		if err != nil {
			return true // no record of the topic has such a key: the row came from elsewhere
		}
		buf = b
		return part.Partition(&kgo.Record{Topic: topic, Key: b}, count) != int(partition)
	}, nil
}

// partitions returns how many partitions a topic has.
func (ss *session) partitions(ctx context.Context, topic string) (int, error) {
	wait := 100 * time.Millisecond
	for {
		all, err := kadm.NewClient(ss.cl).ListTopics(ctx, topic)
		if err == nil {
			err = all.Error()
		}
		if err == nil && len(all[topic].Partitions) > 0 {
			return len(all[topic].Partitions), nil
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if remedy, ok := kafka.Remedy(err, "Describe on topic "+topic); ok {
			return 0, &replication.Refusal{Problem: "count the partitions of topic " + topic, Remedy: remedy, Err: err}
		}
		ss.log.Log(ctx, kafka.RetryLevel(err), "cannot count partitions: will try again", "topic", topic, "error", err, "wait", wait)
		if !pause(ctx, wait) {
			return 0, ctx.Err()
		}
		wait = min(2*wait, 10*time.Second)
	}
}

// deadLetterRefusal returns what a person must do about a failed dead letter,
// nil when trying again may help.
func (ss *session) deadLetterRefusal(err error) error {
	topic := ss.cfg.DeadLetterTopic
	if remedy, ok := kafka.Remedy(err, "Write on topic "+topic); ok {
		return &replication.Refusal{Problem: "write dead letters to topic " + topic, Remedy: remedy, Err: err}
	}
	for _, permanent := range []error{kerr.MessageTooLarge, kerr.RecordListTooLarge} {
		if errors.Is(err, permanent) {
			return &replication.Refusal{
				Problem: "a dead letter is too large for topic " + topic,
				Remedy:  fmt.Sprintf("raise max.message.bytes of the topic (records beyond %d MiB cannot be copied to it: set on_error to stop or skip)", maxDeadLetter>>20),
				Err:     err,
			}
		}
	}
	return nil
}
