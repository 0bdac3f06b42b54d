package mysql

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"cdc/internal/services"
	"cdc/replication"
	"cdc/sink"
	"cdc/sink/apply"
	"cdc/sink/sinktest"
)

func TestRepeatedOffsetsAreFenced(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		sinktest.Fenced(t, newTarget(t, version, Config{CreateTables: true}).Target)
	})
}

func TestDeletesUpsertsInsertsOfEverySize(t *testing.T) {
	for _, n := range []int{1, 3000} {
		each(t, services.MySQLVersions(), func(t *testing.T, version string) {
			sinktest.EverySize(t, newTarget(t, version, Config{CreateTables: true}).Target, n, 100)
		})
	}
}

func TestTopicIDsAndIdentity(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{CreateTables: true})
		apply := func(o ...sink.Offset) {
			t.Helper()
			tg.Must(tg.w.Apply(t.Context(), "g'", &sink.Batch{Offsets: o}))
		}
		apply(sink.Offset{Topic: "a", From: -1, Next: 1}, sink.Offset{Topic: "b", TopicID: "B", From: -1, Next: 1})
		apply(sink.Offset{Topic: "a", TopicID: "A", From: 1, Next: 2}, sink.Offset{Topic: "b", From: 1, Next: 2})
		ids, err := tg.w.TopicIDs(t.Context(), "g'", []string{"a", "b", "c"})
		tg.Must(err)
		if fmt.Sprint(ids) != "map[a:A b:B]" {
			t.Errorf("TopicIDs: %v", ids)
		}
		identity := func(w *Writer) string {
			id, err := w.Identity(t.Context())
			tg.Must(err)
			return id
		}
		again, err := Open(t.Context(), tg.w.cfg)
		tg.Must(err)
		defer again.Close(t.Context())
		other := newTarget(t, version, Config{})
		if a := identity(tg.w); a == "" || a != identity(again) || a == identity(other.w) {
			t.Errorf("identities %s, %s, and of another database %s", a, identity(again), identity(other.w))
		}
	})
}

func TestUnchangedLeavesTheColumnAlone(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		const n = 500
		tg := newTarget(t, version, Config{})
		tg.exec("CREATE TABLE t (id bigint PRIMARY KEY, note varchar(20) NOT NULL DEFAULT 'default', big varchar(20) NOT NULL DEFAULT 'none')")
		for i := range n {
			tg.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, 'old', 'kept')", i))
		}
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
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestRefusedRowsAreNamedAndNothingIsWritten(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		for _, n := range []int{1, 10, 3000} {
			tg := newTarget(t, version, Config{})
			tg.exec("CREATE TABLE t (id bigint PRIMARY KEY, note varchar(5) CHECK (note <> 'bad'))")
			s := shape(id(), note())
			var rows []sink.Row
			want := map[int]string{}
			for i := range n {
				r := sink.Row{Values: []replication.Value{num(int64(i)), str("good")}, Origin: sink.Origin{Topic: "public.t", Offset: int64(100 + i)}}
				switch i {
				case 0:
					r.Values[1], want[i] = str("\xff"), "not UTF-8"
				case n / 2:
					r.Values[1], want[i] = str("bad"), "CONSTRAINT"
				case n - 1:
					r.Values[1], want[i] = str("toolong"), "too long"
				case n / 3:
					r.Values[1], want[i] = str("good     "), "too long" // the server would cut that without an error
				}
				rows = append(rows, r)
			}
			err := tg.w.Apply(t.Context(), "g", tg.Batch(s, rows...))
			bad, ok := errors.AsType[sink.RowErrors](err)
			if !ok {
				t.Fatalf("got %v, want RowErrors", err)
			}
			for _, e := range bad {
				if e.Origin.Offset != int64(100+e.Index) || e.Shape != s || e.Tables != 0 {
					t.Errorf("row error %+v", e)
				}
				if w := want[e.Index]; w == "" || !strings.Contains(strings.ToUpper(e.Err.Error()), strings.ToUpper(w)) {
					t.Errorf("row %d: %v, want %q", e.Index, e.Err, w)
				}
				delete(want, e.Index)
			}
			if len(want) > 0 {
				t.Errorf("%d rows: not refused: %v", n, want)
			}
			if out := tg.dump("SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM cdc_offsets WHERE topic <> '')"); out != "0|0" {
				t.Errorf("something was written: %s", out)
			}
		}
	})
}

func TestRowsThatAreOneForTheTarget(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{})
		tg.exec("CREATE TABLE t (id decimal(10,0) PRIMARY KEY, note text)")
		s := shape(keyed(field("id", replication.KindString, 0, "")), note())
		tg.Apply(s, row(str("1"), str("a")), row(str("1.0"), str("b")))
		if got := tg.dump("SELECT * FROM t"); got != "1|b" {
			t.Errorf("got %s", got)
		}
	})
}

