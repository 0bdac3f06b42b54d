package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"

	"cdc/replication"
)

// inspection is all that Open and Check look at before anything is changed, and
// what they found. Reading it changes nothing on the server.
type inspection struct {
	cfg    *Config
	from   *position // the checkpoint; nil when there is none
	server serverInfo
	// timeline is the server's, once identify has asked.
	timeline timeline
	tables   []tableState     // as cfg.Tables
	pub      *publicationInfo // nil when there is none of that name
	slot     *slotInfo        // nil when there is none of that name

	findings []replication.Finding
}

// serverInfo is what is known of the server and of the role.
type serverInfo struct {
	Version     int    // server_version_num
	VersionText string // server_version
	WALLevel    string
	Encoding    string
	Recovery    bool
	Database    string
	Role        string
	Superuser   bool
	CanCreate   bool // CREATE on the database

	MaxSlots, Slots     int
	MaxSenders, Senders int
	MaxSlotKeep         string // max_slot_wal_keep_size
	SenderTimeout       string // wal_sender_timeout
	SyncStandbys        string // synchronous_standby_names
	End                 pglogrepl.LSN
}

func (i *inspection) add(level replication.Level, subject, problem, remedy string) {
	i.findings = append(i.findings, replication.Finding{Level: level, Subject: "source: " + subject, Problem: problem, Remedy: remedy})
}

func (i *inspection) ok(subject, format string, args ...any) {
	i.add(replication.LevelOK, subject, fmt.Sprintf(format, args...), "")
}

