package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const outboxFile = `name: shop
source: {postgres: {url: "postgres://cdc@db/shop"}}
kafka: {brokers: "a:9092"}
registry: {url: "http://registry:8081"}
`

// TestOutbox states what little an outbox needs, and what it means.
func TestOutbox(t *testing.T) {
	c, err := Parse("dir/cdc.yml", []byte(outboxFile+`outbox:
  - table: public.kafka_messages
    preset: deimos
  - public.outbox
  - table: public.outboxevent
    preset: debezium
    headers: {eventType: type}
  - prefix: outbox*
    payload: json
    on_error: skip
  - table: public.big
    cleanup: on
    compact: "*"
  - table: public.slow
    cleanup: {every: 1m, batch: 50}
    topic: "a.{kind}"
    columns: {payload: body}
  - table: public.parted
    cleanup: {drop_partitions: true}
`), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	want := []Outbox{
		{Schema: "public", Table: "kafka_messages", Preset: "deimos", Snapshot: "initial", Payload: "bytes"},
		{Schema: "public", Table: "outbox", Preset: "columns", Snapshot: "initial", Payload: "bytes"},
		{Schema: "public", Table: "outboxevent", Preset: "debezium", Snapshot: "never", Payload: "bytes", Headers: map[string]string{"eventType": "type"}},
		{Prefix: "outbox*", Preset: "columns", Snapshot: "initial", Payload: "json", OnError: "skip"},
		{Schema: "public", Table: "big", Preset: "columns", Snapshot: "initial", Payload: "bytes", Compact: []string{"*"}, Cleanup: &OutboxCleanup{Every: 10 * time.Second, Batch: 1000}},
		{Schema: "public", Table: "slow", Preset: "columns", Snapshot: "initial", Payload: "bytes", Topic: "a.{kind}", Columns: OutboxColumns{Payload: "body"}, Cleanup: &OutboxCleanup{Every: time.Minute, Batch: 50}},
		{Schema: "public", Table: "parted", Preset: "columns", Snapshot: "initial", Payload: "bytes", Cleanup: &OutboxCleanup{Every: 10 * time.Second, Batch: 1000, DropPartitions: true}},
	}
	if d := cmp.Diff(want, c.Outbox); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestOutboxProblems(t *testing.T) {
	for file, want := range map[string]string{
		"outbox: []":                                 "must name at least one table or prefix",
		"outbox: [{preset: deimos}]":                 "must have either a table or a prefix",
		"outbox: [{table: a.b, prefix: c}]":          "must have either a table or a prefix",
		"outbox: [a.b, a.b]":                         "stands in outbox[0] already",
		"tables: [a.b]\noutbox: [a.b]":               "stands in tables, too",
		"outbox: [{table: a.b, preset: x}]":          "none of columns, deimos, debezium",
		"outbox: [{table: a.b, topic: 'a b'}]":       "is not made of letters",
		"outbox: [{table: a.b, schemas: {t: none}}]": "cannot read",
		"outbox: [{table: a.b, payload: json, schemas: {t: testdata/order-key.avsc}}]": "is for payload: avro",
		"outbox: [{prefix: a, headers: {a: b}}]":                                       "is for tables",
		"outbox: [{prefix: 'a*b*'}]":                                                   "may have one *",
		"outbox: [{table: a.b, snapshot: never, cleanup: on}]":                         "cannot stand beside snapshot: never",
		"outbox: [{table: a.b, on_error: skip, cleanup: on}]":                          "cannot stand beside on_error: skip",
		"outbox: [{table: a.b, cleanup: {batch: 0}}]":                                  "not a whole number",
	} {
		_, err := Parse("cdc.yml", []byte(outboxFile+file), noEnv)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
	if _, err := Parse("cdc.yml", []byte(strings.Replace(outboxFile, "source", "#", 1)+"outbox: [a.b]"), noEnv); err == nil || !strings.Contains(err.Error(), "source is missing: which database has these outboxes") {
		t.Error(err)
	}
}
