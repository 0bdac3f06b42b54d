package route

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	twmb "github.com/twmb/avro"

	"cdc/mapping"
	"cdc/mapping/avro"
	"cdc/replication"
)

// fakeSchemas is a registry in memory: subject → schema; ids count up.
type fakeSchemas struct {
	latest map[string]string
	ids    map[string]int
	asked  int
	down   error
}

func (f *fakeSchemas) ID(_ context.Context, subject, schema string) (int, error) {
	f.asked++
	key := subject + "\x00" + schema
	if f.ids == nil {
		f.ids = map[string]int{}
	}
	if f.ids[key] == 0 {
		f.ids[key] = len(f.ids) + 1
	}
	return f.ids[key], f.down
}

func (f *fakeSchemas) Latest(ctx context.Context, subject string) (int, *avro.Schema, error) {
	text := f.latest[subject]
	if text == "" {
		f.asked++
		return 0, nil, fmt.Errorf("subject %s: %w", subject, avro.ErrUnusableSchema)
	}
	id, err := f.ID(ctx, subject, text)
	if err != nil {
		return 0, nil, err
	}
	s, err := avro.ParseSchema(text)
	return id, s, err
}

// plainMapper stands for the mapper of rows: one record a change.
type plainMapper struct{ fail string }

func (p plainMapper) Map(_ context.Context, b *replication.Batch, out *mapping.Records) error {
	for i, c := range b.Changes {
		v := c.After[0].Bytes()
		if string(v) == p.fail {
			return &mapping.RowError{Table: c.Table.String(), Index: i, Err: errors.New("cannot")}
		}
		out.List = append(out.List, mapping.Record{Topic: "rows", Value: append([]byte(nil), v...), Table: c.Table, Op: c.Op})
	}
	return nil
}

func str(s string) replication.Value { return replication.StringValue(replication.KindString, s) }
func raw(s string) replication.Value { return replication.StringValue(replication.KindBytes, s) }
func js(s string) replication.Value  { return replication.StringValue(replication.KindJSON, s) }

func table(name string, columns ...replication.Column) *replication.Table {
	return &replication.Table{Schema: "public", Name: name, Columns: columns, Key: []int{0}}
}

func column(name string, kind replication.Kind) replication.Column {
	return replication.Column{Name: name, Kind: kind, Bits: 64}
}

var tx = &replication.Transaction{ID: []byte("77"), Commit: []byte("0/AB"), CommitTime: 1769862600123456}

func insert(t *replication.Table, row ...replication.Value) replication.Change {
	return replication.Change{Op: replication.OpInsert, Table: t, After: row, Tx: tx}
}

// shown is a record as the tests write it.
func shown(r *mapping.Record) string {
	var b strings.Builder
	show := func(v []byte) string {
		if v == nil {
			return "<null>"
		}
		return string(v)
	}
	fmt.Fprintf(&b, "%s %s=%s", r.Topic, show(r.Key), show(r.Value))
	for _, h := range r.Headers {
		fmt.Fprintf(&b, " %s:%s", h.Key, show(h.Value))
	}
	if r.Routing != nil {
		if n, ok := r.Routing.Partition.Number(); ok {
			fmt.Fprintf(&b, " partition %d", n)
		}
		if h, ok := r.Routing.Partition.Hash(); ok {
			fmt.Fprintf(&b, " hash %08x", h)
		}
		if r.Time != tx.CommitTime {
			fmt.Fprintf(&b, " at %d", r.Time)
		}
	}
	return b.String()
}

func mapAll(t testing.TB, cfg Config, changes ...replication.Change) ([]string, error) {
	t.Helper()
	if cfg.Inner == nil {
		cfg.Inner = plainMapper{}
	}
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i := range changes {
		changes[i].Index = uint64(i)
	}
	var out mapping.Records
	err = m.Map(t.Context(), &replication.Batch{Changes: changes, Bytes: 1000}, &out)
	var list []string
	for i := range out.List {
		list = append(list, shown(&out.List[i]))
	}
	return list, err
}

