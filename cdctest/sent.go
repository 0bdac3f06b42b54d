package cdctest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/mapping"
	"cdc/mapping/avro"
)

// Sent is a record that a capture has published.
type Sent struct {
	Topic      string
	Key, Value []byte // nil is null
	Headers    map[string]string
}

func newSent(r *mapping.Record) Sent {
	s := Sent{Topic: r.Topic, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value), Headers: map[string]string{}}
	for _, h := range r.Headers {
		s.Headers[h.Key] = string(h.Value)
	}
	return s
}

// Option narrows what HaveSent looks for.
type Option func(*want)

type want struct {
	including bool
	key       *any
	headers   map[string]string
}

// Including accepts records whose value has more fields than are asked for; with
// nil as the value it accepts any.
func Including() Option { return func(w *want) { w.including = true } }

// Key asks for a record of that key: text, or, for a key in Avro, what becomes
// its JSON.
func Key(key any) Option { return func(w *want) { w.key = &key } }

// Header asks for a header of that value.
func Header(name, value string) Option {
	return func(w *want) {
		if w.headers == nil {
			w.headers = map[string]string{}
		}
		w.headers[name] = value
	}
}

// Sent returns what all transactions that are committed by now have published
// to the topic, in the order of publication.
func (c *Capture) Sent(t testing.TB, topic string) []Sent {
	t.Helper()
	c.sync(t)
	return c.sent.sent(topic)
}

// HaveSent fails the test unless a transaction that is committed by now has
// published a record of that value to the topic. value is compared as JSON: a
// struct, a map, or anything else that encoding/json takes; Avro is decoded by
// its schema; nil is a tombstone. A value that is no JSON is compared with a
// []byte or a string as it is.
func (c *Capture) HaveSent(t testing.TB, topic string, value any, options ...Option) {
	t.Helper()
	list := c.Sent(t, topic)
	matched, closest := c.match(t, list, value, options)
	if matched >= 0 {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "topic %s: no record of %s", topic, shown(value))
	if closest != "" {
		fmt.Fprintf(&b, "\nclosest (-want +sent):\n%s", closest)
	}
	fmt.Fprintf(&b, "\nall %d records that were sent there:", len(list))
	for _, s := range list {
		fmt.Fprintf(&b, "\n  %s", c.show(t, s))
	}
	t.Fatal(b.String())
}

// HaveNotSent fails the test if a transaction that is committed by now has
// published such a record to the topic.
func (c *Capture) HaveNotSent(t testing.TB, topic string, value any, options ...Option) {
	t.Helper()
	list := c.Sent(t, topic)
	if i, _ := c.match(t, list, value, options); i >= 0 {
		t.Fatalf("topic %s: a record of %s was sent: %s", topic, shown(value), c.show(t, list[i]))
	}
}

// match returns the first record that matches, or -1 and the least difference.
func (c *Capture) match(t testing.TB, list []Sent, value any, options []Option) (at int, closest string) {
	t.Helper()
	var w want
	for _, o := range options {
		o(&w)
	}
	for i, s := range list {
		if w.key != nil && !same(*w.key, c.decode(t, s.Key), false) || !includes(s.Headers, w.headers) {
			continue
		}
		got := c.decode(t, s.Value)
		if same(value, got, w.including) {
			return i, ""
		}
		if d := cmp.Diff(normal(value), got); closest == "" || len(d) < len(closest) {
			closest = d
		}
	}
	return -1, closest
}

func includes(got, want map[string]string) bool {
	for name, value := range want {
		if v, ok := got[name]; !ok || v != value {
			return false
		}
	}
	return true
}

// same compares what is wanted with what was decoded.
func same(want, got any, including bool) bool {
	if want == nil && including {
		return true
	}
	w := normal(want)
	if text, ok := got.(string); ok {
		if raw, isBytes := want.([]byte); isBytes {
			return string(raw) == text
		}
	}
	if including {
		return contains(w, got)
	}
	return cmp.Equal(w, got)
}

// contains reports whether got has all that want has, object by object.
func contains(want, got any) bool {
	w, ok := want.(map[string]any)
	g, ok2 := got.(map[string]any)
	if !ok || !ok2 {
		return cmp.Equal(want, got)
	}
	for name, v := range w {
		if have, ok := g[name]; !ok || !contains(v, have) {
			return false
		}
	}
	return true
}

// normal is a value as JSON has it.
func normal(v any) any {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return unmarshal(text)
}

func unmarshal(text []byte) (v any) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // 1 and 1.0 differ; no digit is lost
	if err := d.Decode(&v); err != nil || d.More() {
		return string(text)
	}
	return v
}

// decode is a key or value as JSON has it: by its schema, if it is Avro.
func (c *Capture) decode(t testing.TB, b []byte) any {
	t.Helper()
	if b == nil {
		return nil
	}
	if id, body, err := avro.SplitWire(b); err == nil {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if schema, err := c.cluster.schemas.Schema(ctx, id); err == nil {
			if text, err := avro.JSON(schema, body); err == nil {
				return unmarshal(text)
			}
		}
	}
	if v := unmarshal(b); v != nil {
		if _, isNumber := v.(json.Number); !isNumber { // a key that is a number in text
			return v
		}
	}
	return string(b)
}

func shown(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}

func (c *Capture) show(t testing.TB, s Sent) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "key %s: %s", shown(c.decode(t, s.Key)), shown(c.decode(t, s.Value)))
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		fmt.Fprintf(&b, " %s=%q", name, s.Headers[name])
	}
	return b.String()
}
