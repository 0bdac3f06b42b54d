package sink_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cdc/internal/servicetest"
	"cdc/kafka"
	"cdc/mapping/avro"
	"cdc/replication"
	"cdc/secret"
	"cdc/sink"
	"cdc/sink/postgres"
)

// world is a fresh database, a fresh topic prefix and the real services.
type world struct {
	t        testing.TB
	url      string
	db       *pgx.Conn
	cl       *kgo.Client // produces as the capture does
	manual   *kgo.Client // produces to the partition that a record names
	registry *avro.Registry
	prefix   string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, url: servicetest.Postgres(t), prefix: servicetest.Name(t, "sink")}
	db, err := pgx.Connect(t.Context(), w.url)
	must(t, err)
	t.Cleanup(func() { db.Close(context.Background()) })
	w.db = db
	w.cl, err = kgo.NewClient(kgo.SeedBrokers(servicetest.Kafka(t)...), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), kgo.UnknownTopicRetries(-1))
	must(t, err)
	t.Cleanup(w.cl.Close)
	w.manual, err = kgo.NewClient(kgo.SeedBrokers(servicetest.Kafka(t)...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(-1))
	must(t, err)
	t.Cleanup(w.manual.Close)
	w.registry, err = avro.NewRegistry(avro.RegistryConfig{URL: servicetest.Registry(t), Mode: avro.Register})
	must(t, err)
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// topic makes a topic public.<prefix>_<name> and returns its name; the table
// is its last part.
func (w *world) topic(name string, partitions int32) string {
	w.t.Helper()
	topic := "public." + w.prefix + "_" + name
	w.makeTopic(topic, partitions, nil)
	return topic
}

// makeTopic makes a topic that is deleted when the test ends.
func (w *world) makeTopic(topic string, partitions int32, settings map[string]*string) {
	w.t.Helper()
	servicetest.MakeTopic(w.t, w.admin(), partitions, settings, topic)
	w.t.Cleanup(func() { w.admin().DeleteTopic(context.Background(), topic) })
}

func table(topic string) string { return topic[strings.LastIndexByte(topic, '.')+1:] }

// feed writes records of one version of a table as the capture does.
type feed struct {
	w          *world
	topic      string
	key, value *avro.Encoder
	keyCols    []int
	cols       []replication.Column
	names      []string // of the value's fields
}

// feed registers the schemas of a table with those columns.
func (w *world) feed(topic string, cols []replication.Column, key ...string) *feed {
	w.t.Helper()
	f := &feed{w: w, topic: topic, cols: cols}
	var specs, keySpecs []avro.FieldSpec
	for i, c := range cols {
		specs = append(specs, avro.FieldSpec{Name: c.Name, Column: c, Source: i})
	}
	for _, name := range key {
		i := slices.IndexFunc(cols, func(c replication.Column) bool { return c.Name == name })
		keySpecs = append(keySpecs, specs[i])
		f.keyCols = append(f.keyCols, i)
	}
	schema, names, err := avro.RecordSchema("cdc.test", topic, "", specs)
	must(w.t, err)
	f.names = names
	id, err := w.registry.ID(w.t.Context(), topic+"-value", schema)
	must(w.t, err)
	f.value, err = avro.NewEncoder(schema, id, specs)
	must(w.t, err)
	if len(key) > 0 {
		schema, _, err := avro.KeySchema("cdc.test", topic, "", keySpecs)
		must(w.t, err)
		id, err := w.registry.ID(w.t.Context(), topic+"-key", schema)
		must(w.t, err)
		f.key, err = avro.NewEncoder(schema, id, keySpecs)
		must(w.t, err)
	}
	return f
}

// row is a record of op; delete makes a tombstone.
func (f *feed) row(op replication.Op, values ...replication.Value) *kgo.Record {
	f.w.t.Helper()
	r := &kgo.Record{Topic: f.topic, Headers: []kgo.RecordHeader{{Key: "cdc.op", Value: []byte(op.String())}}}
	var err error
	if f.key != nil {
		r.Key, err = f.key.Append(nil, values)
		must(f.w.t, err)
	}
	if op == replication.OpDelete || op == replication.OpTruncate {
		return r
	}
	var unchanged []string
	for i, v := range values {
		if v.IsUnchanged() {
			unchanged = append(unchanged, f.names[i])
		}
	}
	if unchanged != nil {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "cdc.unchanged", Value: []byte(strings.Join(unchanged, ","))})
	}
	r.Value, err = f.value.Append(nil, values)
	must(f.w.t, err)
	return r
}

