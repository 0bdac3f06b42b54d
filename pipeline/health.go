package pipeline

import (
	"time"

	"cdc/replication"
)

// unreadyAfter is how long there may be work without progress until a pipeline
// is no longer ready.
const unreadyAfter = 10 * time.Second

// Health is how a pipeline is doing, for /livez and /readyz.
type Health struct {
	// Live is false when there has been work, and no progress, for StuckAfter:
	// the process should be restarted. Progress is a batch read, a batch
	// acknowledged, or a position saved; a pipeline without work is live.
	Live bool
	// Ready says that the run is on, that the source has its connection, and
	// that what there is to do goes forward: for the last 10 s nothing has
	// waited in vain for a broker or a registry.
	Ready           bool
	InFlightRecords int
	InFlightBytes   int
	LastProgress    time.Time            // zero before Run
	Position        replication.Position // the newest that this run has saved
	SavedAt         time.Time            // when; zero before the first
}

// Health may be called from any goroutine, before, during and after Run.
func (p *Pipeline) Health() Health {
	l := p.flights.load()
	h := Health{InFlightRecords: l.records, InFlightBytes: l.bytes}
	var saving bool
	h.Position, h.SavedAt, saving = p.saves.last()
	if n := p.progress.Load(); n != 0 {
		h.LastProgress = time.Unix(0, n)
	}
	running := p.running.Load()
	work := running && (l.flights > 0 || saving || p.busy.Load())
	h.Live = !work || time.Since(h.LastProgress) <= p.cfg.StuckAfter
	h.Ready = running && p.cfg.Connected() && (!work || time.Since(h.LastProgress) <= min(unreadyAfter, p.cfg.StuckAfter))
	return h
}
