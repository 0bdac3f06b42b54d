package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// outboxConfig writes a configuration file with that section outbox and nothing
// else to capture. Topics have no prefix.
func (w *world) outboxConfig(t *testing.T, outbox, more string) string {
	t.Helper()
	var b strings.Builder
	family, _, _ := strings.Cut(w.source, ":")
	fmt.Fprintf(&b, "name: %s\nsource:\n  %s:\n    url: %s\n%s\n", w.name, family, w.source, strings.TrimSpace(outbox))
	fmt.Fprintf(&b, "kafka:\n  brokers: [%s]\n  checkpoint_topic: %s_checkpoints\n  topics: {partitions: 3}\n", strings.Join(w.brokers, ", "), w.name)
	fmt.Fprintf(&b, "registry:\n  url: %s\nadmin:\n  listen: 127.0.0.1:%d\n%s", w.registry, freePort(t), more)
	file := filepath.Join(w.dir, fmt.Sprintf("outbox-%d.yaml", configs.Add(1)))
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// consume returns all that the topics hold, each partition in its order.
func (w *world) consume(t *testing.T, topics ...string) []*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(w.brokers...), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	var left int64
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	var all []*kgo.Record
	for int64(len(all)) < left {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read topics %v, after %d of %d records: %v", topics, len(all), left, err)
		}
		all = append(all, fetches.Records()...)
	}
	return all
}

// arrived waits until the topics hold n records together.
func (w *world) arrived(t *testing.T, admin *kadm.Client, n int, topics []string, processes ...*process) {
	t.Helper()
	eventually(t, time.Minute, fmt.Sprintf("%v hold %d records", topics, n), func() error {
		var sum int64
		for _, topic := range topics {
			one, err := w.ends(t.Context(), admin, topic)
			if err != nil {
				return err
			}
			sum += one
		}
		if sum != int64(n) {
			return fmt.Errorf("%d records", sum)
		}
		return nil
	}, processes...)
}

// kafkaMessages is the table that Deimos's generator makes
// (rails g deimos:outbox_backend), as Rails makes it on PostgreSQL.
const kafkaMessages = `
CREATE TABLE kafka_messages (id bigserial PRIMARY KEY, topic varchar NOT NULL, message bytea, key bytea, partition_key varchar,
	created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE INDEX index_kafka_messages_on_topic_and_id ON kafka_messages (topic, id);
CREATE TABLE kafka_topic_info (id bigserial PRIMARY KEY, topic varchar NOT NULL UNIQUE, locked_by varchar, locked_at timestamp(6),
	error boolean NOT NULL DEFAULT false, retries integer NOT NULL DEFAULT 0, last_processed_at timestamp(6))`