func (w *world) produce(records ...*kgo.Record) {
	w.t.Helper()
	must(w.t, w.cl.ProduceSync(w.t.Context(), records...).FirstErr())
}

// config is a sink into the world's database.
func (w *world) config(topics ...string) sink.Config {
	return sink.Config{
		Name: w.prefix, Kafka: kafka.Config{Brokers: servicetest.Kafka(w.t)}, Topics: topics, Registry: w.registry,
		Writer: w.writer(postgres.Config{CreateTables: true, AddColumns: true}), DrainTimeout: 10 * time.Second,
		Logger: logger(w.t),
	}
}

func (w *world) writer(cfg postgres.Config) func(context.Context) (sink.Writer, error) {
	cfg.URL = secret.New(w.url)
	cfg.Logger = logger(w.t)
	return func(ctx context.Context) (sink.Writer, error) { return postgres.Open(ctx, cfg) }
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func logger(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(testLog{t}, nil)) }

// running is a sink at work.
type running struct {
	sink *sink.Sink
	stop context.CancelFunc
	done chan struct{}
	err  error
}

func (w *world) run(cfg sink.Config) *running {
	w.t.Helper()
	s, err := sink.New(cfg)
	must(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{sink: s, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = s.Run(ctx)
	}()
	w.t.Cleanup(func() { cancel(); <-r.done })
	return r
}

// end stops the sink and returns Run's error.
func (r *running) end() error {
	r.stop()
	<-r.done
	return r.err
}

// failure waits for the sink to end by itself.
func (r *running) failure(t testing.TB) error {
	t.Helper()
	select {
	case <-r.done:
		return r.err
	case <-time.After(patience):
		t.Fatal("the sink goes on where it should stop")
		return nil
	}
}

// patience is how long anything may take on a machine that is busy.
const patience = 3 * time.Minute

// eventually polls until check returns nil.
func eventually(t testing.TB, check func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	var err error
	for {
		if err = check(); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain: %v", err)
		}
	}
}

// applied waits until the offsets table has everything that is in the topic.
func (w *world) applied(group string, topics ...string) {
	w.t.Helper()
	ends, err := kadm.NewClient(w.cl).ListEndOffsets(w.t.Context(), topics...)
	must(w.t, errors.Join(err, ends.Error()))
	eventually(w.t, func() error {
		var err error
		ends.Each(func(e kadm.ListedOffset) {
			var next int64
			qerr := w.db.QueryRow(w.t.Context(), `SELECT next_offset FROM cdc_offsets WHERE group_name = $1 AND topic = $2 AND partition = $3`,
				group, e.Topic, e.Partition).Scan(&next)
			if e.Offset > 0 && (qerr != nil || next < e.Offset) {
				err = errors.Join(err, fmt.Errorf("%s[%d] is at %d of %d: %v", e.Topic, e.Partition, next, e.Offset, qerr))
			}
		})
		return err
	})
}

// dump returns the table's rows as text, ordered.
func (w *world) dump(query string) string {
	w.t.Helper()
	rows, err := w.db.Query(w.t.Context(), "SELECT q::text FROM ("+query+") q ORDER BY 1")
	must(w.t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(w.t, err)
	return strings.Join(lines, "\n")
}

func (w *world) exec(sql string) {
	w.t.Helper()
	_, err := w.db.Exec(context.Background(), sql)
	must(w.t, err)
}

func (w *world) admin() *kadm.Client { return kadm.NewClient(w.cl) }

func tableConfig(topic, schema, table string, key ...string) sink.TableConfig {
	return sink.TableConfig{Topic: topic, Schema: schema, Table: table, Key: key}
}

// kick removes a member from its group.
func (w *world) kick(group, member string) {
	w.t.Helper()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = group
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID = member
	req.Members = append(req.Members, m)
	_, err := req.RequestWith(w.t.Context(), w.cl)
	must(w.t, err)
}

// deleteRecords moves the start of a topic's only partition.
func (w *world) deleteRecords(topic string, to int64) {
	w.t.Helper()
	var o kadm.Offsets
	o.AddOffset(topic, 0, to, -1)
	_, err := w.admin().DeleteRecords(w.t.Context(), o)
	must(w.t, err)
}
