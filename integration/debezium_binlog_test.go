package integration

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cdc/internal/services"
	"cdc/internal/servicetest"
)

var binlogConnectors = map[string]string{"mysql": "io.debezium.connector.mysql.MySqlConnector", "mariadb": "io.debezium.connector.mariadb.MariaDbConnector"}

// binlogByDebezium starts a connector that reads a database of MySQL or MariaDB
// into topics prefix.database.table.
func binlogByDebezium(t *testing.T, source *side, prefix string, options map[string]string) *connector {
	t.Helper()
	u, err := url.Parse(source.url)
	if err != nil {
		t.Fatal(err)
	}
	config := map[string]string{
		"connector.class": binlogConnectors[source.family], "database.server.id": strconv.Itoa(freePort(t)),
		"database.include.list": strings.TrimPrefix(u.Path, "/"), "include.schema.changes": "false",
		"schema.history.internal": "io.debezium.relational.history.MemorySchemaHistory",
		// Else it looks at the tables of every database, and stops on the names of some tests' tables.
		"schema.history.internal.store.only.captured.databases.ddl": "true",
		"skipped.operations": "none",
	}
	maps.Copy(config, options)
	return runConnector(t, u, prefix, config)
}

// binlogByOurs writes a configuration of the format debezium for a database of
// MySQL or MariaDB, and runs it.
func (w *world) binlogByOurs(t *testing.T, source *side, tables []string, format string) *process {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nsource:\n  %s:\n    url: %s\ntables:\n", w.name, source.family, source.url)
	for _, table := range tables {
		fmt.Fprintf(&b, "  - table: %s.%q\n", w.database(), table)
		if table == "keyless" {
			b.WriteString("    key: none\n")
		}
	}
	fmt.Fprintf(&b, "map:\n  format: debezium\n%s", format)
	fmt.Fprintf(&b, "kafka:\n  brokers: [%s]\n  checkpoint_topic: %s_checkpoints\n", strings.Join(w.brokers, ", "), w.name)
	fmt.Fprintf(&b, "registry:\n  url: %s\nadmin:\n  listen: 127.0.0.1:%d\n", w.registry, freePort(t))
	file := filepath.Join(w.dir, "debezium.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, binary, "run", "--config", file)
}

// database is the name of the source's database.
func (w *world) database() string { return w.source[strings.LastIndexByte(w.source, '/')+1:] }

// TestDebeziumBinlog is TestDebezium with MySQL and MariaDB: a real Debezium and
// ours read one workload from one database, and each record is compared.
func TestDebeziumBinlog(t *testing.T) {
	for _, version := range []string{services.MySQL9, services.MariaDB118} {
		t.Run(version, func(t *testing.T) {
			source := newSide(t, version)
			w := emptyWorld(t, source.url)
			source.exec(t, "SET sql_mode = ''")
			tables := append(slices.Clone(binlogTables), binlogTablesOf[source.family]...)
			for _, table := range tables {
				source.exec(t, table.create...)
			}
			prefix := servicetest.Name(t, "dbz")
			binlogByDebezium(t, source, prefix, nil)
			var names []string
			for _, table := range tables {
				names = append(names, table.name)
			}
			p := w.binlogByOurs(t, source, names, "  truncate: record\n")
			topics := func(table binlogTable, want int) (theirs, ours []event) {
				name := "." + w.database() + "." + topicName(table.name)
				ours = readEvents(t, w, w.name+name, want, p)
				return readEvents(t, w, prefix+name, want), ours
			}
			for _, table := range tables { // both have read the snapshot
				if table.read > 0 {
					topics(table, table.read)
				}
			}
			c := newComparison()
			c.purpose, c.chance = maps.Clone(binlogPurpose), binlogSometimes
			maps.Copy(c.purpose, binlogPurposeOf[source.family])
			for _, table := range tables {
				source.exec(t, table.work...)
			}
			for _, table := range tables {
				theirs, ours := topics(table, table.records)
				c.topic(t, table.name, theirs, ours, prefix, w.name)
			}
			c.report(t)
			for path := range c.purpose {
				if !c.used[path] {
					t.Errorf("%s does not differ any more: take it out of the list", path)
				}
			}
		})
	}
}

// binlogPurpose are the differences that docs/debezium-mysql.md lists, by operation
// (* is any) and path.
var binlogPurpose = map[string]string{
	"* ts_ms": "when each read it",
	"* ts_us": "when each read it",
	"* ts_ns": "when each read it",

	"c after.en":        "Debezium's stream has a backslash before a comma in a label",
	"c after.ye":        "Debezium's stream has the year 0 for 1900",
	"r after.k6":        "Debezium's snapshot leaves out zeros at the end of a timestamp's fraction",
	"* value schema.an": "Debezium has a quote in a default twice",
	"t source.row":      "Debezium has the last row's before it",
}

// binlogPurposeOf are those of one family alone.
var binlogPurposeOf = map[string]map[string]string{
	"mysql": {
		"c after.js":     "ours is the server's text, as in the snapshot",
		"u after.js":     "ours is the server's text, as in the snapshot",
		"u before.js":    "ours is the server's text, as in the snapshot",
		"t source.ts_us": "Debezium has it in milliseconds",
		"t source.ts_ns": "Debezium has it in milliseconds",
	},
	"mariadb": {
		"c after.nts":        "Debezium has the zero timestamp with a fraction",
		"c after.ts":         "Debezium has the zero timestamp for a moment",
		"c after.ts6":        "Debezium has the zero timestamp for a moment",
		"* after.gen":        "MariaDB 11 leaves generated columns out of the log",
		"* after.gst":        "MariaDB 11 leaves generated columns out of the log",
		"* value schema.gen": "MariaDB 11 leaves generated columns out of the log",
		"* value schema.gst": "MariaDB 11 leaves generated columns out of the log",
	},
}

var binlogSometimes = map[string]string{
	"r source.ts_ms":    "when the snapshot was taken, by each its own",
	"r source.ts_us":    "when the snapshot was taken, by each its own",
	"r source.ts_ns":    "when the snapshot was taken, by each its own",
	"r source.pos":      "where the snapshot was taken, by each its own",
	"r source.file":     "where the snapshot was taken, by each its own",
	"r source.snapshot": "the last row of a table that is not the last is marked only when the next row is there already",
}
