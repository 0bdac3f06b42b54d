package postgres

import (
	"errors"
	"strings"
	"testing"

	"cdc/replication"
	"cdc/sink"
	"cdc/sink/apply"
)

const describeSQL = `SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute
	WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`

func renamed(f sink.Field, from ...string) sink.Field {
	f.Aliases = from
	return f
}

func dec(s string) replication.Value { return replication.StringValue(replication.KindDecimal, s) }

func numericField(name, typ string, p, s int) sink.Field {
	f := field(name, replication.KindDecimal, 0, typ)
	f.Precision, f.Scale = p, s
	return f
}

// TestColumnsFollow lets a table follow its topic through changes of types, of
// names and of NULL.
func TestColumnsFollow(t *testing.T) {
	tg := newTarget(t, Config{AddColumns: true, AlterColumns: true})
	tg.exec(`CREATE TABLE t (id int PRIMARY KEY, i smallint, r real, n numeric(6,2), v varchar(4), d date, a int[], keep varchar(4) NOT NULL, g int GENERATED ALWAYS AS (1) STORED)`)
	tg.exec(`INSERT INTO t VALUES (1, 5, 1.5, 10.25, 'abc', '2026-01-02', '{1}', 'k')`)
	wide := shape(id(), field("i", replication.KindInt, 64, "bigint"), field("r", replication.KindFloat, 64, "double precision"),
		numericField("n", "numeric(8,3)", 8, 3), field("v", replication.KindString, 0, "text"),
		field("d", replication.KindTimestamp, 0, "timestamp without time zone"),
		sink.Field{Column: replication.Column{Name: "a", Kind: replication.KindArray, Elem: replication.KindInt, Bits: 64, TypeName: "bigint[]"}},
		field("keep", replication.KindString, 0, "character varying(2)"), field("g", replication.KindInt, 64, "bigint"))
	tg.Apply(wide, row(num(1<<40), num(1<<40), replication.FloatValue(0.1), dec("99999.125"), str("longer than four"),
		replication.NumValue(replication.KindTimestamp, 1), replication.ArrayValue([]replication.Value{num(1 << 40)}), str("k2"), replication.Null))
	if got, want := tg.dump(describeSQL), "id|bigint|t\ni|bigint|f\nr|double precision|f\nn|numeric(8,3)|f\nv|text|f\nd|timestamp without time zone|f\na|bigint[]|f\nkeep|character varying(4)|t\ng|integer|f"; got != want {
		t.Errorf("types\n got %s\nwant %s", got, want)
	}
	if got, want := tg.dump(`SELECT * FROM t ORDER BY id`), `1|5|1.5|10.250|abc|2026-01-02 00:00:00|{1}|k|1
1099511627776|1099511627776|0.1|99999.125|longer than four|1970-01-01 00:00:00.000001|{1099511627776}|k2|1`; got != want {
		t.Errorf("rows\n got %s\nwant %s", got, want)
	}

	// NULL comes, in a batch that has a row of another fault, too.
	narrow := shape(id(), field("keep", replication.KindString, 0, "character varying(2)"))
	err := tg.w.Apply(t.Context(), "g", tg.Batch(narrow, row(num(2), replication.Null), row(num(3), str("too long"))))
	var bad sink.RowErrors
	if !errors.As(err, &bad) || len(bad) != 1 || bad[0].Index != 1 {
		t.Errorf("got %v, want the row that is too long", err)
	}
	tg.Apply(narrow, row(num(2), replication.Null))
	if got := tg.dump(`SELECT keep IS NULL FROM t WHERE id = 2`); got != "t" {
		t.Errorf("got %s", got)
	}
	if got := tg.dump(describeSQL); !strings.Contains(got, "keep|character varying(4)|f") {
		t.Errorf("NOT NULL stays: %s", got)
	}
	// In the key it has to.
	err = tg.w.Apply(t.Context(), "g", tg.Batch(shape(id()), row(replication.Null)))
	if !apply.IsRowErrors(err) {
		t.Errorf("a key without a value: %v", err)
	}

	// A column is renamed, and records from before come late.
	old := shape(id(), field("v", replication.KindString, 0, "text"))
	tg.Apply(old, row(num(4), str("before")))
	tg.Apply(shape(id(), renamed(field("label", replication.KindString, 0, "text"), "tag", "v")), row(num(5), str("after")))
	tg.Apply(old, row(num(6), str("late")), row(num(4), str("late, too")))
	if got, want := tg.dump(`SELECT id, label FROM t WHERE id BETWEEN 4 AND 6 ORDER BY id`), "4|late, too\n5|after\n6|late"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// A former name that another field has now is not renamed.
	tg.Apply(shape(id(), renamed(field("x", replication.KindString, 0, "text"), "label"), field("label", replication.KindString, 0, "text")), row(num(7), str("x"), str("l")))
	if got := tg.dump(`SELECT label, x FROM t WHERE id = 7`); got != "l|x" {
		t.Errorf("got %s", got)
	}

	// What rows from before have, and what records without the field mean.
	added := field("since", replication.KindString, 0, "text")
	added.HasMissing, added.Missing = true, `it's \ "old"`
	tg.Apply(shape(id(), added), row(num(8), str("new")), row(num(9), replication.Null))
	tg.Apply(narrow, row(num(10), str("k")))
	if got, want := tg.dump(`SELECT id, since FROM t WHERE id IN (1, 8, 9, 10) ORDER BY id`), `1|it's \ "old"
8|new
9|NULL
10|it's \ "old"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestRetyped replaces types by others of another family while the sink looks on.
func TestRetyped(t *testing.T) {
	tg := newTarget(t, Config{CreateTables: true, AlterColumns: true})
	number := shape(id(), field("v", replication.KindInt, 32, "integer"))
	tg.Apply(number, row(num(1), num(12)))
	tg.Apply(shape(id(), field("v", replication.KindString, 0, "character varying(9)")), row(num(2), str("007")))
	tg.Apply(number, row(num(3), num(3))) // late
	if got := tg.dump(`SELECT * FROM t ORDER BY id`); got != "1|12\n2|007\n3|3" {
		t.Errorf("got %s", got)
	}
	tg.exec(`DROP TABLE t`)
	tg = newTarget(t, Config{CreateTables: true, AlterColumns: true})
	tg.Apply(number, row(num(1), num(1)))
	yes := shape(id(), field("v", replication.KindBool, 0, "boolean"))
	err := tg.w.Apply(t.Context(), "g", tg.Batch(yes, row(num(2), replication.BoolValue(true))))
	want := `ALTER TABLE "public"."t" ALTER COLUMN "v" TYPE boolean USING "v"::boolean`
	if !replication.IsRefusal(err) || !strings.Contains(err.Error(), want) {
		t.Fatalf("got %v", err)
	}
	tg.exec(want)
	tg.Apply(yes, row(num(2), replication.BoolValue(true)))
	if got := tg.dump(`SELECT * FROM t ORDER BY id`); got != "1|t\n2|t" {
		t.Errorf("got %s", got)
	}
}

// TestColumnsDoNotFollow is not allowed to alter, or cannot: it says what to run.
func TestColumnsDoNotFollow(t *testing.T) {
	tg := newTarget(t, Config{})
	tg.exec(`CREATE TABLE t (id bigint PRIMARY KEY, i int, r real, v varchar(4) NOT NULL)`)
	wide := shape(id(), field("i", replication.KindInt, 64, "bigint"), field("r", replication.KindFloat, 64, "double precision"), field("v", replication.KindString, 0, "text"))
	tg.Apply(wide, row(num(1), num(1), replication.FloatValue(0.5), str("fits")))
	if log := tg.logs.String(); !strings.Contains(log, `ALTER COLUMN \"r\" TYPE double precision`) || strings.Contains(log, `\"i\"`) {
		t.Errorf("the log has no word of what is cut: %s", log)
	}
	for statement, r := range map[string]sink.Row{
		`ALTER TABLE "public"."t" ALTER COLUMN "i" TYPE bigint, ALTER COLUMN "r" TYPE double precision, ALTER COLUMN "v" TYPE text`: row(num(2), num(1<<40), replication.Null, str("b")),
		`ALTER TABLE "public"."t" ALTER COLUMN "v" DROP NOT NULL`:                                                                   row(num(3), num(1), replication.Null, replication.Null),
	} {
		err := tg.w.Apply(t.Context(), "g", tg.Batch(wide, r))
		if !apply.IsRowErrors(err) || !strings.Contains(err.Error(), statement) {
			t.Errorf("got %v\nwant %s", err, statement)
		}
		tg.exec(statement)
		tg.Apply(wide, r)
	}

	tg.w.cfg.AlterColumns = true
	tg.exec(`CREATE TABLE u (id bigint PRIMARY KEY, i int); CREATE VIEW uses AS SELECT i FROM u`)
	s := shape(id(), field("i", replication.KindInt, 64, "bigint"))
	s.Table = "u"
	err := tg.w.Apply(t.Context(), "g", tg.Batch(s, row(num(1), num(1))))
	if !replication.IsRefusal(err) || !strings.Contains(err.Error(), `ALTER TABLE "public"."u" ALTER COLUMN "i" TYPE bigint`) || !strings.Contains(err.Error(), "view uses") {
		t.Errorf("got %v", err)
	}
}

