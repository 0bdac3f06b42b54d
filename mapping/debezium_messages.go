package mapping

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"cdc/mapping/debezium"
	"cdc/replication"
)

// messages publishes what applications write into PostgreSQL's log with
// pg_logical_emit_message.
type messages struct {
	topic      string // "" publishes none
	format     *debezium.Messages
	table      *replication.Table // stands in for one
	collection *collection        // with transactions
	key, value int                // ids; 0 before the first message
	describe   func([]byte) string
}

// messageName is the name of the topic of messages behind the prefix; Debezium
// knows no other.
const messageName = "message"

// newMessages returns the messages to a topic.
func newMessages(d *Debezium, topic string) (m messages, err error) {
	m.topic, m.table = topic, &replication.Table{Schema: "debezium", Name: messageName}
	if m.format, err = debezium.CompileMessages(d.Options, d.Source); err != nil {
		return m, fmt.Errorf("map: debezium: %w", err)
	}
	m.describe = describeAvro(m.format.KeySchema)
	return m, nil
}

// message appends the record of a message, the change of index i.
func (m *debeziumMapper) message(ctx context.Context, out *Records, c *replication.Change, i int, tx *txHeaders) error {
	x := &m.messages
	if x.topic == "" {
		return x.refuse(c, i, errors.New("map.debezium.messages does not name its prefix"))
	}
	if !utf8.Valid(c.Message.Prefix) {
		return x.refuse(c, i, errors.New("its prefix is not UTF-8"))
	}
	if x.key == 0 {
		var err error
		if x.value, err = m.planner.registry.ID(ctx, x.topic+"-value", x.format.ValueSchema); err != nil {
			return err
		}
		if x.key, err = m.planner.registry.ID(ctx, x.topic+"-key", x.format.KeySchema); err != nil {
			return err
		}
	}
	at := position(out, c)
	e := &m.event
	e.Snapshot = "false"
	if len(e.Place.ID) > 0 {
		if x.collection == nil {
			x.collection = m.tx.collection(x.table.Name)
		}
		m.tx.count(out, x.collection, &e.Place)
	}
	start := len(out.Buf)
	out.Buf = x.format.AppendKey(out.Buf, x.key, c.Message.Prefix)
	key := out.Buf[start:len(out.Buf):len(out.Buf)]
	start = len(out.Buf)
	buf, err := x.format.AppendValue(out.Buf, x.value, e, c.Message)
	if err != nil {
		return x.refuse(c, i, err)
	}
	out.Buf = buf
	value := buf[start:len(buf):len(buf)]
	first := tx.appendHeaders(out, c.Op, at)
	end := len(out.Headers)
	out.List = append(out.List, Record{
		Topic: x.topic, Key: key, Value: value, Headers: out.Headers[first:end:end],
		Time: c.Tx.CommitTime, Op: c.Op, Table: x.table, Describe: x.describe,
	})
	return nil
}

// refuse says that a message has no record.
func (x *messages) refuse(c *replication.Change, i int, err error) error {
	return &RowError{
		Table: "debezium." + messageName, Key: fmt.Sprintf("prefix=%q", c.Message.Prefix), Op: c.Op,
		Tx: string(c.Tx.ID), Commit: string(c.Tx.Commit), Index: i, Err: err,
	}
}
