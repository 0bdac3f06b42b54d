package integration

// typeCase is one type of a source's columns, and what it becomes. The test
// makes of it a column, a column of a domain over it, one of its arrays, and
// one of arrays of several dimensions.
type typeCase struct {
	// sql is the type as in CREATE TABLE.
	sql string
	// values are texts that the type's input function takes, from the ordinary
	// to the extreme and the hostile; a NULL comes by itself.
	values []string
	// note says in docs/types.md which text form or policy the type has.
	note string
	// expr are SQL expressions in place of values, for types without an input.
	expr []string
	// since is the first major version of PostgreSQL that knows the type, where
	// that is not 14; since17 are values that 17 and later know.
	since   int
	since17 []string
}

// hostile are texts that some step on the way might take for something else.
var hostile = []string{
	"plain", "", " ", "NULL", "null", `\N`, `\.`, "{}", `{"a",NULL}`, `a"b\c'd`, "tab\tnewline\nreturn\rbell\x07backspace\x08vt\x0bff\x0c",
	"\x01\x1f\x7f", "é 你好 😀 \u202e\u200b\ufeff\ufffd\uffff", "(,)", "$1 %s {0} --", "\\x00", `\\`, "__debezium_unavailable_value", ",", `""`,
}

const asText = "its text as PostgreSQL prints it"

