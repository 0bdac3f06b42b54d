package sink

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	shared "cdc/internal/metrics"
)

// metrics of one sink. Without a Registerer they count for nobody.
type metrics struct {
	rows     *prometheus.CounterVec // topic, table, op: upsert, delete, truncate
	records  *prometheus.CounterVec // topic
	bytes    *prometheus.CounterVec // topic, table
	faults   *prometheus.CounterVec // topic, table, policy
	lag      *prometheus.GaugeVec   // topic, partition
	delay    *prometheus.GaugeVec   // topic
	inFlight prometheus.Gauge
	apply    prometheus.Histogram
	batch    prometheus.Histogram
	fenced   prometheus.Counter
}

func newMetrics(name string, r prometheus.Registerer) (*metrics, error) {
	constant := prometheus.Labels{"sink": name}
	opts := func(n, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "cdc", Subsystem: "sink", Name: n, Help: help, ConstLabels: constant}
	}
	counter := func(n, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts(opts(n, help)), labels)
	}
	gauge := func(n, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts(opts(n, help)), labels)
	}
	m := &metrics{
		rows:     counter("rows_total", "Rows written to the target, after collapsing a batch per key.", "topic", "table", "op"),
		records:  counter("records_total", "Records applied: read, decoded and in the target.", "topic"),
		bytes:    counter("bytes_total", "Bytes of the keys and values of applied records.", "topic", "table"),
		faults:   counter("errors_total", "Records that could not be applied, by what was done with them.", "topic", "table", "policy"),
		lag:      gauge("lag_records", "Offsets between what is applied and the end of the partition.", "topic", "partition"),
		delay:    gauge("lag_seconds", "Age of the newest applied record; 0 when nothing is left to read.", "topic"),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts(opts("in_flight_records", "Records read and not yet applied."))),
		apply: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "cdc", Subsystem: "sink", Name: "apply_seconds", Help: "Time to apply one batch.", ConstLabels: constant,
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 17),
		}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "cdc", Subsystem: "sink", Name: "batch_records", Help: "Records in one batch.", ConstLabels: constant,
			Buckets: prometheus.ExponentialBuckets(1, 4, 10),
		}),
		fenced: prometheus.NewCounter(prometheus.CounterOpts(opts("fenced_total", "Times that another member had moved an offset."))),
	}
	_, err := shared.Register(r, m.rows, m.records, m.bytes, m.faults, m.lag, m.delay, m.inFlight, m.apply, m.batch, m.fenced)
	return m, err
}

func (m *metrics) setLag(topic string, partition int32, lag int64) {
	m.lag.WithLabelValues(topic, strconv.Itoa(int(partition))).Set(float64(lag))
}

// forget drops the gauges of a partition that another member reads now, and of
// its topic when this member reads no other partition of it.
func (m *metrics) forget(topic string, partition int32, last bool) {
	m.lag.DeleteLabelValues(topic, strconv.Itoa(int(partition)))
	if last {
		m.delay.DeleteLabelValues(topic)
	}
}
