package mysql

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cdc/replication"
	"cdc/replication/pace"
	"cdc/secret"
)

// Flavor is one of the two families.
type Flavor string

// The flavors.
const (
	MySQL   Flavor = "mysql"
	MariaDB Flavor = "mariadb"
)

// SnapshotMode says what happens to the rows that a table holds already when
// its capture begins.
type SnapshotMode string

// The modes. The empty mode is SnapshotInitial.
const (
	SnapshotInitial SnapshotMode = "initial" // read them all once, then the changes
	SnapshotNever   SnapshotMode = "never"   // the changes alone
)

// ZeroDates says what becomes of dates that the calendar does not have, which
// MySQL may hold: 0000-00-00, 2026-00-00, 2026-02-31.
type ZeroDates string

// The policies. The empty one is ZeroDatesError.
const (
	// ZeroDatesError: the row is an error, or a dead letter.
	ZeroDatesError ZeroDates = "error"
	// ZeroDatesNull: NULL, also in a column that is NOT NULL.
	ZeroDatesNull ZeroDates = "null"
	// ZeroDatesText: every DATE, DATETIME and TIMESTAMP of the source is text.
	ZeroDatesText ZeroDates = "text"
)

// OnPurged says what happens when the server has purged the log that is still
// to be read.
type OnPurged string

// The policies. The empty one is OnPurgedRefuse.
const (
	OnPurgedRefuse   OnPurged = "refuse"
	OnPurgedSnapshot OnPurged = "snapshot" // read the tables again
)

// OnDropPartition says what happens when rows of a captured table go with a
// partition that is dropped or truncated, or with a discarded tablespace: the log
// does not say which.
type OnDropPartition string

// The policies. The empty one is OnDropPartitionRefuse.
const (
	OnDropPartitionRefuse OnDropPartition = "refuse"
	OnDropPartitionWarn   OnDropPartition = "warn" // go on: the rows stay where they were published
)

// OnRename says what happens when a captured table gets a name that is not
// captured, and no other table gets its own.
type OnRename string

// The policies. The empty one is OnRenameRefuse.
const (
	OnRenameRefuse OnRename = "refuse"
	OnRenameWarn   OnRename = "warn" // names are captured, whatever table has them
)

// TableConfig is one captured table.
type TableConfig struct {
	Schema, Name string // the database, and the table in it; unquoted
	Snapshot     SnapshotMode
	// Key names the columns that the records' key is made of, where that is not
	// the primary key. Here it is only checked: the columns must exist and be
	// logged.
	Key []string
	// Keyless says that the records shall have no key.
	Keyless bool
	// Ordered reads the snapshot in the order of the primary key, as the events
	// of an outbox need it.
	Ordered bool
	Toast   Toast // of what the log leaves out
	// InsertsOnly says that nothing but inserts matters: rows may go without being
	// in the log. Nobody would notice if a table of that kind got another name, so
	// that is refused.
	InsertsOnly bool
	// Verify looks at the table as it is at the start, where no older rows of it
	// are to come, and in Check: a *replication.Refusal says what the rest of the
	// configuration expects of it in vain. nil expects nothing. Where older rows
	// may come it only warns.
	Verify func(*replication.Table) error

	upto bound // up to where it is read
}

func (t TableConfig) String() string { return t.Schema + "." + t.Name }

// TLS says how the server is verified.
type TLS struct {
	CAFile            string // PEM; "" is the system's authorities
	CertFile, KeyFile string // PEM, of this client
	ServerName        string // to verify in place of the host's
	Insecure          bool   // verify nothing
}

// Config says what to capture, from where.
type Config struct {
	Name   string // of the connector
	Flavor Flavor
	// URL is mysql://user:password@host:port/?tls=…; see parseURL.
	URL secret.String
	// Password takes the place of one in the URL, unless it is empty.
	Password secret.String
	TLS      *TLS // nil: as the URL's parameter tls says
	// ServerID is what the source calls itself among the server's replicas: it
	// must be nobody else's. 0 makes one of Name.
	ServerID  uint32
	Tables    []TableConfig
	From      replication.Position // the saved checkpoint, "" when there is none
	ZeroDates ZeroDates
	OnPurged  OnPurged
	OnRename  OnRename
	// IdleInterval is how often a Position comes at least while nothing captured
	// changes and the log goes on. 0 is 10 seconds.
	IdleInterval    time.Duration
	OnDropPartition OnDropPartition
	// StartAt is where the log is read from when From is "": see startAt. "" is the
	// end of the log, or where the snapshot stands.
	StartAt string
	// Describe asks for what the other records do not need: where in the log a
	// change stands, and the columns' defaults, as the catalog has them.
	Describe   bool
	BatchBytes int           // budget of a Batch in bytes; 0 = 1 MiB
	IDWait     time.Duration // how long to wait for a server id in use before refusing; 0 = 30 s
	Logger     *slog.Logger  // nil discards
	Registerer prometheus.Registerer
	// Progress is told about every snapshotted table: about once a second, and
	// when it is done. It runs on the snapshot's goroutine: it must not block.
	// May be nil.
	Progress func(pace.Progress)

	address *address // of URL, set by complete
	begins  bool     // From is StartAt
}

