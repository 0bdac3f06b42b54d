package integration

import (
	"testing"
	"time"
)

// everything has a column of each type that docs/types.md names, and some of
// others, which travel as their text.
const everything = `
CREATE TYPE mood AS ENUM ('sad', 'ok', 'very happy');
CREATE DOMAIN posint AS integer CHECK (VALUE > 0);
CREATE DOMAIN price AS numeric(8,3);
CREATE TYPE pair AS (a int, b text);
CREATE TABLE everything (
	id bigint PRIMARY KEY,
	c_bool boolean, c_int2 smallint, c_int4 integer, c_int8 bigint, c_float4 real, c_float8 double precision,
	c_numeric numeric, c_numeric_p numeric(12,2), c_numeric_i numeric(30,0), c_numeric_neg numeric(5,-2),
	c_text text, c_varchar varchar(40), c_char char(5), c_bytea bytea,
	c_date date, c_time time, c_timestamp timestamp, c_timestamptz timestamptz, c_timestamp0 timestamp(0),
	c_uuid uuid, c_json json, c_jsonb jsonb, c_mood mood, c_posint posint, c_price price,
	c_bools boolean[], c_ints integer[], c_longs bigint[], c_doubles double precision[], c_numerics numeric(10,2)[], c_texts text[],
	c_byteas bytea[], c_dates date[], c_stamps timestamptz[], c_uuids uuid[], c_jsons jsonb[], c_moods mood[],
	c_inet inet, c_interval interval, c_range int4range, c_point point, c_pair pair, c_bits bit(5), c_timetz timetz, c_money money,
	c_xml xml, c_tsvector tsvector, c_not_null text NOT NULL DEFAULT 'here'
)`

// values are rows of everything, from the ordinary to the edges.
var values = []string{
	`(1, true, 1, 2, 3, 1.5, 2.5, 123.4500, 17.50, 42, 12300,
	 'plain', 'chars', 'ab', '\x00ff10', '2026-11-21', '12:34:56.789012', '2026-11-21 12:34:56.789012', '2026-11-21 12:34:56.789012+02', '2026-11-21 12:34:56',
	 '6f9619ff-8b86-d011-b42d-00cf4fc964ff', '{"a": [1, 2.50, null]}', '{"b": {"c": "d"}}', 'ok', 7, 99.125,
	 '{t,f,NULL}', '{1,NULL,3}', '{1,9223372036854775807}', '{0.1,NaN,-Infinity}', '{1.25,NULL}', '{plain,"with, comma","quote \" and \\ back",NULL,"NULL",""}',
	 '{"\\xdead",NULL}', '{2026-01-01,NULL}', '{"2026-11-21 12:34:56+00"}', '{6f9619ff-8b86-d011-b42d-00cf4fc964ff}', '{"{\"x\": 1}"}', '{sad,"very happy"}',
	 '10.0.0.1/8', '1 year 2 mons 3 days 04:05:06.789', '[1,5)', '(1.5,2)', '(1,"two words")', '10110', '12:34:56+02', '12.34',
	 '<a>b</a>', 'a fat cat', DEFAULT)`,
	// The extremes.
	`(-9223372036854775808, false, -32768, -2147483648, 9223372036854775807, '-3.4028235e+38', '1.7976931348623157e308',
	 -12345678901234567890123456789012345678901234567890.000000000000000000000000000001, -9999999999.99, -999999999999999999999999999999, -9999900,
	 E'tab\t newline\n return\r back\\slash quote'' nul-free \u00e9 \u4f60 \U0001F600', '', '', '', '0001-01-01', '24:00:00', '0001-01-01 00:00:00', '0001-01-01 00:00:00+00', '294000-01-01 00:00:00',
	 '00000000-0000-0000-0000-000000000000', '  {"kept":   "as is"}', '"only text"', 'sad', 2147483647, -99999.999,
	 '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
	 '::1', '-1 days', 'empty', '(0,0)', '(,)', '00000', '00:00:00-15', '-0.01', '', '', '')`,
	// The special ones.
	`(3, NULL, NULL, NULL, NULL, 'NaN', 'Infinity', 'NaN', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
	 'infinity', NULL, 'infinity', '-infinity', NULL, NULL, 'null', 'null', NULL, NULL, NULL,
	 NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
	 NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'nothing but nulls')`,
	`(4, NULL, 0, 0, 0, '-0', '4.9e-324', 0.000, 0.00, 0, 0, NULL, NULL, NULL, NULL,
	 '-infinity', '00:00:00', '-infinity', 'infinity', '1999-12-31 23:59:59', NULL, '[]', '[]', NULL, 1, 0,
	 NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
	 NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '')`,
	`(5, NULL, NULL, NULL, NULL, '1e-45', 0.1, 'Infinity', 0.01, 1, -100, NULL, NULL, NULL, NULL,
	 '4713-01-01 BC', '23:59:59.999999', '4713-01-01 00:00:00 BC', '4713-01-02 00:00:00+00 BC', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
	 NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
	 NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'BC')`,
}

// TestTypes carries each type through the snapshot and through the stream, by
// insert and by update, into the target: its text there is the source's.
func TestTypes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, target := connect(t, w.source), connect(t, w.target)
	exec1(t, source, everything)
	for _, v := range values {
		exec1(t, source, `INSERT INTO everything VALUES `+v)
	}
	p := start(t, binary, "run", "--config", w.config(t, []string{"everything"}, ""))
	equal := func() error { return same(t.Context(), source, target, "everything") }
	eventually(t, time.Minute, "the snapshot is in the target", equal, p)

	// The same values through the stream: once as inserts, once as updates of
	// rows of nulls.
	exec1(t, source, `CREATE TEMP TABLE again AS TABLE everything; UPDATE again SET id = CASE WHEN id < 0 THEN 2 ELSE id END + 1000000; INSERT INTO everything TABLE again`)
	exec1(t, source, `INSERT INTO everything (id) SELECT id + 1000 FROM again`)
	eventually(t, time.Minute, "the inserts are in the target", equal, p)
	exec1(t, source, `DO $$
		DECLARE list text;
		BEGIN
			SELECT string_agg(format('%1$I = a.%1$I', attname), ', ') INTO list FROM pg_attribute
			WHERE attrelid = 'everything'::regclass AND attnum > 1 AND NOT attisdropped;
			EXECUTE 'UPDATE everything e SET ' || list || ' FROM again a WHERE e.id = a.id + 1000';
		END $$`)
	eventually(t, time.Minute, "the updates are in the target", equal, p)
	p.stop(t)
}
