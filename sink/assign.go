package sink

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// assign is called for partitions that come to this member. Where to start is
// what the target's database says; what the group committed is for lag tools.
func (ss *session) assign(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	topics := make([]string, 0, len(offsets))
	for t := range offsets {
		topics = append(topics, t)
	}
	if len(topics) == 0 {
		return offsets, nil
	}
	select {
	case <-ss.made:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ss.awaitSettled(ctx, offsetsKeys(offsets))
	have, ids, err := ss.offsets(ctx, topics)
	if err != nil {
		if ctx.Err() == nil {
			ss.fail(err)
		}
		return nil, err
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for name, parts := range offsets {
		t := ss.topics[name]
		if t == nil {
			t = newTopic(ss.cfg.table(name))
			if !ss.cfg.names(name) {
				t.leaveOut = func(schema string) {
					ss.log.Warn("the topic holds no rows and is left out: name it in the sink's topics if it shall go to a table", "topic", name, "schema", schema)
				}
			}
			ss.topics[name] = t
		}
		if ss.parts[name] == nil {
			ss.parts[name] = map[int32]*partition{}
		}
		for id, committed := range parts {
			p := &partition{topic: t, topicID: ids[name], id: id, applied: -1}
			start := kgo.NewOffset().AtStart()
			if next, ok := have[name][id]; ok {
				p.applied = next
				start = kgo.NewOffset().At(next).WithEpoch(-1)
			} else if at := committed.EpochOffset().Offset; at > 0 {
				ss.log.Warn("the group has read this partition before, but not into this target: reading it from its start. "+
					"Should another sink of this group write to another database, give one of the two another group, since they take each other's partitions",
					"topic", name, "partition", id, "group", ss.cfg.Group, "committed", at)
			}
			p.done.Store(p.applied)
			if old := ss.parts[name][id]; old != nil {
				old.revoked.Store(true)
			} else {
				ss.health.assigned.Add(1)
			}
			ss.parts[name][id] = p
			parts[id] = start
			ss.log.Info("partition assigned", "topic", name, "partition", id, "next_offset", p.applied)
		}
	}
	ss.health.ready.Store(true)
	ss.health.touch()
	return offsets, nil
}

// offsets returns what the target holds of those topics, and their ids.
func (ss *session) offsets(ctx context.Context, topics []string) (have map[string]map[int32]int64, ids map[string]string, err error) {
	details, err := ss.describe(ctx, topics)
	if err != nil {
		return nil, nil, err
	}
	ss.writing.Lock()
	defer ss.writing.Unlock()
	had, err := ss.w.TopicIDs(ctx, ss.cfg.Group, topics)
	if err != nil {
		return nil, nil, err
	}
	if ids, err = ss.identify(details, topics, had); err != nil {
		return nil, nil, err
	}
	have, err = ss.w.Offsets(ctx, ss.cfg.Group, topics)
	return have, ids, err
}

func offsetsKeys(m map[string]map[int32]kgo.Offset) map[string][]int32 {
	keys := make(map[string][]int32, len(m))
	for t, parts := range m {
		for p := range parts {
			keys[t] = append(keys[t], p)
		}
	}
	return keys
}

// revoke ends taking records of partitions that leave this member, and when
// there is time, waits for those in hand to be applied. Should the time not
// suffice the row in the offsets table decides who of the two members applies
// them: it is a matter of speed, not of correctness.
func (ss *session) revoke(ctx context.Context, parts map[string][]int32, wait bool) {
	ss.mu.Lock()
	for t, ids := range parts {
		for _, id := range ids {
			if p := ss.parts[t][id]; p != nil {
				p.revoked.Store(true)
			}
		}
	}
	ss.mu.Unlock()
	if wait {
		ss.awaitSettled(ctx, parts)
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for t, ids := range parts {
		for _, id := range ids {
			if ss.parts[t][id] != nil {
				delete(ss.parts[t], id)
				ss.health.assigned.Add(-1)
				ss.metrics.forget(t, id, len(ss.parts[t]) == 0)
				ss.log.Info("partition revoked", "topic", t, "partition", id)
			}
		}
	}
}

// awaitSettled waits until no batch in hand holds records of those partitions.
func (ss *session) awaitSettled(ctx context.Context, parts map[string][]int32) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for {
		ss.mu.Lock()
		pending := 0
		for t, ids := range parts {
			for _, id := range ids {
				if p := ss.parts[t][id]; p != nil {
					pending += p.pending
				}
			}
		}
		settled := ss.settled
		ss.mu.Unlock()
		if pending == 0 {
			return
		}
		select {
		case <-settled:
		case <-ctx.Done():
			return
		}
	}
}

// settle says that a batch is out of our hands, and gives its memory back.
func (ss *session) settle(b *batch) {
	ss.mu.Lock()
	for _, at := range b.parts {
		at.part.pending--
	}
	close(ss.settled)
	ss.settled = make(chan struct{})
	ss.measure()
	ss.mu.Unlock()
	ss.health.inFlight.Add(-int64(b.counted))
	ss.metrics.inFlight.Sub(float64(b.counted))
	b.reset()
	ss.free <- b
}

// measureEvery is how often the lag is measured beside every poll and batch.
var measureEvery = 5 * time.Second // shorter in tests

// watchLag keeps the lag true while the target does not answer: then nothing is
// fetched that would tell where the partitions end.
func (ss *session) watchLag(ctx context.Context) {
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, generation := ss.cl.GroupMetadata(); generation > 0 && ss.health.assigned.Load() == 0 {
			ss.health.ready.Store(true) // a member to spare: ready to take over
		}
		if ss.health.inFlight.Load() > 0 {
			ss.findEnds(ctx)
		}
		ss.mu.Lock()
		ss.measure()
		ss.mu.Unlock()
	}
}

// findEnds asks where the assigned partitions end. A failure leaves the lag as
// it was: the poller's own errors tell.
func (ss *session) findEnds(ctx context.Context) {
	ss.mu.Lock()
	var topics []string
	for name, parts := range ss.parts {
		if len(parts) > 0 {
			topics = append(topics, name)
		}
	}
	ss.mu.Unlock()
	if len(topics) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ends, err := kadm.NewClient(ss.cl).ListEndOffsets(ctx, topics...)
	if err != nil {
		return
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ends.Each(func(o kadm.ListedOffset) {
		if p := ss.parts[o.Topic][o.Partition]; p != nil && o.Err == nil && o.Offset > p.end.Load() {
			p.end.Store(o.Offset)
		}
	})
}

// measure publishes the lag; the caller holds mu.
func (ss *session) measure() {
	var sum int64
	now := time.Now()
	for name, parts := range ss.parts {
		delay := 0.0
		for id, p := range parts {
			lag := p.lag()
			ss.metrics.setLag(name, id, lag)
			sum += lag
			if at := p.time.Load(); lag > 0 && at > 0 {
				delay = max(delay, now.Sub(time.UnixMilli(at)).Seconds())
			}
		}
		if len(parts) > 0 {
			ss.metrics.delay.WithLabelValues(name).Set(delay)
		}
	}
	ss.health.lag.Store(sum)
}
