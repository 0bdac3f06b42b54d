package mapping

import (
	"fmt"

	"cdc/replication"
)

// RowError says why one change could not become a record, or a record could not
// be published, and which one it was.
type RowError struct {
	Table  string // schema.name
	Key    string // the row's key for people: id=7
	Op     replication.Op
	Tx     string // the transaction's id
	Commit string // its commit position
	Index  int    // of the change in its Batch; -1 when it is not known
	// OnError is what becomes of the row where its table has a rule of its own:
	// one of the OnError constants; "" leaves it to the pipeline.
	OnError string
	Err     error
}

func (e *RowError) Error() string {
	s := fmt.Sprintf("table %s, key %s, %s", e.Table, e.Key, e.Op)
	if e.Tx != "" {
		s += ", transaction " + e.Tx
	}
	if e.Commit != "" {
		s += ", position " + e.Commit
	}
	return s + ": " + e.Err.Error()
}

func (e *RowError) Unwrap() error { return e.Err }
