package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cdc/replication"
)

// inspection is all that Open and Check look at before anything is done, and
// what they found. Reading it changes nothing on the server.
type inspection struct {
	cfg    *Config
	from   *position // the checkpoint; nil when there is none
	server serverInfo
	tables []*tableInfo // as cfg.Tables; nil where there is none

	findings []replication.Finding
	purged   error // the log from the checkpoint on is gone
	wait     bool  // for a server that has not come as far as the checkpoint, before its log counts as gone
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
			all = append(all, refuse(f.Problem, f.Remedy, nil))
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	return errors.Join(all...)
}

// inspect reads everything. An error is about the reading itself, what is wrong
// with the things read stands in the findings. It stops early when the later
// things make no sense.
func inspect(ctx context.Context, cfg *Config, s *session, wait bool) (*inspection, error) {
	i := &inspection{cfg: cfg, wait: wait && cfg.OnPurged == OnPurgedSnapshot}
	if cfg.From != "" {
		pos, err := parsePosition(cfg.From)
		if err != nil {
			return nil, refuse("the saved checkpoint cannot be read", "run the version of cdc that wrote it, or begin again: cdc drop, then a new snapshot", err)
		}
		i.from = &pos
	}
	var err error
	if i.server, err = readServer(ctx, s); err != nil {
		return nil, err
	}
	if !i.judgeServer() {
		return i, nil
	}
	charsets := newCharsets(s)
	for n := range cfg.Tables {
		if err := i.inspectTable(ctx, s, charsets, n); err != nil {
			return nil, err
		}
	}
	return i, i.inspectPlace(ctx)
}

// judgeServer reports whether it makes sense to look further.
func (i *inspection) judgeServer() bool {
	s := &i.server
	good := true
	bad := func(problem, remedy string) {
		good = false
		i.add(replication.LevelError, "server", problem, remedy)
	}
	if s.mariadb != (i.cfg.Flavor == MariaDB) {
		r, _ := errors.AsType[*replication.Refusal](refuseFlavor(i.cfg, s))
		bad(r.Problem, r.Remedy)
		return false
	}
	if s.mariadb && s.number < 100500 || !s.mariadb && s.number < 80001 {
		bad(fmt.Sprintf("the server is %s %s, too old: its log does not describe its columns", i.cfg.Flavor, s.version),
			"upgrade it to MySQL 8.0 or MariaDB 10.6, or newer")
		return false
	}
	if !s.on("log_bin") {
		bad("the server writes no binary log (log_bin is OFF)", "start the server with --log-bin (in its configuration file: log_bin), and --server-id")
		return false
	}
	if v := s.vars["binlog_format"]; v != "ROW" {
		bad("binlog_format is "+v+", not ROW: the log holds statements instead of rows",
			"SET GLOBAL binlog_format = ROW (and in the server's configuration file; sessions that are open keep their own until they reconnect)")
	}
	if v := s.vars["binlog_row_metadata"]; v != "FULL" {
		bad("binlog_row_metadata is "+v+", not FULL: the log does not name the columns",
			"SET GLOBAL binlog_row_metadata = FULL (and in the server's configuration file)")
	}
	switch s.vars["server_id"] {
	case "0":
		bad("server_id of the server is 0: it sends its log to nobody", "SET GLOBAL server_id = 1 (and in the server's configuration file)")
	case strconv.FormatUint(uint64(i.cfg.ServerID), 10):
		bad(fmt.Sprintf("the server itself has the server id %d", i.cfg.ServerID), "give this capture a server id of its own: server_id in the configuration")
	}
	i.judgeLog()
	if good {
		i.ok("server", "%s %s, binlog_format ROW, binlog_row_metadata FULL", i.cfg.Flavor, s.version)
	}
	return good
}

