package postgres

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"cdc/replication"
	"cdc/secret"
	"cdc/sink"
	"cdc/sink/apply"
)

// cell is a value and the SQL expression that PostgreSQL itself has for it.
type cell struct {
	typ  string // the target column's type
	kind replication.Kind
	bits uint8
	v    replication.Value
	sql  string
}

func micros(k replication.Kind, n int64) replication.Value { return replication.NumValue(k, n) }

func bytesOf(k replication.Kind, s string) replication.Value { return replication.StringValue(k, s) }

func list(v ...replication.Value) replication.Value { return replication.ArrayValue(v) }

// cells covers every kind, its edges, and targets of other types than the
// source's. Expectations are written for psql, not taken from our formatter.
func cells() []cell {
	const (
		date, clock, stamp, stampTZ = replication.KindDate, replication.KindTime, replication.KindTimestamp, replication.KindTimestampTZ
		dec, js, by, uu, st         = replication.KindDecimal, replication.KindJSON, replication.KindBytes, replication.KindUUID, replication.KindString
		in, ar, fl                  = replication.KindInt, replication.KindArray, replication.KindFloat
	)
	inf, ninf := replication.Infinity, replication.NegInfinity
	return []cell{
		{"boolean", replication.KindBool, 0, replication.BoolValue(true), "true"},
		{"boolean", replication.KindBool, 0, replication.BoolValue(false), "false"},
		{"smallint", in, 16, num(-32768), "(-32768)::int2"},
		{"integer", in, 32, num(2147483647), "2147483647"},
		{"bigint", in, 64, num(math.MinInt64), "(-9223372036854775808)::int8"},
		{"numeric(20,0)", replication.KindUint, 64, replication.UintValue(math.MaxUint64), "18446744073709551615::numeric"},
		{"real", fl, 32, replication.FloatValue(float64(float32(0.1))), "0.1::real"},
		{"double precision", fl, 64, replication.FloatValue(0.1), "0.1::float8"},
		{"double precision", fl, 64, replication.FloatValue(math.Copysign(0, -1)), "'-0'::float8"},
		{"double precision", fl, 64, replication.FloatValue(math.NaN()), "'NaN'::float8"},
		{"double precision", fl, 64, replication.FloatValue(math.Inf(-1)), "'-Infinity'::float8"},
		{"double precision", fl, 64, replication.FloatValue(math.MaxFloat64), "1.7976931348623157e308::float8"},
		{"numeric", dec, 0, bytesOf(dec, "123456789012345678901234567890.000000000000000000012340"), "123456789012345678901234567890.000000000000000000012340"},
		{"numeric", dec, 0, bytesOf(dec, "NaN"), "'NaN'::numeric"},
		{"numeric", dec, 0, bytesOf(dec, "-Infinity"), "'-Infinity'::numeric"},
		{"numeric(12,2)", dec, 0, bytesOf(dec, "-0.05"), "-0.05"},
		{"text", st, 0, str("tab\t newline\n return\r backslash\\ quote' \"double\" \\N \\."), `E'tab\t newline\n return\r backslash\\ quote'' "double" \\N \\.'`},
		{"text", st, 0, str(""), "''"},
		{"text", st, 0, str("NULL"), "'NULL'"},
		{"text", st, 0, str("{a,\"b\"}"), `'{a,"b"}'`},
		{"text", st, 0, str("žluťoučký 🐴"), "'žluťoučký 🐴'"},
		{"character varying(5)", st, 0, str("abcde"), "'abcde'"},
		{"character(5)", st, 0, str("ab   "), "'ab'::char(5)"},
		{"bytea", by, 0, bytesOf(by, "\x00\x01\\\xff'\n"), `'\x00015cff270a'::bytea`},
		{"bytea", by, 0, bytesOf(by, ""), `''::bytea`},
		{"date", date, 0, micros(date, 0), "DATE '1970-01-01'"},
		{"date", date, 0, micros(date, -1), "DATE '1969-12-31'"},
		{"date", date, 0, micros(date, 11016), "DATE '2000-02-29'"},
		{"date", date, 0, micros(date, -719162), "DATE '0001-01-01'"},
		{"date", date, 0, micros(date, -719163), "DATE '0001-12-31 BC'"},
		{"date", date, 0, micros(date, -2440588), "DATE '4714-11-24 BC'"},
		{"date", date, 0, micros(date, 2932897), "DATE '10000-01-01'"},
		{"date", date, 0, micros(date, 2145042905), "DATE '5874897-12-31'"},
		{"date", date, 0, micros(date, inf), "DATE 'infinity'"},
		{"date", date, 0, micros(date, ninf), "DATE '-infinity'"},
		{"time", clock, 0, micros(clock, 0), "TIME '00:00'"},
		{"time", clock, 0, micros(clock, 86_399_999_999), "TIME '23:59:59.999999'"},
		{"time", clock, 0, micros(clock, 86_400_000_000), "TIME '24:00:00'"},
		{"time", clock, 0, micros(clock, 3_723_000_040), "TIME '01:02:03.00004'"},
		{"timestamp", stamp, 0, micros(stamp, -1), "TIMESTAMP '1969-12-31 23:59:59.999999'"},
		{"timestamp", stamp, 0, micros(stamp, 253402300800000000), "TIMESTAMP '10000-01-01 00:00:00'"},
		{"timestamp", stamp, 0, micros(stamp, 9223372036854775806), "TIMESTAMP '294247-01-10 04:00:54.775806'"},
		{"timestamp", stamp, 0, micros(stamp, -62167219200000000), "TIMESTAMP '0001-01-01 00:00:00 BC'"},
		{"timestamp", stamp, 0, micros(stamp, inf), "TIMESTAMP 'infinity'"},
		{"timestamptz", stampTZ, 0, micros(stampTZ, 1_500_000), "TIMESTAMPTZ '1970-01-01 00:00:01.5+00'"},
		{"timestamptz", stampTZ, 0, micros(stampTZ, -62167219200000000+1), "TIMESTAMPTZ '0001-01-01 00:00:00.000001+00 BC'"},
		{"timestamptz", stampTZ, 0, micros(stampTZ, ninf), "TIMESTAMPTZ '-infinity'"},
		{"uuid", uu, 0, bytesOf(uu, "\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef"), "'01234567-89ab-cdef-0123-456789abcdef'::uuid"},
		{"json", js, 0, bytesOf(js, `{"b": 1,  "a": "x\ny\\"}`), `'{"b": 1,  "a": "x\ny\\"}'`},
		{"jsonb", js, 0, bytesOf(js, `{"b":[1,null],"a":"\t"}`), `'{"a":"\t","b":[1,null]}'::jsonb`},
		{"integer[]", ar, 32, list(num(1), replication.Null, num(-3)), "'{1,NULL,-3}'::int[]"},
		{"integer[]", ar, 32, list(), "'{}'::int[]"},
		{"text[]", ar, 0, list(str("a\"b\\c,{}"), str(""), str("NULL"), replication.Null, str("\n\t")), `ARRAY['a"b\c,{}', '', 'NULL', NULL, E'\n\t']`},
		{"bytea[]", ar, 0, list(bytesOf(by, "\x00\\")), `ARRAY['\x005c'::bytea]`},
		{"date[]", ar, 0, list(micros(date, 0), micros(date, inf)), `ARRAY[DATE '1970-01-01', DATE 'infinity']`},
		{"timestamp[]", ar, 0, list(micros(stamp, 0)), `ARRAY[TIMESTAMP '1970-01-01 00:00']`},
		{"numeric[]", ar, 0, list(bytesOf(dec, "1.50"), bytesOf(dec, "NaN")), `ARRAY[1.50, 'NaN'::numeric]`},
		{"boolean[]", ar, 0, list(replication.BoolValue(true), replication.Null), `ARRAY[true, NULL]`},
		{"uuid[]", ar, 0, list(bytesOf(uu, "\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef")), "ARRAY['01234567-89ab-cdef-0123-456789abcdef'::uuid]"},
		{"real[]", ar, 32, list(replication.FloatValue(float64(float32(0.1)))), "ARRAY[0.1::real]"},
		// what travels as its text
		{"interval", st, 0, str("1 mon -2 days +03:04:05.6"), "INTERVAL '1 mon -2 days 03:04:05.6'"},
		{"integer[]", st, 0, str("{{1,2},{3,4}}"), "'{{1,2},{3,4}}'::int[]"},
		{"inet", st, 0, str("192.168.0.1/24"), "'192.168.0.1/24'::inet"},
		{"int4range", st, 0, str("[1,5)"), "'[1,5)'::int4range"},
		{"bit(5)", st, 0, str("10110"), "B'10110'"},
		{"money", st, 0, str("-$1,234.50"), "'-1234.5'::numeric::money"},
		{`"char"`, st, 0, str(""), `'\000'::"char"`},
		{"xid8", st, 0, str("18446744073709551615"), "'18446744073709551615'::xid8"},
		// other types in the target than in the source
		{"text", in, 32, num(7), "'7'"},
		{"numeric(10,2)", in, 32, num(7), "7.00"},
		{"bigint", in, 16, num(7), "7::int8"},
		{"text", date, 0, micros(date, 0), "'1970-01-01'"},
		{"timestamptz", stamp, 0, micros(stamp, 0), "TIMESTAMPTZ '1970-01-01 00:00:00+00'"},
		{"text", dec, 0, bytesOf(dec, "1.500"), "'1.500'"},
		{"jsonb", st, 0, str(`[1]`), "'[1]'::jsonb"},
	}
}

