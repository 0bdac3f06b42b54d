package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"cdc/config"
)

// health is one part's answer to a probe.
type health struct {
	Live  bool   `json:"live"`
	Ready bool   `json:"ready"`
	State string `json:"state"` // for people
}

// admin serves /livez, /readyz and /metrics; on loopback /debug/pprof/, too.
type admin struct {
	registry *prometheus.Registry
	server   *http.Server
	listener net.Listener
	done     chan struct{}

	mu    sync.Mutex
	parts map[string]func() health
}

// startAdmin listens where the configuration says; "" serves nobody, and the
// registry still counts. Several processes run from one file on one machine:
// where the file names no address, the second one takes a free port.
func startAdmin(c config.Admin, log *slog.Logger) (*admin, error) {
	a := &admin{registry: prometheus.NewRegistry(), parts: map[string]func() health{}, done: make(chan struct{})}
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "cdc_build_info", Help: "Always 1; the version stands in the label.",
			ConstLabels: prometheus.Labels{"version": version()},
		}, func() float64 { return 1 }))
	if c.Listen == "" {
		close(a.done)
		return a, nil
	}
	var err error
	a.listener, err = net.Listen("tcp", c.Listen)
	if err != nil && !c.Chosen && errors.Is(err, syscall.EADDRINUSE) {
		host, _, _ := net.SplitHostPort(c.Listen) // config has checked it
		log.Warn("admin server: the default address is in use; taking a free port", "address", c.Listen)
		a.listener, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return nil, usageError{fmt.Errorf("admin.listen: %w; choose another address, or off for none", err)}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", a.probe(true, func(h health) bool { return h.Live }))
	mux.HandleFunc("GET /readyz", a.probe(false, func(h health) bool { return h.Ready }))
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{Registry: a.registry}))
	paths := "/livez /readyz /metrics"
	if private(a.listener.Addr()) {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index) // heap, goroutine, …
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
		paths += " /debug/pprof/"
	}
	a.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		defer close(a.done)
		if err := a.server.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("admin server ended", "error", err)
		}
	}()
	log.Info("admin server listens", "address", a.listener.Addr().String(), "paths", paths)
	return a, nil
}

// private reports whether only this machine reaches an address. Elsewhere there
// is no pprof: a heap dump holds rows and passwords.
func private(addr net.Addr) bool {
	at, ok := addr.(*net.TCPAddr)
	return ok && at.IP.IsLoopback()
}

// watch adds a part to the probes.
func (a *admin) watch(name string, f func() health) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.parts[name] = f
}

// probe answers 200 when good holds for every part, else 503; the body tells of
// each. empty is the answer while there are no parts yet.
func (a *admin) probe(empty bool, good func(health) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		a.mu.Lock()
		parts := make(map[string]health, len(a.parts))
		for name, f := range a.parts {
			parts[name] = f()
		}
		a.mu.Unlock()
		code := http.StatusOK
		if len(parts) == 0 && !empty {
			code = http.StatusServiceUnavailable
		}
		for _, h := range parts {
			if !good(h) {
				code = http.StatusServiceUnavailable
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(parts) // the client is gone: nothing to tell it
	}
}

// close stops serving and waits for it, 2 s at most.
func (a *admin) close() {
	if a.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if a.server.Shutdown(ctx) != nil {
		a.server.Close()
	}
	<-a.done
}
