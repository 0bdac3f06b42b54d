package sink

import (
	"context"

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
	ss.awaitSettled(ctx, offsetsKeys(offsets))
	ss.writing.Lock()
	have, err := ss.w.Offsets(ctx, ss.cfg.Group, topics)
	ss.writing.Unlock()
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
			ss.topics[name] = t
		}
		if ss.parts[name] == nil {
			ss.parts[name] = map[int32]*partition{}
		}
		for id := range parts {
			p := &partition{topic: t, id: id, applied: -1}
			start := kgo.NewOffset().AtStart()
			if next, ok := have[name][id]; ok {
				p.applied = next
				start = kgo.NewOffset().At(next).WithEpoch(-1)
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
				ss.metrics.forget(t, id)
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

// measure publishes the lag; the caller holds mu.
func (ss *session) measure() {
	var sum int64
	for name, parts := range ss.parts {
		for id, p := range parts {
			lag := p.lag()
			ss.metrics.setLag(name, id, lag)
			sum += lag
		}
	}
	ss.health.lag.Store(sum)
}
