package mapping

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"cdc/mapping/avro"
	"cdc/mapping/debezium"
	"cdc/replication"
)

// Debezium configures the format debezium: records as Debezium's PostgreSQL
// connector writes them, see package mapping/debezium.
type Debezium struct {
	debezium.Options
	Source debezium.Source
	// NoTombstones leaves out the tombstone after a delete.
	NoTombstones bool
	// Transactions is provide.transaction.metadata: events tell their place in
	// their transaction, and a topic of the name TransactionTopic (topic.transaction,
	// "" is transaction) behind the prefix tells of each where it begins and ends.
	Transactions     bool
	TransactionTopic string
	// Messages publishes messages of the log to the topic message behind the
	// prefix.
	Messages bool
}

// The headers of the format debezium beside those of the format row.
const (
	headerNewKey = "__debezium.newkey"
	headerOldKey = "__debezium.oldkey"
	headerPrefix = "__debezium.context."
)

// debeziumMapper is the Mapper of the format debezium.
type debeziumMapper struct {
	planner  *planner
	cfg      *Debezium
	truncate string
	last     *plan // of the change before
	context  []Header
	event    debezium.Event // of the change in hand
	tx       transactions
	messages messages
	// readTable is the table of the last row that a snapshot read.
	readTable tableID
	now       func() time.Time
}

// debeziumPlan is what a plan has for this format.
type debeziumPlan struct {
	*debezium.Table
	keyID, valueID int
	collection     *collection // with transactions
}

func newDebezium(cfg *Config, r *router) (Mapper, error) {
	d := *cfg.Debezium
	if d.Source.Name == "" {
		return nil, errors.New("map: debezium: no name is given")
	}
	// The options are checked here, before there is a table.
	if _, err := debezium.Compile(d.Options, d.Source, &replication.Table{}, nil, nil); err != nil {
		return nil, fmt.Errorf("map: debezium: %w", err)
	}
	m := &debeziumMapper{cfg: &d, truncate: or(cfg.Truncate, TruncateSkip), now: time.Now}
	for id, t := range r.tables {
		switch t.Key.mode() {
		case KeyPrimary, KeyField, KeyNone:
		default:
			return nil, fmt.Errorf("map: table %s: the format debezium has no key of mode %s", id, t.Key.mode())
		}
		if t.Unchanged == UnchangedOmit {
			return nil, fmt.Errorf("map: table %s: the format debezium has no place for an omitted value: set toast to refetch or fail, or leave it out", id)
		}
	}
	var err error
	if r.transactions != "" {
		m.tx = newTransactions(r.transactions)
		m.tx.binlog = d.Source.Connector != "postgresql"
	}
	if r.messages != "" {
		if m.messages, err = newMessages(&d, r.messages); err != nil {
			return nil, err
		}
	}
	var run [16]byte
	_, _ = rand.Read(run[:]) // never fails
	for _, h := range [][2]string{
		{"connectorLogicalName", d.Source.Name}, {"taskId", "0"}, {"connectorName", d.Source.Connector}, {"runId", hex.EncodeToString(run[:])},
	} {
		m.context = append(m.context, Header{headerPrefix + h[0], []byte(h[1])})
	}
	if m.planner, err = newPlanner(cfg, r, m.truncate); err != nil {
		return nil, fmt.Errorf("map: %w", err)
	}
	m.planner.debezium = &d
	return m, nil
}

// compileDebezium fills in the plan of a version of a table.
func (pl *planner) compileDebezium(ctx context.Context, p *plan, cfg *TableConfig, keys []int, specs []avro.FieldSpec) error {
	table, err := debezium.Compile(pl.debezium.Options, pl.debezium.Source, p.table, specs, keys)
	if err != nil {
		return refuseSchema(p.table, err)
	}
	for _, s := range []string{table.KeySchema, table.ValueSchema} {
		if _, err := avro.ParseSchema(s); s != "" && err != nil {
			return refuseSchema(p.table, err)
		}
	}
	p.fields = make([]string, len(p.table.Columns))
	for i, s := range specs {
		p.fields[s.Source] = table.Fields[i]
	}
	p.debezium.Table = table
	if p.debezium.valueID, err = pl.registry.ID(ctx, p.topic+"-value", table.ValueSchema); err != nil {
		return err
	}
	p.key.mode, p.key.columns, p.key.schema = cfg.Key.mode(), keys, table.KeySchema
	if p.key.mode == KeyNone {
		p.describe = func([]byte) string { return "(none)" }
		return nil
	}
	p.describe = describeAvro(p.key.schema)
	p.debezium.keyID, err = pl.registry.ID(ctx, p.topic+"-key", p.key.schema)
	return err
}

