package mysql

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// This file begins the transaction that a snapshot is read in, at a known place of
// the log, while nobody alters its tables.

const beginSnapshot = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"

// beginMaria: the server notes for the transaction where in the log it stands.
// MariaDB's documentation, "START TRANSACTION, WITH CONSISTENT SNAPSHOT".
func (s *snapshot) beginMaria(ctx context.Context) error {
	// MariaDB takes one option only.
	if _, err := s.conn.query(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT"); err != nil {
		return fmt.Errorf("begin snapshot: %w", err)
	}
	rows, err := s.conn.query(ctx, "SHOW STATUS WHERE Variable_name IN ('Binlog_snapshot_file', 'Binlog_snapshot_position')")
	if err != nil {
		return fmt.Errorf("begin snapshot: %w", err)
	}
	at := map[string]string{}
	for _, r := range rows {
		at[strings.ToLower(r[0].text)] = r[1].text
	}
	rows, err = s.conn.query(ctx, "SELECT BINLOG_GTID_POS("+sqlString(at["binlog_snapshot_file"])+", "+sqlString(at["binlog_snapshot_position"])+")")
	if err != nil {
		return fmt.Errorf("find the snapshot's place in the log: %w", err)
	}
	if rows[0][0].null {
		return fmt.Errorf("find the snapshot's place in the log: the server knows none for %s:%s", at["binlog_snapshot_file"], at["binlog_snapshot_position"])
	}
	if s.point, err = parsePlace(placeMaria, rows[0][0].text); err != nil {
		return fmt.Errorf("find the snapshot's place in the log: %w", err)
	}
	s.file = at["binlog_snapshot_file"]
	s.offset, _ = strconv.ParseUint(at["binlog_snapshot_position"], 10, 64)
	return nil
}

// beginMySQL: a short lock on the tables alone makes that what is visible and
// what is in the log are the same. Where it is not to be had in time, the place
// is that of a moment before: what commits in between is read twice, and with
// GTIDs nothing is left out, for the server notes them once a transaction is
// visible.
func (s *snapshot) beginMySQL(ctx context.Context, cfg *Config, tables []TableConfig) error {
	locker, lockErr := lockTables(ctx, cfg, s.conn.host, tables)
	if locker != nil {
		defer locker.end()
	} else if err := s.awaitPrepared(ctx, cfg); err != nil { // with the lock none of them has changed the tables
		return err
	}
	info, err := readServer(ctx, s.conn)
	if err != nil {
		return err
	}
	if locker == nil && info.form == placeFile {
		err := error(refuse("without GTIDs a snapshot needs a short lock on its tables, and did not get it",
			"GRANT LOCK TABLES ON *.* TO "+cfg.userSQL()+", or end the transactions that hold the tables, or set gtid_mode = ON", lockErr))
		if errorCode(lockErr) == codeLockTimeout { // it may pass
			err = fmt.Errorf("%w: %w", errTableChanged, err)
		}
		return err
	}
	if locker == nil {
		cfg.Logger.Info("the snapshot's tables could not be locked for a moment: changes of that moment are read twice", "reason", lockErr)
	}
	s.point, s.file, s.offset = info.end, info.file, info.offset
	if _, err := s.conn.query(ctx, beginSnapshot); err != nil {
		return fmt.Errorf("begin snapshot: %w", err)
	}
	return nil
}

// awaitPrepared lets the distributed transactions be decided that are prepared.
func (s *snapshot) awaitPrepared(ctx context.Context, cfg *Config) error {
	unknown, err := cfg.awaitPrepared(ctx, s.conn)
	if unknown {
		s.before.prepared = []prepared{{xid: unknownXA}}
	}
	return err
}

// lockTables keeps others from changing the tables until the connection ends.
func lockTables(ctx context.Context, cfg *Config, host string, tables []TableConfig) (*conn, error) {
	conn, err := cfg.connectTo(ctx, host)
	if err != nil {
		return nil, err
	}
	var sql strings.Builder
	for i, t := range tables {
		if i > 0 {
			sql.WriteString(", ")
		}
		sql.WriteString(quoteTable(t.Schema, t.Name) + " READ")
	}
	for _, statement := range []string{
		fmt.Sprintf("SET SESSION lock_wait_timeout = %d", lockPatience),
		"LOCK TABLES " + sql.String(),
	} {
		if _, err := conn.query(ctx, statement); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

// holdTables keeps others from altering or renaming the tables, not from changing
// their rows, until the connection ends. Else the table that is read later could
// be another one than that of the transaction's begin, of which the transaction
// does not see the newest rows: what swaps tables (gh-ost, pt-osc) fills the
// other one up to that moment.
func holdTables(ctx context.Context, cfg *Config, host string, tables []TableConfig) (*conn, error) {
	conn, err := cfg.connectTo(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, sql := range []string{fmt.Sprintf("SET SESSION lock_wait_timeout = %d", tableLock), "START TRANSACTION READ ONLY"} {
		if _, err := conn.query(ctx, sql); err != nil {
			conn.Close()
			return nil, fmt.Errorf("begin snapshot: %w", err)
		}
	}
	for i := range tables {
		if err := openTable(ctx, conn, &tables[i]); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

// openTable makes a transaction keep others from altering a table.
func openTable(ctx context.Context, conn *conn, t *TableConfig) error {
	if _, err := conn.query(ctx, "SELECT * FROM "+quoteTable(t.Schema, t.Name)+" LIMIT 0"); err != nil {
		return explainRead(t, err)
	}
	return nil
}

// waitForID waits for a server id in use: the connection of a process that died
// lingers for a while.
func (c *Config) waitForID(ctx context.Context, conn *conn) error {
	deadline := time.Now().Add(c.IDWait)
	for told := false; ; told = true {
		err := c.takeID(ctx, conn)
		if !errors.Is(err, errInUse) {
			return err
		}
		if time.Now().After(deadline) {
			return c.explain(err, nil)
		}
		if !told {
			c.Logger.Warn("the server id is in use, waiting for it", "server_id", c.ServerID, "at_most", c.IDWait)
		}
		select { // the question itself waits, too
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
