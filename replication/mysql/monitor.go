package mysql

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cdc/internal/metrics"
)

// monitor looks now and then at how much of the server's log is still to be
// read, over a connection that it makes for that and closes again. Its
// goroutine ends with the context of run.
type monitor struct {
	cfg  *Config
	lag  atomic.Int64 // bytes; -1 before the first look
	done chan struct{}
}

const (
	monitorInterval = 15 * time.Second
	monitorTimeout  = 10 * time.Second
)

func newMonitor(cfg *Config) *monitor {
	m := &monitor{cfg: cfg, done: make(chan struct{})}
	m.lag.Store(-1)
	return m
}

func (m *monitor) run(ctx context.Context, place func() (string, uint64)) {
	defer close(m.done)
	tick := time.NewTicker(monitorInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		file, offset := place()
		if file == "" {
			continue
		}
		if err := m.look(ctx, file, offset); err != nil && ctx.Err() == nil {
			m.cfg.Logger.Debug("the end of the log could not be looked at", "error", err)
		}
	}
}

// look adds up what lies behind file and offset.
func (m *monitor) look(ctx context.Context, file string, offset uint64) error {
	ctx, cancel := context.WithTimeout(ctx, monitorTimeout)
	defer cancel()
	s := newSession(m.cfg)
	defer s.close()
	rows, err := s.query(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return err
	}
	lag := int64(0)
	for _, r := range rows {
		size, err := strconv.ParseInt(r[1].text, 10, 64)
		if err != nil {
			return err
		}
		switch c := compareFiles(r[0].text, file); {
		case c == 0:
			lag += max(0, size-int64(offset))
		case c > 0:
			lag += size
		}
	}
	m.lag.Store(lag)
	return nil
}

// register registers the source's metrics and returns what takes them back.
func (s *Source) register(r prometheus.Registerer) (unregister func(), err error) {
	gauge := func(name, help string, value func(Stats) float64) prometheus.Collector {
		return metrics.Gauge(name, help, func() float64 { return value(s.Stats()) })
	}
	return metrics.Register(r,
		gauge("cdc_source_connected", "1 while the source reads from the database, else 0.", func(st Stats) float64 {
			if st.Connected {
				return 1
			}
			return 0
		}),
		gauge("cdc_source_lag_bytes", "Bytes of the server's log that are still to be read, looked at now and then; -1 before the first look.", func(st Stats) float64 { return float64(st.LagBytes) }),
		gauge("cdc_source_snapshot_rows", "Rows that the snapshot has read so far.", func(st Stats) float64 { return float64(st.SnapshotRows) }),
	)
}
