// Package route turns rows of outbox tables, and messages that applications
// write into the log, into records: it finds topic, key, payload, headers, time
// and partition in their columns by plans compiled once per version of a table.
// All other changes go on to another Mapper.
package route

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"cdc/mapping"
	"cdc/mapping/avro"
)

// The presets: what columns are called and how records are made of them.
const (
	// PresetColumns has the columns of `cdc outbox ddl`: id, topic, key, payload,
	// headers, partition, partition_key, traceparent, tracestate. All but payload
	// may be missing; topic too, if a template is given.
	PresetColumns = "columns"
	// PresetDeimos is the table kafka_messages of Deimos: topic, message, key and
	// partition_key, by which librdkafka's CRC-32 chooses the partition.
	PresetDeimos = "deimos"
	// PresetDebezium makes what Debezium's EventRouter makes with its defaults of
	// id, aggregatetype, aggregateid and payload.
	PresetDebezium = "debezium"
)

// What a record's value is made of the payload.
const (
	PayloadBytes = "bytes" // its bytes, or its text, as they are
	PayloadJSON  = "json"  // the same, but it must be JSON
	PayloadAvro  = "avro"  // JSON that becomes Avro in Confluent's wire format
)

// How a partition follows from a partition key.
const (
	Murmur2 = "murmur2" // as Java's clients
	CRC32   = "crc32"   // as librdkafka's
)

// Columns names the columns of an outbox table. "" takes the preset's.
type Columns struct {
	ID, Topic, Key, Payload, Headers   string
	Timestamp, Partition, PartitionKey string
	Trace                              string // W3C trace context: a traceparent, or lines or a JSON object with one
}

// Outbox is one outbox: a table, or the messages of a prefix.
type Outbox struct {
	Schema, Table string
	// Prefix of pg_logical_emit_message, in place of a table; it may end in a
	// star. The content is JSON with the fields id, topic, key, payload, headers,
	// timestamp, partition and partition_key, all but payload and topic optional;
	// with a Topic here, the content is the payload.
	Prefix string
	Preset string // "" is PresetColumns
	// Columns are names that differ from the preset's.
	Columns Columns
	// Topic is a template in place of the column topic; {column} stands for the
	// row's column of that name, {prefix} for a message's prefix.
	Topic   string
	Payload string // "" is PayloadBytes
	// Schemas are the Avro schemas (JSON texts) by topic, for PayloadAvro. A topic
	// that is not there takes the newest schema of its subject, topic-value.
	Schemas map[string]string
	// Headers are columns that become headers: name of the header → column.
	Headers map[string]string
	// IDHeader is the header that bears the id; "" is the preset's, "-" is none.
	IDHeader    string
	Partitioner string // "" is the preset's: CRC32 for Deimos, else Murmur2
	// EmptyIsTombstone makes a tombstone of an empty payload, too.
	EmptyIsTombstone bool
	// Compact are topics in which only the last message of a key within a batch
	// is published; "*" is all of them.
	Compact []string
	OnError string // one of mapping.OnError…; "" leaves it to the pipeline
}

func (o *Outbox) name() string {
	if o.Table == "" {
		return "prefix " + o.Prefix
	}
	return "table " + o.Schema + "." + o.Table
}

// Schemas gives Avro schemas and their ids; *avro.Registry is one.
type Schemas interface {
	mapping.SchemaRegistry
	Latest(ctx context.Context, subject string) (int, *avro.Schema, error)
}

// Config is what a Mapper is made of.
type Config struct {
	// Name distinguishes message ids that are made from ids that are no UUIDs:
	// the connector's name.
	Name     string
	Outboxes []Outbox
	Inner    mapping.Mapper // takes all other changes
	Registry Schemas        // for PayloadAvro
	Prefix   string         // put before every topic's name

	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil registers nothing
}

// preset is what is decided by a preset.
type preset struct {
	columns     Columns
	topic       string
	idHeader    string
	partitioner string
	debezium    bool // times in headers as Debezium has them
}

