package sinktest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"cdc/replication"
	"cdc/sink"
	"cdc/sink/apply"
)

// Fenced applies a batch again, and others that do not begin where it ended:
// none of them is written. The target may make tables.
func Fenced(t *testing.T, tg *Target) {
	t.Helper()
	s := Shape(ID(), Note())
	b := tg.Batch(s, Row(Num(1), Str("a")))
	tg.Must(tg.Writer.Apply(t.Context(), "g", b))
	b.Tables[0].Rows[0].Values[1] = Str("changed")
	if err := tg.Writer.Apply(t.Context(), "g", b); !errors.Is(err, sink.ErrFenced) {
		t.Fatalf("the same batch again: got %v, want ErrFenced", err)
	}
	if got := tg.Dump("SELECT * FROM t"); got != "1|a" {
		t.Errorf("a fenced batch wrote: %s", got)
	}
	// A later batch of a member that does not know of it.
	b.Offsets[0] = sink.Offset{Topic: "public.t", From: 0, Next: 5}
	if err := tg.Writer.Apply(t.Context(), "g", b); !errors.Is(err, sink.ErrFenced) {
		t.Fatalf("a batch from another place: got %v, want ErrFenced", err)
	}
	// One fenced offset of several fences all.
	b.Offsets = []sink.Offset{{Topic: "public.t", From: 1, Next: 5}, {Topic: "public.t", Partition: 1, From: 7, Next: 9}, {Topic: "public.u", From: -1, Next: 9}}
	if err := tg.Writer.Apply(t.Context(), "g", b); !errors.Is(err, sink.ErrFenced) {
		t.Fatalf("one of three: got %v, want ErrFenced", err)
	}
	if got := tg.Dump("SELECT group_name, topic, next_offset FROM cdc_offsets WHERE group_name <> ''"); got != "g|public.t|1" {
		t.Errorf("offsets: %s", got)
	}
	have, err := tg.Writer.Offsets(t.Context(), "g", []string{"public.t", "other"})
	tg.Must(err)
	if len(have) != 1 || len(have["public.t"]) != 1 || have["public.t"][0] != 1 {
		t.Errorf("Offsets: %v", have)
	}
}

// LostCommit loses the answers to two of three commits of w, which writes
// through p into tg's database: each batch is written once.
func LostCommit(t *testing.T, tg *Target, p *Proxy, w sink.Writer) {
	t.Helper()
	keyless := &sink.Shape{Topic: "public.t", Table: "log", Fields: []sink.Field{Note()}} // an insert done twice would show
	for i := range 3 {
		p.Armed.Store(i%2 == 0)
		b := tg.Batch(keyless, Row(Str(fmt.Sprint(i))))
		tg.Must(w.Apply(t.Context(), "g", b))
		tg.Next = b.Offsets[0].Next
	}
	if n := p.Lost.Load(); n != 2 {
		t.Fatalf("%d acknowledgements were lost, want 2", n)
	}
	if got := tg.Dump("SELECT note FROM log ORDER BY 1"); got != "0\n1\n2" {
		t.Errorf("rows: %q", got)
	}
}

// EverySize writes, overwrites and deletes n rows at a time, long by so many
// bytes. The target may make tables.
func EverySize(t *testing.T, tg *Target, n, long int) {
	t.Helper()
	s := Shape(ID(), Note())
	rows := func(mark string, f func(*sink.Row)) (out []sink.Row) {
		for i := range n {
			r := Row(Num(int64(i)), Str(mark+strings.Repeat(".", long)))
			f(&r)
			out = append(out, r)
		}
		return out
	}
	expect := func(when, want string) {
		t.Helper()
		if got := tg.Dump("SELECT trim(TRAILING '.' FROM note), count(*), count(DISTINCT id) FROM t GROUP BY note ORDER BY 1"); got != want {
			t.Errorf("%s: got %q, want %q", when, got, want)
		}
	}
	tg.Apply(s, rows("new", func(r *sink.Row) { r.New = true })...)
	expect("new rows", fmt.Sprintf("new|%d|%d", n, n))
	tg.Apply(s, rows("again", func(r *sink.Row) { r.New = true })...)
	expect("new rows that are there already", fmt.Sprintf("again|%d|%d", n, n))
	tg.Apply(s, rows("upsert", func(*sink.Row) {})...)
	expect("upserts", fmt.Sprintf("upsert|%d|%d", n, n))
	tg.Apply(s, rows("x", func(r *sink.Row) { r.Delete = true; r.Values[1] = replication.Null })...)
	expect("deletes", "")
	tg.Apply(s, rows("x", func(r *sink.Row) { r.Delete = true })...)
	expect("deletes of what is not there", "")
	mixed := append(rows("mixed", func(r *sink.Row) { r.New = r.Values[0].Int()%2 == 0 }), sink.Row{Delete: true, Values: []replication.Value{Num(-1), replication.Null}})
	tg.Apply(s, mixed...)
	expect("mixed", fmt.Sprintf("mixed|%d|%d", n, n))
}

