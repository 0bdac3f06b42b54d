package integration

// The workload of the comparison with a real Debezium.
const debeziumTables = `
CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN posint AS int CHECK (VALUE > 0);
CREATE DOMAIN price AS numeric(10,2);
CREATE TABLE kinds (id bigint PRIMARY KEY,
	bo boolean, i2 smallint, i4 int, i8 bigint, f4 real, f8 double precision, n52 numeric(5,2), n50 numeric(5), nn numeric, mo money,
	tx text, vc varchar(10), ch char(5), ci citext, na name, cc "char", b1 bit(1), b10 bit(10), vb bit varying, vb5 bit varying(5), ba bytea,
	da date, ti time, ti0 time(0), ti3 time(3), ttz timetz, ttz3 timetz(3), ts timestamp, ts0 timestamp(0), ts3 timestamp(3), tstz timestamptz, tstz3 timestamptz(3), iv interval,
	uu uuid, js json, jb jsonb, xm xml, ine inet, cid cidr, mac macaddr, mac8 macaddr8,
	po point, li line, ls lseg, bx box, pa path, pg polygon, circ circle, tsv tsvector, oi oid,
	i4r int4range, tsr tsrange, nr numrange, dr daterange, en mood, di posint, dp price, hs hstore, lt ltree,
	ai int[], ai2 smallint[], ai8 bigint[], at text[], avc varchar(5)[], an numeric(5,2)[], anv numeric[], ats timestamp[], atstz timestamptz[], ad date[], ati time[],
	ab boolean[], af double precision[], auu uuid[], ajb jsonb[], aba bytea[], ain inet[], ahs hstore[], aci citext[]);
INSERT INTO kinds VALUES (1,
	true, 1, 2, 3, 1.5, 2.5, 1.23, 42, 123.45, 1234567.89,
	'text é "q" \', 'varchar', 'ch', 'Cit', 'nam', 'c', '1', '1010101010', '1010101010101', '10101', '\x0102ff',
	'2024-02-29', '10:11:12.123456', '10:11:12', '10:11:12.12', '10:11:12.123456+02', '10:11:12.1+02', '2024-02-29 10:11:12.123456', '2024-02-29 10:11:12', '2024-02-29 10:11:12.12', '2024-02-29 10:11:12.123456+02', '2024-02-29 10:11:12.12+02', '1 year 2 mons 3 days 04:05:06.789',
	'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": 1}', '{"b": [1, 2]}', '<a>x</a>', '10.0.0.1/24', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05',
	'(1,2.5)', '{1,2,3}', '[(0,0),(1,1)]', '(1,1),(0,0)', '[(0,0),(1,1),(2,0)]', '((0,0),(1,1),(2,0))', '<(1,2),3>', 'a fat cat', 123,
	'[1,10)', '[2010-01-01 14:30, 2010-01-01 15:30)', '[1.5,2.5]', '[2020-01-01,2020-02-01)', 'ok', 5, 9.99, 'b=>1,a=>NULL,"c d"=>"x\"y"', 'top.child',
	'{1,NULL,3}', '{1,2}', '{1,2}', '{a,"b c",NULL,"q\"\\"}', '{ab}', '{1.10,2.25}', '{1.1,NULL}', '{2024-01-01 00:00:00}', '{2024-01-01 00:00:00+00}', '{2024-01-01}', '{10:00:00}',
	'{t,f}', '{1.5}', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', '{"{\"a\": 1}"}', '{"\\x01"}', '{10.0.0.1}', '{"a=>1"}', '{Xy}');
INSERT INTO kinds (id) VALUES (2);
INSERT INTO kinds (id, f4, f8, n52, nn, mo, tx, vc, ch, ba, b10, vb, da, ti, ti0, ti3, ttz, ttz3, ts, ts0, ts3, tstz, tstz3, iv, hs, ai, at, po, bx, pa) VALUES
	(3, 'NaN', '-Infinity', -999.99, -0.001, -1234567.89, '', '', '', '\x', '0000000001', '0', '1969-12-31', '00:00', '00:00', '00:00', '00:00+00', '24:00+00', '1969-12-31 23:59:59.999999', '1969-12-31 23:59:59', '0001-01-01', '1969-12-31 23:59:59.999999+00', '0001-01-01 00:00+00', '-1 year -2 mons +3 days -04:05:06.789', '', '{}', '{}', '(-0,1e-5)', '(2,3),(-1,-5)', '((0,0),(1,1))'),
	(4, '1e38', '1e308', 0, 100000000000000000000, 0, 'x', 'y', 'z', '\xff', '1000000000', '00000000', '9999-12-31', '23:59:59.999999', '23:59:59', '23:59:59.999', '23:59:59.999999-12', '12:00-12', '9999-12-31 23:59:59.999999', '1582-10-04', '2024-02-29 10:11:12', '9999-12-31 23:59:59.999999+00', '2024-02-29 10:11:12+00', '0', NULL, NULL, NULL, NULL, NULL, NULL),
	(5, 0, 0, 1, 1000, 0.01, '{}', 'a', 'b', '\x00', '0000000000', '', '12024-01-01', '24:00', '24:00', '24:00', '12:00+14', '12:00-14', '0044-03-15 12:00 BC', '1970-01-01', '1970-01-01', '0044-03-15 12:00+00 BC', '12024-01-01 00:00+00', '1 mon', 'a=>""', '{NULL}', '{NULL}', '(0,0)', '(0,0),(0,0)', '[(0,0),(1,1)]');
CREATE TABLE presets (id serial PRIMARY KEY, a int DEFAULT 5, b int NOT NULL DEFAULT 7, c text DEFAULT 'x''y', d timestamptz NOT NULL DEFAULT now(), e boolean DEFAULT true,
	f numeric(5,2) DEFAULT 1.5, g mood DEFAULT 'ok', h date DEFAULT '2020-01-01', i uuid DEFAULT 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', i2 uuid DEFAULT gen_random_uuid(), j jsonb DEFAULT '{}',
	k timestamp DEFAULT '2020-01-01 00:00:01', k2 timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, l bigint GENERATED ALWAYS AS IDENTITY, m double precision DEFAULT 1.25, m2 double precision DEFAULT 1e10, n real DEFAULT -2.5,
	o bytea DEFAULT '\x01ff', o2 bytea NOT NULL DEFAULT '\x01', p smallint DEFAULT -3, q text[] NOT NULL DEFAULT '{a,b}', r interval DEFAULT '1 day', s numeric DEFAULT 3, s2 numeric NOT NULL DEFAULT 2, t varchar(10) DEFAULT NULL,
	u timestamptz DEFAULT '2020-01-01 00:00:00+02', v time DEFAULT '10:00', v2 time(3) NOT NULL DEFAULT '10:00', w char(3) NOT NULL DEFAULT 'ab', y varchar(5) NOT NULL DEFAULT '', z bigint DEFAULT 10000000000,
	aa bit(3) DEFAULT B'101', ab bit DEFAULT B'1', ac text DEFAULT lower('ABC'), ad numeric(6,2) DEFAULT '-1.5', ae xml DEFAULT '<a/>', af inet NOT NULL DEFAULT '10.0.0.1', ag point NOT NULL DEFAULT '(1,2)', ah money DEFAULT 3.5, ai oid DEFAULT 5, aj date DEFAULT now(), ak text DEFAULT 'a\b"c', al int DEFAULT (1 + 2), am uuid NOT NULL);
INSERT INTO presets (am) VALUES ('00000000-0000-0000-0000-000000000001');
CREATE TABLE everything (id int PRIMARY KEY, v text, big text); ALTER TABLE everything REPLICA IDENTITY FULL; ALTER TABLE everything ALTER big SET STORAGE EXTERNAL;
CREATE TABLE toasted (id int PRIMARY KEY, v text, big text); ALTER TABLE toasted ALTER big SET STORAGE EXTERNAL;
CREATE TABLE pairs (b text, a int, v text, PRIMARY KEY (a, b));
CREATE TABLE keys (da date, ts timestamptz, n numeric(6,2), u uuid, v int, PRIMARY KEY (da, ts, n, u));
CREATE TABLE keyless (a int, v text); ALTER TABLE keyless REPLICA IDENTITY FULL;
CREATE TABLE "od d-Né" ("I d" int PRIMARY KEY, "v-x" text, "1st" int);
`

