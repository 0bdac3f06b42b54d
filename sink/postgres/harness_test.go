package postgres

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/secret"
	"cdc/sink"
)

// target is a fresh database, a Writer into it and a second connection.
type target struct {
	testing.TB
	url  string
	db   *pgx.Conn
	w    *Writer
	next int64 // the offset that the next batch comes from
	logs *strings.Builder
}

func newTarget(t testing.TB, cfg Config) *target {
	t.Helper()
	tg := &target{TB: t, url: servicetest.Postgres(t), next: -1, logs: &strings.Builder{}}
	cfg.URL = secret.New(tg.url)
	cfg.Logger = slog.New(slog.NewTextHandler(tg.logs, nil))
	var err error
	tg.db, err = pgx.Connect(t.Context(), tg.url)
	tg.must(err)
	tg.w, err = Open(t.Context(), cfg)
	tg.must(err)
	t.Cleanup(func() { tg.w.Close(context.Background()); tg.db.Close(context.Background()) })
	return tg
}

func (t *target) must(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (t *target) exec(sql string, args ...any) {
	t.Helper()
	_, err := t.db.Exec(context.Background(), sql, args...)
	t.must(err)
}

// dump returns what a query says, a line a row, fields separated by |.
func (t *target) dump(sql string) string {
	t.Helper()
	res, err := t.db.PgConn().Exec(t.Context(), sql).ReadAll()
	t.must(err)
	var lines []string
	for _, row := range res[len(res)-1].Rows {
		var f []string
		for _, c := range row {
			if c == nil {
				f = append(f, "NULL")
			} else {
				f = append(f, string(c))
			}
		}
		lines = append(lines, strings.Join(f, "|"))
	}
	return strings.Join(lines, "\n")
}

// batch wraps rows of one shape with the next offset.
func (t *target) batch(s *sink.Shape, rows ...sink.Row) *sink.Batch {
	return &sink.Batch{Tables: []sink.Rows{{Shape: s, Rows: rows}}, Offsets: []sink.Offset{t.offset(len(rows))}}
}

func (t *target) offset(n int) sink.Offset {
	o := sink.Offset{Topic: "public.t", Partition: 0, From: t.next, Next: max(t.next, 0) + int64(n)}
	return o
}

func (t *target) apply(s *sink.Shape, rows ...sink.Row) {
	t.Helper()
	b := t.batch(s, rows...)
	t.must(t.w.Apply(t.Context(), "g", b))
	t.next = b.Offsets[0].Next
}

func shape(fields ...sink.Field) *sink.Shape {
	return &sink.Shape{Topic: "public.t", Table: "t", Fields: fields}
}

func field(name string, k replication.Kind, bits uint8, typ string) sink.Field {
	return sink.Field{Column: replication.Column{Name: name, Kind: k, Bits: bits, TypeName: typ}}
}

func keyed(f sink.Field) sink.Field {
	f.Key = true
	return f
}

func row(values ...replication.Value) sink.Row { return sink.Row{Values: values} }

func num(n int64) replication.Value { return replication.IntValue(n) }

func str(s string) replication.Value {
	return replication.StringValue(replication.KindString, s)
}

// id is the key of most tables here.
func id() sink.Field { return keyed(field("id", replication.KindInt, 64, "bigint")) }

func note() sink.Field { return field("note", replication.KindString, 0, "text") }
