package integration

import (
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"cdc/internal/services"
	"cdc/internal/servicetest"
)

// side is a database of one family at one end of a pair, and a session in it.
type side struct {
	*session
	family string // postgres, mysql or mariadb
	url    string
}

func newSide(t *testing.T, server string) *side {
	t.Helper()
	if server == "postgres" {
		return sideAt(t, servicetest.Postgres(t))
	}
	return sideAt(t, servicetest.MySQL(t, server))
}

// sideAt is the side of a database that is there.
func sideAt(t *testing.T, url string) *side {
	t.Helper()
	conn, err := dialSession(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.close)
	s := &side{session: conn, family: family(url), url: url}
	if s.my != nil {
		s.exec(t, "SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES'")
	}
	return s
}

func (s *side) exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := s.do(sql); err != nil {
			t.Fatalf("%s: %s: %v", s.family, sql, err)
		}
	}
}

// kind is how the texts that two servers print of the same value are compared.
type kind int

const (
	exactly kind = iota
	asNumber
	asDouble
	asJSON // by its values, whatever escapes and spaces
)

func (k kind) normal(text string) string {
	if text == "<null>" {
		return text
	}
	switch k {
	case asNumber:
		if r, ok := new(big.Rat).SetString(text); ok {
			return r.RatString()
		}
	case asDouble:
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return strconv.FormatFloat(f, 'g', -1, 64)
		}
	case asJSON:
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var v any
		if d.Decode(&v) == nil {
			if b, err := json.Marshal(v); err == nil {
				return string(b)
			}
		}
	}
	return text
}

// pairColumn is a column of the source, a few values, and the expressions that
// print it at either end: {} stands for the column.
type pairColumn struct {
	typ            string
	values         []string
	source, target string
	kind           kind
}

