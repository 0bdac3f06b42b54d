package mysql

import (
	"bytes"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"cdc/internal/services"
	"cdc/replication"
)

// TestRenamedAway: a captured table that gets a name which is not captured is
// refused, while the capture runs and when it was down; one that another takes
// the place of goes on.
func TestRenamedAway(t *testing.T) {
	t.Parallel()
	everyServer(t, func(t *testing.T, version string) {
		cfg, exec := testConfig(t, version, "orders")
		schema := cfg.Tables[0].Schema
		exec("CREATE TABLE orders (id INT PRIMARY KEY)", "INSERT INTO orders VALUES (1)")
		r := openSource(t, cfg)
		wantRows(t, r.take(1), "read orders  > 1")
		// As gh-ost and pt-online-schema-change do it.
		exec("CREATE TABLE _orders_gho LIKE orders", "INSERT INTO _orders_gho SELECT * FROM orders",
			"RENAME TABLE orders TO _orders_del, "+schema+"._orders_gho TO "+schema+".orders", "INSERT INTO orders VALUES (2)", "DROP TABLE _orders_del")
		wantRows(t, r.take(1), "insert orders  > 2")
		exec("RENAME TABLE orders TO o1, o1 TO orders", "INSERT INTO orders VALUES (3)")
		wantRows(t, r.take(1), "insert orders  > 3")
		exec("RENAME TABLE orders TO orders2", "INSERT INTO orders2 VALUES (4)", "ALTER TABLE `orders2` RENAME orders", "INSERT INTO orders VALUES (5)")
		wantRefusal(t, r.fails(), "table "+schema+".orders was renamed to "+schema+".orders2", "on_rename: warn")
		r.close()

		cfg.From = r.pos
		r = openSource(t, cfg)
		wantRefusal(t, r.fails(), "table "+schema+".orders was renamed", "name it "+schema+".orders2")
		r.close()

		var logs bytes.Buffer
		ignoring := cfg
		ignoring.OnRename, ignoring.Logger = OnRenameWarn, slog.New(slog.NewTextHandler(&logs, nil))
		r = openSource(t, ignoring)
		wantRows(t, r.take(1), "insert orders  > 5")
		r.close()
		if !strings.Contains(logs.String(), "a captured table was renamed") {
			t.Errorf("no warning: %s", &logs)
		}

		// By the remedy: it is captured under its new name.
		exec("ALTER TABLE orders COMMENT 'x', RENAME TO `new orders`", "INSERT INTO `new orders` VALUES (6)")
		cfg.Tables[0].Name = "new orders"
		r = openSource(t, cfg)
		var got []string
		for _, c := range r.take(6) {
			got = append(got, c.op.String())
		}
		if want := "read read read read read read"; strings.Join(got, " ") != want {
			t.Errorf("got %v, want %s", got, want)
		}
		exec("INSERT INTO `new orders` VALUES (7)")
		wantRows(t, r.take(1), "insert new orders  > 7")
	})
}

