package replicationtest

import (
	"fmt"
	"slices"
	"strings"

	"cdc/replication"
)

func testRollback(w *world) {
	w.exec(createT)
	r := w.capture("t")
	w.exec(
		"BEGIN", insert("t", 1, "gone"), "ROLLBACK",
		"BEGIN",
		insert("t", 2, "kept"),
		"SAVEPOINT a",
		insert("t", 3, "gone"),
		"UPDATE t SET s = 'gone' WHERE id = 2",
		"SAVEPOINT b",
		insert("t", 4, "gone"),
		"ROLLBACK TO SAVEPOINT a",
		insert("t", 5, "kept"),
		"SAVEPOINT c",
		insert("t", 6, "kept"),
		"RELEASE SAVEPOINT c",
		"COMMIT",
		"BEGIN", "SAVEPOINT a", insert("t", 7, "gone"), "ROLLBACK TO SAVEPOINT a", "COMMIT",
	)
	r.settle()
	r.checkOrder(r.events)
	for _, e := range r.events {
		if e.tx != r.events[0].tx {
			w.Errorf("%s: the transaction is %s, want %s", e.text, e.tx, r.events[0].tx)
		}
	}
	r.want(`insert t id=2 s="kept"`, `insert t id=5 s="kept"`, `insert t id=6 s="kept"`)
}

func testManyTables(w *world) {
	const tables = 12
	var names, want []string
	for i := range tables {
		name := fmt.Sprintf("t%d", i)
		w.exec("CREATE TABLE " + name + " (id INT PRIMARY KEY, n INT)")
		names = append(names, name)
	}
	w.exec("CREATE TABLE other (id INT PRIMARY KEY)") // not captured
	r := w.capture(names...)
	w.exec("BEGIN")
	for round := range 3 {
		for i, name := range names {
			w.exec(insert(name, round, i), insert("other", round*tables+i))
			want = append(want, fmt.Sprintf("insert %s id=%d n=%d", name, round, i))
		}
	}
	for i, name := range names {
		if i%2 == 0 {
			w.exec("UPDATE "+name+" SET n = 100 WHERE id = 1", "DELETE FROM "+name+" WHERE id = 2")
			want = append(want, fmt.Sprintf("update %s id=1 n=100", name), fmt.Sprintf("delete %s id=2", name))
		}
	}
	w.exec("COMMIT")
	r.settle()
	for _, e := range r.events {
		if e.tx != r.events[0].tx {
			w.Fatalf("%s: the transaction is %s, want %s", e.text, e.tx, r.events[0].tx)
		}
	}
	for i := 1; i < len(r.events); i++ { // changes of tables that are not captured may have numbers, too
		if r.events[i].index <= r.events[i-1].index {
			w.Fatalf("%s has index %d after %d", r.events[i].text, r.events[i].index, r.events[i-1].index)
		}
	}
	r.want(want...)
}

// testCommitOrder has transactions that overlap: they come in the order of
// their commits, each whole, and a Position never lies inside one.
func testCommitOrder(w *world) {
	w.exec(createT)
	r := w.capture("t")
	a, b, c := w.session(), w.session(), w.session()
	w.in(a, "BEGIN", insert("t", 1, "a"))
	w.in(b, "BEGIN", insert("t", 2, "b"))
	w.in(c, "BEGIN", insert("t", 3, "c"))
	w.exec(insert("t", 4, "alone"))
	w.in(a, insert("t", 5, "a"))
	w.in(c, insert("t", 6, "c"), "COMMIT")
	w.in(b, insert("t", 7, "b"), "ROLLBACK")
	w.exec(insert("t", 8, "alone"))
	w.in(a, insert("t", 9, "a"), "COMMIT")
	r.settle()
	r.checkOrder(r.events)
	r.want(
		`insert t id=4 s="alone"`,
		`insert t id=3 s="c"`, `insert t id=6 s="c"`,
		`insert t id=8 s="alone"`,
		`insert t id=1 s="a"`, `insert t id=5 s="a"`, `insert t id=9 s="a"`,
	)
}

const createL = "CREATE TABLE l (id INT PRIMARY KEY, pad VARCHAR(500))"

// pad is the pad of a row in l.
func pad(id int) string { return fmt.Sprintf("%0400d", id) }

// insertMany returns statements that insert the rows from to to-1 into l.
func insertMany(from, to int) []string {
	const rows = 1000
	var all []string
	for ; from < to; from += rows {
		var b strings.Builder
		b.WriteString("INSERT INTO l VALUES ")
		for i := from; i < min(from+rows, to); i++ {
			if i > from {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "(%d,'%s')", i, pad(i))
		}
		all = append(all, b.String())
	}
	return all
}

// largeRows times 400 bytes are many batches of largeBatch, and more than a
// source and its connection hold of them.
const (
	largeRows  = 20_000
	largeBatch = 64 << 10
)

// testLarge has small transactions before, inside and after a large one.
func testLarge(w *world) {
	w.exec(createL, createT)
	r := w.open(Options{Tables: []string{"l", "t"}, BatchBytes: largeBatch})
	other := w.session()
	w.exec(insert("t", 1, "before"), "BEGIN")
	for i, sql := range insertMany(0, largeRows) {
		w.exec(sql)
		if i == 10 {
			w.in(other, insert("t", 2, "inside"))
		}
	}
	w.exec("COMMIT", insert("t", 3, "after"))
	r.drainLarge(nil)
	r.want(`insert t id=1 s="before"`, `insert t id=2 s="inside"`, large, `insert t id=3 s="after"`)
}

