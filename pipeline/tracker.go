package pipeline

import "cdc/replication"

// state is what has become of a batch.
type state uint8

const (
	open   state = iota // handed to the producer, not settled
	acked               // the broker has every record of it
	failed              // the broker will never have all of it
)

// entry is one batch in source order.
type entry struct {
	state    state
	position replication.Position // "" when no position lies at its end
	commit   int64                // commit time of its first change, µs since 1970; 0 for none
}

// tracker knows the newest position with nothing unsettled before it. It is a
// pure core: no clock, no I/O, no lock; whoever uses it from several goroutines
// locks around it.
//
// It holds a ring of batches in source order. Invariants: the batches numbered
// [head, tail) are held; every batch before head is acked; the batch at head,
// if there is one, is open or failed once passed has been called. A failed
// batch is never passed, so that no position after it is ever safe.
type tracker struct {
	ring       []entry // length 0 or a power of two; batch n lives at n & (len-1)
	head, tail uint64
}

// add takes the next batch in source order and returns its number. position is
// the newest boundary between transactions in it, "" if it has none; commit is
// the commit time of its first change, 0 if that has none.
func (t *tracker) add(position replication.Position, commit int64) uint64 {
	if int(t.tail-t.head) == len(t.ring) {
		t.grow()
	}
	n := t.tail
	t.ring[n&uint64(len(t.ring)-1)] = entry{position: position, commit: commit}
	t.tail++
	return n
}

// settle says what became of batch n, which add returned and which has not been
// settled before.
func (t *tracker) settle(n uint64, s state) {
	t.ring[n&uint64(len(t.ring)-1)].state = s
}

// pass moves over the batches that are acked and have nothing open before them.
// It returns the newest position among them, "" when it passed none.
func (t *tracker) pass() (newest replication.Position) {
	for t.head < t.tail {
		e := &t.ring[t.head&uint64(len(t.ring)-1)]
		if e.state != acked {
			break
		}
		if e.position != "" {
			newest = e.position
		}
		*e = entry{}
		t.head++
	}
	return newest
}

// oldest is the commit time of the first batch that has not been passed, 0 when
// there is none or it has none.
func (t *tracker) oldest() int64 {
	if t.head == t.tail {
		return 0
	}
	return t.ring[t.head&uint64(len(t.ring)-1)].commit
}

// held is the number of batches that have not been passed.
func (t *tracker) held() int { return int(t.tail - t.head) }

func (t *tracker) grow() {
	ring := make([]entry, max(16, 2*len(t.ring)))
	for n := t.head; n < t.tail; n++ {
		ring[n&uint64(len(ring)-1)] = t.ring[n&uint64(len(t.ring)-1)]
	}
	t.ring = ring
}
