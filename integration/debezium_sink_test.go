package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cdc/internal/servicetest"
)

// debeziumSinkTable has types and values that Debezium carries whole, under the
// options that the test gives it: it loses BC in a date, zeros at the end of a
// bare numeric, and the length of a char.
const debeziumSinkTable = `
CREATE EXTENSION citext;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE whole (id int PRIMARY KEY, bo boolean, i2 smallint, i8 bigint, f4 real, f8 double precision, n52 numeric(5,2), nn numeric, tx text, vc varchar(10), ch citext,
	b10 bit(10), ba bytea, da date, ti time, ti3 time(3), ttz timetz, ts timestamp, ts3 timestamp(3), tstz timestamptz, iv interval, uu uuid, js json, jb jsonb, xm xml, ine inet, po point, li line, tsv tsvector, oi bigint,
	en mood, ai int[], at text[], an numeric(5,2)[], ad date[], big text, ls lseg, bx box, pa path, pg polygon);
ALTER TABLE whole ALTER big SET STORAGE EXTERNAL, ALTER at SET STORAGE EXTERNAL, ALTER ai SET STORAGE EXTERNAL, ALTER ba SET STORAGE EXTERNAL;
CREATE TABLE moved (a int, b date, v text, PRIMARY KEY (b, a));
INSERT INTO whole VALUES (1, true, 1, 3, 1.5, 2.5, 1.23, 123.45, 'text', 'varchar', 'ch', '1010101010', '\x0102ff', '2024-02-29', '10:11:12.123456', '10:11:12.12', '10:11:12.5+00', '2024-02-29 10:11:12.123456', '2024-02-29 10:11:12.12', '2024-02-29 10:11:12.123456+02',
	'1 year 2 mons 3 days 04:05:06.789', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": 1}', '{"b": [1, 2]}', '<a>x</a>', '10.0.0.1/24', '(1,2.5)', '{1,2,3}', 'a fat cat', 5, 'ok', '{1,NULL,3}', '{a,"b c",NULL}', '{1.10,2.25}', '{2024-01-01}', NULL);
INSERT INTO whole (id, f8, nn, da, ts, ts3, tstz, iv, n52) VALUES (2, 'NaN', -0.001, '0044-03-15', 'infinity', '1969-12-31 23:59:59.999', '-infinity', '-1 mon -5 days', -999.99), (3, 1e300, 1e20, '12024-01-01', '0044-03-15 12:00 BC', '0001-01-01', '12024-01-01 00:00+00', '0', 0);
INSERT INTO moved VALUES (1, '2024-01-01', 'a'), (2, '2024-01-02', 'b');
`

var debeziumSinkWork = []string{
	`UPDATE whole SET ls = '[(0,0.5),(1,1e300)]', bx = '(2,3),(-1,-5)', pa = '((0,0),(1,1))', pg = '((0,0),(1,1),(2,0))' WHERE id = 1`,
	`UPDATE whole SET pa = '[(0,0),(1,1)]', bx = '(0,0),(0,0)' WHERE id = 3`,
	`INSERT INTO whole SELECT (r).* FROM (SELECT jsonb_populate_record(w, jsonb_build_object('id', w.id + 10)) r FROM whole w ORDER BY id) x`,
	`UPDATE whole SET big = repeat('x', 5000), at = array_fill('y'::text, '{1000}'), ai = array_fill(7, '{2000}'), ba = decode(repeat('ab', 3000), 'hex')`,
	`UPDATE whole SET i8 = i8 + 1, tx = 'beside large values'`,
	`UPDATE whole SET id = 100, big = 'a', at = '{a}', ai = '{1}', ba = '\x01' WHERE id = 1`,
	`DELETE FROM whole WHERE id = 2`,
	`UPDATE moved SET a = 20, b = '2025-01-01' WHERE a = 2`,
	`DELETE FROM moved WHERE a = 1`,
	`INSERT INTO moved SELECT g, '2024-06-01', 'n' || g FROM generate_series(1, 500) g`,
	`UPDATE moved SET v = v || '!' WHERE a % 2 = 0`,
	`DELETE FROM moved WHERE a % 5 = 0`,
}

// sinkOf writes a configuration with a sink alone that reads topics, and starts it.
func (w *world) sinkOf(t *testing.T, topics ...string) *process {
	t.Helper()
	file := filepath.Join(w.dir, fmt.Sprintf("sink-%d.yaml", configs.Add(1)))
	text := fmt.Sprintf("name: %s\nkafka:\n  brokers: [%s]\nregistry:\n  url: %s\nsinks:\n  - name: %s\n    topics: [%s]\n    postgres:\n      url: %s\nadmin:\n  listen: 127.0.0.1:%d\n",
		w.name, strings.Join(w.brokers, ", "), w.registry, w.name, strings.Join(topics, ", "), w.target, freePort(t))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, binary, "sink", "--config", file)
}

// TestSinkReadsDebezium: what a real Debezium wrote arrives in the target as it
// is in the source, also what it left a placeholder for, and truncates.
func TestSinkReadsDebezium(t *testing.T) {
	w := newWorld(t)
	source, target := connect(t, w.source), connect(t, w.target)
	exec1(t, source, debeziumSinkTable)
	prefix := servicetest.Name(t, "dbz")
	w.captureByDebezium(t, prefix, map[string]string{
		"table.include.list": "public.whole,public.moved", "interval.handling.mode": "string", "skipped.operations": "none", "provide.transaction.metadata": "true",
	})
	p := w.sinkOf(t, prefix+".public.whole", prefix+".public.moved")
	w.follow(t, source, target, p)
}

// TestSinkReadsOwnEnvelope is the same with the format debezium of ours.
func TestSinkReadsOwnEnvelope(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, target := connect(t, w.source), connect(t, w.target)
	exec1(t, source, debeziumSinkTable)
	file := w.config(t, []string{"whole", "moved"}, "")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	format := fmt.Sprintf("map:\n  format: debezium\n  truncate: record\n  debezium: {name: %s, time: structured}\n", w.name)
	if err := os.WriteFile(file, []byte(strings.Replace(string(b), "map:\n", format, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	w.follow(t, source, target, start(t, binary, "run", "--config", file))
}

// follow runs the workload and waits for the target to be as the source after
// each step.
func (w *world) follow(t *testing.T, source, target *pgx.Conn, p *process) {
	t.Helper()
	equal := func() error {
		for _, table := range []string{"whole", "moved"} {
			if err := same(t.Context(), source, target, table); err != nil {
				return err
			}
		}
		return nil
	}
	eventually(t, time.Minute, "the snapshot is in the target", equal, p)
	for _, statement := range append(debeziumSinkWork, `TRUNCATE moved`, `INSERT INTO moved VALUES (7, '2024-01-01', 'after the truncate')`) {
		exec1(t, source, statement)
		eventually(t, 30*time.Second, statement, equal, p)
	}
}
