package postgres

import (
	"fmt"
	"testing"

	"cdc/replication"
	"cdc/sink"
)

func wideShape() *sink.Shape {
	return shape(id(), field("quantity", replication.KindInt, 32, "integer"), field("name", replication.KindString, 0, "text"),
		field("email", replication.KindString, 0, "text"), field("price", replication.KindDecimal, 0, "numeric(12,2)"),
		field("created", replication.KindTimestampTZ, 0, "timestamp with time zone"), field("active", replication.KindBool, 0, "boolean"),
		field("score", replication.KindFloat, 64, "double precision"), field("day", replication.KindDate, 0, "date"), field("hash", replication.KindBytes, 0, "bytea"))
}

func wideRow(i int) sink.Row {
	return row(num(int64(i)), num(int64(i%1000)), str(fmt.Sprintf("customer number %d", i)), str(fmt.Sprintf("c%d@example.com", i)),
		replication.StringValue(replication.KindDecimal, fmt.Sprintf("%d.%02d", i%100000, i%100)),
		replication.NumValue(replication.KindTimestampTZ, 1_700_000_000_000_000+int64(i)*1_000_003), replication.BoolValue(i%2 == 0),
		replication.FloatValue(float64(i)/7), replication.NumValue(replication.KindDate, int64(i%20000)),
		replication.StringValue(replication.KindBytes, "0123456789abcdef0123456789abcdef"))
}

// BenchmarkPaths applies batches by each of the ways in, half of the keys being
// there already (none for copy): copyThreshold is where stage beats unnest.
func BenchmarkPaths(b *testing.B) {
	for _, n := range []int{1, 100, 1000, 2000, 4000, 20000} {
		for _, way := range []string{"unnest", "stage", "copy"} {
			if way != "unnest" && n < minCopyNew {
				continue
			}
			b.Run(fmt.Sprintf("%s/%d", way, n), func(b *testing.B) {
				tg := newTarget(b, Config{CreateTables: true})
				s := wideShape()
				tg.Apply(s, wideRow(0))
				defer func(old int) { copyThreshold = old }(copyThreshold)
				copyThreshold = map[string]int{"unnest": 1 << 30, "stage": 1, "copy": 1}[way]
				at := 1
				rows := make([]sink.Row, n)
				for b.Loop() {
					b.StopTimer()
					for i := range rows {
						rows[i] = wideRow(at + i)
						rows[i].New = way == "copy"
					}
					at += (n + 1) / 2
					if way == "copy" {
						at += n / 2
					}
					b.StartTimer()
					tg.Apply(s, rows...)
				}
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}

func BenchmarkCopyText(b *testing.B) {
	s := wideShape()
	var cols []column
	for i, f := range s.Fields {
		cols = append(cols, column{field: i, bits: f.Bits})
	}
	r := wideRow(12345)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = appendRow(buf[:0], cols, &r)
	}
	b.SetBytes(int64(len(buf)))
}

func TestCopyTextDoesNotAllocate(t *testing.T) {
	s := wideShape()
	s.Fields = append(s.Fields, field("list", replication.KindArray, 0, "text[]"))
	var cols []column
	for i, f := range s.Fields {
		cols = append(cols, column{field: i, bits: f.Bits})
	}
	r := wideRow(12345)
	r.Values = append(r.Values, list(str("a\\b"), replication.Null))
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf = appendRow(buf[:0], cols, &r) }); n != 0 {
		t.Errorf("%v allocations a row", n)
	}
}
