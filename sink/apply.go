package sink

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/replication"
)

// applyAll applies batch after batch.
func (ss *session) applyAll(ctx context.Context) error {
	for b := range ss.batches {
		start := time.Now()
		err := ss.apply(ctx, b)
		if err != nil {
			ss.settle(b)
			return err
		}
		ss.metrics.apply.Observe(time.Since(start).Seconds())
		ss.metrics.batch.Observe(float64(b.rows))
		ss.health.touch()
		ss.commit(ctx, b)
		ss.settle(b)
	}
	return nil
}

// apply brings a batch into the target: its faults to where the policy says,
// then rows and offsets in one transaction, then the truncate that ends it.
func (ss *session) apply(ctx context.Context, b *batch) error {
	if err := ss.judge(ctx, b.faults); err != nil {
		return err
	}
	for {
		out := b.seal()
		if len(out.Offsets) == 0 {
			break
		}
		ss.writing.Lock()
		err := ss.w.Apply(ctx, ss.cfg.Group, out)
		ss.writing.Unlock()
		bad := rowErrors(err)
		if len(bad) == 0 && err != nil {
			return err
		}
		if len(bad) > 0 {
			if err := ss.leaveOut(ctx, b, bad); err != nil {
				return err
			}
			continue
		}
		ss.count(out)
		for _, o := range out.Offsets {
			for _, at := range b.parts {
				if at.part.id == o.Partition && at.part.topic.cfg.Topic == o.Topic {
					at.part.applied = o.Next
					at.part.done.Store(o.Next)
				}
			}
		}
		break
	}
	if b.truncate != nil {
		return ss.truncate(ctx, b.truncate)
	}
	return nil
}

func rowErrors(err error) []*RowError {
	if many, ok := errors.AsType[RowErrors](err); ok {
		return many
	}
	if one, ok := errors.AsType[*RowError](err); ok {
		return []*RowError{one}
	}
	return nil
}

// leaveOut hands refused rows to the policy and decodes the batch again
// without their records.
func (ss *session) leaveOut(ctx context.Context, b *batch, bad []*RowError) error {
	where := make(map[at]bool, len(bad))
	reason := make(map[at]error, len(bad))
	for _, e := range bad {
		a := at{e.Origin.Topic, e.Origin.Partition, e.Origin.Offset}
		where[a], reason[a] = true, e.Err
	}
	var faults []fault
	for i := range b.raw {
		r := &b.raw[i]
		if a := (at{r.rec.Topic, r.rec.Partition, r.rec.Offset}); where[a] {
			faults = append(faults, fault{r.rec, newRecordError(r.plan, r.rec, reason[a])})
		}
	}
	if len(faults) != len(where) {
		return fmt.Errorf("the target refuses %d rows of which %d are in the batch: %w", len(where), len(faults), bad[0])
	}
	if err := ss.judge(ctx, faults); err != nil {
		return err
	}
	return b.without(where)
}

// judge does with faulty records what the policy says; under stop the first
// one is the error.
func (ss *session) judge(ctx context.Context, faults []fault) error {
	if len(faults) == 0 {
		return nil
	}
	for _, f := range faults {
		table := ss.cfg.table(f.rec.Topic).Table
		ss.metrics.faults.WithLabelValues(f.rec.Topic, table, ss.cfg.OnError).Inc()
		if ss.cfg.OnError == OnErrorStop {
			return &replication.Refusal{
				Problem: "a record cannot be applied",
				Remedy:  "mend what the target complains of (its constraints, its types, its rights) and start again, or set on_error: dead-letter for this sink, which puts such records aside with the reason",
				Err:     f.err,
			}
		}
		ss.log.Error("record left out", "policy", ss.cfg.OnError, "topic", f.rec.Topic, "partition", f.rec.Partition,
			"offset", f.rec.Offset, "key", f.err.Key, "table", table, "error", f.err.Err)
	}
	if ss.cfg.OnError == OnErrorDeadLetter {
		return ss.deadLetter(ctx, faults)
	}
	return nil
}

// The headers that a dead letter has beside the record's own.
const (
	HeaderErrorTopic     = "cdc.error.topic"
	HeaderErrorPartition = "cdc.error.partition"
	HeaderErrorOffset    = "cdc.error.offset"
	HeaderErrorReason    = "cdc.error.reason"
	HeaderErrorSink      = "cdc.error.sink"
)

