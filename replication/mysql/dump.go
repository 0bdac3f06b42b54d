package mysql

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"

	"cdc/replication"
)

// prepareDump verifies that the server is as it must be and has everything from
// a place on, and asks it to send the log. Afterwards the connection is for
// reading only.
func (c *Config) prepareDump(ctx context.Context, conn *conn, from *place) (s serverInfo, err error) {
	if err := c.takeID(ctx, conn); err != nil {
		return s, err
	}
	if s, err = readServer(ctx, conn); err != nil {
		return s, err
	}
	if err := c.judgeAgain(&s); err != nil {
		return s, err
	}
	if err := c.verifyPlace(ctx, conn, &s, from); err != nil {
		return s, err
	}
	return s, conn.within(ctx, queryTimeout, func() error { return c.dump(conn, from) })
}

// judgeAgain refuses a server of which the log would not have all changes. At
// the start inspect has seen to that; this connection may be to another host, or
// the settings may be other ones by now.
func (c *Config) judgeAgain(s *serverInfo) error {
	i := inspection{cfg: c, server: *s}
	if i.judgeServer() {
		for _, t := range c.Tables {
			i.judgeDatabase(t.Schema)
		}
	}
	return i.refusal()
}

// takeID makes sure that nobody else reads under our server id: the server ends
// the connection of who had it before, and two would cut each other off for
// ever. A lock of the session's tells other processes of this program.
func (c *Config) takeID(ctx context.Context, conn *conn) error {
	name := fmt.Sprintf("cdc.server_id.%d", c.ServerID)
	rows, err := conn.query(ctx, "SELECT GET_LOCK("+sqlString(name)+", 1)")
	switch {
	case errorCode(err) != 0: // a cluster may not have such locks
		c.Logger.Debug("the server id cannot be locked", "error", err)
	case err != nil:
		return err
	case rows[0][0].text != "1":
		return fmt.Errorf("%w: %d, by another process of cdc", errInUse, c.ServerID)
	}
	rows, err = conn.query(ctx, "SHOW REPLICAS")
	if errorCode(err) == codeSyntax {
		rows, err = conn.query(ctx, "SHOW SLAVE HOSTS")
	}
	if errorCode(err) != 0 {
		return nil // it takes a right that a capture does not need
	}
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r[0].text == strconv.FormatUint(uint64(c.ServerID), 10) && !strings.HasPrefix(r[1].text, "cdc ") {
			return fmt.Errorf("%w: %d, by a replica at %q", errInUse, c.ServerID, r[1].text)
		}
	}
	return nil
}

// giveUpID ends a connection that was closed on this side, if it still holds the
// server id: a server that has nothing to send notices late.
func (c *Config) giveUpID(connection uint32) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s := newSession(c)
	defer s.close()
	rows, err := s.query(ctx, fmt.Sprintf("SELECT IS_USED_LOCK('cdc.server_id.%d') = %d", c.ServerID, connection))
	if err == nil && rows[0][0].text == "1" {
		_, err = s.query(ctx, fmt.Sprintf("KILL %d", connection))
	}
	if err != nil {
		c.Logger.Debug("the server was not told that the connection is closed", "error", err)
	}
}

// verifyPlace refuses a place from which the server cannot send everything.
func (c *Config) verifyPlace(ctx context.Context, conn *conn, s *serverInfo, from *place) error {
	if err := c.verifyWitness(ctx, conn, s, &from.seen); err != nil {
		return err
	}
	switch from.form {
	case placeGTID:
		if s.form != placeGTID {
			return refuse("the position is a set of GTIDs, and gtid_mode of the server is "+s.vars["gtid_mode"], "set gtid_mode = ON on the server, or begin again with a new snapshot: cdc drop", nil)
		}
		return c.verifyGTIDs(ctx, conn, s, from)
	case placeMaria:
		return c.verifyMaria(ctx, conn, s, from)
	default:
		return c.verifyFile(ctx, conn, s, from)
	}
}

