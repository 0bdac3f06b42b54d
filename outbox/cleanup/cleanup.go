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
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cdc/replication"
)

// Table is one outbox table.
type Table struct {
	Schema, Name string
	Every        time.Duration // pause between two rounds
	Batch        int           // rows that one DELETE takes
}

func (t Table) String() string { return t.Schema + "." + t.Name }

// Mark is an end of the database's log, as the database writes it.
type Mark string

// Store is one database. One goroutine uses it.
type Store interface {
	// Find notes up to n rows of the table, those of the lowest keys, and then
	// the end of the log.
	Find(ctx context.Context, t Table, n int) (Rows, Mark, error)
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
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil registers nothing
}

const (
	// rowsOfRound is how many rows one round notes at most.
	rowsOfRound = 20_000
	// look is the pause between two looks at the checkpoint.
	look = 50 * time.Millisecond
	// retry is the pause after an error.
	retry = 5 * time.Second
)

// Cleaner deletes rows until it is told to stop.
type Cleaner struct {
	cfg     Config
	log     *slog.Logger
	deleted *prometheus.CounterVec
	store   Store
}

// New returns a Cleaner that has not connected yet.
func New(cfg Config) (*Cleaner, error) {
	c := &Cleaner{cfg: cfg, log: cfg.Logger}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.deleted = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cdc_outbox_deleted_total", Help: "Published rows deleted from outbox tables.",
	}, []string{"table"})
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(c.deleted); err != nil {
			return nil, fmt.Errorf("clean up: register metrics: %w", err)
		}
	}
	return c, nil
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
				switch {
				case ctx.Err() != nil:
					return
				case err != nil:
					c.log.Warn("cannot clean up an outbox: will try again", "table", t.String(), "error", err)
					c.close()
					next[i] = time.Now().Add(max(retry, t.Every))
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

// round deletes the rows that are there, and reports whether there may be more.
func (c *Cleaner) round(ctx context.Context, t Table) (full bool, err error) {
	if c.store == nil {
		if c.store, err = c.cfg.Open(ctx); err != nil {
			return false, err
		}
	}
	rows, mark, err := c.store.Find(ctx, t, rowsOfRound)
	if err != nil || rows.Len() == 0 {
		return false, err
	}
	for {
		passed, err := c.cfg.Reached(t, mark)
		if err != nil {
			return false, err
		}
		if passed {
			break
		}
		if !pause(ctx, look) {
			return false, ctx.Err()
		}
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
