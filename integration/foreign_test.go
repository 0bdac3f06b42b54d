package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

// TestForeignConsumer reads the topic with librdkafka and fastavro, by the
// registry's schemas, and compares the records with what PostgreSQL says of the
// rows.
func TestForeignConsumer(t *testing.T) {
	t.Parallel()
	python := os.Getenv("CDC_TEST_PYTHON")
	if python == "" {
		t.Fatal("CDC_TEST_PYTHON is not set: run `make test`, or `eval \"$(make -s services)\"` once and then go test")
	}
	w := newWorld(t)
	source := connect(t, w.source)
	exec1(t, source, `CREATE TABLE f (
		id int, part text, big bigint, ok boolean, single real, double double precision, exact numeric(20,4), loose numeric, name text, raw bytea,
		day date, clock time, local timestamp, utc timestamptz, who uuid, doc jsonb, days date[], amounts numeric(6,2)[], words text[], needed smallint NOT NULL,
		PRIMARY KEY (part, id))`)
	exec1(t, source, `INSERT INTO f SELECT g, 'part ' || g % 3, g * 1000000007::bigint, g % 2 = 0, g / 4.0, g / 3.0::double precision, g * 12345.6789, g / 8.0, 'näme ' || g,
		sha256(int4send(g)), date '2026-01-01' - g * 200, time '00:00' + g * interval '1.000001 s', timestamp '1969-12-31 23:59:59.999999' + g * interval '1000000.000001 s',
		timestamptz '1901-01-01 00:00Z' + g * interval '98765432.123456 s', md5(g::text)::uuid, jsonb_build_object('g', g, 'half', g / 2.0),
		ARRAY[date '2026-01-01' + g, NULL], ARRAY[g / 100.0, -g], ARRAY['a' || g, NULL, 'ü'], g FROM generate_series(1, 40) g`)
	exec1(t, source, `INSERT INTO f (id, part, needed) VALUES (41, 'nulls', 0)`)
	const columns = `id, part, big, ok, single::text AS single, double::text AS double, exact::text AS exact, loose::text AS loose, name, encode(raw, 'hex') AS raw,
		day::text AS day, to_char(clock, 'HH24:MI:SS.US') AS clock, to_char(local, 'YYYY-MM-DD"T"HH24:MI:SS.US') AS local,
		to_char(utc AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') AS utc, who::text AS who, doc::text AS doc,
		days::text[] AS days, amounts::text[] AS amounts, words, needed`
	var want []string
	note := func(op, where string) {
		t.Helper()
		r, err := source.Query(t.Context(), fmt.Sprintf(`SELECT jsonb_build_object('op', '%s', 'key', jsonb_build_object('part', part, 'id', id),
			'value', to_jsonb(c))::text FROM (SELECT %s FROM f WHERE %s ORDER BY part, id) c`, op, columns, where))
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(r, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, lines...)
	}
	note("read", "true")
	capture := start(t, binary, "capture", "--config", w.config(t, []string{"f"}, ""))
	admin := w.admin(t)
	published := func(n int) {
		t.Helper()
		eventually(t, time.Minute, fmt.Sprintf("%d records are published", n), func() error {
			sum, err := w.ends(t.Context(), admin, w.topic("f"))
			if err != nil || sum != int64(n) {
				return fmt.Errorf("%d, %v", sum, err)
			}
			return nil
		}, capture)
	}
	published(41)
	exec1(t, source, `INSERT INTO f (id, part, name, exact, needed) VALUES (50, 'stream', 'inserted', -0.0001, 5)`)
	note("insert", "id = 50")
	exec1(t, source, `UPDATE f SET name = 'updated', day = '9999-12-31' WHERE id = 50`)
	note("update", "id = 50")
	exec1(t, source, `DELETE FROM f WHERE id = 50`)
	want = append(want, `{"op": "delete", "key": {"part": "stream", "id": 50}, "value": null}`)
	published(44)
	capture.stop(t)

	cmd := exec.CommandContext(t.Context(), python, "testdata/consume.py", strings.Join(w.brokers, ","), w.registry, w.topic("f"), "44")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("consume.py: %v\n%s", err, stderr.String())
	}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(got) != len(want) {
		t.Fatalf("%d records instead of %d", len(got), len(want))
	}
	// A snapshot has no order of its own: records are compared by operation and key.
	byKey := func(lines []string) map[string]any {
		m := map[string]any{}
		for _, l := range lines {
			var o map[string]any
			if err := json.Unmarshal([]byte(l), &o); err != nil {
				t.Fatal(err)
			}
			m[fmt.Sprint(o["op"], o["key"])] = o["value"]
		}
		return m
	}
	if d := cmp.Diff(byKey(want), byKey(got)); d != "" {
		t.Errorf("records as the foreign consumer sees them (-PostgreSQL +consumer):\n%s", d)
	}
}
