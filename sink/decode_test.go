package sink

import (
	"context"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/mapping/avro"
	"cdc/replication"
)

// sample returns n records of ten columns with distinct keys, and what reads
// them.
func sample(n int) ([]*kgo.Record, *partition, registry) {
	schemas := registry{}
	cols := []replication.Column{
		column("id", replication.KindInt, true),
		{Name: "quantity", Kind: replication.KindInt, Bits: 32},
		column("name", replication.KindString, false), column("email", replication.KindString, false),
		{Name: "price", Kind: replication.KindDecimal, Precision: 12, Scale: 2},
		column("created", replication.KindTimestampTZ, false),
		column("active", replication.KindBool, false),
		{Name: "score", Kind: replication.KindFloat, Bits: 64},
		column("day", replication.KindDate, false), column("hash", replication.KindBytes, false),
	}
	var specs []avro.FieldSpec
	for i, c := range cols {
		specs = append(specs, avro.FieldSpec{Name: c.Name, Column: c, Source: i})
	}
	key, value := schemas.encoder(1, specs[:1]), schemas.encoder(2, specs)
	var records []*kgo.Record
	for i := range n {
		row := []replication.Value{
			replication.IntValue(int64(i)), replication.IntValue(7), replication.StringValue(replication.KindString, fmt.Sprintf("customer number %d", i)),
			replication.StringValue(replication.KindString, "c@example.com"), replication.StringValue(replication.KindDecimal, fmt.Sprintf("%d.50", i)),
			replication.NumValue(replication.KindTimestampTZ, 1_700_000_000_000_000), replication.BoolValue(true), replication.FloatValue(1.5),
			replication.NumValue(replication.KindDate, 12345), replication.StringValue(replication.KindBytes, "0123456789abcdef0123456789abcdef"),
		}
		records = append(records, &kgo.Record{
			Topic: "t", Offset: int64(i), Key: must(key.Append(nil, row)), Value: must(value.Append(nil, row)),
			Headers: []kgo.RecordHeader{
				{Key: "cdc.op", Value: []byte("insert")},
				{Key: "cdc.position", Value: []byte("16/B374D848:3")},
				{Key: "cdc.tx", Value: []byte("123456")},
				{Key: "cdc.commit_time", Value: []byte("1700000000000000")},
			},
		})
	}
	return records, &partition{topic: newTopic(TableConfig{Topic: "t", Table: "t"}), applied: -1}, schemas
}

// BenchmarkBuild is decode and collapse; one operation is one record.
func BenchmarkBuild(b *testing.B) {
	const n = 20_000
	records, p, schemas := sample(n)
	batch := newBatch()
	batch.serial = 1
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if i == n {
			batch.seal()
			batch.reset()
			batch.serial++
			i = 0
		}
		if err := batch.add(context.Background(), schemas, p, records[i]); err != nil {
			b.Fatal(err)
		}
		i++
	}
	if len(batch.faults) > 0 {
		b.Fatal(batch.faults[0].err)
	}
}

func TestBuildDoesNotAllocateARow(t *testing.T) {
	const n = 5000
	records, p, schemas := sample(n)
	batch := newBatch()
	fill := func() {
		batch.serial++
		for _, r := range records {
			if err := batch.add(context.Background(), schemas, p, r); err != nil {
				t.Fatal(err)
			}
		}
		if rows := batch.seal().Tables[0].Rows; len(rows) != n || !rows[0].New {
			t.Fatalf("%d rows", len(rows))
		}
		batch.reset()
	}
	fill()
	if perRow := testing.AllocsPerRun(5, fill) / n; perRow > 0.01 {
		t.Errorf("%v allocations a row in steady state", perRow)
	}
}

// FuzzRecord feeds foreign keys, values and headers through decode and
// collapse. Whatever they hold, there is a row or a fault, and a second decode
// of the batch agrees with the first.
func FuzzRecord(f *testing.F) {
	versions, schemas := twoVersions()
	row := []replication.Value{replication.IntValue(7), replication.StringValue(replication.KindString, "a"), replication.Null}
	f.Add(must(versions[0].key.Append(nil, row)), must(versions[0].value.Append(nil, row)), []byte("insert"), []byte("b"), true)
	f.Add(must(versions[0].key.Append(nil, row)), []byte(nil), []byte("delete"), []byte(nil), false)
	f.Add([]byte("plain"), []byte{0, 0, 0, 0, 2}, []byte("truncate"), []byte(",,a,id"), true)
	f.Add([]byte{}, []byte{0, 0, 0, 0, 9, 1}, []byte{}, []byte(nil), true)
	f.Fuzz(func(t *testing.T, key, value, op, unchanged []byte, hasValue bool) {
		if !hasValue {
			value = nil
		}
		for _, cfg := range []TableConfig{{Topic: "t", Table: "t"}, {Topic: "t", Table: "t", Key: []string{"a"}}} {
			p := &partition{topic: newTopic(cfg), applied: -1}
			b := newBatch()
			b.serial = 1
			for _, k := range [][]byte{key, nil, must(versions[0].key.Append(nil, row)), key} {
				r := &kgo.Record{Topic: "t", Key: k, Value: value, Headers: []kgo.RecordHeader{{Key: "cdc.op", Value: op}}}
				if unchanged != nil {
					r.Headers = append(r.Headers, kgo.RecordHeader{Key: "cdc.unchanged", Value: unchanged})
				}
				if err := b.add(t.Context(), schemas, p, r); err != nil {
					t.Fatal(err)
				}
			}
			first := fmt.Sprint(b.seal().Tables)
			raw := len(b.raw)
			if err := b.without(nil); err != nil {
				t.Fatal(err)
			}
			if again := fmt.Sprint(b.seal().Tables); len(b.raw) != raw || len(again) != len(first) {
				t.Fatalf("decoded again:\n%s\nfirst:\n%s", again, first)
			}
		}
	})
}
