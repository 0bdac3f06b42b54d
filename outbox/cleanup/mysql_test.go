package cleanup

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"cdc/internal/services"
	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/replication/mysql"
	"cdc/secret"
)

// openMySQL returns a Store on an empty database of that version, the database's
// name, and what runs a statement and returns the first column of its rows,
// joined by commas.
func openMySQL(t *testing.T, version string) (store Store, database string, run func(sql string) string) {
	t.Helper()
	url := servicetest.MySQL(t, version)
	conn, err := servicetest.MySQLConn(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	run = func(sql string) string {
		t.Helper()
		r, err := conn.Execute(sql)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		var list []string
		if r.Resultset != nil {
			for i := range r.RowNumber() {
				cell, err := r.GetString(i, 0)
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, strings.Clone(cell))
			}
		}
		return strings.Join(list, ",")
	}
	database = run("SELECT database()")
	flavor := mysql.MySQL
	if strings.HasPrefix(version, "mariadb") {
		flavor = mysql.MariaDB
	}
	store, err = OpenMySQL(t.Context(), mysql.Config{
		Name: "test", Flavor: flavor, URL: secret.New(url), Tables: []mysql.TableConfig{{Schema: database, Name: "t"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close(t.Context()) })
	store.(*mysqlStore).settle = 0 // nothing else is written
	return store, database, run
}

// TestMySQLKeys deletes the rows that were found, of every type that a key may
// have, and no neighbour that a careless comparison takes for one of them.
func TestMySQLKeys(t *testing.T) {
	for _, version := range services.MySQLVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			store, database, run := openMySQL(t, version)
			keys := []struct{ columns, found, neighbours string }{
				// As floating-point numbers these are equal.
				{"a bigint, b bigint", "(9007199254740992, 9223372036854775806)", "(9007199254740993, 9223372036854775806), (9007199254740992, 9223372036854775807)"},
				{"a bigint unsigned", "(18446744073709551614)", "(18446744073709551615)"},
				{"a decimal(30, 2), b int", "(9007199254740992.01, 1)", "(9007199254740992.02, 1)"},
				{"a bit(64), b int", "(18446744073709551614, 1), (0, 1)", "(18446744073709551615, 1), (b'1000001', 1)"},
				{"a enum('x', '7', '1'), b int", "('7', 1)", "('1', 1), ('x', 1)"},
				// The bytes of one text are another text in another character set.
				{"a varchar(9) CHARACTER SET latin1 COLLATE latin1_bin, b int", "('Ã¤', 1), ('7', 1)", "('ä', 1), ('07', 1)"},
				{"a varchar(9) CHARACTER SET latin1", "('Ã¤'), ('7')", "('ä'), ('07')"},
				{"a varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "('it''s \\\\'), (''), ('💶')", "('its'), ('a')"},
				{"a varbinary(9), b int", "(x'00ff27', 1), ('', 1), ('7', 1)", "(x'00ff28', 1), ('07', 1)"},
				{"a datetime(6), b int", "('2026-01-31 12:30:00.123456', 1)", "('2026-01-31 12:30:00.123457', 1)"},
				{"a timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), b int", "('2026-01-31 12:30:00.123456', 1)", "('2026-01-31 12:30:00.123457', 1)"},
				{"a date, b time(6), c year", "('2026-01-31', '-12:00:00.5', 2026)", "('2026-01-31', '12:00:00.5', 2026), ('2026-01-31', '-12:00:00.5', 2027)"},
			}
			if strings.HasPrefix(version, "mariadb") {
				keys = append(keys, struct{ columns, found, neighbours string }{
					"a uuid, b inet6", "('00000000-0000-0000-0000-0000000000ff', '::1')", "('00000000-0000-0000-0000-0000000000fe', '::1'), ('00000000-0000-0000-0000-0000000000ff', '::2')",
				})
			}
			for i, k := range keys {
				name := fmt.Sprintf("t%d", i)
				var list []string
				for c := range strings.SplitSeq(k.columns, ", ") {
					if n, _, _ := strings.Cut(c, " "); len(n) == 1 {
						list = append(list, n)
					}
				}
				run(fmt.Sprintf("CREATE TABLE %s (%s, PRIMARY KEY (%s))", name, k.columns, strings.Join(list, ", ")))
				run(fmt.Sprintf("INSERT INTO %s VALUES %s", name, k.found))
				found := run("SELECT count(*) FROM " + name)
				rows, mark, err := store.Find(t.Context(), Table{Schema: database, Name: name}, 100)
				if err != nil || mark == "" || fmt.Sprint(rows.Len()) != found {
					t.Fatalf("%s: %v, mark %q", k.columns, err, mark)
				}
				run(fmt.Sprintf("INSERT INTO %s VALUES %s", name, k.neighbours))
				n, err := rows.Delete(t.Context(), 0, rows.Len())
				if err != nil || fmt.Sprint(n) != found {
					t.Errorf("%s: deleted %d of %s, %v", k.columns, n, found, err)
				}
				if left, want := run("SELECT count(*) FROM "+name), fmt.Sprint(strings.Count(k.neighbours, "(")); left != want {
					t.Errorf("%s: of %s neighbours %s are left", k.columns, want, left)
				}
			}
			// Another table takes the name, with the same keys.
			run("CREATE TABLE o (a int PRIMARY KEY)")
			run("INSERT INTO o VALUES (1), (2)")
			old, _, err := store.Find(t.Context(), Table{Schema: database, Name: "o"}, 100)
			if err != nil {
				t.Fatal(err)
			}
			for run("SELECT count(DISTINCT create_time) FROM information_schema.tables WHERE table_schema = database() AND table_name IN ('o', 'n')") != "2" {
				run("DROP TABLE IF EXISTS n") // tables know the second in which they were made
				run("CREATE TABLE n LIKE o")
			}
			run("INSERT INTO n VALUES (1), (2)")
			run("RENAME TABLE o TO p, n TO o")
			if n, err := old.Delete(t.Context(), 0, 2); n != 0 || err != nil {
				t.Errorf("deleted %d rows of another table, %v", n, err)
			}
			// A row that somebody has locked waits for the next round.
			rows, _, err := store.Find(t.Context(), Table{Schema: database, Name: "o"}, 100)
			if err != nil {
				t.Fatal(err)
			}
			run("BEGIN")
			run("UPDATE o SET a = 3 WHERE a = 2")
			if n, err := rows.Delete(t.Context(), 0, 2); n != 0 || err != nil {
				t.Errorf("deleted %d rows that are locked, %v", n, err)
			}
			run("ROLLBACK")
			if n, err := rows.Delete(t.Context(), 0, 2); n != 2 || err != nil {
				t.Errorf("deleted %d rows, %v", n, err)
			}
			// The table gets another key, in which more rows may have the old one.
			run("CREATE TABLE k (a int PRIMARY KEY, b int NOT NULL DEFAULT 0)")
			run("INSERT INTO k VALUES (1, 0)")
			table := Table{Schema: database, Name: "k"}
			before, _, err := store.Find(t.Context(), table, 100)
			if err != nil {
				t.Fatal(err)
			}
			run("ALTER TABLE k DROP PRIMARY KEY, ADD PRIMARY KEY (a, b)")
			run("INSERT INTO k VALUES (1, 1)")
			if n, err := before.Delete(t.Context(), 0, 1); n != 0 || err != nil {
				t.Errorf("deleted %d rows by a key that the table had before, %v", n, err)
			}
			after, _, err := store.Find(t.Context(), table, 1)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := after.Delete(t.Context(), 0, 1); n != 1 || err != nil {
				t.Errorf("deleted %d rows, %v", n, err)
			}
			if left := run("SELECT b FROM k"); left != "1" {
				t.Errorf("left is %q", left)
			}
			run("CREATE TABLE f (a double PRIMARY KEY)")
			_, _, err = store.Find(t.Context(), Table{Schema: database, Name: "f"}, 100)
			if r, ok := errors.AsType[*replication.Refusal](err); !ok || !strings.Contains(r.Problem, "column a of type double in its primary key") {
				t.Errorf("%v, want a refusal", err)
			}
		})
	}
}
