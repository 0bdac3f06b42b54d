package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/mapping/avro"
	"cdc/replication"
)

// RecordError names a record that cannot be applied.
type RecordError struct {
	Topic     string
	Partition int32
	Offset    int64
	Key       string // for people: id=7
	Err       error
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("record %s[%d]@%d, key %s: %v", e.Topic, e.Partition, e.Offset, e.Key, e.Err)
}

func (e *RecordError) Unwrap() error { return e.Err }

// batch is one transaction in the making: collapsed rows per topic, the raw
// records they came from, and how far each partition gets.
type batch struct {
	serial  int64 // of this use of its memory, given by the builder
	out     Batch
	arena   arena
	runs    []*run // in use, in order
	spare   []*run
	last    map[*topic]*run // the newest run of each topic
	raw     []raw
	faults  []fault
	parts   []progress // those with progress in this batch
	rows    int        // records
	counted int        // of them, in the in-flight figures
	bytes   int
	start   time.Time
	// truncate is the record that ends the batch, if it is a truncate.
	truncate *raw
}

// progress is how far a batch takes a partition.
type progress struct {
	part *partition
	next int64
	time int64 // of its last record, milliseconds since 1970
	n    int   // records
	size int   // bytes of their keys and values
}

// raw is a record that decodes, with what reads it.
type raw struct {
	part *partition
	plan *plan
	rec  *kgo.Record
	// foreign says that a truncate is not one of ours, which stands in every
	// partition.
	foreign bool
}

// fault is a record that cannot be applied, on its way to the error policy.
type fault struct {
	rec *kgo.Record
	err *RecordError
}

func newBatch() *batch { return &batch{last: map[*topic]*run{}} }

func (b *batch) reset() {
	b.resetRows()
	clear(b.raw)
	clear(b.faults)
	clear(b.parts)
	b.raw, b.faults, b.parts = b.raw[:0], b.faults[:0], b.parts[:0]
	b.rows, b.counted, b.bytes, b.truncate = 0, 0, 0, nil
}

// resetRows forgets what was decoded and keeps the raw records.
func (b *batch) resetRows() {
	b.spare = append(b.spare, b.runs...)
	b.runs = b.runs[:0]
	clear(b.last)
	b.arena.reset()
	clear(b.out.Tables)
	b.out.Tables, b.out.Offsets = b.out.Tables[:0], b.out.Offsets[:0]
}

func (b *batch) empty() bool { return len(b.parts) == 0 }

// add takes the partition's next record. An error stops the sink; what only
// this record is guilty of becomes a fault.
func (b *batch) add(ctx context.Context, schemas SchemaSource, p *partition, r *kgo.Record) error {
	if b.empty() {
		b.start = time.Now()
	}
	if p.serial != b.serial {
		p.serial, p.slot = b.serial, len(b.parts)
		b.parts = append(b.parts, progress{part: p})
	}
	at := &b.parts[p.slot]
	at.next, at.time = r.Offset+1, r.Timestamp.UnixMilli()
	at.n++
	at.size += len(r.Key) + len(r.Value)
	b.rows++
	b.bytes += len(r.Key) + len(r.Value) + 64
	m := readMarks(r.Headers)
	pl, err := p.plan(ctx, schemas, r)
	if err == nil && pl.nothing {
		return nil
	}
	if err == nil {
		if m.op == replication.OpTruncate && (r.Value == nil || pl.envelope != nil) {
			b.truncate = &raw{part: p, plan: pl, rec: r}
			return nil
		}
		if p.topic.enveloped && r.Key == nil {
			if r.Value == nil {
				return nil // the tombstone of a row without a key, which its delete told already
			}
			if pl.envelope != nil && pl.truncates(r.Value[5:], &b.arena) {
				b.truncate = &raw{part: p, plan: pl, rec: r, foreign: true}
				return nil
			}
		}
		b.raw = append(b.raw, raw{part: p, plan: pl, rec: r})
		if err = b.decode(&b.raw[len(b.raw)-1], m); err == nil {
			return nil
		}
		b.raw = b.raw[:len(b.raw)-1]
	}
	if _, ok := errors.AsType[*recordError](err); !ok {
		return fmt.Errorf("topic %s: %w", r.Topic, err)
	}
	b.faults = append(b.faults, fault{r, newRecordError(pl, r, err)})
	return nil
}

