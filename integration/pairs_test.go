package integration

import (
	"context"
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
	asUnsignedZero // asDouble for MariaDB, which tells no -0 from 0
	asJSON         // by its values, whatever escapes and spaces
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
	case asDouble, asUnsignedZero:
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			if f == 0 && k == asUnsignedZero {
				return "0"
			}
			return strconv.FormatFloat(f, 'g', -1, 64)
		}
	case asJSON:
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var v any
		if d.Decode(&v) == nil {
			if b, err := json.Marshal(exactNumbers(v)); err == nil {
				return string(b)
			}
		}
	}
	return text
}

// exactNumbers writes every number of a JSON value as a fraction: 2.50 is 2.5.
func exactNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		return json.RawMessage(strconv.Quote("number " + asNumber.normal(v.String())))
	case []any:
		for i := range v {
			v[i] = exactNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = exactNumbers(v[k])
		}
	}
	return v
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
	var defs, names []string
	rows := 0
	for i, c := range columns {
		n := fmt.Sprintf("c%d", i)
		defs, names = append(defs, n+" "+c.typ), append(names, n)
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
	var compared []comparedColumn
	for i, c := range columns {
		compared = append(compared, comparedColumn{names[i], c})
	}
	equal := func() error { return equalTables(t.Context(), source, target, "kinds", compared, "") }
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

// comparedColumn is a column by its name.
type comparedColumn struct {
	name string
	pairColumn
}

// equalTables reports which cells of a table the two sides print differently.
func equalTables(ctx context.Context, source, target *side, table string, columns []comparedColumn, where string) error {
	exprs, read := []string{"id"}, []string{"id"}
	for _, c := range columns {
		exprs, read = append(exprs, strings.ReplaceAll(c.source, "{}", c.name)), append(read, strings.ReplaceAll(c.target, "{}", c.name))
	}
	want, err := source.query(ctx, "SELECT "+strings.Join(exprs, ", ")+" FROM "+table+where+" ORDER BY id")
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	got, err := target.query(ctx, "SELECT "+strings.Join(read, ", ")+" FROM "+table+" ORDER BY id")
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	if len(got) != len(want) {
		return fmt.Errorf("table %s: %d rows instead of %d", table, len(got), len(want))
	}
	var wrong []string
	for r := range want {
		if want[r][0] != got[r][0] {
			return fmt.Errorf("table %s: row %s instead of %s", table, got[r][0], want[r][0])
		}
		for i, c := range columns {
			if w, g := c.kind.normal(want[r][i+1]), c.kind.normal(got[r][i+1]); w != g {
				wrong = append(wrong, fmt.Sprintf("row %s, %s %s: %.200q became %.200q", want[r][0], c.name, c.typ, w, g))
			}
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("table %s: %d cells differ:\n  %s", table, len(wrong), strings.Join(wrong[:min(len(wrong), 30)], "\n  "))
	}
	return nil
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
		{"year", []string{"2155", "1901", "0"}, "{} + 0", pg(text, "{} + 0"), exactly},
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
		{"varchar(20) CHARACTER SET utf16", []string{"_utf8mb4 0xF09F9880", "''"}, text, text, exactly},
		{"varchar(20) CHARACTER SET sjis", []string{"'日本語'"}, text, text, exactly},
		{"varchar(100)", hostileTexts(), text, text, exactly},
		{"tinytext", []string{"''", `'quote\' back\\ nl\n'`}, text, text, exactly},
		{"text", []string{"repeat('x', 60000)"}, text, text, exactly},
		{"mediumtext", []string{"'m'"}, text, text, exactly},
		{"longtext", []string{"'l'"}, text, text, exactly},
		{"binary(4)", []string{"x'01020000'"}, "hex({})", pg("upper(encode({}, 'hex'))", "hex({})"), exactly},
		{"varbinary(9)", []string{"x'00ff5c27'", "''"}, "hex({})", pg("upper(encode({}, 'hex'))", "hex({})"), exactly},
		{"blob", []string{"x'00ff5c2700'"}, "hex({})", pg("upper(encode({}, 'hex'))", "hex({})"), exactly},
		{"tinyblob", []string{"''", "x'00'"}, "hex({})", pg("upper(encode({}, 'hex'))", "hex({})"), exactly},
		{"mediumblob", []string{"repeat(x'00', 70000)"}, "hex({})", pg("upper(encode({}, 'hex'))", "hex({})"), exactly},
		{"longblob", []string{"repeat(x'ff00', 1000)"}, "hex({})", pg("upper(encode({}, 'hex'))", "hex({})"), exactly},
		{"enum('a','it''s','č')", []string{"'it''s'", "'č'"}, text, text, exactly},
		{"set('x','y','z')", []string{"'x,z'", "''"}, text, text, exactly},
		{"json", []string{`'{"a": [1, 2.5, null, true], "b": "c \\u010d"}'`, `'"only text"'`, "'[]'"}, text, pg("{}::jsonb::text", text), asJSON},
	}
	for typ, value := range map[string]string{
		"point": "POINT(1 2)", "linestring": "LINESTRING(0 0, 1.5 1)", "polygon": "POLYGON((0 0, 0 1, 1 1, 0 0))", "multipoint": "MULTIPOINT(1 2, 3 4)",
		"multilinestring": "MULTILINESTRING((0 0, 1 1), (2 2, 3 3))", "multipolygon": "MULTIPOLYGON(((0 0, 0 1, 1 1, 0 0)))",
		"geometrycollection": "GEOMETRYCOLLECTION(POINT(1 2), LINESTRING(0 0, 1 1))", "geometry": "LINESTRING(0 0, 1.5 1)",
	} {
		list = append(list, pairColumn{typ, []string{"st_geomfromtext('" + value + "')", "st_geomfromtext('" + value + "', 3857)"}, "hex({})", pg("upper(encode({}, 'hex'))", "hex({})"), exactly})
	}
	if source == services.MySQL9 || source == services.MariaDB118 {
		list = append(list, pairColumn{"vector(3)", []string{vectorOf(source, "[1, -2.5, 0.1]")}, vectorText(source, source), vectorText(source, target), asJSON})
	}
	if strings.HasPrefix(source, "mariadb") {
		list = append(list, pairColumn{"uuid", []string{"'6f9619ff-8b86-4011-b42d-00cf4fc964ff'"}, text, text, exactly},
			pairColumn{"inet6", []string{"'::1'", "'2001:db8::1'"}, text, text, exactly},
			pairColumn{"inet4", []string{"'10.0.0.1'"}, text, text, exactly})
	}
	return list
}

// hostileTexts are the hostile texts as expressions of MySQL.
func hostileTexts() (list []string) {
	for _, text := range hostile {
		list = append(list, fmt.Sprintf("convert(x'%x' USING utf8mb4)", text))
	}
	return list
}

// vectorOf makes a vector, and vectorText prints what a server has of one from
// the source.
func vectorOf(server, text string) string {
	if strings.HasPrefix(server, "mariadb") {
		return "vec_fromtext('" + text + "')"
	}
	return "to_vector('" + text + "')"
}

func vectorText(source, server string) string {
	switch {
	case server == "postgres":
		return "to_json({})::text"
	case server == services.MySQL9:
		return "from_vector({})"
	case server == services.MariaDB118 && source == services.MariaDB118:
		return "vec_totext({})"
	}
	return "{}"
}

func TestMySQLTo(t *testing.T) {
	for _, pair := range [][2]string{
		{services.MySQL9, "postgres"},
		{services.MariaDB118, "postgres"},
		{services.MySQL9, services.MySQL9},
		{services.MariaDB118, services.MariaDB118},
		{services.MySQL9, services.MariaDB118},
		{services.MariaDB118, services.MySQL9},
		// Of the older versions each is at either end once.
		{services.MySQL80, "postgres"},
		{services.MariaDB1011, "postgres"},
		{services.MySQL9, services.MariaDB1011},
		{services.MariaDB118, services.MySQL80},
		{services.MySQL80, services.MariaDB118},
		{services.MariaDB1011, services.MySQL9},
	} {
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) {
			t.Parallel()
			source, target := newSide(t, pair[0]), newSide(t, pair[1])
			carry(t, source, target, fromMySQL(pair[0], pair[1]))
		})
	}
}