// TestTypes writes every cell by each of the ways in and compares in the
// database.
func TestTypes(t *testing.T) {
	for _, way := range []struct {
		name string
		rows int
		new  bool
	}{
		{"unnest", 1, false},
		{"stage", copyThreshold, false},
		{"copy", minCopyNew, true},
	} {
		t.Run(way.name, func(t *testing.T) {
			tg := newTarget(t, Config{})
			for i, c := range cells() {
				name := fmt.Sprintf("t%d", i)
				tg.exec("CREATE TABLE " + name + " (id bigint PRIMARY KEY, v " + c.typ + ")")
				f := field("v", c.kind, c.bits, "")
				s := &sink.Shape{Topic: "public." + name, Table: name, Fields: []sink.Field{id(), f}}
				rows := make([]sink.Row, way.rows)
				for n := range rows {
					rows[n] = sink.Row{Values: []replication.Value{num(int64(n)), c.v}, New: way.new}
				}
				tg.Apply(s, rows...)
				same := "v IS NOT DISTINCT FROM " + c.sql
				if strings.HasPrefix(c.typ, "json") && c.typ != "jsonb" {
					same = "v::text = " + c.sql
				}
				if got, want := tg.dump("SELECT count(*) FROM "+name+" WHERE "+same), fmt.Sprint(way.rows); got != want {
					t.Errorf("%s %s: %s of %s rows are %s; one is %s", c.typ, c.v, got, want, c.sql, tg.dump("SELECT v FROM "+name+" LIMIT 1"))
				}
				tg.exec("DROP TABLE " + name)
			}
		})
	}
}