func newRecordError(pl *plan, r *kgo.Record, err error) *RecordError {
	e := &RecordError{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Err: err, Key: "none"}
	switch _, body, splitErr := avro.SplitWire(r.Key); {
	case r.Key == nil:
	case splitErr == nil && pl != nil && pl.key != nil:
		e.Key = pl.key.Text(body)
	default:
		e.Key = fmt.Sprintf("%.64q", r.Key)
	}
	return e
}

// decode reads a record into its topic's run.
func (b *batch) decode(r *raw, m marks) error {
	t, pl := r.part.topic, r.plan
	tombstone := r.rec.Value == nil
	last := b.last[t]
	if tombstone && last != nil && last.plan.keyID == pl.keyID {
		pl = last.plan // any shape with this key will do, and this one needs no new run
	}
	n := len(pl.shape.Fields)
	values := b.arena.values(n)
	var keyBody, body []byte
	keyBody = r.rec.Key
	if pl.key != nil {
		keyBody = r.rec.Key[5:]
	}
	if !tombstone {
		body = r.rec.Value[5:]
	}
	op, err := pl.decode(keyBody, body, tombstone, m, values, &b.arena)
	if err != nil {
		b.arena.unget(n)
		return err
	}
	key := r.rec.Key
	apart := false
	switch {
	case len(pl.keyFields) == 0:
		key = nil // nothing identifies a row: every record is one
	case key == nil, t.cfg.Key != nil && !pl.spells(key, values, &b.arena):
		apart = key != nil && pl.key == nil
		start := len(b.arena.keys)
		b.arena.keys = pl.identity(b.arena.keys, values)
		key = b.arena.keys[start:len(b.arena.keys):len(b.arena.keys)]
	}
	row := Row{
		Delete: tombstone || op == opDelete,
		New:    !tombstone && m.unchanged == nil && (m.op == replication.OpRead || m.op == replication.OpInsert || op == opRead),
		Values: values,
		Origin: Origin{Topic: r.rec.Topic, Partition: r.rec.Partition, Offset: r.rec.Offset, Key: r.rec.Key},
	}
	if last == nil || last.plan.shape != pl.shape || last.apart && tombstone {
		last = b.newRun(t, pl)
	}
	last.apart = last.apart || apart
	last.add(key, row)
	return nil
}

func (b *batch) newRun(t *topic, pl *plan) *run {
	var r *run
	if n := len(b.spare); n > 0 {
		r, b.spare = b.spare[n-1], b.spare[:n-1]
	} else {
		r = new(run)
	}
	r.reset(pl)
	b.runs = append(b.runs, r)
	b.last[t] = r
	return r
}

// seal makes what the Writer gets. The partitions' applied offsets are the
// From; only the goroutine that applies may call it.
func (b *batch) seal() *Batch {
	b.out.Tables, b.out.Offsets = b.out.Tables[:0], b.out.Offsets[:0]
	for i := range b.parts {
		at := &b.parts[i]
		next := at.next
		if b.truncate != nil && b.truncate.part == at.part {
			next = b.truncate.rec.Offset // it moves its own offset
		}
		if next > at.part.applied {
			b.out.Offsets = append(b.out.Offsets, Offset{Topic: at.part.topic.cfg.Topic, TopicID: at.part.topicID, Partition: at.part.id, From: at.part.applied, Next: next})
		}
	}
	for _, r := range b.runs {
		if rows := r.finish(); len(rows) > 0 {
			b.out.Tables = append(b.out.Tables, Rows{Shape: r.plan.shape, Rows: rows})
		}
	}
	return &b.out
}

// without decodes the batch again, leaving out the records at those origins:
// what an earlier record of the same key said then comes to its right again.
func (b *batch) without(bad map[at]bool) error {
	b.resetRows()
	kept := b.raw[:0]
	for i := range b.raw {
		r := b.raw[i]
		if bad[at{r.rec.Topic, r.rec.Partition, r.rec.Offset}] {
			continue
		}
		kept = append(kept, r)
		if err := b.decode(&r, readMarks(r.rec.Headers)); err != nil {
			return fmt.Errorf("decode record %s[%d]@%d again: %w", r.rec.Topic, r.rec.Partition, r.rec.Offset, err)
		}
	}
	b.raw = kept
	return nil
}

// at is where a record is.
type at struct {
	topic     string
	partition int32
	offset    int64
}