// TestRenamedTwiceTakesOlderRows: rows of versions before two renames go to the
// column of the newest name.
func TestRenamedTwiceTakesOlderRows(t *testing.T) {
	tg := newTarget(t, Config{AddColumns: true, AlterColumns: true})
	tg.exec(`CREATE TABLE t (id bigint PRIMARY KEY, a text)`)
	text := func(name string) sink.Field { return field(name, replication.KindString, 0, "text") }
	a, b, c := shape(id(), text("a")), shape(id(), renamed(text("b"), "a")), shape(id(), renamed(text("c"), "b", "a"))
	tg.Apply(a, row(num(1), str("1")))
	tg.Apply(b, row(num(2), str("2")))
	tg.Apply(c, row(num(3), str("3")))
	tg.Apply(a, row(num(4), str("4")))
	tg.Apply(b, row(num(5), str("5")))
	if got, want := tg.dump(`SELECT * FROM t ORDER BY id`), "1|1\n2|2\n3|3\n4|4\n5|5"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestRenamedBeforeRestartTakesOlderRows: they do so after a restart, and in another
// instance, and a column's own comment stays.
func TestRenamedBeforeRestartTakesOlderRows(t *testing.T) {
	tg := newTarget(t, Config{AddColumns: true, AlterColumns: true})
	tg.exec(`CREATE TABLE t (id bigint PRIMARY KEY, a text); COMMENT ON COLUMN t.a IS 'ours'`)
	text := func(name string) sink.Field { return field(name, replication.KindString, 0, "text") }
	a, b := shape(id(), text("a")), shape(id(), renamed(text("b"), "a"))
	tg.Apply(b, row(num(1), str("1")))
	cfg := tg.w.cfg
	tg.Must(tg.w.Close(t.Context()))
	var err error
	tg.w, err = Open(t.Context(), cfg)
	tg.Must(err)
	tg.Writer = tg.w
	tg.Apply(a, row(num(2), str("2")))
	if got, want := tg.dump(`SELECT * FROM t ORDER BY id`), "1|1\n2|2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	tg.Apply(shape(id(), renamed(text("c"), "b", "a")), row(num(3), str("3")))
	if got, want := tg.dump(`SELECT col_description('t'::regclass, 2)`), "ours\ncdc: formerly [\"b\",\"a\"]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
