package replicationtest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"cdc/replication"
)

// testSnapshotValues writes the same cells before and after the source is
// opened.
func testSnapshotValues(w *world) {
	w.exec("CREATE TABLE v (id INT PRIMARY KEY, i INT, b BIGINT, f DOUBLE PRECISION, d DECIMAL(20,5), s VARCHAR(50), t TEXT)")
	rows := [][]any{
		{0, -1, 1.5, 0.00001, "a", "b"},
		{-2147483648, int64(-9223372036854775808), -1e100, "-999999999999999.99999", "", ""},
		{2147483647, int64(9223372036854775807), 1e-7, "123456789012345.67890", "ä\t\n", strings.Repeat("x", 3000)},
		{nil, nil, nil, nil, nil, nil},
	}
	for i, row := range rows {
		w.exec(insert("v", append([]any{i}, row...)...))
	}
	r := w.open(Options{Tables: []string{"v"}, Snapshot: true})
	for i, row := range rows {
		w.exec(insert("v", append([]any{100 + i}, row...)...))
	}
	r.settle()
	lines := r.lines()
	if len(lines) != 2*len(rows) {
		w.Fatalf("%d changes, want %d: %q", len(lines), 2*len(rows), lines)
	}
	for i := range rows {
		read := strings.Replace(lines[i], fmt.Sprintf("read v id=%d", i), fmt.Sprintf("insert v id=%d", 100+i), 1)
		if diff := cmp.Diff(read, lines[len(rows)+i]); diff != "" {
			w.Errorf("snapshot (-) and stream (+) differ:\n%s", diff)
		}
	}
	if !strings.Contains(lines[1], "b=-9223372036854775808") || !strings.Contains(lines[1], "d=-999999999999999.99999") ||
		!strings.Contains(lines[2], "b=9223372036854775807") || !strings.Contains(lines[3], "i=null b=null f=null d=null s=null t=null") {
		w.Errorf("the values are not what was written: %q", lines)
	}
}

// writer changes rows of table m (id, v) until its context ends: every change
// of a row gives it a higher v, also over a deletion. Some transactions are
// rolled back.
func writer(ctx context.Context, s Session, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	base := int(seed) * 1000 // rows of its own, so that no writer waits for another
	there := map[int]bool{}
	for v := 1; ctx.Err() == nil; v++ {
		next := map[int]bool{}
		statements := []string{"BEGIN"}
		for range 1 + rng.IntN(5) {
			id := base + rng.IntN(60)
			exists, known := next[id]
			if !known {
				exists = there[id]
			}
			switch {
			case !exists:
				statements = append(statements, insert("m", id, v))
				next[id] = true
			case rng.IntN(4) == 0:
				statements = append(statements, fmt.Sprintf("DELETE FROM m WHERE id = %d", id))
				next[id] = false
			default:
				statements = append(statements, fmt.Sprintf("UPDATE m SET v = %d WHERE id = %d", v, id))
				next[id] = true
			}
			v++
		}
		if rng.IntN(6) == 0 {
			statements = append(statements, "ROLLBACK")
		} else {
			statements = append(statements, "COMMIT")
			maps.Copy(there, next)
		}
		for _, sql := range statements {
			if err := s.Exec(context.WithoutCancel(ctx), sql); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
		}
	}
	return nil
}

// writers runs n writers in sessions of their own until stop is called, which
// returns when they have ended.
func (w *world) writers(n int) (stop func()) {
	w.Helper()
	ctx, cancel := context.WithCancel(w.ctx)
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		s := w.session()
		wg.Go(func() { errs[i] = writer(ctx, s, uint64(i+1)) })
	}
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				w.Errorf("writer: %v", err)
			}
		}
	})
	w.Cleanup(stop)
	return stop
}

const createM = "CREATE TABLE m (id INT PRIMARY KEY, v INT)"

// mirror is table m as the changes make it.
type mirror struct {
	w    *world
	rows map[int64]int64
	high map[int64]int64 // the newest v of each row, also of one that is gone
}

func newMirror(w *world) *mirror {
	return &mirror{w: w, rows: map[int64]int64{}, high: map[int64]int64{}}
}

// apply applies a change that must fit: no row is inserted that is there, none
// deleted that is not, and v only grows.
func (m *mirror) apply(c *replication.Change) {
	m.w.Helper()
	if c.Table.Name != "m" {
		return
	}
	row := c.After
	if row == nil {
		row = c.Before
	}
	id := row[0].Int()
	_, exists := m.rows[id]
	switch c.Op {
	case replication.OpRead, replication.OpInsert:
		if exists {
			m.w.Fatalf("%s of a row that is there", describe(c))
		}
	case replication.OpUpdate, replication.OpDelete:
		if !exists {
			m.w.Fatalf("%s of a row that is not there", describe(c))
		}
	default:
		m.w.Fatalf("unexpected %s", describe(c))
	}
	if c.After == nil {
		delete(m.rows, id)
		return
	}
	v := c.After[1].Int()
	if v <= m.high[id] {
		m.w.Fatalf("%s after v=%d", describe(c), m.high[id])
	}
	m.rows[id], m.high[id] = v, v
}

