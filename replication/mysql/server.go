package mysql

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// serverInfo is what is known of the server.
type serverInfo struct {
	version string // as the server prints it
	number  int    // 80045, 101118
	mariadb bool
	vars    map[string]string // system variables, by name
	form    placeForm
	end     place  // all transactions that have committed lie before it
	file    string // of the log, that is written to
	offset  uint64 // its end
	doDB    string
	skipDB  string
}

func (s *serverInfo) on(variable string) bool {
	v := s.vars[variable]
	return v == "ON" || v == "1"
}

var variables = []string{
	"version", "log_bin", "binlog_format", "binlog_row_image", "binlog_row_metadata", "binlog_row_value_options", "gtid_mode", "server_id",
	"server_uuid", "wsrep_on", "lower_case_table_names", "log_slave_updates", "log_replica_updates", "read_only", "binlog_expire_logs_seconds", "expire_logs_days",
}

// readServer reads settings and the end of the log.
func readServer(ctx context.Context, from asker) (s serverInfo, err error) {
	rows, err := from.query(ctx, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('"+strings.Join(variables, "','")+"')")
	if err != nil {
		return s, fmt.Errorf("read the server's settings: %w", err)
	}
	s.vars = map[string]string{}
	for _, r := range rows {
		s.vars[strings.ToLower(r[0].text)] = r[1].text
	}
	s.version = s.vars["version"]
	s.mariadb = strings.Contains(s.version, "MariaDB")
	s.number = versionNumber(s.version)
	switch {
	case s.mariadb:
		s.form = placeMaria
	case s.vars["gtid_mode"] == "ON":
		s.form = placeGTID
	default:
		s.form = placeFile
	}
	if s.on("log_bin") {
		err = s.readEnd(ctx, from)
	}
	return s, err
}

// versionNumber reads 8.0.45 as 80045, 10.11.18-MariaDB as 101118.
func versionNumber(version string) (n int) {
	number, _, _ := strings.Cut(version, "-")
	f := strings.Split(number, ".")
	for i := range 3 {
		part := 0
		if i < len(f) {
			part, _ = strconv.Atoi(f[i])
		}
		n = n*100 + part
	}
	return n
}

// readEnd reads how far the log goes. Everything that is visible to a query
// that begins afterwards, and was not when this was asked, comes after it; the
// server notes a GTID once its transaction is visible. Of a file and an offset
// that cannot be said: a transaction is in the file before it is visible.
func (s *serverInfo) readEnd(ctx context.Context, from asker) error {
	status := "SHOW MASTER STATUS"
	if !s.mariadb && s.number >= 80200 {
		status = "SHOW BINARY LOG STATUS"
	}
	rows, err := from.query(ctx, status)
	if err != nil {
		if errorCode(err) == codePrivilege {
			grant := "REPLICATION CLIENT"
			if s.mariadb {
				grant = "BINLOG MONITOR"
			}
			return refuse("the user of the URL may not ask for the state of the log", "GRANT "+grant+" ON *.* TO …", err)
		}
		return fmt.Errorf("read the end of the log: %w", err)
	}
	if len(rows) == 0 || len(rows[0]) < 4 {
		return fmt.Errorf("read the end of the log: %s says nothing", status)
	}
	file, offset := rows[0][0].text, rows[0][1].text
	s.offset, _ = strconv.ParseUint(offset, 10, 64)
	s.file, s.doDB, s.skipDB = file, rows[0][2].text, rows[0][3].text
	if strings.ContainsAny(file, "\"\\:;") {
		return refuse(fmt.Sprintf("the log's file name %q has a character that is not supported", file), "choose another --log-bin", nil)
	}
	switch s.form {
	case placeGTID, placeMaria:
		variable := "@@global.gtid_executed"
		if s.form == placeMaria {
			variable = "@@global.gtid_binlog_pos"
		}
		rows, err := from.query(ctx, "SELECT "+variable)
		if err != nil {
			return fmt.Errorf("read the end of the log: %w", err)
		}
		s.end, err = parsePlace(s.form, strings.ReplaceAll(rows[0][0].text, "\n", ""))
		if err != nil {
			return fmt.Errorf("read the end of the log: %w", err)
		}
	case placeFile:
		if s.end, err = parsePlace(placeFile, file+":"+offset); err != nil {
			return fmt.Errorf("read the end of the log: %w", err)
		}
		s.end.server = s.vars["server_uuid"]
	}
	return nil
}