// large is what drainLarge writes down of the large transaction.
const large = "large transaction"

// drainLarge reads up to the end of the large transaction, calls each (if there
// is one) after its batches, and checks it: whole, in order, in many batches of
// the size that was asked for, without a Position before its end.
func (r *reader) drainLarge(each func(rows int)) {
	w := r.w
	w.Helper()
	rows, batches := 0, 0
	for rows < largeRows {
		b := r.next()
		here := 0
		for i := range b.Changes {
			c := &b.Changes[i]
			if c.Table.Name != "l" {
				continue
			}
			if got := c.After[0].Int(); got != int64(rows+here) || c.Index != uint64(rows+here) {
				w.Fatalf("row %d has id %d and index %d", rows+here, got, c.Index)
			}
			here++
		}
		if here > 0 {
			batches++
		}
		if b.Bytes > 2*largeBatch {
			w.Errorf("a batch has %d bytes, the budget is %d", b.Bytes, largeBatch)
		}
		r.note(b)
		// One that begins inside the transaction, and does not end it, has no boundary.
		if b.Position != "" && rows > 0 && here == len(b.Changes) && rows+here < largeRows {
			w.Errorf("after %d of %d rows of a transaction there is a Position: %s", rows+here, largeRows, b.Position)
		}
		b.Release()
		rows += here
		if each != nil {
			each(rows)
		}
	}
	if batches < 8 {
		w.Errorf("%d rows came in %d batches", rows, batches)
	}
	first := slices.IndexFunc(r.events, func(e event) bool { return e.table.Name == "l" })
	r.events[first].text = large
	r.events = slices.DeleteFunc(r.events, func(e event) bool { return e.table.Name == "l" && e.text != large })
}

// testRelease holds batches while others come: what they lent stays as it was.
func testRelease(w *world) {
	w.exec(createL)
	r := w.open(Options{Tables: []string{"l"}, BatchBytes: 4 << 10})
	type held struct {
		b     *replication.Batch
		lines []string
	}
	var all []held
	total, id := 0, 0
	for len(all) < 3 {
		w.exec(insertMany(id, id+8)...)
		for id += 8; total < id; {
			b := r.next()
			h := held{b: b}
			for i := range b.Changes {
				h.lines = append(h.lines, describe(&b.Changes[i]))
			}
			total += len(b.Changes)
			if len(b.Changes) == 0 {
				b.Release()
				continue
			}
			all = append(all, h)
		}
	}
	for _, h := range all {
		for i := range h.b.Changes {
			if got := describe(&h.b.Changes[i]); got != h.lines[i] {
				w.Errorf("a batch that was not released changed from %s to %s", h.lines[i], got)
			}
		}
	}
	for _, h := range all {
		h.b.Release()
	}
	w.exec(insertMany(id, id+8)...)
	r.settle()
	if n := len(r.events); n != 8 {
		w.Errorf("after the release came %d changes, want 8", n)
	}
}

// testColumns alters a table while it is read, and again before anything is
// read: each row has the columns it was written with.
func testColumns(w *world) {
	rename := w.Dialect().RenameColumn
	w.exec(createT)
	r := w.capture("t")
	alter := []struct{ sql, row, want string }{
		{"", insert("t", 1, "a"), `insert t id=1 s="a"`},
		{"ALTER TABLE t ADD COLUMN n INT DEFAULT 7", insert("t", 2, "b", nil), `insert t id=2 s="b" n=null`},
		{"ALTER TABLE t ADD COLUMN m BIGINT", insert("t", 3, "c", 3, 33), `insert t id=3 s="c" n=3 m=33`},
		{rename("t", "n", "number", "INT"), insert("t", 4, "d", 4, 44), `insert t id=4 s="d" number=4 m=44`},
		{"ALTER TABLE t DROP COLUMN s", insert("t", 5, 5, 55), `insert t id=5 number=5 m=55`},
		{rename("t", "m", "n", "BIGINT"), insert("t", 6, 6, 66), `insert t id=6 number=6 n=66`},
		{"ALTER TABLE t DROP COLUMN n", insert("t", 7, 7), `insert t id=7 number=7`},
	}
	var all []string
	for _, a := range alter {
		if a.sql != "" {
			w.exec(a.sql)
		}
		w.exec(a.row)
		r.want(a.want)
		all = append(all, a.want)
	}
	w.exec("UPDATE t SET number = 70 WHERE id = 7", "DELETE FROM t WHERE id = 1")
	r.want(`update t id=7 number=70`, `delete t id=1`)

	r.close()
	w.exec("DROP TABLE t", "CREATE TABLE u (id INT PRIMARY KEY, s VARCHAR(100))")
	late := w.capture("u")
	in := func(s string) string {
		return strings.NewReplacer("TABLE t ", "TABLE u ", "INTO t ", "INTO u ").Replace(s)
	}
	alter[3].sql, alter[5].sql = rename("u", "n", "number", "INT"), rename("u", "m", "n", "BIGINT")
	for i, a := range alter {
		if a.sql != "" {
			w.exec(in(a.sql))
		}
		w.exec(in(a.row))
		all[i] = strings.Replace(all[i], "insert t", "insert u", 1)
	}
	late.want(all...)
}
