package mysql

import (
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cdc/internal/services"
	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/secret"
)

// TestDDL: no statement stops the stream that does not concern it; renames as
// gh-ost and pt-online-schema-change make them are followed.
func TestDDL(t *testing.T) {
	t.Parallel()
	everyServer(t, func(t *testing.T, version string) {
		cfg, exec := testConfig(t, version, "d")
		database := cfg.Tables[0].Schema
		exec("CREATE TABLE d (id INT PRIMARY KEY, a VARCHAR(10))", "INSERT INTO d VALUES (1, 'a')")
		r := openSource(t, cfg)
		wantRows(t, r.take(1), `read d  > 1 "a"`)
		user := "u" + database
		exec("CREATE USER "+user+"@localhost IDENTIFIED BY 'Secret_123'", "GRANT SELECT ON d TO "+user+"@localhost", "DROP USER "+user+"@localhost",
			"CREATE VIEW w AS SELECT * FROM d", "CREATE TRIGGER tr BEFORE INSERT ON d FOR EACH ROW SET NEW.a = UPPER(NEW.a)",
			"CREATE PROCEDURE p() BEGIN DECLARE x INT DEFAULT 1; INSERT INTO d VALUES (2, 'proc'); END", "CALL p()",
			"CREATE TABLE other (id INT, a VARCHAR(10))", "INSERT INTO other SELECT * FROM d", "ANALYZE TABLE d", "FLUSH TABLES d",
			"ALTER TABLE d ADD COLUMN b INT DEFAULT 7 AFTER id", "INSERT INTO d VALUES (3, 30, 'c')",
			// gh-ost: a copy is made and swapped in.
			"CREATE TABLE _d_gho LIKE d", "ALTER TABLE _d_gho ADD COLUMN z BIGINT UNSIGNED", "INSERT INTO _d_gho (id, b, a) SELECT * FROM d",
			"RENAME TABLE d TO _d_del, _d_gho TO d", "INSERT INTO d VALUES (4, 40, 'D', 18446744073709551615)", "DROP TABLE _d_del",
			"ALTER TABLE d DROP COLUMN b")
		wantRows(t, r.take(3), `insert d  > 2 "PROC"`, `insert d  > 3 30 "C"`, `insert d  > 4 40 "D" 18446744073709551615`)
		exec("TRUNCATE TABLE `"+database+"`.`d`", "INSERT INTO d VALUES (5, 'e', 1)")
		wantRows(t, r.take(2), `truncate d  > `, `insert d  > 5 "e" 1`)
		exec("DROP TABLE d", "CREATE TABLE d (x CHAR(3) PRIMARY KEY)", "INSERT INTO d VALUES ('new')")
		wantRows(t, r.take(1), `insert d  > "new"`)
		// DDL while nobody reads.
		r.close()
		exec("INSERT INTO d VALUES ('one')", "ALTER TABLE d MODIFY x VARCHAR(9), ADD y INT", "INSERT INTO d VALUES ('two', 2)", "ALTER TABLE d RENAME COLUMN y TO yy")
		cfg.From = r.pos
		wantRows(t, openSource(t, cfg).take(2), `insert d  > "one"`, `insert d  > "two" 2`)
	})
}

// TestStatements: a statement in place of rows is refused if it concerns a
// captured table, and only then.
func TestStatements(t *testing.T) {
	t.Parallel()
	everyServer(t, func(t *testing.T, version string) {
		cfg, exec := testConfig(t, version, "s")
		exec("CREATE TABLE s (id INT PRIMARY KEY)", "CREATE TABLE stranger (id INT PRIMARY KEY)")
		r := openSource(t, changesOnly(cfg))
		exec("SET binlog_format = STATEMENT", "INSERT INTO stranger VALUES (1)", "SET binlog_format = ROW", "INSERT INTO s VALUES (1)")
		wantRows(t, r.take(1), "insert s  > 1")
		exec("SET binlog_format = STATEMENT", "INSERT INTO s VALUES (2)")
		wantRefusal(t, r.fails(), "a statement instead of the rows", "SET GLOBAL binlog_format = ROW")
	})
}

