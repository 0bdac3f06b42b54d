package sink

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cdc/kafka"
	"cdc/mapping/avro"
)

// SchemaSource returns a registry's schemas. An id that has none is
// avro.ErrUnusableSchema and concerns one record; any other error stops the
// sink. Transient troubles it waits out until ctx ends.
type SchemaSource interface {
	Schema(ctx context.Context, id int) (*avro.Schema, error)
}

// What happens to a record that cannot be applied.
const (
	OnErrorStop       = "stop"        // the sink ends with an error that names it
	OnErrorDeadLetter = "dead-letter" // it goes whole to DeadLetterTopic, durably before the offset moves
	OnErrorSkip       = "skip"        // it is counted, logged and left out
)

// Config says what a sink reads and where it writes it.
type Config struct {
	// Name names the sink in metrics and logs. Required.
	Name string
	// Group is the consumer group, under which the offsets stand in the target
	// too. Defaults to "cdc_" + Name.
	Group string
	// OffsetsTable is the target's, for messages that name it.
	OffsetsTable string
	Kafka        kafka.Config
	// Topics are names, or regular expressions between slashes that a topic's
	// whole name must match: /public\..*/. At least one.
	Topics []string
	// NotTables are topics whose records are no rows, such as one of transactions:
	// regular expressions leave them out, unless Topics or Tables name them.
	NotTables []string
	Registry  SchemaSource
	// Writer opens the target. The sink closes what it returns.
	Writer func(ctx context.Context) (Writer, error)
	// OnError is OnErrorStop (the default), OnErrorDeadLetter or OnErrorSkip.
	OnError string
	// DeadLetterTopic is where OnErrorDeadLetter puts records; it must exist or
	// be creatable by the brokers.
	DeadLetterTopic string
	// BatchRows and BatchBytes bound one transaction, in records and in bytes
	// of keys and values. Default to 20,000 and 16 MiB.
	BatchRows, BatchBytes int
	// MaxWait is how long a batch that is not full may wait for more while the
	// target is idle. 0, the default, applies what is there at once; batches
	// grow by themselves while the target is busy.
	MaxWait time.Duration
	// Tables are exceptions from "topic schema.table goes to the table of its
	// last part's name in DefaultSchema".
	Tables []TableConfig
	// DefaultSchema is the target's schema; "" leaves it to the Writer.
	DefaultSchema string
	Logger        *slog.Logger          // nil discards
	Registerer    prometheus.Registerer // nil registers nothing
	// DrainTimeout bounds how long a stop waits for the batch in hand. Defaults
	// to 20 s.
	DrainTimeout time.Duration
}

// TableConfig says where one topic goes.
type TableConfig struct {
	Topic string
	// Schema and Table are the target's; each may be "" for the default.
	Schema, Table string
	// Key are the columns that identify a row, instead of those of the record's
	// key: for topics whose keys are plain text, absent, or another thing.
	Key []string
}

func (c *Config) defaults() error {
	switch {
	case c.Name == "":
		return fmt.Errorf("sink: no name")
	case len(c.Topics) == 0:
		return fmt.Errorf("sink %s: no topics", c.Name)
	case c.Registry == nil || c.Writer == nil:
		return fmt.Errorf("sink %s: no registry or no writer", c.Name)
	}
	if c.Group == "" {
		c.Group = "cdc_" + c.Name
	}
	switch c.OnError {
	case "":
		c.OnError = OnErrorStop
	case OnErrorStop, OnErrorSkip:
	case OnErrorDeadLetter:
		if c.DeadLetterTopic == "" {
			return fmt.Errorf("sink %s: on_error dead-letter needs a dead-letter topic", c.Name)
		}
		if slices.Contains(c.Topics, c.DeadLetterTopic) {
			return fmt.Errorf("sink %s: it reads its own dead-letter topic %s, where every dead letter would come back", c.Name, c.DeadLetterTopic)
		}
	default:
		return fmt.Errorf("sink %s: on_error %q is none of stop, dead-letter, skip", c.Name, c.OnError)
	}
	if c.BatchRows <= 0 {
		c.BatchRows = 20_000
	}
	if c.BatchBytes <= 0 {
		c.BatchBytes = 16 << 20
	}
	if c.DrainTimeout <= 0 {
		c.DrainTimeout = 20 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if _, _, err := c.topics(); err != nil {
		return err
	}
	var names []string
	for _, t := range c.Topics {
		if _, ok := pattern(t); !ok {
			names = append(names, t)
		}
	}
	return c.collisions(names)
}

// topics returns what to consume, and whether it is regular expressions.
func (c *Config) topics() (list []string, patterns bool, err error) {
	for _, t := range c.Topics {
		if _, ok := pattern(t); ok {
			patterns = true
		}
	}
	for _, t := range c.Topics {
		p, ok := pattern(t)
		switch {
		case ok:
			p = "^(?:" + p + ")$"
			if _, err := regexp.Compile(p); err != nil {
				return nil, false, fmt.Errorf("sink %s: topic pattern %s: %w", c.Name, t, err)
			}
		case patterns:
			p = "^" + regexp.QuoteMeta(t) + "$"
		default:
			p = t
		}
		list = append(list, p)
	}
	return list, patterns, nil
}

// names reports whether a topic stands in the configuration under its name.
func (c *Config) names(topic string) bool {
	return slices.Contains(c.Topics, topic) || slices.ContainsFunc(c.Tables, func(t TableConfig) bool { return t.Topic == topic })
}

func pattern(t string) (string, bool) {
	if len(t) >= 2 && strings.HasPrefix(t, "/") && strings.HasSuffix(t, "/") {
		return t[1 : len(t)-1], true
	}
	return t, false
}

// table returns where a topic goes.
func (c *Config) table(topic string) TableConfig {
	t := TableConfig{Topic: topic}
	for _, tc := range c.Tables {
		if tc.Topic == topic {
			t = tc
			break
		}
	}
	if t.Schema == "" {
		t.Schema = c.DefaultSchema
	}
	if t.Table == "" {
		t.Table = topic[strings.LastIndexByte(topic, '.')+1:]
	}
	return t
}