// compare compares the mirror with the table.
func (m *mirror) compare() {
	m.w.Helper()
	rows, err := m.w.sql.Query(m.w.ctx, "SELECT id, v FROM m ORDER BY id")
	m.w.fatal(err)
	var got, want []string
	for _, r := range rows {
		want = append(want, r[0]+"="+r[1])
	}
	ids := make([]int64, 0, len(m.rows))
	for id := range m.rows {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		got = append(got, fmt.Sprintf("%d=%d", id, m.rows[id]))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		m.w.Fatalf("the changes (+) do not make the table (-):\n%s", diff)
	}
}

// applyUntil applies changes until enough says so, asked after each batch.
func (r *reader) applyUntil(m *mirror, enough func() bool) {
	r.w.Helper()
	for !enough() {
		b := r.next()
		for i := range b.Changes {
			m.apply(&b.Changes[i])
		}
		r.note(b)
		b.Release()
	}
}

// applyRest applies all that is committed by now.
func (r *reader) applyRest(m *mirror) {
	r.w.Helper()
	id := r.w.nextFence()
	r.w.exec(insert(fence, id))
	want := fmt.Sprintf("insert fence id=%d", id)
	r.applyUntil(m, func() bool {
		return slices.ContainsFunc(r.events, func(e event) bool { return e.text == want })
	})
}

func testSnapshotLoad(w *world) {
	w.exec(createM)
	stop := w.writers(3)
	w.awaitRows("m", 100)
	r := w.open(Options{Tables: []string{"m"}, Snapshot: true, BatchBytes: 2 << 10})
	m := newMirror(w)
	r.applyUntil(m, func() bool { return len(r.events) > 1500 })
	stop()
	r.applyRest(m)
	m.compare()
	reads := 0
	for _, e := range r.events {
		if strings.HasPrefix(e.text, "read ") {
			reads++
		}
	}
	if reads < 50 || reads == len(r.events) {
		w.Errorf("%d of %d changes are of the snapshot", reads, len(r.events))
	}
}

// awaitRows waits until a table has n rows.
func (w *world) awaitRows(table string, n int) {
	w.Helper()
	for {
		rows, err := w.sql.Query(w.ctx, "SELECT count(*) FROM "+table)
		w.fatal(err)
		var have int
		if _, err := fmt.Sscan(rows[0][0], &have); err != nil {
			w.Fatal(err)
		}
		if have >= n {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-w.ctx.Done():
			w.Fatal(w.ctx.Err())
		}
	}
}

// testSnapshotAgain closes a source in the middle of its snapshot. Whoever has
// no Position of a whole snapshot gets all rows again, and no change is lost.
func testSnapshotAgain(w *world) {
	const rows = 3000
	w.exec(createL)
	w.exec(insertMany(0, rows)...)
	o := Options{Tables: []string{"l"}, Snapshot: true, BatchBytes: 8 << 10}
	r := w.open(o)
	r.until(func() bool { return len(r.events) > 0 })
	o.From = r.pos
	r.close()
	w.exec("DELETE FROM l WHERE id = 0", fmt.Sprintf("INSERT INTO l VALUES (%d, 'new')", rows))
	r = w.open(o)
	r.settle()
	have := map[string]int{}
	for _, e := range r.events {
		// What lies between the two may come as a change, too.
		if s, ok := strings.CutPrefix(e.text, "read "); ok {
			have[s]++
		}
	}
	if len(have) != rows {
		w.Errorf("%d rows were read, want %d", len(have), rows)
	}
	for s, n := range have {
		if n > 1 {
			w.Errorf("%s was read %d times", s, n)
		}
	}
	r.events = nil
	w.exec("UPDATE l SET pad = 'x' WHERE id = 1")
	r.want(`update l id=1 pad="x"`)
}

// testTableAdded captures other tables from a Position on: their rows are read,
// those of the first are not.
func testTableAdded(w *world) {
	w.exec(createT, insert("t", 1, "old"), "CREATE TABLE u (id INT PRIMARY KEY)", insert("u", 1), createM)
	o := Options{Tables: []string{"t"}, Snapshot: true}
	r := w.open(o)
	r.want(`read t id=1 s="old"`)
	o.From = r.pos
	r.s.Ack(r.pos)
	r.close()
	w.exec(insert("t", 2, "meanwhile"), insert("u", 2))
	o.Tables = append(o.Tables, "u")
	r = w.open(o)
	w.exec(insert("t", 3, "new"), insert("u", 3))
	r.settle()
	lines := r.lines()
	slices.Sort(lines)
	want := []string{`insert t id=2 s="meanwhile"`, `insert t id=3 s="new"`, `insert u id=3`, `read u id=1`, `read u id=2`}
	if diff := cmp.Diff(want, lines); diff != "" {
		w.Error(diff)
	}
	o.From = r.pos
	r.close()
	w.exec(insert("u", 4))
	stop := w.writers(3)
	w.awaitRows("m", 50)
	o.Tables = append(o.Tables, "m") // which is busy
	r = w.open(o)
	m := newMirror(w)
	r.applyUntil(m, func() bool { return len(r.events) > 500 })
	stop()
	r.applyRest(m)
	m.compare()
	if !slices.ContainsFunc(r.events, func(e event) bool { return e.text == "insert u id=4" }) {
		w.Error("a change of a table that was captured before is missing")
	}
}
