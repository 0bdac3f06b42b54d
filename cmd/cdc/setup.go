package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cdc/config"
	"cdc/kafka"
	"cdc/mapping"
	"cdc/mapping/avro"
	"cdc/mapping/debezium"
	"cdc/producer"
	"cdc/replication"
	"cdc/replication/pace"
	"cdc/replication/postgres"
	"cdc/sink"
	sinkmysql "cdc/sink/mysql"
	sinkpg "cdc/sink/postgres"
)

// loadConfig reads the file; what is wrong in it is a usage error.
func loadConfig(path string) (*config.Config, error) {
	c, err := config.Load(path)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

func newLogger(c config.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // config allows only names that parse
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// setup turns a configuration into what the packages want.
type setup struct {
	config     *config.Config
	log        *slog.Logger
	registerer prometheus.Registerer
	kafka      kafka.Config
	registry   *avro.Registry
}

// newSetup needs the addresses of embedded services to stand in c already.
func newSetup(c *config.Config, log *slog.Logger, registerer prometheus.Registerer) (*setup, error) {
	s := &setup{config: c, log: log, registerer: registerer}
	s.kafka = kafka.Config{Brokers: c.Kafka.Brokers, ClientID: "cdc-" + c.Name, Logger: log}
	if t := c.Kafka.TLS; t != nil {
		s.kafka.TLS = tlsConfig(t)
	}
	if a := c.Kafka.SASL; a != nil {
		s.kafka.SASL = &kafka.SASLConfig{
			Mechanism: a.Mechanism, Username: a.Username, Password: a.Password,
			Token: a.Token, TokenFile: a.TokenFile, TokenURL: a.TokenURL,
			ClientID: a.ClientID, ClientSecret: a.ClientSecret, Scope: a.Scope, Extensions: a.Extensions,
		}
	}
	r := avro.RegistryConfig{
		URL: c.Registry.URL, Username: c.Registry.Username, Password: c.Registry.Password, Token: c.Registry.Token,
		Mode: avro.Mode(c.Registry.Mode), Logger: log,
	}
	var err error
	if t := c.Registry.TLS; t != nil {
		if r.TLS, err = tlsConfig(t).Load(); err != nil {
			return nil, usageError{fmt.Errorf("registry: %w", err)}
		}
	}
	if s.registry, err = avro.NewRegistry(r); err != nil {
		return nil, usageError{err}
	}
	return s, nil
}

func tlsConfig(t *config.TLS) *kafka.TLSConfig {
	return &kafka.TLSConfig{CAFile: t.CA, CertFile: t.Cert, KeyFile: t.Key, ServerName: t.ServerName, Insecure: t.Insecure}
}

func (s *setup) source() postgres.Config {
	c, pg := s.config, s.config.Source.Postgres
	p := postgres.Config{
		Name: c.Name, URL: pg.URL, Slot: pg.Slot, Publication: pg.Publication, SlotWait: pg.SlotWait, Failover: postgres.Failover(pg.Failover),
		NoStreaming: !pg.Streaming, SpillMemory: pg.SpillMemory, SpillDir: pg.SpillDir,
		Logger: s.log, Registerer: s.registerer, Progress: logProgress(s.log),
	}
	for _, t := range c.Tables {
		p.Tables = append(p.Tables, postgres.TableConfig{
			Schema: t.Schema, Name: t.Name, Snapshot: postgres.SnapshotMode(t.Snapshot),
			Key: keyColumns(t.Key), Keyless: t.Key.Mode == config.KeyNone, Toast: postgres.Toast(t.Toast), AsText: t.AsText,
		})
	}
	if e := c.Map.Debezium; e != nil {
		p.Messages = append(p.Messages, e.Messages...)
	}
	s.captureOutboxes(&p)
	verify := s.verify()
	for i := range p.Tables {
		p.Tables[i].Verify = verify(p.Tables[i].Schema, p.Tables[i].Name)
	}
	return p
}

// keyColumns are the columns that must be in the replica identity. Those of a
// given schema are known to the mapper alone, which checks them, too.
func keyColumns(k config.Key) []string {
	if k.Mode == config.KeyPlain {
		return []string{k.Field}
	}
	return k.Fields
}

// unchanged is what the mapper does with values that the source, by its policy,
// does not supply.
func unchanged(toast string) string {
	switch postgres.Toast(toast) {
	case postgres.ToastOmit:
		return mapping.UnchangedOmit
	case postgres.ToastFail:
		return mapping.UnchangedFail
	default:
		return mapping.UnchangedMark
	}
}

func (s *setup) mapping() mapping.Config {
	c := s.config
	m := mapping.Config{
		Topic: c.Map.Topic, Prefix: c.Map.Prefix, Namespace: c.Map.Namespace, Truncate: c.Map.Truncate,
		Registry: s.registry, Logger: s.log, Registerer: s.registerer,
	}
	if e := c.Map.Debezium; c.Map.Format == "debezium" {
		m.Debezium = &mapping.Debezium{
			Options: debezium.Options{
				Decimal: e.Decimal, Time: e.Time, Binary: e.Binary, HStore: e.HStore, Interval: e.Interval, Names: e.Names, Unavailable: e.Unavailable,
				BigintUnsigned: e.BigintUnsigned,
			},
			Source:       debezium.Source{Name: e.Name},
			NoTombstones: !e.Tombstones, Transactions: e.Transactions, TransactionTopic: e.TransactionTopic, Messages: len(e.Messages) > 0,
		}
		d := m.Debezium
		switch {
		case c.Source.Postgres != nil:
			d.Source.Connector, d.Source.Database = "postgresql", postgres.DatabaseName(c.Source.Postgres.URL)
		case c.Source.MySQL != nil:
			d.Source.Connector, d.ZeroDates = "mysql", c.Source.MySQL.ZeroDates == "epoch"
		case c.Source.MariaDB != nil:
			d.Source.Connector, d.ZeroDates = "mariadb", c.Source.MariaDB.ZeroDates == "epoch"
		}
	}
	for _, t := range c.Tables {
		m.Tables = append(m.Tables, mapping.TableConfig{
			Schema: t.Schema, Name: t.Name, Topic: t.Topic,
			Key:     mapping.KeyConfig{Mode: mapping.KeyMode(t.Key.Mode), Fields: t.Key.Fields, Field: t.Key.Field, Schema: t.Key.Schema},
			Include: t.Include, Exclude: t.Exclude, Rename: t.Rename, Unchanged: unchanged(t.Toast),
		})
	}
	return m
}

func (s *setup) producer() producer.Config {
	c := s.config
	return producer.Config{
		Kafka: s.kafka, BufferBytes: c.Kafka.Buffer, MaxRecordBytes: c.Kafka.MaxRecord,
		Compression: c.Kafka.Compression, Linger: c.Kafka.Linger,
		Topics: producer.TopicConfig{
			Create: c.Kafka.Topics.Create, Partitions: c.Kafka.Topics.Partitions, Replication: c.Kafka.Topics.Replication,
			Compact: c.Kafka.Topics.Compact, Extra: c.Kafka.Topics.Config,
		},
		OnError: c.OnError, DeadLetterTopic: c.DeadLetterTopic, CheckpointTopic: c.Kafka.CheckpointTopic, Logger: s.log, Registerer: s.registerer,
	}
}

func (s *setup) capture() captureSetup {
	return captureSetup{
		Name: s.config.Name, Database: s.database(), Mapping: s.mapping(), Outbox: s.outbox(), Cleanup: s.cleanup(), Reached: s.reached(), Producer: s.producer(),
		DeadLetters:     deadLetters(s.config),
		CheckpointTopic: s.config.Kafka.CheckpointTopic, DrainTimeout: s.config.DrainTimeout,
		Logger: s.log, Registerer: s.registerer,
	}
}

// sinkTarget is the database that a sink writes to.
type sinkTarget struct {
	open  func(context.Context) (sink.Writer, error)
	check func(context.Context) []replication.Finding
}

func (s *setup) sinkTarget(c config.Sink) sinkTarget {
	if m := cmp.Or(c.MySQL, c.MariaDB); m != nil {
		target := sinkmysql.Config{
			URL: m.URL, CreateTables: c.CreateTables, AddColumns: c.AddColumns, AlterColumns: c.AlterColumns,
			Schema: c.Schema, OffsetsTable: c.OffsetsTable, Logger: s.log,
		}
		if t := m.TLS; t != nil {
			target.TLS = &sinkmysql.TLS{CAFile: t.CA, CertFile: t.Cert, KeyFile: t.Key, ServerName: t.ServerName, Insecure: t.Insecure}
		}
		return sinkTarget{
			open:  func(ctx context.Context) (sink.Writer, error) { return sinkmysql.Open(ctx, target) },
			check: func(ctx context.Context) []replication.Finding { return sinkmysql.Check(ctx, target) },
		}
	}
	target := sinkpg.Config{
		URL: c.Postgres.URL, CreateTables: c.CreateTables, AddColumns: c.AddColumns, AlterColumns: c.AlterColumns,
		Schema: c.Schema, OffsetsTable: c.OffsetsTable, Logger: s.log,
	}
	return sinkTarget{
		open:  func(ctx context.Context) (sink.Writer, error) { return sinkpg.Open(ctx, target) },
		check: func(ctx context.Context) []replication.Finding { return sinkpg.Check(ctx, target) },
	}
}

func (s *setup) sink(c config.Sink) sink.Config {
	k := s.kafka
	k.ClientID = "cdc-sink-" + c.Name
	out := sink.Config{
		Name: c.Name, OffsetsTable: c.OffsetsTable, Group: c.Group, Kafka: k, Topics: c.Topics, Registry: s.registry,
		Writer:  s.sinkTarget(c).open,
		OnError: c.OnError, DeadLetterTopic: c.DeadLetterTopic,
		BatchRows: c.Batch.Rows, BatchBytes: c.Batch.Bytes, MaxWait: c.Batch.Wait,
		DefaultSchema: c.Schema, Logger: s.log, Registerer: s.registerer, DrainTimeout: s.config.DrainTimeout,
	}
	topics, _ := mapping.Topics(s.mapping()) // its error is the capture's
	for _, t := range topics {
		if len(t.Tables) == 0 { // of transactions, or of messages
			out.NotTables = append(out.NotTables, t.Name)
		}
	}
	for _, t := range c.Tables {
		out.Tables = append(out.Tables, sink.TableConfig{Topic: t.Topic, Schema: t.Schema, Table: t.Table, Key: t.Key})
	}
	return out
}

// logProgress logs how far a table's snapshot is, with rate and time left, at
// most every five seconds a table.
func logProgress(log *slog.Logger) func(pace.Progress) {
	const every = 5 * time.Second
	var mu sync.Mutex
	last := map[string]time.Duration{}
	return func(p pace.Progress) {
		mu.Lock()
		defer mu.Unlock()
		name := p.Schema + "." + p.Table
		if p.Done { // the source logs that itself
			delete(last, name)
			return
		}
		if p.Elapsed-last[name] < every {
			return
		}
		last[name] = p.Elapsed
		rate := 0.0
		if s := p.Elapsed.Seconds(); s > 0 {
			rate = float64(p.Rows) / s
		}
		args := []any{"table", name, "rows", p.Rows, "bytes", p.Bytes, "rows_per_second", int64(rate), "elapsed", p.Elapsed.Round(time.Millisecond)}
		if left := p.Estimate - p.Rows; p.Estimate > 0 && left > 0 && rate > 0 {
			args = append(args, "rows_estimated", p.Estimate, "time_left", time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))
		}
		log.Info("reading snapshot", args...)
	}
}

// embeddedDir is where an embedded service keeps its data.
func embeddedDir(c *config.Config, service string) string { return filepath.Join(c.DataDir, service) }
