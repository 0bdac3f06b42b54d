package mysql

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"cdc/internal/services"
	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/secret"
)

func ownDatabase(t *testing.T, s *services.Server) string {
	t.Helper()
	servicetest.MySQLExec(t, s.Address(), "CREATE DATABASE app CHARACTER SET utf8mb4")
	return s.Address() + "app"
}

// TestFailover: the position of one server goes on at another that has
// replicated from it, in the same open source.
func TestFailover(t *testing.T) {
	t.Parallel()
	for _, version := range []string{services.MySQL9, services.MariaDB118} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			first, second := servicetest.OwnMySQL(t, version, nil), servicetest.OwnMySQL(t, version, nil)
			one, err := url.Parse(first.Address())
			if err != nil {
				t.Fatal(err)
			}
			two, err := url.Parse(second.Address())
			if err != nil {
				t.Fatal(err)
			}
			follow := []string{
				fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = %s, SOURCE_USER = 'cdc', SOURCE_PASSWORD = 'cdc', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1, SOURCE_SSL = 1", one.Port()),
				"START REPLICA",
			}
			if version == services.MariaDB118 {
				follow = []string{
					fmt.Sprintf("CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = %s, MASTER_USER = 'cdc', MASTER_PASSWORD = 'cdc', MASTER_USE_GTID = slave_pos, MASTER_SSL_VERIFY_SERVER_CERT = 0", one.Port()),
					"START SLAVE",
				}
			}
			cfg, exec := configAt(t, ownDatabase(t, first), "f")
			exec("CREATE TABLE f (id INT PRIMARY KEY, s VARCHAR(20))", "INSERT INTO f VALUES (1, 'one')")
			servicetest.MySQLExec(t, second.Address(), follow...)
			one.User, one.Path = url.UserPassword("cdc", "cdc"), "/"
			one.Host += "," + two.Host
			cfg.URL = secret.New(one.String())
			cfg.IDWait = patience
			r := openSource(t, cfg)
			wantRows(t, r.take(1), `read f  > 1 "one"`)
			exec("INSERT INTO f VALUES (2, 'two')")
			wantRows(t, r.take(1), `insert f  > 2 "two"`)
			// What is prepared at the first commits at the second, where its rows are read
			// again: what was kept of them is forgotten here, as by a restart.
			servicetest.MySQLExec(t, first.Address()+"app", xaOf("'fail','over'", "INSERT INTO f VALUES (5, 'five')")...)
			exec("INSERT INTO f VALUES (6, 'six')")
			wantRows(t, r.take(1), `insert f  > 6 "six"`)
			r.s.stream.mu.Lock()
			if kept := r.s.stream.reader.kept; len(kept) != 1 {
				t.Errorf("%d transactions are kept, want 1", len(kept))
			} else {
				clear(kept)
			}
			r.s.stream.mu.Unlock()
			// The last one is read from the second server: it must have come there.
			exec("INSERT INTO f VALUES (3, 'three')")
			awaitRow(t, second.Address(), "SELECT s FROM app.f WHERE id = 3")
			if err := first.Kill(t.Context()); err != nil {
				t.Fatal(err)
			}
			stop := "STOP REPLICA"
			if version == services.MariaDB118 {
				stop = "STOP SLAVE"
			}
			servicetest.MySQLExec(t, second.Address()+"app", stop, "INSERT INTO f VALUES (4, 'four')", "UPDATE f SET s = 'new' WHERE id = 1", "XA COMMIT 'fail','over'")
			wantRows(t, r.take(4), `insert f  > 3 "three"`, `insert f  > 4 "four"`, `update f 1 "one" > 1 "new"`, `insert f  > 5 "five"`)
		})
	}
}

func awaitRow(t *testing.T, address, sql string) {
	t.Helper()
	conn, err := servicetest.MySQLConn(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for deadline := time.Now().Add(patience); ; {
		r, err := conn.Execute(sql)
		if err == nil && r.RowNumber() > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s finds nothing: %v", sql, err)
		}
	}
}