// judgeLog looks at what may go wrong later.
func (i *inspection) judgeLog() {
	s := &i.server
	warn := func(problem, remedy string) { i.add(replication.LevelWarning, "server", problem, remedy) }
	if s.form == placeFile {
		warn("gtid_mode is "+s.vars["gtid_mode"]+": positions mean something on this server only, so that there is no failover to another", "set gtid_mode = ON (MySQL manual, \"Enabling GTID Transactions Online\")")
	}
	if v := s.vars["binlog_row_image"]; v == "MINIMAL" || v == "NOBLOB" {
		warn("binlog_row_image is "+v+": the log leaves values out, which are then read from the table, as they are by then, or left out (tables[].toast); of tables without a primary key, new rows without all values stop the capture",
			"SET GLOBAL binlog_row_image = FULL (and in the server's configuration file)")
	}
	if v := s.vars["binlog_row_value_options"]; v != "" && s.vars["binlog_row_image"] != "FULL" {
		warn("binlog_row_value_options is "+v+" and binlog_row_image is not FULL: a change inside of a JSON document stops the capture", "SET GLOBAL binlog_row_image = FULL (and in the server's configuration file)")
	}
	if s.on("read_only") && !s.on("log_slave_updates") && !s.on("log_replica_updates") {
		warn("the server is a replica that does not log what it gets from its source", "start it with --log-replica-updates (MariaDB: --log-slave-updates)")
	}
	if n, err := strconv.Atoi(s.vars["binlog_expire_logs_seconds"]); err == nil && n > 0 && n < 24*3600 {
		warn(fmt.Sprintf("the server keeps its log for %d seconds: a capture that is down for longer has to begin again", n), "SET GLOBAL binlog_expire_logs_seconds = 604800")
	}
}

// inspectTable looks at one configured table.
func (i *inspection) inspectTable(ctx context.Context, s *session, charsets *charsets, n int) error {
	t := i.cfg.Tables[n]
	subject := "table " + t.String()
	bad := func(problem, remedy string) { i.add(replication.LevelError, subject, problem, remedy) }
	info, err := charsets.readTable(ctx, s, i.cfg.Flavor, t.Schema, t.Name)
	if err != nil {
		return err
	}
	i.tables = append(i.tables, info)
	if info == nil {
		bad(fmt.Sprintf("table %s does not exist, or the user of the URL may not see it", t), "mend the name in the configuration, or GRANT SELECT ON "+quoteTable(t.Schema, t.Name)+" TO "+i.cfg.userSQL())
		return nil
	}
	if info.schema != t.Schema || info.name != t.Name {
		bad(fmt.Sprintf("table %s is called %s.%s in the catalog", t, info.schema, info.name), "write its name as the server does")
		return nil
	}
	if info.view {
		bad(fmt.Sprintf("%s is a view: the log has no rows of it", t), "name the tables that it is made of")
		return nil
	}
	if _, err := s.query(ctx, "SELECT * FROM "+quoteTable(t.Schema, t.Name)+" LIMIT 0"); err != nil {
		if code := errorCode(err); code == codeTableDenied || code == codeColumnDenied {
			bad(fmt.Sprintf("table %s cannot be read", t), "GRANT SELECT ON "+quoteTable(t.Schema, t.Name)+" TO "+i.cfg.userSQL())
			return nil
		}
		return fmt.Errorf("read table %s: %w", t, err)
	}
	if !i.judgeDatabase(t.Schema) {
		return nil
	}
	sh := newShapes(i.cfg, s, &i.server)
	p, err := sh.fromCatalog(info)
	if err != nil {
		bad(err.Error(), "take the table out of the configuration")
		return nil
	}
	if err := t.missingKey(p.table); err != nil {
		r, _ := errors.AsType[*replication.Refusal](err)
		bad(r.Problem, r.Remedy)
		return nil
	}
	if t.Verify != nil {
		err := t.Verify(p.table)
		r, refused := errors.AsType[*replication.Refusal](err)
		if !refused && err != nil {
			return err
		}
		if refused {
			level := replication.LevelError
			if i.cfg.From != "" { // rows of before, which still had the column, may be read again
				level = replication.LevelWarning
			}
			i.add(level, subject, r.Problem, r.Remedy)
		}
	}
	if len(info.key) == 0 && len(t.Key) == 0 && !t.Keyless {
		i.add(replication.LevelWarning, subject, fmt.Sprintf("table %s has no primary key: its records have no key", t),
			"ALTER TABLE "+quoteTable(t.Schema, t.Name)+" ADD PRIMARY KEY (…), or name a key in the configuration")
	}
	if !slices.Contains([]string{"InnoDB", "ROCKSDB", "BLACKHOLE"}, info.engine) {
		i.add(replication.LevelWarning, subject, fmt.Sprintf("table %s is of the engine %s, which has no transactions: its snapshot is not of one moment, and changes of that time may come twice", t, info.engine),
			"ALTER TABLE "+quoteTable(t.Schema, t.Name)+" ENGINE = InnoDB")
	}
	if err := i.inspectCascades(ctx, s, t); err != nil {
		return err
	}
	i.ok(subject, "%d columns, key of %d", len(info.columns), len(info.key))
	return nil
}