// capturePair writes a configuration that carries table public.kinds (or the
// database's) to the target.
func capturePair(t *testing.T, source, target *side) (file string) {
	t.Helper()
	name := servicetest.Name(t, "pair")
	schema := "public"
	if source.my != nil {
		schema = source.url[strings.LastIndexByte(source.url, '/')+1:]
	}
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nsource:\n  %s:\n    url: %s\ntables: [%s.kinds]\n", name, source.family, source.url, schema)
	fmt.Fprintf(&b, "map: {prefix: %s.}\nkafka:\n  brokers: [%s]\n  checkpoint_topic: %s_checkpoints\n", name, strings.Join(servicetest.Kafka(t), ", "), name)
	fmt.Fprintf(&b, "registry: {url: %s}\nadmin: {listen: off}\n", servicetest.Registry(t))
	fmt.Fprintf(&b, "sinks:\n  - name: %s\n    topics: [%s.%s.kinds]\n    %s:\n      url: %s\n", name, name, schema, target.family, target.url)
	file = filepath.Join(t.TempDir(), "cdc.yml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// carry makes table kinds in the source, carries its rows through the snapshot
// and through the stream, by insert and by update, and compares.
func carry(t *testing.T, source, target *side, columns []pairColumn) {
	t.Helper()
	var defs, names, exprs, read []string
	rows := 0
	for i, c := range columns {
		n := fmt.Sprintf("c%d", i)
		defs, names = append(defs, n+" "+c.typ), append(names, n)
		exprs, read = append(exprs, strings.ReplaceAll(c.source, "{}", n)), append(read, strings.ReplaceAll(c.target, "{}", n))
		rows = max(rows, len(c.values))
	}
	source.exec(t, "CREATE TABLE kinds (id bigint PRIMARY KEY, "+strings.Join(defs, ", ")+")")
	values := func(row int) (list []string) {
		for _, c := range columns {
			v := "NULL"
			if row < len(c.values) {
				v = c.values[row]
			}
			list = append(list, v)
		}
		return list
	}
	insert := func(from int) {
		for r := range rows + 1 { // the last is all NULL
			source.exec(t, fmt.Sprintf("INSERT INTO kinds (id, %s) VALUES (%d, %s)", strings.Join(names, ", "), from+r, strings.Join(values(r), ", ")))
		}
	}
	equal := func() error {
		want, err := source.query(t.Context(), "SELECT id, "+strings.Join(exprs, ", ")+" FROM kinds ORDER BY id")
		if err != nil {
			return fmt.Errorf("source: %w", err)
		}
		got, err := target.query(t.Context(), "SELECT id, "+strings.Join(read, ", ")+" FROM kinds ORDER BY id")
		if err != nil {
			return fmt.Errorf("target: %w", err)
		}
		if len(got) != len(want) {
			return fmt.Errorf("%d rows instead of %d", len(got), len(want))
		}
		var wrong []string
		for r := range want {
			if want[r][0] != got[r][0] {
				return fmt.Errorf("row %s instead of %s", got[r][0], want[r][0])
			}
			for i, c := range columns {
				if w, g := c.kind.normal(want[r][i+1]), c.kind.normal(got[r][i+1]); w != g {
					wrong = append(wrong, fmt.Sprintf("row %s, c%d %s: %q became %q", want[r][0], i, c.typ, w, g))
				}
			}
		}
		if len(wrong) > 0 {
			return fmt.Errorf("%d cells differ:\n  %s", len(wrong), strings.Join(wrong[:min(len(wrong), 20)], "\n  "))
		}
		return nil
	}
	insert(0)
	p := start(t, binary, "run", "--config", capturePair(t, source, target))
	eventually(t, time.Minute, "the snapshot is in the target", equal, p)
	insert(1000)
	eventually(t, time.Minute, "the inserts are in the target", equal, p)
	for r := range rows {
		source.exec(t, fmt.Sprintf("INSERT INTO kinds (id) VALUES (%d)", 2000+r))
		var set []string
		for i, v := range values(r) {
			set = append(set, names[i]+" = "+v)
		}
		source.exec(t, fmt.Sprintf("UPDATE kinds SET %s WHERE id = %d", strings.Join(set, ", "), 2000+r))
	}
	source.exec(t, "DELETE FROM kinds WHERE id < 2")
	eventually(t, time.Minute, "updates and deletes are in the target", equal, p)
	p.stop(t)
}

// fromPostgres are the types of docs/types.md with values that MySQL can hold.
// What it cannot is refused: sink/mysql's tests say so of each.
func fromPostgres(mariadb bool) []pairColumn {
	const stamp, date = "to_char({}, 'YYYY-MM-DD HH24:MI:SS.US')", "to_char({}, 'YYYY-MM-DD')"
	const myStamp = "date_format({}, '%Y-%m-%d %H:%i:%s.%f')"
	const utc = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
	const text = "{}::text"
	const printed = "CASE WHEN {} IS NOT NULL THEN concat({}) END" // a cast would trim a char and mask an inet
	// Arrays become JSON; PostgreSQL's own to_json prints their elements alike,
	// but for numerics, which stay texts lest they become doubles.
	const list, myList = "to_json({})::text", "{}"
	json, jsonb := "{}::jsonb::text", "{}::text"
	myJSON := "{}"
	if mariadb {
		json = text // the very text
	}
	return []pairColumn{
		{"boolean", []string{"true", "false"}, "{}::int::text", "{}", exactly},
		{"smallint", []string{"-32768", "32767"}, text, "{}", exactly},
		{"integer", []string{"-2147483648", "2147483647"}, text, "{}", exactly},
		{"bigint", []string{"-9223372036854775808", "9223372036854775807"}, text, "{}", exactly},
		{"real", []string{"0.1", "-3.4028235e38", "1.17549435e-38"}, "{}::float8::text", "{} + 0e0", asDouble},
		{"double precision", []string{"0.1", "1.7976931348623157e308", "-2.2250738585072014e-308", "0.30000000000000004"}, text, "{}", asDouble},
		{"numeric", []string{"123.4500", "-12345678901234567890123456789012345.000000000000000000000000000001"}, text, "{}", asNumber},
		{"numeric(12,2)", []string{"-9999999999.99", "0.01"}, text, "{}", exactly},
		{"numeric(60,30)", []string{"-123456789012345678901234567890.123456789012345678901234567890"}, text, "{}", exactly},
		{"numeric(5,-2)", []string{"12345", "-9999900"}, text, "{}", asNumber},
		{"text", []string{`E'tab\t newline\n return\r back\\slash quote'' "double" \u00e9 \u4f60 \U0001F600 '`, "''", "repeat('x', 70000)"}, text, "{}", exactly},
		{"varchar(40)", []string{"'chars  '"}, text, "{}", exactly},
		{"char(5)", []string{"'ab'"}, printed, "{}", exactly},
		{"bytea", []string{`'\x00ff105c27'`, "''"}, "upper(encode({}, 'hex'))", "hex({})", exactly},
		{"date", []string{"'0001-01-01'", "'2026-11-21'", "'9999-12-31'"}, date, "date_format({}, '%Y-%m-%d')", exactly},
		{
			"time",
			[]string{"'00:00'", "'12:34:56.789012'", "'24:00:00'"},
			"(extract(epoch FROM {}) * 1000000)::bigint::text",
			"((hour({}) * 60 + minute({})) * 60 + second({})) * 1000000 + microsecond({})", exactly,
		},
		{"time(3)", []string{"'12:34:56.789'"}, "to_char({}, 'HH24:MI:SS.US')", "time_format({}, '%H:%i:%s.%f')", exactly},
		{"timestamp", []string{"'0001-01-01 00:00:00'", "'2026-11-21 12:34:56.789012'", "'9999-12-31 23:59:59.999999'"}, stamp, myStamp, exactly},
		{"timestamp(0)", []string{"'2026-11-21 12:34:56'"}, stamp, myStamp, exactly},
		{"timestamptz", []string{"'2026-11-21 12:34:56.789012+02'", "'0001-01-02 00:00:00+00'", "'2038-01-19 03:14:08+00'"}, utc, myStamp, exactly},
		{"uuid", []string{"'6f9619ff-8b86-d011-b42d-00cf4fc964ff'", "'00000000-0000-0000-0000-000000000000'"}, text, "{}", exactly},
		{"json", []string{`'{"a": [1, 2.5, null], "b": "c d"}'`, `'"only text"'`}, json, myJSON, asJSON},
		{"jsonb", []string{`'{"b": {"c": "d"}, "n": [18446744073709551615, 0.1]}'`, "'null'"}, jsonb, myJSON, asJSON},
		{"mood", []string{"'very happy'", "'ok'"}, text, "{}", exactly},
		{"posint", []string{"7"}, text, "{}", exactly},
		{"price", []string{"99.125"}, text, "{}", exactly},
		{"boolean[]", []string{"'{t,f,NULL}'", "'{}'"}, list, myList, asJSON},
		{"integer[]", []string{"'{1,NULL,-3}'"}, list, myList, asJSON},
		{"bigint[]", []string{"'{1,9223372036854775807}'"}, list, myList, asJSON},
		{"double precision[]", []string{"'{0.1,NaN,-Infinity}'"}, list, myList, asJSON},
		{"numeric(10,2)[]", []string{"'{1.25,NULL}'"}, "to_json({}::text[])::text", myList, asJSON},
		{"text[]", []string{`'{plain,"with, comma","quote \" and \\ back",NULL,"NULL",""}'`}, list, myList, asJSON},
		{"bytea[]", []string{`'{"\\xdead",NULL}'`}, list, myList, asJSON},
		{"date[]", []string{"'{2026-01-01,NULL}'"}, list, myList, asJSON},
		{"timestamptz[]", []string{`'{"2026-11-21 12:34:56+00"}'`}, "to_json({}::text[])::text", myList, asJSON},
		{"uuid[]", []string{"'{6f9619ff-8b86-d011-b42d-00cf4fc964ff}'"}, list, myList, asJSON},
		{"mood[]", []string{`'{sad,"very happy"}'`}, list, myList, asJSON},
		{"inet", []string{"'10.0.0.1/8'", "'::1'"}, printed, "{}", exactly},
		{"interval", []string{"'1 year 2 mons 3 days 04:05:06.789'", "'-1 days'"}, text, "{}", exactly},
		{"int4range", []string{"'[1,5)'", "'empty'"}, text, "{}", exactly},
		{"point", []string{"'(1.5,2)'"}, text, "{}", exactly},
		{"pair", []string{`'(1,"two words")'`}, text, "{}", exactly},
		{"bit(5)", []string{"'10110'"}, text, "{}", exactly},
		{"timetz", []string{"'12:34:56+02'"}, text, "{}", exactly},
		{"money", []string{"'12.34'"}, text, "{}", exactly},
		{"xml", []string{"'<a>b</a>'"}, text, "{}", exactly},
		{"tsvector", []string{"'a fat cat'"}, text, "{}", exactly},
	}
}

func TestPostgresToMySQL(t *testing.T) {
	for _, version := range []string{services.MySQL9, services.MariaDB118} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			source, target := newSide(t, "postgres"), newSide(t, version)
			source.exec(t, "CREATE TYPE mood AS ENUM ('sad', 'ok', 'very happy'); CREATE DOMAIN posint AS integer CHECK (VALUE > 0); CREATE DOMAIN price AS numeric(8,3); CREATE TYPE pair AS (a int, b text); SET TIME ZONE 'UTC'")
			carry(t, source, target, fromPostgres(strings.HasPrefix(version, "mariadb")))
		})
	}
}

