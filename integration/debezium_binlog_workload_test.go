package integration

// binlogTable is a table of the comparison with Debezium's connectors for MySQL
// and MariaDB.
type binlogTable struct {
	name          string
	create, work  []string
	read, records int // how many records its topic holds after the snapshot, and in the end
}

var binlogTables = []binlogTable{
	{
		"kinds",
		[]string{
			`CREATE TABLE kinds (id bigint PRIMARY KEY, t1 tinyint(1), ti tinyint, tu tinyint unsigned, si smallint, su smallint unsigned, mi mediumint, mu mediumint unsigned, i4 int, iu int unsigned, bi bigint, bu bigint unsigned,
	fl float, f53 float(53), f73 float(7,3), db double, de decimal(10,2), d0 decimal(5), du decimal(65,30), bo boolean, b1 bit(1), b10 bit(10), b64 bit(64), ch char(5), vc varchar(10), tx text, tt tinytext, mt mediumtext, lt longtext, la varchar(10) CHARACTER SET latin1,
	bn binary(4), vb varbinary(10), bb blob, lb longblob, da date, tm time, tm3 time(3), tm6 time(6), dt datetime, dt3 datetime(3), dt6 datetime(6), ts timestamp NULL, ts3 timestamp(3) NULL, ts6 timestamp(6) NULL, ye year, en enum('a','b,c','d''e'), se set('x','y','z'),
	js json, ge geometry, po point, ls linestring, pg polygon, mp multipoint, gc geometrycollection,
	nda date NOT NULL, ndt datetime NOT NULL, nts timestamp(6) NOT NULL, zf int(5) unsigned zerofill, nn int NOT NULL, nvc varchar(5) NOT NULL, nse set('p') NOT NULL, nbi bigint unsigned NOT NULL, nbl blob NOT NULL, nde decimal(4,1) NOT NULL)`,
			`INSERT INTO kinds VALUES (1, 1, -3, 200, -3000, 60000, -70000, 16000000, -2000000000, 4000000000, -5, 9223372036854775807,
	1.5, 2.25, 1.125, 3.5, 12.3, 99999, -1.000000000000000000000000000001, true, 1, 682, 18446744073709551615, 'ch', 'varchar', 'text "q" \\', 'tt', 'mt', 'lt', 'latin',
	'ab', x'0102', x'ff00', x'00', '2024-02-29', '10:11:12', '-838:59:58.125', '10:11:12.123456', '2024-02-29 10:11:12', '2024-02-29 10:11:12.123', '2024-02-29 10:11:12.123456', '2024-02-29 10:11:12', '2024-02-29 10:11:12.123', '2024-02-29 10:11:12.123456', 2024, 'a', 'x,z',
	'[1, 2.5]', ST_GeomFromText('POLYGON((0 0,1 1,2 0,0 0))', 4326), ST_GeomFromText('POINT(1 2.5)'), ST_GeomFromText('LINESTRING(0 0,1 1)'), ST_GeomFromText('POLYGON((0 0,1 1,2 0,0 0))'), ST_GeomFromText('MULTIPOINT(0 0,1 1)'), ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1))'),
	'2024-02-29', '2024-02-29 10:11:12', '2024-02-29 10:11:12.123456', 42, 1, 'n', 'p', 5, 'x', -99.9)`,
			`INSERT INTO kinds (id, nda, ndt, nts, nn, nvc, nse, nbi, nbl, nde) VALUES (2, '1000-01-01', '9999-12-31 23:59:59', '2038-01-19 03:14:07.999999', 0, '', '', 0, '', 0)`,
		},
		[]string{
			`INSERT INTO kinds SELECT id + 10, t1,ti,tu,si,su,mi,mu,i4,iu,bi,bu,fl,f53,f73,db,de,d0,du,bo,b1,b10,b64,ch,vc,tx,tt,mt,lt,la,bn,vb,bb,lb,da,tm,tm3,tm6,dt,dt3,dt6,ts,ts3,ts6,ye,en,se,js,ge,po,ls,pg,mp,gc,nda,ndt,nts,zf,nn,nvc,nse,nbi,nbl,nde FROM kinds ORDER BY id`,
			`UPDATE kinds SET ti = 5 WHERE id = 11`,
			`INSERT INTO kinds (id, da, dt, dt6, ts, ts6, nda, ndt, nts, nn, nvc, nse, nbi, nbl, nde, vc, la, tm6, en) VALUES (21, '0000-00-00', '0000-00-00 00:00:00', '2026-00-10 00:00:00', 0, 0, '0000-00-00', '0000-00-00 00:00:00', 0, -2147483648, 'é', 'p', 9223372036854775807, '', 0.1, 'vé€𝄞', 'lé€', '838:59:59', 'nix')`,
			`INSERT INTO kinds (id, ye, en, bu, js, nda, ndt, nts, nn, nvc, nse, nbi, nbl, nde) VALUES (22, 0, 'b,c', 9223372036854775807, '{"b": [1, 2.5], "a": null, "c": "é"}', '2024-02-29', '2024-02-29 10:11:12', '2024-02-29 10:11:12', 1, 'n', 'p', 5, '', 1)`,
			`DELETE FROM kinds WHERE id = 12`,
		},
		2, 9,
	},
	{
		"presets",
		[]string{
			`CREATE TABLE presets (id int AUTO_INCREMENT PRIMARY KEY, a int DEFAULT 5, b int NOT NULL DEFAULT 7, c varchar(10) DEFAULT 'x y', d timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, e boolean DEFAULT true, f decimal(5,2) DEFAULT 1.5, g enum('sad','ok') DEFAULT 'ok',
	h date DEFAULT '2020-01-01', i datetime DEFAULT '2020-01-01 00:00:01', i2 datetime(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3), i6 datetime(6) DEFAULT '2020-01-01 00:00:01.5', k timestamp NULL DEFAULT '2020-01-01 00:00:01', k6 timestamp(6) NULL DEFAULT '2020-01-01 00:00:01.5', m double DEFAULT 1.25, m2 double DEFAULT 1e10, n float DEFAULT -2.5, o binary(2) DEFAULT 'ab', o2 varbinary(5) NOT NULL DEFAULT 'a', p smallint DEFAULT -3,
	pu smallint unsigned DEFAULT 3, q bigint unsigned DEFAULT 9223372036854775807, r bigint DEFAULT 10000000000, s set('x','y') DEFAULT 'x,y', t time DEFAULT '10:00', t6 time(6) DEFAULT '-10:00:00.5', u year DEFAULT 2020, v bit(1) DEFAULT b'1', w bit(10) DEFAULT b'101', x char(3) NOT NULL DEFAULT 'ab', y varchar(5) NOT NULL DEFAULT '', z varchar(5) DEFAULT NULL,
	aa tinyint DEFAULT 4, ab tinyint(1) NOT NULL DEFAULT 0, ac varchar(20) DEFAULT (lower('ABC')), ad int DEFAULT (1+2), ag datetime DEFAULT now(), ah mediumint unsigned DEFAULT 9, ai int unsigned DEFAULT 8, aj decimal(6,2) NOT NULL DEFAULT '-1.5', ak date NOT NULL DEFAULT '0000-00-00', al datetime NOT NULL DEFAULT '0000-00-00 00:00:00', am datetime DEFAULT '0000-00-00 00:00:00', an varchar(10) DEFAULT 'x''y')`,
			`INSERT INTO presets () VALUES ()`,
		},
		[]string{`INSERT INTO presets () VALUES ()`, `INSERT INTO presets (a, c, e, f, h, i, k, m, v) VALUES (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)`, `UPDATE presets SET a = 6 WHERE id = 2`, `DELETE FROM presets WHERE id = 2`},
		1, 6,
	},
	{
		"pairs",
		[]string{`CREATE TABLE pairs (b varchar(5), a int, v text, PRIMARY KEY (a, b))`},
		[]string{`INSERT INTO pairs VALUES ('x', 1, 'v'), ('y', 1, 'v'), ('z', 2, NULL)`, `UPDATE pairs SET b = 'yy' WHERE b = 'y'`, `UPDATE pairs SET a = a + 10 WHERE b = 'z'`, `UPDATE pairs SET v = 'w'`, `DELETE FROM pairs WHERE a = 1`, `TRUNCATE TABLE pairs`},
		0, 17,
	},
	{
		"keys",
		[]string{"CREATE TABLE `keys` (da date, dt datetime(6), n decimal(6,2), e enum('a','b'), u int unsigned, bi binary(3), v int, PRIMARY KEY (da, dt, n, e, u, bi))"},
		[]string{"INSERT INTO `keys` VALUES ('2024-02-29', '2024-02-29 10:11:12.5', 1.5, 'b', 4000000000, 'ab', 1)", "UPDATE `keys` SET n = 2.25", "DELETE FROM `keys`"},
		0, 6,
	},
	{"keyless", []string{`CREATE TABLE keyless (a int, v text)`}, []string{`INSERT INTO keyless VALUES (1, 'v')`, `UPDATE keyless SET v = 'w'`, `DELETE FROM keyless`}, 0, 3},
	{"od d-N", []string{"CREATE TABLE `od d-N` (`I d` int PRIMARY KEY, `v-x` text, `1st` int)"}, []string{"INSERT INTO `od d-N` VALUES (1, 'a', 2)", "UPDATE `od d-N` SET `I d` = 2"}, 0, 4},
	{"txs", []string{`CREATE TABLE txs (id int PRIMARY KEY, v int)`}, []string{`BEGIN`, `INSERT INTO txs VALUES (1, 1), (2, 2)`, `UPDATE txs SET v = 3 WHERE id = 2`, `INSERT INTO txs VALUES (3, 3)`, `COMMIT`}, 0, 4},
}

// binlogTablesOf are those of one family. Debezium's connector for MariaDB stops
// at a table with a column of type inet4, inet6 or vector anywhere in the database.
var binlogTablesOf = map[string][]binlogTable{
	"mysql": {
		{"special", []string{
			`CREATE TABLE special (id int PRIMARY KEY, ve vector(3), inv int INVISIBLE, gen int GENERATED ALWAYS AS (id + 1) VIRTUAL, gst int GENERATED ALWAYS AS (id + 2) STORED)`,
			`INSERT INTO special (id, ve, inv) VALUES (1, TO_VECTOR('[1,2.5,-3]'), 5)`,
		}, []string{`UPDATE special SET inv = 6`, `DELETE FROM special`}, 1, 4},
	},
	"mariadb": {
		{"special", []string{
			`CREATE TABLE special (id int PRIMARY KEY, uu uuid, gen int GENERATED ALWAYS AS (id + 1) VIRTUAL, gst int GENERATED ALWAYS AS (id + 2) STORED)`,
			`INSERT INTO special (id, uu) VALUES (1, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11')`,
		}, []string{`INSERT INTO special (id, uu) VALUES (2, 'a0eebc99-9c0b-1ef8-bb6d-6bb9bd380a11')`}, 1, 2},
	},
}