// TestPurged: log that is gone is refused with exactly what is missing, or read
// again where that was chosen.
func TestPurged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, version string
		settings      map[string]string
		missing       func(first, last string) string
	}{
		{"GTID", services.MySQL9, nil, func(first, last string) string {
			server, a, _ := strings.Cut(first, ":")
			_, b, _ := strings.Cut(last, ":")
			return "transactions " + server + ":" + a + "-" + b + " are purged"
		}},
		{"domains", services.MariaDB118, nil, func(first, last string) string { return "transactions " + first + " to " + last + " are purged" }},
		{"file", services.MySQL80, map[string]string{"gtid-mode": "OFF", "enforce-gtid-consistency": "OFF"}, func(string, string) string { return "the log from binlog." }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := servicetest.OwnMySQL(t, c.version, c.settings)
			cfg, exec := configAt(t, ownDatabase(t, server), "p")
			exec("CREATE TABLE p (id INT PRIMARY KEY, v INT)", "INSERT INTO p VALUES (1, 1)")
			r := openSource(t, cfg)
			wantRows(t, r.take(1), "read p  > 1 1")
			r.close()
			cfg.From = r.pos
			exec("INSERT INTO p VALUES (2, 2)", "INSERT INTO p VALUES (3, 3)", "FLUSH BINARY LOGS")
			// First as it should be, to learn what is then missing.
			r = openSource(t, cfg)
			rows := r.take(2)
			wantRows(t, rows, "insert p  > 2 2", "insert p  > 3 3")
			r.close()
			files := r.askServer(t, cfg, "SHOW BINARY LOGS")
			last := files[len(files)-1][0].text
			// A file that the connection just closed still reads is left alone.
			for deadline := time.Now().Add(patience); files[0][0].text != last && time.Now().Before(deadline); {
				exec("PURGE BINARY LOGS TO '" + last + "'")
				files = r.askServer(t, cfg, "SHOW BINARY LOGS")
			}
			exec("INSERT INTO p VALUES (4, 4)", "DELETE FROM p WHERE id = 2")
			_, err := Open(t.Context(), cfg)
			wantRefusal(t, err, c.missing(rows[0].tx, rows[1].tx), "on_purged: snapshot")
			if !strings.Contains(fmt.Sprint(Check(t.Context(), cfg)), c.missing(rows[0].tx, rows[1].tx)) {
				t.Errorf("check finds %v", Check(t.Context(), cfg))
			}
			cfg.OnPurged = OnPurgedSnapshot
			r = openSource(t, cfg)
			wantRows(t, r.take(3), "read p  > 1 1", "read p  > 3 3", "read p  > 4 4")
			exec("INSERT INTO p VALUES (5, 5)")
			wantRows(t, r.take(1), "insert p  > 5 5")
		})
	}
}

