package replicationtest

import (
	"fmt"
	"strings"

	"cdc/replication"
)

// scenarios are the rows of the report. Those that run alone come last.
var scenarios = []scenario{
	{name: "insert, update, delete", run: testRows},
	{name: "several rows in one statement", run: testManyRows},
	{name: "change of a key", run: testKeyChange},
	{name: "key of several columns", run: testWideKey},
	{name: "truncate", run: testTruncate},
	{name: "NULL and defaults", run: testNull},
	{name: "texts", run: testTexts},
	{name: "names that need quotes", run: testNames},
	{name: "rolled back transactions and savepoints", run: testRollback},
	{name: "many tables in a transaction", run: testManyTables},
	{name: "order of commits", run: testCommitOrder},
	{name: "transaction larger than a batch", run: testLarge},
	{name: "large transactions interleaved and cut", run: testInterleaved},
	{name: "batches stay until released", run: testRelease},
	{name: "columns added, renamed, dropped", run: testColumns},
	{name: "snapshot equals stream", run: testSnapshotValues},
	{name: "snapshot and stream under load", run: testSnapshotLoad},
	{name: "snapshot broken off starts again", run: testSnapshotAgain},
	{name: "table added to the configuration", run: testTableAdded},
	{name: "resume at every position", run: testResume},
	{name: "resume inside a large transaction", run: testResumeInside},
	{name: "idle tables: the position moves on", run: testIdle},
	{name: "wait can be interrupted", run: testInterrupt},
	{name: "connection cut under load", run: testCut},
	{name: "connection cut in a large transaction", run: testCutInside},
	{name: "server restarted under load", run: testRestart, alone: true},
	{name: "server killed under load", run: testCrash, alone: true},
}

const createT = "CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(100))"

func testRows(w *world) {
	w.exec(createT)
	r := w.capture("t")
	w.exec(
		insert("t", 1, "one"),
		insert("t", 2, "two"),
		"UPDATE t SET s = 'uno' WHERE id = 1",
		"DELETE FROM t WHERE id = 2",
		"UPDATE t SET s = 'x' WHERE id = 2", // no row
		insert("t", 2, "again"),
		"DELETE FROM t WHERE id = 1",
	)
	r.settle()
	r.checkOrder(r.events)
	for _, e := range r.events {
		if len(e.table.Key) != 1 || e.table.Columns[e.table.Key[0]].Name != "id" {
			w.Fatalf("%s: the key is %v", e.text, e.table.Key)
		}
		if e.table != r.events[0].table {
			w.Fatal("one shape, two tables")
		}
	}
	r.want(
		`insert t id=1 s="one"`,
		`insert t id=2 s="two"`,
		`update t id=1 s="uno"`,
		`delete t id=2`,
		`insert t id=2 s="again"`,
		`delete t id=1`,
	)
}

func testManyRows(w *world) {
	w.exec(createT)
	r := w.capture("t")
	w.exec(
		"INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
		"UPDATE t SET s = 'z' WHERE id >= 2",
		"DELETE FROM t",
	)
	r.settle()
	r.checkOrder(r.events)
	txs := map[string]int{}
	for _, e := range r.events {
		txs[e.tx]++
	}
	if len(txs) != 3 {
		w.Errorf("changes by transaction: %v, want 3 transactions", txs)
	}
	r.want(
		`insert t id=1 s="a"`, `insert t id=2 s="b"`, `insert t id=3 s="c"`,
		`update t id=2 s="z"`, `update t id=3 s="z"`,
		`delete t id=1`, `delete t id=2`, `delete t id=3`,
	)
}

func testKeyChange(w *world) {
	w.exec(createT)
	r := w.capture("t")
	w.exec(
		insert("t", 1, "a"),
		"UPDATE t SET id = 5 WHERE id = 1",
		"UPDATE t SET id = 6, s = 'b'",
		"UPDATE t SET s = 'c'",
		"DELETE FROM t",
	)
	r.want(
		`insert t id=1 s="a"`,
		`update t (id=1) id=5 s="a"`,
		`update t (id=5) id=6 s="b"`,
		`update t id=6 s="c"`,
		`delete t id=6`,
	)
}

