package route

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // RFC 9562 asks for it; no secret
	"encoding/hex"
	"strconv"

	"cdc/mapping"
	"cdc/mapping/avro"
	"cdc/replication"
)

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

// isBlank reports whether a payload has nothing but white space.
func isBlank(b []byte) bool { return len(bytes.TrimSpace(b)) == 0 }

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
