package mapping

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"cdc/replication"
)

// KeyMode says how a record's key is made.
type KeyMode string

// The key modes.
const (
	// KeyPrimary is Avro over the columns of the primary key, by a key schema
	// whose fields are those of the value schema. It is the default.
	KeyPrimary KeyMode = "primary"
	// KeyField is the same over chosen columns.
	KeyField KeyMode = "field"
	// KeySchema is Avro by a given record schema, whose fields are found among
	// the value's by name.
	KeySchema KeyMode = "schema"
	// KeyPlain is one column as bare text, not encoded.
	KeyPlain KeyMode = "plain"
	// KeyNone is no key. A delete then is no tombstone, which needs a key, but a
	// record of its own with the row as it was before, told by its header
	// cdc.op; a topic without keys must not be compacted.
	KeyNone KeyMode = "none"
)

// KeyConfig says how a table's keys are made. Columns are named as in the
// catalog, before any renaming.
type KeyConfig struct {
	Mode   KeyMode  // "" is KeyPrimary
	Fields []string // KeyField: the columns, in the key's order
	Field  string   // KeyPlain: the column
	Schema string   // KeySchema: the JSON text of the schema
}

// TableConfig is what is special about one table.
type TableConfig struct {
	Schema, Name string
	Topic        string // template; "" is Config.Topic
	Key          KeyConfig
	// Include names the only columns to publish, Exclude those to leave out; at
	// most one of them is set. A column of the key cannot be left out.
	Include, Exclude []string
	Rename           map[string]string // column → name of the field
	// Unchanged is UnchangedMark (also when it is ""), UnchangedOmit or
	// UnchangedFail.
	Unchanged string
}

// What becomes of a value that the log left out and the source did not supply.
const (
	// UnchangedMark publishes null, or the type's zero where the column is NOT
	// NULL, and names the field in the header cdc.unchanged.
	UnchangedMark = "mark"
	// UnchangedOmit does that, too, with a place in the schema for it: columns of
	// types whose values may be large are nullable there, whether or not the
	// table lets them be NULL, and avro.OmittedField names those without a value.
	UnchangedOmit = "omit"
	// UnchangedFail makes an error of the row.
	UnchangedFail = "fail"
)

// What a truncate becomes.
const (
	// TruncateRecord publishes a tombstone with the header cdc.op=truncate to
	// every partition of the topic. Its key is the key schema's zero value, so
	// that it is valid for consumers and compacted topics; a row of that key is
	// gone by the truncate, too. In a topic that tables share a truncate of one
	// reads as a truncate of all: choose another setting there.
	TruncateRecord = "record"
	TruncateSkip   = "skip" // publishes nothing
	TruncateStop   = "stop" // ends the run with a refusal
)

// Defaults of Config.
const (
	DefaultTopic     = "{schema}.{table}"
	DefaultNamespace = "cdc.{schema}"
)

// SchemaRegistry gives schemas their ids. ID registers the schema under the
// subject, or looks it up there; it waits out transient troubles and returns a
// *replication.Refusal when the registry does not want the schema.
type SchemaRegistry interface {
	ID(ctx context.Context, subject, schema string) (int, error)
}

// Config is what a Mapper is made of.
type Config struct {
	// Topic is the template of topic names for tables without one of their own:
	// {schema} and {table} stand for the table's names, in which every byte that
	// Kafka does not allow, and the dot, becomes _xHH. "" is DefaultTopic.
	Topic string
	// Prefix is put before every topic's name as it stands: "shop.".
	Prefix string
	// Namespace is the template of the namespace of the value schemas, which
	// are named as the table; "" is DefaultNamespace. Key schemas lie there, too,
	// with "_key" after the name.
	Namespace string
	Tables    []TableConfig
	Truncate  string // "" is TruncateRecord, for the format debezium TruncateSkip
	// Debezium, when it is not nil, chooses the format debezium in place of row.
	Debezium *Debezium

	Registry   SchemaRegistry
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil registers nothing
}

// Topic is a topic that a Mapper writes to.
type Topic struct {
	Name   string
	Keyed  bool     // every record but a truncate's has a key: the topic may be compacted
	Tables []string // schema.name of the tables that go there
}

// tableID names a table over all its versions.
type tableID struct{ schema, name string }

func (id tableID) String() string { return id.schema + "." + id.name }

// router is the part of a configuration that needs no table: checked, with its
// templates parsed. Every format uses it.
type router struct {
	topic, namespace template
	prefix           string
	tables           map[tableID]*TableConfig
	own              map[tableID]template // topics of tables that have one of their own
	topics           []Topic
	owners           map[string]tableID // topic → the first table that goes there
	shared           map[string]bool    // topics of several tables
	debezium         bool               // topics are named as Debezium names them
	transactions     string             // topic of transactions, "" is none
	messages         string             // topic of messages, "" is none
}