func testWideKey(w *world) {
	w.exec("CREATE TABLE k (v INT, b VARCHAR(10), a INT, PRIMARY KEY (a, b))")
	r := w.capture("k")
	w.exec(
		insert("k", 1, "x", 10),
		insert("k", 2, "x", 11),
		"UPDATE k SET v = 3 WHERE a = 10",
		"UPDATE k SET b = 'y' WHERE a = 11",
		"DELETE FROM k WHERE a = 11",
	)
	r.settle()
	key := r.events[0].table.Key
	if fmt.Sprint(key) != "[2 1]" {
		w.Errorf("the key is %v, want the columns a and b in this order", key)
	}
	r.want(
		`insert k v=1 b="x" a=10`,
		`insert k v=2 b="x" a=11`,
		`update k v=3 b="x" a=10`,
		`update k (a=11 b="x") v=2 b="y" a=11`,
		`delete k a=11 b="y"`,
	)
}

func testTruncate(w *world) {
	w.exec(createT, "CREATE TABLE other (id INT PRIMARY KEY)")
	r := w.capture("t")
	w.exec(
		insert("t", 1, "a"),
		"TRUNCATE TABLE t",
		"TRUNCATE TABLE other",
		insert("t", 1, "b"),
		"TRUNCATE TABLE t",
		"TRUNCATE TABLE t",
	)
	want := []string{`insert t id=1 s="a"`, `truncate t`, `insert t id=1 s="b"`, `truncate t`, `truncate t`}
	if w.Dialect().DDLInTransaction {
		w.exec("BEGIN", insert("t", 2, "c"), "TRUNCATE TABLE t", insert("t", 3, "d"), "COMMIT")
		w.exec("BEGIN", "TRUNCATE TABLE t", "ROLLBACK")
		want = append(want, `insert t id=2 s="c"`, `truncate t`, `insert t id=3 s="d"`)
	}
	r.want(want...)
}

// testNull writes NULL into a column with a default.
func testNull(w *world) {
	w.exec("CREATE TABLE n (id INT PRIMARY KEY, a INT DEFAULT 5, s VARCHAR(10) DEFAULT 'd', e VARCHAR(10))",
		"INSERT INTO n (id) VALUES (1)",
		insert("n", 2, nil, nil, ""))
	r := w.open(Options{Tables: []string{"n"}, Snapshot: true})
	w.exec(
		"INSERT INTO n (id) VALUES (3)",
		insert("n", 4, nil, nil, ""),
		"UPDATE n SET a = NULL, e = '' WHERE id = 3",
	)
	r.want(
		`read n id=1 a=5 s="d" e=null`,
		`read n id=2 a=null s=null e=""`,
		`insert n id=3 a=5 s="d" e=null`,
		`insert n id=4 a=null s=null e=""`,
		`update n id=3 a=null s="d" e=""`,
	)
}

// testTexts has what a text form, a copy or a message could trip over.
func testTexts(w *world) {
	texts := []string{
		"", " ", "null", "NULL", "a,b", "tab\there", "line\nfeed", "carriage\rreturn", `"quoted"`, "it''s",
		"{1,2}", "(a,b)", "0", "ä", "漢字", "😀 and 👩‍👩‍👧", "\u00a0\u200b", "\x01\x1f\x7f", strings.Repeat("long ", 1000),
	}
	w.exec("CREATE TABLE x (id INT PRIMARY KEY, s TEXT)")
	r := w.capture("x")
	var want []string
	for i, s := range texts {
		w.exec(insert("x", i, s))
		want = append(want, fmt.Sprintf("insert x id=%d s=%s", i, replication.StringValue(replication.KindString, strings.ReplaceAll(s, "''", "'"))))
	}
	r.want(want...)
}

func testNames(w *world) {
	table, column := "Über Tisch.\"x\" `y`", "Spalte 'a', \"b\" `c`"
	q := w.Dialect().Quote
	w.exec("CREATE TABLE " + q(table) + " (id INT PRIMARY KEY, " + q(column) + " INT)")
	w.exec(insert(q(table), 1, 1))
	r := w.open(Options{Tables: []string{table}, Snapshot: true})
	w.exec(insert(q(table), 2, 2), "UPDATE "+q(table)+" SET "+q(column)+" = 3 WHERE id = 2", "DELETE FROM "+q(table)+" WHERE id = 2")
	r.want(
		`read `+table+` id=1 `+column+`=1`,
		`insert `+table+` id=2 `+column+`=2`,
		`update `+table+` id=2 `+column+`=3`,
		`delete `+table+` id=2`,
	)
}
