package route

import (
	"bytes"
	"fmt"
	"slices"

	"cdc/mapping"
	"cdc/mapping/avro"
)

// The headers of the W3C's Trace Context.
const (
	headerTraceParent = "traceparent"
	headerTraceState  = "tracestate"
)

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

// isTraceParent reports whether b has the form of a traceparent: version,
// trace id, parent id and flags in lower-case hexadecimal (W3C Trace Context,
// 3.2.2).
func isTraceParent(b []byte) bool {
	if len(b) < 55 || b[2] != '-' || b[35] != '-' || b[52] != '-' || len(b) > 55 && b[55] != '-' {
		return false
	}
	for i, c := range b[:55] {
		hex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
		if dash := i == 2 || i == 35 || i == 52; !dash && !hex {
			return false
		}
	}
	return true
}

// readTrace finds the trace context in a JSON object, or in the lines of Java's
// properties, as Debezium's outbox extensions write them. Without a traceparent
// there is none, which is no error: other propagators have other names.
func (m *Mapper) readTrace(b []byte) (parent, state []byte, err error) {
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '{' {
		err = m.scratch.Object(b, func(f avro.Member) error {
			switch string(f.Name) {
			case headerTraceParent:
				parent = append([]byte(nil), f.Text...)
			case headerTraceState:
				state = append([]byte(nil), f.Text...)
			}
			return nil
		})
	} else {
		for line := range bytes.Lines(b) {
			line = bytes.TrimSpace(line)
			name, value, found := bytes.Cut(line, []byte("="))
			if !found {
				continue
			}
			switch string(bytes.TrimSpace(name)) {
			case headerTraceParent:
				parent = bytes.TrimSpace(value)
			case headerTraceState:
				state = bytes.ReplaceAll(bytes.TrimSpace(value), []byte(`\=`), []byte("="))
			}
		}
	}
	if err == nil && parent != nil && !isTraceParent(parent) {
		err = fmt.Errorf("%q is no traceparent", parent)
	}
	return parent, state, err
}
