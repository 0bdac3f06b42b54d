package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"

	"cdc/internal/dial"
	"cdc/replication"
	"cdc/replication/pace"
	"cdc/secret"
)

// SnapshotMode says what happens to the rows that a table holds already when
// its capture begins.
type SnapshotMode string

// The modes. The empty mode is SnapshotInitial.
const (
	SnapshotInitial SnapshotMode = "initial" // read them all once, then the changes
	SnapshotNever   SnapshotMode = "never"   // the changes alone
)

// TableConfig is one captured table.
type TableConfig struct {
	Schema, Name string // as in the catalog, unquoted
	Snapshot     SnapshotMode
	// Key names the columns that the records' key is made of, where that is not
	// the primary key. Here it is only checked: the columns must exist and be
	// part of the replica identity.
	Key []string
	// Keyless says that the records shall have no key.
	Keyless bool
	// Ordered reads the snapshot in the order of the primary key, as the events
	// of an outbox need it.
	Ordered bool
	// Toast is the policy for unchanged large values.
	Toast Toast
	// AsText names columns whose values travel as the text that PostgreSQL
	// prints, whatever their type.
	AsText []string
	// Verify looks at the table as it is at the start, where no older rows of it
	// are to come, and in Check: a *replication.Refusal says what the rest of the
	// configuration expects of it in vain. nil expects nothing. Where older rows
	// may come it only warns.
	Verify func(*replication.Table) error
}

func (t TableConfig) String() string { return t.Schema + "." + t.Name }

// Config says what to capture, from where.
type Config struct {
	Name string // of the connector; goes into application_name
	// URL is a libpq URL or keyword/value string, read by pgconn: sslmode up to
	// verify-full, SCRAM, passfile, service file, unix sockets, several hosts.
	URL               secret.String
	Slot, Publication string
	Tables            []TableConfig
	// Messages are the prefixes of pg_logical_emit_message whose messages are
	// wanted, as OpMessage: each is exact, or one that ends in a star and stands
	// for every prefix that begins so. Empty: none. With messages Tables may be
	// empty.
	Messages []string
	Failover Failover
	From     replication.Position // the saved checkpoint, "" when there is none
	// FromUnknown says that the checkpoint could not be read, for Check alone.
	FromUnknown bool
	// Reload reads the checkpoint once more during Open, before From is refused
	// and after a wait for a slot in use: who had it may have saved a newer one
	// meanwhile, as in a rolling deployment, and From would be older than the
	// slot. May be nil.
	Reload func(context.Context) (replication.Position, error)
	// NoStreaming leaves transactions that are too large for the server's memory
	// (logical_decoding_work_mem) on its disk until they commit. Else the server
	// sends them while they are in progress, and they are kept here: in
	// SpillMemory bytes together (0 = 16 MiB), then in files without a name in
	// SpillDir ("" = the system's folder for temporary files).
	NoStreaming bool
	SpillMemory int
	SpillDir    string
	createSpool func(dir string) (*os.File, error) // of tests
	wholeFor    time.Duration                      // of tests

	BatchBytes int           // budget of a Batch in bytes; 0 = 1 MiB
	SlotWait   time.Duration // how long to wait for a slot in use before refusing; 0 = 30 s
	Logger     *slog.Logger  // nil discards
	Registerer prometheus.Registerer
	// Progress is told about every snapshotted table: about once a second, and
	// when it is done. It runs on the snapshot's goroutine: it must not block.
	// May be nil.
	Progress func(pace.Progress)
}

const (
	defaultBatchBytes  = 1 << 20
	defaultSpillMemory = 16 << 20
	defaultSlotWait    = 30 * time.Second
	connectTimeout     = 30 * time.Second // where the URL has no connect_timeout
)

