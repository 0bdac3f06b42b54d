package mysql

import (
	"errors"
	"strings"
	"testing"

	"cdc/replication"
	"cdc/sink"
)

func TestWidened(t *testing.T) {
	for _, c := range [][3]string{
		{"int", "bigint", "bigint"},
		{"int(11)", "bigint", "bigint"},
		{"bigint", "int", ""},
		{"int unsigned", "bigint", "bigint"},
		{"int unsigned", "int", ""},
		{"int", "bigint unsigned", ""},
		{"int unsigned", "bigint unsigned", "bigint unsigned"},
		{"tinyint(1)", "boolean", ""},
		{"varchar(10)", "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "varchar(20)"},
		{"varchar(20)", "varchar(10)", ""},
		{"varchar(20)", "longtext", "longtext"},
		{"text", "longtext", "longtext"},
		{"longtext", "varchar(10)", ""},
		{"enum('a')", "longtext", ""},
		{"char(5)", "varchar(9)", ""},
		{"varbinary(9)", "varbinary(16)", "varbinary(16)"},
		{"blob", "longblob", "longblob"},
		{"binary(16)", "longblob", ""},
		{"float", "double", "double"},
		{"double", "float", ""},
		{"int", "double", ""},
		{"decimal(10,2)", "decimal(12,4)", "decimal(12,4)"},
		{"decimal(10,2)", "decimal(6,4)", "decimal(12,4)"},
		{"decimal(65,30)", "decimal(12,2)", ""},
		{"decimal(65,0)", "decimal(65,30)", ""},
		{"bigint", "decimal(65,30)", "decimal(65,30)"},
		{"bigint", "decimal(12,2)", ""},
		{"datetime", "datetime(6)", "datetime(6)"},
		{"datetime(6)", "datetime(3)", ""},
		{"time(3)", "time(6)", "time(6)"},
		{"date", "datetime(6)", ""},
		{"json", "longtext", ""},
		{"", "int", ""},
	} {
		if got := widened(c[0], c[1]); got != c[2] {
			t.Errorf("%s and %s: got %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

// TestColumnsFollow: wider types, a new name, NULL, and what else is said of the
// columns stays.
func TestColumnsFollow(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{AddColumns: true, AlterColumns: true})
		tg.exec("CREATE TABLE t (id int NOT NULL PRIMARY KEY, note varchar(5) CHARACTER SET latin1 NOT NULL DEFAULT 'a,`b`' COMMENT 'it''s, kept', amount decimal(5,2), old varchar(20), at datetime)",
			"INSERT INTO t VALUES (1, 'one', 1.25, 'kept', '2026-01-01')")
		renamed := field("new", kStr, 0, "character varying(30)") // and wider
		renamed.Aliases = []string{"older", "old"}
		amount := field("amount", kDec, 0, "numeric(12,4)")
		amount.Precision, amount.Scale = 12, 4
		s := shape(id(), field("note", kStr, 0, "character varying(40)"), amount, renamed, field("at", kStamp, 0, "timestamp without time zone"))
		tg.Apply(s, row(num(1<<40), str(strings.Repeat("n", 40)), bytesOf(kDec, "12345678.1234"), str("new name, of more than twenty"), micros(kStamp, 1)))
		if got := tg.dump("SELECT id, note, amount, new, at FROM t ORDER BY id"); got != "1|one|1.2500|kept|2026-01-01 00:00:00.000000\n1099511627776|"+strings.Repeat("n", 40)+"|12345678.1234|new name, of more than twenty|1970-01-01 00:00:00.000001" {
			t.Errorf("got\n%s", got)
		}
		about := func() string {
			return tg.dump("SELECT COLUMN_TYPE, CHARACTER_SET_NAME, IS_NULLABLE, trim(BOTH '''' FROM COLUMN_DEFAULT), COLUMN_COMMENT FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = database() AND TABLE_NAME = 't' AND COLUMN_NAME = 'note'")
		}
		if got := about(); got != "varchar(40)|latin1|NO|a,`b`|it's, kept" {
			t.Errorf("the column is %s", got)
		}
		tg.Apply(s, row(num(2), replication.Null, replication.Null, replication.Null, replication.Null))
		if got := tg.dump("SELECT note FROM t WHERE id = 2"); got != "NULL" {
			t.Errorf("got %s", got)
		}
		if got := about(); got != "varchar(40)|latin1|YES|a,`b`|it's, kept" {
			t.Errorf("the column is %s", got)
		}
		// What has a wider column than the topic is left alone.
		plans := len(tg.w.plans)
		narrow := shape(id(), field("note", kStr, 0, "character varying(3)"))
		tg.Apply(narrow, row(num(3), str("n")))
		if got := about(); !strings.HasPrefix(got, "varchar(40)") || len(tg.w.plans) != plans+1 {
			t.Errorf("the column is %s", got)
		}
	})
}

// TestColumnsThatCannotFollow: what the server does not alter is no obstacle as
// long as the rows fit; the others are altered all the same.
func TestColumnsThatCannotFollow(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{AlterColumns: true})
		tg.exec("CREATE TABLE t (id int PRIMARY KEY, note varchar(5), KEY (note))", "CREATE TABLE child (id int, FOREIGN KEY (id) REFERENCES t (id))")
		tg.exec("ALTER TABLE t ADD COLUMN more varchar(5)")
		s := shape(id(), note(), field("more", kStr, 0, "character varying(9)"))
		tg.Apply(s, row(num(1), str("fits"), str("123456789")))
		if got := tg.dump("SELECT * FROM t"); got != "1|fits|123456789" {
			t.Errorf("got %s", got)
		}
		if !strings.Contains(tg.logs.String(), "cannot be changed") {
			t.Errorf("no warning: %s", tg.logs)
		}
		err := tg.w.Apply(t.Context(), "g", tg.Batch(s, row(num(1<<40), str("a"), str("b")), row(num(2), str("too long"), str("b"))))
		want := 2
		if tg.mariadb() { // which indexes the beginning of a longtext
			want = 1
		}
		if bad, ok := errors.AsType[sink.RowErrors](err); !ok || len(bad) != want {
			t.Errorf("got %v", err)
		}
	})
}

