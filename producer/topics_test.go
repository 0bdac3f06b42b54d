package producer

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/internal/servicetest"
	"cdc/kafka"
	"cdc/mapping"
	"cdc/replication"
)

func TestEnsureCreates(t *testing.T) {
	p := open(t, func(c *Config) {
		c.MaxRecordBytes = 50_000
		c.Topics = TopicConfig{Create: true, Partitions: 3, Compact: true, Extra: map[string]string{"retention.ms": "1234567"}}
	})
	keyed, plain := servicetest.Name(t, "keyed"), servicetest.Name(t, "plain")
	dropTopics(t, p, keyed, plain)
	topics := []Topic{{Name: keyed, Keyed: true}, {Name: plain}}
	if err := p.Ensure(t.Context(), topics); err != nil {
		t.Fatal(err)
	}
	for name, policy := range map[string]string{keyed: "compact", plain: "delete"} {
		s, err := p.settings(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		got := []string{s[cleanupPolicy], s["retention.ms"], s[maxMessageBytes]}
		if diff := cmp.Diff([]string{policy, "1234567", "50000"}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	d, err := p.admin.ListTopics(t.Context(), keyed)
	if err != nil || len(d[keyed].Partitions) != 3 {
		t.Errorf("%d partitions, %v", len(d[keyed].Partitions), err)
	}
	// Another run finds them.
	if err := open(t, nil).Ensure(t.Context(), topics); err != nil {
		t.Error(err)
	}
}

func TestMissingTopicIsRefused(t *testing.T) {
	p := open(t, func(c *Config) { c.Topics = TopicConfig{Compact: true, Replication: 3, Partitions: 2} })
	name := servicetest.Name(t, "missing")
	want := fmt.Sprintf("topic %s does not exist and kafka.topics.create is false\n  to mend it: kafka-topics.sh --create --topic %s --partitions 2 --replication-factor 3 --config cleanup.policy=compact", name, name)
	err := p.Ensure(t.Context(), []Topic{{Name: name, Keyed: true}})
	if !replication.IsRefusal(err) || err.Error() != want {
		t.Errorf("ensure: %v\nwant %s", err, want)
	}
	if err := produce(t, p, record(name, "1", "x")); !replication.IsRefusal(err) {
		t.Errorf("produce: %v", err)
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	p := open(t, func(c *Config) { c.Topics.Extra = map[string]string{"retention.ms": "abc"} })
	err := p.Ensure(t.Context(), []Topic{{Name: servicetest.Name(t, "bad")}})
	if !replication.IsRefusal(err) || !strings.Contains(err.Error(), "retention.ms") {
		t.Errorf("got %v", err)
	}
	p = open(t, nil)
	if err := p.Ensure(t.Context(), []Topic{{Name: "no spaces"}}); !replication.IsRefusal(err) || !strings.Contains(err.Error(), "topic template") {
		t.Errorf("got %v", err)
	}
}

func TestTruncateGoesEverywhere(t *testing.T) {
	p := open(t, func(c *Config) { c.Topics.Partitions = 4 })
	topic := servicetest.Name(t, "everywhere")
	dropTopics(t, p, topic)
	truncate := record(topic, "0", "")
	truncate.AllPartitions = true
	// The records around it may be of a topic with another number of partitions.
	narrow := servicetest.Name(t, "narrow")
	dropTopics(t, p, narrow)
	if _, err := p.admin.CreateTopic(t.Context(), 1, 1, nil, narrow); err != nil {
		t.Fatal(err)
	}
	if err := produce(t, p, record(topic, "1", "before"), truncate, record(topic, "1", "after"), record(narrow, "1", "else")); err != nil {
		t.Fatal(err)
	}
	seen := map[int32]int{}
	var order []string
	for _, r := range read(t, p.conf.Kafka.Brokers, topic, 6) {
		if string(r.Key) == "0" {
			seen[r.Partition]++
			if r.Value != nil || len(r.Headers) != 3 {
				t.Errorf("truncate %+v", r)
			}
		}
		if r.Partition == int32(mapping.Murmur2([]byte("1"))&0x7fffffff)%4 {
			order = append(order, string(r.Value))
		}
	}
	if diff := cmp.Diff(map[int32]int{0: 1, 1: 1, 2: 1, 3: 1}, seen); diff != "" {
		t.Errorf("truncates by partition (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"before", "", "after"}, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

// fitting returns a record that fills a topic's limit to the byte.
func fitting(topic string, limit int) mapping.Record {
	r := record(topic, "7", "")
	size := func() int {
		return recordBatchSize(&kgo.Record{Key: r.Key, Value: r.Value, Headers: headers(r.Headers)})
	}
	// Not compressible, so that the broker sees what we count.
	r.Value = noise(limit)
	for size() > limit {
		r.Value = r.Value[:len(r.Value)-1]
	}
	return r
}

// loosen sets what we believe a topic to take.
func (p *Producer) loosen(name string, limit int) {
	state, _ := p.topics.Load(name)
	state.(*topic).limit = limit
}

// noise returns n bytes that do not compress.
func noise(n int) []byte {
	b, x := make([]byte, n), uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

func TestTooLarge(t *testing.T) {
	const limit = 5000
	with := func(c *Config) { c.Topics.Extra = map[string]string{maxMessageBytes: fmt.Sprint(limit)} }
	topic := servicetest.Name(t, "large")
	p := open(t, with)
	dropTopics(t, p, topic)
	fits := fitting(topic, limit)
	if err := produce(t, p, fits); err != nil {
		t.Fatalf("a record of exactly the limit: %v", err)
	}
	over := fits
	over.Value = append(over.Value, 'z')
	err := produce(t, p, record(topic, "1", "before"), over, record(topic, "1", "after"))
	row, ok := errors.AsType[*mapping.RowError](err)
	want := fmt.Sprintf("record of 5001 bytes is larger than topic %s takes (5000)\n  to mend it: kafka-configs.sh --alter --entity-type topics --entity-name %s --add-config max.message.bytes=6251, and raise kafka.max_record if it is set; or exclude the large column; or set on_error: dead-letter", topic, topic)
	if !ok || row.Table != "public.orders" || row.Key != "id=7" || row.Tx != "742" || row.Commit != "0/16B3748" || row.Err.Error() != want {
		t.Fatalf("got %v\nwant %s", err, want)
	}
	// Everything before it went, nothing after it.
	got := read(t, p.conf.Kafka.Brokers, topic, 2)
	if len(got) != 2 || string(got[1].Value) != "before" {
		t.Fatalf("%d records", len(got))
	}
	ends, err := p.admin.ListEndOffsets(t.Context(), topic)
	if end, _ := ends.Lookup(topic, 0); err != nil || end.Offset != 2 {
		t.Fatalf("end %d, %v", end.Offset, err)
	}
}

// The broker must agree with our count of a record: one byte more is refused.
func TestBrokerCountsAlike(t *testing.T) {
	const limit = 5000
	topic := servicetest.Name(t, "count")
	p := open(t, func(c *Config) { c.Topics.Extra = map[string]string{maxMessageBytes: fmt.Sprint(limit)} })
	dropTopics(t, p, topic)
	if err := p.Ensure(t.Context(), []Topic{{Name: topic}}); err != nil {
		t.Fatal(err)
	}
	p.loosen(topic, limit+1) // now our own check lets it through
	over := fitting(topic, limit+1)
	err := produce(t, p, over)
	if _, ok := errors.AsType[*mapping.RowError](err); !ok || !strings.Contains(err.Error(), "MESSAGE_TOO_LARGE") {
		t.Fatalf("got %v", err)
	}
}

func TestTooLargeGoesToDeadLetters(t *testing.T) {
	topic, dead := servicetest.Name(t, "large"), servicetest.Name(t, "dead")
	p := open(t, func(c *Config) {
		c.MaxRecordBytes, c.OnError, c.DeadLetterTopic = 2000, OnErrorDeadLetter, dead
	})
	dropTopics(t, p, topic, dead)
	over := record(topic, "7", strings.Repeat("x", 3_000_000))
	if err := produce(t, p, record(topic, "1", "before"), over, record(topic, "1", "after")); err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, r := range read(t, p.conf.Kafka.Brokers, topic, 2) {
		values = append(values, string(r.Value))
	}
	if diff := cmp.Diff([]string{"before", "after"}, values); diff != "" {
		t.Errorf("topic (-want +got):\n%s", diff)
	}
	letter := read(t, p.conf.Kafka.Brokers, dead, 1)[0]
	if string(letter.Key) != "7" || string(letter.Value) != string(over.Value) {
		t.Errorf("letter of key %s with %d bytes", letter.Key, len(letter.Value))
	}
	h := map[string]string{}
	for _, x := range letter.Headers {
		h[x.Key] = string(x.Value)
	}
	if !strings.Contains(h[HeaderError], "larger than topic") {
		t.Errorf("error header: %q", h[HeaderError])
	}
	delete(h, HeaderError)
	want := map[string]string{HeaderTable: "public.orders", HeaderKey: "id=7", HeaderTopic: topic, mapping.HeaderOp: "insert", mapping.HeaderTx: "742", mapping.HeaderPosition: "0/16B3748:0"}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

// TestPartitionThatIsNot chooses, as a message of an outbox may, a partition that
// its topic does not have: the message is named, or goes where the outbox says.
func TestPartitionThatIsNot(t *testing.T) {
	for _, test := range []struct{ onError, put string }{{OnErrorStop, ""}, {OnErrorDeadLetter, "dead"}, {mapping.OnErrorSkip, ""}} {
		topic, dead := servicetest.Name(t, "parts"), servicetest.Name(t, "dead")
		unfit := 0
		p := open(t, func(c *Config) {
			c.Topics.Partitions, c.DeadLetterTopic = 2, dead
			c.Unfit = func(*mapping.Record) { unfit++ }
		})
		dropTopics(t, p, topic, dead)
		to := func(value string, partition int32) mapping.Record {
			r := record(topic, "1", value)
			r.Routing = &mapping.Routing{ID: []byte("m-" + value), Partition: mapping.PartitionNumber(partition), OnError: test.onError}
			return r
		}
		err := produce(t, p, to("there", 1), to("beyond", 2))
		row, isRow := errors.AsType[*mapping.RowError](err)
		switch {
		case test.onError != OnErrorStop && err != nil:
			t.Errorf("%s: %v", test.onError, err)
		case test.onError == OnErrorStop && (!isRow || row.Key != "id=m-beyond" || row.Err.Error() != "partition 2 is chosen, and topic "+topic+" has 2 (0 to 1)"):
			t.Errorf("stop: %v", err)
		}
		if got := read(t, p.conf.Kafka.Brokers, topic, 1); string(got[0].Value) != "there" || got[0].Partition != 1 {
			t.Errorf("%s: %s in partition %d", test.onError, got[0].Value, got[0].Partition)
		}
		if test.put != "" {
			if got := read(t, p.conf.Kafka.Brokers, dead, 1)[0]; string(got.Value) != "beyond" {
				t.Errorf("the letter is %s", got.Value)
			}
		}
		if unfit != 1 {
			t.Errorf("%s: Unfit was told of %d messages", test.onError, unfit)
		}
	}
}

func TestDeadLetterOfAChange(t *testing.T) {
	dead := servicetest.Name(t, "dead")
	p := open(t, func(c *Config) { c.OnError, c.DeadLetterTopic = OnErrorDeadLetter, dead })
	dropTopics(t, p, dead)
	table := &replication.Table{Schema: "public", Name: "t", Key: []int{0}}
	for _, name := range []string{"id", "ok", "price", "name", "raw", "at", "day", "tod", "until", "u", "tags", "doc", "bad", "matrix"} {
		table.Columns = append(table.Columns, replication.Column{Name: name})
	}
	text := replication.StringValue
	c := &replication.Change{
		Op: replication.OpUpdate, Table: table, Index: 3, Refetched: []int32{3},
		Tx: &replication.Transaction{ID: []byte("742"), Commit: []byte("0/16B3748"), CommitTime: 1_700_000_000_000_001},
		After: []replication.Value{
			replication.IntValue(-9_223_372_036_854_775_808), replication.BoolValue(true), text(replication.KindDecimal, "12.50"), text(replication.KindString, "é"),
			replication.BytesValue(replication.KindBytes, []byte{0, 255}), replication.NumValue(replication.KindTimestampTZ, 1_700_000_000_000_001),
			replication.NumValue(replication.KindDate, -1), replication.NumValue(replication.KindTime, 86_400_000_000), replication.NumValue(replication.KindTimestamp, replication.Infinity),
			replication.BytesValue(replication.KindUUID, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}),
			replication.ArrayValue([]replication.Value{replication.IntValue(1), replication.Null}), replication.Unchanged, text(replication.KindString, "\xff"),
			replication.InvalidValue([]byte("{{1,2},{3,4}}"), replication.ReasonDimensions),
		},
	}
	if err := p.DeadLetters().Put(t.Context(), c, errors.New("column bad: invalid UTF-8")); err != nil {
		t.Fatal(err)
	}
	r := read(t, p.conf.Kafka.Brokers, dead, 1)[0]
	var got map[string]any
	if err := json.Unmarshal(r.Value, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"table": "public.t", "op": "update", "tx": "742", "position": "0/16B3748:3", "commit_time": "2023-11-14T22:13:20.000001Z",
		"error": "column bad: invalid UTF-8", "key": map[string]any{"id": "-9223372036854775808"},
		"unchanged": []any{"doc"}, "refetched": []any{"name"},
		"after": map[string]any{
			"id": "-9223372036854775808", "ok": true, "price": "12.50", "name": "é", "raw": map[string]any{"bytes": "AP8="},
			"at": "2023-11-14T22:13:20.000001Z", "day": "1969-12-31", "tod": "24:00:00.000000", "until": "infinity",
			"u": "00010203-0405-0607-0809-0a0b0c0d0e0f", "tags": []any{"1", nil}, "bad": map[string]any{"bytes": "/w=="},
			"matrix": "{{1,2},{3,4}}",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if string(r.Key) != `{"id":"-9223372036854775808"}` {
		t.Errorf("key %s", r.Key)
	}
}

func TestNoKeyIntoCompactedTopic(t *testing.T) {
	p := open(t, func(c *Config) { c.Topics.Compact = true })
	topic := servicetest.Name(t, "compacted")
	dropTopics(t, p, topic)
	if err := p.Ensure(t.Context(), []Topic{{Name: topic, Keyed: true}}); err != nil {
		t.Fatal(err)
	}
	if err := produce(t, p, record(topic, "", "x")); !replication.IsRefusal(err) || !strings.Contains(err.Error(), "choose a key for the table") {
		t.Errorf("got %v", err)
	}
	if found := Check(t.Context(), p.conf, []Topic{{Name: topic}}); !finds(found, replication.LevelError, "kafka: topic "+topic, "no keys") {
		t.Errorf("%+v", found)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	p := open(t, func(c *Config) { c.Registerer = reg })
	topic := servicetest.Name(t, "metrics")
	dropTopics(t, p, topic)
	if err := produce(t, p, record(topic, "1", "abc"), record(topic, "22", "")); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	want := map[string]float64{
		"cdc_producer_records_total topic=" + topic: 2, "cdc_producer_bytes_total topic=" + topic: 6, "cdc_producer_errors_total topic=" + topic: 0,
		"cdc_producer_dead_letters_total": 0, "cdc_producer_skipped_total": 0, "cdc_producer_buffered_bytes": 0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := New(t.Context(), p.conf); err == nil {
		t.Error("two producers share a registry")
	}
}

func TestCheck(t *testing.T) {
	p := open(t, nil)
	keyed, fresh, saved := servicetest.Name(t, "keyed"), servicetest.Name(t, "fresh"), servicetest.Name(t, "saved")
	dropTopics(t, p, keyed, saved)
	for _, name := range []string{keyed, saved} {
		if err := p.Ensure(t.Context(), []Topic{{Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	conf := p.conf
	conf.Topics.Compact, conf.CheckpointTopic, conf.Topics.Replication = true, saved, 9
	found := Check(t.Context(), conf, []Topic{{Name: keyed, Keyed: true}, {Name: fresh}})
	for _, want := range []struct {
		level            replication.Level
		subject, problem string
	}{
		{replication.LevelOK, "kafka: brokers", "1 brokers"},
		{replication.LevelError, "kafka: replication", "9 replicas and the cluster has 1"},
		{replication.LevelWarning, "kafka: topic " + keyed, "cleanup.policy=delete"},
		{replication.LevelOK, "kafka: topic " + fresh, "will be created"},
		{replication.LevelError, "kafka: checkpoint topic " + saved, "would vanish"},
	} {
		if !finds(found, want.level, want.subject, want.problem) {
			t.Errorf("no %s, %s: %s", want.level, want.subject, want.problem)
		}
	}
	conf.Topics.Create = false
	if found := Check(t.Context(), conf, []Topic{{Name: fresh}}); !finds(found, replication.LevelError, "kafka: topic "+fresh, "does not exist") {
		t.Errorf("%+v", found)
	}
	conf.Kafka = kafka.Config{Brokers: []string{"127.0.0.1:1"}}
	if found := Check(t.Context(), conf, nil); len(found) != 1 || !finds(found, replication.LevelError, "kafka: brokers", "127.0.0.1:1") {
		t.Errorf("%+v", found)
	}
}
