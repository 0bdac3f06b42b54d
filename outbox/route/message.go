package route

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strconv"

	"cdc/mapping"
	"cdc/replication"
)

// message is what is known of one message of an outbox. The slices are borrowed
// from the Batch or from Records.Buf.
type message struct {
	id, topic, key, payload, partitionKey []byte
	headers                               []byte // a JSON object; nil when there is none
	trace, traceState                     []byte
	partition                             int64 // -1 leaves it open
	time                                  int64 // microseconds since 1970-01-01 UTC
	isUUID                                bool  // id is one
	to                                    *topic
}

func (m *message) reset(c *replication.Change) {
	*m = message{partition: -1, time: c.Tx.CommitTime}
}

// row fills m.msg from the columns of a row.
func (m *Mapper) row(p *plan, c *replication.Change, out *mapping.Records) error {
	msg, row := &m.msg, c.After
	for _, f := range [...]struct {
		column int
		to     *[]byte
		what   string
	}{
		{p.id, &msg.id, "id"},
		{p.topic, &msg.topic, "topic"},
		{p.key, &msg.key, "key"},
		{p.payload, &msg.payload, "payload"},
		{p.headers, &msg.headers, "headers"},
		{p.partitionKey, &msg.partitionKey, "partition key"},
		{p.trace, &msg.trace, "trace context"},
		{p.traceState, &msg.traceState, "trace state"},
	} {
		if f.column < 0 {
			continue
		}
		var err error
		if *f.to, err = text(out, row[f.column]); err != nil {
			return fmt.Errorf("%s: column %s: %w", f.what, p.table.Columns[f.column].Name, err)
		}
	}
	if p.id >= 0 {
		msg.isUUID = row[p.id].Kind() == replication.KindUUID
	}
	if p.timestamp >= 0 {
		if err := msg.setTime(row[p.timestamp]); err != nil {
			return fmt.Errorf("timestamp: column %s: %w", p.table.Columns[p.timestamp].Name, err)
		}
	}
	if p.partition >= 0 && !row[p.partition].IsNull() {
		n, err := strconv.ParseInt(row[p.partition].String(), 10, 32)
		if err != nil || n < 0 {
			return fmt.Errorf("partition: column %s: %s is no partition's number", p.table.Columns[p.partition].Name, row[p.partition])
		}
		msg.partition = n
	}
	if p.template == nil {
		return nil
	}
	m.text = m.text[:0]
	for _, part := range p.template {
		if part.column < 0 {
			m.text = append(m.text, part.text...)
			continue
		}
		if row[part.column].IsNull() {
			return fmt.Errorf("topic: column %s is null", p.table.Columns[part.column].Name)
		}
		b, err := mapping.AppendText(m.text, row[part.column])
		if err != nil {
			return fmt.Errorf("topic: column %s: %w", p.table.Columns[part.column].Name, err)
		}
		m.text = b
	}
	msg.topic = m.text
	return nil
}

// text returns a value as text or bytes, nil for NULL.
func text(out *mapping.Records, v replication.Value) ([]byte, error) {
	switch v.Kind() {
	case replication.KindNull:
		return nil, nil
	case replication.KindString, replication.KindBytes, replication.KindJSON, replication.KindDecimal:
		if b := v.Bytes(); b != nil {
			return b, nil
		}
		return []byte{}, nil
	case replication.KindUnchanged:
		return nil, errors.New("the log left the value out")
	default: // rendered, as below
	}
	start := len(out.Buf)
	b, err := mapping.AppendText(out.Buf, v)
	if err != nil {
		return nil, err
	}
	out.Buf = b
	return b[start:len(b):len(b)], nil
}

func (msg *message) setTime(v replication.Value) error {
	switch v.Kind() {
	case replication.KindNull:
		return nil
	case replication.KindTimestamp, replication.KindTimestampTZ:
		if v.Int() == replication.Infinity || v.Int() == replication.NegInfinity {
			return errors.New("infinity is no record's time")
		}
		msg.time = v.Int()
	case replication.KindInt:
		return msg.setMillis(v.Int())
	default:
		return fmt.Errorf("%s is no time", v.Kind())
	}
	return nil
}

func (msg *message) setMillis(ms int64) error {
	if ms < 0 || ms > math.MaxInt64/1000 {
		return fmt.Errorf("%d is no record's time in milliseconds", ms)
	}
	msg.time = ms * 1000
	return nil
}

// record appends the record of m.msg.
func (m *Mapper) record(ctx context.Context, p *plan, c *replication.Change, out *mapping.Records) error {
	msg, b := &m.msg, p.box
	if len(msg.topic) == 0 {
		return errors.New("the topic is empty")
	}
	var err error
	if msg.to, err = m.topics.find(m.cfg.Prefix, msg.topic, b); err != nil {
		return err
	}
	key := keep(out, msg.key)
	value, err := m.value(ctx, p, c, out)
	if err != nil {
		return fmt.Errorf("payload: %w", err)
	}
	first := len(out.Headers)
	if err := m.headers(p, c, out); err != nil {
		return err
	}
	n := len(out.Headers)
	out.Routings = append(out.Routings, mapping.Routing{
		ID: keep(out, msg.id), Partition: msg.choose(b), Commit: c.Tx.CommitTime, OnError: b.OnError,
	})
	out.List = append(out.List, mapping.Record{
		Topic: msg.to.name, Key: key, Value: value, Headers: out.Headers[first:n:n], Time: msg.time,
		Op: c.Op, Table: p.table, Routing: &out.Routings[len(out.Routings)-1], Describe: describe,
	})
	return nil
}

// keep copies b to the records' memory; nil stays nil.
func keep(out *mapping.Records, b []byte) []byte {
	if b == nil {
		return nil
	}
	start := len(out.Buf)
	out.Buf = append(out.Buf, b...)
	return out.Buf[start:len(out.Buf):len(out.Buf)]
}

// choose says which partition the message goes to.
func (msg *message) choose(b *box) mapping.Partition {
	if msg.partition >= 0 {
		return mapping.PartitionNumber(int32(msg.partition))
	}
	by := msg.partitionKey
	if len(by) == 0 {
		if b.Partitioner == Murmur2 {
			return mapping.Partition{} // of the key
		}
		by = msg.key
	}
	switch {
	case len(by) == 0:
		return mapping.Partition{}
	case b.Partitioner == CRC32:
		return mapping.PartitionHash(crc32.ChecksumIEEE(by))
	}
	return mapping.PartitionHash(mapping.Murmur2(by) & 0x7fffffff)
}
