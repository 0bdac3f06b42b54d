// Package arena is the memory that sources fill: a Batch owns the bytes and
// the Values of its Changes, and a Pool lends batches, a bounded number at a
// time, and takes them back. In the steady state nothing is allocated a row.
package arena

import (
	"unsafe"

	"cdc/replication"
)

// The sizes of what an Arena grows by. Whatever would fill more than a quarter
// of a block gets memory of its own, which is not kept: one huge value must not
// stay in the pool for ever.
const (
	byteBlock  = 256 << 10 // bytes
	valueBlock = 4096      // replication.Values, 24 bytes each
	txBlock    = 64        // replication.Transactions, replication.Messages, replication.LogEvents
)

const (
	sizeofValue  = int(unsafe.Sizeof(replication.Value{}))
	sizeofChange = int(unsafe.Sizeof(replication.Change{}))
)

// Arena is the memory of one batch: bytes, values, transactions and messages.
// What it hands out never moves and lives until Reset. The zero Arena is ready
// for use. Not safe for concurrent use.
type Arena struct {
	bytes blocks[byte]
	vals  blocks[replication.Value]
	txs   blocks[replication.Transaction]
	msgs  blocks[replication.Message]
	logs  blocks[replication.LogEvent]

	// Scratch and Elems are for whoever converts a value at the moment: they
	// are grown, and what is to stay is copied out.
	Scratch []byte
	Elems   []replication.Value
}

// Alloc returns n bytes of undefined content.
func (a *Arena) Alloc(n int) []byte { return a.bytes.take(n, byteBlock) }

// Copy returns a copy of b.
func (a *Arena) Copy(b []byte) []byte {
	c := a.bytes.take(len(b), byteBlock)
	copy(c, b)
	return c
}

// Values returns n Values of undefined content: the caller sets each.
func (a *Arena) Values(n int) []replication.Value { return a.vals.take(n, valueBlock) }

// Transaction returns a zero Transaction.
func (a *Arena) Transaction() *replication.Transaction {
	t := &a.txs.take(1, txBlock)[0]
	*t = replication.Transaction{}
	return t
}

// Message returns a Message of undefined content.
func (a *Arena) Message() *replication.Message { return &a.msgs.take(1, txBlock)[0] }

// LogEvent returns a LogEvent of undefined content.
func (a *Arena) LogEvent() *replication.LogEvent { return &a.logs.take(1, txBlock)[0] }

// Used returns the number of bytes handed out.
func (a *Arena) Used() int { return a.bytes.used + a.vals.used*sizeofValue }

// Reset takes everything back. keep bounds the bytes that stay allocated.
func (a *Arena) Reset(keep int) {
	if a.bytes.large > 0 || a.vals.large > 0 {
		// Stale values would hold on to the large memory that is to go.
		a.vals.clear()
		a.msgs.clear()
		a.logs.clear()
		clear(a.Elems[:cap(a.Elems)])
		a.Elems = nil
	}
	if cap(a.Scratch) > byteBlock {
		a.Scratch = nil
	}
	a.bytes.reset(keep/byteBlock + 1)
	a.vals.reset(keep/(valueBlock*sizeofValue) + 1)
	a.txs.reset(keep/(txBlock*sizeofChange) + 1)
	a.msgs.reset(keep/(txBlock*sizeofChange) + 1)
	a.logs.reset(keep/(txBlock*sizeofChange) + 1)
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
