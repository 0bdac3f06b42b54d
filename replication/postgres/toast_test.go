package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/replication"
)

// TestToastPolicies has the same updates under each policy, and the old row
// under FULL.
func TestToastPolicies(t *testing.T) {
	for _, test := range []struct {
		name   string
		policy Toast
		full   bool
		want   []string
	}{
		{"refetch", ToastRefetch, false, []string{
			`update public.t (1, 1, aa…8000) refetched big`,
			`update public.t before (2, unchanged, unchanged) (20, 0, aa…8000) refetched big`,
			`update public.t (3, 1, unchanged)`,
			`delete public.t before (3, unchanged, unchanged)`,
			`insert public.t (4, 0, bb…8000)`,
			`update public.t (4, 1, bb…8000)`,
		}},
		{"omit", ToastOmit, false, []string{
			`update public.t (1, 1, unchanged)`,
			`update public.t before (2, unchanged, unchanged) (20, 0, aa…8000) refetched big`, // nobody has it under that key
			`update public.t (3, 1, unchanged)`,
			`delete public.t before (3, unchanged, unchanged)`,
			`insert public.t (4, 0, bb…8000)`,
			`update public.t (4, 1, unchanged)`,
		}},
		{"fail", ToastFail, false, []string{
			`update public.t (1, 1, unchanged)`,
			`update public.t before (2, unchanged, unchanged) (20, 0, unchanged)`,
			`update public.t (3, 1, unchanged)`,
			`delete public.t before (3, unchanged, unchanged)`,
			`insert public.t (4, 0, bb…8000)`,
			`update public.t (4, 1, unchanged)`,
		}},
		{"fail, REPLICA IDENTITY FULL", ToastFail, true, []string{
			`update public.t before (1, 0, aa…8000) (1, 1, aa…8000)`,
			`update public.t before (2, 0, aa…8000) (20, 0, aa…8000)`,
			`update public.t before (3, 0, aa…8000) (3, 1, aa…8000)`,
			`delete public.t before (3, 1, aa…8000)`,
			`insert public.t (4, 0, bb…8000)`,
			`update public.t before (4, 0, bb…8000) (4, 1, bb…8000)`,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, cfg := bigTable(t, `id int PRIMARY KEY, n int, big text`)
			if test.full {
				d.exec(`ALTER TABLE t REPLICA IDENTITY FULL`)
			}
			cfg.Tables[0].Toast = test.policy
			d.exec(`INSERT INTO t SELECT g, 0, ` + bigSQL("a") + ` FROM generate_series(1, 3) g`)
			s := mustOpen(t, cfg)
			r := readFrom(t, s)
			r.changes(3)
			cfg.From = r.position()
			mustClose(t, s)
			d.exec(`UPDATE t SET n = 1 WHERE id = 1`)
			d.exec(`UPDATE t SET id = 20 WHERE id = 2`)
			d.exec(`UPDATE t SET n = 1 WHERE id = 3`)
			d.exec(`DELETE FROM t WHERE id = 3`)
			d.exec(`BEGIN; INSERT INTO t VALUES (4, 0, ` + bigSQL("b") + `); UPDATE t SET n = 1 WHERE id = 4; COMMIT`) // one batch
			if diff := cmp.Diff(test.want, shorts(readFrom(t, mustOpen(t, cfg)).changes(len(test.want)))); diff != "" {
				t.Error(diff)
			}
		})
	}
	cfg := (&testDB{t: t}).config("public.t")
	cfg.Tables[0].Toast = "guess"
	if _, err := Open(t.Context(), cfg); !replication.IsRefusal(err) {
		t.Errorf("an unknown policy: %v", err)
	}
}

// TestRefetchMoved reads a row under the key that it has by now, after two
// updates that moved it and left its large value alone.
func TestRefetchMoved(t *testing.T) {
	d, cfg := bigTable(t, `id int PRIMARY KEY, n int, big text`)
	d.exec(`INSERT INTO t VALUES (1, 0, ` + bigSQL("a") + `), (2, 0, ` + bigSQL("b") + `)`)
	s := mustOpen(t, cfg)
	r := readFrom(t, s)
	r.changes(2)
	cfg.From = r.position()
	mustClose(t, s)
	d.exec(`BEGIN; UPDATE t SET n = 1; UPDATE t SET id = id + 10; UPDATE t SET n = 2;
		UPDATE t SET id = id + 10, big = CASE id WHEN 12 THEN ` + bigSQL("c") + ` ELSE big END; COMMIT`)
	want := []string{
		`update public.t (1, 1, aa…8000) refetched big`,
		`update public.t (2, 1, unchanged)`, // what it was when the log had it is nowhere any more
		`update public.t before (1, unchanged, unchanged) (11, 1, aa…8000) refetched big`,
		`update public.t before (2, unchanged, unchanged) (12, 1, unchanged)`,
		`update public.t (11, 2, aa…8000) refetched big`,
		`update public.t (12, 2, unchanged)`,
		`update public.t before (11, unchanged, unchanged) (21, 2, aa…8000) refetched big`,
		`update public.t before (12, unchanged, unchanged) (22, 2, cc…8000)`,
	}
	if diff := cmp.Diff(want, shorts(readFrom(t, mustOpen(t, cfg)).changes(len(want)))); diff != "" {
		t.Error(diff)
	}
}

// TestRefetchTableMadeAnew: the value of another table, or of another column, of
// the old name is not taken for the row's.
func TestRefetchTableMadeAnew(t *testing.T) {
	for name, ddl := range map[string]string{
		"table":  `DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, n int, big text); INSERT INTO t VALUES (1, 0, 'of another table')`,
		"column": `ALTER TABLE t ALTER COLUMN big TYPE varchar USING 'of another column'`,
	} {
		t.Run(name, func(t *testing.T) {
			d, cfg := bigTable(t, `id int PRIMARY KEY, n int, big text`)
			d.exec(`INSERT INTO t VALUES (1, 0, ` + bigSQL("a") + `)`)
			s := mustOpen(t, cfg)
			r := readFrom(t, s)
			r.changes(1)
			cfg.From = r.position()
			mustClose(t, s)
			d.exec(`UPDATE t SET n = 1`)
			d.exec(ddl)
			if name == "table" {
				d.exec(`ALTER PUBLICATION ` + replication.QuoteIdentifier(cfg.Publication) + ` ADD TABLE t`)
			}
			if got := readFrom(t, mustOpen(t, cfg)).changes(1)[0]; got != `update public.t (1, 1, unchanged)` {
				t.Error(short(got))
			}
		})
	}
}