func TestSQLType(t *testing.T) {
	col := func(k replication.Kind, bits uint8, p, s int, elem replication.Kind, typ string) replication.Column {
		return replication.Column{Kind: k, Bits: bits, Precision: p, Scale: s, Elem: elem, TypeName: typ}
	}
	for _, c := range []struct {
		col  replication.Column
		want string
	}{
		{col(replication.KindDecimal, 0, 12, 2, 0, "numeric(12,2)"), "numeric(12,2)"},
		{col(replication.KindString, 0, 0, 0, 0, "character varying(40)"), "character varying(40)"},
		{col(replication.KindTimestamp, 0, 0, 0, 0, "timestamp(3) without time zone"), "timestamp(3) without time zone"},
		{col(replication.KindArray, 0, 0, 0, replication.KindString, "text[]"), "text[]"},
		{col(replication.KindString, 0, 0, 0, 0, "mood"), "text"},
		// MySQL's types of the same names
		{col(replication.KindString, 0, 0, 0, 0, "time"), "interval"},
		{col(replication.KindString, 0, 0, 0, 0, "time(6)"), "interval"},
		{col(replication.KindTimestampTZ, 0, 0, 0, 0, "timestamp"), "timestamp with time zone"},
		{col(replication.KindTimestampTZ, 0, 0, 0, 0, "timestamp(3)"), "timestamp(3) with time zone"},
		{col(replication.KindTimestamp, 0, 0, 0, 0, "datetime(6)"), "timestamp without time zone"},
		{col(replication.KindBool, 0, 0, 0, 0, "bit(1)"), "boolean"},
		{col(replication.KindUint, 8, 0, 0, 0, "bit(8)"), "smallint"},
		{col(replication.KindInt, 32, 0, 0, 0, "bit(12)"), "integer"},
		{col(replication.KindDecimal, 0, 20, 0, 0, "bit(64)"), "numeric(20,0)"},
		{col(replication.KindUint, 64, 0, 0, 0, "bigint unsigned"), "numeric(20,0)"},
		{col(replication.KindBytes, 0, 0, 0, 0, "point"), "bytea"},
		{col(replication.KindArray, 32, 0, 0, replication.KindFloat, "vector(3)"), "real[]"},
		{col(replication.KindInt, 16, 0, 0, 0, "year"), "smallint"},
		{col(replication.KindString, 0, 0, 0, 0, "enum('a','it''s')"), "text"},
		{replication.Column{Kind: replication.KindString, TypeName: "address", BaseType: "inet"}, "inet"},
		{replication.Column{Kind: replication.KindInt, Bits: 32, TypeName: "posint", BaseType: "integer"}, "integer"},
		{replication.Column{Kind: replication.KindString, TypeName: "feeling", BaseType: "mood"}, "text"},
		{col(replication.KindArray, 32, 0, 0, replication.KindInt, "odd[]"), "integer[]"},
		{col(replication.KindDecimal, 0, 9, 3, 0, ""), "numeric(9,3)"},
		{col(replication.KindDecimal, 0, 0, 0, 0, ""), "numeric"},
		{col(replication.KindUint, 64, 0, 0, 0, ""), "numeric(20,0)"},
		{col(replication.KindFloat, 32, 0, 0, 0, ""), "real"},
		{col(replication.KindInt, 16, 0, 0, 0, ""), "smallint"},
		// foreign text never reaches SQL
		{col(replication.KindString, 0, 0, 0, 0, `text); DROP TABLE t; --`), "text"},
		{col(replication.KindInt, 64, 0, 0, 0, "bigint GENERATED ALWAYS AS IDENTITY"), "bigint"},
		{col(replication.KindInt, 64, 0, 0, 0, "bigint\n"), "bigint"},
		{col(replication.KindString, 0, 0, 0, 0, `"Quoted"`), "text"},
		{col(replication.KindString, 0, 0, 0, 0, "numeric(1e9)"), "text"},
	} {
		if got := userTypes(nil).sqlType(c.col); got != c.want {
			t.Errorf("%v %q: got %s, want %s", c.col.Kind, c.col.TypeName, got, c.want)
		}
	}
}

