package postgres

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"cdc/internal/metrics"
)

// monitor looks at the slot now and then, over a connection that it makes for
// that and closes again: how much log it holds back, and whether it is about to
// be lost; and at the publication, which a table leaves that is dropped. Its
// goroutine ends with the context of run.
type monitor struct {
	cfg      *Config
	retained atomic.Int64 // bytes; -1 before the first look
	warned   string       // the state that was logged last
	absent   string       // the tables that were logged last as unpublished
	pub      uint32       // OID of the publication as it was seen last, 0 before
	done     chan struct{}
	// absentTables is told of configured tables that are not in the publication.
	// May be nil.
	absentTables func(context.Context, *pgx.Conn, []TableConfig) error
}

const (
	monitorInterval = time.Minute
	monitorTimeout  = 20 * time.Second
)

func newMonitor(cfg *Config) *monitor {
	m := &monitor{cfg: cfg, done: make(chan struct{})}
	m.retained.Store(-1)
	return m
}

func (m *monitor) run(ctx context.Context) {
	defer close(m.done)
	tick := time.NewTicker(monitorInterval)
	defer tick.Stop()
	for {
		if err := m.look(ctx); err != nil && ctx.Err() == nil {
			m.cfg.Logger.Debug("the slot could not be looked at", "slot", m.cfg.Slot, "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (m *monitor) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, monitorTimeout)
	defer cancel()
	s := newSession(m.cfg)
	defer s.close(context.WithoutCancel(ctx))
	var slot *slotInfo
	var pub *publicationInfo
	err := s.do(ctx, func(conn *pgx.Conn) (err error) {
		if slot, err = readSlot(ctx, conn, m.cfg.Slot); err == nil {
			pub, err = readPublication(ctx, conn, m.cfg.Publication)
		}
		if absent := m.unpublished(pub); err == nil && slot != nil && m.absentTables != nil && len(absent) > 0 {
			err = m.absentTables(ctx, conn, absent)
		}
		return err
	})
	if err != nil || slot == nil {
		return err
	}
	m.judgeTables(pub)
	m.retained.Store(slot.Retained)
	if slot.WALStatus != m.warned && (slot.WALStatus == "unreserved" || slot.WALStatus == "lost") {
		m.cfg.Logger.Warn("the slot holds more log than max_slot_wal_keep_size allows", "slot", slot.Name,
			"state", slot.WALStatus, "retained", bytesText(slot.Retained))
	}
	m.warned = slot.WALStatus
	return nil
}

// unpublished returns the configured tables that the publication does not have.
func (m *monitor) unpublished(pub *publicationInfo) (tables []TableConfig) {
	for _, t := range m.cfg.Tables {
		if pub == nil || pub.table(t.Schema, t.Name) == nil {
			tables = append(tables, t)
		}
	}
	return tables
}

// judgeTables tells of configured tables whose changes do not come any more.
func (m *monitor) judgeTables(pub *publicationInfo) {
	var absent []string
	for _, t := range m.unpublished(pub) {
		absent = append(absent, t.String())
	}
	names := strings.Join(absent, ", ")
	if names != m.absent && names != "" {
		m.cfg.Logger.Error("tables are not in the publication any more: their changes are not captured (a table of that name was dropped and made anew, or renamed, or taken out)",
			"publication", m.cfg.Publication, "tables", names)
	}
	m.absent = names
	if pub == nil {
		return
	}
	// PostgreSQL 18 goes on without a publication, others end the stream.
	if m.pub != 0 && m.pub != pub.OID {
		m.cfg.Logger.Error("the publication was dropped and made anew: changes of the time when there was none are not captured (unless one transaction did both); run cdc drop, then start again, and everything is read again",
			"publication", m.cfg.Publication)
	}
	m.pub = pub.OID
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
		gauge("cdc_source_lag_bytes", "Bytes between the end of the server's log and the acknowledged position; 0 during the snapshot.", func(st Stats) float64 { return float64(st.LagBytes) }),
		gauge("cdc_source_retained_bytes", "Bytes of log that the server keeps because of the slot, looked at once a minute; -1 before the first look.", func(st Stats) float64 { return float64(st.Retained) }),
		gauge("cdc_source_snapshot_rows", "Rows that the snapshot has read so far.", func(st Stats) float64 { return float64(st.SnapshotRows) }),
		gauge("cdc_source_open_transactions", "Large transactions that the server sends while they are in progress.", func(st Stats) float64 { return float64(st.InProgress) }),
		gauge("cdc_source_spooled_bytes", "Bytes of these transactions that are kept in memory and in files until they commit.", func(st Stats) float64 { return float64(st.Spooled) }),
		gauge("cdc_source_spilled_bytes", "Of these bytes, those in files.", func(st Stats) float64 { return float64(st.Spilled) }),
	)
}