var presets = map[string]preset{
	PresetColumns: {
		columns: Columns{
			ID: "id", Topic: "topic", Key: "key", Payload: "payload", Headers: "headers",
			Partition: "partition", PartitionKey: "partition_key", Trace: "traceparent",
		},
		idHeader: "id", partitioner: Murmur2,
	},
	PresetDeimos: {
		columns:     Columns{ID: "id", Topic: "topic", Key: "key", Payload: "message", PartitionKey: "partition_key"},
		partitioner: CRC32,
	},
	PresetDebezium: {
		columns:  Columns{ID: "id", Key: "aggregateid", Payload: "payload", Trace: "tracingspancontext"},
		topic:    "outbox.event.{aggregatetype}",
		idHeader: "id", partitioner: Murmur2, debezium: true,
	},
}

// box is an Outbox, checked and completed.
type box struct {
	Outbox
	preset
	template   []part
	compactAll bool
}

// part is a piece of a template: a literal text, or a column when text is "".
type part struct{ text, column string }

func (o Outbox) compile() (*box, error) {
	if (o.Table == "") == (o.Prefix == "") {
		return nil, errors.New("an outbox has either a table or a prefix")
	}
	if o.Preset == "" {
		o.Preset = PresetColumns
	}
	p, ok := presets[o.Preset]
	if !ok {
		return nil, fmt.Errorf("preset %q is none of columns, deimos, debezium", o.Preset)
	}
	if o.Payload == "" {
		o.Payload = PayloadBytes
	}
	if !slices.Contains([]string{PayloadBytes, PayloadJSON, PayloadAvro}, o.Payload) {
		return nil, fmt.Errorf("payload %q is none of bytes, json, avro", o.Payload)
	}
	if !slices.Contains([]string{"", mapping.OnErrorStop, mapping.OnErrorDeadLetter, mapping.OnErrorSkip}, o.OnError) {
		return nil, fmt.Errorf("on_error %q is none of stop, dead-letter, skip", o.OnError)
	}
	if o.Partitioner == "" {
		o.Partitioner = p.partitioner
	}
	if o.Partitioner != Murmur2 && o.Partitioner != CRC32 {
		return nil, fmt.Errorf("partitioner %q is none of murmur2, crc32", o.Partitioner)
	}
	switch o.IDHeader {
	case "":
		o.IDHeader = p.idHeader
	case "-":
		o.IDHeader = ""
	}
	if o.Topic == "" && o.Columns.Topic == "" && (o.Prefix == "" || o.Preset != PresetDebezium) {
		o.Topic = p.topic
	}
	b := &box{Outbox: o, preset: p, compactAll: slices.Contains(o.Compact, "*")}
	for rest := o.Topic; rest != ""; {
		text, after, found := strings.Cut(rest, "{")
		if text != "" {
			b.template = append(b.template, part{text: text})
		}
		if !found {
			break
		}
		column, tail, closed := strings.Cut(after, "}")
		if !closed || column == "" {
			return nil, fmt.Errorf("topic %q: a { without a column and a }", o.Topic)
		}
		if o.Prefix != "" && column != "prefix" {
			return nil, fmt.Errorf("topic %q: a message has no columns; {prefix} is its prefix", o.Topic)
		}
		b.template = append(b.template, part{column: column})
		rest = tail
	}
	return b, nil
}

// pick returns the column that the outbox names, or the preset's; named says
// that it must exist.
func pick(own, preset string) (column string, named bool) {
	if own != "" {
		return own, true
	}
	return preset, false
}

// Topics lists the topics whose names do not depend on a message. They are
// never to be compacted.
func Topics(cfg Config) []mapping.Topic {
	var topics []mapping.Topic
	for _, o := range cfg.Outboxes {
		if o.Topic != "" && !strings.Contains(o.Topic, "{") {
			topics = append(topics, mapping.Topic{Name: cfg.Prefix + o.Topic, Tables: []string{o.name()}})
		}
	}
	return topics
}
