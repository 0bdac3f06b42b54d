package sink_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/replication"
	"cdc/sink/postgres"
)

// wide is a table of ten columns, about 110 bytes of Avro a row.
func wide() []replication.Column {
	return []replication.Column{
		intCol("id"),
		{Name: "quantity", Kind: replication.KindInt, Bits: 32, TypeName: "integer"},
		textCol("name"), textCol("email"),
		{Name: "price", Kind: replication.KindDecimal, Precision: 12, Scale: 2, TypeName: "numeric(12,2)"},
		{Name: "created", Kind: replication.KindTimestampTZ, TypeName: "timestamp with time zone"},
		{Name: "active", Kind: replication.KindBool, TypeName: "boolean"},
		{Name: "score", Kind: replication.KindFloat, Bits: 64, TypeName: "double precision"},
		{Name: "day", Kind: replication.KindDate, TypeName: "date"},
		{Name: "hash", Kind: replication.KindBytes, TypeName: "bytea"},
	}
}

func wideRow(i int) []replication.Value {
	return []replication.Value{
		num(int64(i)), num(int64(i % 1000)), text(fmt.Sprintf("customer number %d", i)), text(fmt.Sprintf("c%d@example.com", i)),
		replication.StringValue(replication.KindDecimal, fmt.Sprintf("%d.%02d", i%100000, i%100)),
		replication.NumValue(replication.KindTimestampTZ, 1_700_000_000_000_000+int64(i)*1_000_003),
		replication.BoolValue(i%2 == 0), replication.FloatValue(float64(i) / 7),
		replication.NumValue(replication.KindDate, int64(i%20000)),
		replication.BytesValue(replication.KindBytes, []byte("0123456789abcdef0123456789abcdef")),
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSink drains a topic of b.N rows into an empty table, and then again
// under another group, when every key is there already.
func BenchmarkSink(b *testing.B) {
	const rows = 300_000
	w := newWorld(b)
	topic := w.topic("wide", 1)
	f := w.feed(topic, wide(), "id")
	for i := range rows {
		r := f.row(replication.OpInsert, wideRow(i)...)
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "cdc.position", Value: []byte("16/B374D848:3")},
			kgo.RecordHeader{Key: "cdc.tx", Value: []byte("123456")}, kgo.RecordHeader{Key: "cdc.commit_time", Value: []byte("1700000000000000")})
		w.cl.Produce(b.Context(), r, nil)
	}
	must(b, w.cl.Flush(b.Context()))
	cfg := w.config(topic)
	cfg.Logger = nil
	cfg.Writer = w.writer(postgres.Config{CreateTables: true})
	db, err := pgx.Connect(b.Context(), w.url)
	must(b, err)
	defer db.Close(b.Context())
	for _, kind := range []string{"empty", "upsert"} {
		b.Run(kind, func(b *testing.B) {
			for b.Loop() {
				cfg.Group = fmt.Sprintf("%s_%s_%d", w.prefix, kind, time.Now().UnixNano())
				if kind == "empty" {
					_, err := db.Exec(b.Context(), "DROP TABLE IF EXISTS "+table(topic))
					must(b, err)
				}
				r := w.run(cfg)
				for r.sink.Health().Assigned == 0 {
					time.Sleep(time.Millisecond) //nolint:forbidigo // it polls
				}
				start, used := time.Now(), cpu()
				w.applied(cfg.Group, topic)
				b.ReportMetric(rows/time.Since(start).Seconds(), "rows/s")
				b.ReportMetric((cpu()-used).Seconds()*1e6/rows, "cpu-s/M")
				must(b, r.end())
			}
		})
	}
}
