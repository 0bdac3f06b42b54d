// Package mapping turns changes of rows into records: it routes them to topics,
// makes keys, chooses and names columns, and encodes by plans compiled once per
// version of a table. A Mapper is one format; the package's own are made by New.
package mapping

import (
	"context"

	"cdc/replication"
)

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// The headers of every record. Values are UTF-8 text.
const (
	HeaderOp         = "cdc.op"          // replication.Op's name: read, insert, update, delete, truncate, message
	HeaderPosition   = "cdc.position"    // commit position ':' index of the change in its transaction: 16/B374D848:3
	HeaderTx         = "cdc.tx"          // transaction id; absent on rows of a snapshot
	HeaderCommitTime = "cdc.commit_time" // microseconds since 1970-01-01 UTC, decimal
	// HeaderUnchanged lists, separated by commas, the fields of the value whose
	// content the log left out and nobody could supply: they hold null, or the
	// type's zero where the column is NOT NULL, and must not be written over
	// real data. Absent when there is none.
	HeaderUnchanged = "cdc.unchanged"
	// HeaderRefetched lists, separated by commas, the fields of the value that
	// the log left out and that were read from the table again.
	HeaderRefetched = "cdc.refetched"
)

// Record is one record on its way to a topic. Everything in it is borrowed from
// its Records.
type Record struct {
	Topic string
	// AllPartitions sends a copy to every partition of the topic, as a truncate
	// needs. Otherwise the partition follows from Key as in Java's default
	// partitioner (murmur2), and is any when Key is nil.
	AllPartitions bool
	Key, Value    []byte // nil is null; a nil Value with a Key is a tombstone
	Headers       []Header
	Time          int64 // the record's timestamp: commit time, microseconds since 1970-01-01 UTC
	Op            replication.Op
	// Table is what the record came from. It is never nil: for a message of the
	// log it stands in for a table, see package outbox/route.
	Table *replication.Table
	// Routing is what only a message of an outbox has; nil for rows.
	Routing *Routing
	// Describe renders Key for messages to people. Set by the mapper, never nil.
	Describe func(key []byte) string
}

// Routing is what a message of an outbox knows about its publication, beside
// its record.
type Routing struct {
	// ID names the message for people: its outbox id as text.
	ID        []byte
	Partition Partition
	// Commit is the commit time where Record.Time is another one, in
	// microseconds since 1970-01-01 UTC.
	Commit int64
	// OnError is what becomes of a message that is too large for its topic: one
	// of the OnError constants; "" leaves it to the producer.
	OnError string
}

// What becomes of a row, or of a message of an outbox, that cannot be published.
const (
	OnErrorStop       = "stop"        // the run ends with an error that names it
	OnErrorDeadLetter = "dead-letter" // it goes whole to the dead letters
	OnErrorSkip       = "skip"        // it is counted, logged and left out
)

// Records is the run of records that one Batch became, and the memory they
// live in: Buf holds keys, values and header values, Headers the headers,
// Routings what the records point to. It belongs to whoever got it from Map until they hand it on; the last owner
// resets it for the next Map.
type Records struct {
	List     []Record
	Headers  []Header
	Routings []Routing
	Buf      []byte
}

// Reset forgets the records and keeps the memory.
func (r *Records) Reset() {
	clear(r.List)
	r.List, r.Headers, r.Routings, r.Buf = r.List[:0], r.Headers[:0], r.Routings[:0], r.Buf[:0]
}

// Mark is how far Records are.
type Mark struct{ list, headers, routings, buf int }

// Mark returns how far r is.
func (r *Records) Mark() Mark {
	return Mark{len(r.List), len(r.Headers), len(r.Routings), len(r.Buf)}
}

// Cut forgets what came after m.
func (r *Records) Cut(m Mark) {
	clear(r.List[m.list:])
	r.List, r.Headers, r.Routings, r.Buf = r.List[:m.list], r.Headers[:m.headers], r.Routings[:m.routings], r.Buf[:m.buf]
}

// Bytes is the sum of the sizes of all keys and values, in bytes.
func (r *Records) Bytes() (n int) {
	for i := range r.List {
		n += len(r.List[i].Key) + len(r.List[i].Value)
	}
	return n
}

// Mapper turns a Batch into records.
type Mapper interface {
	// Map appends the records of b's changes to out, in order, and borrows
	// nothing from b. A *RowError says that one change has no record; out then
	// holds the records of the changes before it, and Map may be called again
	// with the changes after it. Any other error concerns no single row: a
	// *replication.Refusal (the registry rejects the schema), or ctx's.
	// Transient troubles of the registry it waits out, with backoff.
	Map(ctx context.Context, b *replication.Batch, out *Records) error
}
