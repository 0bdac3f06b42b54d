package arena

import (
	"context"
	"sync"

	"cdc/replication"
)

// MaxBatches is how many batches of a source may be out at a time, the one
// being filled included. A consumer that keeps more than MaxBatches-1 of them
// blocks the source.
const MaxBatches = 16

// Batch is a replication.Batch with the memory it lives in. It belongs to the
// goroutine that fills it, then to whoever took it, until Release.
type Batch struct {
	replication.Batch
	Arena

	budget int // bytes
	free   bool
}

// Add appends c. wire is its size on the wire, in bytes.
func (b *Batch) Add(c replication.Change, wire int) {
	b.Changes = append(b.Changes, c)
	b.Bytes += wire
}

// Size returns about how much memory the batch's content takes, in bytes.
func (b *Batch) Size() int { return b.Used() + len(b.Changes)*sizeofChange }

// Full reports whether the batch has reached its budget.
func (b *Batch) Full() bool { return b.Size() >= b.budget }

// Empty takes the content back from a batch that nobody else has seen.
func (b *Batch) Empty() {
	if cap(b.Changes) > 2*b.budget/sizeofChange+1024 {
		b.Changes = nil
	}
	b.Batch = replication.Batch{Changes: b.Changes[:0], Free: b.Free}
	b.Arena.Reset(2 * b.budget)
}

func (b *Batch) base() *Batch { return b }

// Item is a source's own batch: a *T whose T embeds a Batch.
type Item[T any] interface {
	*T
	base() *Batch
	// Clear takes back what the source has added to the Batch.
	Clear()
}

// Pool lends batches, a bounded number at a time, and keeps their memory.
// Safe for concurrent use.
type Pool[T any, P Item[T]] struct {
	budget int           // of one batch, in bytes
	slots  chan struct{} // one token for every batch lent
	freed  chan struct{}

	mu   sync.Mutex
	idle []P
}

// NewPool returns a pool of at most limit batches that are full at budget
// bytes.
func NewPool[T any, P Item[T]](budget, limit int) *Pool[T, P] {
	return &Pool[T, P]{budget: budget, slots: make(chan struct{}, limit), freed: make(chan struct{}, 1)}
}

// Freed returns a channel that gets a token, if it has room, whenever a batch
// comes back.
func (p *Pool[T, P]) Freed() <-chan struct{} { return p.freed }

// TryGet returns an empty batch, or nil when too many are out.
func (p *Pool[T, P]) TryGet() P {
	select {
	case p.slots <- struct{}{}:
		return p.take()
	default:
		return nil
	}
}

// Get returns an empty batch, waiting for a Release while too many are out.
func (p *Pool[T, P]) Get(ctx context.Context) (P, error) {
	select {
	case p.slots <- struct{}{}:
		return p.take(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *Pool[T, P]) take() P {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		b := p.idle[n-1]
		p.idle = p.idle[:n-1]
		b.base().free = false
		return b
	}
	b := P(new(T))
	b.base().budget = p.budget
	b.base().Free = func(*replication.Batch) { p.put(b) }
	return b
}

func (p *Pool[T, P]) put(item P) {
	b := item.base()
	p.mu.Lock()
	if b.free { // released twice
		p.mu.Unlock()
		return
	}
	b.free = true
	b.Empty()
	item.Clear()
	p.idle = append(p.idle, item)
	p.mu.Unlock()
	<-p.slots
	select {
	case p.freed <- struct{}{}:
	default:
	}
}
