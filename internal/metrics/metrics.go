// Package metrics registers the collectors of a part of the program together.
package metrics

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Register registers all on r, or none when one is refused. unregister takes
// them back, so that whoever comes next may register its own. r may be nil:
// nothing is registered then.
func Register(r prometheus.Registerer, all ...prometheus.Collector) (unregister func(), err error) {
	if r == nil {
		return func() {}, nil
	}
	var done []prometheus.Collector
	unregister = func() {
		for _, c := range done {
			r.Unregister(c)
		}
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			unregister()
			return nil, fmt.Errorf("register metrics: %w", err)
		}
		done = append(done, c)
	}
	return unregister, nil
}

// Gauge returns a gauge whose value is asked for.
func Gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}