// deadLetter publishes records whole, and returns once that is durable. It
// waits out what is transient; a crash after it repeats it.
func (ss *session) deadLetter(ctx context.Context, faults []fault) error {
	wait := 100 * time.Millisecond
	for {
		records := make([]*kgo.Record, len(faults))
		for i, f := range faults {
			records[i] = &kgo.Record{
				Topic: ss.cfg.DeadLetterTopic, Key: f.rec.Key, Value: f.rec.Value,
				Headers: append(append([]kgo.RecordHeader(nil), f.rec.Headers...),
					kgo.RecordHeader{Key: HeaderErrorTopic, Value: []byte(f.rec.Topic)},
					kgo.RecordHeader{Key: HeaderErrorPartition, Value: []byte(strconv.Itoa(int(f.rec.Partition)))},
					kgo.RecordHeader{Key: HeaderErrorOffset, Value: []byte(strconv.FormatInt(f.rec.Offset, 10))},
					kgo.RecordHeader{Key: HeaderErrorReason, Value: []byte(f.err.Err.Error())},
					kgo.RecordHeader{Key: HeaderErrorSink, Value: []byte(ss.cfg.Name)},
				),
			}
		}
		var err error
		for rest := records; len(rest) > 0 && err == nil; {
			n := together(rest)
			err = ss.cl.ProduceSync(ctx, rest[:n]...).FirstErr()
			rest = rest[n:]
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := ss.deadLetterRefusal(err); err != nil {
			return err
		}
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			_, err = kadm.NewClient(ss.cl).CreateTopic(ctx, -1, -1, nil, ss.cfg.DeadLetterTopic)
			if err == nil {
				ss.log.Info("created the dead-letter topic", "topic", ss.cfg.DeadLetterTopic)
				continue
			}
		}
		ss.log.Warn("cannot write dead letters: will try again", "topic", ss.cfg.DeadLetterTopic, "error", err, "wait", wait)
		if !pause(ctx, wait) {
			return ctx.Err()
		}
		wait = min(2*wait, 10*time.Second)
	}
}

// together returns how many records from the first may go in one batch, which
// the topic's max.message.bytes bounds as a whole: 1 MiB by default. A larger
// record goes alone.
func together(records []*kgo.Record) int {
	const most = 800 << 10
	size := 0
	for i, r := range records {
		size += len(r.Key) + len(r.Value) + 128
		for _, h := range r.Headers {
			size += len(h.Key) + len(h.Value) + 16
		}
		if size > most && i > 0 {
			return i
		}
	}
	return len(records)
}

// count counts what was applied.
func (ss *session) count(out *Batch) {
	for i := range out.Tables {
		t := &out.Tables[i]
		deletes := 0
		for j := range t.Rows {
			if t.Rows[j].Delete {
				deletes++
			}
		}
		if n := len(t.Rows) - deletes; n > 0 {
			ss.metrics.rows.WithLabelValues(t.Shape.Topic, t.Shape.Table, "upsert").Add(float64(n))
		}
		if deletes > 0 {
			ss.metrics.rows.WithLabelValues(t.Shape.Topic, t.Shape.Table, "delete").Add(float64(deletes))
		}
	}
}

// commit tells the group where the target is, for tools that show lag; nothing
// here reads it.
func (ss *session) commit(ctx context.Context, b *batch) {
	offsets := make(map[string]map[int32]kgo.EpochOffset)
	for _, at := range b.parts {
		name := at.part.topic.cfg.Topic
		ss.metrics.records.WithLabelValues(name).Add(float64(at.n))
		ss.metrics.bytes.WithLabelValues(name, at.part.topic.cfg.Table).Add(float64(at.size))
		at.part.time.Store(at.time)
		if at.part.revoked.Load() {
			continue
		}
		if offsets[name] == nil {
			offsets[name] = map[int32]kgo.EpochOffset{}
		}
		offsets[name][at.part.id] = kgo.EpochOffset{Epoch: -1, Offset: at.next}
	}
	if len(offsets) > 0 {
		ss.cl.CommitOffsets(ctx, offsets, nil)
	}
}

func quoteTopic(name string) string { return regexp.QuoteMeta(name) }
