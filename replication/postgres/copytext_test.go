package postgres

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/replication/arena"
	"cdc/replication/pace"
)

var stringColumn = newColumnDecoder(replication.Column{Kind: replication.KindString})

// copyTexts parses a row of n text columns.
func copyTexts(row string, n int) ([]string, error) {
	decoders := make([]columnDecoder, n)
	for i := range decoders {
		decoders[i] = stringColumn
	}
	var a arena.Arena
	vals, _, err := copyRow([]byte(row), decoders, &a)
	texts := make([]string, len(vals))
	for i, v := range vals {
		texts[i] = v.String()
	}
	return texts, err
}

func TestCopyRow(t *testing.T) {
	for _, test := range []struct {
		row  string
		want []string
		err  error
	}{
		{row: "a\tb\n", want: []string{`"a"`, `"b"`}},
		{row: "\t\n", want: []string{`""`, `""`}},
		{row: "\\N\t\\\\N\n", want: []string{`null`, `"\\N"`}},
		{row: "\\b\\f\\n\\r\\t\\v\\\\\t\\\\\\\\\n", want: []string{`"\b\f\n\r\t\v\\"`, `"\\\\"`}},
		{row: "\\x\tä\\n€\n", want: []string{`"x"`, `"ä\n€"`}},
		{row: "\\NN\t\n", want: []string{`"NN"`, `""`}},
		{row: "a\tb", err: errCopyNoEnd},
		{row: "", err: errCopyNoEnd},
		{row: "a\n", err: errCopyColumns},
		{row: "a\tb\tc\n", err: errCopyColumns},
		{row: "a\tb\\\n", err: errCopyEscape},
	} {
		got, err := copyTexts(test.row, 2)
		if !errors.Is(err, test.err) {
			t.Errorf("%q: error %v, want %v", test.row, err, test.err)
		} else if err == nil {
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%q: %s", test.row, diff)
			}
		}
	}
	if vals, _, err := copyRow([]byte("\n"), nil, &arena.Arena{}); err != nil || len(vals) != 0 {
		t.Errorf("row without columns: %v, %v", vals, err)
	}
}

// TestCopyRowAgainstServer has the server write every byte that its encoding
// allows, alone and before others, and compares with the binary form.
func TestCopyRowAgainstServer(t *testing.T) {
	d := openTestDB(t, servicetest.Postgres(t))
	const query = `SELECT chr(c), 'x' || chr(c) || 'N' || chr(c), NULL::text, '\' || chr(c) FROM generate_series(1, 300) c`
	var got []string
	_, err := d.conn.PgConn().CopyTo(context.Background(), writerFunc(func(row []byte) (int, error) {
		texts, err := copyTexts(string(row), 4)
		got = append(got, strings.Join(texts, " "))
		return len(row), err
	}), "COPY ("+query+") TO STDOUT")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := d.conn.Query(context.Background(), query)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for rows.Next() {
		var a, b, c string
		var null *string
		if err := rows.Scan(&a, &b, &null, &c); err != nil {
			t.Fatal(err)
		}
		want = append(want, strings.Join([]string{
			replication.StringValue(replication.KindString, a).String(), replication.StringValue(replication.KindString, b).String(), "null",
			replication.StringValue(replication.KindString, c).String(),
		}, " "))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// FuzzCopyRow must not panic, must give all columns or an error, and must leave
// its input alone.
func FuzzCopyRow(f *testing.F) {
	decoders := []columnDecoder{
		stringColumn,
		newColumnDecoder(replication.Column{Kind: replication.KindInt, Bits: 64}),
		newColumnDecoder(replication.Column{Kind: replication.KindArray, Elem: replication.KindString}),
		newColumnDecoder(replication.Column{Kind: replication.KindBytes}),
		newColumnDecoder(replication.Column{Kind: replication.KindTimestampTZ}),
	}
	f.Add([]byte("a\\tb\t12\t{a,\"b\\\\\\\\\",NULL}\t\\\\x00ff\t2026-11-21 14:00:00.5+00\n"))
	f.Add([]byte("\\N\t\\N\t\\N\t\\N\t\\N\n"))
	f.Add([]byte("\\"))
	f.Fuzz(func(t *testing.T, row []byte) {
		before := bytes.Clone(row)
		var a arena.Arena
		vals, column, err := copyRow(row, decoders, &a)
		if !bytes.Equal(row, before) {
			t.Error("the input changed")
		}
		switch {
		case err == nil && len(vals) != len(decoders):
			t.Errorf("%d values without an error", len(vals))
		case err != nil && column >= len(decoders):
			t.Errorf("the error is of column %d", column)
		case err == nil:
			for i, v := range vals {
				if v.IsUnchanged() {
					t.Errorf("column %d is unchanged", i)
				}
				_ = v.String() // touches the bytes
			}
		}
	})
}

// benchRow is the row of bench/ and libs.md: 10 columns, 160 bytes.
var (
	benchRow     = []byte("123456\t42\tcustomer number 123456\tsome note that is a bit longer than the name\t12345.67\t2026-11-21 14:00:00.123456+00\tt\t3.25\t2026-11-21\t\\\\x000102030405060708090a0b0c0d0e0f\n")
	benchColumns = []replication.Column{
		{Kind: replication.KindInt, Bits: 64},
		{Kind: replication.KindInt, Bits: 32},
		{Kind: replication.KindString},
		{Kind: replication.KindString},
		{Kind: replication.KindDecimal, Precision: 12, Scale: 2},
		{Kind: replication.KindTimestampTZ},
		{Kind: replication.KindBool},
		{Kind: replication.KindFloat, Bits: 64},
		{Kind: replication.KindDate},
		{Kind: replication.KindBytes},
	}
)

func benchDecoders() []columnDecoder {
	decoders := make([]columnDecoder, len(benchColumns))
	for i, c := range benchColumns {
		decoders[i] = newColumnDecoder(c)
	}
	return decoders
}

// BenchmarkCopyRow parses rows into a batch as the snapshot does, without the
// connection.
func BenchmarkCopyRow(b *testing.B) {
	out := make(chan *batch)
	go func() {
		for b := range out {
			b.Release()
		}
	}()
	defer close(out)
	w := benchWriter(out)
	b.SetBytes(int64(len(benchRow)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Write(benchRow); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func benchWriter(out chan *batch) *copyWriter {
	w := &copyWriter{ctx: context.Background(), pool: newBatchPool(defaultBatchBytes, arena.MaxBatches), out: out, commit: "0/1", tally: pace.NewTally(nil, new(atomic.Int64))}
	w.begin(&snapshotTable{table: &replication.Table{Schema: "public", Name: "t", Columns: benchColumns}, decoders: benchDecoders()})
	return w
}

// TestCopyRowAllocations holds the snapshot to no allocation a row once the
// batches are warm.
func TestCopyRowAllocations(t *testing.T) {
	out := make(chan *batch)
	go func() {
		for b := range out {
			b.Release()
		}
	}()
	defer close(out)
	w := benchWriter(out)
	const rows = 10_000
	run := func() {
		for range rows {
			if _, err := w.Write(benchRow); err != nil {
				t.Fatal(err)
			}
		}
	}
	run()
	if n := testing.AllocsPerRun(5, run); n > rows/1000 {
		t.Errorf("%v allocations for %d rows", n, rows)
	}
}
