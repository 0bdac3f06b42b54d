// Package cleanup deletes the rows of outbox tables that are published: never
// one that the saved checkpoint has not passed.
//
// How it knows: it first notes which rows are there, then where the database's
// log ends. Every row that it saw was committed before that end. When the
// checkpoint has passed it, all of them are acknowledged by the brokers and
// saved as such, and may go. So nothing has to be remembered over a restart.
package cleanup

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cdc/internal/metrics"
	"cdc/replication"
)

// Table is one outbox table.
type Table struct {
	Schema, Name string
	Every        time.Duration // pause between two rounds
	Batch        int           // rows that one DELETE takes
	// DropPartitions drops whole partitions by range in place of deleting rows.
	DropPartitions bool
}

func (t Table) String() string { return t.Schema + "." + t.Name }

// Mark is an end of the database's log, as the database writes it.
type Mark string

// Store is one database. One goroutine uses it.
type Store interface {
	// Find notes up to n rows of the table, those of the lowest keys, and then
	// the end of the log.
	Find(ctx context.Context, t Table, n int) (Rows, Mark, error)
	// FindPartition notes the oldest partition that may be dropped, and then the
	// end of the log; nil when there is none.
	FindPartition(ctx context.Context, t Table) (Partition, Mark, error)
	// Check looks for what would keep the table from being cleaned up, a
	// *replication.Refusal, and changes nothing.
	Check(ctx context.Context, t Table) error
	Close(ctx context.Context) error
}

// Rows are rows that a Store has noted.
type Rows interface {
	Len() int
	// Delete deletes the rows from first up to last, but for those that are locked
	// or have changed since, and returns how many it deleted.
	Delete(ctx context.Context, first, last int) (int64, error)
}

// Config says what to clean up.
type Config struct {
	Tables []Table
	// Open connects to the database; it is called again after an error.
	Open func(ctx context.Context) (Store, error)
	// Reached reports whether the saved checkpoint has passed the mark and the
	// table's snapshot.
	Reached    func(t Table, m Mark) (bool, error)
	Retry      time.Duration         // the least pause after an error; 0 is 5 s
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil registers nothing
}

const (
	// rowsOfRound is how many rows one round notes at most.
	rowsOfRound = 20_000
	// look is the pause between two looks at the checkpoint.
	look = 50 * time.Millisecond
)

// Cleaner deletes rows until it is told to stop.
type Cleaner struct {
	cfg     Config
	log     *slog.Logger
	deleted *prometheus.CounterVec
	dropped *prometheus.CounterVec
	failing *prometheus.GaugeVec
	store   Store

	mu       sync.Mutex
	problems map[string]string // by table: why its last round came to nothing
}

// New returns a Cleaner that has not connected yet.
func New(cfg Config) (*Cleaner, error) {
	c := &Cleaner{cfg: cfg, log: cfg.Logger, problems: map[string]string{}}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.cfg.Retry <= 0 {
		c.cfg.Retry = 5 * time.Second
	}
	c.deleted = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cdc_outbox_deleted_total", Help: "Published rows deleted from outbox tables.",
	}, []string{"table"})
	c.dropped = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cdc_outbox_partitions_dropped_total", Help: "Partitions of outbox tables dropped, all of whose rows were published.",
	}, []string{"table"})
	c.failing = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "cdc_outbox_cleanup_failing", Help: "1 while the clean-up of the outbox table is refused or fails, else 0.",
	}, []string{"table"})
	for _, t := range cfg.Tables {
		c.failing.WithLabelValues(t.String()).Set(0)
	}
	if _, err := metrics.Register(cfg.Registerer, c.deleted, c.dropped, c.failing); err != nil {
		return nil, fmt.Errorf("clean up: %w", err)
	}
	return c, nil
}

// Problems says, for each table whose last round came to nothing, why, in the
// order of their names. It may be called from any goroutine.
func (c *Cleaner) Problems() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []string
	for _, table := range slices.Sorted(maps.Keys(c.problems)) {
		list = append(list, "clean-up of "+table+": "+c.problems[table])
	}
	return list
}

// note remembers how a round of the table ended.
func (c *Cleaner) note(t Table, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	failing := 0.0
	if delete(c.problems, t.String()); err != nil {
		c.problems[t.String()], failing = err.Error(), 1
	}
	c.failing.WithLabelValues(t.String()).Set(failing)
}

// Run cleans up until ctx ends. Troubles are logged and tried again: rows that
// stay do no harm.
func (c *Cleaner) Run(ctx context.Context) {
	defer c.close()
	next := make([]time.Time, len(c.cfg.Tables))
	for ctx.Err() == nil {
		now := time.Now()
		wake := now.Add(time.Hour)
		for i, t := range c.cfg.Tables {
			if !next[i].After(now) {
				full, err := c.round(ctx, t)
				if ctx.Err() != nil {
					return
				}
				c.note(t, err)
				switch {
				case err != nil:
					c.log.Warn("cannot clean up an outbox: will try again", "table", t.String(), "error", err)
					c.close()
					next[i] = time.Now().Add(max(c.cfg.Retry, t.Every))
				case full:
					next[i] = time.Now()
				default:
					next[i] = time.Now().Add(t.Every)
				}
			}
			if next[i].Before(wake) {
				wake = next[i]
			}
		}
		pause(ctx, time.Until(wake))
	}
}

func (c *Cleaner) close() {
	if c.store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = c.store.Close(ctx) // nothing is open any more
	c.store = nil
}

// round removes the rows that are there, and reports whether there may be more.
func (c *Cleaner) round(ctx context.Context, t Table) (full bool, err error) {
	if c.store == nil {
		if c.store, err = c.cfg.Open(ctx); err != nil {
			return false, err
		}
	}
	if t.DropPartitions {
		return c.dropPartition(ctx, t)
	}
	rows, mark, err := c.store.Find(ctx, t, rowsOfRound)
	if err != nil || rows.Len() == 0 {
		return false, err
	}
	if err := c.wait(ctx, t, mark); err != nil {
		return false, err
	}
	var sum int64
	for first := 0; first < rows.Len(); first += t.Batch {
		n, err := rows.Delete(ctx, first, min(first+t.Batch, rows.Len()))
		if err != nil {
			return false, err
		}
		sum += n
		c.deleted.WithLabelValues(t.String()).Add(float64(n))
	}
	c.log.Debug("cleaned up an outbox", "table", t.String(), "deleted", sum, "published_up_to", mark)
	return rows.Len() == rowsOfRound && sum > 0, nil
}

// wait waits until the saved checkpoint has passed the mark.
func (c *Cleaner) wait(ctx context.Context, t Table, m Mark) error {
	for {
		passed, err := c.cfg.Reached(t, m)
		if err != nil || passed {
			return err
		}
		if !pause(ctx, look) {
			return ctx.Err()
		}
	}
}

// pause waits for d and reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// refuse says that rows of a table cannot be told apart.
func refuse(t Table) error {
	return &replication.Refusal{
		Problem: fmt.Sprintf("outbox table %s has no primary key: its rows cannot be told apart to delete them", t),
		Remedy:  "add a primary key, or remove cleanup from the outbox in the configuration",
	}
}
