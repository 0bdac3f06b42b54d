package producer

import (
	"github.com/prometheus/client_golang/prometheus"

	shared "cdc/internal/metrics"
)

type metrics struct {
	records, bytes, errors *prometheus.CounterVec
	deadLetters, skipped   prometheus.Counter
	unregister             func() // lets another Producer take its place
}

func newMetrics(reg prometheus.Registerer, b *buffer) (*metrics, error) {
	perTopic := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"topic"})
	}
	m := &metrics{
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
	buffered := shared.Gauge("cdc_producer_buffered_bytes", "Memory of records handed over and not yet acknowledged.",
		func() float64 { return float64(b.bytes()) })
	var err error
	m.unregister, err = shared.Register(reg, m.records, m.bytes, m.errors, m.deadLetters, m.skipped, buffered)
	return m, err
}