// TestRenamedColumn: a column keeps its identity under its new names, also when
// the capture starts again between the statement and the first row, or was down.
func TestRenamedColumn(t *testing.T) {
	t.Parallel()
	everyServer(t, func(t *testing.T, version string) {
		cfg, exec := testConfig(t, version, "c")
		identities := func(c row) string {
			var list []string
			for _, col := range c.table.Columns {
				_, own, _ := strings.Cut(col.ID, ".")
				list = append(list, col.Name+"="+own)
			}
			return strings.Join(list, " ")
		}
		exec("CREATE TABLE c (id BIGINT PRIMARY KEY, a INT, `B b` INT)", "INSERT INTO c VALUES (1, 1, 1)")
		r := openSource(t, cfg)
		first := r.take(1)[0]
		n := 1
		next := func(want string) {
			t.Helper()
			n++
			exec("INSERT INTO c VALUES (" + strings.Repeat("9", n) + ", 1, 1)")
			got := r.take(1)[0]
			if identities(got) != want {
				t.Errorf("columns are %s, want %s", identities(got), want)
			}
			if table, _, _ := strings.Cut(got.table.Columns[0].ID, "."); !strings.HasPrefix(first.table.Columns[0].ID, table+".") {
				t.Errorf("the table was %s and is %s", first.table.Columns[0].ID, table)
			}
		}
		again := func() {
			r.close()
			cfg.From = r.pos
			r = openSource(t, cfg)
		}
		next("id=id a=a B b=b b")
		exec("ALTER TABLE c RENAME COLUMN a TO x")
		next("id=id x=a B b=b b")
		exec("ALTER TABLE c CHANGE `b b` a BIGINT NOT NULL")
		next("id=id x=a a=b b")
		again()
		next("id=id x=a a=b b")
		// The statement was read, no row of the new shape has come.
		exec("ALTER TABLE c RENAME COLUMN x TO y", "CREATE TABLE IF NOT EXISTS c (z INT)")
		exec("CREATE TABLE other (id INT)")
		again()
		next("id=id y=a a=b b")
		r.close()
		exec("ALTER TABLE c RENAME COLUMN a TO y, RENAME COLUMN y TO a")
		cfg.From = r.pos
		r = openSource(t, cfg)
		next("id=id a=a y=b b")
		if cfg.Flavor == MariaDB {
			// What does nothing, or fails, or stands in the log twice.
			exec("ALTER TABLE c RENAME COLUMN IF EXISTS none TO y, CHANGE COLUMN IF EXISTS b x INT", "ALTER TABLE c ADD COLUMN IF NOT EXISTS y INT DEFAULT 3")
			next("id=id a=a y=b b")
			exec("SET STATEMENT lock_wait_timeout = 50 FOR ALTER TABLE c RENAME COLUMN IF EXISTS y TO z")
			next("id=id a=a z=b b")
			if version == services.MariaDB118 {
				exec("SET binlog_alter_two_phase = ON", "CREATE PROCEDURE fails() BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; ALTER TABLE c RENAME COLUMN a TO q, ADD UNIQUE (z), FORCE; END",
					"CALL fails()", "ALTER TABLE c RENAME COLUMN a TO y, RENAME COLUMN z TO a, FORCE")
				next("id=id y=a a=b b")
				exec("ALTER TABLE c RENAME COLUMN a TO y, RENAME COLUMN y TO a, FORCE", "SET binlog_alter_two_phase = OFF")
			} else {
				exec("ALTER TABLE c RENAME COLUMN z TO y")
			}
			next("id=id a=a y=b b")
			exec("SET STATEMENT sql_mode = 'ANSI' FOR TRUNCATE TABLE c")
			if got := r.take(1)[0]; got.op != replication.OpTruncate {
				t.Errorf("in place of a truncate came %v", &got)
			}
		} else {
			exec("ALTER TABLE c /*M! RENAME COLUMN y TO z, RENAME COLUMN a TO y, */ COMMENT 'x'")
			next("id=id a=a y=b b")
		}
		if version != services.MariaDB118 && version != services.MySQL9 {
			return
		}
		// A table that takes its place, altered before.
		exec("CREATE TABLE _c_gho LIKE c", "ALTER TABLE _c_gho RENAME COLUMN y TO w, ADD COLUMN extra INT DEFAULT 7", "INSERT INTO _c_gho (id, a, w) SELECT * FROM c",
			"RENAME TABLE c TO _c_del, _c_gho TO c", "ALTER TABLE c MODIFY extra INT DEFAULT 7 FIRST")
		again()
		exec("INSERT INTO c VALUES (8, 2, 2, 2)")
		got := r.take(1)[0]
		if want := "extra=extra id=id a=a w=b b"; identities(got) != want || !got.table.Columns[0].HasMissing || got.table.Columns[0].Missing != "7" {
			t.Errorf("columns are %s, want %s: %+v", identities(got), want, got.table.Columns[0])
		}
		if strings.Contains(string(r.pos), `"added"`) {
			t.Errorf("the position still has what the schemas have by now: %s", r.pos)
		}
	})
}

