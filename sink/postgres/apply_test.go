package postgres

import (
	"errors"
	"fmt"
	"testing"

	"cdc/replication"
	"cdc/sink"
	"cdc/sink/apply"
	"cdc/sink/sinktest"
)

func TestRepeatedOffsetsAreFenced(t *testing.T) {
	sinktest.Fenced(t, newTarget(t, Config{CreateTables: true}).Target)
}

func TestDeletesUpsertsInsertsOfEverySize(t *testing.T) {
	for _, n := range []int{1, minCopyNew, copyThreshold + 1} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			sinktest.EverySize(t, newTarget(t, Config{CreateTables: true}).Target, n, 0)
		})
	}
}

func TestOptimisticCopyPausesAfterConflicts(t *testing.T) {
	tg := newTarget(t, Config{CreateTables: true})
	s := shape(id(), note())
	var rows []sink.Row
	for i := range minCopyNew {
		rows = append(rows, sink.Row{New: true, Values: []replication.Value{num(int64(i)), str("n")}})
	}
	tg.Apply(s, rows...)
	p := tg.w.plans[s]
	if p.pause != 0 || p.penalty != 0 {
		t.Fatalf("after a COPY that went through: pause %d, penalty %d", p.pause, p.penalty)
	}
	tg.Apply(s, rows...)
	if p.pause == 0 || p.penalty == 0 {
		t.Fatalf("after a unique violation: pause %d, penalty %d", p.pause, p.penalty)
	}
	first := p.penalty
	for p.pause > 0 {
		tg.Apply(s, rows...)
	}
	tg.Apply(s, rows...)
	if p.penalty != 2*first {
		t.Errorf("after a second violation the penalty is %d, want %d", p.penalty, 2*first)
	}
	for p.pause > 0 {
		tg.Apply(s, rows...)
	}
	tg.exec("TRUNCATE t")
	tg.Apply(s, rows...)
	if p.penalty != 0 {
		t.Errorf("after a COPY that went through again: penalty %d", p.penalty)
	}
}

func TestUnchangedLeavesTheColumnAlone(t *testing.T) {
	for _, n := range []int{2, copyThreshold} {
		tg := newTarget(t, Config{})
		tg.exec("CREATE TABLE t (id bigint PRIMARY KEY, note text NOT NULL DEFAULT 'default', big text NOT NULL DEFAULT 'none')")
		tg.exec("INSERT INTO t SELECT i, 'old', 'kept' FROM generate_series(0, $1 - 1) i", n)
		s := shape(id(), note(), field("big", replication.KindString, 0, "text"))
		var rows []sink.Row
		for i := range n {
			r := row(num(int64(i)), str("new"), replication.Unchanged)
			if i%2 == 1 {
				r = row(num(int64(i)), replication.Unchanged, str("big"))
			}
			rows = append(rows, r)
		}
		rows = append(rows, row(num(-1), str("absent"), replication.Unchanged), row(num(-2), replication.Unchanged, replication.Unchanged))
		tg.Apply(s, rows...)
		want := fmt.Sprintf("absent|none|1\ndefault|none|1\nnew|kept|%d\nold|big|%d", n/2, n/2)
		if got := tg.dump("SELECT note, big, count(*) FROM t GROUP BY 1, 2 ORDER BY 1, 2"); got != want {
			t.Errorf("%d rows: got\n%s\nwant\n%s", n, got, want)
		}
	}
}

func TestRefusedRowsAreNamedAndNothingIsWritten(t *testing.T) {
	for _, n := range []int{1, 10, copyThreshold * 2} {
		for _, isNew := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d new=%v", n, isNew), func(t *testing.T) {
				tg := newTarget(t, Config{})
				tg.exec("CREATE TABLE t (id bigint PRIMARY KEY, note varchar(5) CHECK (note <> 'bad'))")
				s := shape(id(), note())
				var rows []sink.Row
				want := map[int]string{}
				for i := range n {
					r := sink.Row{New: isNew, Values: []replication.Value{num(int64(i)), str("good")}, Origin: sink.Origin{Topic: "public.t", Offset: int64(100 + i)}}
					switch i {
					case 0:
						r.Values[1], want[i] = str("nul\x00"), "22021"
					case n / 2:
						r.Values[1], want[i] = str("bad"), "23514"
					case n - 1:
						r.Values[1], want[i] = str("toolong"), "22001"
					case n / 3:
						r.Values[1], want[i] = str("\xff"), "22021"
					}
					rows = append(rows, r)
				}
				err := tg.w.Apply(t.Context(), "g", tg.Batch(s, rows...))
				bad, ok := errors.AsType[sink.RowErrors](err)
				if !ok {
					t.Fatalf("got %v, want RowErrors", err)
				}
				got := map[int]string{}
				for _, e := range bad {
					got[e.Index] = sqlState(e)
					if e.Origin.Offset != int64(100+e.Index) || e.Shape != s || e.Tables != 0 {
						t.Errorf("row error %+v", e)
					}
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("refused rows: got %v, want %v", got, want)
				}
				if out := tg.dump("SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM cdc_offsets)"); out != "0|0" {
					t.Errorf("something was written: %s", out)
				}
			})
		}
	}
}