var columnsTable = table("outbox", column("id", replication.KindInt), column("topic", replication.KindString), column("key", replication.KindString),
	column("payload", replication.KindJSON), column("headers", replication.KindJSON), column("partition", replication.KindInt),
	column("traceparent", replication.KindString), column("tracestate", replication.KindString), column("at", replication.KindTimestampTZ))

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestPresetColumns(t *testing.T) {
	row := func(id int64, topic, key, payload, headers, partition, trace, state, at replication.Value) replication.Change {
		return insert(columnsTable, replication.IntValue(id), topic, key, payload, headers, partition, trace, state, at)
	}
	null := replication.Null
	update := row(9, str("x"), null, null, null, null, null, null, null)
	update.Op = replication.OpUpdate
	remove := replication.Change{Op: replication.OpDelete, Table: columnsTable, Before: make([]replication.Value, 9), Tx: tx}
	got, err := mapAll(t, Config{Prefix: "p.", Outboxes: []Outbox{{Schema: "public", Table: "outbox", Columns: Columns{Timestamp: "at"}}}},
		row(1, str("orders"), str("k"), js(`{"a": 1}`), null, null, null, null, null),
		row(2, str("orders"), null, null, js(`{"h": "v", "n": 1, "o": {"x": []}, "z": null}`), replication.IntValue(3), null, null, null),
		update, remove, replication.Change{Op: replication.OpTruncate, Table: columnsTable, Tx: tx},
		row(3, str("orders"), str(""), js(`null`), null, null, str(parent), str("a=b"), replication.NumValue(replication.KindTimestampTZ, 5_000_000)),
		row(4, str("orders"), str("k"), js(`7`), js(`{"traceparent": "own"}`), null, str(parent), null, null),
	)
	want := []string{
		`p.orders k={"a": 1} id:1`,
		`p.orders <null>=<null> id:2 h:v n:1 o:{"x": []} z:<null> partition 3`,
		`p.orders =null id:3 traceparent:` + parent + ` tracestate:a=b at 5000000`,
		`p.orders k=7 id:4 traceparent:own`,
	}
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestPresetDeimos(t *testing.T) {
	km := table("kafka_messages", column("id", replication.KindInt), column("topic", replication.KindString), column("message", replication.KindBytes),
		column("key", replication.KindBytes), column("partition_key", replication.KindString), column("created_at", replication.KindTimestamp))
	at := replication.NumValue(replication.KindTimestamp, 0)
	got, err := mapAll(t, Config{Outboxes: []Outbox{{Schema: "public", Table: "kafka_messages", Preset: PresetDeimos}}},
		insert(km, replication.IntValue(1), str("t"), raw("\x00\x01"), raw("key"), str("pk"), at),
		insert(km, replication.IntValue(2), str("t"), replication.Null, raw("key"), replication.Null, at),
		insert(km, replication.IntValue(3), str("t"), raw(""), replication.Null, replication.Null, at))
	want := []string{
		fmt.Sprintf("t key=\x00\x01 hash %08x", crc32.ChecksumIEEE([]byte("pk"))),
		fmt.Sprintf("t key=<null> hash %08x", crc32.ChecksumIEEE([]byte("key"))),
		"t <null>=",
	}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

func TestPresetDebezium(t *testing.T) {
	ob := table("outboxevent", column("id", replication.KindUUID), column("aggregatetype", replication.KindString), column("aggregateid", replication.KindString),
		column("type", replication.KindString), column("payload", replication.KindJSON), column("made", replication.KindTimestamp), column("tracingspancontext", replication.KindString))
	id := raw("\x0d\x6e\x1c\x4a\x5a\x35\x4f\x4c\x9f\x6b\x2d\x9d\x5a\x3f\x1e\x77").Bytes()
	uuid := replication.BytesValue(replication.KindUUID, id)
	got, err := mapAll(t, Config{Outboxes: []Outbox{{Schema: "public", Table: "outboxevent", Preset: PresetDebezium, Headers: map[string]string{"eventType": "type", "made": "made"}, EmptyIsTombstone: true}}},
		insert(ob, uuid, str("order"), str("7"), str("OrderCreated"), js(`{"x": 1}`), replication.NumValue(replication.KindTimestamp, 1_000_001), str("#props\ntraceparent="+parent+"\ntracestate=k\\=v\n")),
		insert(ob, uuid, str("order"), str("7"), str("OrderGone"), js(" "), replication.Null, replication.Null))
	want := []string{
		`outbox.event.order 7={"x": 1} id:0d6e1c4a-5a35-4f4c-9f6b-2d9d5a3f1e77 eventType:OrderCreated made:1000001 traceparent:` + parent + ` tracestate:k=v`,
		`outbox.event.order 7=<null> id:0d6e1c4a-5a35-4f4c-9f6b-2d9d5a3f1e77 eventType:OrderGone made:<null>`,
	}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

func emit(prefix, content string) replication.Change {
	return replication.Change{Op: replication.OpMessage, Message: &replication.Message{Prefix: []byte(prefix), Content: []byte(content), Transactional: true}, Tx: tx}
}

func TestMessagesOfTheLog(t *testing.T) {
	got, err := mapAll(t, Config{Outboxes: []Outbox{{Prefix: "outbox"}, {Prefix: "raw.*", Topic: "log.{prefix}"}}},
		emit("outbox", `{"topic": "t\u0031", "key": "k", "payload": {"a": [1]}, "headers": {"h": "\u00e4"}, "partition": 4, "timestamp": "2026-01-31T12:30:00Z", "traceparent": "`+parent+`"}`),
		emit("outbox", `{"payload": "a text\n", "topic": "t", "id": 12, "timestamp": 1000}`),
		emit("outbox", `{"topic": "t", "key": 5, "payload": null}`),
		emit("raw.x", "any \x00 bytes"),
	)
	want := []string{
		`t1 k={"a": [1]} h:ä traceparent:` + parent + ` partition 4 at 1769862600000000`,
		"t <null>=a text\n id:12 at 1000000",
		"t 5=<null>",
		"log.raw.x <null>=any \x00 bytes",
	}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

// TestOrderIsKept: rows of other tables and messages leave in the order in which
// they were committed, and an inner row's error names its own place.
func TestOrderIsKept(t *testing.T) {
	other := table("other", column("v", replication.KindString))
	msg := func(id int64) replication.Change {
		return insert(columnsTable, replication.IntValue(id), str("o"), replication.Null, js("1"), replication.Null, replication.Null, replication.Null, replication.Null, replication.Null)
	}
	cfg := Config{Inner: plainMapper{fail: "bad"}, Outboxes: []Outbox{{Schema: "public", Table: "outbox"}, {Prefix: "p"}}}
	got, err := mapAll(t, cfg, insert(other, str("a")), insert(other, str("b")), msg(1), emit("p", `{"topic": "o", "payload": 2}`), insert(other, str("c")), msg(3))
	want := []string{"rows <null>=a", "rows <null>=b", "o <null>=1 id:1", "o <null>=2", "rows <null>=c", "o <null>=1 id:3"}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	got, err = mapAll(t, cfg, msg(1), insert(other, str("a")), insert(other, str("bad")), msg(2))
	row, ok := errors.AsType[*mapping.RowError](err)
	if !ok || row.Index != 2 || len(got) != 2 {
		t.Errorf("%v, %v", err, got)
	}
}

// TestPoison: a message that cannot be published is named by its id, leaves no
// trace in the records, and says what is to become of it.
func TestPoison(t *testing.T) {
	row := func(topic, payload, headers, partition, trace replication.Value) replication.Change {
		return insert(columnsTable, replication.IntValue(42), topic, str("k"), payload, headers, partition, trace, replication.Null, replication.Null)
	}
	null := replication.Null
	schemas := &fakeSchemas{latest: map[string]string{"known-value": `{"type":"record","name":"r","fields":[{"name":"n","type":"int"}]}`}}
	for _, tt := range []struct {
		payload string
		c       replication.Change
		want    string
	}{
		{PayloadBytes, row(null, js("1"), null, null, null), "the topic is empty"},
		{PayloadBytes, row(str("no topic"), js("1"), null, null, null), `Kafka allows no topic "no topic"`},
		{PayloadBytes, row(str(strings.Repeat("t", 250)), js("1"), null, null, null), "Kafka allows no topic"},
		{PayloadBytes, row(str("t"), js("1"), js(`[1]`), null, null), "headers: at byte 0: not a JSON object"},
		{PayloadBytes, row(str("t"), js("1"), null, replication.IntValue(-1), null), "partition: column partition: -1 is no partition's number"},
		{PayloadBytes, row(str("t"), js("1"), null, null, str("traceparent=1")), `trace context: "1" is no traceparent`},
		{PayloadJSON, row(str("t"), str("{"), null, null, null), "payload: at byte 1: not JSON"},
		{PayloadAvro, row(str("unknown"), js("{}"), null, null, null), "payload: subject unknown-value: no usable schema"},
		{PayloadAvro, row(str("known"), js(`{"n": "x"}`), null, null, null), "payload: field n: the text 'x' is no int"},
		{PayloadBytes, emit("p", `{"topic": "t", "topics": "u"}`), "is none of id, topic, key"},
		{PayloadBytes, emit("p", `topic`), "content: at byte 0: not a JSON object"},
	} {
		good := row(str("known"), js(`{"n": 1}`), null, null, null)
		got, err := mapAll(t, Config{Registry: schemas, Outboxes: []Outbox{
			{Schema: "public", Table: "outbox", Payload: tt.payload, OnError: mapping.OnErrorSkip}, {Prefix: "p", OnError: mapping.OnErrorSkip},
		}}, good, tt.c)
		e, ok := errors.AsType[*mapping.RowError](err)
		if !ok || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
			continue
		}
		if tt.c.Table != nil && e.Key != "id=42" || e.Index != 1 || e.OnError != mapping.OnErrorSkip || e.Tx != "77" || len(got) != 1 {
			t.Errorf("%s: %+v, %d records", tt.want, e, len(got))
		}
	}
	// The registry's absence is nobody's fault, and a wrong column everybody's.
	down := &fakeSchemas{latest: schemas.latest, down: errors.New("down")}
	_, err := mapAll(t, Config{Registry: down, Outboxes: []Outbox{{Schema: "public", Table: "outbox", Payload: PayloadAvro}}}, row(str("known"), js(`{"n": 1}`), null, null, null))
	if !errors.Is(err, down.down) {
		t.Errorf("registry down: %v", err)
	}
	_, err = mapAll(t, Config{Outboxes: []Outbox{{Schema: "public", Table: "outbox", Preset: PresetDeimos}}}, row(str("t"), null, null, null, null))
	if !replication.IsRefusal(err) || !strings.Contains(err.Error(), "has no column message; it has id, topic") {
		t.Errorf("wrong preset: %v", err)
	}
}

// TestAvro: the payload's schema is the topic's newest, or the file's; what the
// schema has and the payload lacks is filled in the same way each time.
func TestAvro(t *testing.T) {
	const schema = `{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"message_id","type":"string"},{"name":"timestamp","type":"string"}]}`
	other := strings.Replace(schema, "Order", "Other", 1)
	schemas := &fakeSchemas{latest: map[string]string{"p.orders-value": schema}}
	cfg := Config{
		Name: "shop", Prefix: "p.", Registry: schemas, Inner: plainMapper{},
		Outboxes: []Outbox{{Schema: "public", Table: "outbox", Payload: PayloadAvro, Schemas: map[string]string{"others": other}}},
	}
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	row := func(id int64, topic string) replication.Change {
		return insert(columnsTable, replication.IntValue(id), str(topic), str("k"), js(`{"id": "7"}`), replication.Null, replication.Null, replication.Null, replication.Null, replication.Null)
	}
	var out mapping.Records
	if err := m.Map(t.Context(), &replication.Batch{Changes: []replication.Change{row(1, "orders"), row(2, "others"), row(1, "orders"), row(3, "orders")}}, &out); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i, want := range []string{schema, other, schema, schema} {
		r := out.List[i]
		subject := r.Topic + "-value"
		if id := int(binary.BigEndian.Uint32(r.Value[1:])); r.Value[0] != 0 || id != schemas.ids[subject+"\x00"+want] {
			t.Errorf("record %d: schema id %d", i, id)
		}
		var v map[string]any
		if _, err := twmb.MustParse(want).Decode(r.Value[5:], &v); err != nil {
			t.Fatal(err)
		}
		if v["id"] != int64(7) || v["timestamp"] != "2026-01-31T12:30:00.123456Z" {
			t.Errorf("record %d: %v", i, v)
		}
		ids = append(ids, v["message_id"].(string))
	}
	if ids[0] != ids[2] || ids[0] == ids[3] || ids[0] == ids[1] || !avro.IsUUID([]byte(ids[0])) || ids[0][14] != '5' {
		t.Errorf("message ids %v", ids)
	}
	if schemas.asked != 2 {
		t.Errorf("the registry was asked %d times", schemas.asked)
	}
}

func TestCompact(t *testing.T) {
	row := func(id int64, topic, key string) replication.Change {
		k := replication.Null
		if key != "" {
			k = str(key)
		}
		return insert(columnsTable, replication.IntValue(id), str(topic), k, js("1"), replication.Null, replication.Null, replication.Null, replication.Null, replication.Null)
	}
	got, err := mapAll(t, Config{Outboxes: []Outbox{{Schema: "public", Table: "outbox", Compact: []string{"c"}}}},
		row(1, "c", "a"), row(2, "c", "b"), row(3, "d", "a"), row(4, "c", ""), row(5, "c", "a"), row(6, "d", "a"), row(7, "c", ""))
	want := []string{"c b=1 id:2", "d a=1 id:3", "c <null>=1 id:4", "c a=1 id:5", "d a=1 id:6", "c <null>=1 id:7"}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

// Messages of one key that go to several partitions are no versions of one.
func TestCompactOfPartitions(t *testing.T) {
	row := func(id int64, partition replication.Value) replication.Change {
		return insert(columnsTable, replication.IntValue(id), str("c"), str("a"), js("1"), replication.Null, partition, replication.Null, replication.Null, replication.Null)
	}
	got, err := mapAll(t, Config{Outboxes: []Outbox{{Schema: "public", Table: "outbox", Compact: []string{"*"}}}},
		row(1, replication.IntValue(0)), row(2, replication.IntValue(1)), row(3, replication.Null), row(4, replication.IntValue(0)))
	want := []string{"c a=1 id:2 partition 1", "c a=1 id:3", "c a=1 id:4 partition 0"}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		o    Outbox
		want string
	}{
		{Outbox{}, "either a table or a prefix"},
		{Outbox{Schema: "a", Table: "b", Preset: "x"}, "none of columns, deimos, debezium"},
		{Outbox{Schema: "a", Table: "b", Payload: "x"}, "none of bytes, json, avro"},
		{Outbox{Schema: "a", Table: "b", Payload: PayloadAvro}, "no schema registry"},
		{Outbox{Schema: "a", Table: "b", Topic: "x{"}, "a { without"},
		{Outbox{Prefix: "a", Topic: "{x}"}, "a message has no columns"},
		{Outbox{Schema: "a", Table: "b", OnError: "x"}, "none of stop"},
		{Outbox{Schema: "a", Table: "b", Partitioner: "x"}, "none of murmur2"},
	} {
		if _, err := New(Config{Inner: plainMapper{}, Outboxes: []Outbox{tt.o}}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.o, err, tt.want)
		}
	}
}

// benchBatch is a batch of a thousand messages of an outbox with an order each.
func benchBatch(t testing.TB, payload string) (*Mapper, *replication.Batch) {
	t.Helper()
	const schema = `{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"customer","type":"string"},{"name":"total","type":"double"},{"name":"note","type":["null","string"],"default":null},{"name":"message_id","type":"string"},{"name":"timestamp","type":"string"}]}`
	m, err := New(Config{Name: "b", Inner: plainMapper{}, Registry: &fakeSchemas{latest: map[string]string{"orders-value": schema}}, Outboxes: []Outbox{{Schema: "public", Table: "outbox", Payload: payload}}})
	if err != nil {
		t.Fatal(err)
	}
	b := &replication.Batch{Bytes: 200_000}
	for i := range 1000 {
		c := insert(columnsTable, replication.IntValue(int64(i)), str("orders"), str("key"), js(`{"id": "17", "note": "some note or other", "total": 12.75, "customer": "Ada Lovelace"}`),
			js(`{"source": "shop"}`), replication.Null, str(parent), replication.Null, replication.Null)
		c.Index = uint64(i)
		b.Changes = append(b.Changes, c)
	}
	return m, b
}

func TestMapAllocates(t *testing.T) {
	for _, payload := range []string{PayloadBytes, PayloadJSON, PayloadAvro} {
		m, b := benchBatch(t, payload)
		var out mapping.Records
		n := testing.AllocsPerRun(20, func() {
			out.Reset()
			if err := m.Map(t.Context(), b, &out); err != nil {
				t.Fatal(err)
			}
		})
		if n > 5 { // of a thousand messages
			t.Errorf("%s: %v allocations a batch", payload, n)
		}
	}
}

func BenchmarkMap(b *testing.B) {
	for _, payload := range []string{PayloadBytes, PayloadAvro} {
		b.Run(payload, func(b *testing.B) {
			m, batch := benchBatch(b, payload)
			var out mapping.Records
			b.ReportAllocs()
			for b.Loop() {
				out.Reset()
				if err := m.Map(b.Context(), batch, &out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/message")
		})
	}
}

// What Java 21's Double.toString gave.
func TestJavaDouble(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0.0", 7: "7.0", -0.1: "-0.1", 0.001: "0.001", 0.0001: "1.0E-4", 9999999: "9999999.0", 1e7: "1.0E7", 1.25e10: "1.25E10",
		-1e300: "-1.0E300", 1.5e-9: "1.5E-9", math.Inf(-1): "-Infinity",
	} {
		if got := string(appendJavaDouble(nil, f)); got != want {
			t.Errorf("%g: %s, want %s", f, got, want)
		}
	}
}
