// Package pipeline is the one loop of a capture: source → mapper → producer →
// checkpoint, and the order of promises between them.
//
// Values move right, only a Position moves left, and the order is strict: the
// broker has acknowledged every record up to a position; the position is saved;
// the source is told, and with it the database may forget its log. A process
// that dies between any two of these steps reads again from the saved position:
// rows are published twice then, never lost.
package pipeline

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cdc/mapping"
	"cdc/replication"
)

// Producer publishes records. The package producer has the one for Kafka.
type Producer interface {
	// Produce hands all records of r on, in order, blocking while its buffer is
	// full. It calls done exactly once: with nil when the broker has
	// acknowledged every record, or with the first error. Before that call r
	// must not be touched; from it on r is the caller's again. done runs on the
	// producer's goroutine: it must not block and must not call Produce.
	Produce(ctx context.Context, r *mapping.Records, done func(error))
}

// Checkpoints stores one connector's newest safe position.
type Checkpoints interface {
	// Load returns the saved position, or "" when there is none.
	Load(ctx context.Context) (replication.Position, error)
	// Save makes p durable before it returns.
	Save(ctx context.Context, p replication.Position) error
}

// DeadLetters takes what cannot be published, whole, with the reason. It
// returns once that is durable.
type DeadLetters interface {
	Put(ctx context.Context, c *replication.Change, reason error) error
}

// What to do with a row that cannot be mapped.
const (
	OnErrorStop       = mapping.OnErrorStop       // end the run with the *mapping.RowError
	OnErrorDeadLetter = mapping.OnErrorDeadLetter // hand the row to DeadLetters and go on
	OnErrorSkip       = mapping.OnErrorSkip       // log it and go on; only where the RowError itself says so
)

// Config is what a Pipeline is made of. The Pipeline closes the Source; the rest
// stays its maker's.
type Config struct {
	Source      replication.Source
	Mapper      mapping.Mapper
	Producer    Producer
	Checkpoints Checkpoints
	// DeadLetters takes rows that cannot be mapped when OnError, or the RowError's
	// own, is OnErrorDeadLetter; otherwise, or when nil, such a row ends the run.
	DeadLetters DeadLetters
	OnError     string // "" is OnErrorStop; a RowError's own comes first

	// InFlightBytes bounds the memory of records that are not acknowledged yet:
	// at or above it nothing more is read, so it is exceeded by one batch at
	// most. 0 is 16 MiB: some 30,000 rows of ten columns.
	InFlightBytes int
	// DrainTimeout bounds the wait for what is in flight at the end of a run.
	// 0 is 20 seconds.
	DrainTimeout time.Duration
	// SaveInterval is the least time between the ends of two saves and the
	// starts of the next, except at the end of a run. 0 is 250 ms.
	SaveInterval time.Duration
	// StuckAfter is how long there may be work without progress until Health
	// says that the pipeline is stuck. 0 is 2 minutes.
	StuckAfter time.Duration
	// Connected says whether the source has its connection; it is asked by
	// Health and by the lag metric, from any goroutine. nil is always true.
	Connected func() bool

	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil registers nothing
}

// Pipeline moves one source's changes to one producer. Use New, and Run once.
type Pipeline struct {
	cfg     Config
	log     *slog.Logger
	flights *flights
	saves   *saves
	metrics *metrics

	running  atomic.Bool
	busy     atomic.Bool  // a batch is being mapped or handed over
	progress atomic.Int64 // last progress, nanoseconds since 1970
}

// New returns a Pipeline that has not started anything.
func New(cfg Config) *Pipeline {
	if cfg.InFlightBytes <= 0 {
		cfg.InFlightBytes = 16 << 20
	}
	if cfg.DrainTimeout <= 0 {
		cfg.DrainTimeout = 20 * time.Second
	}
	if cfg.SaveInterval <= 0 {
		cfg.SaveInterval = 250 * time.Millisecond
	}
	if cfg.StuckAfter <= 0 {
		cfg.StuckAfter = 2 * time.Minute
	}
	if cfg.Connected == nil {
		cfg.Connected = func() bool { return true }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Pipeline{
		cfg:     cfg,
		log:     cfg.Logger,
		flights: newFlights(cfg.InFlightBytes),
		saves:   newSaves(),
	}
	p.metrics = newMetrics(p)
	return p
}