// KeysOnly applies deletes of a shape of which only the key is known: they make
// no table. schema is an expression of the one that tables are made in. The target may make tables, and add columns.
func KeysOnly(t *testing.T, tg *Target, schema string) {
	t.Helper()
	s := Shape(ID())
	s.KeysOnly = true
	tg.Apply(s, sink.Row{Delete: true, Values: []replication.Value{Num(1)}})
	if got := tg.Dump("SELECT (SELECT count(*) FROM information_schema.tables WHERE table_name = 't' AND table_schema = " + schema + "), next_offset FROM cdc_offsets WHERE topic <> ''"); got != "0|1" {
		t.Errorf("tables and offset: %s", got)
	}
	tg.Apply(Shape(ID(), Note()), Row(Num(1), Str("a")), Row(Num(2), Str("b")))
	tg.Apply(s, sink.Row{Delete: true, Values: []replication.Value{Num(1)}})
	if got := tg.Dump("SELECT * FROM t"); got != "2|b" {
		t.Errorf("got %s", got)
	}
}

// AlteredTable alters the table beside the Writer, by narrow too, which makes of
// note a text of ten characters, and drops it. The target may make tables.
func AlteredTable(t *testing.T, tg *Target, narrow string) {
	t.Helper()
	s := Shape(ID(), Note(), Field("extra", replication.KindString, 0, "text"))
	tg.Apply(s, Row(Num(1), Str("a"), Str("x")))
	tg.Exec("ALTER TABLE t DROP COLUMN extra")
	tg.Apply(s, Row(Num(2), Str("b"), Str("y")))
	tg.Exec(narrow)
	tg.Apply(s, Row(Num(3), Str("c"), Str("z")))
	if got := tg.Dump("SELECT * FROM t ORDER BY 1"); got != "1|a\n2|b\n3|c" {
		t.Errorf("got %s", got)
	}
	if !strings.Contains(tg.Logs(), "fields without a column") {
		t.Errorf("the dropped column was not warned about: %s", tg.Logs())
	}
	tg.Exec("DROP TABLE t")
	tg.Apply(s, Row(Num(4), Str("d"), Str("w")))
	if got := tg.Dump("SELECT id, note, extra FROM t"); got != "4|d|w" {
		t.Errorf("after a drop: %s", got)
	}
}

// Replace writes rows that take the place of whatever was there: columns that
// the record lacks get their defaults.
func Replace(t *testing.T, tg *Target) {
	t.Helper()
	tg.Exec("CREATE TABLE t (id bigint PRIMARY KEY, note text, mine varchar(9) DEFAULT 'default')")
	tg.Exec("INSERT INTO t VALUES (1, 'a', 'old'), (2, 'b', 'old')")
	tg.Apply(Shape(ID(), Note()), sink.Row{Replace: true, Values: []replication.Value{Num(1), Str("new")}}, Row(Num(2), Str("new")),
		sink.Row{Replace: true, Values: []replication.Value{Num(3), replication.Unchanged}})
	if got := tg.Dump("SELECT * FROM t ORDER BY id"); got != "1|new|default\n2|new|old\n3|NULL|default" {
		t.Errorf("got %s", got)
	}
}

// Truncate empties a table, whole and in part, and not from another place than
// the offsets'. between, which may be nil, runs before the table is emptied again.
// The target may make tables.
func Truncate(t *testing.T, tg *Target, between func()) {
	t.Helper()
	s := Shape(ID(), Note())
	truncate := func(keep func([]replication.Value) bool) {
		t.Helper()
		o := tg.Offset(1)
		tg.Must(tg.Writer.Truncate(t.Context(), "g", s, keep, o))
		tg.Next = o.Next
	}
	fill := func() {
		t.Helper()
		var rows []sink.Row
		for i := range apply.TruncateChunk + 5 {
			rows = append(rows, Row(Num(int64(i)), Str("a")))
		}
		tg.Apply(s, rows...)
	}
	fill()
	truncate(nil)
	if got := tg.Dump("SELECT count(*) FROM t"); got != "0" {
		t.Errorf("after truncate: %s rows", got)
	}
	fill()
	for range 2 { // also with what the first has left on the connection
		truncate(func(key []replication.Value) bool { return key[0].Int()%2 == 0 })
		if got := tg.Dump("SELECT count(*), sum(id % 2) FROM t"); got != fmt.Sprintf("%d|0", apply.TruncateChunk/2+3) {
			t.Errorf("after a partial truncate: %s", got)
		}
	}
	if between != nil {
		between()
		truncate(nil)
		if got := tg.Dump("SELECT count(*) FROM t"); got != "0" {
			t.Errorf("after truncate once more: %s rows", got)
		}
		fill()
	}
	if err := tg.Writer.Truncate(t.Context(), "g", s, nil, sink.Offset{Topic: "public.t", From: 0, Next: 1}); !errors.Is(err, sink.ErrFenced) {
		t.Errorf("truncate from another place: %v", err)
	}
	if got := tg.Dump("SELECT count(*) FROM t"); got == "0" {
		t.Error("a fenced truncate deleted")
	}
}
