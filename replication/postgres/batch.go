package postgres

import (
	"github.com/jackc/pglogrepl"

	"cdc/replication"
	"cdc/replication/arena"
)

// batch is a replication.Batch, with its memory, and what belongs to it here.
type batch struct {
	arena.Batch

	// end is the newest boundary between transactions in the batch; 0 when it
	// holds none. Position is its text. whole is how many of the Changes come
	// before it.
	end   pglogrepl.LSN
	whole int
	// incomplete lists the Changes whose After has an Unchanged value that is to
	// be read from the table again.
	incomplete []hole

	// What the decoder keeps beside: the Transaction it added last, with its
	// commit record, and whether the row at hand has an Unchanged value.
	tx       *replication.Transaction
	txCommit pglogrepl.LSN
	hole     bool
}

// hole is a Change that lacks values.
type hole struct {
	at    int32 // its index
	whose *origin
}

// bound says that lsn is a boundary between transactions, after all Changes.
func (b *batch) bound(lsn pglogrepl.LSN) { b.end, b.whole = lsn, len(b.Changes) }

// Clear implements arena.Item.
func (b *batch) Clear() {
	b.end, b.whole, b.incomplete = 0, 0, b.incomplete[:0]
	b.tx, b.txCommit, b.hole = nil, 0, false
}

type batchPool = arena.Pool[batch, *batch]

func newBatchPool(budget, limit int) *batchPool { return arena.NewPool[batch](budget, limit) }
