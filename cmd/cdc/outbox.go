package main

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"cdc/config"
	"cdc/mapping"
	"cdc/outbox/cleanup"
	"cdc/outbox/route"
	"cdc/pipeline"
	"cdc/producer"
	"cdc/replication"
	"cdc/replication/mysql"
	"cdc/replication/postgres"
)

// outbox is the routing of the file's outboxes; none when it has none.
func (s *setup) outbox() route.Config {
	c := s.config
	r := route.Config{Name: c.Name, Prefix: c.Map.Prefix, Registry: s.registry, Logger: s.log, Registerer: s.registerer}
	for _, b := range c.Outbox {
		r.Outboxes = append(r.Outboxes, route.Outbox{
			Schema: b.Schema, Table: b.Table, Prefix: b.Prefix, Preset: b.Preset, Columns: route.Columns(b.Columns),
			Topic: b.Topic, Payload: b.Payload, Schemas: b.Schemas, Headers: b.Headers, IDHeader: b.IDHeader,
			Partitioner: b.Partitioner, EmptyIsTombstone: b.EmptyIsTombstone, Compact: b.Compact, OnError: b.OnError,
		})
	}
	return r
}

// captureOutboxes adds the file's outboxes to what a source reads.
func (s *setup) captureOutboxes(p *postgres.Config) {
	for _, b := range s.config.Outbox {
		if b.Prefix != "" {
			p.Messages = append(p.Messages, b.Prefix)
			continue
		}
		p.Tables = append(p.Tables, postgres.TableConfig{
			Schema: b.Schema, Name: b.Table, Snapshot: postgres.SnapshotMode(b.Snapshot), Keyless: true, Ordered: true,
		})
	}
}

// routed puts the outboxes before the mapper of rows, when there are any.
func routed(r route.Config, rows mapping.Mapper) (mapping.Mapper, error) {
	if len(r.Outboxes) == 0 {
		return rows, nil
	}
	r.Inner = rows
	return route.New(r)
}

// deadLetters reports whether something may go to the dead letters.
func deadLetters(c *config.Config) bool {
	return c.OnError == producer.OnErrorDeadLetter || slices.ContainsFunc(c.Outbox, func(b config.Outbox) bool { return b.OnError == mapping.OnErrorDeadLetter })
}

// cleanup is what to clean up of the file's outboxes; without tables when
// nothing is.
func (s *setup) cleanup() cleanup.Config {
	c := cleanup.Config{Logger: s.log, Registerer: s.registerer}
	for _, b := range s.config.Outbox {
		if b.Cleanup != nil {
			c.Tables = append(c.Tables, cleanup.Table{
				Schema: b.Schema, Name: b.Table, Every: b.Cleanup.Every, Batch: b.Cleanup.Batch, DropPartitions: b.Cleanup.DropPartitions,
			})
		}
	}
	if pg := s.config.Source.Postgres; pg != nil {
		c.Open = func(ctx context.Context) (cleanup.Store, error) {
			return cleanup.OpenPostgres(ctx, pg.URL, pg.Publication)
		}
	} else if len(c.Tables) > 0 {
		my := s.mysqlSource()
		c.Open = func(ctx context.Context) (cleanup.Store, error) { return cleanup.OpenMySQL(ctx, my) }
	}
	return c
}

// reached asks the source whether a position has passed a mark and a table's
// snapshot.
type reached func(p replication.Position, mark, schema, table string) (bool, error)

func (s *setup) reached() reached {
	if s.config.Source.Postgres != nil {
		return postgres.Reached
	}
	return mysql.Reached
}

// savedCheckpoints remembers the newest position that was saved.
type savedCheckpoints struct {
	pipeline.Checkpoints
	newest atomic.Pointer[replication.Position]
}

func (s *savedCheckpoints) Save(ctx context.Context, p replication.Position) error {
	err := s.Checkpoints.Save(ctx, p)
	if err == nil {
		s.newest.Store(&p)
	}
	return err
}

// startCleanup cleans up beside a capture until stop is called. problems says
// what keeps it from doing so.
func startCleanup(ctx context.Context, c cleanup.Config, ask reached, saved *savedCheckpoints) (problems func() []string, stop func(), err error) {
	if len(c.Tables) == 0 {
		return func() []string { return nil }, func() {}, nil
	}
	c.Reached = func(t cleanup.Table, m cleanup.Mark) (bool, error) {
		p := saved.newest.Load()
		if p == nil {
			return false, nil
		}
		return ask(*p, string(m), t.Schema, t.Name)
	}
	cleaner, err := cleanup.New(c)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { cleaner.Run(ctx) })
	return cleaner.Problems, func() {
		cancel()
		wg.Wait()
	}, nil
}
