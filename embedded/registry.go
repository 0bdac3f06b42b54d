package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// RegistryConfig says where a registry keeps its schemas and where it listens.
type RegistryConfig struct {
	// Dir is its own folder; made when it is not there, its schemas used again.
	Dir string
	// Listen is host:port. Without it, 127.0.0.1 and a free port, and the same
	// again at the next start in Dir while it is free.
	Listen string
	Logger *slog.Logger
}

// Registry is a schema registry for Avro inside this process. It speaks the
// HTTP API of Confluent's: subjects, versions, ids, soft and hard deletes,
// compatibility for all and for one subject. It really parses schemas and
// really compares them, and what it acknowledged is on disk. What it is not:
// guarded by a password, replicated, or able to do JSON Schema, Protobuf,
// references between schemas, contexts and modes other than READWRITE.
type Registry struct {
	url    string
	store  *store
	lock   *os.File
	server *http.Server
	done   chan struct{} // closed when the server has ended
	close  sync.Once
	err    error // of Close
}

// StartRegistry starts a registry. Close ends it.
func StartRegistry(cfg RegistryConfig) (*Registry, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("start registry: %w", err)
	}
	store, err := openStore(filepath.Join(cfg.Dir, "schemas.jsonl"), cfg.Logger)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("start registry: %w", err)
	}
	listener, err := listenRegistry(cfg)
	if err != nil {
		store.close()
		lock.Close()
		return nil, fmt.Errorf("start registry: %w", err)
	}
	r := &Registry{
		url: "http://" + listener.Addr().String(), store: store, lock: lock, done: make(chan struct{}),
		server: &http.Server{
			Handler: (&registryAPI{store: store, logger: cfg.Logger}).routes(), ReadHeaderTimeout: 10 * time.Second,
			ErrorLog: slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelWarn),
		},
	}
	go func() {
		defer close(r.done)
		if err := r.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			cfg.Logger.Error("registry ended", "error", err)
		}
	}()
	return r, nil
}

func listenRegistry(cfg RegistryConfig) (net.Listener, error) {
	if cfg.Listen != "" {
		return net.Listen("tcp", cfg.Listen)
	}
	portFile := filepath.Join(cfg.Dir, "port")
	port, err := keptPort(portFile)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("%s:%d", loopback, port))
	if err != nil && port != 0 { // taken by now
		listener, err = net.Listen("tcp", loopback+":0")
	}
	if err != nil {
		return nil, err
	}
	if err := keepPort(portFile, listener.Addr().(*net.TCPAddr).Port); err != nil {
		listener.Close()
		return nil, err
	}
	return listener, nil
}

// URL returns the base URL for clients.
func (r *Registry) URL() string { return r.url }

// Close lets requests that came in finish, for 5 s at most, ends the registry
// and gives the folder free. A second call does nothing.
func (r *Registry) Close() error {
	r.close.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := r.server.Shutdown(ctx); err != nil {
			r.err = errors.Join(fmt.Errorf("close registry: %w", err), r.server.Close())
		}
		<-r.done
		r.err = errors.Join(r.err, r.store.close())
		r.lock.Close()
	})
	return r.err
}