// TestDeimosWorkload captures a kafka_messages table, written as Deimos writes
// it, with a configuration of three lines, from the moment on at which the
// polling process was switched off.
func TestDeimosWorkload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, admin := connect(t, w.source), w.admin(t)
	exec1(t, source, kafkaMessages)
	orders, users := w.name+".orders", w.name+".users"

	type sent struct {
		topic, key, partitionKey string
		message                  []byte // nil: a tombstone
	}
	var want []sent
	// As activerecord-import does: one INSERT of many rows, in the transaction of
	// the business change.
	insert := func(commit bool, messages ...sent) {
		t.Helper()
		tx, err := source.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var rows []string
		var args []any
		for _, m := range messages {
			n := len(args)
			rows = append(rows, fmt.Sprintf(`($%d, $%d, $%d, $%d, now(), now())`, n+1, n+2, n+3, n+4))
			key, partitionKey := any([]byte(m.key)), any(m.partitionKey)
			if m.key == "" {
				key = nil
			}
			if m.partitionKey == "" {
				partitionKey = nil
			}
			args = append(args, m.topic, m.message, key, partitionKey)
		}
		if _, err := tx.Exec(t.Context(), `INSERT INTO kafka_messages (topic, message, key, partition_key, created_at, updated_at) VALUES `+strings.Join(rows, ", "), args...); err != nil {
			t.Fatal(err)
		}
		if !commit {
			if err := tx.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			return
		}
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		want = append(want, messages...)
	}
	// Deimos stores what it has encoded: Confluent's wire format, keys too.
	encoded := func(n int) []byte { return fmt.Appendf(nil, "\x00\x00\x00\x00\x07%d", n) }
	batch := func(from, n int) (list []sent) {
		for i := from; i < from+n; i++ {
			m := sent{topic: orders, key: fmt.Sprintf("\x00\x00\x00\x00\x08order-%d", i%5), message: encoded(i)}
			m.partitionKey = m.key[5:]
			switch i % 10 {
			case 3:
				m.message = nil
			case 7:
				m.topic, m.key, m.partitionKey = users, "", fmt.Sprintf("tenant %d", i%4)
			}
			list = append(list, m)
		}
		return list
	}
	// What the poller had sent and deleted leaves holes that new rows fill: the
	// table's order on disk is not that of the ids.
	insert(true, batch(0, 500)...)
	exec1(t, source, `DELETE FROM kafka_messages WHERE id <= 400`)
	exec1(t, source, `VACUUM kafka_messages`)
	want = want[400:]
	insert(true, batch(500, 700)...)
	insert(false, batch(-100, 50)...)

	capture := start(t, binary, "capture", "--config", w.outboxConfig(t, `
outbox:
  - table: public.kafka_messages
    preset: deimos`, ""))
	w.arrived(t, admin, len(want), []string{orders, users}, capture)
	for i := range 20 {
		insert(true, batch(1200+10*i, 10)...)
		insert(i%3 != 0, batch(2000+10*i, 10)...)
	}
	// An update, a delete and a transaction that leaves the table empty.
	exec1(t, source, `UPDATE kafka_messages SET updated_at = now(); DELETE FROM kafka_messages`)
	tx, err := source.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `INSERT INTO kafka_messages (topic, message, created_at, updated_at) VALUES ($1, 'last', now(), now())`, users); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `DELETE FROM kafka_messages`); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	want = append(want, sent{topic: users, message: []byte("last")})
	w.arrived(t, admin, len(want), []string{orders, users}, capture)
	capture.stop(t)

	// Per topic and partition key the messages are those that were committed, in
	// order, in the partition where librdkafka would have put them.
	show := func(key, value []byte) string { return fmt.Sprintf("%q=%q %v", key, value, value == nil) }
	got, expected := map[string][]string{}, map[string][]string{}
	for _, r := range w.consume(t, orders, users) {
		id := fmt.Sprintf("%s/%d", r.Topic, r.Partition)
		if len(r.Headers) > 0 {
			t.Errorf("%s@%d has headers %v", id, r.Offset, r.Headers)
		}
		if string(r.Value) == "last" {
			continue // without a key: any partition
		}
		got[id] = append(got[id], show(r.Key, r.Value))
	}
	for _, m := range want[:len(want)-1] {
		by := m.partitionKey
		if by == "" {
			by = m.key
		}
		var key []byte
		if m.key != "" {
			key = []byte(m.key)
		}
		id := fmt.Sprintf("%s/%d", m.topic, crc32.ChecksumIEEE([]byte(by))%3)
		expected[id] = append(expected[id], show(key, m.message))
	}
	if d := cmp.Diff(expected, got); d != "" {
		t.Errorf("partitions (-written +published):\n%s", d)
	}
}