// TestTypesOfTheTarget makes tables of columns whose types are not PostgreSQL's
// own: where the target has a type of that name it is taken, else text.
func TestTypesOfTheTarget(t *testing.T) {
	tg := newTarget(t, Config{CreateTables: true, AddColumns: true})
	tg.exec(`CREATE EXTENSION hstore; CREATE SCHEMA "we.ird"; CREATE TYPE "we.ird"."Mo""od" AS ENUM ('a', 'b c');
		CREATE TYPE pair AS (a int, b text); CREATE TABLE taken (a int); CREATE DOMAIN never AS int NOT NULL;
		CREATE DOMAIN spot AS box; CREATE TYPE only_here AS ENUM ('x')`)
	st, ar := replication.KindString, replication.KindArray
	array := func(name, typ string) sink.Field {
		f := field(name, ar, 0, typ)
		f.Elem = st
		return f
	}
	s := shape(id(), field("h", st, 0, "hstore"), field("h2", st, 0, "elsewhere.hstore"), field("m", st, 0, `"we.ird"."Mo""od"`), array("ms", `"we.ird"."Mo""od"[]`),
		field("p", st, 0, "pair"), field("row", st, 0, "taken"), field("d", replication.KindInt, 32, "never"), field("b", st, 0, "spot"),
		field("gone", st, 0, "only_there"), array("gones", "only_there[]"), field("reg", st, 0, "regclass"), field("acl", st, 0, "aclitem"),
		field("bad", st, 0, `text); DROP TABLE taken; --`), field("box", st, 0, "box"), field("boxes", st, 0, "box[]"))
	row := sink.Row{Values: []replication.Value{
		num(1), str(`"k"=>NULL, "a\"b"=>"\\"`), str(`"k"=>"v"`), str("b c"), list(str("b c"), replication.Null), str(`(1,"a""b,")`), str("(1)"), num(7), str("(3,4),(1,2)"),
		str("some label"), list(str("x"), replication.Null), str("pg_class"), str("nobody=r/nobody"), str("bad"), str("(3,4),(1,2)"), str("{(3,4),(1,2);(1,1),(0,0)}"),
	}}
	tg.Apply(s, row)
	want := `id bigint
h hstore
h2 hstore
m "we.ird"."Mo""od"
ms "we.ird"."Mo""od"[]
p pair
row text
d integer
b spot
gone text
gones text[]
reg text
acl text
bad text
box box
boxes box[]`
	got := tg.dump("SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum")
	if got != want {
		t.Errorf("columns:\n%s\nwant:\n%s", got, want)
	}
	if got, want := tg.dump("SELECT * FROM t"), `1|"k"=>NULL, "a\"b"=>"\\"|"k"=>"v"|b c|{"b c",NULL}|(1,"a""b,")|(1)|7|(3,4),(1,2)|some label|{x,NULL}|pg_class|nobody=r/nobody|bad|(3,4),(1,2)|{(3,4),(1,2);(1,1),(0,0)}`; got != want {
		t.Errorf("row:\n%s\nwant:\n%s", got, want)
	}
	// A type in a schema that the role may not look into is none.
	role := tg.dump("SELECT current_database()") + "_role"
	tg.exec(`CREATE ROLE ` + role)
	t.Cleanup(func() { tg.exec(`DROP ROLE ` + role) })
	tg.Must(tg.w.exec(t.Context(), `SET ROLE `+role))
	for name, want := range map[string]string{`"we.ird"."Mo""od"`: "", "pair": "pair"} {
		if got, err := tg.w.lookUpType(t.Context(), name); err != nil || got != want {
			t.Errorf("type %s of a foreign role: %q, %v", name, got, err)
		}
	}
	tg.Must(tg.w.exec(t.Context(), `RESET ROLE`))
	// A sink that starts later finds nothing to alter.
	again, err := Open(t.Context(), Config{URL: secret.New(tg.url), AlterColumns: true})
	tg.Must(err)
	defer again.Close(t.Context())
	p, err := again.plan(t.Context(), s)
	tg.Must(err)
	if len(p.hints) > 0 {
		t.Errorf("hints of a table as the sink made it: %q", p.hints)
	}
	// A column that is added later finds the type, too, also one made meanwhile.
	tg.exec("CREATE TYPE only_there AS ENUM ('some label')")
	more := shape(append(s.Fields, field("later", st, 0, "only_there"))...)
	row.Values = append(row.Values, str("some label"))
	tg.Apply(more, row)
	if got := tg.dump("SELECT pg_typeof(later)::text || ' ' || later FROM t"); got != "only_there some label" {
		t.Errorf("the added column: %s", got)
	}
}