// addedColumns are definitions of added columns; those of which rows from before
// have what only the server can tell are unknown.
var addedColumns = []struct {
	def     string
	unknown bool
	only    string // a part of the flavor's name
}{
	{def: "INT DEFAULT 7"},
	{def: "INT NOT NULL DEFAULT '-8'"},
	{def: "INT NOT NULL"},
	{def: "BIGINT UNSIGNED DEFAULT 18446744073709551615"},
	{def: "INT DEFAULT 2.5"},
	{def: "INT DEFAULT -2.5"},
	{def: "SMALLINT DEFAULT 0x10"},
	{def: "BOOLEAN DEFAULT TRUE"},
	{def: "BIT(1) NOT NULL DEFAULT b'1'"},
	{def: "BIT(12) DEFAULT b'101010101010'"},
	{def: "BIT(3) NOT NULL"},
	{def: "DECIMAL(6,2) NOT NULL DEFAULT 7"},
	{def: "DECIMAL(6,2) DEFAULT '1.005'"},
	{def: "DECIMAL(6,1) DEFAULT -0.25"},
	{def: "DECIMAL(6,2) NOT NULL"},
	{def: "FLOAT DEFAULT 0.1"},
	{def: "DOUBLE DEFAULT 1.5e300"},
	{def: "DOUBLE NOT NULL"},
	{def: "YEAR DEFAULT 2026"},
	{def: `VARCHAR(20) DEFAULT 'it''s \\ é "so" '`},
	{def: "VARCHAR(20) CHARACTER SET latin1 DEFAULT 'é'"},
	{def: "VARCHAR(20) NOT NULL DEFAULT 7"},
	{def: "VARCHAR(20) NOT NULL"},
	{def: "CHAR(5) DEFAULT 'ab  '"},
	{def: "VARCHAR(5) DEFAULT ''"},
	{def: "TEXT NOT NULL"},
	{def: "TEXT DEFAULT ('a text')"},
	{def: "VARBINARY(9) DEFAULT 'ab'"},
	{def: "VARBINARY(9) DEFAULT x'00FF27'"},
	{def: "BINARY(4) DEFAULT 'ab'"},
	{def: "BINARY(3) NOT NULL"},
	{def: "BLOB NOT NULL"},
	{def: "ENUM('a', 'it''s') DEFAULT 'it''s'"},
	{def: "ENUM('b', 'c') NOT NULL"},
	{def: "SET('x', 'y', 'z') DEFAULT 'z,x'"},
	{def: "SET('x') NOT NULL"},
	{def: "DATE DEFAULT '2026-11-21'"},
	{def: "DATETIME DEFAULT '2026-11-21 01:02:03'"},
	{def: "DATETIME(3) DEFAULT '2026-11-21'"},
	{def: "DATETIME(6) DEFAULT '2026-11-21 01:02:03.5'"},
	{def: "TIME DEFAULT '-12:34:56'"},
	{def: "TIME(2) DEFAULT '100:00:00.5'"},
	{def: "TIME NOT NULL"},
	{def: "JSON DEFAULT ('[]')", only: "mysql"},
	{def: "JSON DEFAULT (JSON_OBJECT())", only: "mysql"},
	{def: `JSON DEFAULT '{"a": 1}'`, only: "mariadb"},
	{def: "UUID DEFAULT '6F9619FF-8B86-4011-B42D-00CF4FC964FF'", only: "mariadb"},
	{def: "INET6 DEFAULT '2001:DB8::1'", only: "mariadb"},
	{def: "INT DEFAULT NULL"},
	{def: "INT DEFAULT 7 COLUMN_FORMAT DEFAULT STORAGE DEFAULT", only: "mysql"},
	{def: "INT COLUMN_FORMAT FIXED NOT NULL STORAGE DISK DEFAULT 8", only: "mysql"},
	{def: "INT"},
	{def: "DATETIME DEFAULT CURRENT_TIMESTAMP", unknown: true},
	{def: "TIMESTAMP NULL DEFAULT '2026-11-21 01:02:03'", unknown: true},
	{def: "INT DEFAULT (7 + 1)", unknown: true},
	{def: "CHAR(36) DEFAULT (UUID())", unknown: true, only: "mariadb"},
	{def: "INT AS (id * 2) STORED", unknown: true},
	{def: "DATE DEFAULT '20261121'", unknown: true},
	{def: "DOUBLE DEFAULT (1 / 3)", unknown: true},
}

