// Package config reads the one YAML file that says what cdc does. It is strict:
// unknown keys, bad values and contradictions are all reported at once, each
// with its line. The fields are declared once, in sections.go, with their
// descriptions; decoding, the JSON Schema and docs/configuration.md follow from
// those declarations.
package config

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v4"

	"cdc/secret"
)

// Config is a whole file, with defaults filled in, files read, names of files
// made relative to the working directory and ${NAME} replaced. The meaning of
// each field stands where it is declared, and in docs/configuration.md.
type Config struct {
	Name            string
	Source          Source
	Tables          []Table
	Outbox          []Outbox
	Map             Map
	Kafka           Kafka
	Registry        Registry
	OnError         string // stop or dead-letter
	DeadLetterTopic string
	Sinks           []Sink
	Admin           Admin
	Log             Log
	DrainTimeout    time.Duration
	DataDir         string
}

// Source is the database to capture from; nil when the file names none.
type Source struct {
	Postgres       *PostgresSource
	MySQL, MariaDB *MySQLSource
}

// Given reports whether the file names a database to capture from.
func (s *Source) Given() bool { return s.Postgres != nil || s.MySQL != nil || s.MariaDB != nil }

// MySQLSource is a MySQL or MariaDB database to capture from.
type MySQLSource struct {
	URL       secret.String
	Password  secret.String
	TLS       *TLS
	ServerID  int // 0 is one made of the connector's name
	ZeroDates string
	OnPurged  string
	StartAt   string
	IDWait    time.Duration
	// OnDropPartition and OnRename are refuse or warn.
	OnDropPartition string
	OnRename        string
}

// PostgresSource is a PostgreSQL database to capture from.
type PostgresSource struct {
	URL         secret.String // with the password in it
	Password    secret.String
	Slot        string
	Publication string
	SlotWait    time.Duration
	Failover    string // auto, required or never
	Streaming   bool
	SpillMemory int    // bytes
	SpillDir    string // "" is the system's folder for temporary files
}

// Table is one captured table.
type Table struct {
	Schema, Name     string // of "table: schema.name"
	Snapshot         string // initial or never
	Topic            string // "" is Map.Topic
	Key              Key
	Include, Exclude []string
	Rename           map[string]string
	Toast            string // refetch, omit, fail
	AsText           []string
}

// The ways to make a record's key.
const (
	KeyPrimary = "primary"
	KeyField   = "field"
	KeySchema  = "schema"
	KeyPlain   = "plain"
	KeyNone    = "none"
)

// Key says how a table's record keys are made.
type Key struct {
	Mode   string   // one of the constants above
	Fields []string // KeyField: the columns
	Field  string   // KeyPlain: the column
	Schema string   // KeySchema: the JSON text of the schema
}

// Map is the shape of records.
type Map struct {
	Format, Topic, Prefix, Namespace string
	Truncate                         string    // record, skip or stop
	Debezium                         *Debezium // with format debezium, never nil
}

// Debezium is the format of that name: options under Debezium's own values.
type Debezium struct {
	Name                                    string
	Decimal, Time, Binary, HStore, Interval string
	Names, BigintUnsigned, Unavailable      string
	Tombstones                              bool
	Transactions                            bool
	TransactionTopic                        string
	Messages                                []string
}

// Kafka is the cluster, and how to write to it.
type Kafka struct {
	Embedded        bool // the broker inside this process; the rest are its defaults
	Brokers         []string
	TLS             *TLS
	SASL            *SASL
	Topics          Topics
	Compression     string
	Linger          time.Duration
	Buffer          int // bytes
	MaxRecord       int // bytes; 0 is each topic's own limit
	CheckpointTopic string
}

// TLS is how to verify a server and how to identify to it.
type TLS struct {
	CA, Cert, Key string // files
	ServerName    string
	Insecure      bool
}

// SASL is how to authenticate to Kafka.
type SASL struct {
	Mechanism    string
	Username     string
	Password     secret.String
	Token        secret.String
	TokenFile    string // read anew for every authentication
	TokenURL     string
	ClientID     string
	ClientSecret secret.String
	Scope        string
	Extensions   map[string]string
}

// Topics says how topics come to be.
type Topics struct {
	Create      bool
	Partitions  int
	Replication int // 0 is the cluster's own default
	Compact     bool
	Config      map[string]string
}

// Registry is the schema registry.
type Registry struct {
	Embedded bool // the registry inside this process
	URL      string
	Username string
	Password secret.String
	Token    secret.String
	TLS      *TLS
	Mode     string // register or lookup
}

// Sink is one target database and what goes there.
type Sink struct {
	Name            string
	Group           string
	Topics          []string
	Postgres        *PostgresSink
	MySQL, MariaDB  *MySQLSink
	Schema          string
	CreateTables    bool
	AddColumns      bool
	AlterColumns    bool
	OffsetsTable    string
	OnError         string // stop, dead-letter or skip
	DeadLetterTopic string
	Tables          []SinkTable
	Batch           Batch
}

// PostgresSink is a PostgreSQL database to write to.
type PostgresSink struct {
	URL      secret.String // with the password in it
	Password secret.String
}

// MySQLSink is a MySQL or MariaDB database to write to.
type MySQLSink struct {
	URL      secret.String // with the password in it
	Password secret.String
	TLS      *TLS
}

// SinkTable says where one topic goes.
type SinkTable struct {
	Topic, Schema, Table string
	Key                  []string
}

// Batch bounds one transaction of a sink.
type Batch struct {
	Rows  int
	Bytes int
	Wait  time.Duration
}

// Admin is the HTTP server for health and metrics.
type Admin struct {
	Listen string // "" is off
	// Chosen says that the file names it: then no other address will do.
	Chosen bool
}

// Log is how to log.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // text or json
}

// Load reads a file. An *Errors lists everything that is wrong in it.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	data, err := readAll(f)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, data, os.LookupEnv)
}

// Parse reads the text of a file. name is the file's name, for messages and as
// what other files are relative to; env looks an environment variable up. An
// *Errors lists everything that is wrong.
func Parse(name string, data []byte, env func(string) (string, bool)) (*Config, error) {
	d := &decoder{file: name, dir: filepath.Dir(name), env: env, nodes: nodes{}}
	c := &Config{}
	root := &object{}
	c.declare(root)
	if n := d.load(data); n != nil {
		d.object(root, n, "")
		if n.Kind == yaml.MappingNode {
			c.complete(d)
		}
	}
	if err := d.errors(); err != nil {
		return nil, err
	}
	return c, nil
}
