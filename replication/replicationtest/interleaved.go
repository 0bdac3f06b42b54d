package replicationtest

import (
	"fmt"
	"strings"

	"github.com/google/go-cmp/cmp"
)

// testInterleaved has large transactions that overlap, some of which go back on
// what they did, in part or whole. The connection is cut while they are open,
// and again and again while they are read: each comes once, whole, in the order
// of the commits.
func testInterleaved(w *world) {
	const rounds, rows = 3, 600
	var sessions [4]Session
	var tables []string // one for each: what is rolled back may leave locks behind
	var want [len(sessions)][]string
	for i := range sessions {
		tables = append(tables, fmt.Sprintf("l%d", i))
		w.exec(strings.Replace(createL, " l ", " "+tables[i]+" ", 1))
	}
	r := w.open(Options{Tables: tables, BatchBytes: 8 << 10})
	for i := range sessions {
		sessions[i] = w.session()
		w.in(sessions[i], "BEGIN")
	}
	insert := func(i, from, to int) {
		for _, sql := range insertMany(from, to) {
			w.in(sessions[i], strings.Replace(sql, " l ", " "+tables[i]+" ", 1))
		}
	}
	cut := func() {
		if _, err := w.db.Disconnect(w.ctx); err != nil {
			w.fatal(err)
		}
	}
	next := 0
	for range rounds {
		for i, s := range sessions {
			from := next
			next += 2 * rows
			insert(i, from, from+rows)
			w.in(s, "SAVEPOINT a")
			insert(i, from+rows, from+2*rows)
			if i%2 == 0 {
				w.in(s, "ROLLBACK TO SAVEPOINT a")
			}
			for id := from; id < from+(1+i%2)*rows; id++ {
				want[i] = append(want[i], fmt.Sprintf("insert %s id=%d pad=%q", tables[i], id, pad(id)))
			}
		}
		cut()
	}
	w.in(sessions[2], "COMMIT")
	w.in(sessions[3], "ROLLBACK")
	w.in(sessions[0], "COMMIT")
	w.in(sessions[1], "COMMIT")
	all := append(append(want[2], want[0]...), want[1]...)
	for n := 100; n < len(all); n += len(all) / 5 {
		r.until(func() bool { return len(r.events) >= n })
		cut()
	}
	r.settle()
	r.checkOrder(r.events)
	if diff := cmp.Diff(all, r.lines()); diff != "" {
		w.Fatalf("what came (+) is not what happened (-):\n%s", diff)
	}
}