// refusal returns all findings that keep the source from starting as one error,
// or nil.
func (i *inspection) refusal() error {
	var all []error
	for _, f := range i.findings {
		if f.Level == replication.LevelError {
			all = append(all, &replication.Refusal{Problem: f.Problem, Remedy: f.Remedy})
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	return errors.Join(all...)
}

// inspect reads everything. An error is about the reading itself, what is
// wrong with the things read stands in the findings. It stops early when the
// later things make no sense.
func inspect(ctx context.Context, cfg *Config, cat *catalog) (*inspection, error) {
	i := &inspection{cfg: cfg}
	if cfg.From != "" {
		pos, err := parsePosition(cfg.From)
		if err != nil {
			return nil, &replication.Refusal{
				Problem: "the saved checkpoint cannot be read",
				Remedy:  "run the version of cdc that wrote it, or begin again: cdc drop, then a new snapshot",
				Err:     err,
			}
		}
		i.from = &pos
	}
	err := cat.s.do(ctx, func(conn *pgx.Conn) (err error) {
		i.server, err = readServer(ctx, conn)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !i.judgeServer() {
		return i, nil
	}
	if err := i.inspectTables(ctx, cat); err != nil {
		return nil, err
	}
	if err := i.inspectPublication(ctx, cat); err != nil {
		return nil, err
	}
	i.judgePublishedTables()
	i.judgeAnew()
	if err := i.inspectSlot(ctx, cat); err != nil {
		return nil, err
	}
	for n := range i.tables {
		if err := i.verifyTable(ctx, cat, &i.tables[n]); err != nil {
			return nil, err
		}
	}
	i.judgeRoom()
	i.judgeSpill()
	return i, nil
}

func readServer(ctx context.Context, conn *pgx.Conn) (s serverInfo, err error) {
	var end *string
	err = conn.QueryRow(ctx, `
SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_setting('wal_level'),
       pg_catalog.pg_encoding_to_char(d.encoding), pg_catalog.pg_is_in_recovery(), d.datname, r.rolname,
       r.rolsuper, pg_catalog.has_database_privilege(d.oid, 'CREATE'),
       current_setting('max_replication_slots')::int, (SELECT count(*)::int FROM pg_catalog.pg_replication_slots),
       current_setting('max_wal_senders')::int, (SELECT count(*)::int FROM pg_catalog.pg_stat_replication),
       current_setting('max_slot_wal_keep_size', true), current_setting('wal_sender_timeout'), current_setting('synchronous_standby_names'),
       CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_flush_lsn()
            ELSE pg_catalog.pg_last_wal_replay_lsn() END::text
  FROM pg_catalog.pg_database d, pg_catalog.pg_roles r
 WHERE d.datname = current_database() AND r.rolname = current_user`).
		Scan(&s.Version, &s.VersionText, &s.WALLevel, &s.Encoding, &s.Recovery, &s.Database, &s.Role,
			&s.Superuser, &s.CanCreate, &s.MaxSlots, &s.Slots, &s.MaxSenders, &s.Senders,
			&s.MaxSlotKeep, &s.SenderTimeout, &s.SyncStandbys, &end)
	if err != nil {
		return s, fmt.Errorf("read the server's settings: %w", err)
	}
	if end != nil {
		s.End, err = pglogrepl.ParseLSN(*end)
	}
	return s, err
}

// judgeServer reports whether it makes sense to look further.
func (i *inspection) judgeServer() bool {
	s := &i.server
	if s.Version < 140000 {
		i.add(replication.LevelError, "server", fmt.Sprintf("the server is PostgreSQL %s, too old", s.VersionText),
			"upgrade it to PostgreSQL 14 or newer")
		return false
	}
	good := true
	bad := func(problem, remedy string) {
		good = false
		i.add(replication.LevelError, "server", problem, remedy)
	}
	if s.WALLevel != "logical" {
		bad(fmt.Sprintf("wal_level is %s, not logical: the log does not hold what changed in rows", s.WALLevel),
			"ALTER SYSTEM SET wal_level = 'logical', then restart the server")
	}
	if s.Encoding == "SQL_ASCII" {
		bad(fmt.Sprintf("database %q has the encoding SQL_ASCII: its texts cannot be converted to UTF-8", s.Database),
			"dump the database and restore it into one created with ENCODING 'UTF8' TEMPLATE template0")
	}
	if s.Recovery && s.Version < 160000 {
		bad("the server is a standby, and PostgreSQL "+s.VersionText+" decodes its log on the primary only",
			"point the URL at the primary (several hosts and target_session_attrs=read-write in the URL find it)")
	} else if s.Recovery {
		i.add(replication.LevelWarning, "server", "the server is a standby: the publication must be made on the primary, and slots wait for its checkpoints",
			"point the URL at the primary, unless this is wanted")
	}
	if strings.Contains(s.SyncStandbys, "*") {
		i.add(replication.LevelWarning, "server", fmt.Sprintf("synchronous_standby_names = '%s' also counts cdc as a standby: a commit may wait until Kafka has it, "+
			"and for ever if it is one that cdc itself waits to see (with a large value that an update left alone, or a changed table)", s.SyncStandbys),
			"name the standbys: ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (…)', then SELECT pg_reload_conf()")
	}
	if good {
		i.ok("server", "PostgreSQL %s, wal_level %s, encoding %s", s.VersionText, s.WALLevel, s.Encoding)
	}
	return good
}

// judgeRoom checks that the slots and senders that will be needed are free.
func (i *inspection) judgeRoom() {
	s := &i.server
	slots := 0
	if i.slot == nil && i.from == nil {
		slots++
	}
	if i.from != nil && len(i.pending()) > 0 {
		slots++ // the temporary one of the newly configured tables
	}
	if free := s.MaxSlots - s.Slots; free < slots {
		i.add(replication.LevelError, "server",
			fmt.Sprintf("no replication slot is free: %d of max_replication_slots = %d are taken", s.Slots, s.MaxSlots),
			fmt.Sprintf("drop one that nobody needs (SELECT slot_name, active FROM pg_replication_slots), or ALTER SYSTEM SET max_replication_slots = %d, then restart the server", s.MaxSlots+max(slots, 4)))
	}
	if free := s.MaxSenders - s.Senders; free < 1 {
		i.add(replication.LevelError, "server",
			fmt.Sprintf("no WAL sender is free: %d of max_wal_senders = %d are taken", s.Senders, s.MaxSenders),
			fmt.Sprintf("ALTER SYSTEM SET max_wal_senders = %d, then restart the server", s.MaxSenders+4))
	}
}

// pending returns the indexes into cfg.Tables of those whose rows are still to
// be read.
func (i *inspection) pending() []int {
	var todo []int
	for n, t := range i.cfg.Tables {
		if t.Snapshot != SnapshotInitial {
			continue
		}
		if i.from != nil {
			if _, done := i.from.Tables[tableKey(t.Schema, t.Name)]; done && !i.madeAnew(&i.tables[n]) {
				continue
			}
		}
		todo = append(todo, n)
	}
	return todo
}
