package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Outbox is a table, or a prefix of messages in the log, whose messages are
// routed to topics.
type Outbox struct {
	Schema, Table    string // of "table: schema.name"; "" for a prefix
	Prefix           string
	Preset           string // columns, deimos or debezium
	Snapshot         string // initial or never
	Columns          OutboxColumns
	Topic            string            // template; "" takes the column
	Payload          string            // bytes, json or avro
	Schemas          map[string]string // topic → JSON text of an Avro schema
	Headers          map[string]string // header → column
	IDHeader         string            // "" is the preset's, "-" none
	Partitioner      string            // "" is the preset's
	EmptyIsTombstone bool
	Compact          []string // topics; "*" is all
	OnError          string   // stop, dead-letter or skip; "" is the file's
	Cleanup          *OutboxCleanup
}

// OutboxColumns are names that differ from the preset's; "" is the preset's.
type OutboxColumns struct {
	ID, Topic, Key, Payload, Headers, Timestamp, Partition, PartitionKey, Trace string
}

// OutboxCleanup says how published rows are removed.
type OutboxCleanup struct {
	Every          time.Duration
	Batch          int
	DropPartitions bool
}

func (b *Outbox) declare(o *object) {
	o.scalar("table", "text", "The outbox table: schema.table. Its inserts are routed; updates and deletes of its rows are ignored.", func(s string) (err error) {
		b.Schema, b.Table, err = splitTable(s)
		return err
	})
	o.text("prefix", &b.Prefix, "In place of a table, the prefix of messages written with pg_logical_emit_message(true, prefix, content); it may end in *. The content is JSON with the fields topic, key, payload, headers, id, timestamp, partition and partition_key, or, where topic is given here, the payload.")
	o.choice("preset", &b.Preset, "What the columns are called and what becomes of them. columns: id, topic, key, payload, headers, partition, partition_key, traceparent, tracestate, as cdc outbox ddl makes them; deimos: the table kafka_messages of Deimos; debezium: id, aggregatetype, aggregateid, payload, to topic, key and headers as Debezium's EventRouter makes them.", "columns", "deimos", "debezium").defaults("columns")
	o.choice("snapshot", &b.Snapshot, "initial publishes the rows that are there at the first start, in the order of the primary key, then new ones; never publishes only new ones.", "initial", "never").note("initial; never with preset debezium, whose rows may have been published already")
	o.section("columns", "Names of columns that differ from the preset's. A column that is named must exist.", b.Columns.declare)
	o.text("topic", &b.Topic, "Template of the topic, in place of a column topic: {column} stands for the row's column of that name, {prefix} for a message's prefix.").note("the column topic; outbox.event.{aggregatetype} with preset debezium")
	o.choice("payload", &b.Payload, "What the value is made of the payload: bytes, the payload as it is; json, the same, but it must be JSON; avro, JSON encoded by a schema. A null payload is a tombstone.", "bytes", "json", "avro").defaults("bytes")
	schemaFiles(o, &b.Schemas)
	o.pairs("headers", &b.Headers, "Columns that become headers: header: column.")
	o.text("id_header", &b.IDHeader, "Header that bears the id, or - for none.").note("id; none with preset deimos")
	o.choice("partitioner", &b.Partitioner, "How a partition key becomes a partition: murmur2 as Java's clients, crc32 as librdkafka's.", "murmur2", "crc32").note("murmur2; crc32 with preset deimos")
	o.flag("empty_is_tombstone", &b.EmptyIsTombstone, "Make a tombstone of an empty payload, too.").defaults("false")
	o.texts("compact", &b.Compact, "Topics in which, of the messages of one key that are read together, only the last is published; * is all.")
	o.choice("on_error", &b.OnError, "What becomes of a message that cannot be published: stop ends the capture with its id in the error; dead-letter puts it whole into dead_letter_topic; skip leaves it out, counted and with a line in the log.", "stop", "dead-letter", "skip").note("on_error of the file")
	optional(o, "cleanup", "Delete rows that are published and behind the checkpoint. The word on is the mapping with its defaults.", &b.Cleanup, (*OutboxCleanup).declare).
		or(func(word string) {
			if b.Cleanup = nil; word == "on" {
				b.Cleanup = new(OutboxCleanup)
				b.Cleanup.declare(&object{}) // fills the defaults in
			}
		}, "on", "off")
}

func (c *OutboxColumns) declare(o *object) {
	o.text("id", &c.ID, "Names the message in errors, in the header and in message_id.")
	o.text("topic", &c.Topic, "The topic.")
	o.text("key", &c.Key, "The record's key: bytes, or any other type as its text.")
	o.text("payload", &c.Payload, "The payload.")
	o.text("headers", &c.Headers, "A JSON object of headers.")
	o.text("timestamp", &c.Timestamp, "The record's time: a timestamp, or milliseconds since 1970.").note("the time of the commit")
	o.text("partition", &c.Partition, "The number of the partition.")
	o.text("partition_key", &c.PartitionKey, "What chooses the partition in place of the key.")
	o.text("trace", &c.Trace, "W3C trace context, which becomes the headers traceparent and tracestate: a traceparent, or lines or a JSON object with one.")
}