// TestHostileSettings has a target whose defaults would read texts as something
// else.
func TestHostileSettings(t *testing.T) {
	tg := newTarget(t, Config{CreateTables: true})
	name := tg.dump("SELECT current_database()")
	for _, set := range []string{"DateStyle = 'German, DMY'", "IntervalStyle = sql_standard", "TimeZone = 'Asia/Kathmandu'", "array_nulls = off", "xmloption = document", "bytea_output = escape"} {
		tg.exec("ALTER DATABASE " + name + " SET " + set)
	}
	tg.Must(tg.w.Close(t.Context())) // so that it connects anew
	st := replication.KindString
	stamps := field("tz", replication.KindArray, 0, "timestamp with time zone[]")
	stamps.Elem = replication.KindTimestampTZ
	s := shape(id(), field("i", st, 0, "interval"), field("x", st, 0, "xml"), stamps, field("r", st, 0, "daterange"))
	tg.Apply(s, row(num(1), str("-1 years -2 mons +3 days -04:05:06"), str("no <b>document</b>"), list(replication.NumValue(replication.KindTimestampTZ, 0), replication.Null), str("[2026-02-03,2026-04-05)")))
	const same = "i = '-14 mons 3 days'::interval - '04:05:06'::interval AND x::text = 'no <b>document</b>' AND tz = ARRAY['epoch'::timestamptz, NULL] AND r = daterange('2026-02-03', '2026-04-05')"
	if got := tg.dump("SELECT " + same + " FROM t"); got != "t" {
		t.Errorf("not the same: %s", tg.dump("SELECT * FROM t"))
	}
}

