package main

import (
	"slices"

	"cdc/config"
	"cdc/mapping"
	"cdc/outbox/route"
	"cdc/producer"
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
