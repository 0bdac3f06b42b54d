package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"cdc/replication"
)

// Sink applies topics to tables until it is told to stop.
type Sink struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	health  health
	// topics and their plans outlive a membership, since the Writer keeps what it
	// compiled of them.
	topics map[string]*topic
}

// Health is how a sink does.
type Health struct {
	// Progress is when a batch was last applied, or was found unnecessary
	// because there was nothing to read. The sink is stuck when InFlight is
	// positive and Progress is long ago.
	Progress time.Time
	InFlight int   // records read and not yet applied
	Assigned int   // partitions
	Lag      int64 // offsets between what is applied and the ends of the assigned partitions
	Ready    bool  // it has joined its group, and reads
}

type health struct {
	progress atomic.Int64 // unix nanoseconds
	inFlight atomic.Int64
	assigned atomic.Int64
	lag      atomic.Int64
	ready    atomic.Bool
}

func (h *health) touch() { h.progress.Store(time.Now().UnixNano()) }

// New checks the configuration; it connects to nothing.
func New(cfg Config) (*Sink, error) {
	if err := cfg.defaults(); err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Name, cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("sink %s: %w", cfg.Name, err)
	}
	s := &Sink{cfg: cfg, metrics: m, log: cfg.Logger.With("sink", cfg.Name), topics: map[string]*topic{}}
	s.health.touch()
	return s, nil
}

// Health may be called at any time, from any goroutine.
func (s *Sink) Health() Health {
	return Health{
		Progress: time.Unix(0, s.health.progress.Load()),
		InFlight: int(s.health.inFlight.Load()),
		Assigned: int(s.health.assigned.Load()),
		Lag:      s.health.lag.Load(),
		Ready:    s.health.ready.Load(),
	}
}

// Run reads and applies until ctx ends, then finishes the batch in hand within
// DrainTimeout, leaves the group, and returns nil, or ErrDrain when the target
// did not take the batch in that time. Any other return is an
// error that trying again would not mend: a *RecordError under on_error stop, a
// *replication.Refusal that says what a person must do. Transient troubles of
// Kafka, the registry and the database it waits out.
func (s *Sink) Run(ctx context.Context) error {
	w, err := s.open(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("sink %s: %w", s.cfg.Name, err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = w.Close(closing) // nothing is open any more: a failure loses nothing
	}()
	wait := 100 * time.Millisecond
	for {
		started := time.Now()
		err := s.session(ctx, w)
		s.health.ready.Store(false)
		s.health.assigned.Store(0)
		s.health.inFlight.Store(0)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrFenced):
			s.metrics.fenced.Inc()
			s.log.Warn("left and will join the group again: the target's offsets moved", "error", err, "wait", wait)
		case errors.Is(err, errRejoin):
			s.log.Warn("left and will join the group again", "error", err, "wait", wait)
		default:
			return fmt.Errorf("sink %s: %w", s.cfg.Name, err)
		}
		if time.Since(started) > time.Minute {
			wait = 100 * time.Millisecond
		}
		if !pause(ctx, wait) {
			return nil
		}
		wait = min(2*wait, 10*time.Second)
	}
}

// open opens the target, waiting out a server that is not there yet. What it
// refuses stays refused.
func (s *Sink) open(ctx context.Context) (Writer, error) {
	wait := 250 * time.Millisecond
	for {
		w, err := s.cfg.Writer(ctx)
		if err == nil {
			return w, nil
		}
		if ctx.Err() != nil || replication.IsRefusal(err) {
			return nil, err
		}
		s.log.Warn("cannot open the target: will try again", "error", err, "wait", wait)
		if !pause(ctx, wait) {
			return nil, ctx.Err()
		}
		wait = min(2*wait, 10*time.Second)
	}
}

// pause waits for d and reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
