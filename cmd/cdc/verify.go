package main

import (
	"cdc/mapping"
	"cdc/outbox/route"
	"cdc/replication"
)

// verify returns what the mapping and the outboxes expect of the columns of a
// table, for its source to ask before a row of it has come; nil for nothing.
func (s *setup) verify() func(schema, table string) func(*replication.Table) error {
	rows, boxes := s.mapping(), s.outbox()
	return func(schema, table string) func(*replication.Table) error {
		for _, t := range rows.Tables {
			if t.Schema == schema && t.Name == table {
				return func(now *replication.Table) error { return mapping.VerifyColumns(t, now) }
			}
		}
		for _, o := range boxes.Outboxes {
			if o.Schema == schema && o.Table == table {
				return func(now *replication.Table) error { return route.Verify(o, now) }
			}
		}
		return nil
	}
}
