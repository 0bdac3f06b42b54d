package mapping

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"cdc/replication"
)

// New returns the Mapper of the configured format: row, or debezium where
// Config.Debezium is set.
//
// In the format row the value is the row as Avro in
// Confluent's wire format, a delete is a tombstone, and what happened stands in
// the headers. It compiles a plan the first time it sees a version of a table,
// which asks the registry for the schemas' ids; from then on a row costs a loop
// over encoders and allocates nothing. One goroutine at a time calls Map.
//
// A change of a row's key becomes two records of the same cdc.position: a
// tombstone of the old key with cdc.op=delete, which ends the old row in a
// compacted topic, and then the row under its new key with cdc.op=update.
//
// The error names what is wrong in cfg.
func New(cfg Config) (Mapper, error) {
	r, err := newRouter(&cfg)
	if err != nil {
		return nil, fmt.Errorf("map: %w", err)
	}
	if cfg.Debezium != nil {
		return newDebezium(&cfg, r)
	}
	m := &rowMapper{truncate: or(cfg.Truncate, TruncateRecord)}
	if m.planner, err = newPlanner(&cfg, r, m.truncate); err != nil {
		return nil, fmt.Errorf("map: %w", err)
	}
	return m, nil
}

type rowMapper struct {
	planner  *planner
	truncate string
	last     *plan // of the change before
}

// Map is Mapper's.
func (m *rowMapper) Map(ctx context.Context, b *replication.Batch, out *Records) error {
	const headers = 4 // of most records
	n := len(b.Changes)
	out.List = slices.Grow(out.List, n)
	out.Headers = slices.Grow(out.Headers, headers*n)
	out.Buf = slices.Grow(out.Buf, b.Bytes)
	var tx txHeaders // per call: the next Batch may reuse the Transactions' memory
	for i := range b.Changes {
		c := &b.Changes[i]
		p := m.last
		if p == nil || p.table != c.Table {
			var err error
			if p, err = m.planner.plan(ctx, c.Table); err != nil {
				return err
			}
			m.last = p
		}
		if tx.tx != c.Tx {
			tx.begin(out, c.Tx)
		}
		mark := out.Mark()
		if err := m.change(out, p, c, &tx); err != nil {
			out.Cut(mark)
			if replication.IsRefusal(err) {
				return err
			}
			return rowError(p, c, i, err)
		}
	}
	return nil
}

// change appends the records of one change.
func (m *rowMapper) change(out *Records, p *plan, c *replication.Change, tx *txHeaders) error {
	switch c.Op {
	case replication.OpRead, replication.OpInsert, replication.OpUpdate:
		if n := len(p.table.Columns); len(c.After) != n || c.Before != nil && len(c.Before) != n {
			return fmt.Errorf("the row has %d columns after and %d before the change, its table %d", len(c.After), len(c.Before), n)
		}
		return m.row(out, p, c, tx)
	case replication.OpDelete:
		if len(c.Before) != len(p.table.Columns) {
			return fmt.Errorf("the row has %d columns, its table %d", len(c.Before), len(p.table.Columns))
		}
		return m.delete(out, p, c, tx)
	case replication.OpTruncate:
		switch m.truncate {
		case TruncateSkip:
		case TruncateStop:
			return &replication.Refusal{
				Problem: fmt.Sprintf("table %s was truncated (transaction %s, position %s), and truncate is set to stop", p.table, c.Tx.ID, c.Tx.Commit),
				Remedy:  "empty what was made of its topic, set truncate to record or skip, and start again",
			}
		default:
			out.add(p, tx, c, c.Op, position(out, c), p.key.zero, nil)
			out.List[len(out.List)-1].AllPartitions = true
		}
		return nil
	default:
		return fmt.Errorf("operation %s has no record", c.Op)
	}
}

// row appends the row as it is after the change and, before it, a tombstone of
// its old key if it had another one.
func (m *rowMapper) row(out *Records, p *plan, c *replication.Change, tx *txHeaders) error {
	if p.complete {
		if err := p.refuseUnchanged(c.After); err != nil {
			return err
		}
	}
	at := position(out, c)
	key, err := p.appendKey(out, c.After)
	if err != nil {
		return err
	}
	if c.Before != nil && p.key.mode != KeyNone && !p.key.same(c.Before, c.After) {
		old, err := p.appendKey(out, c.Before)
		if err != nil {
			return fmt.Errorf("encode the old key: %w", err)
		}
		if !bytes.Equal(old, key) {
			out.add(p, tx, c, replication.OpDelete, at, old, nil)
		}
	}
	return p.appendRow(out, tx, c, at, key, c.After)
}

// delete appends a tombstone or, without keys, the row as it was.
func (m *rowMapper) delete(out *Records, p *plan, c *replication.Change, tx *txHeaders) error {
	at := position(out, c)
	if p.key.mode == KeyNone {
		return p.appendRow(out, tx, c, at, nil, c.Before)
	}
	key, err := p.appendKey(out, c.Before)
	if err != nil {
		return err
	}
	out.add(p, tx, c, c.Op, at, key, nil)
	return nil
}

// appendKey appends row's key to out.Buf and returns it, nil without keys.
func (p *plan) appendKey(out *Records, row []replication.Value) ([]byte, error) {
	if p.key.mode == KeyNone {
		return nil, nil
	}
	start := len(out.Buf)
	buf, err := p.key.append(out.Buf, p.table, row)
	if err != nil {
		return nil, err
	}
	out.Buf = buf
	return buf[start:len(buf):len(buf)], nil
}

// appendRow appends a record with row as its value.
func (p *plan) appendRow(out *Records, tx *txHeaders, c *replication.Change, at, key []byte, row []replication.Value) error {
	start := len(out.Buf)
	buf, err := p.value.Append(out.Buf, row)
	if err != nil {
		return err
	}
	out.Buf = buf
	out.add(p, tx, c, c.Op, at, key, buf[start:len(buf):len(buf)])
	first := len(out.Headers)
	p.appendUnchanged(out, row)
	if len(c.Refetched) > 0 {
		p.appendRefetched(out, c.Refetched)
	}
	if n := len(out.Headers); n > first { // they lie right behind the record's others
		r := &out.List[len(out.List)-1]
		first -= len(r.Headers)
		r.Headers = out.Headers[first:n:n]
	}
	return nil
}

// add appends a record with the headers that every record has.
func (r *Records) add(p *plan, tx *txHeaders, c *replication.Change, op replication.Op, at, key, value []byte) {
	start := tx.appendHeaders(r, op, at)
	end := len(r.Headers)
	r.List = append(r.List, Record{
		Topic: p.topic, Key: key, Value: value, Headers: r.Headers[start:end:end],
		Time: c.Tx.CommitTime, Op: op, Table: p.table, Describe: p.describe,
	})
}

// rowError says which change it was.
func rowError(p *plan, c *replication.Change, index int, err error) *RowError {
	row := c.After
	if row == nil {
		row = c.Before
	}
	if len(row) != len(p.table.Columns) {
		row = nil
	}
	return &RowError{
		Table: p.table.String(), Key: p.key.text(p.table, row), Op: c.Op,
		Tx: string(c.Tx.ID), Commit: string(c.Tx.Commit), Index: index, Err: err,
	}
}
