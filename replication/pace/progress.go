package pace

import (
	"sync/atomic"
	"time"
)

// Progress is how far the snapshot of one table has come.
type Progress struct {
	Schema, Table string
	Rows          int64 // read so far
	Bytes         int64 // of them as the server sent them
	Estimate      int64 // rows in the table as the server guesses them, -1 when it does not know
	Elapsed       time.Duration
	Done          bool
}

// Tally counts the rows that a snapshot reads and tells how far it has come. It
// belongs to the goroutine that reads them.
type Tally struct {
	tell  func(Progress) // may be nil
	total *atomic.Int64  // rows of all tables, for metrics

	now      Progress // of the table that is being read
	counted  int64    // of now.Rows, those in total
	began    time.Time
	reported time.Time
}

// NewTally returns a Tally of nothing yet. tell, which may be nil, is told of
// each table about once a second and when it is done; total has the rows of all
// tables, a little late.
func NewTally(tell func(Progress), total *atomic.Int64) Tally {
	total.Store(0)
	return Tally{tell: tell, total: total}
}

// Begin begins the next table.
func (t *Tally) Begin(schema, table string, estimate int64) {
	t.now, t.counted = Progress{Schema: schema, Table: table, Estimate: estimate}, 0
	t.began = time.Now()
	t.reported = t.began
}

// Row counts a row of so many bytes.
func (t *Tally) Row(bytes int) {
	t.now.Rows++
	t.now.Bytes += int64(bytes)
	if t.now.Rows%1024 == 0 { // to look at the clock costs more than a row
		t.report()
	}
}

// Rows returns how many rows of the table have been counted.
func (t *Tally) Rows() int64 { return t.now.Rows }

// Done ends the table and returns what was read of it.
func (t *Tally) Done() Progress {
	t.now.Done = true
	t.report()
	return t.now
}

// report tells the progress, at most once a second unless the table is done.
func (t *Tally) report() {
	t.total.Add(t.now.Rows - t.counted)
	t.counted = t.now.Rows
	now := time.Now()
	t.now.Elapsed = now.Sub(t.began)
	if t.tell == nil || !t.now.Done && now.Sub(t.reported) < time.Second {
		return
	}
	t.reported = now
	t.tell(t.now)
}