// TestAddedColumns compares what a column is said to have in the rows from before
// with what the server has there, as an update of such a row tells.
func TestAddedColumns(t *testing.T) {
	t.Parallel()
	for _, version := range []string{services.MySQL9, services.MariaDB118} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			cfg, exec := testConfig(t, version, "e")
			var logs bytes.Buffer
			cfg.Logger = slog.New(slog.NewTextHandler(&logs, nil))
			exec("SET sql_mode = 'STRICT_ALL_TABLES'", "SET NAMES utf8mb4", "CREATE TABLE e (id INT PRIMARY KEY, touched INT)", "INSERT INTO e VALUES (1, 0)")
			r := openSource(t, cfg)
			r.take(1)
			for _, c := range addedColumns {
				if !strings.Contains(string(cfg.Flavor), c.only) {
					continue
				}
				logs.Reset()
				exec("ALTER TABLE e ADD COLUMN c "+c.def, "UPDATE e SET touched = touched + 1")
				got := r.take(1)[0]
				i := got.table.Column("c")
				if i < 0 { // MariaDB's generated columns are not captured
					exec("ALTER TABLE e DROP COLUMN c")
					continue
				}
				col := got.table.Columns[i]
				said := "null"
				if col.HasMissing {
					said = col.Missing
				}
				switch {
				case c.unknown:
					if col.HasMissing || !strings.Contains(logs.String(), "the log does not tell") {
						t.Errorf("%s: %s is said and %s there; log: %s", c.def, said, got.after[i], &logs)
					}
				case printedValue(t, col, said) != got.after[i]:
					t.Errorf("%s: said to have %q, has %s", c.def, said, got.after[i])
				case logs.Len() > 0:
					t.Errorf("%s: %s", c.def, &logs)
				}
				exec("ALTER TABLE e DROP COLUMN c")
			}
		})
	}
}

// printedValue returns the value that PostgreSQL reads a text as, as a Value prints it.
func printedValue(t *testing.T, c replication.Column, said string) string {
	t.Helper()
	if said == "null" {
		return said
	}
	instant := func(layout string) int64 {
		at, err := time.Parse(layout, said)
		if err != nil {
			t.Errorf("%s: %v", c.TypeName, err)
		}
		return at.UnixMicro()
	}
	switch c.Kind {
	case replication.KindBool:
		return map[string]string{"0": "false", "1": "true"}[said]
	case replication.KindFloat:
		f, err := strconv.ParseFloat(said, int(c.Bits))
		if err != nil {
			t.Error(err)
		}
		return replication.FloatValue(f).String()
	case replication.KindString:
		return strconv.Quote(said)
	case replication.KindBytes:
		return strings.TrimPrefix(said, `\x`)
	case replication.KindUUID:
		return strings.ReplaceAll(said, "-", "")
	case replication.KindDate:
		return fmt.Sprintf("date(%d)", instant(time.DateOnly)/(24*3600e6))
	case replication.KindTimestamp:
		return fmt.Sprintf("timestamp(%d)", instant("2006-01-02 15:04:05.999999"))
	default:
		return said
	}
}

