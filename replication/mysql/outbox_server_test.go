package mysql

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/replication"
)

// next returns the next batch's position and first columns, those of changes
// that are no reads with their kind.
func (r *reading) next() (p replication.Position, list []string) {
	r.t.Helper()
	b, err := r.s.Next(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	defer b.Release()
	for i := range b.Changes {
		c := &b.Changes[i]
		values := c.After
		if values == nil {
			values = c.Before
		}
		text := values[0].String()
		if c.Op != replication.OpRead {
			text = c.Op.String() + " " + text
		}
		list = append(list, text)
	}
	return b.Position, list
}

// TestOrderedSnapshotBreaksOff leaves the first snapshot of an outbox in the
// middle. What is committed meanwhile, gone from the table or not, comes out of
// the log, and nothing of it before what was committed earlier.
func TestOrderedSnapshotBreaksOff(t *testing.T) {
	everyServer(t, func(t *testing.T, version string) {
		for i, columns := range []string{"id bigint PRIMARY KEY, k int", "id int unsigned, k int, PRIMARY KEY (id, k)", "id int, k int, PRIMARY KEY (id, k)"} {
			rows := 600
			if i == 2 {
				rows = 0
			}
			cfg, exec := testConfig(t, version, "t")
			exec("CREATE TABLE t (" + columns + ")")
			var values, want []string
			for n := 1; n <= rows; n++ {
				values = append(values, fmt.Sprintf("(%d, 7)", n))
				want = append(want, fmt.Sprint(n))
			}
			if rows > 0 {
				exec("INSERT INTO t VALUES " + strings.Join(values, ", "))
			}
			cfg.Tables[0].Keyless, cfg.Tables[0].Ordered, cfg.Tables[0].InsertsOnly = true, true, true
			cfg.BatchBytes = 2 << 10
			for attempt := range 3 {
				r := openSource(t, cfg)
				p, list := r.next()
				if len(list) > 0 || p == "" || attempt > 0 && p != cfg.From {
					t.Fatalf("attempt %d: first come %v and position %s", attempt, list, p)
				}
				if len(r.s.out) > 0 {
					t.Error("rows are out before the position is saved")
				}
				cfg.From = p
				r.s.Ack(p)
				if p, list = r.next(); rows > 0 && (p != "" || len(list) == 0 || list[0] != "1") {
					t.Fatalf("attempt %d: then come %v and position %s", attempt, list, p)
				}
				r.close()
				if attempt == 0 { // 3001 is gone before 3002 comes: only the log has it
					exec("INSERT INTO t VALUES (3001, 7)", "DELETE FROM t WHERE id = 3001", "INSERT INTO t VALUES (3002, 7)")
				}
			}
			r := openSource(t, cfg)
			r.s.Ack(cfg.From)
			var got []string
			want = append(want, "insert 3001", "delete 3001", "insert 3002")
			var last replication.Position
			for len(got) < len(want) || last == "" {
				p, list := r.next()
				r.s.Ack(p)
				got, last = append(got, list...), p
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s (-committed +handed out):\n%s", columns, d)
			}
			if !strings.HasSuffix(string(last), `.t":"done"}}`) {
				t.Errorf("the last position is %s", last)
			}
			r.close()
		}
	})
}

// TestBoundOfAnotherKey: the first snapshot of an outbox broke off, and the table
// gets another key, whose values say nothing beside those of the one before. Every
// row is read.
func TestBoundOfAnotherKey(t *testing.T) {
	everyServer(t, func(t *testing.T, version string) {
		for _, alter := range []string{
			"DROP PRIMARY KEY, ADD PRIMARY KEY (k)",
			"DROP COLUMN id, RENAME COLUMN k TO id, ADD PRIMARY KEY (id)",
			"DROP PRIMARY KEY, MODIFY k bigint unsigned NOT NULL, ADD PRIMARY KEY (k, id)",
		} {
			const rows = 300
			cfg, exec := testConfig(t, version, "t")
			exec("CREATE TABLE t (k int NOT NULL, id int PRIMARY KEY)")
			var values, want []string
			for n := 1; n <= rows; n++ {
				values = append(values, fmt.Sprintf("(%d, %d)", 1_000+n, n))
				want = append(want, fmt.Sprint(1_000+n))
			}
			exec("INSERT INTO t VALUES " + strings.Join(values, ", "))
			cfg.Tables[0].Keyless, cfg.Tables[0].Ordered, cfg.Tables[0].InsertsOnly = true, true, true
			cfg.BatchBytes = 2 << 10
			r := openSource(t, cfg)
			cfg.From, _ = r.next()
			r.s.Ack(cfg.From)
			if _, list := r.next(); len(list) == 0 || list[0] != "1001" {
				t.Fatalf("first come %v", list)
			}
			r.close()
			exec("ALTER TABLE t " + alter)
			r = openSource(t, cfg)
			var got []string
			for {
				p, list := r.next()
				r.s.Ack(p)
				if got = append(got, list...); strings.Contains(string(p), `.t":"done"`) {
					break
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s (-rows +read):\n%s", alter, d)
			}
			r.close()
		}
	})
}

// TestOutboxTable: partitions of an outbox may be dropped, another table may take
// its name as gh-ost does it, but it may not lose it.
func TestOutboxTable(t *testing.T) {
	everyServer(t, func(t *testing.T, version string) {
		cfg, exec := testConfig(t, version, "t")
		exec("CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION a VALUES LESS THAN (10), PARTITION b VALUES LESS THAN MAXVALUE)",
			"CREATE TABLE t_gho (id int PRIMARY KEY, k int DEFAULT 5)")
		cfg.Tables[0].Keyless, cfg.Tables[0].InsertsOnly, cfg.Tables[0].Snapshot = true, true, SnapshotNever
		r := openSource(t, cfg)
		exec("INSERT INTO t VALUES (1), (11)", "ALTER TABLE t DROP PARTITION a", "INSERT INTO t VALUES (12)", "ALTER TABLE t TRUNCATE PARTITION b",
			"RENAME TABLE t TO t_del, t_gho TO t", "INSERT INTO t (id) VALUES (2)", "INSERT INTO t_del VALUES (3)", "ALTER TABLE t RENAME COLUMN k TO l", "INSERT INTO t VALUES (4, 4)")
		var got []string
		for _, row := range r.take(5) {
			got = append(got, row.after[0])
		}
		if d := cmp.Diff([]string{"1", "11", "12", "2", "4"}, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		exec("ALTER TABLE t ADD c int, RENAME TO t_old", "INSERT INTO t_old (id) VALUES (5)")
		wantRefusal(t, r.fails(), "t_old, which is not captured: what is written to it from there on would not be published: ALTER TABLE t ADD c int, RENAME TO t_old", "on_rename: warn")
		cfg.From = r.pos
		r.close()
		exec("RENAME TABLE t_old TO t", "INSERT INTO t (id) VALUES (6)")
		// What was written to it meanwhile is in the log under the other name.
		wantRefusal(t, openSource(t, cfg).fails(), "which is not captured", "on_rename: warn")
		cfg.OnRename = OnRenameWarn
		if row := openSource(t, cfg).take(1)[0]; row.after[0] != "6" {
			t.Errorf("after it has its name again comes %v", row.after)
		}
	})
}
