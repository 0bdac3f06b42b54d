package route

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cdc/mapping"
	"cdc/mapping/avro"
	"cdc/replication"
)

// Mapper routes outboxes and hands all else to its inner Mapper. One goroutine
// at a time calls Map; in the steady state a message allocates nothing.
type Mapper struct {
	cfg      Config
	log      *slog.Logger
	tables   map[string]*box // by schema, NUL, table
	prefixes []*box
	topics   topics
	failed   *prometheus.CounterVec

	plans    map[*replication.Table]*plan // nil for tables that are no outbox
	names    map[string]string            // of outboxes that were seen, by identity
	last     *replication.Table           // of the change before
	lastPlan *plan
	messages map[string]*plan // by the whole prefix; nil for those that are not routed

	sub     replication.Batch // handed to the inner Mapper
	open    bool              // its last transaction may go on
	commit  []byte            // of that transaction
	scratch avro.JSONScratch
	fill    avro.JSONFill
	text    []byte // topics and message ids while they are made
	msg     message
	seen    map[string]struct{} // for compaction
}

// maxPlans is how many plans are kept before all are forgotten: a prefix may be
// anything, and so may a topic.
const maxPlans = 10_000

// New returns a Mapper. The error names what is wrong in cfg.
func New(cfg Config) (*Mapper, error) {
	m := &Mapper{
		cfg: cfg, log: cfg.Logger, tables: map[string]*box{}, plans: map[*replication.Table]*plan{},
		messages: map[string]*plan{}, names: map[string]string{}, seen: map[string]struct{}{},
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	if cfg.Inner == nil {
		return nil, errors.New("outbox: no mapper for other changes")
	}
	for _, o := range cfg.Outboxes {
		b, err := o.compile()
		if err != nil {
			return nil, fmt.Errorf("outbox %s: %w", o.name(), err)
		}
		if b.Payload == PayloadAvro && cfg.Registry == nil {
			return nil, fmt.Errorf("outbox %s: no schema registry is given", o.name())
		}
		for topic, schema := range b.Schemas {
			if _, err := avro.ParseSchema(schema); err != nil {
				return nil, fmt.Errorf("outbox %s: schema of topic %s: %w", o.name(), topic, err)
			}
		}
		if b.Prefix != "" {
			m.prefixes = append(m.prefixes, b)
			continue
		}
		key := tableKey(b.Schema, b.Table)
		if m.tables[key] != nil {
			return nil, fmt.Errorf("outbox %s stands there twice", o.name())
		}
		m.tables[key] = b
	}
	m.topics = topics{registry: cfg.Registry, known: map[topicKey]*topic{}}
	m.failed = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cdc_outbox_failed_total", Help: "Messages of outboxes that could not become records.",
	}, []string{"outbox", "topic"})
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(m.failed); err != nil {
			return nil, fmt.Errorf("outbox: register metrics: %w", err)
		}
	}
	return m, nil
}

func tableKey(schema, table string) string { return schema + "\x00" + table }

// Map is mapping.Mapper's.
func (m *Mapper) Map(ctx context.Context, b *replication.Batch, out *mapping.Records) error {
	m.topics.now = time.Now()
	first, records := 0, len(out.List)
	compact := false
	for i := range b.Changes {
		c := &b.Changes[i]
		p, err := m.plan(c)
		if err != nil {
			return err
		}
		if p == nil {
			continue
		}
		if err := m.inner(ctx, b, first, i, out); err != nil {
			return err
		}
		if err := m.over(ctx, c, out); err != nil {
			return err
		}
		first = i + 1
		compact = compact || len(p.box.Compact) > 0
		if err := m.change(ctx, p, c, i, out); err != nil {
			return err
		}
	}
	if err := m.inner(ctx, b, first, len(b.Changes), out); err != nil {
		return err
	}
	if !b.Open {
		if err := m.over(ctx, nil, out); err != nil {
			return err
		}
	}
	if compact {
		m.compact(out, records)
	}
	return nil
}

// inner hands the changes from first up to last to the inner Mapper.
func (m *Mapper) inner(ctx context.Context, b *replication.Batch, first, last int, out *mapping.Records) error {
	if first == last {
		return nil
	}
	m.sub.Changes = b.Changes[first:last]
	if m.sub.Position, m.sub.Open = "", true; last == len(b.Changes) {
		m.sub.Position, m.sub.Open = b.Position, b.Open
	}
	m.open, m.commit = m.sub.Open, append(m.commit[:0], b.Changes[last-1].Tx.Commit...)
	m.sub.Bytes = b.Bytes / len(b.Changes) * (last - first)
	err := m.cfg.Inner.Map(ctx, &m.sub, out)
	m.sub.Changes = nil
	if row, ok := errors.AsType[*mapping.RowError](err); ok && row.Index >= 0 {
		row.Index += first
	}
	return err
}

// over tells the inner Mapper that its last transaction is over, unless next is
// of it, or in no transaction.
func (m *Mapper) over(ctx context.Context, next *replication.Change, out *mapping.Records) error {
	if !m.open || next != nil && (string(next.Tx.Commit) == string(m.commit) || next.Message != nil && !next.Message.Transactional) {
		return nil
	}
	m.open = false
	m.sub.Position, m.sub.Open, m.sub.Bytes = "", false, 0
	return m.cfg.Inner.Map(ctx, &m.sub, out)
}

