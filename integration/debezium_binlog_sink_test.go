package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cdc/internal/services"
	"cdc/internal/servicetest"
)

// binlogSinkColumns are a column each, a value, and the expressions that print it
// in the source, in PostgreSQL and in MySQL.
var binlogSinkColumns = []struct {
	typ, value, source, postgres, mysql string
	kind                                kind
}{
	{"tinyint", "-3", "{}", "{}", "{}", exactly},
	{"tinyint unsigned", "200", "{}", "{}", "{}", exactly},
	{"smallint unsigned", "60000", "{}", "{}", "{}", exactly},
	{"mediumint", "-70000", "{}", "{}", "{}", exactly},
	{"int unsigned", "4000000000", "{}", "{}", "{}", exactly},
	{"bigint", "-9223372036854775808", "{}", "{}", "{}", exactly},
	{"bigint unsigned", "9223372036854775807", "{}", "{}", "{}", exactly},
	{"float", "1.5", "{}", "{}", "{}", asDouble},
	{"double", "1e300", "{}", "{}", "{}", asDouble},
	{"decimal(65,30)", "-1.000000000000000000000000000001", "{}", "{}", "{}", asNumber},
	{"bit(1)", "b'1'", "{}+0", "{}::int", "{}+0", exactly},
	{"bit(10)", "b'1010101010'", "LPAD(BIN({}), 10, '0')", "{}::text", "{}", exactly},
	{"varchar(20) CHARACTER SET latin1", "'v e'", "{}", "{}", "{}", exactly},
	{"longtext", "REPEAT('text ', 2000)", "CONCAT(LENGTH({}), RIGHT({}, 9))", "length({}) || right({}, 9)", "CONCAT(LENGTH({}), RIGHT({}, 9))", exactly},
	{"binary(4)", "x'0102'", "LOWER(HEX({}))", "encode({}, 'hex')", "LOWER(HEX({}))", exactly},
	{"blob", "x'00ff'", "LOWER(HEX({}))", "encode({}, 'hex')", "LOWER(HEX({}))", exactly},
	{"date", "'1000-01-01'", "{}", "to_char({}, 'YYYY-MM-DD')", "{}", exactly},
	{"time(6)", "'23:59:59.123456'", "{}", "to_char({}, 'HH24:MI:SS.US')", "{}", exactly},
	{"datetime", "'9999-12-31 23:59:59'", "{}", "to_char({}, 'YYYY-MM-DD HH24:MI:SS')", "DATE_FORMAT({}, '%Y-%m-%d %H:%i:%s')", exactly},
	{"datetime(6)", "'2024-02-29 10:11:12.123456'", "{}", "to_char({}, 'YYYY-MM-DD HH24:MI:SS.US')", "{}", exactly},
	{"timestamp(6) NULL", "'2024-02-29 10:11:12.123456'", "{}", "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')", "{}", exactly},
	{"year", "2024", "{}", "{}", "{}", exactly},
	{"enum('a','b')", "'b'", "{}", "{}", "{}", exactly},
	{"set('x','y','z')", "'x,z'", "{}", "{}", "{}", exactly},
	{"json", `'{"a": [1, 2.5, "x"]}'`, "{}", "{}", "{}", asJSON},
}

