package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/replication"
)

// ids are the first columns of changes, with the kinds of those that are no reads.
func ids(changes []string) (list []string) {
	for _, c := range changes {
		kind, row, _ := strings.Cut(c, " ")
		_, row, _ = strings.Cut(row, "(")
		id, _, _ := strings.Cut(strings.TrimSuffix(row, ")"), ",")
		if kind != "read" {
			id = kind + " " + id
		}
		list = append(list, id)
	}
	return list
}

// TestOrderedSnapshotBreaksOff leaves the first snapshot of an outbox in the
// middle. What is committed meanwhile, gone from the table or not, comes out of
// the log, and nothing of it before what was committed earlier.
func TestOrderedSnapshotBreaksOff(t *testing.T) {
	for name, tt := range map[string]struct {
		table string
		key   func(n int) string
		first int // rows that are there at the first start
	}{
		"one column":  {`CREATE TABLE t (id bigint PRIMARY KEY, k text)`, func(n int) string { return fmt.Sprintf("%d, 'x'", n) }, 2000},
		"two columns": {`CREATE TABLE t (id numeric, k text, PRIMARY KEY (id, k))`, func(n int) string { return fmt.Sprintf("%d, 'it''s'", n) }, 2000},
		"partitions":  {`CREATE TABLE t (id bigint PRIMARY KEY, k text) PARTITION BY RANGE (id); CREATE TABLE p PARTITION OF t FOR VALUES FROM (0) TO (1000); CREATE TABLE q PARTITION OF t DEFAULT`, func(n int) string { return fmt.Sprintf("%d, 'x'", n) }, 2000},
		"no row":      {`CREATE TABLE t (id bigint PRIMARY KEY, k text)`, func(n int) string { return fmt.Sprintf("%d, 'x'", n) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newTestDB(t)
			d.exec(tt.table)
			insert := func(n int) { t.Helper(); d.exec(`INSERT INTO t VALUES (` + tt.key(n) + `)`) }
			for n := 1; n <= tt.first; n += 500 {
				var rows []string
				for i := n; i < n+500; i++ {
					rows = append(rows, "("+tt.key(i)+")")
				}
				d.exec(`INSERT INTO t VALUES ` + strings.Join(rows, ", "))
			}
			cfg := d.config("public.t")
			cfg.Tables[0].Keyless, cfg.Tables[0].Ordered = true, true
			cfg.BatchBytes = 4 << 10
			s := mustOpen(t, cfg)
			cfg.From = firstPosition(t, s)
			s.Ack(cfg.From)
			if tt.first > 0 {
				b, err := s.Next(testContext(t))
				if err != nil || len(b.Changes) == 0 || b.Position != "" {
					t.Fatalf("then come %d changes and position %q, %v", len(b.Changes), b.Position, err)
				}
				b.Release()
			}
			mustClose(t, s)

			// 3001 is gone before 3002 comes, of the same key: only the log has it.
			insert(3001)
			d.exec(`DELETE FROM t WHERE id = 3001`)
			insert(3002)
			var want []string
			for n := 1; n <= tt.first; n++ {
				want = append(want, fmt.Sprint(n))
			}
			want = append(want, "insert 3001", "delete 3001", "insert 3002")
			for range 2 { // the second time after it broke off once more
				s = mustOpen(t, cfg)
				if p := firstPosition(t, s); cfg.From != p {
					t.Errorf("the position %s became %s", cfg.From, p)
				}
				s.Ack(cfg.From)
				if tt.first > 0 {
					b, err := s.Next(testContext(t))
					if err != nil {
						t.Fatal(err)
					}
					b.Release()
				}
				mustClose(t, s)
			}
			s = mustOpen(t, cfg)
			r := readFrom(t, s)
			r.batch()
			s.Ack(cfg.From)
			if diff := cmp.Diff(want, ids(r.changes(len(want)))); diff != "" {
				t.Errorf("(-committed +handed out):\n%s", diff)
			}
			if p, err := parsePosition(r.position()); err != nil || p.Upto != nil || len(p.Tables) != 1 {
				t.Errorf("the last position is %+v, %v", p, err)
			}
		})
	}
}

// TestOrderedWaits: no row is handed out before the position that bounds them is
// saved.
func TestOrderedWaits(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)`)
	cfg := d.config("public.t")
	cfg.Tables[0].Keyless, cfg.Tables[0].Ordered = true, true
	s := mustOpen(t, cfg)
	first := firstPosition(t, s)
	s.Ack(replication.Position(strings.Replace(string(first), `"key":["1"]`, `"key":["0"]`, 1))) // another
	if s.rows.Load() != 0 || len(s.out) != 0 {
		t.Error("rows are out before the position is saved")
	}
	s.Ack(first)
	if got := readFrom(t, s).changes(1); got[0] != "read public.t (1)" {
		t.Error(got)
	}
}

// TestOrderedAnotherTable: the bound of a table that was dropped and made anew
// meanwhile says nothing of the new one.
func TestOrderedAnotherTable(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)`)
	cfg := d.config("public.t")
	cfg.Tables[0].Keyless, cfg.Tables[0].Ordered = true, true
	s := mustOpen(t, cfg)
	cfg.From = firstPosition(t, s)
	mustClose(t, s)
	d.exec(`DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)`)
	s = mustOpen(t, cfg)
	s.Ack(firstPosition(t, s))
	r := readFrom(t, s)
	if got := ids(r.changes(2)); got[0] != "1" || got[1] != "2" {
		t.Error(got)
	}
}

// TestOrderedSnapshotOfAnotherKey: after a snapshot that broke off the key has
// another type, in whose order the old bound would leave rows out.
func TestOrderedSnapshotOfAnotherKey(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (id bigint PRIMARY KEY, k text)`)
	d.exec(`INSERT INTO t VALUES (1, 'x'), (3, 'x'), (20, 'x')`)
	cfg := d.config("public.t")
	cfg.Tables[0].Keyless, cfg.Tables[0].Ordered = true, true
	opening := func() *Source {
		s := mustOpen(t, cfg)
		cfg.From = firstPosition(t, s)
		return s
	}
	mustClose(t, opening())
	d.exec(`ALTER TABLE t ALTER id TYPE text`)
	s := opening()
	s.Ack(cfg.From)
	b, err := s.Next(testContext(t))
	if err != nil || len(b.Changes) != 3 {
		t.Errorf("got %d rows of 3, %v", len(b.Changes), err)
	}
	if err == nil {
		b.Release()
	}
	mustClose(t, s)
}