// verifyGTIDs: what was purged must be in the set, and what is in the set the
// server must have, at least of what it numbered itself.
func (c *Config) verifyGTIDs(ctx context.Context, conn *conn, s *serverInfo, from *place) error {
	set := sqlString(from.String())
	rows, err := conn.query(ctx, "SELECT GTID_SUBTRACT(@@global.gtid_purged, "+set+"), GTID_SUBTRACT("+set+", @@global.gtid_executed)")
	if err != nil {
		return fmt.Errorf("compare the position with the log: %w", err)
	}
	missing, ahead := oneLine(rows[0][0].text), oneLine(rows[0][1].text)
	if missing != "" {
		return c.refusePurged("transactions "+missing+" are purged from the server's log and have not been read", nil)
	}
	if ahead == "" {
		return nil
	}
	extra, err := parseGTIDSet(ahead)
	if err != nil {
		return err
	}
	for src := range extra.parts {
		own := gtidSource{sid: src.sid}
		if string(own.append(nil)) == s.vars["server_uuid"] {
			// It may be about to make them visible: the log is sent before that.
			return fmt.Errorf("%w: the position holds transactions %s that the server numbered itself and does not have", errBehind, ahead)
		}
	}
	if extra.covers(&from.mysql) {
		return c.refusePurged(fmt.Sprintf("the server has none of the transactions that were read (%s): it is not one that replicates with the one before", from), nil)
	}
	c.Logger.Warn("the server does not have all transactions that were read: another server's last ones did not reach it, or not yet", "transactions", ahead)
	return nil
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "") }

// verifyMaria looks at the place where the oldest log file begins, and at the
// end of the newest.
func (c *Config) verifyMaria(ctx context.Context, conn *conn, s *serverInfo, from *place) error {
	for domain, g := range from.maria {
		if last := s.end.maria[domain]; last.seq < g.seq {
			return fmt.Errorf("%w: the position is %s, the end of the server's log %s", errBehind, from, &s.end)
		}
	}
	rows, err := conn.query(ctx, "SHOW BINARY LOGS")
	if errorCode(err) == codePrivilege || err == nil && len(rows) == 0 {
		return nil // the server will tell, in its own words
	}
	if err != nil {
		return fmt.Errorf("list the log files: %w", err)
	}
	rows, err = conn.query(ctx, "SELECT BINLOG_GTID_POS("+sqlString(rows[0][0].text)+", 4)")
	if err != nil {
		return fmt.Errorf("find the beginning of the log: %w", err)
	}
	oldest, err := parseMariaSet(rows[0][0].text)
	if err != nil {
		return err
	}
	for domain, g := range oldest {
		have := from.maria[domain]
		if have.seq < g.seq {
			first := mariaGTID{server: g.server, seq: have.seq + 1}
			return c.refusePurged(fmt.Sprintf("transactions %s to %s are purged from the server's log and have not been read",
				first.append(nil, domain), g.append(nil, domain)), nil)
		}
	}
	return nil
}

func (c *Config) verifyFile(ctx context.Context, conn *conn, s *serverInfo, from *place) error {
	if from.server != "" && from.server != s.vars["server_uuid"] {
		return c.refusePurged(fmt.Sprintf("the position %s is one in the log of server %s, and this is server %s: without GTIDs it means nothing here",
			from, from.server, s.vars["server_uuid"]), nil)
	}
	rows, err := conn.query(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return fmt.Errorf("list the log files: %w", err)
	}
	for _, r := range rows {
		if r[0].text != from.file {
			continue
		}
		if size, err := strconv.ParseUint(r[1].text, 10, 64); err == nil && size < from.offset {
			return c.refusePurged(fmt.Sprintf("the position %s lies beyond the end of the file, which has %d bytes: the log was reset, or the server was restored from a backup", from, size), nil)
		}
		return nil
	}
	oldest := "none"
	if len(rows) > 0 {
		oldest = rows[0][0].text
	}
	return c.refusePurged(fmt.Sprintf("the log from %s on is needed, and the oldest file that the server has is %s", from, oldest), nil)
}

// purgedError is a *Refusal that a new snapshot would mend.
type purgedError struct{ *replication.Refusal }

func (e *purgedError) Unwrap() error { return e.Refusal }

func (c *Config) refusePurged(problem string, err error) error {
	return &purgedError{refuse(problem,
		"changes are missing: begin again with a new snapshot (cdc drop, or on_purged: snapshot in the configuration), and let the server keep its log for longer: binlog_expire_logs_seconds", err)}
}

// isPurged reports whether a new snapshot would mend err.
func isPurged(err error) bool {
	_, ok := errors.AsType[*purgedError](err)
	return ok
}

func refuseFlavor(c *Config, s *serverInfo) error {
	other := MariaDB
	if c.Flavor == MariaDB {
		other = MySQL
	}
	return refuse(fmt.Sprintf("the server is %s (%s), and the configuration says %s", other, s.version, c.Flavor),
		fmt.Sprintf("name the section of the source %s", other), nil)
}