func TestColumnsThatMayNotFollow(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{})
		tg.exec("CREATE TABLE t (id bigint PRIMARY KEY, note varchar(5) NOT NULL)")
		s := shape(id(), field("note", kStr, 0, "character varying(40)"))
		for _, v := range []replication.Value{str("too long"), replication.Null} {
			err := tg.w.Apply(t.Context(), "g", tg.Batch(s, row(num(1), str("a")), row(num(2), v)))
			if bad, ok := errors.AsType[sink.RowErrors](err); !ok || len(bad) != 1 || bad[0].Index != 1 {
				t.Errorf("%v: got %v", v, err)
			}
		}
	})
}

// TestRenamedColumnTakesOlderRows: records of older versions of the topic, after
// the column was renamed and in one batch with it, go to the column of the new name.
func TestRenamedColumnTakesOlderRows(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{CreateTables: true, AddColumns: true, AlterColumns: true})
		before := shape(id(), field("a", kStr, 0, "character varying(20)"))
		tg.Apply(before, row(num(1), str("one")))
		for i, name := range []string{"b", "C`c"} {
			f := field(name, kStr, 0, "character varying(20)")
			f.Aliases = []string{"a", "b"}[:i+1]
			tg.Apply(shape(id(), f), row(num(int64(10+i)), str(name)))
			tg.Apply(before, row(num(int64(20+i)), str("old")), row(num(int64(30+i)), replication.Null))
		}
		if got := tg.dump("SELECT * FROM t ORDER BY id"); got != "1|one\n10|b\n11|C`c\n20|old\n21|old\n30|NULL\n31|NULL" {
			t.Errorf("got\n%s", got)
		}
	})
}

// TestRenamedBeforeRestartTakesOlderRows: they do so after a restart, and in another
// instance. A table that is made anew has forgotten the names.
func TestRenamedBeforeRestartTakesOlderRows(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{CreateTables: true, AddColumns: true, AlterColumns: true})
		again := func() {
			t.Helper()
			tg.Must(tg.w.Close(t.Context()))
			var err error
			tg.w, err = Open(t.Context(), tg.w.cfg)
			tg.Must(err)
			tg.Writer = tg.w
		}
		text := func(name string, from ...string) sink.Field {
			f := field(name, kStr, 0, "character varying(20)")
			f.Aliases = from
			return f
		}
		tg.exec("CREATE TABLE t (id bigint PRIMARY KEY, `A``'\\\"` varchar(20) CHARACTER SET latin1 NOT NULL DEFAULT 'x' COMMENT 'ours')")
		first := "a`'\\\""
		before, other := shape(id(), text(first)), shape(id(), text("b"), text(first, "none"))
		tg.Apply(shape(id(), text("b", first)), row(num(1), str("1")))
		again()
		tg.Apply(before, row(num(2), str("2")))
		tg.Apply(shape(id(), text("C", "b", first)), row(num(3), str("3")))
		again()
		tg.Apply(before, row(num(4), str("4")))
		tg.Apply(shape(id(), text("B")), row(num(5), str("5")))
		if got := tg.dump("SELECT * FROM t ORDER BY id"); got != "1|1\n2|2\n3|3\n4|4\n5|5" {
			t.Errorf("got\n%s", got)
		}
		if got := tg.dump("SELECT COLUMN_NAME, CHARACTER_SET_NAME, IS_NULLABLE, COLUMN_COMMENT FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = database() AND TABLE_NAME = 't' AND COLUMN_NAME <> 'id'"); got != "C|latin1|NO|ours" {
			t.Errorf("the column is %s", got)
		}
		// What one record has in two fields has two columns.
		tg.Apply(other, row(num(6), str("b"), str("a")))
		if got := tg.dump("SELECT * FROM t WHERE id = 6"); got != "6|b|a" {
			t.Errorf("got %s", got)
		}
		tg.exec("DROP TABLE t")
		again()
		tg.Apply(shape(id(), text("c")), row(num(1), str("1")))
		tg.Apply(shape(id(), text("b")), row(num(2), str("2")))
		if got := tg.dump("SELECT id, c, b FROM t ORDER BY id"); got != "1|1|NULL\n2|NULL|2" {
			t.Errorf("got\n%s", got)
		}
	})
}