// TestTLS: the modes of encryption do what they say, and the certificate is
// verified where that was asked for.
func TestTLS(t *testing.T) {
	t.Parallel()
	home, err := services.Find(nil)
	if err != nil {
		t.Fatal(err)
	}
	everyServer(t, func(t *testing.T, version string) {
		server := ownCA(t, home, version)
		cfg, exec := configAt(t, servicetest.MySQL(t, version), "t")
		exec("CREATE TABLE t (id INT PRIMARY KEY)")
		base := cfg.URL.Reveal()
		for _, c := range []struct {
			query     string
			tls       *TLS
			encrypted bool
			problem   string
		}{
			{query: "", encrypted: true},
			{query: "?tls=false"},
			{query: "?tls=skip-verify", encrypted: true},
			{query: "?tls=true", problem: "certificate"},
			{tls: &TLS{CAFile: server}, encrypted: true},
			{tls: &TLS{CAFile: server, ServerName: "elsewhere"}, problem: "certificate"},
			{tls: &TLS{Insecure: true}, encrypted: true},
		} {
			if version == services.MySQL80 && (c.tls != nil && !c.tls.Insecure || c.query == "?tls=true") {
				continue // it has no key exchange that is safe enough to be verified
			}
			cfg.URL, cfg.TLS = secret.New(base+c.query), c.tls
			complete, err := cfg.complete()
			if err != nil {
				t.Fatal(err)
			}
			s := newSession(&complete)
			rows, err := s.query(t.Context(), "SHOW STATUS LIKE 'Ssl_cipher'")
			s.close()
			if c.problem != "" {
				wantRefusal(t, err, c.problem, "tls.ca")
				continue
			}
			if err != nil {
				t.Errorf("%s %+v: %v", c.query, c.tls, err)
				continue
			}
			if got := rows[0][1].text != ""; got != c.encrypted {
				t.Errorf("%s %+v: encrypted %v, want %v", c.query, c.tls, got, c.encrypted)
			}
		}
	})
}

// ownCA is the file of the authority of the tests' server.
func ownCA(t *testing.T, home *services.Home, version string) string {
	t.Helper()
	servicetest.MySQLServer(t, version)
	return filepath.Join(home.MySQL(version, services.MySQL{Version: version}).Dir(), "ca.pem")
}

// TestRights: what the user may not do is refused, with the statement that
// grants it.
func TestRights(t *testing.T) {
	t.Parallel()
	everyServer(t, func(t *testing.T, version string) {
		cfg, exec := testConfig(t, version, "t")
		exec("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
		name := "r" + strings.TrimPrefix(cfg.Tables[0].Schema, "t_")
		exec("CREATE USER " + name + "@'%' IDENTIFIED BY 'pw'")
		t.Cleanup(func() { servicetest.MySQLExec(t, servicetest.MySQLServer(t, version), "DROP USER "+name+"@'%'") })
		u, err := url.Parse(cfg.URL.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(name, "wrong")
		cfg.URL = secret.New(u.String())
		_, err = Open(t.Context(), cfg)
		wantRefusal(t, err, "cannot log in", "ALTER USER")
		cfg.Password = secret.New("pw")
		_, err = Open(t.Context(), cfg)
		state, log := "REPLICATION CLIENT", "REPLICATION SLAVE"
		if cfg.Flavor == MariaDB {
			state = "BINLOG MONITOR"
		}
		wantRefusal(t, err, "may not ask for the state of the log", "GRANT "+state)
		exec("GRANT " + state + " ON *.* TO " + name + "@'%'")
		_, err = Open(t.Context(), cfg)
		wantRefusal(t, err, "the user of the URL may not see it", "GRANT SELECT")
		exec("GRANT SELECT ON t TO " + name + "@'%'")
		findings := fmt.Sprint(Check(t.Context(), cfg))
		if !strings.Contains(findings, "may not read the log") || !strings.Contains(findings, "GRANT "+log) {
			t.Errorf("check finds %s", findings)
		}
		r := openSource(t, cfg)
		r.take(1)
		wantRefusal(t, r.fails(), "may not read the log", "GRANT "+log)
		exec("GRANT " + log + " ON *.* TO " + name + "@'%'")
		// What the rest of the configuration expects of the columns is looked at, too.
		slip := cfg
		slip.Tables = slices.Clone(cfg.Tables)
		slip.Tables[0].Verify = func(now *replication.Table) error {
			return &replication.Refusal{Problem: fmt.Sprintf("no column ip, but %s", now.Columns[0].Name), Remedy: "write id"}
		}
		_, err = Open(t.Context(), slip)
		wantRefusal(t, err, "no column ip, but id", "write id")
		// Without LOCK TABLES the snapshot does without.
		r = openSource(t, cfg)
		r.take(1)
		exec("INSERT INTO t VALUES (2)")
		wantRows(t, r.take(1), "insert t  > 2")
	})
}

// TestServerIDInUse: two readers of one id would cut each other off for ever.
func TestServerIDInUse(t *testing.T) {
	t.Parallel()
	everyServer(t, func(t *testing.T, version string) {
		cfg, exec := testConfig(t, version, "t")
		exec("CREATE TABLE t (id INT PRIMARY KEY)")
		r := openSource(t, cfg)
		exec("INSERT INTO t VALUES (1)")
		r.take(1)
		_, err := Open(t.Context(), impatient(cfg))
		wantRefusal(t, err, "server id is in use", "server_id in the configuration")
		exec("INSERT INTO t VALUES (2)")
		wantRows(t, r.take(1), "insert t  > 2")
	})
}
