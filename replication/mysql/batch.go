package mysql

import (
	"context"
	"sync"
	"unsafe"

	"cdc/replication"
)

// The sizes of what an arena grows by. Whatever would fill more than a quarter
// of a block gets memory of its own, which is not kept: one huge value must not
// stay in the pool for ever.
const (
	byteBlock  = 256 << 10 // bytes
	valueBlock = 4096      // replication.Values, 24 bytes each
	txBlock    = 64        // replication.Transactions
)

const (
	sizeofValue  = int(unsafe.Sizeof(replication.Value{}))
	sizeofChange = int(unsafe.Sizeof(replication.Change{}))
)

// arena is the memory of one batch: bytes, values and transactions. What it
// hands out never moves and lives until reset. Not safe for concurrent use.
type arena struct {
	bytes blocks[byte]
	vals  blocks[replication.Value]
	txs   blocks[replication.Transaction]

	scratch []byte // of converters: grown, then copied out
}

// alloc returns n bytes of undefined content.
func (a *arena) alloc(n int) []byte { return a.bytes.take(n, byteBlock) }

// copy returns a copy of b.
func (a *arena) copy(b []byte) []byte {
	c := a.alloc(len(b))
	copy(c, b)
	return c
}

// values returns n Values of undefined content: the caller sets each.
func (a *arena) values(n int) []replication.Value { return a.vals.take(n, valueBlock) }

// transaction returns a zero Transaction.
func (a *arena) transaction() *replication.Transaction {
	t := &a.txs.take(1, txBlock)[0]
	*t = replication.Transaction{}
	return t
}

// used returns the number of bytes handed out.
func (a *arena) used() int { return a.bytes.used + a.vals.used*sizeofValue }

// reset takes everything back. keep bounds the bytes that stay allocated.
func (a *arena) reset(keep int) {
	if a.bytes.large > 0 || a.vals.large > 0 {
		a.vals.clear() // stale values would hold on to the large memory that is to go
	}
	if cap(a.scratch) > byteBlock {
		a.scratch = nil
	}
	a.bytes.reset(keep/byteBlock + 1)
	a.vals.reset(keep/(valueBlock*sizeofValue) + 1)
	a.txs.reset(keep/(txBlock*sizeofChange) + 1)
}

// blocks hands out runs of T from equal blocks.
type blocks[T any] struct {
	all   [][]T
	cur   []T // what is left of all[next-1]
	next  int
	used  int // elements handed out
	large int // of these, in memory of their own
}

func (s *blocks[T]) take(n, block int) []T {
	s.used += n
	if n <= len(s.cur) {
		t := s.cur[:n:n]
		s.cur = s.cur[n:]
		return t
	}
	if n > block/4 {
		s.large += n
		return make([]T, n)
	}
	if s.next == len(s.all) {
		s.all = append(s.all, make([]T, block))
	}
	b := s.all[s.next]
	s.next++
	s.cur = b[n:]
	return b[:n:n]
}

func (s *blocks[T]) clear() {
	for _, b := range s.all[:s.next] {
		clear(b)
	}
}

func (s *blocks[T]) reset(keep int) {
	if len(s.all) > keep {
		clear(s.all[keep:])
		s.all = s.all[:keep]
	}
	s.cur, s.next, s.used, s.large = nil, 0, 0, 0
}

// batch is a replication.Batch with the memory it lives in. It belongs to the
// goroutine that fills it, then to whoever took it, until Release.
type batch struct {
	replication.Batch
	arena

	// bounded says that the batch holds a boundary between transactions, of which
	// the newest comes after whole Changes. Its Position is written when the batch
	// is taken.
	bounded bool
	whole   int
	// tx is the Transaction that was added last, txSerial its number in the
	// decoder's count.
	tx       *replication.Transaction
	txSerial uint64

	pool *batchPool
	free bool
}

// add appends c. wire is its size on the wire, in bytes.
func (b *batch) add(c replication.Change, wire int) {
	b.Changes = append(b.Changes, c)
	b.Bytes += wire
}

// bound says that a boundary between transactions comes after all Changes.
func (b *batch) bound() { b.bounded, b.whole = true, len(b.Changes) }

// size returns about how much memory the batch's content takes, in bytes.
func (b *batch) size() int { return b.arena.used() + len(b.Changes)*sizeofChange }

// full reports whether the batch has reached its budget.
func (b *batch) full() bool { return b.size() >= b.pool.budget }

// batchPool lends batches, a bounded number at a time, and keeps their memory.
// Safe for concurrent use.
type batchPool struct {
	budget int           // of one batch, in bytes
	slots  chan struct{} // one token for every batch lent
	// freed gets a token, if it has room, whenever a batch comes back.
	freed chan struct{}

	mu   sync.Mutex
	idle []*batch
}

// maxBatches is how many batches may be out at a time, the one being filled
// included. A consumer that keeps more than maxBatches-1 of them blocks the
// source.
const maxBatches = 16

func newBatchPool(budget, limit int) *batchPool {
	return &batchPool{budget: budget, slots: make(chan struct{}, limit), freed: make(chan struct{}, 1)}
}

// tryGet returns an empty batch, or nil when too many are out.
func (p *batchPool) tryGet() *batch {
	select {
	case p.slots <- struct{}{}:
		return p.take()
	default:
		return nil
	}
}

// get returns an empty batch, waiting for a Release while too many are out.
func (p *batchPool) get(ctx context.Context) (*batch, error) {
	select {
	case p.slots <- struct{}{}:
		return p.take(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *batchPool) take() *batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		b := p.idle[n-1]
		p.idle = p.idle[:n-1]
		b.free = false
		return b
	}
	b := &batch{pool: p}
	b.Free = func(*replication.Batch) { p.put(b) }
	return b
}

func (p *batchPool) put(b *batch) {
	p.mu.Lock()
	if b.free { // released twice
		p.mu.Unlock()
		return
	}
	b.free = true
	if cap(b.Changes) > 2*p.budget/sizeofChange+1024 {
		b.Changes = nil
	}
	b.Changes = b.Changes[:0]
	b.Position, b.Open, b.Bytes, b.bounded, b.whole = "", false, 0, false, 0
	b.tx, b.txSerial = nil, 0
	b.arena.reset(2 * p.budget)
	p.idle = append(p.idle, b)
	p.mu.Unlock()
	<-p.slots
	select {
	case p.freed <- struct{}{}:
	default:
	}
}
