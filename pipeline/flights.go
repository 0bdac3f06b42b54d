package pipeline

import (
	"context"
	"slices"
	"sync"
	"unsafe"

	"cdc/mapping"
	"cdc/replication"
)

// flight is one batch on its way through the producer, and what is counted when
// it lands. It is recycled, so that the steady state allocates nothing.
type flight struct {
	records mapping.Records
	number  uint64 // in the tracker
	rows    int    // records in it
	cost    int    // bytes charged to the budget
	err     error  // written by done before the flight is handed to landed
	tallies []tally
	commits []int64 // commit time of each transaction, µs since 1970; none of a snapshot's
	outbox  int64   // commit time of the first message of an outbox, 0 without one
	done    func(error)
	spare   int // how many times in a row little of the memory was used
}

// footprint is the memory that the flight holds on to, in bytes. The budget is
// charged by it and not by the bytes in use, since that is what bounds memory.
func (f *flight) footprint() int {
	return cap(f.records.Buf) +
		cap(f.records.List)*int(unsafe.Sizeof(mapping.Record{})) +
		cap(f.records.Headers)*int(unsafe.Sizeof(mapping.Header{})) +
		cap(f.records.Routings)*int(unsafe.Sizeof(mapping.Routing{}))
}

// flights is the account of what the producer has and the broker has not
// acknowledged. One lock guards it; nobody blocks while holding it.
type flights struct {
	limit int           // bytes
	room  chan struct{} // holds one token after bytes have been given back
	wake  chan struct{} // holds one token after a flight has landed, or after close

	mu      sync.Mutex
	tracker tracker
	landed  []*flight      // settled by the producer, not yet taken
	free    []*flight      // last in, first out: what is warm is used again
	outbox  []outboxFlight // flights with messages of outboxes that the tracker has not passed, in order
	aloft   int            // flights handed to the producer and not settled
	records int
	bytes   int
	closed  bool // nothing more takes off
}

func newFlights(limit int) *flights {
	return &flights{limit: limit, room: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
}

// waitForRoom blocks while the budget is used up.
func (fs *flights) waitForRoom(ctx context.Context) error {
	for {
		fs.mu.Lock()
		free := fs.bytes < fs.limit
		fs.mu.Unlock()
		if free {
			return nil
		}
		select {
		case <-fs.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// get returns an empty flight.
func (fs *flights) get() *flight {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if n := len(fs.free); n > 0 {
		f := fs.free[n-1]
		fs.free = fs.free[:n-1]
		return f
	}
	f := new(flight)
	f.done = func(err error) { fs.land(f, err) } // once a flight, not once a batch
	return f
}

// takeOff enters f in source order. f.done must be called exactly once after it.
func (fs *flights) takeOff(f *flight, position replication.Position) {
	var commit int64
	if len(f.commits) > 0 {
		commit = f.commits[0]
	}
	f.cost, f.rows = f.footprint(), len(f.records.List)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.number = fs.tracker.add(position, commit)
	if f.outbox != 0 {
		fs.outbox = append(fs.outbox, outboxFlight{f.number, f.outbox})
	}
	fs.aloft++
	fs.records += f.rows
	fs.bytes += f.cost
}

// land runs on the producer's goroutine: it only leaves a note.
func (fs *flights) land(f *flight, err error) {
	f.err = err
	fs.mu.Lock()
	fs.landed = append(fs.landed, f)
	fs.mu.Unlock()
	signal(fs.wake)
}

// close says that nothing more takes off.
func (fs *flights) close() {
	fs.mu.Lock()
	fs.closed = true
	fs.mu.Unlock()
	signal(fs.wake)
}

// take swaps the flights that have landed for the empty list into, and says
// whether they are the last ones.
func (fs *flights) take(into []*flight) (landed []*flight, last bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	landed, fs.landed = fs.landed, into[:0]
	return landed, fs.closed && len(landed) == fs.aloft
}

// settle gives back what the landed flights held and returns the newest position
// that became safe by them.
func (fs *flights) settle(landed []*flight) (safe replication.Position) {
	for _, f := range landed {
		f.recycle() // takes its time, so not under the lock
	}
	fs.mu.Lock()
	for _, f := range landed {
		s := acked
		if f.err != nil {
			s = failed
		}
		fs.tracker.settle(f.number, s)
		fs.aloft--
		fs.records -= f.rows
		fs.bytes -= f.cost
		fs.free = append(fs.free, f)
	}
	safe = fs.tracker.pass()
	passed := 0
	for passed < len(fs.outbox) && fs.outbox[passed].number < fs.tracker.head {
		passed++
	}
	fs.outbox = slices.Delete(fs.outbox, 0, passed)
	fs.mu.Unlock()
	signal(fs.room)
	return safe
}

// recycle empties the flight, all but err, which the next landing overwrites. Memory that has been far too large several times
// in a row, as after a burst, is let go.
func (f *flight) recycle() {
	const uses, share = 8, 8
	if len(f.records.List) < cap(f.records.List)/share && len(f.records.Buf) < cap(f.records.Buf)/share {
		f.spare++
	} else {
		f.spare = 0
	}
	if f.spare >= uses {
		f.spare = 0
		f.records = mapping.Records{}
	}
	f.records.Reset()
	f.tallies, f.commits, f.outbox = f.tallies[:0], f.commits[:0], 0
}

// outboxFlight is a flight with messages of outboxes, and the commit time of its
// first one, µs since 1970.
type outboxFlight struct {
	number uint64
	commit int64
}

// oldestOutbox is the commit time of the first message of an outbox that is not
// acknowledged, µs since 1970; 0 when there is none.
func (fs *flights) oldestOutbox() int64 {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if len(fs.outbox) == 0 {
		return 0
	}
	return fs.outbox[0].commit
}

// load is how much is in flight.
type load struct {
	flights, records, bytes int
	oldest                  int64 // commit time of the first change not acknowledged, µs; 0 for none
}

func (fs *flights) load() load {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return load{fs.aloft, fs.records, fs.bytes, fs.tracker.oldest()}
}

// signal leaves a token in c unless one is there already.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