// dump registers as a replica and sends the command that starts the log: MySQL
// source, "rpl_source.cc"; MariaDB's documentation, "Replication Protocol".
func (c *Config) dump(conn *conn, from *place) error {
	id := sha256.Sum256([]byte("cdc " + c.Name + strconv.Itoa(int(c.ServerID))))
	settings := c.dumpSettings(fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:16]))
	if c.Flavor == MariaDB {
		settings = append(settings, "SET @slave_connect_state = "+sqlString(from.String()))
	}
	for _, sql := range settings {
		if _, err := conn.Execute(sql); err != nil {
			return fmt.Errorf("prepare to read the log: %w", err)
		}
	}
	if err := c.register(conn); err != nil {
		return fmt.Errorf("register as a replica: %w", err)
	}
	// The first four bytes are the packet's header.
	var b []byte
	switch from.form {
	case placeGTID:
		set, err := gomysql.ParseMysqlGTIDSet(from.String())
		if err != nil {
			return fmt.Errorf("encode the position: %w", err)
		}
		encoded := set.Encode()
		b = append(make([]byte, 4), gomysql.COM_BINLOG_DUMP_GTID, 0, 0)
		b = binary.LittleEndian.AppendUint32(b, c.ServerID)
		b = binary.LittleEndian.AppendUint32(b, 0) // no file's name
		b = binary.LittleEndian.AppendUint64(b, 4)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(encoded)))
		b = append(b, encoded...)
	default:
		b = append(make([]byte, 4), gomysql.COM_BINLOG_DUMP)
		b = binary.LittleEndian.AppendUint32(b, uint32(from.offset))
		b = append(b, 0, 0)
		b = binary.LittleEndian.AppendUint32(b, c.ServerID)
		b = append(b, from.file...)
	}
	conn.ResetSequence()
	if err := conn.WritePacket(b); err != nil {
		return fmt.Errorf("ask for the log: %w", err)
	}
	return nil
}

// dumpSettings are the statements that say how the log is to be sent. uuid is
// what a reader of MySQL's calls itself, beside its server id; "" for one that
// only looks.
func (c *Config) dumpSettings(uuid string) []string {
	settings := []string{
		fmt.Sprintf("SET @master_heartbeat_period = %d, @source_heartbeat_period = %[1]d", heartbeat.Nanoseconds()),
		"SET @master_binlog_checksum = 'NONE', @source_binlog_checksum = 'NONE'",
	}
	switch {
	case c.Flavor == MariaDB:
		settings = append(settings, "SET @mariadb_slave_capability = 4, @slave_gtid_strict_mode = 0, @slave_gtid_ignore_duplicates = 0")
	case uuid != "":
		settings = append(settings, "SET @slave_uuid = "+sqlString(uuid)+", @replica_uuid = "+sqlString(uuid))
	}
	return settings
}

// register makes the source appear in SHOW REPLICAS.
func (c *Config) register(conn *conn) error {
	b := append(make([]byte, 4), gomysql.COM_REGISTER_SLAVE)
	b = binary.LittleEndian.AppendUint32(b, c.ServerID)
	for _, text := range []string{clip("cdc "+c.Name, 60), "", ""} { // host, user, password
		b = append(append(b, byte(len(text))), text...)
	}
	b = append(b, make([]byte, 10)...) // port, rank, the id of the source
	conn.ResetSequence()
	if err := conn.WritePacket(b); err != nil {
		return err
	}
	_, err := conn.ReadOKPacket()
	return err
}

// explain makes of an error of the log's a refusal.
func (c *Config) explain(err error, at *place) error {
	if errors.Is(err, errInUse) {
		return refuse(err.Error(), "give this capture a server id of its own: server_id in the configuration", nil)
	}
	if errors.Is(err, errBehind) {
		return c.refusePurged("the server lacks transactions that have been read already: its log was reset, or it is not the one that took over", err)
	}
	code, text := errorCode(err), err.Error()
	switch {
	case code == codePrivilege || code == codeAccessDenied:
		return refuse("the user of the URL may not read the log", "GRANT REPLICATION SLAVE ON *.* TO "+c.userSQL(), err)
	case code == codeBinlogFatal && (strings.Contains(text, "server_uuid") || strings.Contains(text, "server_id")):
		return refuse(fmt.Sprintf("another client reads the log with the server id %d", c.ServerID), "give this capture a server id of its own: server_id in the configuration", err)
	case code == codeBinlogFatal && (strings.Contains(text, "purged") || strings.Contains(text, "first log file") || strings.Contains(text, "Could not find GTID") ||
		strings.Contains(text, "impossible position") || strings.Contains(text, "not in the master's binlog")):
		return c.refusePurged("the server cannot send its log from "+at.String()+" on", err)
	case code == codeBinlogFatal:
		return refuse("the server does not send its log from "+at.String()+" on", "see the server's error log, and run cdc check with this configuration", err)
	}
	return err
}
