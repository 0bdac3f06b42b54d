package mysql

import (
	"fmt"
	"testing"

	"cdc/internal/services"
	"cdc/replication"
	"cdc/sink"
)

func wideShape() *sink.Shape {
	dec := field("price", kDec, 0, "numeric(12,2)")
	dec.Precision, dec.Scale = 12, 2
	return shape(id(), field("quantity", kInt, 32, "integer"), field("name", kStr, 0, "text"), field("email", kStr, 0, "text"), dec,
		field("created", kStampTZ, 0, "timestamp with time zone"), field("active", kBool, 0, "boolean"),
		field("score", kFloat, 64, "double precision"), field("day", kDate, 0, "date"), field("hash", kBytes, 0, "bytea"))
}

func wideRow(i int) sink.Row {
	return row(num(int64(i)), num(int64(i%1000)), str(fmt.Sprintf("customer number %d", i)), str(fmt.Sprintf("c%d@example.com", i)),
		bytesOf(kDec, fmt.Sprintf("%d.%02d", i%100000, i%100)), micros(kStampTZ, 1_700_000_000_000_000+int64(i)*1_000_003), replication.BoolValue(i%2 == 0),
		replication.FloatValue(float64(i)/7), micros(kDate, int64(i%20000)), bytesOf(kBytes, "0123456789abcdef0123456789abcdef"))
}

// BenchmarkStatementSize applies batches of 20,000 rows, half of which are
// there already (or none), in statements of several sizes.
func BenchmarkStatementSize(b *testing.B) {
	for _, version := range newest {
		for _, size := range []int{16, 64, 240, 1000, 4000} {
			for _, half := range []bool{true, false} {
				b.Run(fmt.Sprintf("%s/%dKiB/half=%v", version, size, half), func(b *testing.B) {
					defer func(old int) { statementBytes = old }(statementBytes)
					statementBytes = size << 10
					tg := newTarget(b, version, Config{CreateTables: true})
					s := wideShape()
					const n = 20_000
					rows := make([]sink.Row, n)
					at := 0
					for b.Loop() {
						b.StopTimer()
						for i := range rows {
							rows[i] = wideRow(at + i)
						}
						at += n
						if half {
							at -= n / 2
						}
						b.StartTimer()
						tg.Apply(s, rows...)
					}
					b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
				})
			}
		}
	}
}

func wideColumns(s *sink.Shape) []column {
	types := []string{"bigint", "int", "longtext", "longtext", "decimal", "datetime", "tinyint", "double", "date", "longblob"}
	var cols []column
	for i := range s.Fields {
		d := described{name: s.Fields[i].Name, dataType: types[i], typ: types[i], nullable: true, length: 1 << 32, precision: 12, scale: 2, fsp: 6, collation: "utf8mb4_0900_bin"}
		cols = append(cols, newColumn(i, &s.Fields[i], &d))
	}
	return cols
}

func BenchmarkLiterals(b *testing.B) {
	s := wideShape()
	r := sink.Rows{Shape: s, Rows: []sink.Row{wideRow(12345)}}
	l := loader{rows: &r}
	cols := wideColumns(s)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = l.appendRow(buf[:0], cols, 0)
	}
	b.SetBytes(int64(len(buf)))
}

func TestLiteralsDoNotAllocate(t *testing.T) {
	s := wideShape()
	r := sink.Rows{Shape: s, Rows: []sink.Row{wideRow(12345)}}
	l := loader{rows: &r}
	cols := wideColumns(s)
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		var err error
		if buf, err = l.appendRow(buf[:0], cols, 0); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a row", n)
	}
}

// TestApplyHardlyAllocates: what a batch costs does not grow with its rows.
func TestApplyHardlyAllocates(t *testing.T) {
	tg := newTarget(t, services.MySQL9, Config{CreateTables: true})
	s := wideShape()
	rows := make([]sink.Row, 5000)
	for i := range rows {
		rows[i] = wideRow(i)
	}
	b := tg.Batch(s, rows...)
	n := testing.AllocsPerRun(3, func() {
		tg.Must(tg.w.Apply(t.Context(), "g", b))
		b.Offsets[0].From, b.Offsets[0].Next = b.Offsets[0].Next, b.Offsets[0].Next+1
	})
	if n > float64(len(rows))/20 {
		t.Errorf("%v allocations for %d rows", n, len(rows))
	}
}