// TestLabels: an enum of the target, which the source's has outgrown, gets the
// label, or the error says what to run; another type's column gets none.
func TestLabels(t *testing.T) {
	st, ar := replication.KindString, replication.KindArray
	moods := field("ms", ar, 0, "mood[]")
	moods.Elem = st
	s := shape(id(), field("m", st, 0, "mood"), moods, field("x", st, 0, "text"))
	enum := func(tg *target) string {
		return tg.dump("SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = 'mood'::regtype")
	}
	const ddl = "CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE t (id bigint PRIMARY KEY, m mood, ms mood[], x mood)"
	rows := []sink.Row{
		row(num(1), str("sad"), list(str("sad"), replication.Null), replication.Null),
		row(num(2), str("o'k"), list(str("very happy"), str("o'k")), str("sad")),
	}
	t.Run("added", func(t *testing.T) {
		tg := newTarget(t, Config{AlterColumns: true})
		tg.exec(ddl)
		tg.Apply(s, rows...)
		if got := enum(tg); got != "sad,o'k,very happy" {
			t.Errorf("labels %s", got)
		}
		if got := tg.dump("SELECT m, ms, x FROM t WHERE id = 2"); got != `o'k|{"very happy",o'k}|sad` {
			t.Errorf("row %s", got)
		}
		b := tg.Batch(s, row(num(3), str("sad"), list(), str("no mood")))
		if err := tg.w.Apply(t.Context(), "g", b); !apply.IsRowErrors(err) || enum(tg) != "sad,o'k,very happy" {
			t.Errorf("a text that is no mood: %v, labels %s", err, enum(tg))
		}
	})
	t.Run("not allowed", func(t *testing.T) {
		tg := newTarget(t, Config{})
		tg.exec(ddl)
		err := tg.w.Apply(t.Context(), "g", tg.Batch(s, rows...))
		if !apply.IsRowErrors(err) || !strings.Contains(err.Error(), "ADD VALUE") || enum(tg) != "sad" {
			t.Errorf("%v, labels %s", err, enum(tg))
		}
	})
}
