package producer

import (
	"context"
	"sync"
)

// buffer bounds the bytes handed to kgo and not yet acknowledged. It stands in
// for kgo's own MaxBufferedBytes because that waits record by record, with a
// goroutine each, and gives a record's context to its batch: the end of a
// caller's context would fail records already under way.
type buffer struct {
	mu   sync.Mutex
	used int
	max  int
	room chan struct{} // signals a release; capacity 1; one waiter at a time
}

func (b *buffer) init(limit int) { b.max, b.room = limit, make(chan struct{}, 1) }

// try takes n bytes if they fit, or if nothing else is held.
func (b *buffer) try(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used != 0 && b.used+n > b.max {
		return false
	}
	b.used += n
	return true
}

// acquire takes n bytes, waiting until they fit or nothing else is held.
func (b *buffer) acquire(ctx context.Context, n int, closed <-chan struct{}) error {
	for !b.try(n) {
		select {
		case <-b.room:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-closed:
			return errClosed
		}
	}
	return nil
}

func (b *buffer) release(n int) {
	b.mu.Lock()
	b.used -= n
	b.mu.Unlock()
	select {
	case b.room <- struct{}{}:
	default:
	}
}

func (b *buffer) bytes() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}
