package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
)

// BrokerConfig says where a broker keeps its data and where it listens.
type BrokerConfig struct {
	Dir string // its own folder; made when it is not there, its data used again
	// Port is the port on 127.0.0.1. 0 takes a free one, and the same again at
	// the next start in Dir while it is free.
	Port   int
	Logger *slog.Logger
}

// Broker is a Kafka of one broker inside this process, with its data on disk.
// Clients see idempotent producing, transactions, consumer groups, compaction
// and retention. What it is not: replicated, safe from a crash of the machine
// (it leaves writing to the operating system, as Kafka does), reachable from
// other machines, guarded by a password, or fast with many clients, since one
// goroutine answers them all. Topics are never created by merely naming them.
type Broker struct {
	cluster *kfake.Cluster
	addr    string // kfake does not tell it after its end
	lock    *os.File
	close   sync.Once
}

// brokerSettings differ from kfake's own. Compaction and retention run every
// half minute instead of every hour, so that what they do is seen in a demo;
// members of the newer consumer groups settle in one second instead of five.
var brokerSettings = map[string]string{
	"log.cleaner.backoff.ms":                    "30000",
	"group.consumer.heartbeat.interval.ms":      "1000",
	"message.max.bytes":                         "10485760",
	"transaction.max.timeout.ms":                "900000",
	"max.incremental.fetch.session.cache.slots": "1000",
}

// StartBroker starts a broker. Close ends it.
func StartBroker(cfg BrokerConfig) (*Broker, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	cluster, err := startCluster(cfg)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("start broker: %w", err)
	}
	return &Broker{cluster: cluster, addr: cluster.ListenAddrs()[0], lock: lock}, nil
}

func startCluster(cfg BrokerConfig) (*kfake.Cluster, error) {
	portFile := filepath.Join(cfg.Dir, "port")
	port := cfg.Port
	if port == 0 {
		kept, err := keptPort(portFile)
		if err != nil {
			return nil, err
		}
		port = kept
	}
	for {
		if port == 0 {
			free, err := freePort()
			if err != nil {
				return nil, err
			}
			port = free
		}
		cluster, err := kfake.NewCluster(
			kfake.NumBrokers(1), kfake.Ports(port), kfake.ClusterID("cdc-embedded"), kfake.DefaultNumPartitions(1),
			kfake.DataDir(filepath.Join(cfg.Dir, "data")), kfake.BrokerConfigs(brokerSettings), kfake.WithLogger(brokerLogger{cfg.Logger}))
		if err == nil {
			if err := keepPort(portFile, port); err != nil {
				cluster.Close()
				return nil, err
			}
			return cluster, nil
		}
		if cfg.Port != 0 || !strings.Contains(err.Error(), "address already in use") {
			return nil, err
		}
		port = 0 // the kept one is taken by now
	}
}

// Addr returns host:port for clients.
func (b *Broker) Addr() string { return b.addr }

// Close ends the broker, writes its data out and gives the folder free. A
// second call does nothing.
func (b *Broker) Close() {
	b.close.Do(func() {
		b.cluster.Close()
		b.lock.Close()
	})
}

// brokerLogger hands what kfake logs to slog, its information as debugging.
type brokerLogger struct{ logger *slog.Logger }

func (l brokerLogger) Logf(level kfake.LogLevel, format string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case kfake.LogLevelError:
		to = slog.LevelError
	case kfake.LogLevelWarn:
		to = slog.LevelWarn
	}
	if ctx := context.Background(); l.logger.Enabled(ctx, to) {
		l.logger.Log(ctx, to, "broker: "+strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
}
