package mysql

import (
	"cdc/replication"
	"cdc/replication/arena"
)

// batch is a replication.Batch, with its memory, and what belongs to it here.
type batch struct {
	arena.Batch

	// bounded says that the batch holds a boundary between transactions, of which
	// the newest comes after whole Changes. Its Position is written when the batch
	// is taken.
	bounded bool
	whole   int
	// tx is the Transaction that was added last, txSerial its number in the
	// decoder's count.
	tx       *replication.Transaction
	txSerial uint64
}

// bound says that a boundary between transactions comes after all Changes.
func (b *batch) bound() { b.bounded, b.whole = true, len(b.Changes) }

// Clear implements arena.Item.
func (b *batch) Clear() {
	b.bounded, b.whole = false, 0
	b.tx, b.txSerial = nil, 0
}

type batchPool = arena.Pool[batch, *batch]

func newBatchPool(budget, limit int) *batchPool { return arena.NewPool[batch](budget, limit) }