// Map is Mapper's.
func (m *debeziumMapper) Map(ctx context.Context, b *replication.Batch, out *Records) error {
	const headers = 8 // of most records
	n := len(b.Changes)
	out.List = slices.Grow(out.List, n)
	out.Headers = slices.Grow(out.Headers, headers*n)
	out.Buf = slices.Grow(out.Buf, 2*b.Bytes)
	m.event.Now = m.now().UnixNano()
	var tx txHeaders // per call: the next Batch may reuse the Transactions' memory
	for i := range b.Changes {
		c := &b.Changes[i]
		if tx.tx != c.Tx {
			tx.begin(out, c.Tx)
			if err := m.begin(ctx, out, c.Tx); err != nil {
				return err
			}
		}
		if c.Log != nil {
			m.event.Locate(c, m.cfg.Source.Connector)
		}
		mark, counts := out.Mark(), m.tx.counts
		if c.Op == replication.OpMessage {
			if err := m.message(ctx, out, c, i, &tx); err != nil {
				m.tx.back(counts, m.messages.collection)
				out.Cut(mark)
				return err
			}
			continue
		}
		p := m.last
		if p == nil || p.table != c.Table {
			var err error
			if p, err = m.plan(ctx, c.Table); err != nil {
				return err
			}
			m.last = p
		}
		var next *replication.Table
		if i+1 < n {
			next = b.Changes[i+1].Table
		}
		m.snapshot(c, next, i == n-1 && b.Position != "")
		if err := m.change(out, p, c, &tx); err != nil {
			m.tx.back(counts, p.debezium.collection)
			out.Cut(mark)
			if replication.IsRefusal(err) {
				return err
			}
			return rowError(p, c, i, err)
		}
	}
	if !b.Open {
		m.tx.end(out)
	}
	return nil
}

func (m *debeziumMapper) plan(ctx context.Context, t *replication.Table) (*plan, error) {
	p, err := m.planner.plan(ctx, t)
	if err == nil && m.tx.on && p.debezium.collection == nil {
		p.debezium.collection = m.tx.collection(t.String())
	}
	return p, err
}

// begin takes from tx what every event of it says.
func (m *debeziumMapper) begin(ctx context.Context, out *Records, tx *replication.Transaction) error {
	e := &m.event
	e.CommitTime = tx.CommitTime
	e.TxID, _ = strconv.ParseInt(string(tx.ID), 10, 64)
	e.LSN = lsn(tx.Commit)
	if !m.tx.on {
		return nil
	}
	return m.tx.begin(ctx, m.planner.registry, out, tx, e)
}

// lsn is a PostgreSQL log position, 16/B374D848, as a number.
func lsn(text []byte) int64 {
	high, low, _ := bytes.Cut(text, []byte{'/'})
	h, _ := strconv.ParseUint(string(high), 16, 32)
	l, _ := strconv.ParseUint(string(low), 16, 32)
	return int64(h<<32 | l)
}

// snapshot says whether a change is a row of a snapshot, and which of them: next
// is the table of the change after it in the batch, nil when that is not known.
func (m *debeziumMapper) snapshot(c *replication.Change, next *replication.Table, last bool) {
	id := tableID{c.Table.Schema, c.Table.Name}
	switch {
	case c.Op != replication.OpRead:
		m.event.Snapshot = "false"
		m.readTable = tableID{}
		return
	case last:
		m.event.Snapshot = "last"
	case m.readTable == tableID{}:
		m.event.Snapshot = "first"
	case m.readTable != id:
		m.event.Snapshot = "first_in_data_collection"
	case next != nil && (next.Schema != id.schema || next.Name != id.name):
		m.event.Snapshot = "last_in_data_collection"
	default:
		m.event.Snapshot = "true"
	}
	m.readTable = id
}

// change appends the records of one change.
func (m *debeziumMapper) change(out *Records, p *plan, c *replication.Change, tx *txHeaders) error {
	n := len(p.table.Columns)
	switch c.Op {
	case replication.OpRead, replication.OpInsert, replication.OpUpdate:
		if len(c.After) != n || c.Before != nil && len(c.Before) != n {
			return fmt.Errorf("the row has %d columns after and %d before the change, its table %d", len(c.After), len(c.Before), n)
		}
		if p.complete {
			if err := p.refuseUnchanged(c.After); err != nil {
				return err
			}
		}
		return m.row(out, p, c, tx)
	case replication.OpDelete:
		if len(c.Before) != n {
			return fmt.Errorf("the row has %d columns, its table %d", len(c.Before), n)
		}
		key, err := m.key(out, p, c.Before)
		if err != nil {
			return err
		}
		return m.delete(out, p, c, tx, key, position(out, c), nil)
	case replication.OpTruncate:
		return m.truncated(out, p, c, tx)
	default:
		return fmt.Errorf("operation %s has no record", c.Op)
	}
}