// complete checks c by itself and fills the defaults in.
func (c Config) complete() (Config, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.BatchBytes <= 0 {
		c.BatchBytes = defaultBatchBytes
	}
	if c.SpillMemory <= 0 {
		c.SpillMemory = defaultSpillMemory
	}
	if c.createSpool == nil {
		c.createSpool = createSpool
	}
	if c.wholeFor == 0 {
		c.wholeFor = wholeFor
	}
	if c.SlotWait <= 0 {
		c.SlotWait = defaultSlotWait
	}
	if !validSlotName(c.Slot) {
		return c, &replication.Refusal{
			Problem: fmt.Sprintf("slot name %q is not valid", c.Slot),
			Remedy:  "choose 1 to 63 lower case letters, digits and underscores",
		}
	}
	switch c.Failover {
	case "":
		c.Failover = FailoverAuto
	case FailoverAuto, FailoverRequired, FailoverNever:
	default:
		return c, &replication.Refusal{Problem: fmt.Sprintf("failover %q does not exist", c.Failover), Remedy: "choose auto, required or never"}
	}
	if c.Publication == "" || len(c.Publication) > 63 {
		return c, &replication.Refusal{
			Problem: fmt.Sprintf("publication name %q is not valid", c.Publication),
			Remedy:  "choose a name of 1 to 63 bytes",
		}
	}
	if slices.Contains(c.Messages, "") {
		return c, &replication.Refusal{Problem: "the prefix of a message is empty", Remedy: "name a prefix, or * for all"}
	}
	if len(c.Tables) == 0 && len(c.Messages) == 0 {
		return c, &replication.Refusal{Problem: "no table is configured", Remedy: "list the tables to capture"}
	}
	c.Tables = slices.Clone(c.Tables)
	seen := map[string]bool{}
	for i := range c.Tables {
		t := &c.Tables[i]
		switch t.Snapshot {
		case "":
			t.Snapshot = SnapshotInitial
		case SnapshotInitial, SnapshotNever:
		default:
			return c, &replication.Refusal{
				Problem: fmt.Sprintf("table %s: snapshot mode %q does not exist", t, t.Snapshot),
				Remedy:  "choose initial or never",
			}
		}
		if err := t.completeToast(); err != nil {
			return c, err
		}
		if name := tableKey(t.Schema, t.Name); seen[name] {
			return c, &replication.Refusal{Problem: fmt.Sprintf("table %s is configured twice", t), Remedy: "remove one of the two"}
		} else {
			seen[name] = true
		}
	}
	return c, nil
}

// validSlotName follows ReplicationSlotValidateName in PostgreSQL's slot.c.
func validSlotName(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

// sessionSettings fix the text form of every value, on ordinary and on
// replication connections alike: the decoder of text knows these forms only.
// The time limits that an administrator may have set for interactive users
// would cut a snapshot or the wait for the next change. row_security=off makes
// a table whose policies hide rows an error instead of a gap in the snapshot.
var sessionSettings = map[string]string{
	"client_encoding":                     "UTF8",
	"datestyle":                           "ISO",
	"intervalstyle":                       "postgres",
	"bytea_output":                        "hex",
	"extra_float_digits":                  "1",
	"timezone":                            "UTC",
	"lc_monetary":                         "C",
	"row_security":                        "off",
	"standard_conforming_strings":         "on",
	"statement_timeout":                   "0",
	"lock_timeout":                        "0",
	"idle_session_timeout":                "0",
	"idle_in_transaction_session_timeout": "0",
	"default_transaction_read_only":       "off",
}

// connConfig parses the URL. The result may be changed by the caller, as for
// another DialFunc. With forReplication the session speaks the replication
// commands, in the database of the URL.
func (c *Config) connConfig(forReplication bool) (*pgx.ConnConfig, error) {
	cc, err := pgx.ParseConfig(c.URL.Reveal())
	if err != nil {
		return nil, &replication.Refusal{
			Problem: "postgres url cannot be used",
			Remedy:  "give a URL like postgres://user:password@host:5432/database?sslmode=verify-full",
			Err:     withoutURL(err),
		}
	}
	if cc.Database == "" {
		cc.Database = cc.User // as the server would take it
	}
	// ExecModeExec sends text and names no prepared statement.
	cc.DefaultQueryExecMode = pgx.QueryExecModeExec
	// The names of settings are not case-sensitive; a URL's own must not be sent twice.
	for name := range maps.Clone(cc.RuntimeParams) {
		if _, ours := sessionSettings[strings.ToLower(name)]; ours || strings.EqualFold(name, "replication") {
			delete(cc.RuntimeParams, name)
		}
	}
	maps.Copy(cc.RuntimeParams, sessionSettings)
	if cc.RuntimeParams["application_name"] == "" {
		cc.RuntimeParams["application_name"] = clip("cdc "+c.Name, 63)
	}
	if forReplication {
		cc.RuntimeParams["replication"] = "database"
	}
	cc.DialFunc = dial.New().DialContext
	if cc.ConnectTimeout == 0 {
		cc.ConnectTimeout = connectTimeout // of each host: one that has gone must not keep from the next
	}
	cc.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if serverMajor(conn.ParameterStatus("server_version")) < 17 {
			return nil
		}
		return conn.Exec(ctx, "SET transaction_timeout = 0").Close() // a setting that older servers do not know
	}
	return cc, nil
}

