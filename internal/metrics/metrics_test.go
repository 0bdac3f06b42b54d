package metrics

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestRegister: all are registered or none, and can be taken back.
func TestRegister(t *testing.T) {
	gauge := func(name string) prometheus.Collector { return Gauge(name, "a", func() float64 { return 1 }) }
	r := prometheus.NewPedanticRegistry()
	names := func() (list []string) {
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			list = append(list, f.GetName())
		}
		return list
	}
	unregister, err := Register(r, gauge("b"), gauge("c"))
	if err != nil || len(names()) != 2 {
		t.Fatal(names(), err)
	}
	if _, err := Register(r, gauge("a"), gauge("b")); err == nil || len(names()) != 2 {
		t.Errorf("registered beside its like: %v, %v", names(), err)
	}
	if unregister(); len(names()) != 0 {
		t.Errorf("left: %v", names())
	}
	if unregister, err = Register(nil, gauge("a")); err != nil {
		t.Fatal(err)
	}
	unregister()
}
