package sink_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/mapping/debezium"
	"cdc/replication"
	"cdc/sink/postgres"
)

func intCol(name string) replication.Column {
	return replication.Column{Name: name, Kind: replication.KindInt, Bits: 64, NotNull: true, TypeName: "bigint"}
}

func textCol(name string) replication.Column {
	return replication.Column{Name: name, Kind: replication.KindString, TypeName: "text"}
}

func num(n int64) replication.Value { return replication.IntValue(n) }
func text(s string) replication.Value {
	return replication.StringValue(replication.KindString, s)
}

func (w *world) expect(query, want string) {
	w.t.Helper()
	if got := w.dump(query); got != want {
		w.t.Errorf("%s: got\n%s\nwant\n%s", query, got, want)
	}
}

func TestUpsertAndDelete(t *testing.T) {
	w := newWorld(t)
	topic := w.topic("orders", 2)
	f := w.feed(topic, []replication.Column{intCol("id"), textCol("note")}, "id")
	w.produce(
		f.row(replication.OpRead, num(1), text("one")),
		f.row(replication.OpInsert, num(2), text("two")),
		f.row(replication.OpInsert, num(3), replication.Null),
		f.row(replication.OpUpdate, num(1), text("uno")),
		f.row(replication.OpDelete, num(2)),
	)
	cfg := w.config(topic)
	cfg.Registerer = prometheus.NewRegistry()
	r := w.run(cfg)
	w.applied("cdc_"+cfg.Name, topic)
	w.expect(`SELECT * FROM `+table(topic), "(1,uno)\n(3,)")
	w.produce(f.row(replication.OpDelete, num(1)), f.row(replication.OpInsert, num(2), text("two again")))
	w.applied("cdc_"+cfg.Name, topic)
	w.expect(`SELECT * FROM `+table(topic), "(2,\"two again\")\n(3,)")
	if err := r.end(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if h := r.sink.Health(); h.InFlight != 0 || h.Ready {
		t.Errorf("health after the end: %+v", h)
	}
	if got := counter(t, cfg.Registerer.(*prometheus.Registry), "cdc_sink_records_total"); got != 7 {
		t.Errorf("cdc_sink_records_total is %v, want 7", got)
	}
	if got := r.sink.Health().Lag; got != 0 {
		t.Errorf("lag is %d, want 0", got)
	}
	if got := counter(t, cfg.Registerer.(*prometheus.Registry), "cdc_sink_in_flight_records"); got != 0 {
		t.Errorf("cdc_sink_in_flight_records is %v, want 0", got)
	}
}

// counter sums a metric over its labels.
func counter(t *testing.T, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// TestReplayChangesNothing stops and starts a sink, and loses its group
// commits: it goes on from the database's offsets, on insert-only tables too,
// where a record applied twice would show.
func TestReplayChangesNothing(t *testing.T) {
	w := newWorld(t)
	topic := w.topic("log", 3)
	f := w.feed(topic, []replication.Column{intCol("n")})
	cfg := w.config(topic)
	next := int64(0)
	for range 4 {
		for range 10 {
			w.produce(f.row(replication.OpInsert, num(next)))
			next++
		}
		r := w.run(cfg)
		w.applied("cdc_"+cfg.Name, topic)
		must(t, r.end())
		cfg.Group = "cdc_" + cfg.Name
		adm := w.admin()
		if _, err := adm.DeleteGroup(t.Context(), cfg.Group); err != nil {
			t.Fatal(err)
		}
	}
	w.expect(`SELECT count(*), count(DISTINCT n) FROM `+table(topic), "(40,40)")
}

func TestSchemaGrowsWhileRunning(t *testing.T) {
	w := newWorld(t)
	topic := w.topic("grow", 1)
	v1 := w.feed(topic, []replication.Column{intCol("id"), textCol("a")}, "id")
	v2 := w.feed(topic, []replication.Column{intCol("id"), textCol("a"), textCol("strange name")}, "id")
	w.produce(
		v1.row(replication.OpInsert, num(1), text("a")),
		v2.row(replication.OpInsert, num(2), text("b"), text("x")),
		v2.row(replication.OpUpdate, num(1), text("c"), text("y")),
		v1.row(replication.OpUpdate, num(2), text("d")),
		v1.row(replication.OpDelete, num(3)),
		v2.row(replication.OpUpdate, num(1), replication.Unchanged, text("z")),
		v2.row(replication.OpUpdate, num(2), text("e"), replication.Unchanged),
	)
	cfg := w.config(topic)
	w.run(cfg)
	w.applied("cdc_"+cfg.Name, topic)
	w.expect(`SELECT id, a, "strange name" FROM `+table(topic), "(1,c,z)\n(2,e,x)")
}

func TestPatternsAndOverrides(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.topic("a", 1), w.topic("b", 1), w.topic("other", 1)
	cols := []replication.Column{intCol("id"), textCol("code")}
	w.produce(w.feed(a, cols, "id").row(replication.OpInsert, num(1), text("x")))
	w.produce(w.feed(c, cols, "id").row(replication.OpInsert, num(1), text("x")))
	// b has plain keys: the code.
	fb := w.feed(b, cols)
	plain := func(r *kgo.Record, key string) *kgo.Record { r.Key = []byte(key); return r }
	w.produce(
		plain(fb.row(replication.OpInsert, num(1), text("x")), "x"),
		plain(fb.row(replication.OpInsert, num(2), text("y")), "y"),
		plain(fb.row(replication.OpUpdate, num(3), text("x")), "x"),
		plain(fb.row(replication.OpDelete), "y"),
	)
	w.exec("CREATE SCHEMA elsewhere")
	cfg := w.config("/public\\."+w.prefix+"_[ab]/", c)
	cfg.Tables = append(cfg.Tables, tableConfig(b, "elsewhere", "codes", "code"))
	w.run(cfg)
	w.applied("cdc_"+cfg.Name, a, b, c)
	w.expect(`SELECT * FROM elsewhere.codes`, "(3,x)")
	w.expect(`SELECT * FROM `+table(a), "(1,x)")
	w.expect(`SELECT * FROM `+table(c), "(1,x)")
	// A delete is the first that a new sink sees of a plain topic.
	w.produce(plain(fb.row(replication.OpDelete), "x"))
	w.applied("cdc_"+cfg.Name, b)
	w.expect(`SELECT count(*) FROM elsewhere.codes`, "(0)")
}

// TestTopicsWithoutRows: a pattern meets topics of Debezium's format that tell of
// transactions and of messages. The one that the configuration knows of is not
// read; another is known by its schema; one that is named becomes a table.
func TestTopicsWithoutRows(t *testing.T) {
	w := newWorld(t)
	rows, known, foreign, named := w.topic("rows", 1), w.topic("known", 1), w.topic("foreign", 1), w.topic("named", 1)
	f := w.feed(rows, []replication.Column{intCol("id"), textCol("code")}, "id")
	w.produce(f.row(replication.OpInsert, num(1), text("x")), &kgo.Record{Topic: known, Key: []byte("no Avro"), Value: []byte("no Avro")})
	key, value := debezium.BoundarySchemas()
	for _, topic := range []string{foreign, named} {
		keyID, err := w.registry.ID(t.Context(), topic+"-key", key)
		must(t, err)
		valueID, err := w.registry.ID(t.Context(), topic+"-value", value)
		must(t, err)
		b := debezium.Boundary{ID: []byte("742:1"), Time: 1_700_000_000_000_000, End: true, Events: 3}
		w.produce(&kgo.Record{Topic: topic, Key: b.AppendKey(nil, keyID), Value: b.AppendValue(nil, valueID)})
	}
	cfg := w.config("/public\\."+w.prefix+"_.*/", named)
	cfg.NotTables = []string{known, named}
	w.run(cfg)
	w.applied("cdc_"+cfg.Name, rows, foreign, named)
	w.expect(`SELECT * FROM `+table(rows), "(1,x)")
	w.expect(`SELECT id, status, event_count FROM `+table(named), "(742:1,END,3)")
	w.expect(`SELECT count(*) FROM pg_tables WHERE tablename IN ('`+table(known)+`', '`+table(foreign)+`')`, "(0)")
	w.expect(`SELECT count(*) FROM cdc_offsets WHERE topic = '`+known+`'`, "(0)")
}

func TestTruncateRecords(t *testing.T) {
	for _, partitions := range []int32{1, 3} {
		t.Run(fmt.Sprint(partitions), func(t *testing.T) {
			w := newWorld(t)
			topic := w.topic("tr", partitions)
			f := w.feed(topic, []replication.Column{intCol("id"), textCol("note")}, "id")
			truncate := func() {
				t.Helper()
				for p := range partitions {
					r := f.row(replication.OpTruncate, num(0))
					r.Partition = p
					must(t, w.manual.ProduceSync(t.Context(), r).FirstErr())
				}
			}
			for i := range int64(50) {
				w.produce(f.row(replication.OpInsert, num(i), text("before")))
			}
			truncate()
			for i := int64(40); i < 60; i++ {
				w.produce(f.row(replication.OpInsert, num(i), text("after")))
			}
			cfg := w.config(topic)
			r := w.run(cfg)
			w.applied("cdc_"+cfg.Name, topic)
			w.expect(`SELECT note, count(*), min(id), max(id) FROM `+table(topic)+` GROUP BY note`, "(after,20,40,59)")
			truncate()
			w.applied("cdc_"+cfg.Name, topic)
			w.expect(`SELECT count(*) FROM `+table(topic), "(0)")
			must(t, r.end())
		})
	}
}

// TestRandomHistory sends a random history of a few rows through real services
// in random batches and compares with the last state of each.
func TestRandomHistory(t *testing.T) {
	w := newWorld(t)
	topic := w.topic("random", 4)
	f := w.feed(topic, []replication.Column{intCol("id"), textCol("a"), textCol("b")}, "id")
	cfg := w.config(topic)
	cfg.BatchRows = 50
	r := w.run(cfg)
	rng := rand.New(rand.NewPCG(1, 2))
	type cells [2]string
	state := map[int64]cells{}
	for range 20 {
		var records []*kgo.Record
		for range 100 {
			id := rng.Int64N(40)
			row, there := state[id]
			mark := fmt.Sprint(rng.IntN(1000))
			switch {
			case there && rng.IntN(3) == 0:
				delete(state, id)
				records = append(records, f.row(replication.OpDelete, num(id)))
				continue
			case there && rng.IntN(2) == 0:
				row[0] = mark
				records = append(records, f.row(replication.OpUpdate, num(id), text(mark), replication.Unchanged))
			case there:
				row = cells{mark, mark}
				records = append(records, f.row(replication.OpUpdate, num(id), text(mark), text(mark)))
			default:
				row = cells{mark, "new"}
				records = append(records, f.row(replication.OpInsert, num(id), text(mark), text("new")))
			}
			state[id] = row
		}
		w.produce(records...)
	}
	w.applied("cdc_"+cfg.Name, topic)
	var want []string
	for _, id := range slices.Sorted(maps.Keys(state)) {
		want = append(want, fmt.Sprintf("(%d,%s,%s)", id, state[id][0], state[id][1]))
	}
	slices.Sort(want)
	w.expect(`SELECT * FROM `+table(topic), strings.Join(want, "\n"))
	must(t, r.end())
}

func TestMissingTableIsRefused(t *testing.T) {
	w := newWorld(t)
	topic := w.topic("absent", 1)
	w.produce(w.feed(topic, []replication.Column{intCol("id")}, "id").row(replication.OpInsert, num(1)))
	cfg := w.config(topic)
	cfg.Writer = w.writer(postgres.Config{})
	err := w.run(cfg).failure(t)
	if !replication.IsRefusal(err) || !strings.Contains(err.Error(), "CREATE TABLE") {
		t.Errorf("got %v, want a refusal with the statement", err)
	}
}