// askServer asks the server over a connection of its own.
func (r *reading) askServer(t *testing.T, cfg Config, sql string) [][]cell {
	t.Helper()
	cfg, err := cfg.complete()
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(&cfg)
	defer s.close()
	rows, err := s.query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestServerSettings: what keeps the server's log from being read is refused,
// with the statement that mends it.
func TestServerSettings(t *testing.T) {
	t.Parallel()
	t.Run("no log", func(t *testing.T) {
		t.Parallel()
		for _, version := range []string{services.MySQL80, services.MariaDB118} {
			server := servicetest.OwnMySQL(t, version, map[string]string{"skip-log-bin": "", "log-slave-updates": "OFF"})
			cfg, exec := configAt(t, ownDatabase(t, server), "t")
			exec("CREATE TABLE t (id INT PRIMARY KEY)")
			_, err := Open(t.Context(), cfg)
			wantRefusal(t, err, "log_bin is OFF", "--log-bin")
		}
	})
	for _, version := range []string{services.MySQL9, services.MariaDB118} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := servicetest.OwnMySQL(t, version, map[string]string{"binlog-row-metadata": "MINIMAL", "binlog-row-image": "MINIMAL"})
			cfg, exec := configAt(t, ownDatabase(t, server), "t")
			exec("CREATE TABLE t (id INT PRIMARY KEY, a INT)", "CREATE TABLE n (a INT, b INT)")
			_, err := Open(t.Context(), cfg)
			wantRefusal(t, err, "binlog_row_metadata is MINIMAL", "SET GLOBAL binlog_row_metadata = FULL")
			wantFinding(t, Check(t.Context(), cfg), "binlog_row_metadata is MINIMAL", "SET GLOBAL binlog_row_metadata = FULL")
			exec("SET GLOBAL binlog_row_metadata = FULL", "SET GLOBAL binlog_format = STATEMENT")
			_, err = Open(t.Context(), cfg)
			wantRefusal(t, err, "binlog_format is STATEMENT", "SET GLOBAL binlog_format = ROW")
			wantFinding(t, Check(t.Context(), cfg), "binlog_format is STATEMENT", "SET GLOBAL binlog_format = ROW")
			exec("SET GLOBAL binlog_format = ROW")
			keyed := cfg
			keyed.Tables = []TableConfig{{Schema: "app", Name: "t", Key: []string{"a"}}}
			_, err = Open(t.Context(), keyed)
			wantRefusal(t, err, `column "a" of the key is not logged`, "SET GLOBAL binlog_row_image = FULL")
			findings := fmt.Sprint(Check(t.Context(), cfg))
			if !strings.Contains(findings, "binlog_row_image is MINIMAL") {
				t.Errorf("check finds %s", findings)
			}
			// In the middle of the log.
			r := openSource(t, changesOnly(cfg))
			exec("INSERT INTO t VALUES (1, 1)")
			wantRows(t, r.take(1), "insert t  > 1 1")
			exec("SET GLOBAL binlog_row_metadata = MINIMAL", "INSERT INTO t VALUES (2, 2)")
			wantRefusal(t, r.fails(), "without its column names", "SET GLOBAL binlog_row_metadata = FULL")
			// The settings are looked at again at each connection: it may be to another
			// host.
			exec("SET GLOBAL binlog_row_metadata = FULL")
			cfg.Name += "2"
			r = openSource(t, changesOnly(cfg))
			exec("INSERT INTO t VALUES (3, 3)")
			wantRows(t, r.take(1), "insert t  > 3 3")
			r.s.stream.mu.Lock()
			connection := r.s.stream.conn.GetConnectionID()
			r.s.stream.mu.Unlock()
			exec("SET GLOBAL binlog_format = STATEMENT", fmt.Sprintf("KILL %d", connection))
			wantRefusal(t, r.fails(), "binlog_format is STATEMENT", "SET GLOBAL binlog_format = ROW")
			exec("SET GLOBAL binlog_format = ROW", "SET GLOBAL server_id = "+fmt.Sprint(ServerID("same")))
			cfg.Name = "same"
			_, err = Open(t.Context(), cfg)
			wantRefusal(t, err, "the server itself has the server id", "server_id in the configuration")
		})
	}
}