// TestReadAgain is the remedy for rows that no log tells of: a table that is taken
// out of the configuration and put back is read again.
func TestReadAgain(t *testing.T) {
	t.Parallel()
	cfg, exec := testConfig(t, services.MySQL9, "e", "other")
	exec("CREATE TABLE e (id INT PRIMARY KEY)", "CREATE TABLE other (id INT PRIMARY KEY)", "INSERT INTO e VALUES (1)")
	r := openSource(t, cfg)
	wantRows(t, r.take(1), "read e  > 1")
	// An update that changes nothing is no remedy.
	exec("ALTER TABLE e ADD at DATETIME NOT NULL DEFAULT (CAST('2026-11-21' AS DATETIME))", "UPDATE e SET at = at", "INSERT INTO other VALUES (2)")
	wantRows(t, r.take(1), "insert other  > 2")
	r.close()
	without := cfg
	without.Tables, without.From = cfg.Tables[1:], r.pos
	r = openSource(t, without)
	exec("INSERT INTO other VALUES (3)")
	wantRows(t, r.take(1), "insert other  > 3")
	r.close()
	cfg.From = r.pos
	r = openSource(t, cfg)
	wantRows(t, r.take(1), "read e  > 1 timestamp(1795219200000000)")
}

// TestStatementsOfOtherCharsets: a statement names tables in the character set of
// its session.
func TestStatementsOfOtherCharsets(t *testing.T) {
	t.Parallel()
	for _, version := range []string{services.MySQL9, services.MariaDB118} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			cfg, exec := testConfig(t, version, "é")
			exec("SET NAMES utf8mb4", "CREATE TABLE é (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id) (PARTITION a VALUES LESS THAN (10))")
			r := openSource(t, changesOnly(cfg))
			exec("INSERT INTO é VALUES (1, 1)", "SET NAMES latin1", "TRUNCATE TABLE \xe9")
			wantRows(t, r.take(2), "insert é  > 1 1", "truncate é  > ")
			exec("ALTER TABLE \xe9 RENAME COLUMN v TO w", "INSERT INTO \xe9 VALUES (2, 2)")
			if got := r.take(1)[0].table.Columns[1]; !strings.HasSuffix(got.ID, ".v") || got.Name != "w" {
				t.Errorf("the column is %s, %s", got.Name, got.ID)
			}
			exec("ALTER TABLE \xe9 TRUNCATE PARTITION a")
			wantRefusal(t, r.fails(), "é", "")
		})
	}
}

// TestStatementsThatFill: rows that the log has as a statement are refused also
// where they come with their table, and where the statement does not begin with what
// it does. With rows in the log nothing is.
func TestStatementsThatFill(t *testing.T) {
	t.Parallel()
	for _, version := range []string{services.MySQL9, services.MariaDB118} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			cfg, exec := testConfig(t, version, "t", "late")
			exec("CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE other (id INT PRIMARY KEY COMMENT 'SELECT')", "INSERT INTO other VALUES (7)", "CREATE TABLE late LIKE other")
			r := openSource(t, changesOnly(cfg))
			exec("DROP TABLE late", "CREATE TABLE late (v INT PRIMARY KEY COMMENT 'SELECT', `select` INT) SELECT id AS v FROM other")
			if got := r.take(1)[0]; got.op != replication.OpInsert || got.after[0] == "" {
				t.Errorf("got %v", &got)
			}
			exec("DROP TABLE late", "SET binlog_format = STATEMENT", "CREATE TEMPORARY TABLE tmp SELECT * FROM t", "CREATE TABLE late (id INT PRIMARY KEY) AS SELECT id FROM other")
			wantRefusal(t, r.fails(), "a statement instead of the rows that it changed in table "+cfg.Tables[1].String(), "binlog_format = ROW")
			if cfg.Flavor != MariaDB {
				return
			}
			for _, sql := range []string{"ANALYZE FORMAT=JSON UPDATE t SET id = 5", "SET STATEMENT lock_wait_timeout = 5 FOR INSERT INTO t VALUES (6)"} {
				r := openSource(t, changesOnly(cfg))
				exec(sql)
				wantRefusal(t, r.fails(), "a statement instead of the rows that it changed in table "+cfg.Tables[0].String(), "binlog_format = ROW")
			}
		})
	}
}
