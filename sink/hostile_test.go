package sink_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/sink"
)

// remake deletes a topic and makes another one of its name.
func (w *world) remake(topic string) {
	w.t.Helper()
	adm := w.admin()
	_, err := adm.DeleteTopic(w.t.Context(), topic)
	must(w.t, err)
	servicetest.MakeTopic(w.t, adm, 1, nil, topic)
	w.cl.PurgeTopicsFromClient(topic)
}

// TestTopicMadeAnewWithMoreRecords: the offset in the target lies within the
// new topic, so nothing but the topic's id tells that records would be skipped.
func TestTopicMadeAnewWithMoreRecords(t *testing.T) {
	w := newWorld(t)
	topic := w.topic("longer", 1)
	f := w.feed(topic, []replication.Column{intCol("id")}, "id")
	w.produce(f.row(replication.OpInsert, num(1)), f.row(replication.OpInsert, num(2)))
	cfg := w.config(topic)
	r := w.run(cfg)
	w.applied("cdc_"+cfg.Name, topic)
	must(t, r.end())
	w.remake(topic)
	for i := range int64(4) {
		w.produce(f.row(replication.OpInsert, num(10+i)))
	}
	err := w.run(cfg).failure(t)
	if !replication.IsRefusal(err) || !strings.Contains(err.Error(), "made anew") || !strings.Contains(err.Error(), "DELETE FROM") {
		t.Errorf("got %v, want a refusal", err)
	}
	w.expect("SELECT * FROM "+table(topic), "(1)\n(2)")
	w.exec("DELETE FROM cdc_offsets WHERE topic = '" + topic + "'; TRUNCATE " + table(topic))
	w.run(cfg)
	w.applied("cdc_"+cfg.Name, topic)
	w.expect("SELECT * FROM "+table(topic), "(10)\n(11)\n(12)\n(13)")
}

// TestOffsetsTableOfAnEarlierVersion has no topic ids yet.
func TestOffsetsTableOfAnEarlierVersion(t *testing.T) {
	w := newWorld(t)
	topic := w.topic("earlier", 1)
	f := w.feed(topic, []replication.Column{intCol("id")}, "id")
	cfg := w.config(topic)
	w.exec("CREATE TABLE cdc_offsets (group_name text, topic text, partition integer, next_offset bigint NOT NULL, updated_at timestamptz DEFAULT now(), PRIMARY KEY (group_name, topic, partition))")
	w.exec("INSERT INTO cdc_offsets VALUES ('cdc_" + cfg.Name + "', '" + topic + "', 0, 1)")
	w.produce(f.row(replication.OpInsert, num(1)), f.row(replication.OpInsert, num(2)))
	w.run(cfg)
	w.applied("cdc_"+cfg.Name, topic)
	w.expect("SELECT id, next_offset, topic_id IS NOT NULL FROM cdc_offsets, "+table(topic), "(2,2,t)")
}

func TestTopicsOfOneTableAreRefused(t *testing.T) {
	w := newWorld(t)
	a := w.topic("x", 1)
	b := "archive." + table(a)
	w.makeTopic(b, 1, nil)
	cols := []replication.Column{intCol("id")}
	fa, fb := w.feed(a, cols, "id"), w.feed(b, cols, "id")
	w.produce(fa.row(replication.OpInsert, num(1)), fb.row(replication.OpInsert, num(2)))
	want := fmt.Sprintf("topics %s and %s would both go to table %s", b, a, table(a))

	if _, err := sink.New(w.config(a, b)); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("names: got %v, want %s", err, want)
	}
	cfg := w.config(`/.*\.` + table(a) + "/")
	if err := w.run(cfg).failure(t); !replication.IsRefusal(err) || !strings.Contains(err.Error(), want) {
		t.Errorf("pattern: got %v, want %s", err, want)
	}
	found := ""
	for _, f := range sink.Check(t.Context(), cfg) {
		if f.Level == replication.LevelError {
			found += f.Problem
		}
	}
	if !strings.Contains(found, want) {
		t.Errorf("check: got %s, want %s", found, want)
	}
	cfg.Tables = []sink.TableConfig{tableConfig(a, "", "both", "id"), tableConfig(b, "", "both", "id")} // wanted
	w.run(cfg)
	w.applied("cdc_"+cfg.Name, a, b)
	w.expect("SELECT * FROM \"both\"", "(1)\n(2)")
}

