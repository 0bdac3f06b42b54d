package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"cdc/config"
	"cdc/embedded"
)

// addresses are those of the embedded services of a running process, left in
// the data folder for `cdc tail` and the other commands.
type addresses struct {
	Brokers  []string `json:"brokers,omitempty"`
	Registry string   `json:"registry,omitempty"`
}

func addressFile(c *config.Config) string { return filepath.Join(c.DataDir, "addresses.json") }

// startEmbedded starts the services that the configuration wants inside this
// process, and puts their addresses into it. The returned function ends them.
func startEmbedded(c *config.Config, log *slog.Logger) (stop func(), err error) {
	var started []func()
	stop = func() {
		for _, end := range slices.Backward(started) {
			end()
		}
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	if !c.Kafka.Embedded && !c.Registry.Embedded {
		return stop, nil
	}
	var at addresses
	if c.Kafka.Embedded {
		b, err := embedded.StartBroker(embedded.BrokerConfig{Dir: embeddedDir(c, "kafka"), Logger: log})
		if err != nil {
			return stop, fmt.Errorf("kafka: embedded: %w", err)
		}
		started = append(started, b.Close)
		c.Kafka.Brokers = []string{b.Addr()}
		at.Brokers = c.Kafka.Brokers
		log.Warn("embedded broker: for development on one machine; not replicated, not reachable from elsewhere, no password",
			"address", b.Addr(), "data", embeddedDir(c, "kafka"))
	}
	if c.Registry.Embedded {
		r, err := embedded.StartRegistry(embedded.RegistryConfig{Dir: embeddedDir(c, "registry"), Logger: log})
		if err != nil {
			return stop, fmt.Errorf("registry: embedded: %w", err)
		}
		started = append(started, func() {
			if err := r.Close(); err != nil {
				log.Error("close the embedded registry", "error", err)
			}
		})
		c.Registry.URL = r.URL()
		at.Registry = r.URL()
		log.Warn("embedded schema registry: for development on one machine; not replicated, no password",
			"url", r.URL(), "data", embeddedDir(c, "registry"))
	}
	data, err := json.Marshal(at)
	if err != nil {
		return stop, err
	}
	return stop, os.WriteFile(addressFile(c), data, 0o600)
}

// borrowEmbedded is for commands beside the one that runs: it starts the
// embedded services, or finds those of the process that has them already.
func borrowEmbedded(c *config.Config, log *slog.Logger) (stop func(), err error) {
	stop, err = startEmbedded(c, log)
	if errors.Is(err, embedded.ErrInUse) {
		return func() {}, findEmbedded(c)
	}
	return stop, err
}

// borrowSetup is the setup of a command that only looks, or cleans up, and may
// find the services of another process. stop ends those that it had to start.
func borrowSetup(a *app, c *config.Config) (s *setup, stop func(), err error) {
	log := newLogger(c.Log, a.stderr)
	if stop, err = borrowEmbedded(c, log); err != nil {
		return nil, nil, err
	}
	if s, err = newSetup(c, log, nil); err != nil {
		stop()
		return nil, nil, err
	}
	return s, stop, nil
}

// findEmbedded puts the addresses of the embedded services of another, running
// process into the configuration.
func findEmbedded(c *config.Config) error {
	if !c.Kafka.Embedded && !c.Registry.Embedded {
		return nil
	}
	data, err := os.ReadFile(addressFile(c))
	if errors.Is(err, fs.ErrNotExist) {
		return usageError{fmt.Errorf("the configuration has embedded services, and no `cdc run` has started them in %s yet: start it first", c.DataDir)}
	}
	if err != nil {
		return fmt.Errorf("find embedded services: %w", err)
	}
	var at addresses
	if err := json.Unmarshal(data, &at); err != nil {
		return fmt.Errorf("find embedded services: %s: %w", addressFile(c), err)
	}
	if c.Kafka.Embedded {
		c.Kafka.Brokers = at.Brokers
	}
	if c.Registry.Embedded {
		c.Registry.URL = at.Registry
	}
	return nil
}
