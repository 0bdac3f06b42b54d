package route

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cdc/replication"
)

// plan is what is decided about one version of an outbox table before its first
// row: where in a row everything stands. -1 is nowhere.
type plan struct {
	box   *box
	table *replication.Table

	id, topic, key, payload, headers   int
	timestamp, partition, partitionKey int
	trace, traceState                  int
	template                           []templatePart
	extra                              []extraHeader
	keepsEmpty                         bool // an empty payload is no tombstone: the EventRouter looks at texts only
}

type templatePart struct {
	text   string
	column int // when text is ""
}

type extraHeader struct {
	name   string
	column int
}

// Verify refuses a table that has not the columns which o's configuration
// needs, before a row of it has come.
func Verify(o Outbox, t *replication.Table) error {
	b, err := o.compile()
	if err != nil {
		return err
	}
	_, err = compilePlan(b, t)
	return err
}

// compilePlan finds the columns. The error is a *replication.Refusal.
func compilePlan(b *box, t *replication.Table) (*plan, error) {
	p := &plan{box: b, table: t, traceState: -1}
	var missing []string
	find := func(own, preset string, must bool) int {
		name, named := pick(own, preset)
		if name == "" {
			return -1
		}
		i := t.Column(name)
		if i < 0 && (named || must) {
			missing = append(missing, name)
		}
		return i
	}
	c, d := b.Columns, b.columns
	p.id = find(c.ID, d.ID, false)
	p.topic = -1
	if b.template == nil {
		p.topic = find(c.Topic, d.Topic, true)
	}
	p.key = find(c.Key, d.Key, false)
	p.payload = find(c.Payload, d.Payload, true)
	p.keepsEmpty = b.debezium && p.payload >= 0 && t.Columns[p.payload].Kind == replication.KindBytes
	p.headers = find(c.Headers, d.Headers, false)
	p.timestamp = find(c.Timestamp, d.Timestamp, false)
	p.partition = find(c.Partition, d.Partition, false)
	p.partitionKey = find(c.PartitionKey, d.PartitionKey, false)
	p.trace = find(c.Trace, d.Trace, false)
	if p.trace >= 0 && t.Columns[p.trace].Name == headerTraceParent {
		p.traceState = t.Column(headerTraceState)
	}
	for _, part := range b.template {
		tp := templatePart{text: part.text, column: -1}
		if part.text == "" {
			tp.column = find(part.column, "", true)
		}
		p.template = append(p.template, tp)
	}
	for _, name := range slices.Sorted(maps.Keys(b.Headers)) {
		p.extra = append(p.extra, extraHeader{name, find(b.Headers[name], "", true)})
	}
	if len(missing) > 0 {
		var has []string
		for _, c := range t.Columns {
			has = append(has, c.Name)
		}
		return nil, &replication.Refusal{
			Problem: fmt.Sprintf("outbox table %s has no column %s; it has %s", t, strings.Join(missing, ", "), strings.Join(has, ", ")),
			Remedy:  "choose the preset that fits the table, or name its columns, in the section outbox of the configuration",
		}
	}
	if i := p.timestamp; i >= 0 {
		switch t.Columns[i].Kind {
		case replication.KindTimestamp, replication.KindTimestampTZ, replication.KindInt:
		default:
			return nil, &replication.Refusal{
				Problem: fmt.Sprintf("outbox table %s: column %s is %s, which is no timestamp", t, t.Columns[i].Name, t.Columns[i].TypeName),
				Remedy:  "name a column with a timestamp, or with milliseconds since 1970, as the outbox's timestamp",
			}
		}
	}
	return p, nil
}