func TestDeferredConstraintNamesTheRow(t *testing.T) {
	tg := newTarget(t, Config{})
	tg.exec("CREATE TABLE parent (id bigint PRIMARY KEY); INSERT INTO parent VALUES (1)")
	tg.exec("CREATE TABLE t (id bigint PRIMARY KEY, parent bigint REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
	s := shape(id(), field("parent", replication.KindInt, 64, "bigint"))
	err := tg.w.Apply(t.Context(), "g", tg.Batch(s, row(num(1), num(1)), row(num(2), num(7)), row(num(3), num(1))))
	bad, ok := errors.AsType[sink.RowErrors](err)
	if !ok || len(bad) != 1 || bad[0].Index != 1 || sqlState(bad[0]) != "23503" {
		t.Fatalf("got %v, want a foreign key violation of row 1", err)
	}
	tg.Apply(s, row(num(1), num(1)), row(num(3), num(1)))
}

func TestRowsThatAreOneForTheTarget(t *testing.T) {
	tg := newTarget(t, Config{})
	tg.exec("CREATE TABLE t (id numeric(10,0) PRIMARY KEY, note text)")
	s := shape(keyed(field("id", replication.KindString, 0, "")), note())
	err := tg.w.Apply(t.Context(), "g", tg.Batch(s, row(str("1"), str("a")), row(str("1.0"), str("b"))))
	// The careful try applies the two one after the other.
	tg.Must(err)
	if got := tg.dump("SELECT * FROM t"); got != "1|b" {
		t.Errorf("got %s", got)
	}
}

func TestGeneratedAndIdentityColumns(t *testing.T) {
	tg := newTarget(t, Config{})
	tg.exec(`CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, serial bigint GENERATED BY DEFAULT AS IDENTITY,
		"Quoted ""name""" text, twice text GENERATED ALWAYS AS ("Quoted ""name""" || "Quoted ""name""") STORED)`)
	s := shape(id(), field("serial", replication.KindInt, 64, ""), field(`Quoted "name"`, replication.KindString, 0, "text"), field("twice", replication.KindString, 0, "text"))
	var rows []sink.Row
	for i := range minCopyNew {
		rows = append(rows, sink.Row{New: true, Values: []replication.Value{num(int64(i + 10)), num(3), str("a"), str("wrong")}})
	}
	tg.Apply(s, rows...)
	tg.Apply(s, row(num(10), num(4), str("b"), str("wrong")), row(num(5), num(5), str("c"), replication.Null))
	if got, want := tg.dump("SELECT * FROM t WHERE id < 12 ORDER BY id"), "5|5|c|cc\n10|4|b|bb\n11|3|a|aa"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestKeyOnlyAndKeyless(t *testing.T) {
	tg := newTarget(t, Config{CreateTables: true})
	only := shape(id())
	tg.Apply(only, row(num(1)), row(num(2)))
	tg.Apply(only, row(num(2)), row(num(3)))
	if got := tg.dump("SELECT * FROM t ORDER BY 1"); got != "1\n2\n3" {
		t.Errorf("key only: %s", got)
	}
	keyless := &sink.Shape{Topic: "public.log", Table: "log", Fields: []sink.Field{note()}}
	tg.Apply(keyless, row(str("a")), row(str("a")))
	if got := tg.dump("SELECT note FROM log"); got != "a\na" {
		t.Errorf("keyless: %s", got)
	}
}

func TestCompositeKeyOfManyTypes(t *testing.T) {
	tg := newTarget(t, Config{CreateTables: true})
	s := shape(keyed(field("u", replication.KindUUID, 0, "uuid")), note(), keyed(field("d", replication.KindDate, 0, "date")), keyed(field("s", replication.KindString, 0, "text")))
	u := replication.StringValue(replication.KindUUID, "0123456789abcdef")
	key := func(s string) sink.Row {
		return row(u, str("x"), replication.NumValue(replication.KindDate, -719163), str(s))
	}
	del := key(`a"\`)
	del.Delete = true
	tg.Apply(s, key(`a"\`), key("b"))
	tg.Apply(s, del)
	if got := tg.dump("SELECT s, d FROM t"); got != "b|0001-12-31 BC" {
		t.Errorf("got %s", got)
	}
}

func TestTableThatChangesWhileRunning(t *testing.T) {
	sinktest.AlteredTable(t, newTarget(t, Config{CreateTables: true}).Target, "ALTER TABLE t ALTER COLUMN note TYPE varchar(10)")
}

func TestReplaceResetsColumnsTheRecordLacks(t *testing.T) {
	sinktest.Replace(t, newTarget(t, Config{}).Target)
}

func TestColumnAddedToTheTargetIsFoundInTime(t *testing.T) {
	tg := newTarget(t, Config{})
	tg.exec("CREATE TABLE t (id bigint PRIMARY KEY)")
	s := shape(id(), note())
	var rows []sink.Row
	for i := range copyThreshold {
		rows = append(rows, row(num(int64(i)), str("a")))
	}
	tg.Apply(s, rows...)
	old := tg.w.plans[s]
	old.made = old.made.Add(-2 * apply.RecheckMissing)
	tg.Apply(s, rows...)
	if tg.w.plans[s] != old {
		t.Error("the plan was made anew though nothing changed")
	}
	old.made = old.made.Add(-2 * apply.RecheckMissing)
	tg.exec("ALTER TABLE t ADD COLUMN note text")
	tg.Apply(s, rows...)
	if got := tg.dump("SELECT note, count(*) FROM t GROUP BY note"); got != fmt.Sprintf("a|%d", copyThreshold) {
		t.Errorf("got %s", got)
	}
	if got := tg.dump("SELECT count(*) FROM pg_class WHERE relname LIKE 'cdc_stage%'"); got != "1" {
		t.Errorf("%s temp tables are left", got)
	}
}
