package sink_test

import (
	"context"
	"fmt"
	"log/slog"
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

// told is a log that passes one message on.
type told struct {
	message string
	seen    chan struct{} // has room for one
}

func (l told) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (l told) Handle(_ context.Context, r slog.Record) error {
	if r.Message == l.message {
		select {
		case l.seen <- struct{}{}:
		default:
		}
	}
	return nil
}

func (l told) WithAttrs([]slog.Attr) slog.Handler { return l }

func (l told) WithGroup(string) slog.Handler { return l }

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
	assigned := told{message: "partition assigned", seen: make(chan struct{}, 1)}
	cfg.Logger = slog.New(assigned)
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
				<-assigned.seen
				start, used := time.Now(), cpu()
				w.applied(cfg.Group, topic)
				b.ReportMetric(rows/time.Since(start).Seconds(), "rows/s")
				b.ReportMetric((cpu()-used).Seconds()*1e6/rows, "cpu-s/M")
				must(b, r.end())
			}
		})
	}
}