// builtIn are PostgreSQL's own types: TestBuiltInTypes asks the server whether
// one is missing.
var builtIn = []typeCase{
	{sql: "boolean", values: []string{"true", "false"}},
	{sql: "smallint", values: []string{"0", "-32768", "32767"}},
	{sql: "integer", values: []string{"0", "-2147483648", "2147483647"}},
	{sql: "bigint", values: []string{"0", "-9223372036854775808", "9223372036854775807"}},
	{sql: "real", values: []string{"0", "-0", "0.1", "1e-45", "-3.4028235e+38", "NaN", "Infinity", "-Infinity", "16777217", "1e15"}},
	{sql: "double precision", values: []string{"0", "-0", "0.1", "4.9406564584124654e-324", "1.7976931348623157e+308", "NaN", "Infinity", "-Infinity", "1e22", "123456789012345680000"}},
	{sql: "numeric", values: []string{
		"0", "0.000", "-123.4500", "NaN", "Infinity", "-Infinity", "1e1000", "-1e-1000",
		"12345678901234567890123456789012345678901234567890.000000000000000000000000000001",
	}, note: "its text, with every trailing zero"},
	{sql: "numeric(12,2)", values: []string{"0", "-0.01", "9999999999.99", "-9999999999.99", "1.50"}, note: "NaN: see Policies"},
	{sql: "numeric(30,0)", values: []string{"0", "-999999999999999999999999999999", "999999999999999999999999999999"}},
	{sql: "numeric(1000,500)", values: []string{"0", "1e499", "-1e-500"}},
	{sql: "numeric(5,-2)", since: 15, values: []string{"0", "-9999900", "NaN"}, note: "its text: Avro's decimal has no such scale"},
	{sql: "numeric(3,5)", since: 15, values: []string{"0", "0.00999", "-0.00001", "NaN"}, note: "its text: Avro's decimal has no such scale"},
	{sql: "money", values: []string{"0", "-0.01", "92233720368547758.07", "-92233720368547758.08", "1234.5"}, note: "`-$1,234.50`: as lc_monetary C prints it, whatever the server's is"},
	{sql: "text", values: hostile},
	{sql: "character varying", values: hostile},
	{sql: "character varying(100)", values: hostile},
	{sql: "character(5)", values: []string{"", "ab", "abcde", "é你😀"}, note: "with its padding"},
	{sql: "bpchar", values: []string{"", "ab", "a  "}},
	{sql: `"char"`, values: []string{"a", "", `"`, `\`}},
	{sql: "name", values: []string{"", "a name", "NULL", "63 bytes 63 bytes 63 bytes 63 bytes 63 bytes 63 bytes 63 byte"}},
	{sql: "bytea", values: []string{`\x`, `\x00`, `\x00ff5c275c78`, `\x` + hexOf(3000)}},
	{sql: "date", values: []string{"1970-01-01", "2024-02-29", "0001-01-01", "0001-12-31 BC", "4714-11-24 BC", "5874897-12-31", "infinity", "-infinity", "10000-01-01"}},
	{sql: "time", values: []string{"00:00:00", "12:34:56.789012", "23:59:59.999999", "24:00:00"}},
	{sql: "time(3)", values: []string{"00:00:00.001", "24:00:00"}},
	{sql: "time with time zone", values: []string{"00:00:00+00", "23:59:59.999999-15:59:59", "24:00:00+15:59", "12:00:00.5+05:45"}, note: "`12:34:56.789+05:45`"},
	{sql: "timestamp", values: []string{
		"1970-01-01 00:00:00", "1969-12-31 23:59:59.999999", "2026-11-21 12:34:56.789", "0001-01-01 00:00:00", "0001-12-31 23:59:59.999999 BC",
		"4714-11-24 00:00:00 BC", "294247-01-10 04:00:54.775806", "infinity", "-infinity",
	}, note: "later than the year 294246: see Policies"},
	{sql: "timestamp(0)", values: []string{"2026-11-21 12:34:56", "infinity"}},
	{sql: "timestamp with time zone", values: []string{
		"1970-01-01 00:00:00+00", "2026-11-21 12:34:56.789012+13:45", "0001-01-01 00:00:00-15:59:59", "4714-11-24 00:00:00+00 BC",
		"294247-01-10 04:00:54.775806+00", "infinity", "-infinity",
	}},
	{sql: "timestamp(3) with time zone", values: []string{"2026-11-21 12:34:56.789+00", "-infinity"}},
	{sql: "interval", values: []string{
		"0", "1 year 2 mons -3 days +04:05:06.789012", "-1 mons +1 day -00:00:00.000001", "178000000 years", "-178000000 years",
		"2147483647 days", "-2000000:00:54.775807", "9 hours",
	}, since17: []string{"infinity", "-infinity"}, note: "IntervalStyle postgres: `1 year 2 mons -3 days +04:05:06.789`"},
	{sql: "interval(0)", values: []string{"1 day 00:00:01"}},
	{sql: "interval day to second(3)", values: []string{"-1 days +02:03:04.005"}},
	{sql: "uuid", values: []string{"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "6f9619ff-8b86-d011-b42d-00cf4fc964ff"}},
	{sql: "json", values: []string{`{"a": [1, 2.50, null],   "a": 1}`, "null", `"only text"`, `"\u0000 \ud83d\ude00"`, "1e1000", " [ ] "}, note: "byte for byte"},
	{sql: "jsonb", values: []string{`{"b": {"c": "d"}, "a": 1.500}`, "null", `"é\"\\"`, "[]", "12345678901234567890.10"}, note: "as PostgreSQL prints it"},
	{sql: "jsonpath", values: []string{"$", `strict $."a b"[*] ? (@ > 1.50)`}, note: asText},
	{sql: "xml", values: []string{"", "<a b=\"c\">d</a>", "text only &amp; <b/>", "<!-- c --><a/>"}, note: asText},
	{sql: "bit(5)", values: []string{"10110", "00000"}, note: "`10110`"},
	{sql: "bit", values: []string{"1", "0"}, note: "`1`"},
	{sql: "bit varying", values: []string{"", "1", "010101010101010101010101010101010101010101010101010101010101010101010"}, note: "`0101`"},
	{sql: "bit varying(7)", values: []string{"", "1111111"}, note: "`0101`"},
	{sql: "inet", values: []string{"10.0.0.1", "10.0.0.1/8", "0.0.0.0/0", "::1", "fe80::1/64", "::ffff:1.2.3.4"}, note: asText},
	{sql: "cidr", values: []string{"10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32"}, note: asText},
	{sql: "macaddr", values: []string{"08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff"}, note: asText},
	{sql: "macaddr8", values: []string{"08:00:2b:01:02:03:04:05"}, note: asText},
	{sql: "point", values: []string{"(0,0)", "(-1e-300,1e+300)", "(NaN,Infinity)"}, note: "`(x,y)`"},
	{sql: "line", values: []string{"{1,-1,0}"}, note: "`{A,B,C}`"},
	{sql: "lseg", values: []string{"[(0,0),(1.5,-2)]"}, note: "`[(x,y),(x,y)]`"},
	{sql: "box", values: []string{"(1,2),(0,-1)"}, note: "`(x,y),(x,y)`; an array of them is text: `{(1,2),(0,0);(3,4),(1,1)}`"},
	{sql: "path", values: []string{"[(0,0),(1,1)]", "((0,0),(1,1),(2,0))"}, note: "`[(x,y),…]` open, `((x,y),…)` closed"},
	{sql: "polygon", values: []string{"((0,0),(1,1),(2,0))"}, note: "`((x,y),…)`"},
	{sql: "circle", values: []string{"<(0,0),1.5>"}, note: "`<(x,y),r>`"},
	{sql: "tsvector", values: []string{"", "'a':1A 'cat':5 'fat':2B,4C", `'it''s \\ here':3`}, note: asText},
	{sql: "tsquery", values: []string{"", "'fat' & ( 'rat' | !'cat':*AB ) <2> 'x'"}, note: asText},
	{sql: "pg_lsn", values: []string{"0/0", "FFFFFFFF/FFFFFFFF"}, note: "`16/B374D848`"},
	{sql: "oid", values: []string{"0", "4294967295"}, note: "decimal digits"},
	{sql: "xid", values: []string{"0", "4294967295"}, note: "decimal digits"},
	{sql: "xid8", values: []string{"0", "18446744073709551615"}, note: "decimal digits"},
	{sql: "cid", values: []string{"0", "4294967295"}, note: "decimal digits"},
	{sql: "tid", values: []string{"(0,0)", "(4294967295,65535)"}, note: "`(block,offset)`"},
	{sql: "int2vector", values: []string{"", "1 -2 32767"}, note: "`1 2 3`"},
	{sql: "oidvector", values: []string{"", "1 4294967295"}, note: "`1 2 3`"},
	{sql: "refcursor", values: []string{"", "a cursor"}, note: asText},
	{sql: "pg_snapshot", values: []string{"10:20:10,14", "1:1:"}, note: asText},
	{sql: "txid_snapshot", values: []string{"10:20:10,14"}, note: asText},
	{sql: "regclass", values: []string{"pg_class", "-", "99999999"}, note: objectName},
	{sql: "regtype", values: []string{"integer", "timestamp with time zone[]"}, note: objectName},
	{sql: "regproc", values: []string{"pg_sleep", "-"}, note: objectName},
	{sql: "regprocedure", values: []string{"abs(integer)"}, note: objectName},
	{sql: "regoper", values: []string{"||/"}, note: objectName},
	{sql: "regoperator", values: []string{"+(integer,integer)", "-(NONE,bigint)"}, note: objectName},
	{sql: "regrole", values: []string{"postgres", "-"}, note: objectName},
	{sql: "regnamespace", values: []string{"pg_catalog"}, note: objectName},
	{sql: "regconfig", values: []string{"english"}, note: objectName},
	{sql: "regdictionary", values: []string{"simple"}, note: objectName},
	{sql: "regcollation", values: []string{`"C"`}, note: objectName},
	{sql: "aclitem", values: []string{"postgres=arwdDxt/postgres", "=r/postgres"}, note: "its text; the sink's text, since the target need not have the role"},
	{sql: "int4range", values: []string{"empty", "[1,5)", "(,)", "[-2147483648,2147483647)"}, note: rangeText},
	{sql: "int8range", values: []string{"empty", "[1,5)", "[-9223372036854775808,)"}, note: rangeText},
	{sql: "numrange", values: []string{"empty", "(1.50,NaN]", "[0.10,1e100)"}, note: rangeText},
	{sql: "tsrange", values: []string{"empty", `["2026-01-01 00:00:00","2026-01-01 00:00:00.000001")`, "[-infinity,infinity]", `("0044-03-15 00:00:00 BC",)`}, note: rangeText},
	{sql: "tstzrange", values: []string{"empty", `["2026-01-01 00:00:00+05:45",infinity)`}, note: rangeText},
	{sql: "daterange", values: []string{"empty", `["0044-03-15 BC",2026-01-01)`, "[,infinity]"}, note: rangeText},
	{sql: "int4multirange", values: []string{"{}", "{[1,2),[5,9)}", "{(,)}"}, note: rangeText},
	{sql: "int8multirange", values: []string{"{}", "{[1,2),[5,9)}"}, note: rangeText},
	{sql: "nummultirange", values: []string{"{}", "{[1.0,1.5],(2,)}"}, note: rangeText},
	{sql: "tsmultirange", values: []string{"{}", `{["2026-01-01 00:00:00","2026-01-02 00:00:00")}`}, note: rangeText},
	{sql: "tstzmultirange", values: []string{"{}", `{["2026-01-01 00:00:00+00",infinity]}`}, note: rangeText},
	{sql: "datemultirange", values: []string{"{}", `{["0044-03-15 BC",2026-01-01)}`}, note: rangeText},
	{sql: "pg_node_tree", expr: []string{"(SELECT proargdefaults FROM pg_proc WHERE proargdefaults IS NOT NULL ORDER BY oid LIMIT 1)"}, note: noInput},
	{sql: "pg_ndistinct", expr: []string{"(SELECT stxdndistinct FROM pg_statistic_ext_data LIMIT 1)"}, note: noInput},
	{sql: "pg_dependencies", expr: []string{"(SELECT stxddependencies FROM pg_statistic_ext_data LIMIT 1)"}, note: noInput},
	{sql: "pg_mcv_list", expr: []string{"(SELECT stxdmcv FROM pg_statistic_ext_data LIMIT 1)"}, note: noInput},
	{sql: "gtsvector", note: noInput},
	{sql: "pg_brin_bloom_summary", note: noInput},
	{sql: "pg_brin_minmax_multi_summary", note: noInput},
}

const (
	objectName = "the object's name, or its number when it is gone; the sink's text, since the target need not have the object"
	rangeText  = asText + "; bounds as their type prints them"
	noInput    = "its text; PostgreSQL has no input for it"
)

// prologue makes the types that people make.
const prologue = `
CREATE TYPE mood AS ENUM ('sad', 'ok', 'very happy', '', 'quote " and '' and \ , {}', 'é');
CREATE TYPE pair AS (a int, b text);
CREATE TYPE nested AS (p pair, l int[], t timestamptz, n numeric, m mood, f float8);
CREATE TYPE floatrange AS RANGE (subtype = float8, multirange_type_name = floatmultirange);
CREATE SCHEMA "od d"; CREATE TYPE "od d"."Ty""pe" AS ENUM ('x');
CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree; CREATE EXTENSION cube; CREATE EXTENSION seg; CREATE EXTENSION isn; CREATE EXTENSION intarray`

// userDefined are kinds of types that users and contrib's extensions make.
var userDefined = []typeCase{
	{sql: "mood", values: []string{"sad", "very happy", "", `quote " and ' and \ , {}`, "é"}, note: "an enum: the label"},
	{sql: `"od d"."Ty""pe"`, values: []string{"x"}, note: "an enum of another schema"},
	{sql: "pair", values: []string{"(1,two)", "(,)", `(-1,"a ""quoted"" \\ , (text)")`, `(0,"")`}, note: "a composite: `(1,\"two words\")`"},
	{sql: "nested", values: []string{`("(1,""two, words"")","{1,NULL}","2026-01-01 00:00:00+02",1.500,"very happy",0.1)`, "(,,,,,)"}, note: "a composite of composites and arrays"},
	{sql: "floatrange", values: []string{"empty", "[0.1,1e+300)", "(,NaN]"}, note: "a range: " + rangeText},
	{sql: "floatmultirange", values: []string{"{}", "{[0.1,0.2),[1,2]}"}, note: "its multirange"},
	{sql: "hstore", values: []string{"", `"a"=>"1", "b"=>NULL`, `"quote \" back \\"=>"é, =>", ""=>""`}, note: "`\"a\"=>\"1\", \"b\"=>NULL`"},
	{sql: "citext", values: hostile, note: "in its own case"},
	{sql: "ltree", values: []string{"", "Top.Science.Astronomy"}, note: "`Top.Science`"},
	{sql: "lquery", values: []string{"Top.*{1,2}.!a|b"}, note: asText},
	{sql: "ltxtquery", values: []string{"Europe & !Asia@*"}, note: asText},
	{sql: "cube", values: []string{"(1, 2, 3)", "(0),(1e+300)"}, note: asText},
	{sql: "seg", values: []string{"1.50 .. 2.0", "<1"}, note: asText},
	{sql: "isbn", values: []string{"978-0-393-04002-9"}, note: asText},
	{sql: "query_int", values: []string{"1 & !2"}, note: asText},
}

// fromDebian are the types of pgvector and PostGIS.
var fromDebian = []typeCase{
	{sql: "vector", values: []string{"[0]", "[1,2,3]", "[0.1,-1e-38,3.4028235e+38]"}, note: "`[1,2.5,3]`"},
	{sql: "vector(3)", values: []string{"[1,2,3]", "[-0,0.30000001,1e-45]"}, note: "`[1,2.5,3]`"},
	{sql: "halfvec(2)", values: []string{"[1,65504]", "[0.1,-6e-08]"}, note: "`[1,2.5]`"},
	{sql: "sparsevec(5)", values: []string{"{1:1.5,5:-2}/5", "{}/5"}, note: "`{index:value,…}/dimensions`"},
	{sql: "geometry", values: []string{
		"POINT(0.1 0.2)", "POINT EMPTY", "SRID=4326;LINESTRING Z (0 0 0, 1 1 1)", "POLYGON((0 0,0 1,1 1,0 0),(0.1 0.2,0.2 0.3,0.3 0.3,0.1 0.2))",
		"GEOMETRYCOLLECTION(POINT(1 2),MULTIPOINT(1 2,3 4))", "CIRCULARSTRING(0 0,1 1,2 0)", "POINT ZM (1 2 3 1e-300)",
	}, note: "EWKB in hexadecimal: every bit, with the SRID; an array of them is text: `{…:…}`"},
	{sql: "geometry(Point,4326)", values: []string{"SRID=4326;POINT(12.5 -7.25)"}, note: "EWKB in hexadecimal"},
	{sql: "geography", values: []string{"POINT(-71.06 42.28)", "SRID=4326;POLYGON((0 0,0 1,1 1,0 0))"}, note: "EWKB in hexadecimal"},
	{sql: "geography(PointZ,4326)", values: []string{"POINT Z (1 2 3)"}, note: "EWKB in hexadecimal"},
	{sql: "box2d", values: []string{"BOX(0 0,1 1)"}, note: asText},
	{sql: "box3d", values: []string{"BOX3D(0 0 0,1 1 1)"}, note: asText},
}

// hexOf returns n bytes in hexadecimal.
func hexOf(n int) string {
	const digits = "0123456789abcdef"
	b := make([]byte, 0, 2*n)
	for i := range n {
		c := byte(i * 7)
		b = append(b, digits[c>>4], digits[c&15])
	}
	return string(b)
}
