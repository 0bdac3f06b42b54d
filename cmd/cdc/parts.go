package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cdc/mapping"
	"cdc/outbox/cleanup"
	"cdc/outbox/route"
	"cdc/pipeline"
	"cdc/producer"
	"cdc/replication"
	"cdc/sink"
)

// stuckAfter is how long a part may have work and make no progress until
// /livez says that it is stuck.
const stuckAfter = 2 * time.Minute

// captureSetup is one capture, in the words of the packages that do it.
type captureSetup struct {
	Name            string // of the connector: the key of its checkpoint
	Database        database
	Mapping         mapping.Config
	Outbox          route.Config
	Cleanup         cleanup.Config
	Reached         reached
	DeadLetters     bool // something may go there
	Producer        producer.Config
	CheckpointTopic string
	InFlightBytes   int
	DrainTimeout    time.Duration
	Logger          *slog.Logger
	Registerer      prometheus.Registerer
}

// runCapture runs one capture until ctx ends or it cannot go on. It tells watch
// how to ask for the capture's health.
func runCapture(ctx context.Context, s captureSetup, watch func(func() health)) (err error) {
	state := startState{name: "starting"}
	watch(state.health)
	rows, err := mapping.New(s.Mapping)
	if err != nil {
		return usageError{err}
	}
	mapper, err := routed(s.Outbox, rows)
	if err != nil {
		return usageError{err}
	}
	topics, err := mapping.Topics(s.Mapping)
	if err != nil {
		return usageError{err}
	}
	topics = append(topics, route.Topics(s.Outbox)...)
	if outbox, ok := mapper.(*route.Mapper); ok {
		s.Producer.Unfit = outbox.Unfit
	}
	prod, err := producer.New(ctx, s.Producer)
	if err != nil {
		return usageError{err}
	}
	defer func() {
		if e := closeWithin(s.DrainTimeout, prod.Close); err == nil {
			err = e
		}
	}()
	checkpoints := prod.Checkpoints(s.CheckpointTopic, s.Name)
	from, err := checkpoints.Load(ctx)
	if err != nil {
		return stopped(ctx, fmt.Errorf("load the checkpoint: %w", err))
	}
	source, err := openSource(ctx, s, from, checkpoints.Load, watch)
	if err != nil {
		return stopped(ctx, err)
	}
	watch(startState{name: "preparing topics"}.health)
	if err := prod.Ensure(ctx, producerTopics(topics)); err != nil {
		return stopped(ctx, errors.Join(err, closeWithin(s.DrainTimeout, source.Close)))
	}
	saved := &savedCheckpoints{Checkpoints: checkpoints}
	config := pipeline.Config{
		Source: source, Mapper: mapper, Producer: prod, Checkpoints: saved,
		InFlightBytes: s.InFlightBytes, DrainTimeout: s.DrainTimeout, StuckAfter: stuckAfter,
		Connected: func() bool { return source.status().connected },
		Logger:    s.Logger, Registerer: s.Registerer,
	}
	if config.OnError = s.Producer.OnError; s.DeadLetters {
		config.DeadLetters = prod.DeadLetters()
	}
	uncleaned, stopCleanup, err := startCleanup(ctx, s.Cleanup, s.Reached, saved)
	if err != nil {
		return errors.Join(err, closeWithin(s.DrainTimeout, source.Close))
	}
	defer stopCleanup()
	p := pipeline.New(config)
	watch(func() health {
		h, st := p.Health(), source.status()
		state := "streaming"
		switch {
		case !st.connected:
			state = "reconnecting to the database"
		case st.snapshot:
			state = "reading the snapshot"
		}
		state = fmt.Sprintf("%s; %d records in flight, %d bytes of log behind", state, h.InFlightRecords, max(st.lag, 0))
		// Rows that stay do no harm to the capture: it is ready all the same.
		return health{Live: h.Live, Ready: h.Ready, State: strings.Join(append([]string{state}, uncleaned()...), "; ")}
	})
	return p.Run(ctx) // closes the source
}

// openSource opens the source, and waits for a database that does not answer as
// it would in the middle of a run.
func openSource(ctx context.Context, s captureSetup, from replication.Position, reload func(context.Context) (replication.Position, error), watch func(func() health)) (source, error) {
	for wait := 500 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		opened, err := s.Database.open(ctx, from, reload)
		if err == nil || ctx.Err() != nil || !s.Database.transient(err) {
			return opened, err
		}
		s.Logger.Warn("the database cannot be captured yet, trying again", "error", err, "wait", wait)
		watch(startState{name: "waiting for the database"}.health)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func producerTopics(topics []mapping.Topic) []producer.Topic {
	list := make([]producer.Topic, len(topics))
	for i, t := range topics {
		list[i] = producer.Topic{Name: t.Name, Keyed: t.Keyed}
	}
	return list
}

// runSink runs one sink until ctx ends or it cannot go on.
func runSink(ctx context.Context, c sink.Config, watch func(func() health)) error {
	s, err := sink.New(c)
	if err != nil {
		return usageError{err}
	}
	watch(func() health {
		h := s.Health()
		return health{
			Live:  h.InFlight == 0 || time.Since(h.Progress) < stuckAfter,
			Ready: h.Ready,
			State: fmt.Sprintf("%d partitions, %d records in flight, %d behind", h.Assigned, h.InFlight, h.Lag),
		}
	})
	return s.Run(ctx)
}

// startState is the health of a part that has not begun to work: live, not ready.
type startState struct{ name string }

func (s startState) health() health { return health{Live: true, State: s.name} }

// stopped makes the end of a start that a signal, or another part's failure,
// interrupted a clean one.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))) {
		return nil
	}
	return err
}

// closeWithin calls a Close that must end within d.
func closeWithin(d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), max(d, time.Second))
	defer cancel()
	return f(ctx)
}

// part is a long-running piece of one process.
type part struct {
	name string
	run  func(ctx context.Context, watch func(func() health)) error
}

// runParts runs all parts until ctx ends; when one fails the others are stopped,
// too, so that a supervisor restarts a whole that works. failed is told of each
// error at once, from any goroutine: the others may take a while to stop.
func runParts(ctx context.Context, parts []part, adm *admin, failed func(part string, err error)) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	results := make(chan error, len(parts))
	for _, p := range parts { // all of them, before one of them says that it is ready
		adm.watch(p.name, startState{name: "starting"}.health)
	}
	for _, p := range parts {
		go func() {
			err := p.run(ctx, func(f func() health) { adm.watch(p.name, f) })
			if err != nil {
				err = fmt.Errorf("%s: %w", p.name, err)
				failed(p.name, err)
				stop(err)
			}
			results <- err
		}()
	}
	var all error
	for range parts {
		all = errors.Join(all, <-results)
	}
	return all
}