var debeziumTopics = []string{"kinds", "presets", "everything", "toasted", "pairs", "keys", "keyless", "od d-Né"}

// debeziumRecords is how many records each topic holds in the end.
var debeziumRecords = map[string]int{"kinds": 16, "presets": 6, "everything": 7, "toasted": 10, "pairs": 7, "keys": 6, "keyless": 3, "od d-Né": 4}

var debeziumWork = []string{
	`INSERT INTO kinds SELECT (r).* FROM (SELECT jsonb_populate_record(k, jsonb_build_object('id', k.id + 10)) r FROM kinds k ORDER BY id) x`,
	`UPDATE kinds SET i4 = 7 WHERE id = 12`,
	`UPDATE kinds SET id = 22 WHERE id = 12`,
	`DELETE FROM kinds WHERE id = 22`,
	`INSERT INTO presets (am) VALUES ('00000000-0000-0000-0000-000000000002')`,
	`INSERT INTO presets (am, a, c, e, f, j, k, m) VALUES ('00000000-0000-0000-0000-000000000003', NULL, NULL, NULL, NULL, NULL, NULL, NULL)`,
	`UPDATE presets SET a = 6 WHERE id = 2`,
	`DELETE FROM presets WHERE id = 2`,
	`INSERT INTO everything VALUES (1, 'a', repeat('x', 3000))`, `UPDATE everything SET v = 'b'`, `UPDATE everything SET id = 2`, `DELETE FROM everything`,
	`INSERT INTO toasted VALUES (1, 'a', repeat('y', 3000))`, `UPDATE toasted SET v = 'b', big = repeat('z', 3000)`, `UPDATE toasted SET v = 'c'`, `UPDATE toasted SET id = 2`, `UPDATE toasted SET v = NULL, big = ''`, `DELETE FROM toasted`, `TRUNCATE toasted`,
	`INSERT INTO pairs VALUES ('x', 1, 'v')`, `UPDATE pairs SET b = 'y'`, `DELETE FROM pairs`, `TRUNCATE pairs`,
	`INSERT INTO keys VALUES ('2024-02-29', '2024-02-29 10:11:12.5+00', 1.5, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 1)`, `UPDATE keys SET n = 2.25`, `DELETE FROM keys`,
	`INSERT INTO keyless VALUES (1, 'v')`, `UPDATE keyless SET v = 'w'`, `DELETE FROM keyless`,
	`INSERT INTO "od d-Né" VALUES (1, 'a', 2)`, `UPDATE "od d-Né" SET "I d" = 2`,
}
