package mapping_test

import (
	"fmt"
	"testing"

	"cdc/mapping"
	"cdc/replication"
)

// wideBatch is rows of ten columns in transactions of a hundred, as the
// benchmarks of the whole program have them.
func wideBatch(rows int) *replication.Batch {
	t := &replication.Table{Schema: "public", Name: "r", Key: []int{0}, Columns: []replication.Column{
		{Name: "id", Kind: replication.KindInt, Bits: 64, NotNull: true, Identity: true, TypeName: "bigint"},
		{Name: "quantity", Kind: replication.KindInt, Bits: 32, TypeName: "integer"},
		{Name: "name", Kind: replication.KindString, TypeName: "text"},
		{Name: "city", Kind: replication.KindString, TypeName: "text"},
		{Name: "price", Kind: replication.KindDecimal, Precision: 12, Scale: 2, TypeName: "numeric(12,2)"},
		{Name: "at", Kind: replication.KindTimestampTZ, TypeName: "timestamp with time zone"},
		{Name: "active", Kind: replication.KindBool, TypeName: "boolean"},
		{Name: "weight", Kind: replication.KindFloat, Bits: 64, TypeName: "double precision"},
		{Name: "day", Kind: replication.KindDate, TypeName: "date"},
		{Name: "hash", Kind: replication.KindBytes, TypeName: "bytea"},
	}}
	b := &replication.Batch{Bytes: rows * 200}
	var tx *replication.Transaction
	for i := range rows {
		if i%100 == 0 {
			tx = &replication.Transaction{ID: fmt.Append(nil, 700+i), Commit: fmt.Appendf(nil, "16/%X", 0xB374D848+i), CommitTime: 1_700_000_000_000_000 + int64(i)}
		}
		b.Changes = append(b.Changes, replication.Change{Op: replication.OpInsert, Table: t, Tx: tx, Index: uint64(i % 100), After: []replication.Value{
			replication.IntValue(int64(i)), replication.IntValue(int64(i % 1000)),
			str(fmt.Sprintf("customer number %d", i)), str("Sankt Peter-Ording"),
			replication.StringValue(replication.KindDecimal, fmt.Sprintf("%d.%02d", i, i%100)),
			replication.NumValue(replication.KindTimestampTZ, 1_700_000_000_000_000+int64(i)),
			replication.BoolValue(i%2 == 0), replication.FloatValue(float64(i) / 7),
			replication.NumValue(replication.KindDate, int64(i%20000)),
			replication.StringValue(replication.KindBytes, "0123456789abcdef0123456789abcdef"),
		}})
	}
	return b
}

// BenchmarkMap maps rows that are decoded already.
func BenchmarkMap(b *testing.B) {
	for _, rows := range []int{1, 4000} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			m, batch := newMapper(b, mapping.Config{Registry: &registry{}}), wideBatch(rows)
			var out mapping.Records
			b.ReportAllocs()
			for b.Loop() {
				out.Reset()
				if err := m.Map(b.Context(), batch, &out); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(out.Bytes()))
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/row")
		})
	}
}

// TestMapDoesNotAllocate: neither inserts, nor deletes, nor updates with another
// key, once the plan is compiled and the memory has grown.
func TestMapDoesNotAllocate(t *testing.T) {
	m, batch := newMapper(t, mapping.Config{Registry: &registry{}}), wideBatch(300)
	for i := range batch.Changes {
		c := &batch.Changes[i]
		switch i % 3 {
		case 1:
			c.Op, c.Before, c.After = replication.OpDelete, c.After, nil
		case 2:
			c.Op, c.Before = replication.OpUpdate, append(row(num(-1)), c.After[1:]...)
			c.After[2], c.Refetched = replication.Unchanged, []int32{3}
		}
	}
	var out mapping.Records
	n := testing.AllocsPerRun(20, func() {
		out.Reset()
		if err := m.Map(t.Context(), batch, &out); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 || len(out.List) != 400 {
		t.Errorf("%v allocations for %d records, want none for 400", n, len(out.List))
	}
}
