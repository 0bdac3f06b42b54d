// Package servers hands out real servers: containers where an engine answers,
// else programs of this machine (package internal/services).
package servers

import (
	"context"
	"io"

	"cdc/internal/services"
)

// Server is one server, in a container or as a process. It outlives the process
// that started it.
type Server interface {
	// Address is what clients connect to, once Start has settled it: a
	// superuser's URL, host:port, the URL of the registry's Confluent API.
	Address() string
	// Start starts it unless it runs, waits until it answers, and reports
	// whether it started it.
	Start(context.Context) (bool, error)
	Stop(context.Context) error   // cleanly, keeping its data
	Kill(context.Context) error   // as a crash would, keeping its data
	Remove(context.Context) error // with its data
}

// Provider makes servers.
type Provider interface {
	// Postgres has wal_level=logical; settings come on top. Major 0 is any.
	Postgres(name string, major int, settings map[string]string) Server
	Kafka(name string) Server
	Registry(name string) Server
	StopAll(context.Context) error
	String() string
}

// Open returns the provider for this machine. Progress goes to log.
func Open(ctx context.Context, log io.Writer) (Provider, *services.Home, error) {
	home, err := services.Find(log)
	if err != nil {
		return nil, nil, err
	}
	if d := engine(ctx, home); d != nil {
		return d, home, nil
	}
	return local{home}, home, nil
}

type local struct{ home *services.Home }

func (l local) Postgres(name string, major int, settings map[string]string) Server {
	return l.home.Postgres(name, services.Postgres{Major: major, Settings: settings})
}
func (l local) Kafka(name string) Server          { return l.home.Kafka(name, services.Kafka{}) }
func (l local) Registry(name string) Server       { return l.home.Registry(name) }
func (l local) StopAll(ctx context.Context) error { return l.home.StopAll(ctx) }
func (l local) String() string                    { return "programs below " + l.home.Dir }