func TestGeneratedAndAutoIncrementColumns(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{})
		tg.exec("CREATE TABLE t (id bigint AUTO_INCREMENT PRIMARY KEY, `Quoted ``name``` varchar(9), twice varchar(20) GENERATED ALWAYS AS (concat(`Quoted ``name```, `Quoted ``name```)) STORED)")
		s := shape(id(), field("quoted `name`", replication.KindString, 0, "text"), field("twice", replication.KindString, 0, "text"))
		tg.Apply(s, row(num(0), str("zero"), str("wrong")), row(num(-7), str("b"), str("wrong")))
		tg.Apply(s, row(num(0), str("z"), str("wrong")))
		if got, want := tg.dump("SELECT * FROM t ORDER BY id"), "-7|b|bb\n0|z|zz"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func TestKeyOnlyAndKeyless(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{CreateTables: true})
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
	})
}

func TestCompositeKeyOfManyTypes(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{CreateTables: true})
		s := shape(keyed(field("u", replication.KindUUID, 0, "uuid")), note(), keyed(field("d", replication.KindDate, 0, "date")),
			keyed(field("s", replication.KindString, 0, "text")), keyed(field("b", replication.KindBytes, 0, "bytea")), keyed(field("f", replication.KindFloat, 64, "double precision")),
			keyed(field("c", replication.KindTime, 0, "time without time zone")), keyed(field("n", replication.KindDecimal, 0, "numeric")), keyed(field("z", replication.KindTimestampTZ, 0, "timestamp with time zone")))
		key := func(s string) sink.Row {
			return row(replication.StringValue(replication.KindUUID, "0123456789abcdef"), str("x"), replication.NumValue(replication.KindDate, -719162), str(s),
				replication.StringValue(replication.KindBytes, "\x00'\\"+s), replication.FloatValue(0.1), replication.NumValue(replication.KindTime, 1),
				replication.StringValue(replication.KindDecimal, "9007199254740993.1"), replication.NumValue(replication.KindTimestampTZ, 1))
		}
		del := key(`a'\`)
		del.Delete = true
		tg.Apply(s, key(`a'\`), key("b"), key("B"), key("b "))
		tg.Apply(s, del)
		if got := tg.dump("SELECT s, d, c FROM t ORDER BY s"); got != "B|0001-01-01|00:00:00.000001\nb|0001-01-01|00:00:00.000001\nb |0001-01-01|00:00:00.000001" {
			t.Errorf("got %s", got)
		}
	})
}

func TestTableThatChangesWhileRunning(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		sinktest.AlteredTable(t, newTarget(t, version, Config{CreateTables: true}).Target, "ALTER TABLE t MODIFY note varchar(10)")
	})
}

func TestReplaceResetsColumnsTheRecordLacks(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		sinktest.Replace(t, newTarget(t, version, Config{}).Target)
	})
}

func TestColumnAddedToTheTargetIsFoundInTime(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{})
		tg.exec("CREATE TABLE t (id bigint PRIMARY KEY)")
		s := shape(id(), note())
		tg.Apply(s, row(num(1), str("a")))
		old := tg.w.plans[s]
		old.made = old.made.Add(-2 * apply.RecheckMissing)
		tg.Apply(s, row(num(1), str("a")))
		if tg.w.plans[s] != old {
			t.Error("the plan was made anew though nothing changed")
		}
		old.made = old.made.Add(-2 * apply.RecheckMissing)
		tg.exec("ALTER TABLE t ADD COLUMN note text")
		tg.Apply(s, row(num(1), str("a")))
		if got := tg.dump("SELECT * FROM t"); got != "1|a" {
			t.Errorf("got %s", got)
		}
	})
}

// TestLargeRows go alone, whatever stands before and after them.
func TestLargeRows(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{CreateTables: true})
		tg.w.server.maxPacket = 1 << 20
		s := shape(id(), note())
		large := strings.Repeat("x", tg.w.server.maxPacket/2)
		tg.Apply(s, row(num(1), str("a")), row(num(2), str(large)), row(num(3), str(large)), row(num(4), str("b")), row(num(5), replication.Unchanged))
		if got, want := tg.dump("SELECT id, length(note) FROM t ORDER BY id"), fmt.Sprintf("1|1\n2|%d\n3|%d\n4|1\n5|NULL", len(large), len(large)); got != want {
			t.Errorf("got %s", got)
		}
		err := tg.w.Apply(t.Context(), "g", tg.Batch(s, row(num(1), str("c")), row(num(2), str(large+large)), row(num(4), str("c"))))
		bad, ok := errors.AsType[sink.RowErrors](err)
		if !ok || len(bad) != 1 || bad[0].Index != 1 || !strings.Contains(bad[0].Error(), "max_allowed_packet") {
			t.Errorf("a row larger than a statement may be: %.300v", err)
		}
	})
}