// TestSinkReadsDebeziumBinlog: records of Debezium's connectors for MySQL and
// MariaDB, and ours of the same format, become the same tables in PostgreSQL and
// in MySQL as the source has.
func TestSinkReadsDebeziumBinlog(t *testing.T) {
	for _, version := range []string{services.MySQL9, services.MariaDB118} {
		t.Run(version, func(t *testing.T) {
			source := newSide(t, version)
			w := emptyWorld(t, source.url)
			var defs, names, values []string
			for i, c := range binlogSinkColumns {
				n := fmt.Sprintf("c%d", i)
				defs, names, values = append(defs, n+" "+c.typ), append(names, n), append(values, c.value)
			}
			insert := func(id int) string {
				return fmt.Sprintf("INSERT INTO whole (id, %s) VALUES (%d, %s)", strings.Join(names, ", "), id, strings.Join(values, ", "))
			}
			source.exec(t, "CREATE TABLE whole (id int PRIMARY KEY, "+strings.Join(defs, ", ")+")",
				"CREATE TABLE moved (b date, a int, v text, PRIMARY KEY (a, b))", insert(1), "INSERT INTO moved VALUES ('2024-01-01', 1, 'a'), ('2024-01-02', 2, 'b')")
			prefix := servicetest.Name(t, "dbz")
			binlogByDebezium(t, source, prefix, nil)
			ours := w.binlogByOurs(t, source, []string{"whole", "moved"}, "  truncate: record\n")

			var targets []*side
			var b strings.Builder
			fmt.Fprintf(&b, "name: %s\nkafka:\n  brokers: [%s]\nregistry:\n  url: %s\nadmin: {listen: off}\nsinks:\n", w.name, strings.Join(w.brokers, ", "), w.registry)
			for i, writer := range []string{prefix, w.name} {
				for _, server := range []string{"postgres", services.MySQL9} {
					target := newSide(t, server)
					targets = append(targets, target)
					topic := writer + "." + w.database() + "."
					fmt.Fprintf(&b, "  - name: %s-%d-%s\n    topics: [%swhole, %smoved]\n    %s:\n      url: %s\n", w.name, i, target.family, topic, topic, target.family, target.url)
				}
			}
			file := filepath.Join(w.dir, "sinks.yaml")
			if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			sinks := start(t, binary, "sink", "--config", file)
			for _, work := range [][]string{
				nil,
				{insert(2), "INSERT INTO whole (id) VALUES (3)"},
				{"UPDATE whole SET c0 = 5, c12 = 'vé €', c22 = 'a' WHERE id = 2", "UPDATE moved SET a = 20, b = '2025-01-01' WHERE a = 2", "UPDATE whole SET id = 30 WHERE id = 3"},
				{"DELETE FROM whole WHERE id = 1", "DELETE FROM moved WHERE a = 1", "INSERT INTO moved VALUES ('2024-06-01', 7, 'n'), ('2024-06-01', 8, 'n')"},
				{"TRUNCATE TABLE moved", "INSERT INTO moved VALUES ('2024-01-01', 9, 'after the truncate')"},
			} {
				source.exec(t, work...)
				for i, target := range targets {
					eventually(t, time.Minute, fmt.Sprintf("target %d (%s) is as the source", i, target.family), func() error {
						return sameBinlog(t, source, target)
					}, ours, sinks)
				}
			}
		})
	}
}

func sameBinlog(t *testing.T, source, target *side) error {
	t.Helper()
	exprs, read := []string{"id"}, []string{"id"}
	kinds := []kind{exactly}
	for i, c := range binlogSinkColumns {
		n := fmt.Sprintf("c%d", i)
		to := c.postgres
		if target.my != nil {
			to = c.mysql
		}
		exprs, read, kinds = append(exprs, strings.ReplaceAll(c.source, "{}", n)), append(read, strings.ReplaceAll(to, "{}", n)), append(kinds, c.kind)
	}
	date := "b"
	if target.my == nil {
		date = "to_char(b, 'YYYY-MM-DD')"
	}
	for _, q := range [][2]string{
		{"SELECT " + strings.Join(exprs, ", ") + " FROM whole ORDER BY id", "SELECT " + strings.Join(read, ", ") + " FROM whole ORDER BY id"},
		{"SELECT a, b, v FROM moved ORDER BY a", "SELECT a, " + date + ", v FROM moved ORDER BY a"},
	} {
		want, err := source.query(t.Context(), q[0])
		if err != nil {
			return fmt.Errorf("source: %w", err)
		}
		got, err := target.query(t.Context(), q[1])
		if err != nil {
			return fmt.Errorf("target: %w", err)
		}
		if len(got) != len(want) {
			return fmt.Errorf("%d rows instead of %d", len(got), len(want))
		}
		for r := range want {
			for i := range want[r] {
				k := exactly
				if len(want[r]) == len(kinds) {
					k = kinds[i]
				}
				if w, g := k.normal(want[r][i]), k.normal(got[r][i]); w != g {
					return fmt.Errorf("row %s, column %d: %q became %q", want[r][0], i, w, g)
				}
			}
		}
	}
	return nil
}
