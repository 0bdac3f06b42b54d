package route

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // RFC 9562 asks for it; no secret
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strconv"
	"time"

	"cdc/mapping"
	"cdc/mapping/avro"
	"cdc/replication"
)

// The headers of the W3C's Trace Context.
const (
	headerTraceParent = "traceparent"
	headerTraceState  = "tracestate"
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

// content fills m.msg from a message of the log.
func (m *Mapper) content(p *plan, c *replication.Change) error {
	msg := &m.msg
	if p.template != nil {
		m.text = m.text[:0]
		for _, part := range p.template {
			m.text = append(m.text, part.text...)
		}
		msg.topic, msg.payload = m.text, c.Message.Content
		return nil
	}
	msg.payload = nil
	payload := false
	// What lies in the scratch is overwritten by the next member: copies of the
	// texts go one after the other into m.text, and only their places are kept.
	m.text = m.text[:0]
	type place struct{ from, to int }
	var id, topic, key, partitionKey, trace, state place
	var value place
	has := [6]bool{}
	err := m.scratch.Object(c.Message.Content, func(f avro.Member) error {
		keep := func(to *place, n int, b []byte) error {
			if f.Null {
				return nil
			}
			if f.Compound {
				return fmt.Errorf("%s is neither a text nor a number", f.Name)
			}
			to.from = len(m.text)
			m.text = append(m.text, b...)
			to.to, has[n] = len(m.text), true
			return nil
		}
		switch string(f.Name) {
		case "id":
			return keep(&id, 0, f.Text)
		case "topic":
			return keep(&topic, 1, f.Text)
		case "key":
			return keep(&key, 2, f.Text)
		case "partition_key":
			return keep(&partitionKey, 3, f.Text)
		case headerTraceParent:
			return keep(&trace, 4, f.Text)
		case headerTraceState:
			return keep(&state, 5, f.Text)
		case "headers":
			if !f.Null {
				msg.headers = f.Raw // of the content
			}
		case "payload":
			payload = !f.Null
			switch {
			case f.Null:
			case f.String: // the text itself
				value.from = len(m.text)
				m.text = append(m.text, f.Text...)
				value.to = len(m.text)
			default:
				msg.payload = f.Raw
			}
		case "partition":
			if f.Null {
				return nil
			}
			n, err := strconv.ParseInt(string(f.Text), 10, 32)
			if err != nil || n < 0 {
				return fmt.Errorf("partition: %s is no partition's number", f.Raw)
			}
			msg.partition = n
		case "timestamp":
			if f.Null {
				return nil
			}
			return msg.setTimeText(f.Text)
		default:
			return fmt.Errorf("field %q is none of id, topic, key, payload, headers, timestamp, partition, partition_key, traceparent, tracestate", f.Name)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("content: %w", err)
	}
	for i, f := range [...]struct {
		at place
		to *[]byte
	}{{id, &msg.id}, {topic, &msg.topic}, {key, &msg.key}, {partitionKey, &msg.partitionKey}, {trace, &msg.trace}, {state, &msg.traceState}} {
		if has[i] {
			*f.to = m.text[f.at.from:f.at.to:f.at.to]
		}
	}
	if payload && msg.payload == nil {
		msg.payload = m.text[value.from:value.to:value.to]
	}
	return nil
}

func (msg *message) setTimeText(b []byte) error {
	if ms, err := strconv.ParseInt(string(b), 10, 64); err == nil {
		return msg.setMillis(ms)
	}
	micros, ok := avro.ParseInstant(b)
	if !ok {
		return fmt.Errorf("timestamp: %q is neither ISO 8601 nor milliseconds since 1970", b)
	}
	msg.time = micros
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

// value appends the record's value.
func (m *Mapper) value(ctx context.Context, p *plan, c *replication.Change, out *mapping.Records) ([]byte, error) {
	payload := m.msg.payload
	if payload == nil || p.box.EmptyIsTombstone && isBlank(payload) && !p.keepsEmpty {
		return nil, nil
	}
	switch p.box.Payload {
	case PayloadJSON:
		if err := avro.CheckJSON(payload); err != nil {
			return nil, err
		}
	case PayloadAvro:
		if string(payload) == "null" {
			return nil, nil
		}
		enc, err := m.topics.encoder(ctx, m.msg.to)
		if err != nil {
			return nil, err
		}
		m.messageID(p, c)
		m.fill.Timestamp = c.Tx.CommitTime
		start := len(out.Buf)
		b, err := enc.Append(out.Buf, payload, &m.fill, &m.scratch)
		if err != nil {
			return nil, err
		}
		out.Buf = b
		return b[start:len(b):len(b)], nil
	}
	return keep(out, payload), nil
}

// messageID makes what fills a field message_id: the id if it is a UUID, else a
// UUID of version 5 (RFC 9562) of connector, table and id, or, without an id, of
// the message's place in the log. So a message that is published again after a
// crash has the same one.
func (m *Mapper) messageID(p *plan, c *replication.Change) {
	const size = 36
	id := m.fill.MessageID[:0]
	if m.msg.isUUID || len(m.msg.id) == size && avro.IsUUID(m.msg.id) {
		id = append(id, m.msg.id...)
		m.fill.MessageID = id
		return
	}
	n := len(m.text)
	name := append(append(append(m.text, m.cfg.Name...), 0), p.table.Schema...)
	name = append(append(append(name, 0), p.table.Name...), 0)
	if len(m.msg.id) > 0 {
		name = append(name, m.msg.id...)
	} else {
		name = append(append(name, c.Tx.Commit...), ':')
		name = strconv.AppendUint(name, c.Index, 10)
	}
	sum := sha1.Sum(name[n:]) //nolint:gosec // see the import
	m.text = name[:n]
	sum[6], sum[8] = sum[6]&0x0f|0x50, sum[8]&0x3f|0x80
	for i, end := range [...]int{4, 6, 8, 10, 16} {
		if i > 0 {
			id = append(id, '-')
		}
		id = hex.AppendEncode(id, sum[[...]int{0, 4, 6, 8, 10}[i]:end])
	}
	m.fill.MessageID = id
}

// headers appends the headers: the id, those of columns, those of the JSON
// object, and the trace context.
func (m *Mapper) headers(p *plan, c *replication.Change, out *mapping.Records) error {
	msg := &m.msg
	if name := p.box.IDHeader; name != "" && msg.id != nil {
		out.Headers = append(out.Headers, mapping.Header{Key: name, Value: keep(out, msg.id)})
	}
	for _, e := range p.extra {
		v := c.After[e.column]
		h := mapping.Header{Key: e.name}
		if !v.IsNull() {
			start := len(out.Buf)
			b, err := appendHeader(out.Buf, v, p.box.debezium)
			if err != nil {
				return fmt.Errorf("header %s: %w", e.name, err)
			}
			out.Buf = b
			h.Value = b[start:len(b):len(b)]
		}
		out.Headers = append(out.Headers, h)
	}
	first := len(out.Headers)
	if len(msg.headers) > 0 {
		err := m.scratch.Object(msg.headers, func(f avro.Member) error {
			h := mapping.Header{Key: m.topics.intern(f.Name)}
			switch {
			case f.Null:
			case f.Compound:
				h.Value = keep(out, f.Raw)
			default:
				h.Value = keep(out, f.Text)
			}
			out.Headers = append(out.Headers, h)
			return nil
		})
		if err != nil {
			return fmt.Errorf("headers: %w", err)
		}
	}
	return m.traceHeaders(out, first)
}

// appendHeader appends a column's value as a header; with debezium times as its
// semantic types count them, and numbers as Connect's SimpleHeaderConverter
// writes them.
func appendHeader(dst []byte, v replication.Value, debezium bool) ([]byte, error) {
	if debezium {
		switch v.Kind() {
		case replication.KindTimestamp, replication.KindDate, replication.KindTime:
			return strconv.AppendInt(dst, v.Int(), 10), nil
		case replication.KindTimestampTZ:
			return time.UnixMicro(v.Int()).UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000Z"), nil
		case replication.KindFloat:
			return appendJavaDouble(dst, v.Float()), nil
		default: // as text
		}
	}
	return mapping.AppendText(dst, v)
}

// appendJavaDouble appends a number as Java's Double.toString writes it.
func appendJavaDouble(dst []byte, f float64) []byte {
	switch abs := math.Abs(f); {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 0):
		if f < 0 {
			dst = append(dst, '-')
		}
		return append(dst, "Infinity"...)
	case abs == 0, abs >= 1e-3 && abs < 1e7:
		start := len(dst)
		dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
		if !bytes.ContainsRune(dst[start:], '.') {
			dst = append(dst, ".0"...)
		}
		return dst
	}
	var buf [32]byte
	mantissa, exponent, _ := bytes.Cut(strconv.AppendFloat(buf[:0], f, 'e', -1, 64), []byte("e"))
	dst = append(dst, mantissa...)
	if !bytes.ContainsRune(mantissa, '.') {
		dst = append(dst, ".0"...)
	}
	dst = append(dst, 'E')
	if exponent[0] == '-' {
		dst = append(dst, '-')
	}
	return append(dst, bytes.TrimLeft(exponent[1:], "0")...)
}

// traceHeaders appends the trace context, unless the headers from first on have
// one already.
func (m *Mapper) traceHeaders(out *mapping.Records, first int) error {
	if len(m.msg.trace) == 0 || slices.ContainsFunc(out.Headers[first:], func(h mapping.Header) bool { return h.Key == headerTraceParent }) {
		return nil
	}
	parent, state := m.msg.trace, m.msg.traceState
	if !isTraceParent(parent) {
		var err error
		if parent, state, err = m.readTrace(parent); err != nil {
			return fmt.Errorf("trace context: %w", err)
		}
	}
	if parent == nil {
		return nil
	}
	out.Headers = append(out.Headers, mapping.Header{Key: headerTraceParent, Value: keep(out, parent)})
	if len(state) > 0 {
		out.Headers = append(out.Headers, mapping.Header{Key: headerTraceState, Value: keep(out, state)})
	}
	return nil
}
