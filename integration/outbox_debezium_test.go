package integration

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestOutboxAsDebezium lets a real EventRouter and cdc read the same rows:
// topics, partitions, keys, headers, values and, where a column has them, times
// are equal.
func TestOutboxAsDebezium(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, admin := connect(t, w.source), w.admin(t)
	// The columns that the router wants by default, and others for its options.
	exec1(t, source, `CREATE TABLE outboxevent (id uuid PRIMARY KEY, aggregatetype varchar(255) NOT NULL, aggregateid varchar(255), type varchar(255), payload jsonb,
		note text, n integer, big bigint, ok boolean, ratio double precision, exact numeric(10,2), made timestamp, at timestamptz, day date, other uuid)`)
	exec1(t, source, `CREATE TABLE events (event_id bigint PRIMARY KEY, kind text NOT NULL, owner integer, body bytea, made_at timestamp)`)
	router := map[string]string{
		"snapshot.mode": "no_data", "key.converter": "org.apache.kafka.connect.storage.StringConverter", "tombstones.on.delete": "true",
		"topic.creation.default.partitions": "3", "transforms": "outbox", "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter",
	}
	first, second := maps.Clone(router), maps.Clone(router)
	maps.Copy(first, map[string]string{
		"table.include.list": "public.outboxevent", "value.converter": "org.apache.kafka.connect.storage.StringConverter",
		"transforms.outbox.table.fields.additional.placement": "type:header:eventType,note:header,n:header,big:header,ok:header,ratio:header,made:header,at:header,day:header,other:header",
	})
	maps.Copy(second, map[string]string{
		"table.include.list": "public.events", "value.converter": "io.debezium.converters.BinaryDataConverter",
		"transforms.outbox.table.field.event.id": "event_id", "transforms.outbox.table.field.event.key": "owner", "transforms.outbox.table.field.event.payload": "body",
		"transforms.outbox.table.field.event.timestamp": "made_at", "transforms.outbox.route.by.field": "kind",
		"transforms.outbox.route.topic.replacement": w.name + ".of.${routedByValue}", "transforms.outbox.route.tombstone.on.empty.payload": "true",
	})
	w.captureByDebezium(t, w.name+"_a", first)
	w.captureByDebezium(t, w.name+"_b", second)
	capture := start(t, binary, "capture", "--config", w.outboxConfig(t, fmt.Sprintf(`
outbox:
  - table: public.outboxevent
    preset: debezium
    headers: {eventType: type, note: note, n: n, big: big, ok: ok, ratio: ratio, made: made, at: at, day: day, other: other}
  - table: public.events
    preset: debezium
    columns: {id: event_id, key: owner, payload: body, timestamp: made_at}
    topic: %s.of.{kind}
    empty_is_tombstone: true
map: {prefix: ours.}`, w.name), ""))

	orders, users, events := "order_"+w.name, "user_"+w.name, "kind_"+w.name
	n := 0
	insert := func(aggregate, key, payload string, rest string) {
		t.Helper()
		n++
		exec1(t, source, fmt.Sprintf(`INSERT INTO outboxevent VALUES (gen_random_uuid(), '%s', %s, 'Happened', %s, %s)`, aggregate, key, payload, rest))
	}
	// Both readers' slots are there once their first messages are.
	topics := []string{"outbox.event." + orders, "outbox.event." + users, w.name + ".of." + events}
	eventually(t, time.Minute, "three slots are read", func() error {
		var active int
		if err := source.QueryRow(t.Context(), `SELECT count(*) FROM pg_replication_slots WHERE active AND confirmed_flush_lsn IS NOT NULL AND database = current_database()`).Scan(&active); err != nil || active < 3 { // one that is being made is active, too
			return fmt.Errorf("%d slots, %v", active, err)
		}
		return nil
	}, capture)
	for i := range 20 {
		insert(orders, fmt.Sprintf("'key %d'", i), fmt.Sprintf(`'{"z": %d, "a": [1, 2.50, "ü", null]}'`, i),
			`'a note with "quotes", commas and ü', 7, 9007199254740993, true, 1.25e-5, 12.50, '2026-01-31 12:30:00.123456', '2026-01-31 12:30:00.123456+02', '2026-01-31', gen_random_uuid()`)
	}
	insert(users, "'u'", "NULL", strings.TrimSuffix(strings.Repeat("NULL, ", 10), ", "))
	insert(users, "'u'", "'null'", strings.TrimSuffix(strings.Repeat("NULL, ", 10), ", "))
	insert(users, "NULL", "'7'", "'', -1, -1, false, -1e300, -0.01, '1969-12-31 23:59:59.999999', '1969-12-31 23:59:59Z', '1969-12-31', NULL")
	exec1(t, source, `BEGIN; INSERT INTO outboxevent (id, aggregatetype, payload) VALUES (gen_random_uuid(), 'never', '{}'); ROLLBACK`)
	exec1(t, source, fmt.Sprintf(`BEGIN; INSERT INTO outboxevent (id, aggregatetype, aggregateid, payload) VALUES (gen_random_uuid(), '%s', 'gone', '{"gone": true}'); DELETE FROM outboxevent; COMMIT`, users))
	n++
	exec1(t, source, fmt.Sprintf(`INSERT INTO events VALUES (1, '%[1]s', 42, '\x00ff10', '2026-01-31 12:30:00.123'), (2, '%[1]s', NULL, '\x', '2020-02-29 00:00:00'), (3, '%[1]s', -1, NULL, '1999-12-31 23:59:59.999')`, events))
	exec1(t, source, `UPDATE events SET owner = 7; DELETE FROM events`)
	ours := make([]string, len(topics))
	for i, topic := range topics {
		ours[i] = "ours." + topic
	}
	w.arrived(t, admin, n+3, topics, capture)
	w.arrived(t, admin, n+3, ours, capture)
	capture.stop(t)

	show := func(records []*kgo.Record) map[string][]string {
		m := map[string][]string{}
		for _, r := range records {
			var b strings.Builder
			fmt.Fprintf(&b, "%q %v = %q %v", r.Key, r.Key == nil, r.Value, r.Value == nil)
			headers := slices.SortedFunc(slices.Values(r.Headers), func(a, b kgo.RecordHeader) int { return strings.Compare(a.Key, b.Key) })
			for _, h := range headers {
				// Debezium's own of 3.x on every record, whatever the transform.
				if !strings.HasPrefix(h.Key, "__debezium.context.") {
					fmt.Fprintf(&b, " %s: %q %v", h.Key, h.Value, h.Value == nil)
				}
			}
			if strings.Contains(r.Topic, ".of.") { // of the column, else each reader's own
				fmt.Fprintf(&b, " at %d", r.Timestamp.UnixMilli())
			}
			id := strings.TrimPrefix(r.Topic, "ours.")
			if r.Key != nil {
				id += fmt.Sprintf("/%d", r.Partition)
			}
			m[id] = append(m[id], b.String())
		}
		for id, list := range m {
			if !strings.Contains(id, "/") { // without a key: any partition, so in any order
				slices.Sort(list)
			}
		}
		return m
	}
	if d := cmp.Diff(show(w.consume(t, topics...)), show(w.consume(t, ours...))); d != "" {
		t.Errorf("records (-EventRouter +cdc):\n%s", d)
	}
}