func (c *OutboxCleanup) declare(o *object) {
	o.duration("every", &c.Every, "Pause between two rounds.").defaults("10s")
	o.number("batch", &c.Batch, 1, 100_000, "Rows that one DELETE takes.").defaults("1000")
	o.flag("drop_partitions", &c.DropPartitions, "Delete no rows, but drop whole partitions of a table partitioned by range once all of their rows are published. The newest partition that has rows and the one before it stay.").defaults("false")
}

// schemaFiles declares a mapping of topics to files with Avro schemas.
func schemaFiles(o *object, to *map[string]string) {
	f := &field{name: "schemas", kind: "mapping of texts", doc: "Files with Avro schemas, for payload: avro: topic: file. Each is registered under topic-value. Topics that are not here take the newest schema that the registry has under topic-value."}
	f.set = func(d *decoder, n *yaml.Node, path string) {
		*to = map[string]string{}
		d.mapping(n, path, func(key, value *yaml.Node, at string) {
			if schema, ok := d.schemaFile(value, at); ok {
				(*to)[key.Value] = schema
			}
		})
	}
	o.add(f)
}

// schemaFile returns the content of the file that n names: an Avro schema, of
// which only the JSON is looked at here.
func (d *decoder) schemaFile(n *yaml.Node, path string) (schema string, ok bool) {
	name, ok := d.text(n, path)
	if !ok {
		return "", false
	}
	data, err := d.read(d.relative(name))
	switch {
	case err != nil:
		d.problem(n, path, "cannot read: %v", err)
		return "", false
	case !json.Valid(data):
		d.problem(n, path, "%s is not JSON", name)
		return "", false
	}
	return string(data), true
}

var outboxTopicForm = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func (c *Config) completeOutbox(d *decoder) {
	if len(c.Outbox) > 0 && !d.given("source") {
		d.at("outbox", "source is missing: which database has these outboxes")
	}
	if d.given("outbox") && len(c.Outbox) == 0 && !d.hasProblem("outbox") {
		d.at("outbox", "must name at least one table or prefix")
	}
	first := map[string]int{}
	for i := range c.Outbox {
		b := &c.Outbox[i]
		path := fmt.Sprintf("outbox[%d]", i)
		if (b.Table == "") == (b.Prefix == "") && !d.hasProblem(path) {
			d.at(path, "must have either a table or a prefix")
		}
		id := "prefix " + b.Prefix
		if b.Table != "" {
			id = "table " + b.Schema + "." + b.Table
			if slices.ContainsFunc(c.Tables, func(t Table) bool { return t.Schema == b.Schema && t.Name == b.Table }) {
				d.at(path, "%s stands in tables, too: its rows would be published twice", id)
			}
		}
		if j, twice := first[id]; twice {
			d.at(path, "%s stands in outbox[%d] already", id, j)
		}
		first[id] = i
		if b.Snapshot == "" {
			b.Snapshot = "initial"
			if b.Preset == "debezium" {
				b.Snapshot = "never"
			}
		}
		if b.Topic != "" && !outboxTopicForm.MatchString(placeholder.ReplaceAllString(b.Topic, "x")) {
			d.at(path+".topic", "%q is not made of letters, digits, '.', '_' and '-' beside {column}", b.Topic)
		}
		if b.Topic != "" && d.given(path+".columns.topic") {
			d.at(path+".columns.topic", "cannot stand beside topic")
		}
		if d.given(path+".schemas") && b.Payload != "avro" {
			d.at(path+".schemas", "is for payload: avro")
		}
		for topic := range b.Schemas {
			if !topicForm.MatchString(topic) {
				d.at(path+".schemas."+topic, "%q is not a topic's name", topic)
			}
		}
		if b.Prefix != "" {
			if strings.Contains(strings.TrimSuffix(b.Prefix, "*"), "*") {
				d.at(path+".prefix", "may have one * only, at its end")
			}
			for _, f := range d.givenOf(path, "preset", "columns", "headers", "snapshot", "cleanup") {
				d.at(path+"."+f, "is for tables")
			}
		}
		if b.Cleanup != nil {
			d.positive(path+".cleanup.every", int(b.Cleanup.Every))
		}
		if b.Cleanup != nil && b.OnError == "skip" {
			d.at(path+".cleanup", "cannot stand beside on_error: skip: messages that are skipped would be deleted unpublished; set on_error to stop or dead-letter")
		}
		if b.Cleanup != nil && b.Snapshot == "never" {
			d.at(path+".cleanup", "cannot stand beside snapshot: never: rows that were there before are not known to be published; empty the table and set snapshot: initial")
		}
	}
}
