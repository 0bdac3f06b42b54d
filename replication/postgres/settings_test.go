package postgres

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestHostileSettings has a database and a role set up so that every value
// prints in another form than the one its decoder knows: the sessions of the
// capture do not care, in the snapshot and in the stream.
func TestHostileSettings(t *testing.T) {
	db := newTestDB(t)
	name := db.text(`SELECT current_database()`)
	for _, set := range []string{
		"DateStyle = 'SQL, DMY'", "IntervalStyle = iso_8601", "TimeZone = 'Asia/Kathmandu'", "bytea_output = escape", "extra_float_digits = -15",
		"xmlbinary = hex", "client_encoding = LATIN1", "standard_conforming_strings = off", "backslash_quote = off", "quote_all_identifiers = on",
	} {
		db.exec(`ALTER DATABASE ` + name + ` SET ` + set)
		db.exec(`ALTER ROLE postgres IN DATABASE ` + name + ` SET ` + set)
	}
	db = openTestDB(t, db.url) // with them
	db.exec(`SET client_encoding = UTF8`)
	db.exec(`CREATE TYPE inner_type AS (at timestamptz, f float8, b bytea, i interval)`)
	db.exec(`CREATE TABLE t (id int PRIMARY KEY, ts timestamp, tz timestamptz, d date, tt timetz, i interval, b bytea, f real, g float8, m money,
		r tstzrange, mr datemultirange, a timestamptz[], bs bytea[], c inner_type, x text, gs float8[], p point)`)
	const row = `TIMESTAMP '2026-02-01 12:34:56.789', TIMESTAMPTZ '2026-02-01 12:34:56.789+00', DATE '2026-02-01', TIMETZ '12:34:56+05:45',
		INTERVAL '1 year 2 mons -3 days +04:05:06.789', '\x005c27'::bytea, 0.1::real, 0.1::float8 + 0.2, 1234.5::numeric::money,
		tstzrange(TIMESTAMPTZ '2026-02-01 00:00+00', NULL), datemultirange(daterange(DATE '2026-02-01', DATE '2026-03-01')),
		ARRAY[TIMESTAMPTZ '2026-02-01 12:34:56.789+00'], ARRAY['\x005c27'::bytea], ROW(TIMESTAMPTZ '2026-02-01 12:34:56+00', 0.1::float8 + 0.2, '\x00'::bytea, INTERVAL '1 day')::inner_type,
		'é 你好', ARRAY[0.1::float8 + 0.2], point(0.1::float8 + 0.2, -1e300)`
	values := strings.ReplaceAll(row, `\`, `\\`) // backslashes escape here
	db.exec(`INSERT INTO t SELECT 1, ` + values)
	s := mustOpen(t, db.config("public.t"))
	r := readFrom(t, s)
	want := ` timestamp(1769949296789000), timestamptz(1769949296789000), date(20485), "12:34:56+05:45", ` +
		`"1 year 2 mons -3 days +04:05:06.789", 005c27, 0.10000000149011612, 0.30000000000000004, "$1,234.50", ` +
		`"[\"2026-02-01 00:00:00+00\",)", "{[2026-02-01,2026-03-01)}", [timestamptz(1769949296789000)], [005c27], ` +
		`"(\"2026-02-01 12:34:56+00\",0.30000000000000004,\"\\\\x00\",\"1 day\")", "é 你好", [0.30000000000000004], "(0.30000000000000004,-1e+300)")`
	if diff := cmp.Diff([]string{"read public.t (1," + want}, r.changes(1)); diff != "" {
		t.Error(diff)
	}
	db.exec(`INSERT INTO t SELECT 2, ` + values)
	if diff := cmp.Diff([]string{"insert public.t (2," + want}, r.changes(1)); diff != "" {
		t.Error(diff)
	}
}