// fromMySQL are MySQL's types with values at their edges, and how each target
// prints them.
func fromMySQL(source, target string) []pairColumn {
	const text = "{}"
	toPG := target == "postgres"
	pg := func(pg, my string) string {
		if toPG {
			return pg
		}
		return my
	}
	const stamp, pgStamp = "date_format({}, '%Y-%m-%d %H:%i:%s.%f')", "to_char({}, 'YYYY-MM-DD HH24:MI:SS.US')"
	const pgUTC = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
	const time, pgTime = "cast(round(time_to_sec(cast({} AS time(0))) * 1000000) AS signed)", "(extract(epoch FROM {}) * 1000000)::bigint::text"
	list := []pairColumn{
		{"tinyint", []string{"-128", "127"}, text, text, exactly},
		{"tinyint unsigned", []string{"255"}, text, text, exactly},
		{"smallint", []string{"-32768"}, text, text, exactly},
		{"smallint unsigned", []string{"65535"}, text, text, exactly},
		{"mediumint", []string{"-8388608"}, text, text, exactly},
		{"mediumint unsigned", []string{"16777215"}, text, text, exactly},
		{"int", []string{"-2147483648"}, text, text, exactly},
		{"int unsigned", []string{"4294967295"}, text, text, exactly},
		{"bigint", []string{"-9223372036854775808"}, text, text, exactly},
		{"bigint unsigned", []string{"18446744073709551615", "0"}, text, text, exactly},
		{"decimal(65,30)", []string{"-12345678901234567890123456789012345.123456789012345678901234567890"}, text, text, exactly},
		{"decimal(12,2) unsigned", []string{"9999999999.99"}, text, text, exactly},
		{"float", []string{"0.1", "-3.402823466e38"}, "{} + 0e0", pg("{}::float8::text", "{} + 0e0"), asDouble},
		{"double", []string{"0.1", "1.7976931348623157e308"}, text, text, asDouble},
		{"bit(1)", []string{"b'1'", "b'0'"}, "{} + 0", pg("{}::int::text", "{} + 0"), exactly},
		{"bit(12)", []string{"b'101010101010'"}, "{} + 0", pg(text, "{} + 0"), exactly},
		{"bit(64)", []string{"x'ffffffffffffffff'"}, "{} + 0", pg(text, "{} + 0"), exactly},
		{"year", []string{"2155", "1901"}, text, text, exactly},
		{"date", []string{"'0001-01-01'", "'9999-12-31'"}, "date_format({}, '%Y-%m-%d')", pg("to_char({}, 'YYYY-MM-DD')", "date_format({}, '%Y-%m-%d')"), exactly},
		{"datetime", []string{"'2026-11-21 12:34:56'"}, stamp, pg(pgStamp, stamp), exactly},
		{"datetime(6)", []string{"'0001-01-01 00:00:00.000001'", "'9999-12-31 23:59:59.999999'"}, stamp, pg(pgStamp, stamp), exactly},
		{"timestamp NULL", []string{"'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"}, stamp, pg(pgUTC, stamp), exactly},
		{"timestamp(3) NULL", []string{"'2026-11-21 12:34:56.789'"}, stamp, pg(pgUTC, stamp), exactly},
		{"time", []string{"'838:59:59'", "'-838:59:59'", "'-00:00:01'", "'12:00:00'"}, time, pg(pgTime, time), asNumber},
		{"time(6)", []string{"'-12:34:56.789012'", "'800:00:00.5'"}, "cast({} AS char)", pg(
			// as MySQL prints it
			`CASE WHEN {} < interval '0' THEN '-' ELSE '' END || to_char(greatest({}, -{}), 'FMHH24') || to_char(greatest({}, -{}), ':MI:SS.US')`, "cast({} AS char)"), exactly},
		{"char(5)", []string{"'ab'", "'ěšč'"}, text, text, exactly},
		{"varchar(20)", []string{"'trailing  '", "_utf8mb4 0xF09F9880"}, text, text, exactly},
		{"varchar(20) CHARACTER SET latin1", []string{"'é'"}, text, text, exactly},
		{"varchar(20) CHARACTER SET cp1250", []string{"'ž'"}, text, text, exactly},
		{"tinytext", []string{"''", `'quote\' back\\ nl\n'`}, text, text, exactly},
		{"text", []string{"repeat('x', 60000)"}, text, text, exactly},
		{"mediumtext", []string{"'m'"}, text, text, exactly},
		{"longtext", []string{"'l'"}, text, text, exactly},
		{"binary(4)", []string{"x'01020000'"}, "hex({})", pg("upper(encode({}, 'hex'))", "hex({})"), exactly},
		{"varbinary(9)", []string{"x'00ff5c27'", "''"}, "hex({})", pg("upper(encode({}, 'hex'))", "hex({})"), exactly},
		{"blob", []string{"x'00ff5c2700'"}, "hex({})", pg("upper(encode({}, 'hex'))", "hex({})"), exactly},
		{"longblob", []string{"repeat(x'ff00', 1000)"}, "hex({})", pg("upper(encode({}, 'hex'))", "hex({})"), exactly},
		{"enum('a','it''s','č')", []string{"'it''s'", "'č'"}, text, text, exactly},
		{"set('x','y','z')", []string{"'x,z'", "''"}, text, text, exactly},
		{"json", []string{`'{"a": [1, 2.5, null, true], "b": "c \\u010d"}'`, `'"only text"'`, "'[]'"}, text, pg("{}::jsonb::text", text), asJSON},
		{"point", []string{"point(1, 2)"}, "hex({})", pg("upper(encode({}, 'hex'))", "hex({})"), exactly},
		{"geometry", []string{"st_geomfromtext('LINESTRING(0 0, 1.5 1)')"}, "hex({})", pg("upper(encode({}, 'hex'))", "hex({})"), exactly},
	}
	if strings.HasPrefix(source, "mariadb") {
		list = append(list, pairColumn{"uuid", []string{"'6f9619ff-8b86-4011-b42d-00cf4fc964ff'"}, text, text, exactly},
			pairColumn{"inet6", []string{"'::1'", "'2001:db8::1'"}, text, text, exactly},
			pairColumn{"inet4", []string{"'10.0.0.1'"}, text, text, exactly})
	}
	return list
}

func TestMySQLTo(t *testing.T) {
	for _, pair := range [][2]string{
		{services.MySQL9, "postgres"},
		{services.MariaDB118, "postgres"},
		{services.MySQL9, services.MySQL9},
		{services.MariaDB118, services.MariaDB118},
		{services.MySQL9, services.MariaDB118},
		{services.MariaDB118, services.MySQL9},
	} {
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) {
			t.Parallel()
			source, target := newSide(t, pair[0]), newSide(t, pair[1])
			carry(t, source, target, fromMySQL(pair[0], pair[1]))
		})
	}
}