// newRouter checks cfg and returns its router. The error names every fault that
// can be found without seeing a table.
func newRouter(cfg *Config) (*router, error) {
	r := &router{
		prefix: cfg.Prefix, tables: map[tableID]*TableConfig{}, own: map[tableID]template{},
		owners: map[string]tableID{}, shared: map[string]bool{},
	}
	var err error
	if d := cfg.Debezium; d != nil {
		if r.prefix == "" {
			r.prefix = d.Source.Name + "."
		}
		r.debezium = true
		if d.Transactions {
			r.transactions = r.prefix + or(d.TransactionTopic, "transaction")
		}
		if d.Messages {
			r.messages = r.prefix + messageName
		}
	}
	if r.topic, err = parseTemplate(or(cfg.Topic, DefaultTopic), topicByte); err != nil {
		return nil, fmt.Errorf("topic: %w", err)
	}
	if i := strings.IndexFunc(cfg.Prefix, func(c rune) bool { return !topicByte(c) }); i >= 0 {
		return nil, fmt.Errorf("prefix %q: Kafka allows only letters, digits, '.', '_' and '-' in topics", cfg.Prefix)
	}
	if r.namespace, err = parseTemplate(or(cfg.Namespace, DefaultNamespace), namespaceByte); err != nil {
		return nil, fmt.Errorf("namespace: %w", err)
	}
	for i := range cfg.Tables {
		t := &cfg.Tables[i]
		id := tableID{t.Schema, t.Name}
		if r.tables[id] != nil {
			return nil, fmt.Errorf("table %s stands there twice", id)
		}
		r.tables[id] = t
		if err := t.check(); err != nil {
			return nil, fmt.Errorf("table %s: %w", id, err)
		}
		if t.Topic != "" {
			if r.own[id], err = parseTemplate(t.Topic, topicByte); err != nil {
				return nil, fmt.Errorf("table %s: topic: %w", id, err)
			}
		}
	}
	if err := r.route(cfg.Tables); err != nil {
		return nil, err
	}
	for _, t := range r.topics {
		for _, name := range []string{r.transactions, r.messages} {
			if name != "" && metricName(t.Name) == metricName(name) {
				return nil, fmt.Errorf("table %s: topic %s is that of transactions, or of messages", t.Tables[0], t.Name)
			}
		}
	}
	if r.messages != "" && metricName(r.messages) == metricName(r.transactions) {
		return nil, fmt.Errorf("topic %s is that of transactions and of messages", r.messages)
	}
	return r, nil
}

// table returns the configuration of a table, the default one if it has none.
func (r *router) table(id tableID) *TableConfig {
	if t := r.tables[id]; t != nil {
		return t
	}
	return &TableConfig{Schema: id.schema, Name: id.name}
}

// check finds what is wrong with t in itself.
func (t *TableConfig) check() error {
	k := t.Key
	switch k.mode() {
	case KeyPrimary, KeyNone:
	case KeyField:
		if len(k.Fields) == 0 {
			return fmt.Errorf("key: no field is named")
		}
		for i, f := range k.Fields {
			if slices.Contains(k.Fields[:i], f) {
				return fmt.Errorf("key: field %q is named twice", f)
			}
		}
	case KeyPlain:
		if k.Field == "" {
			return fmt.Errorf("key: no column is named")
		}
	case KeySchema:
		if k.Schema == "" {
			return fmt.Errorf("key: no schema is given")
		}
	default:
		return fmt.Errorf("key: %q is none of primary, field, schema, plain, none", k.Mode)
	}
	switch t.Unchanged {
	case "", UnchangedMark, UnchangedOmit, UnchangedFail:
	default:
		return fmt.Errorf("unchanged: %q is none of mark, omit, fail", t.Unchanged)
	}
	if len(t.Include) > 0 && len(t.Exclude) > 0 {
		return fmt.Errorf("include and exclude exclude each other")
	}
	for column, name := range t.Rename {
		if name == "" {
			return fmt.Errorf("rename: column %q gets an empty name", column)
		}
	}
	return nil
}

func (k *KeyConfig) mode() KeyMode {
	if k.Mode == "" {
		return KeyPrimary
	}
	return k.Mode
}

// Topics lists the topics of the configured tables in the order of the tables,
// for whoever creates or checks topics before the first record. It returns the
// errors that New returns.
func Topics(cfg Config) ([]Topic, error) {
	r, err := newRouter(&cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Debezium != nil && cfg.Truncate == TruncateRecord {
		for i := range r.topics {
			r.topics[i].Keyed = false // a truncate has no key there
		}
	}
	// Their keys are for partitions: there each record stays.
	for _, name := range []string{r.transactions, r.messages} {
		if name != "" {
			r.topics = append(r.topics, Topic{Name: name})
		}
	}
	return r.topics, nil
}

// route finds the topics of the configured tables, and refuses tables that meet
// in one without each of them saying so in its own entry.
func (r *router) route(tables []TableConfig) error {
	for i := range tables {
		id := tableID{tables[i].Schema, tables[i].Name}
		name, err := r.topicOf(id, id)
		if err != nil {
			return err
		}
		keyed := tables[i].Key.mode() != KeyNone
		j := slices.IndexFunc(r.topics, func(t Topic) bool { return metricName(t.Name) == metricName(name) })
		if j < 0 {
			r.topics = append(r.topics, Topic{Name: name, Keyed: keyed, Tables: []string{id.String()}})
			r.owners[name] = id
			continue
		}
		t := &r.topics[j]
		if t.Name != name {
			return fmt.Errorf("tables %s and %s: Kafka does not tell the topics %q and %q apart, since they differ only in '.' and '_'; give one of the tables another topic", t.Tables[0], id, t.Name, name)
		}
		if err := r.share(name, id); err != nil {
			return err
		}
		r.shared[name] = true
		t.Keyed = t.Keyed && keyed
		t.Tables = append(t.Tables, id.String())
	}
	return nil
}

// share refuses that id goes to the topic of another table unless both name it
// in their own entries.
func (r *router) share(topic string, id tableID) error {
	first, taken := r.owners[topic]
	if !taken || first == id || r.table(first).Topic != "" && r.table(id).Topic != "" {
		return nil
	}
	return &replication.Refusal{
		Problem: fmt.Sprintf("tables %s and %s go to the same topic %q", first, id, topic),
		Remedy:  "give one of them a topic of its own, or, if that is meant, give each of them this topic in its own entry",
	}
}

// metricName is a topic as Kafka's metrics name it: two topics of one such name
// cannot both exist.
func metricName(topic string) string { return strings.ReplaceAll(topic, ".", "_") }

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
