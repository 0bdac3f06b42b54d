// Package sink applies topics to tables: it polls, decodes with the writer's
// schema, keeps per key the last change of a batch, and hands each batch with
// its offsets to a Writer, which applies both in one transaction of the target
// database. On start it seeks to the offsets that it finds there, so a replay
// changes nothing.
//
// A package below it is one family of target databases.
package sink

import (
	"context"
	"errors"
	"fmt"

	"cdc/replication"
)

// Field is a field of a topic's value (or key) schema as a column of a table.
type Field struct {
	// Column carries the column's name in the target, its neutral kind, width,
	// precision and scale, NotNull, and in TypeName the source's own type where
	// the schema tells it (property cdc.type), else "".
	replication.Column
	Key bool // part of the row's key
	// Aliases are names that the column had before, the newest first.
	Aliases []string
}

// Shape is what a topic's records look like under one pair of schemas. It is
// immutable and compared by its pointer: a Writer keys what it compiles by it.
type Shape struct {
	Topic  string
	Schema string // of the target table; "" is the connection's default
	Table  string // of the target
	Fields []Field
	// KeysOnly says that no value was seen yet, only keys: the table must not
	// be made from it, and when there is none, there is nothing to delete.
	KeysOnly bool
}

// Row is the last state of one key in a batch. Values are borrowed from the
// Batch.
type Row struct {
	// Delete says that the row is gone: only key fields of Values count.
	Delete bool
	// New says that every record of this key in the batch was a read or an
	// insert, so that the target most likely has no such row.
	New bool
	// Replace says that the batch deleted the row before it wrote it again: it
	// is to be deleted first, so that columns which the record does not have
	// lose their old values.
	Replace bool
	// Values is as long as the Shape's Fields. An Unchanged value leaves the
	// target's column alone.
	Values []replication.Value
	// Origin is the record that this state came from.
	Origin Origin
}

// Origin names a record of a topic.
type Origin struct {
	Topic     string
	Partition int32
	Offset    int64
	Key       []byte // as it stands in the topic; borrowed
}

// Rows is the part of a Batch that concerns one Shape: at most one Row a key,
// in the order of their last records.
type Rows struct {
	Shape *Shape
	Rows  []Row
}

// Offset is how far a partition has been applied.
type Offset struct {
	Topic string
	// TopicID tells a topic from another one that had its name before; "" is
	// not known, and leaves what the Writer holds as it is.
	TopicID   string
	Partition int32
	// From is the next offset to read before this batch, as the Writer holds it
	// (-1: it holds none), and Next the one after it.
	From, Next int64
}

// Batch is what one transaction of the target applies. Several Rows of one
// table (the schema changed within the batch) are applied in order.
type Batch struct {
	Tables  []Rows
	Offsets []Offset
}

// Writer applies batches to one database. One goroutine calls it at a time.
type Writer interface {
	// Offsets returns, for each partition of the topics that the group has ever
	// applied here, the next offset to read.
	Offsets(ctx context.Context, group string, topics []string) (map[string]map[int32]int64, error)
	// Identity tells this target, and the offsets table in it, from any other; ""
	// is not known. It stays the same as long as the offsets do.
	Identity(ctx context.Context) (string, error)
	// TopicIDs returns the ids of those topics that the group's offsets belong
	// to, as Apply got them; a topic without offsets, or with ones that had no
	// id, is not in it.
	TopicIDs(ctx context.Context, group string, topics []string) (map[string]string, error)
	// Apply writes rows and offsets in one transaction, and retries what is
	// transient (deadlocks, a lost connection, a restart of the server) with
	// backoff until ctx ends. ErrFenced says that an offset was not From any
	// more: another member has the partition, and nothing was written. A
	// *RowError names one row that the database refuses: nothing was written,
	// and the caller may leave that row out and apply again.
	Apply(ctx context.Context, group string, b *Batch) error
	// Truncate empties the shape's table, or deletes only the rows for which
	// keep returns false when keep is not nil, and moves the offset, in one
	// transaction. keep gets the values of the key fields, in the Shape's order.
	Truncate(ctx context.Context, group string, s *Shape, keep func(key []replication.Value) bool, o Offset) error
	Close(ctx context.Context) error
}

// ErrFenced says that an offset in the database is not the one this member left
// there: another member has taken the partition over.
var ErrFenced = errors.New("another member of the group has taken the partition over")

// RowError names one row that the target refuses.
type RowError struct {
	Shape  *Shape
	Index  int // of the row in its Rows
	Tables int // index of the Rows in the Batch
	Origin Origin
	Err    error
}

func (e *RowError) Error() string {
	return fmt.Sprintf("apply %s[%d]@%d to table %s: %v", e.Origin.Topic, e.Origin.Partition, e.Origin.Offset, e.Shape.Table, e.Err)
}

func (e *RowError) Unwrap() error { return e.Err }

// RowErrors names several rows that the target refuses, at least one.
type RowErrors []*RowError

func (e RowErrors) Error() string {
	if len(e) == 1 {
		return e[0].Error()
	}
	return fmt.Sprintf("%v (and %d more rows)", e[0], len(e)-1)
}

// Unwrap returns the rows' errors.
func (e RowErrors) Unwrap() []error {
	errs := make([]error, len(e))
	for i := range e {
		errs[i] = e[i]
	}
	return errs
}
