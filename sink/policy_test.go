package sink_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/sink"
)

// faults are records that cannot be applied, each with a piece of the reason.
func (w *world) faults(f *feed) map[string]*kgo.Record {
	good := func() *kgo.Record { return f.row(replication.OpInsert, num(100), text("fine")) }
	with := func(change func(*kgo.Record)) *kgo.Record {
		r := good()
		change(r)
		return r
	}
	return map[string]*kgo.Record{
		"value is not Avro": with(func(r *kgo.Record) { r.Value = []byte(`{"id":1}`) }),
		"key is not Avro":   with(func(r *kgo.Record) { r.Key = []byte("plain") }),
		"3 bytes":           with(func(r *kgo.Record) { r.Value = []byte{0, 0, 0} }),
		"no usable schema":  with(func(r *kgo.Record) { r.Value = append(binary.BigEndian.AppendUint32([]byte{0}, 2_000_000_000), 1, 2) }),
		"decode field":      with(func(r *kgo.Record) { r.Value = r.Value[:len(r.Value)-2] }),
		"which is no field": with(func(r *kgo.Record) {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: "cdc.unchanged", Value: []byte("nope")})
		}),
		"key: decode":    with(func(r *kgo.Record) { r.Key = r.Key[:5] }),
		"a delete":       {Topic: f.topic},
		"value too long": with(func(r *kgo.Record) { r.Value = f.row(replication.OpInsert, num(100), text("longer than ten")).Value }),
		"invalid byte":   with(func(r *kgo.Record) { r.Value = f.row(replication.OpInsert, num(100), text("nul\x00")).Value }),
	}
}

func (w *world) faultyTopic(name string) (string, *feed) {
	topic := w.topic(name, 1)
	w.exec("CREATE TABLE " + table(topic) + " (id bigint PRIMARY KEY, note varchar(10))")
	return topic, w.feed(topic, []replication.Column{intCol("id"), textCol("note")}, "id")
}

func TestStopNamesTheRecord(t *testing.T) {
	w := newWorld(t)
	n := 0
	for reason := range w.faults(w.feedOf("unused")) {
		n++
		topic, f := w.faultyTopic(fmt.Sprintf("stop%d", n))
		bad := w.faults(f)[reason]
		w.produce(f.row(replication.OpInsert, num(1), text("a")), bad, f.row(replication.OpInsert, num(2), text("b")))
		err := w.run(w.config(topic)).failure(t)
		e, ok := errors.AsType[*sink.RecordError](err)
		if !ok || e.Topic != topic || e.Partition != 0 || e.Offset != 1 || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: got %v, want an error about %s[0]@1", reason, err, topic)
		}
		if strings.Contains(reason, "too long") && !strings.Contains(err.Error(), "id=100") {
			t.Errorf("the key is not in %v", err)
		}
		w.expect("SELECT count(*) FROM "+table(topic), "(0)")
	}
}

// feedOf is a feed of the tests' usual table.
func (w *world) feedOf(topic string) *feed {
	return w.feed(w.prefix+"."+topic, []replication.Column{intCol("id"), textCol("note")}, "id")
}

func TestSkipCountsAndGoesOn(t *testing.T) {
	w := newWorld(t)
	topic, f := w.faultyTopic("skip")
	bad := w.faults(f)
	w.produce(f.row(replication.OpInsert, num(1), text("a")))
	for _, r := range bad {
		w.produce(r)
	}
	w.produce(f.row(replication.OpInsert, num(2), text("b")))
	cfg := w.config(topic)
	cfg.OnError = sink.OnErrorSkip
	reg := prometheus.NewRegistry()
	cfg.Registerer = reg
	w.run(cfg)
	w.applied("cdc_"+cfg.Name, topic)
	w.expect("SELECT * FROM "+table(topic), "(1,a)\n(2,b)")
	if got := counter(t, reg, "cdc_sink_errors_total"); got != float64(len(bad)) {
		t.Errorf("cdc_sink_errors_total is %v, want %d", got, len(bad))
	}
}

// TestRefusedRowGivesWayToTheOneBefore: the last state of a key is refused; then
// the one before it, which the batch had collapsed, is the row's state.
func TestRefusedRowGivesWayToTheOneBefore(t *testing.T) {
	w := newWorld(t)
	topic, f := w.faultyTopic("before")
	w.produce(
		f.row(replication.OpInsert, num(1), text("first")),
		f.row(replication.OpUpdate, num(1), text("second")),
		f.row(replication.OpUpdate, num(1), text("much too long")),
		f.row(replication.OpInsert, num(2), text("also much too long")),
		f.row(replication.OpInsert, num(3), text("three")),
		f.row(replication.OpUpdate, num(3), text("too long for it")),
		f.row(replication.OpDelete, num(3)),
	)
	cfg := w.config(topic)
	cfg.OnError = sink.OnErrorSkip
	w.run(cfg)
	w.applied("cdc_"+cfg.Name, topic)
	w.expect("SELECT * FROM "+table(topic), "(1,second)")
}