const (
	defaultBatchBytes = 1 << 20
	defaultIDWait     = 30 * time.Second
)

func refuse(problem, remedy string, err error) *replication.Refusal {
	return &replication.Refusal{Problem: problem, Remedy: remedy, Err: err}
}

// complete checks c by itself and fills the defaults in.
func (c Config) complete() (Config, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.BatchBytes <= 0 {
		c.BatchBytes = defaultBatchBytes
	}
	if c.IDWait <= 0 {
		c.IDWait = defaultIDWait
	}
	if c.Flavor == "" {
		c.Flavor = MySQL
	}
	if c.ServerID == 0 {
		c.ServerID = ServerID(c.Name)
	}
	if err := oneOf("zero_dates", &c.ZeroDates, ZeroDatesError, ZeroDatesNull, ZeroDatesText); err != nil {
		return c, err
	}
	if err := oneOf("on_purged", &c.OnPurged, OnPurgedRefuse, OnPurgedSnapshot); err != nil {
		return c, err
	}
	if err := oneOf("on_drop_partition", &c.OnDropPartition, OnDropPartitionRefuse, OnDropPartitionWarn); err != nil {
		return c, err
	}
	if err := oneOf("on_rename", &c.OnRename, OnRenameRefuse, OnRenameWarn); err != nil {
		return c, err
	}
	var err error
	if c.From == "" && c.StartAt != "" {
		if c.From, err = startAt(c.Flavor, c.StartAt); err != nil {
			return c, err
		}
		c.begins = true
	}
	if c.address, err = parseURL(c.URL.Reveal(), c.TLS); err != nil {
		return c, refuse("the url of the "+string(c.Flavor)+" source cannot be used",
			"give a URL like "+string(c.Flavor)+"://user:password@host:3306/?tls=true", err)
	}
	if !c.Password.IsZero() {
		c.address.password = c.Password.Reveal()
	}
	if len(c.Tables) == 0 {
		return c, refuse("no table is configured", "list the tables to capture", nil)
	}
	c.Tables = slices.Clone(c.Tables)
	seen := map[string]bool{}
	for i := range c.Tables {
		t := &c.Tables[i]
		if err := oneOf("table "+t.String()+": snapshot", &t.Snapshot, SnapshotInitial, SnapshotNever); err != nil {
			return c, err
		}
		if err := oneOf("table "+t.String()+": toast", &t.Toast, ToastRefetch, ToastOmit, ToastFail); err != nil {
			return c, err
		}
		name := tableKey(t.Schema, t.Name)
		if seen[name] {
			return c, refuse(fmt.Sprintf("table %s is configured twice", t), "remove one of the two", nil)
		}
		seen[name] = true
	}
	return c, nil
}

// oneOf checks a word; the first one stands for the empty word.
func oneOf[T ~string](what string, word *T, words ...T) error {
	if *word == "" {
		*word = words[0]
	}
	if slices.Contains(words, *word) {
		return nil
	}
	var names []string
	for _, w := range words {
		names = append(names, string(w))
	}
	return refuse(fmt.Sprintf("%s: %q does not exist", what, *word), "choose "+strings.Join(names, " or "), nil)
}

// ServerID is the server id that a connector takes by itself, made of its name,
// among the high ones that people do not give: FNV-1a.
func ServerID(name string) uint32 {
	h := uint32(2166136261)
	for _, b := range []byte("cdc " + name) {
		h = (h ^ uint32(b)) * 16777619
	}
	return h | 1<<31
}

// captures reports whether a table is configured.
func (c *Config) captures(schema, name string) bool {
	for i := range c.Tables {
		if c.Tables[i].Schema == schema && c.Tables[i].Name == name {
			return true
		}
	}
	return false
}
