package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/internal/servicetest"
)

// event is a record of the format debezium as a consumer sees it that is none
// of ours: decoded by an Avro library without knowing Debezium.
type event struct {
	Key, Value                any // nil is null
	KeySchema, ValueSchema    string
	KeyID, ValueID, Partition int
	Headers                   map[string]string
}

// readEvents waits until a topic holds want records and returns them.
func readEvents(t *testing.T, w *world, topic string, want int, processes ...*process) []event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(w.brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.UnknownTopicRetries(-1), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	schemas := map[uint32]string{}
	var list []event
	for len(list) < want {
		fetches := client.PollFetches(ctx)
		for _, p := range processes {
			if !p.running() {
				t.Fatalf("%s ended:\n%s", p.cmd.Args[1], p.output())
			}
		}
		if ctx.Err() != nil {
			ops := ""
			for _, e := range list {
				ops += " " + operation(e)
			}
			t.Fatalf("topic %s holds %d records, want %d:%s", topic, len(list), want, ops)
		}
		for iter := fetches.RecordIter(); !iter.Done(); {
			r := iter.Next()
			e := event{Headers: map[string]string{}, Partition: int(r.Partition)}
			e.Key, e.KeySchema, e.KeyID = decodeEvent(t, w, schemas, r.Key)
			e.Value, e.ValueSchema, e.ValueID = decodeEvent(t, w, schemas, r.Value)
			for _, h := range r.Headers {
				e.Headers[h.Key] = string(h.Value)
			}
			list = append(list, e)
		}
	}
	return list
}

func decodeEvent(t *testing.T, w *world, schemas map[uint32]string, b []byte) (any, string, int) {
	t.Helper()
	if b == nil {
		return nil, "", 0
	}
	id := uint32(b[1])<<24 | uint32(b[2])<<16 | uint32(b[3])<<8 | uint32(b[4])
	if schemas[id] == "" {
		resp, err := http.Get(fmt.Sprintf("%s/schemas/ids/%d", w.registry, id))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var answer struct{ Schema string }
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		schemas[id] = answer.Schema
	}
	s, err := avro.Parse(schemas[id])
	if err != nil {
		t.Fatalf("schema %d: %v: %s", id, err, schemas[id])
	}
	var v any
	if rest, err := s.Decode(b[5:], &v); err != nil || len(rest) > 0 {
		t.Fatalf("decode: %v, %d bytes left over", err, len(rest))
	}
	return v, schemas[id], int(id)
}

func operation(e event) string {
	if v, ok := e.Value.(map[string]any); ok {
		return fmt.Sprint(v["op"])
	}
	return "tombstone"
}

