package integration

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"cdc/internal/servicetest"
)

const debeziumExtensionTable = `
CREATE EXTENSION vector; CREATE EXTENSION postgis;
CREATE TABLE placed (id int PRIMARY KEY, g geometry, gp geometry(Point,4326), gz geometry(PointZ,4326), gn geometry NOT NULL DEFAULT 'POINT(1 1)', gg geography, ggn geography NOT NULL DEFAULT 'POINT(0 0)',
	v vector(3), vn vector(2) NOT NULL DEFAULT '[1,2]', h halfvec(2), hn halfvec(1) NOT NULL DEFAULT '[1]', s sparsevec(5), s2 sparsevec(5));
INSERT INTO placed (id, g, gp, gz, gg, v, h, s, s2) VALUES
	(1, 'POINT(1 2)', 'SRID=4326;POINT(3 4)', 'SRID=4326;POINT Z (1 2 3)', 'POINT(5 6)', '[1,2.5,-3e-5]', '[1.5,0.1]', '{1:1.5,3:-2}/5', '{}/5'),
	(2, 'SRID=3857;GEOMETRYCOLLECTION EMPTY', NULL, NULL, 'LINESTRING(0 0,1 1)', '[0,0,0]', '[65504,-6e-8]', NULL, '{5:1e-3}/5'),
	(3, 'LINESTRING M (1 2 3,4 5 6)', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(4, 'SRID=4326;POLYGON((0 0,0 1,1 1,0 0),(0.1 0.2,0.2 0.3,0.3 0.3,0.1 0.2))', 'SRID=4326;POINT EMPTY', NULL, NULL, NULL, NULL, NULL, NULL);
`

// TestDebeziumExtensions compares PostGIS's and pgvector's types with a real
// Debezium, whose topic a sink of ours then reads.
func TestDebeziumExtensions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := servicetest.PostgresExtensions(t)
	w.source, w.target = servicetest.PostgresOn(t, server), servicetest.PostgresOn(t, server)
	source, target := connect(t, w.source), connect(t, w.target)
	exec1(t, source, debeziumExtensionTable)
	exec1(t, target, `CREATE EXTENSION vector; CREATE EXTENSION postgis`)
	// Debezium's field of a geometry does not tell its type from that of a box.
	exec1(t, target, `CREATE TABLE placed (id int PRIMARY KEY, g geometry, gp geometry, gz geometry, gn geometry)`)
	debezium, p := w.captureBoth(t, []string{"placed"}, nil, "")
	for _, statement := range []string{
		`INSERT INTO placed SELECT id + 10, g, gp, gz, gn, gg, ggn, v, vn, h, hn, s, s2 FROM placed ORDER BY id`,
		`UPDATE placed SET h = '[2,3]' WHERE id = 11`,
		`DELETE FROM placed WHERE id = 12`,
	} {
		exec1(t, source, statement)
	}
	const records = 11
	c := newComparison()
	c.topic(t, "placed", readEvents(t, w, debezium+".public.placed", records), readEvents(t, w, w.name+".public.placed", records, p), debezium, w.name)
	c.report(t)

	sink := w.sinkOf(t, debezium+".public.placed")
	eventually(t, time.Minute, "the sink has what Debezium read", func() error { return same(t.Context(), source, target, "placed") }, sink)
	types := map[string]string{}
	found, err := target.Query(t.Context(), `SELECT attname, format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = 'placed'::regclass AND attnum > 5 AND NOT attisdropped`)
	if err != nil {
		t.Fatal(err)
	}
	for found.Next() {
		var name, typ string
		if err := found.Scan(&name, &typ); err != nil {
			t.Fatal(err)
		}
		types[name] = typ
	}
	got := strings.Join(slices.Sorted(maps.Values(types)), " ")
	if want := "geography geography halfvec halfvec sparsevec sparsevec vector vector"; got != want {
		t.Errorf("the sink made columns of %s, want %s", got, want)
	}
}