// plan returns the plan of a change, nil when it belongs to no outbox.
func (m *Mapper) plan(c *replication.Change) (*plan, error) {
	if c.Table == nil {
		if c.Message == nil || len(m.prefixes) == 0 {
			return nil, nil
		}
		return m.prefix(c.Message.Prefix), nil
	}
	if c.Table == m.last {
		return m.lastPlan, nil
	}
	p, known := m.plans[c.Table]
	if !known {
		id, name := identity(c.Table), tableKey(c.Table.Schema, c.Table.Name)
		if was := m.names[id]; id != "" && was != "" && was != name {
			old := strings.Replace(was, "\x00", ".", 1)
			return nil, &replication.Refusal{
				Problem: fmt.Sprintf("outbox table %s is called %s now: its messages would be published as rows of an ordinary table", old, c.Table),
				Remedy:  fmt.Sprintf("rename it back to %s, or name %s in its place under outbox in the configuration, and start cdc again", old, c.Table),
			}
		}
		b := m.tables[name]
		own := b != nil
		if home := c.Table.Home; !own { // it has, or will get, the configured name
			b = m.tables[tableKey(home.Schema, home.Name)]
		}
		if b != nil {
			if own && id != "" {
				m.names[id] = name
			}
			var err error
			if p, err = compilePlan(b, c.Table); err != nil {
				return nil, err
			}
			m.log.Info("outbox is routed", "table", c.Table.String(), "preset", b.Preset, "payload", b.Payload)
		}
		if len(m.plans) >= maxPlans {
			clear(m.plans)
		}
		m.plans[c.Table] = p
	}
	m.last, m.lastPlan = c.Table, p
	return p, nil
}

// identity is what stays the same when a table is renamed, "" when it is not
// known: the table's OID, with which PostgreSQL's column ids begin.
func identity(t *replication.Table) string {
	for i := range t.Columns {
		if oid, _, found := strings.Cut(t.Columns[i].ID, "."); found {
			return oid
		}
	}
	return ""
}

// prefix returns the plan of messages with that prefix, nil when no outbox wants
// them.
func (m *Mapper) prefix(prefix []byte) *plan {
	if p, known := m.messages[string(prefix)]; known {
		return p
	}
	name := string(prefix)
	var p *plan
	for _, b := range m.prefixes {
		stem, star := strings.CutSuffix(b.Prefix, "*")
		if name == b.Prefix || star && strings.HasPrefix(name, stem) {
			// What stands in for a table where one is asked for: in metrics and errors.
			p = &plan{box: b, table: &replication.Table{Schema: "pg_logical_emit_message", Name: strings.ToValidUTF8(name, "\uFFFD")}, topic: -1}
			for _, part := range b.template {
				if part.text == "" {
					part.text = name
				}
				p.template = append(p.template, templatePart{text: part.text, column: -1})
			}
			break
		}
	}
	if len(m.messages) >= maxPlans {
		clear(m.messages)
	}
	m.messages[name] = p
	return p
}

// change appends the record of one message of an outbox. What else happens to
// an outbox's rows is not looked at: a message is published when it is
// inserted, whatever becomes of its row.
func (m *Mapper) change(ctx context.Context, p *plan, c *replication.Change, index int, out *mapping.Records) error {
	mark := out.Mark()
	m.msg.reset(c)
	var err error
	switch c.Op {
	case replication.OpInsert, replication.OpRead:
		if len(c.After) != len(p.table.Columns) {
			err = fmt.Errorf("the row has %d columns, its table %d", len(c.After), len(p.table.Columns))
			break
		}
		err = m.row(p, c, out)
	case replication.OpMessage:
		err = m.content(p, c)
	default:
		return nil
	}
	if err == nil {
		if err = m.record(ctx, p, c, out); err == nil {
			return nil
		}
	}
	if fault, ok := errors.AsType[*systemError](err); ok {
		return fault.err
	}
	id := string(m.msg.id)
	out.Cut(mark)
	topic := ""
	if m.msg.to != nil && m.msg.to.err == nil { // others may be any text
		topic = m.msg.to.name
	}
	m.failed.WithLabelValues(p.table.String(), topic).Inc()
	return &mapping.RowError{
		Table: p.table.String(), Key: "id=" + id, Op: c.Op, Tx: string(c.Tx.ID), Commit: string(c.Tx.Commit),
		Index: index, OnError: p.box.OnError, Err: err,
	}
}

// Unfit counts a message that a topic does not take. Any goroutine may call it.
func (m *Mapper) Unfit(r *mapping.Record) {
	m.failed.WithLabelValues(r.Table.String(), r.Topic).Inc()
}

// systemError is an error that concerns no single message.
type systemError struct{ err error }

func (e *systemError) Error() string { return e.err.Error() }

// describe renders a key for messages to people.
func describe(key []byte) string {
	if key == nil {
		return "(none)"
	}
	return fmt.Sprintf("%q", key)
}

// compact drops, of the records from first on in topics that are compacted,
// those whose key comes again. The last of a key stays where it is. A key that
// is sent to several partitions is another in each: a consumer of one does not
// see the rest.
func (m *Mapper) compact(out *mapping.Records, first int) {
	clear(m.seen)
	list := out.List
	kept := len(list)
	for i := len(list) - 1; i >= first; i-- {
		r := &list[i]
		if r.Routing != nil && r.Key != nil && m.compacts(r) {
			m.text = append(append(m.text[:0], r.Topic...), 0)
			m.text = append(r.Routing.Partition.Append(m.text), r.Key...)
			if _, twice := m.seen[string(m.text)]; twice {
				continue
			}
			m.seen[string(m.text)] = struct{}{}
		}
		kept--
		list[kept] = *r
	}
	n := first + copy(list[first:], list[kept:])
	clear(list[n:])
	out.List = list[:n]
}

func (m *Mapper) compacts(r *mapping.Record) bool {
	p := m.plans[r.Table]
	if p == nil {
		p = m.messages[r.Table.Name]
	}
	return p != nil && (p.box.compactAll || slices.Contains(p.box.Compact, strings.TrimPrefix(r.Topic, m.cfg.Prefix)))
}
