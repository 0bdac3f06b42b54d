package route

import (
	"fmt"
	"strconv"

	"cdc/mapping/avro"
	"cdc/replication"
)

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
