// Package replication is the dictionary of this program: the few nouns that
// every other package speaks. A Source reads a database's log and hands out
// Batches of Changes to rows of Tables, whose cells are Values; a Position
// says how far one has come.
//
// It imports the standard library only. The sources live below it, one package
// a database family.
package replication

import (
	"context"
	"errors"
)

// Position is a place in a source's log from which it can resume, always a
// boundary between transactions. It is opaque text: only the kind of source
// that minted it can read it, and nothing else compares two of them. The empty
// Position is none.
type Position string

// Op is what happened to a row.
type Op uint8

// The operations.
const (
	OpRead     Op = iota + 1 // a row as the snapshot saw it
	OpInsert                 // a new row
	OpUpdate                 // a changed row
	OpDelete                 // a row that is gone
	OpTruncate               // all rows of the table are gone
	OpMessage                // a message that an application wrote into the log; no row
)

var opNames = [...]string{"", "read", "insert", "update", "delete", "truncate", "message"}

// String returns the operation's name as it stands in record headers: read,
// insert, update, delete, truncate, message.
func (o Op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return "op?"
}

// Transaction is what the changes of one transaction share. The slices are
// borrowed from the Batch.
type Transaction struct {
	// ID is the transaction's id as text: a PostgreSQL xid, a GTID. Empty for
	// rows of a snapshot.
	ID []byte
	// Commit is the position of the commit as text for people, equal for all
	// changes of the transaction: a PostgreSQL LSN ("16/B374D848"), for rows of
	// a snapshot the snapshot's. It is no Position to resume from.
	Commit []byte
	// CommitTime is the source's clock at commit, in microseconds since
	// 1970-01-01 UTC; for rows of a snapshot the time at which it was taken.
	CommitTime int64
}

// Message is what an application wrote into the log beside its rows:
// PostgreSQL's pg_logical_emit_message. Borrowed from the Batch.
type Message struct {
	Prefix        []byte
	Content       []byte
	Transactional bool // it is part of Change.Tx, which has committed
}

// Change is one change to one row, a truncate of one table, or a message.
type Change struct {
	Op    Op
	Table *Table // nil for a message
	// Message is set for OpMessage only. A source hands out only messages that
	// it was asked for.
	Message *Message
	// Before is the row before, After the row after the change; each is nil or
	// as long as Table.Columns, and borrowed from the Batch.
	//
	//	read, insert   After
	//	update         After; Before when the key changed or the source logs it
	//	delete         Before
	//	truncate       neither
	//
	// In Before a column outside the replica identity is Unchanged.
	Before, After []Value
	// Tx is never nil. A message outside any transaction has one of its own,
	// without an ID, whose Commit is the message's position.
	Tx *Transaction
	// Index numbers the changes of one transaction from 0 in the order they
	// happened. (Tx.Commit, Index) names a change for good.
	Index uint64
	// Refetched lists the indexes into Table.Columns of values in After that
	// the log left out and that were read from the table again: they are the
	// row's values at the time of that reading. Borrowed from the Batch.
	Refetched []int32
	// Log is where the change stands in a binary log; nil of a source that has
	// none, or was not asked to tell.
	Log *LogEvent
}

// LogEvent is the event of a binary log that changes stand in, for records that
// say so. Borrowed from the Batch.
type LogEvent struct {
	File   []byte // the log's name
	Offset uint64 // where in it the event begins
	// First is the Change.Index of its first row.
	First uint64
	// Time is when its statement began, microseconds since 1970-01-01 UTC, in
	// whole seconds. 0 for rows of a snapshot.
	Time   int64
	Server uint32 // the id of the server that wrote it; 0 for rows of a snapshot
	// GTID says that Tx.ID is a global one.
	GTID   bool
	Thread int64 // the session on that server, -1 when the log does not tell
}

// Batch is a run of changes in commit order, and the memory they live in. It
// belongs to whoever got it from Next, until Release.
type Batch struct {
	Changes []Change
	// Position is the newest boundary between transactions in this Batch: once
	// all changes of this and every earlier Batch are safe, reading may resume
	// there. It is empty when the Batch holds none, as inside a transaction
	// larger than a Batch, or in the middle of a snapshot. A Batch without
	// changes serves to carry a Position.
	Position Position
	// Open says that the transaction of the last change goes on in a later Batch.
	// Where it is not set, the transactions of all changes so far are over.
	Open bool
	// Bytes is the approximate size of the changes on the wire, in bytes.
	Bytes int
	// Free takes the Batch's memory back; set by the source, called by Release.
	Free func(*Batch)
}

// Release gives the Batch's memory back to its source. Neither it nor anything
// borrowed from it may be touched afterwards.
func (b *Batch) Release() {
	if b.Free != nil {
		b.Free(b)
	}
}

// Source reads one database's log. One goroutine at a time calls Next; Ack may
// be called from another one.
type Source interface {
	// Next blocks for the first change, then takes what has already arrived, up
	// to a budget in bytes, and returns without waiting for more. Transient
	// troubles (a restart of the server, a cut connection) it mends itself,
	// with backoff. It returns ctx's error when ctx ends, and any other error
	// only when going on would need a person: a *Refusal when the message says
	// what to do, else the cause. After an error other than ctx's the source is
	// done for.
	Next(ctx context.Context) (*Batch, error)
	// Ack says that every change up to p, a Position that came in a Batch, is
	// safe and p itself is saved, so that the database may forget the log before
	// it. It does not block.
	Ack(p Position)
	// Close ends reading, tells the server the last Ack, and waits for what the
	// source started, no longer than ctx allows. A second call does nothing.
	Close(ctx context.Context) error
}

// Refusal is an error that a person must mend, and says how: wal_level is not
// logical, a privilege is missing, the slot is lost. It is permanent: trying
// again without a change changes nothing.
type Refusal struct {
	Problem string // what is wrong and where: "slot \"cdc\" is lost: …"
	Remedy  string // the statement or the step that mends it
	Err     error  // the cause, if there is one
}

func (r *Refusal) Error() string {
	s := r.Problem
	if r.Err != nil {
		s += ": " + r.Err.Error()
	}
	if r.Remedy != "" {
		s += "\n  to mend it: " + r.Remedy
	}
	return s
}

func (r *Refusal) Unwrap() error { return r.Err }

// IsRefusal reports whether err is or wraps a *Refusal.
func IsRefusal(err error) bool {
	_, ok := errors.AsType[*Refusal](err)
	return ok
}

// Finding is one line of `cdc check`: what was looked at, and what is wrong
// with it, if anything.
type Finding struct {
	Level   Level
	Subject string // what was looked at: "source: table public.orders"
	Problem string // what is wrong, or what was found to be in order
	Remedy  string // the exact statement or setting that mends it; empty when OK
}

// Level grades a Finding.
type Level uint8

// The levels. An error keeps the program from working; a warning does not yet.
const (
	LevelOK Level = iota
	LevelWarning
	LevelError
)

func (l Level) String() string {
	return [...]string{"ok", "warning", "error"}[l]
}