// TestOutboxPolicies: what cannot be published is skipped, or goes whole to the
// dead letters, named by its id; all else arrives.
func TestOutboxPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, admin := connect(t, w.source), w.admin(t)
	exec1(t, source, `CREATE TABLE a (id bigint PRIMARY KEY, topic text, key text, payload jsonb); CREATE TABLE b (LIKE a INCLUDING ALL)`)
	topic, dead := w.name+"_events", w.name+"_dead"
	schema := filepath.Join(w.dir, "event.avsc")
	if err := os.WriteFile(schema, []byte(`{"type":"record","name":"Event","fields":[{"name":"n","type":"int"},{"name":"message_id","type":"string"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	config := w.outboxConfig(t, fmt.Sprintf(`
outbox:
  - {table: public.a, payload: avro, schemas: {%[1]s: %[2]s}, on_error: skip}
  - {table: public.b, payload: avro, schemas: {%[1]s: %[2]s}, on_error: dead-letter}
  - {prefix: outbox, on_error: dead-letter}`, topic, schema), "dead_letter_topic: "+dead+"\n")
	exec1(t, source, `INSERT INTO a VALUES (1, $1, 'k', '{"n": "1"}')`, topic)
	capture := start(t, binary, "capture", "--config", config)
	w.arrived(t, admin, 1, []string{topic}, capture)
	large := strings.Repeat("x", 2_000_000)
	exec1(t, source, `INSERT INTO a VALUES (2, $1, 'k', '{"n": "two"}'), (3, 'no topic', 'k', '{"n": 3}'), (4, 'unknown', 'k', '{"n": 4}'), (5, $1, 'k', '{"n": 5}')`, topic)
	exec1(t, source, `INSERT INTO b VALUES (6, $1, 'k', '{"n": 6.5}'), (7, $1, 'k', '{"n": 7}')`, topic)
	exec1(t, source, `SELECT pg_logical_emit_message(true, 'outbox', 'no json'), pg_logical_emit_message(true, 'other', 'not ours'),
		pg_logical_emit_message(true, 'outbox', jsonb_build_object('topic', $1::text, 'key', 'k', 'id', 8, 'payload', jsonb_build_object('n', 8))::text),
		pg_logical_emit_message(true, 'outbox', jsonb_build_object('topic', $1::text, 'id', 9, 'payload', $2::text)::text)`, topic, large)
	exec1(t, source, `INSERT INTO a VALUES (10, $1, 'k', '{"n": 10}')`, topic)
	w.arrived(t, admin, 5, []string{topic}, capture)
	w.arrived(t, admin, 3, []string{dead}, capture)
	capture.stop(t)

	var ids []string
	for _, r := range w.consume(t, topic) {
		for _, h := range r.Headers {
			if h.Key == "id" {
				ids = append(ids, string(h.Value))
			}
		}
	}
	if d := cmp.Diff([]string{"1", "5", "7", "8", "10"}, ids); d != "" {
		t.Errorf("published ids (-want +got):\n%s", d)
	}
	var reasons []string
	for _, r := range w.consume(t, dead) {
		headers := map[string]string{}
		for _, h := range r.Headers {
			headers[h.Key] = string(h.Value)
		}
		var letter struct {
			After   map[string]any
			Content string
		}
		if headers["cdc.topic"] == "" {
			if err := json.Unmarshal(r.Value, &letter); err != nil {
				t.Fatal(err)
			}
		} else if letter.Content = "of " + headers["cdc.topic"]; string(r.Value) != large {
			t.Errorf("the large message is not whole: %d bytes", len(r.Value))
		}
		reason := headers["cdc.error"]
		reasons = append(reasons, fmt.Sprintf("%v %v %s", letter.After["payload"], letter.Content, reason[:min(len(reason), 70)]))
	}
	for i, want := range []string{`{"n": 6.5}`, "no json", "of " + topic} {
		if i >= len(reasons) || !strings.Contains(reasons[i], want) {
			t.Fatalf("dead letters %q, want %q", reasons, want)
		}
	}
	if log := capture.output(); !strings.Contains(log, `key="id=2"`) || !strings.Contains(log, `key="id=3"`) || !strings.Contains(log, `key="id=4"`) {
		t.Errorf("the log does not name the skipped messages")
	}

	// Without a rule of its own, an outbox stops the capture and says where.
	exec1(t, source, `INSERT INTO a VALUES (11, $1, 'k', '{}')`, topic)
	stopping := strings.Replace(readFile(t, config), ", on_error: skip", "", 1)
	if err := os.WriteFile(config, []byte(stopping), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := command(t, "capture", "--config", config)
	if code != 3 || !strings.Contains(stderr, "table public.a, key id=11, insert") || !strings.Contains(stderr, "field n: missing") {
		t.Errorf("exit code %d: %s", code, stderr[max(0, len(stderr)-500):])
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