// TestAnotherServer: a position without GTIDs means nothing on another server.
func TestAnotherServer(t *testing.T) {
	t.Parallel()
	server := servicetest.OwnMySQL(t, services.MySQL80, map[string]string{"gtid-mode": "OFF", "enforce-gtid-consistency": "OFF"})
	cfg, exec := configAt(t, ownDatabase(t, server), "t")
	exec("CREATE TABLE t (id INT PRIMARY KEY)")
	cfg.From = replication.Position(`{"file":"binlog.000001:4","server":"00000000-0000-0000-0000-000000000000","tables":{"app.t":"done"}}`)
	_, err := Open(t.Context(), cfg)
	wantRefusal(t, err, "is one in the log of server 00000000-0000-0000-0000-000000000000", "new snapshot")
	cfg.From = ""
	r := openSource(t, cfg)
	exec("INSERT INTO t VALUES (1)", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (2)")
	rows := r.take(2)
	wantRows(t, rows, "insert t  > 1", "insert t  > 2")
	if rows[0].tx != rows[0].commit || !strings.HasPrefix(rows[1].tx, "binlog.000") {
		t.Errorf("transactions are called %s and %s", rows[0].tx, rows[1].tx)
	}
	r.close()
	cfg.From = r.pos
	exec("INSERT INTO t VALUES (3)")
	wantRows(t, openSource(t, cfg).take(1), "insert t  > 3")
}

// TestReset: a server that numbers its transactions, or its files, anew would
// pass for one that has sent them already, also when its new log has grown past
// the saved position.
func TestReset(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, version, reset string
		settings             map[string]string
	}{
		{"GTID", services.MySQL9, "RESET BINARY LOGS AND GTIDS", nil},
		{"domains", services.MariaDB118, "RESET MASTER", nil},
		{"file", services.MySQL80, "RESET MASTER", map[string]string{"gtid-mode": "OFF", "enforce-gtid-consistency": "OFF"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := servicetest.OwnMySQL(t, c.version, c.settings)
			cfg, exec := configAt(t, ownDatabase(t, server), "t")
			cfg.IDWait = time.Second
			exec(c.reset, "CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(3000))")
			r := openSource(t, cfg)
			fresh, began := r.first(), time.Now()
			exec("INSERT INTO t VALUES (1, '')", "INSERT INTO t VALUES (2, '')")
			r.take(2)
			read := r.pos
			r.close()
			// The server itself may start anew.
			if err := server.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := server.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, exec = configAt(t, server.Address()+"app")
			cfg.From = read
			r = openSource(t, cfg)
			exec("INSERT INTO t VALUES (3, '')")
			wantRows(t, r.take(1), `insert t  > 3 ""`)
			read = r.pos
			r.close()

			// The log begins anew and has not come as far, then it has. Files that
			// begin within one second begin alike on MariaDB.
			<-time.After(time.Until(began.Truncate(time.Second).Add(1001 * time.Millisecond)))
			exec(c.reset, "DELETE FROM t", "INSERT INTO t VALUES (10, '')")
			for name, pos := range map[string]replication.Position{"before the first change": fresh, "after changes": read} {
				cfg.From = pos
				_, err := Open(t.Context(), cfg)
				wantRefusal(t, err, "was reset", "new snapshot")
				if findings := fmt.Sprint(Check(t.Context(), cfg)); !strings.Contains(findings, "was reset") {
					t.Errorf("%s: check finds %s", name, findings)
				}
			}
			for i := range 20 {
				exec(fmt.Sprintf("INSERT INTO t VALUES (%d, REPEAT('x', 3000))", 100+i))
			}
			exec("DELETE FROM t WHERE id > 10", "FLUSH BINARY LOGS", "FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
			_, err := Open(t.Context(), cfg)
			wantRefusal(t, err, "was reset", "new snapshot")
			cfg.OnPurged = OnPurgedSnapshot
			r = openSource(t, cfg)
			wantRows(t, r.take(1), `read t  > 10 ""`)
			exec("INSERT INTO t VALUES (11, '')")
			wantRows(t, r.take(1), `insert t  > 11 ""`)
		})
	}
}

// first returns the first Position.
func (r *reading) first() replication.Position {
	r.t.Helper()
	for r.pos == "" {
		b, err := r.s.Next(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		r.pos = b.Position
		b.Release()
	}
	return r.pos
}

// wantFinding checks that one of the errors found says both.
func wantFinding(t *testing.T, found []replication.Finding, problem, remedy string) {
	t.Helper()
	for _, f := range found {
		if f.Level == replication.LevelError && strings.Contains(f.Problem, problem) && strings.Contains(f.Remedy, remedy) {
			return
		}
	}
	t.Errorf("no finding says %q and %q: %v", problem, remedy, found)
}
