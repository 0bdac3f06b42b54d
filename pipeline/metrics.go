package pipeline

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	shared "cdc/internal/metrics"
	"cdc/replication"
)

// tally is how many records of one kind a flight carries. Rows are counted into
// tallies, which costs a comparison a row; the counters of the registry are
// touched once a tally.
type tally struct {
	table       *replication.Table
	topic       string
	op          replication.Op
	rows, bytes int
	outbox      bool
}

// count fills in the tallies and the commit times of the mapped records.
func (f *flight) count() {
	const look = 8 // so many of the last tallies are looked through; a duplicate does no harm
	var t *tally
	var commit int64
	list := f.records.List
	for i := range list {
		r := &list[i]
		if t == nil || t.table != r.Table || t.op != r.Op || t.topic != r.Topic {
			t = nil
			for j := len(f.tallies) - 1; j >= max(0, len(f.tallies)-look); j-- {
				if u := &f.tallies[j]; u.table == r.Table && u.op == r.Op && u.topic == r.Topic {
					t = u
					break
				}
			}
			if t == nil {
				f.tallies = append(f.tallies, tally{table: r.Table, topic: r.Topic, op: r.Op})
				t = &f.tallies[len(f.tallies)-1]
			}
		}
		t.rows++
		t.bytes += len(r.Key) + len(r.Value)
		at := r.Time
		if r.Routing != nil {
			at = r.Routing.Commit
			t.outbox = true
			if f.outbox == 0 {
				f.outbox = at
			}
		}
		if at != commit && r.Op != replication.OpRead {
			commit = at
			f.commits = append(f.commits, commit)
		}
	}
}

// seriesKey finds the counters of a tally. Tables are immutable and one version
// of a table is one pointer, so the map grows by a few entries a DDL; it is
// emptied when it has grown large.
type seriesKey struct {
	table *replication.Table
	topic string
	op    replication.Op
}

type series struct {
	rows, bytes prometheus.Counter
	outbox      prometheus.Counter // nil for rows
}

const maxSeries = 10_000

// metrics are a pipeline's, written by the settler except where said.
type metrics struct {
	rows, bytes *prometheus.CounterVec
	errors      *prometheus.CounterVec // by the reader
	outbox      *prometheus.CounterVec
	latency     prometheus.Histogram
	others      []prometheus.Collector
	series      map[seriesKey]series
}

func newMetrics(p *Pipeline) *metrics {
	m := &metrics{
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cdc_capture_rows_total", Help: "Records acknowledged by the broker.",
		}, []string{"table", "topic", "op"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cdc_capture_bytes_total", Help: "Bytes of keys and values acknowledged by the broker, before compression.",
		}, []string{"table", "topic", "op"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cdc_capture_row_errors_total", Help: "Rows that could not become records, by what was done: stop, dead-letter or skip.",
		}, []string{"table", "action"}),
		outbox: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cdc_outbox_published_total", Help: "Messages of outboxes acknowledged by the broker.",
		}, []string{"topic"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "cdc_capture_commit_to_acknowledged_seconds",
			Help:    "Time from a transaction's commit to the broker's acknowledgement of the batch it is in; one observation a transaction and batch, none for rows of a snapshot.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 300, 1800, 3600},
		}),
		series: map[seriesKey]series{},
	}
	gauge := func(name, help string, f func() float64) {
		m.others = append(m.others, shared.Gauge(name, help, f))
	}
	gauge("cdc_capture_in_flight_bytes", "Memory of records that the broker has not acknowledged.",
		func() float64 { return float64(p.flights.load().bytes) })
	gauge("cdc_capture_in_flight_records", "Records that the broker has not acknowledged.",
		func() float64 { return float64(p.flights.load().records) })
	gauge("cdc_capture_lag_seconds", "Age of the oldest commit that has been read and not acknowledged; 0 when there is none. While the source is not connected, at least the time since the last progress.",
		func() float64 { return p.lag(time.Now()).Seconds() })
	gauge("cdc_outbox_oldest_unpublished_seconds", "Age of the oldest committed message of an outbox that has been read and not acknowledged; 0 when there is none.",
		func() float64 {
			if c := p.flights.oldestOutbox(); c != 0 {
				return max(0, time.Since(time.UnixMicro(c)).Seconds())
			}
			return 0
		})
	gauge("cdc_capture_checkpoint_timestamp_seconds", "When the last position was saved, Unix time; 0 before the first.",
		func() float64 {
			_, at, _ := p.saves.last()
			if at.IsZero() {
				return 0
			}
			return float64(at.UnixNano()) / 1e9
		})
	return m
}

// register registers all on r, which may be nil, and returns what takes them
// back, so that a next Pipeline may register its own.
func (m *metrics) register(r prometheus.Registerer) (unregister func(), err error) {
	return shared.Register(r, append([]prometheus.Collector{m.rows, m.bytes, m.errors, m.outbox, m.latency}, m.others...)...)
}

// published counts a flight that the broker has acknowledged.
func (m *metrics) published(f *flight, now time.Time) {
	for i := range f.tallies {
		t := &f.tallies[i]
		k := seriesKey{t.table, t.topic, t.op}
		s, ok := m.series[k]
		if !ok {
			if len(m.series) >= maxSeries {
				clear(m.series)
			}
			name, op := t.table.String(), t.op.String()
			s = series{m.rows.WithLabelValues(name, t.topic, op), m.bytes.WithLabelValues(name, t.topic, op), nil}
			if t.outbox {
				s.outbox = m.outbox.WithLabelValues(t.topic)
			}
			m.series[k] = s
		}
		s.rows.Add(float64(t.rows))
		s.bytes.Add(float64(t.bytes))
		if s.outbox != nil {
			s.outbox.Add(float64(t.rows))
		}
	}
	micros := now.UnixMicro()
	for _, c := range f.commits {
		m.latency.Observe(max(0, float64(micros-c)/1e6)) // the clocks may differ
	}
}

func (m *metrics) rowError(table, action string) {
	m.errors.WithLabelValues(table, action).Inc()
}

// lag is how far the topics are behind what is known of the source.
func (p *Pipeline) lag(now time.Time) (d time.Duration) {
	if c := p.flights.load().oldest; c != 0 {
		d = max(0, now.Sub(time.UnixMicro(c)))
	}
	if at := p.progress.Load(); at != 0 && !p.cfg.Connected() {
		d = max(d, now.Sub(time.Unix(0, at)))
	}
	return d
}