// captureBoth starts a real Debezium and ours on the same database, each with a
// slot of its own, and returns when both stream. Both write under the topic
// prefix that they return: schemas name it, so theirs can only be compared with
// it taken out.
func (w *world) captureBoth(t *testing.T, tables []string, theirs map[string]string, ours string) (debezium string, p *process) {
	t.Helper()
	debezium = servicetest.Name(t, "dbz")
	list := make([]string, len(tables))
	for i, table := range tables {
		list[i] = "public." + table
	}
	options := map[string]string{"table.include.list": strings.Join(list, ",")}
	maps.Copy(options, theirs)
	w.captureByDebezium(t, debezium, options)
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nsource:\n  postgres:\n    url: %s\ntables:\n", w.name, w.source)
	for _, table := range tables {
		fmt.Fprintf(&b, "  - table: public.%q\n", table)
		if table == "keyless" {
			b.WriteString("    key: none\n")
		}
	}
	fmt.Fprintf(&b, "map:\n  format: debezium\n%s", ours)
	fmt.Fprintf(&b, "kafka:\n  brokers: [%s]\n  checkpoint_topic: %s_checkpoints\n", strings.Join(w.brokers, ", "), w.name)
	fmt.Fprintf(&b, "registry:\n  url: %s\nadmin:\n  listen: 127.0.0.1:%d\n", w.registry, freePort(t))
	file := filepath.Join(w.dir, "debezium.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	p = start(t, binary, "run", "--config", file)
	source := connect(t, w.source)
	eventually(t, time.Minute, "both stream", func() error {
		var n int
		err := source.QueryRow(t.Context(), `SELECT count(*) FROM pg_replication_slots s JOIN pg_stat_replication r ON r.pid = s.active_pid
			WHERE s.database = current_database() AND r.state = 'streaming'`).Scan(&n)
		if err == nil && n < 2 {
			err = fmt.Errorf("%d stream", n)
		}
		return err
	}, p)
	return debezium, p
}

// comparison counts what was compared.
type comparison struct {
	records, fields, listed int
	unlisted                []string
	used                    map[string]bool // of the listed differences
	// purpose and chance are what may differ, by operation (* is any) and path;
	// what stands in purpose must.
	purpose, chance map[string]string
}

func newComparison() *comparison {
	return &comparison{used: map[string]bool{}, purpose: onPurpose, chance: sometimes}
}

// onPurpose are the differences that docs/debezium.md lists, by operation (* is
// any) and path.
var onPurpose = map[string]string{
	"* source.lsn":      "the commit's position in place of the row's",
	"* source.sequence": "the commit's position in place of the row's",
	"r source.txId":     "a snapshot has no transaction",
	"r source.ts_ms":    "when the snapshot was taken, by each its own",
	"r source.ts_us":    "when the snapshot was taken, by each its own",
	"r source.ts_ns":    "when the snapshot was taken, by each its own",
	"* ts_ms":           "when each read it",
	"* ts_us":           "when each read it",
	"* ts_ns":           "when each read it",
	"c after.na":        "Debezium's stream has null for type name",
	"d before.am":       "Debezium has an empty text for a uuid that the log does not tell",
	"u after.big":       "ours reads large values again",
	"c after.big":       "ours reads large values again",
}

// sometimes are those that depend on how rows come together.
var sometimes = map[string]string{
	"r source.snapshot": "the last row of a table that is not the last is marked only when the next row is there already",
}

func (c *comparison) differ(where, path string, theirs, ours any) {
	op := where[strings.LastIndexByte(where, ' ')+1:]
	for _, p := range []string{op + " " + path, "* " + path} {
		if _, ok := c.purpose[p]; ok {
			c.listed++
			c.used[p] = true
			return
		}
		if c.chance[p] != "" {
			c.listed++
			return
		}
	}
	c.unlisted = append(c.unlisted, fmt.Sprintf("%s: %s: Debezium %v, ours %v", where, path, theirs, ours))
}

func (c *comparison) compare(where, path string, theirs, ours any) {
	switch a := theirs.(type) {
	case map[string]any:
		b, ok := ours.(map[string]any)
		if !ok {
			c.differ(where, path, theirs, ours)
			return
		}
		for _, k := range slices.Sorted(maps.Keys(a)) {
			at := strings.TrimPrefix(path+"."+k, ".")
			if v, ok := b[k]; ok {
				c.compare(where, at, a[k], v)
			} else {
				c.differ(where, at, a[k], "nothing")
			}
		}
		for _, k := range slices.Sorted(maps.Keys(b)) {
			if _, ok := a[k]; !ok {
				c.differ(where, strings.TrimPrefix(path+"."+k, "."), "nothing", b[k])
			}
		}
	default:
		c.fields++
		if !cmp.Equal(theirs, ours, cmp.Comparer(func(a, b float64) bool { return a == b || a != a && b != b }),
			cmp.Comparer(func(a, b float32) bool { return a == b || a != a && b != b }), cmp.Comparer(sameRat)) {
			c.differ(where, path, theirs, ours)
		}
	}
}

func sameRat(a, b *big.Rat) bool { return a == b || a != nil && b != nil && a.Cmp(b) == 0 }

// records compares two topics record by record.
func (c *comparison) topic(t *testing.T, name string, theirs, ours []event, debezium, prefix string) {
	t.Helper()
	neutral := func(s string) string {
		for _, p := range []string{debezium, prefix} {
			s = strings.ReplaceAll(strings.ReplaceAll(s, p, "prefix"), strings.ReplaceAll(p, "_", "_u005f"), "prefix")
		}
		return s
	}
	theirs = slices.DeleteFunc(theirs, func(e event) bool { return e.Key == nil && e.Value == nil }) // a tombstone of nothing
	if len(theirs) != len(ours) {
		t.Fatalf("%s: %d records of Debezium, %d of ours", name, len(theirs), len(ours))
	}
	for i := range theirs {
		a, b := theirs[i], ours[i]
		where := fmt.Sprintf("%s[%d] %s", name, i, operation(a))
		c.records++
		c.compare(where, "key", a.Key, b.Key)
		for _, h := range slices.Sorted(maps.Keys(a.Headers)) {
			c.fields++
			if v, ok := b.Headers[h]; !ok || h != "__debezium.context.runId" && neutral(v) != neutral(a.Headers[h]) {
				c.differ(where, "header "+h, a.Headers[h], v)
			}
		}
		av, aok := a.Value.(map[string]any)
		bv, bok := b.Value.(map[string]any)
		if aok != bok {
			c.differ(where, "value", a.Value, b.Value)
			continue
		}
		if aok {
			for _, v := range []map[string]any{av, bv} {
				if source, ok := v["source"].(map[string]any); ok {
					source["name"] = "prefix"
					if source["snapshot"] == nil { // the converter's way with a default
						source["snapshot"] = "false"
					}
				}
			}
			c.compare(where, "", av, bv)
		}
		for _, s := range [][3]string{{"key schema", neutral(a.KeySchema), neutral(b.KeySchema)}, {"value schema", neutral(a.ValueSchema), neutral(b.ValueSchema)}} {
			c.schema(where, s[0], s[1], s[2])
		}
	}
}

// schema compares two schemas: their texts are equal, or field by field they
// differ only as listed.
func (c *comparison) schema(where, what, theirs, ours string) {
	c.fields++
	if theirs == ours {
		return
	}
	a, b := schemaFields(theirs), schemaFields(ours)
	before := len(c.unlisted)
	listed := c.listed
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if a[k] != b[k] {
			c.differ(where, what+"."+k, a[k], b[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(b)) {
		if _, ok := a[k]; !ok {
			c.differ(where, what+"."+k, "nothing", b[k])
		}
	}
	if before == len(c.unlisted) && listed == c.listed {
		c.differ(where, what, theirs, ours)
	}
}

// schemaFields lists the fields of a key's or of a row's schema as JSON.
func schemaFields(text string) map[string]string {
	var s struct {
		Fields []struct {
			Name string
			Type json.RawMessage
		}
	}
	fields := map[string]string{}
	if json.Unmarshal([]byte(text), &s) != nil {
		return fields
	}
	if len(s.Fields) > 0 && s.Fields[0].Name == "before" {
		var union []json.RawMessage
		if json.Unmarshal(s.Fields[0].Type, &union) == nil && len(union) == 2 {
			return schemaFields(string(union[1]))
		}
	}
	var raw struct{ Fields []json.RawMessage }
	_ = json.Unmarshal([]byte(text), &raw)
	for i, f := range s.Fields {
		fields[f.Name] = string(raw.Fields[i])
	}
	return fields
}

func (c *comparison) report(t *testing.T) {
	t.Helper()
	t.Logf("%d records, %d fields compared, %d differences that are listed, %d that are not", c.records, c.fields, c.listed, len(c.unlisted))
	for i, d := range c.unlisted {
		if i == 60 {
			t.Errorf("and %d more", len(c.unlisted)-i)
			break
		}
		t.Errorf("%.600s", d)
	}
}

// TestDebezium lets a real Debezium and ours read one workload from one
// database, and compares each record: key, value, headers, and schemas.
func TestDebezium(t *testing.T) {
	w := newWorld(t)
	source := connect(t, w.source)
	exec1(t, source, debeziumTables)
	debezium, p := w.captureBoth(t, debeziumTopics, map[string]string{"skipped.operations": "none"}, "  truncate: record\n")
	for _, statement := range debeziumWork {
		exec1(t, source, statement)
	}
	c := newComparison()
	for _, table := range debeziumTopics {
		ours := readEvents(t, w, w.name+".public."+topicName(table), debeziumRecords[table], p)
		theirs := readEvents(t, w, debezium+".public."+topicName(table), debeziumRecords[table])
		c.topic(t, table, theirs, ours, debezium, w.name)
	}
	c.report(t)
	for path := range onPurpose {
		if !c.used[path] {
			t.Errorf("%s does not differ any more: take it out of the list", path)
		}
	}
}

// topicName is a table's name in a topic's.
func topicName(table string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && r != ' ' {
			return r
		}
		return '_'
	}, table)
}

// TestDebeziumOptions compares under the options that change how values look.
func TestDebeziumOptions(t *testing.T) {
	for _, o := range []struct {
		name   string
		theirs map[string]string
		ours   string
	}{
		{
			"isostring, double, base64, map, string",
			map[string]string{"time.precision.mode": "isostring", "decimal.handling.mode": "double", "binary.handling.mode": "base64", "hstore.handling.mode": "map", "interval.handling.mode": "string"},
			"time: isostring, decimal: double, binary: base64, hstore: map, interval: string",
		},
		{
			"connect, string, hex",
			map[string]string{"time.precision.mode": "connect", "decimal.handling.mode": "string", "binary.handling.mode": "hex", "unavailable.value.placeholder": "gone"},
			"time: connect, decimal: string, binary: hex, unavailable: gone",
		},
		{
			"nanoseconds, base64-url-safe",
			map[string]string{"time.precision.mode": "nanoseconds", "binary.handling.mode": "base64-url-safe", "tombstones.on.delete": "false"},
			"time: nanoseconds, binary: base64-url-safe, tombstones: false",
		},
		{"microseconds", map[string]string{"time.precision.mode": "microseconds"}, "time: microseconds"},
		{"adaptive_time_microseconds", map[string]string{"time.precision.mode": "adaptive_time_microseconds"}, "time: adaptive_time_microseconds"},
		{
			"structured, avro_unicode",
			map[string]string{"time.precision.mode": "structured", "schema.name.adjustment.mode": "avro_unicode", "field.name.adjustment.mode": "avro_unicode"},
			"time: structured, names: avro_unicode",
		},
	} {
		t.Run(o.name, func(t *testing.T) {
			w := newWorld(t)
			source := connect(t, w.source)
			exec1(t, source, debeziumOptionTable)
			if o.theirs["time.precision.mode"] == "nanoseconds" { // a delete would end Debezium
				exec1(t, source, `ALTER TABLE options ALTER nts DROP NOT NULL`)
			}
			debezium, p := w.captureBoth(t, []string{"options"}, o.theirs, "  debezium: {"+o.ours+"}\n")
			exec1(t, source, `UPDATE options SET x = 4 WHERE id = 1`)
			exec1(t, source, `INSERT INTO options SELECT (r).* FROM (SELECT jsonb_populate_record(o, jsonb_build_object('id', o.id + 10)) r FROM options o ORDER BY id) x`)
			exec1(t, source, `DELETE FROM options WHERE id = 1`)
			n := 9
			if o.theirs["tombstones.on.delete"] == "false" {
				n--
			}
			c := newComparison()
			c.topic(t, "options", readEvents(t, w, debezium+".public.options", n), readEvents(t, w, w.name+".public.options", n, p), debezium, w.name)
			c.report(t)
		})
	}
}

const debeziumOptionTable = `
CREATE EXTENSION hstore;
CREATE TABLE options (id int PRIMARY KEY, x int DEFAULT 3, nn numeric, n52 numeric(5,2) DEFAULT 1.5, n2 numeric DEFAULT 2, mo money, ba bytea, bb bytea[], hs hstore, iv interval DEFAULT '1 mon',
	da date DEFAULT '2020-01-01', ti time DEFAULT '10:00', ti0 time(0), ti3 time(3), ts timestamp DEFAULT '2020-01-01 00:00:01', ts0 timestamp(0), ts3 timestamp(3), tstz timestamptz DEFAULT '2020-01-01 00:00:00+00', ttz timetz, ad date[], ats timestamp[], ati time(3)[],
	"o_d-né" text, "1st" int, nda date NOT NULL DEFAULT '2020-01-02', nti time(3) NOT NULL DEFAULT '10:00', nts timestamp NOT NULL DEFAULT '2020-01-02', ntz timestamptz(3) NOT NULL DEFAULT now(), nttz timetz NOT NULL DEFAULT '10:00+00', nttf timetz NOT NULL DEFAULT CURRENT_TIME, niv interval NOT NULL DEFAULT '1 day');
INSERT INTO options (id, nn, n52, mo, ba, bb, hs, iv, da, ti, ti0, ti3, ts, ts0, ts3, tstz, ttz, ad, ats, ati) VALUES
	(1, 123.45, 1.5, 1234567.89, '\x0102ff', '{"\\x01ff",NULL}', 'b=>1,a=>NULL,"c d"=>"x\"y"', '1 year 2 mons 3 days 04:05:06.789', '2024-02-29', '10:11:12.123456', '10:11:12', '10:11:12.12', '2024-02-29 10:11:12.123456', '2024-02-29 10:11:12', '2024-02-29 10:11:12.12', '2024-02-29 10:11:12.5+02', '10:11:12+02', '{2024-02-29}', '{2024-02-29 10:11:12.123456}', '{10:11:12.5}'),
	(2, -0.001, -999.99, -0.05, '\x', '{}', '', '-1 year -2 mons +3 days -04:05:06.789', '1969-12-31', '00:00', '00:00', '00:00', '1969-12-31 23:59:59.999999', '1969-12-31 23:59:59', '1901-01-01', '1969-12-31 23:59:59.999999+00', '00:00+00', '{}', '{}', '{}'),
	(3, 0, 0, 0, '\xfb', NULL, NULL, '0', NULL, NULL, NULL, NULL, '2199-12-31 23:59:59.999999', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
`