func TestDeadLetters(t *testing.T) {
	w := newWorld(t)
	topic, f := w.faultyTopic("dead")
	bad := w.faults(f)
	w.produce(f.row(replication.OpInsert, num(1), text("a")))
	reasons := map[int64]string{}
	offset := int64(0)
	sent := map[int64]*kgo.Record{}
	for reason, r := range bad {
		w.produce(r)
		offset++
		reasons[offset], sent[offset] = reason, r
	}
	cfg := w.config(topic)
	cfg.OnError, cfg.DeadLetterTopic = sink.OnErrorDeadLetter, w.prefix+"_dead_letters" // made by the sink
	r := w.run(cfg)
	w.applied("cdc_"+cfg.Name, topic)
	must(t, r.end())
	t.Cleanup(func() { w.admin().DeleteTopic(t.Context(), cfg.DeadLetterTopic) })
	w.expect("SELECT * FROM "+table(topic), "(1,a)")

	reader, err := kgo.NewClient(kgo.SeedBrokers(servicetest.Kafka(t)...), kgo.ConsumeTopics(cfg.DeadLetterTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	must(t, err)
	defer reader.Close()
	for len(sent) > 0 {
		fetches := reader.PollFetches(t.Context())
		must(t, fetches.Err())
		fetches.EachRecord(func(got *kgo.Record) {
			h := map[string]string{}
			for _, x := range got.Headers {
				h[x.Key] = string(x.Value)
			}
			var at int64
			fmt.Sscan(h[sink.HeaderErrorOffset], &at)
			want := sent[at]
			if want == nil {
				t.Fatalf("a dead letter with headers %v", h)
			}
			delete(sent, at)
			if string(got.Key) != string(want.Key) || (got.Key == nil) != (want.Key == nil) || string(got.Value) != string(want.Value) || (got.Value == nil) != (want.Value == nil) {
				t.Errorf("%s: key and value are not the original's", reasons[at])
			}
			if h[sink.HeaderErrorTopic] != topic || h[sink.HeaderErrorPartition] != "0" || !strings.Contains(h[sink.HeaderErrorReason], reasons[at]) {
				t.Errorf("%s: headers %v", reasons[at], h)
			}
			if want.Headers != nil && h["cdc.op"] != "insert" {
				t.Errorf("%s: the original's headers are gone: %v", reasons[at], h)
			}
		})
	}
}

func TestRecordsGoneFromTheTopicAreRefused(t *testing.T) {
	w := newWorld(t)
	topic := w.topic("gone", 1)
	f := w.feed(topic, []replication.Column{intCol("id")}, "id")
	cfg := w.config(topic)
	w.produce(f.row(replication.OpInsert, num(1)))
	r := w.run(cfg)
	w.applied("cdc_"+cfg.Name, topic)
	must(t, r.end())
	w.produce(f.row(replication.OpInsert, num(2)), f.row(replication.OpInsert, num(3)))
	w.deleteRecords(topic, 2) // retention took the second
	err := w.run(cfg).failure(t)
	if !replication.IsRefusal(err) || !strings.Contains(err.Error(), topic) || !strings.Contains(err.Error(), "DELETE FROM") {
		t.Errorf("got %v, want a refusal", err)
	}
	w.expect("SELECT * FROM "+table(topic), "(1)")
}

// TestTopicMadeAnewIsRefused deletes a topic under a running sink and makes
// another one of that name.
func TestTopicMadeAnewIsRefused(t *testing.T) {
	w := newWorld(t)
	topic := w.topic("anew", 1)
	f := w.feed(topic, []replication.Column{intCol("id")}, "id")
	w.produce(f.row(replication.OpInsert, num(1)), f.row(replication.OpInsert, num(2)))
	cfg := w.config(topic)
	r := w.run(cfg)
	w.applied("cdc_"+cfg.Name, topic)
	w.remake(topic)
	w.produce(f.row(replication.OpInsert, num(3)))
	if err := r.failure(t); !replication.IsRefusal(err) || !strings.Contains(err.Error(), "made anew") {
		t.Errorf("got %v, want a refusal", err)
	}
}