// TestStopThatCannotFinish holds the target beyond the drain timeout. Until
// then the sink's progress counts from when it got something to do, and its lag
// grows although nothing is fetched any more.
func TestStopThatCannotFinish(t *testing.T) {
	sink.ShortMeasure(t)
	w := newWorld(t)
	topic := w.topic("late", 1)
	f := w.feed(topic, []replication.Column{intCol("id")}, "id")
	g := newGate()
	g.armed.Store(true)
	cfg := w.config(topic)
	cfg.Writer, cfg.DrainTimeout = g.open(w), 200*time.Millisecond
	reg := prometheus.NewRegistry()
	cfg.Registerer = reg
	r := w.run(cfg)
	eventually(t, func() error {
		if !r.sink.Health().Ready {
			return errors.New("not ready")
		}
		return nil
	})
	start := time.Now()
	w.produce(f.row(replication.OpInsert, num(1)))
	<-g.held
	if h := r.sink.Health(); h.InFlight != 1 || h.Progress.Before(start) {
		t.Errorf("%d in flight, progress %s before they came", h.InFlight, start.Sub(h.Progress))
	}
	for i := range int64(5) {
		w.produce(f.row(replication.OpInsert, num(i)))
	}
	eventually(t, func() error {
		records, seconds := gauge(t, reg, "cdc_sink_lag_records"), gauge(t, reg, "cdc_sink_lag_seconds")
		if records != 6 || seconds <= 0 {
			return fmt.Errorf("lag of %v records, %v s", records, seconds)
		}
		return nil
	})
	if err := r.end(); !errors.Is(err, sink.ErrDrain) {
		t.Errorf("stop: %v, want ErrDrain", err)
	}
}

func gauge(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() == name && len(f.GetMetric()) > 0 {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return -1
}

// TestSpareMemberIsReady: more members than partitions.
func TestSpareMemberIsReady(t *testing.T) {
	sink.ShortMeasure(t)
	w := newWorld(t)
	topic := w.topic("spare", 1)
	cfg := w.config(topic)
	a, b := w.run(cfg), w.run(cfg)
	eventually(t, func() error {
		if ha, hb := a.sink.Health(), b.sink.Health(); !ha.Ready || !hb.Ready || ha.Assigned+hb.Assigned != 1 {
			return fmt.Errorf("%+v, %+v", ha, hb)
		}
		return nil
	})
}

// TestLargeDeadLetters are as large as their topics take, alone and together.
func TestLargeDeadLetters(t *testing.T) {
	w := newWorld(t)
	large := map[string]*string{"max.message.bytes": new("4194304")}
	topic, dead := "public."+w.prefix+"_large", w.prefix+"_large_dead"
	for name, config := range map[string]map[string]*string{topic: large, dead: large} {
		w.makeTopic(name, 1, config)
	}
	cl, err := kgo.NewClient(append(must2(w.config(topic).Kafka.Opts()), kgo.ProducerBatchMaxBytes(4<<20))...)
	must(t, err)
	defer cl.Close()
	for _, size := range []int{3 << 20, 700 << 10, 700 << 10, 10} {
		must(t, cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(strings.Repeat("x", size))}).FirstErr())
	}
	cfg := w.config(topic)
	cfg.OnError, cfg.DeadLetterTopic = sink.OnErrorDeadLetter, dead
	w.run(cfg)
	w.applied("cdc_"+cfg.Name, topic)
	ends, err := w.admin().ListEndOffsets(t.Context(), dead)
	must(t, err)
	if end, _ := ends.Lookup(dead, 0); end.Offset != 4 {
		t.Errorf("%d dead letters", end.Offset)
	}
}

func must2[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestNameThatNoColumnCanHave must not reach the database: PostgreSQL would
// take a NUL in a statement for a broken connection.
func TestNameThatNoColumnCanHave(t *testing.T) {
	w := newWorld(t)
	topic := w.topic("nul", 1)
	w.produce(w.feed(topic, []replication.Column{intCol("id"), textCol("a\x00b")}, "id").row(replication.OpInsert, num(1), text("x")))
	err := w.run(w.config(topic)).failure(t)
	if e, ok := errors.AsType[*sink.RecordError](err); !ok || !strings.Contains(e.Error(), `"a\x00b", which no column can have`) {
		t.Errorf("got %v", err)
	}
}

// TestGroupOfTwoTargetsIsRefused: two databases, one group. The second one is
// turned away, and the first goes on with all partitions.
func TestGroupOfTwoTargetsIsRefused(t *testing.T) {
	one := newWorld(t)
	topic := one.topic("shared", 2)
	f := one.feed(topic, []replication.Column{intCol("id")}, "id")
	cfg := one.config(topic)
	r := one.run(cfg)
	one.produce(f.row(replication.OpInsert, num(1)), f.row(replication.OpInsert, num(2)), f.row(replication.OpInsert, num(3)))
	one.applied("cdc_"+cfg.Name, topic)

	two := newWorld(t)
	other := two.config(topic)
	other.Group = "cdc_" + cfg.Name
	err := two.run(other).failure(t)
	if !replication.IsRefusal(err) || !strings.Contains(err.Error(), "another database") {
		t.Errorf("got %v, want a refusal", err)
	}
	two.expect("SELECT count(*) FROM cdc_offsets", "(0)")
	one.produce(f.row(replication.OpInsert, num(4)), f.row(replication.OpInsert, num(5)))
	one.applied("cdc_"+cfg.Name, topic)
	if h := r.sink.Health(); h.Assigned != 2 {
		t.Errorf("the first sink has %d partitions", h.Assigned)
	}
}