// row appends the row after the change; a change of its key is a delete of the
// old one and the creation of the new one.
func (m *debeziumMapper) row(out *Records, p *plan, c *replication.Change, tx *txHeaders) error {
	at := position(out, c)
	key, err := m.key(out, p, c.After)
	if err != nil {
		return err
	}
	op, before := byte('u'), c.Before
	switch c.Op {
	case replication.OpRead:
		op = 'r'
	case replication.OpInsert:
		op = 'c'
	default:
	}
	if c.Before == nil || p.key.mode == KeyNone || p.key.same(c.Before, c.After) {
		if before != nil && !wholly(before) {
			before = nil // the replica identity alone, which the key tells already
		}
		return m.add(out, p, c, tx, at, key, op, before, c.After, nil)
	}
	old, err := m.key(out, p, c.Before)
	if err != nil {
		return fmt.Errorf("encode the old key: %w", err)
	}
	if bytes.Equal(old, key) { // 1.0 and 1.00
		return m.add(out, p, c, tx, at, key, op, nil, c.After, nil)
	}
	newKey, err := m.keyHeader(out, p, headerNewKey, c.After)
	if err != nil {
		return err
	}
	oldKey, err := m.keyHeader(out, p, headerOldKey, c.Before)
	if err != nil {
		return err
	}
	if err := m.delete(out, p, c, tx, old, at, newKey); err != nil {
		return err
	}
	return m.add(out, p, c, tx, at, key, 'c', nil, c.After, oldKey)
}

// wholly reports whether a row before a change is all there, as under REPLICA
// IDENTITY FULL.
func wholly(row []replication.Value) bool {
	for i := range row {
		if row[i].IsUnchanged() {
			return false
		}
	}
	return true
}

// delete appends the event of a delete and its tombstone.
func (m *debeziumMapper) delete(out *Records, p *plan, c *replication.Change, tx *txHeaders, key, at []byte, header []Header) error {
	if err := m.add(out, p, c, tx, at, key, 'd', c.Before, nil, header); err != nil {
		return err
	}
	if key != nil && !m.cfg.NoTombstones {
		m.append(out, p, c, tx, replication.OpDelete, at, key, nil, header, nil)
	}
	return nil
}

func (m *debeziumMapper) truncated(out *Records, p *plan, c *replication.Change, tx *txHeaders) error {
	switch m.truncate {
	case TruncateSkip:
		return nil
	case TruncateStop:
		return &replication.Refusal{
			Problem: fmt.Sprintf("table %s was truncated (transaction %s, position %s), and truncate is set to stop", p.table, c.Tx.ID, c.Tx.Commit),
			Remedy:  "empty what was made of its topic, set truncate to record or skip, and start again",
		}
	}
	err := m.add(out, p, c, tx, position(out, c), nil, 't', nil, nil, nil)
	out.List[len(out.List)-1].AllPartitions = true
	return err
}

// key appends row's key to out.Buf and returns it, nil without keys.
func (m *debeziumMapper) key(out *Records, p *plan, row []replication.Value) ([]byte, error) {
	if p.key.mode == KeyNone {
		return nil, nil
	}
	start := len(out.Buf)
	buf, err := p.debezium.AppendKey(out.Buf, p.debezium.keyID, row)
	if err != nil {
		return nil, err
	}
	out.Buf = buf
	return buf[start:len(buf):len(buf)], nil
}

// keyHeader is the header that tells the other key of a row whose key changed.
func (m *debeziumMapper) keyHeader(out *Records, p *plan, name string, row []replication.Value) ([]Header, error) {
	start := len(out.Buf)
	buf, err := p.debezium.KeyJSON(out.Buf, row)
	if err != nil {
		return nil, err
	}
	out.Buf = buf
	return []Header{{name, buf[start:len(buf):len(buf)]}}, nil
}

// add appends an event.
func (m *debeziumMapper) add(out *Records, p *plan, c *replication.Change, tx *txHeaders, at, key []byte, op byte, before, after []replication.Value, more []Header) error {
	e := &m.event
	e.Op, e.Before, e.After = op, before, after
	if len(e.Place.ID) > 0 {
		m.tx.count(out, p.debezium.collection, &e.Place)
	}
	start := len(out.Buf)
	buf, err := p.debezium.AppendValue(out.Buf, p.debezium.valueID, e)
	e.Before, e.After = nil, nil
	if err != nil {
		return err
	}
	out.Buf = buf
	headerOp := c.Op
	if op == 'd' {
		headerOp = replication.OpDelete
	}
	m.append(out, p, c, tx, headerOp, at, key, buf[start:len(buf):len(buf)], more, after)
	return nil
}

// append appends a record with all its headers.
func (m *debeziumMapper) append(out *Records, p *plan, c *replication.Change, tx *txHeaders, op replication.Op, at, key, value []byte, more []Header, after []replication.Value) {
	start := tx.appendHeaders(out, op, at)
	out.Headers = append(out.Headers, m.context...)
	out.Headers = append(out.Headers, more...)
	if after != nil {
		p.appendUnchanged(out, after)
		if len(c.Refetched) > 0 {
			p.appendRefetched(out, c.Refetched)
		}
	}
	end := len(out.Headers)
	out.List = append(out.List, Record{
		Topic: p.topic, Key: key, Value: value, Headers: out.Headers[start:end:end],
		Time: c.Tx.CommitTime, Op: op, Table: p.table, Describe: p.describe,
	})
}