// withoutURL is pgx's error about a URL without the URL, in which pgx masks the
// password of most forms: not of "password = x".
func withoutURL(err error) error {
	text := err.Error()
	if i := strings.LastIndex(text, "`: "); i >= 0 {
		return errors.New(text[i+len("`: "):])
	}
	return errors.New("it cannot be parsed")
}

// connectReplication opens a connection for replication commands. edit may
// change the configuration first and may be nil.
func (c *Config) connectReplication(ctx context.Context, edit func(*pgconn.Config)) (*pgconn.PgConn, error) {
	cc, err := c.connConfig(true)
	if err != nil {
		return nil, err
	}
	if edit != nil {
		edit(&cc.Config)
	}
	conn, err := pgconn.ConnectConfig(ctx, &cc.Config)
	if err != nil {
		return nil, refuseConnect(cc, err)
	}
	return conn, nil
}

// session is one ordinary connection that is made when it is first needed, and
// again when it broke. One goroutine owns it.
type session struct {
	config *Config
	conn   *pgx.Conn
}

func newSession(c *Config) *session { return &session{config: c} }

// do runs f on the connection. When the connection turns out to be broken it
// runs f once more on a new one, so f must only read.
func (s *session) do(ctx context.Context, f func(*pgx.Conn) error) error {
	for attempt := 0; ; attempt++ {
		fresh := s.conn == nil || s.conn.IsClosed()
		conn, err := s.open(ctx)
		if err != nil {
			return err
		}
		err = f(conn)
		if err == nil || fresh || attempt > 0 || ctx.Err() != nil || !conn.IsClosed() || !transient(err) {
			return err
		}
	}
}

// open returns the connection.
func (s *session) open(ctx context.Context) (*pgx.Conn, error) {
	if s.conn != nil && !s.conn.IsClosed() {
		return s.conn, nil
	}
	cc, err := s.config.connConfig(false)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, cc)
	if err != nil {
		return nil, refuseConnect(cc, err)
	}
	s.conn = conn
	return conn, nil
}

// close ends the connection, if there is one.
func (s *session) close(ctx context.Context) {
	if s.conn != nil {
		closeSoon(ctx, s.conn)
		s.conn = nil
	}
}

// closeSoon closes a connection, by force when the server does not answer soon
// or ctx has ended.
func closeSoon(ctx context.Context, conn interface{ Close(context.Context) error }) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn.Close(ctx)
}

// serverMajor reads the major version from a server_version such as
// "15.18 (Debian 15.18-0+deb12u1)" or "18beta1".
func serverMajor(version string) (major int) {
	for _, c := range version {
		if c < '0' || c > '9' {
			break
		}
		major = major*10 + int(c-'0')
	}
	return major
}

// clip cuts s to at most n bytes, at a boundary between characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
