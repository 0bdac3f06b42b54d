package producer

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	records, bytes, errors *prometheus.CounterVec
	deadLetters, skipped   prometheus.Counter
	reg                    prometheus.Registerer
	all                    []prometheus.Collector
}

func newMetrics(reg prometheus.Registerer, b *buffer) (*metrics, error) {
	perTopic := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"topic"})
	}
	m := &metrics{
		reg:     reg,
		records: perTopic("cdc_producer_records_total", "Records acknowledged by the brokers."),
		bytes:   perTopic("cdc_producer_bytes_total", "Bytes of keys and values acknowledged by the brokers, before compression."),
		errors:  perTopic("cdc_producer_errors_total", "Records that the brokers refused, or that were given up."),
		deadLetters: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cdc_producer_dead_letters_total", Help: "Changes and records put to the dead-letter topic.",
		}),
	}
	m.skipped = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "cdc_producer_skipped_total", Help: "Messages of an outbox that their topic does not take and that were left out.",
	})
	buffered := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "cdc_producer_buffered_bytes", Help: "Memory of records handed over and not yet acknowledged.",
	}, func() float64 { return float64(b.bytes()) })
	m.all = []prometheus.Collector{m.records, m.bytes, m.errors, m.deadLetters, m.skipped, buffered}
	if reg == nil {
		return m, nil
	}
	for i, c := range m.all {
		if err := reg.Register(c); err != nil {
			m.all = m.all[:i]
			m.unregister()
			return nil, err
		}
	}
	return m, nil
}

// unregister lets another Producer take its place.
func (m *metrics) unregister() {
	if m.reg == nil {
		return
	}
	for _, c := range m.all {
		m.reg.Unregister(c)
	}
}