// judgeDatabase reports whether the server logs what happens in a database.
func (i *inspection) judgeDatabase(schema string) bool {
	if listed(i.server.skipDB, schema) || i.server.doDB != "" && !listed(i.server.doDB, schema) {
		i.add(replication.LevelError, "server", fmt.Sprintf("the server does not log changes in database %q", schema), "start it without --binlog-ignore-db and --binlog-do-db that leave it out")
		return false
	}
	return true
}

func listed(list, name string) bool { return slices.Contains(strings.Split(list, ","), name) }

// inspectCascades warns of changes that InnoDB makes by itself: before MySQL
// 9.6 the log does not have them.
func (i *inspection) inspectCascades(ctx context.Context, s *session, t TableConfig) error {
	if !i.server.mariadb && i.server.number >= 90600 {
		return nil
	}
	rows, err := s.query(ctx, "SELECT CONSTRAINT_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = "+sqlString(t.Schema)+
		" AND TABLE_NAME = "+sqlString(t.Name)+" AND (DELETE_RULE IN ('CASCADE', 'SET NULL') OR UPDATE_RULE IN ('CASCADE', 'SET NULL'))")
	if err != nil {
		return fmt.Errorf("look up foreign keys of %s: %w", t, err)
	}
	for _, r := range rows {
		i.add(replication.LevelWarning, "table "+t.String(),
			fmt.Sprintf("rows of table %s that foreign key %s changes or deletes by itself are not in the server's log", t, r[0].text),
			"let the application change them, or let the key be ON DELETE RESTRICT ON UPDATE RESTRICT, or use MySQL 9.6 or newer")
	}
	return nil
}

// waitForLog waits until the server has come as far as a place, or its log
// counts as gone: a server that crashed may have lost its last transactions for
// good, one that takes over may be about to get them.
func (c *Config) waitForLog(ctx context.Context, conn *conn, from *place, behind error) error {
	c.Logger.Warn("waiting for the server", "reason", behind, "at_most", c.IDWait)
	for deadline := time.Now().Add(c.IDWait); time.Now().Before(deadline); {
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
		s, err := readServer(ctx, conn)
		if err == nil {
			err = c.verifyPlace(ctx, conn, &s, from)
		}
		if !errors.Is(err, errBehind) {
			return err
		}
	}
	return c.explain(behind, from)
}

// inspectPlace looks whether the log from the checkpoint on is there.
func (i *inspection) inspectPlace(ctx context.Context) error {
	conn, err := i.cfg.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.end()
	server, err := readServer(ctx, conn)
	if err != nil {
		return err
	}
	if i.from == nil {
		i.ok("log", "ends at %s", &i.server.end)
		i.server.end.seen, err = i.cfg.witnessNow(ctx, conn, &server)
		return err
	}
	err = i.cfg.verifyPlace(ctx, conn, &server, &i.from.place)
	if errors.Is(err, errBehind) && i.wait {
		err = i.cfg.waitForLog(ctx, conn, &i.from.place, err)
	}
	switch {
	case isPurged(err):
		i.purged = err
		if i.cfg.OnPurged == OnPurgedSnapshot {
			r, _ := errors.AsType[*replication.Refusal](err)
			i.add(replication.LevelWarning, "log", r.Problem+": the tables are read again, as on_purged says", "")
			return nil
		}
		fallthrough
	case replication.IsRefusal(err):
		r, _ := errors.AsType[*replication.Refusal](err)
		i.add(replication.LevelError, "log", r.Problem, r.Remedy)
	case errors.Is(err, errBehind):
		i.add(replication.LevelWarning, "log", err.Error(), "wait until it has come as far, or point the URL at the server that has")
	case err != nil:
		return err
	default:
		i.ok("log", "has everything from the checkpoint on")
	}
	return nil
}
