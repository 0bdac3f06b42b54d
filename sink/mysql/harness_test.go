package mysql

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"cdc/internal/services"
	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/secret"
	"cdc/sink"
)

// target is a fresh database, a Writer into it and a second connection, of
// another client library.
type target struct {
	testing.TB
	url     string
	version string
	db      *client.Conn
	w       *Writer
	next    int64 // the offset that the next batch comes from
	logs    *logs
}

// logs is what the Writer has logged so far.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await waits until something is logged.
func (l *logs) await(t testing.TB, text string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !strings.Contains(l.String(), text) {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%q is not in the log: %s", text, l)
		}
	}
}

// newest are the servers that every test of this package runs on.
var newest = []string{services.MySQL9, services.MariaDB118}

// each runs a test on servers of several versions.
func each(t *testing.T, versions []string, f func(t *testing.T, version string)) {
	for _, v := range versions {
		t.Run(v, func(t *testing.T) { f(t, v) })
	}
}

func newTarget(t testing.TB, version string, cfg Config) *target {
	t.Helper()
	tg := &target{TB: t, url: servicetest.MySQL(t, version), version: version, next: -1, logs: &logs{}}
	cfg.URL = secret.New(tg.url)
	cfg.Logger = slog.New(slog.NewTextHandler(tg.logs, nil))
	var err error
	tg.db, err = servicetest.MySQLConn(t.Context(), tg.url)
	tg.must(err)
	tg.exec("SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES'")
	tg.w, err = Open(t.Context(), cfg)
	tg.must(err)
	t.Cleanup(func() { tg.w.Close(context.Background()); tg.db.Close() })
	return tg
}

func (t *target) mariadb() bool { return strings.HasPrefix(t.version, "mariadb") }

func (t *target) must(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// exec runs statements, one after another.
func (t *target) exec(statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := t.db.Execute(sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// dump returns what a query says, a line a row, fields separated by |.
func (t *target) dump(sql string) string {
	t.Helper()
	res, err := t.db.Execute(sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var lines []string
	for i := range res.RowNumber() {
		var f []string
		for j := range res.ColumnNumber() {
			if null, _ := res.IsNull(i, j); null {
				f = append(f, "NULL")
				continue
			}
			s, err := res.GetString(i, j)
			t.must(err)
			f = append(f, s)
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
	return sink.Offset{Topic: "public.t", Partition: 0, From: t.next, Next: max(t.next, 0) + int64(n)}
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
