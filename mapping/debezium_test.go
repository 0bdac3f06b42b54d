package mapping_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/mapping"
	"cdc/mapping/debezium"
	"cdc/replication"
)

func debeziumConfig() mapping.Config {
	return mapping.Config{Debezium: &mapping.Debezium{Source: debezium.Source{Connector: "postgresql", Name: "shop", Database: "db"}}}
}

// TestDebeziumOperations: the events of each operation, and their headers.
func TestDebeziumOperations(t *testing.T) {
	tab := orders()
	cfg := debeziumConfig()
	cfg.Truncate = mapping.TruncateRecord
	got := mapRows(t, cfg,
		insert(tab, 0, num(2), str("b"), str("north")),
		update(tab, 1, row(num(2), replication.Unchanged, replication.Unchanged), row(num(3), str("b"), replication.Unchanged)),
		remove(tab, 2, num(3), replication.Unchanged, replication.Unchanged),
		truncate(tab, 3),
	)
	type event struct {
		Op            any
		Key           any
		Before, After any
		New, Old      string
		Unchanged     string
		All           bool
	}
	var events []event
	for _, s := range got {
		if s.Topic != "shop.public.orders" || s.Headers["__debezium.context.connectorLogicalName"] != "shop" {
			t.Errorf("topic %s, headers %v", s.Topic, s.Headers)
		}
		e := event{Key: s.Key, New: s.Headers["__debezium.newkey"], Old: s.Headers["__debezium.oldkey"], Unchanged: s.Headers[mapping.HeaderUnchanged], All: s.All}
		if s.Value != nil {
			e.Op, e.Before, e.After = s.Value["op"], s.Value["before"], s.Value["after"]
			source := s.Value["source"].(fields)
			if source["lsn"] != int64(0x1A0) || source["txId"] != int64(7) || source["sequence"] != `["416","416"]` || source["snapshot"] != "false" || source["ts_us"] != int64(1_700_000_000_123_456) {
				t.Errorf("source %v", source)
			}
		}
		events = append(events, e)
	}
	gone := debezium.DefaultUnavailable
	want := []event{
		{Op: "c", Key: fields{"id": int64(2)}, After: fields{"id": int64(2), "note": "b", "region": "north"}},
		{Op: "d", Key: fields{"id": int64(2)}, Before: fields{"id": int64(2), "note": nil, "region": nil}, New: `{"id":3}`},
		{Key: fields{"id": int64(2)}, New: `{"id":3}`},
		{Op: "c", Key: fields{"id": int64(3)}, After: fields{"id": int64(3), "note": "b", "region": gone}, Old: `{"id":2}`, Unchanged: "region"},
		{Op: "d", Key: fields{"id": int64(3)}, Before: fields{"id": int64(3), "note": nil, "region": nil}},
		{Key: fields{"id": int64(3)}},
		{Op: "t", All: true},
	}
	if d := cmp.Diff(want, events); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestDebeziumRefuses: what the format has no place for is said before a row.
func TestDebeziumRefuses(t *testing.T) {
	for name, change := range map[string]func(*mapping.Config){
		"no name":   func(c *mapping.Config) { c.Debezium.Source.Name = "" },
		"an option": func(c *mapping.Config) { c.Debezium.Time = "seconds" },
		"a plain key": func(c *mapping.Config) {
			c.Tables = []mapping.TableConfig{{Schema: "public", Name: "orders", Key: mapping.KeyConfig{Mode: mapping.KeyPlain, Field: "id"}}}
		},
		"omitted values": func(c *mapping.Config) {
			c.Tables = []mapping.TableConfig{{Schema: "public", Name: "orders", Unchanged: mapping.UnchangedOmit}}
		},
	} {
		cfg := debeziumConfig()
		cfg.Registry = &registry{}
		change(&cfg)
		if _, err := mapping.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func debeziumBatch() *replication.Batch {
	tab := ordersFull()
	b := &replication.Batch{Bytes: 100_000}
	for i := range 1000 {
		b.Changes = append(b.Changes, update(tab, uint64(i), row(num(int64(i)), str("before"), str("north")), row(num(int64(i)), str("after"), str("south"))))
	}
	return b
}

// TestDebeziumDoesNotAllocateARow in the steady state.
func TestDebeziumDoesNotAllocateARow(t *testing.T) {
	cfg := debeziumConfig()
	cfg.Registry = &registry{}
	m, b := newMapper(t, cfg), debeziumBatch()
	var out mapping.Records
	one := func() {
		out.Reset()
		if err := m.Map(t.Context(), b, &out); err != nil {
			t.Fatal(err)
		}
	}
	one()
	one()
	if n := testing.AllocsPerRun(20, one); n > 10 {
		t.Errorf("%v allocations for %d rows", n, len(b.Changes))
	}
}

func BenchmarkDebezium(b *testing.B) {
	cfg := debeziumConfig()
	cfg.Registry = &registry{}
	m, batch := newMapper(b, cfg), debeziumBatch()
	var out mapping.Records
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		if err := m.Map(b.Context(), batch, &out); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch.Changes)), "ns/row")
}
