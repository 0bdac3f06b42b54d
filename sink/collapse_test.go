package sink

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"cdc/mapping/avro"
	"cdc/replication"
)

// version is one version of a table's schemas, with which records are written
// as the capture does.
type version struct {
	columns    []replication.Column
	key, value *avro.Encoder
}

// registry is a SchemaSource in memory.
type registry map[int]*avro.Schema

func (r registry) Schema(_ context.Context, id int) (*avro.Schema, error) {
	if s := r[id]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("schema id %d: %w", id, avro.ErrUnusableSchema)
}

// twoVersions are a table with columns a, b and then c too, under one key.
func twoVersions() ([]version, registry) {
	columns := []replication.Column{
		column("id", replication.KindInt, true), column("a", replication.KindString, false),
		column("b", replication.KindString, false), column("c", replication.KindString, false),
	}
	schemas := registry{}
	var versions []version
	for i, n := range []int{3, 4} {
		var specs []avro.FieldSpec
		for at, c := range columns[:n] {
			specs = append(specs, avro.FieldSpec{Name: c.Name, Column: c, Source: at})
		}
		v := version{columns: columns[:n]}
		v.key = schemas.encoder(1, specs[:1])
		v.value = schemas.encoder(2+i, specs)
		versions = append(versions, v)
	}
	return versions, schemas
}

// encoder registers a record's schema under an id.
func (r registry) encoder(id int, specs []avro.FieldSpec) *avro.Encoder {
	text, _, err := avro.RecordSchema("test", "t", "", specs)
	if err != nil {
		panic(err)
	}
	r[id] = must(avro.ParseSchema(text))
	return must(avro.NewEncoder(text, id, specs))
}

func column(name string, kind replication.Kind, notNull bool) replication.Column {
	c := replication.Column{Name: name, Kind: kind, NotNull: notNull}
	if kind == replication.KindInt {
		c.Bits = 64
	}
	return c
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// model is the naive meaning of records applied one by one to a table.
type model map[int64]map[string]string

func (m model) apply(key int64, del bool, cells map[string]string) {
	if del {
		delete(m, key)
		return
	}
	row := m[key]
	if row == nil {
		row = map[string]string{"a": "default", "b": "default", "c": "default"}
		m[key] = row
	}
	maps.Copy(row, cells)
}

func (m model) String() string {
	var s []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		s = append(s, fmt.Sprintf("%d:%v", k, m[k]))
	}
	return strings.Join(s, "\n")
}

// applyBatch does to the model what a Writer does with a batch, and checks the
// batch's own promises: one row a key, and New only for keys that are not there.
func (m model) applyBatch(t *rapid.T, b *Batch) {
	for _, rows := range b.Tables {
		seen := map[int64]bool{}
		for _, r := range rows.Rows {
			var key int64
			cells := map[string]string{}
			for i, f := range rows.Shape.Fields {
				switch v := r.Values[i]; {
				case f.Key:
					key = v.Int()
				case r.Delete || v.IsUnchanged():
				default:
					cells[f.Name] = v.String()
				}
			}
			if seen[key] {
				t.Fatalf("key %d stands twice in one Rows", key)
			}
			seen[key] = true
			if r.New && (r.Delete || r.Replace) {
				t.Fatalf("key %d is new and deleted", key)
			}
			if r.Replace {
				m.apply(key, true, nil)
			}
			m.apply(key, r.Delete, cells)
		}
	}
}

// TestCollapse draws records of two versions of a table and applies them one by
// one, and in batches cut anywhere: both must end the same.
func TestCollapse(t *testing.T) {
	versions, schemas := twoVersions()
	rapid.Check(t, func(t *rapid.T) {
		p := &partition{topic: newTopic(TableConfig{Topic: "t", Table: "t"}), applied: -1}
		want, got := model{}, model{}
		b := newBatch()
		b.serial = 1
		flush := func() {
			got.applyBatch(t, b.seal())
			serial := b.serial
			b.reset()
			b.serial = serial + 1
		}
		n := rapid.IntRange(1, 60).Draw(t, "records")
		for offset := range n {
			v := versions[rapid.IntRange(0, 1).Draw(t, "version")]
			key := int64(rapid.IntRange(0, 4).Draw(t, "key"))
			r := &kgo.Record{Topic: "t", Offset: int64(offset)}
			values := make([]replication.Value, len(v.columns))
			values[0] = replication.IntValue(key)
			op := rapid.SampledFrom([]string{"insert", "update", "update", "delete", "read"}).Draw(t, "op")
			cells := map[string]string{}
			var unchanged []string
			for i, c := range v.columns[1:] {
				values[i+1] = replication.StringValue(replication.KindString, fmt.Sprint(offset))
				switch {
				case op == "update" && rapid.Bool().Draw(t, "unchanged"):
					values[i+1] = replication.Unchanged
					unchanged = append(unchanged, c.Name)
				case rapid.IntRange(0, 5).Draw(t, "null") == 0:
					values[i+1] = replication.Null
					cells[c.Name] = "null"
				default:
					cells[c.Name] = values[i+1].String()
				}
			}
			r.Key = must(v.key.Append(nil, values))
			if op != "delete" {
				r.Value = must(v.value.Append(nil, values))
			}
			r.Headers = []kgo.RecordHeader{{Key: "cdc.op", Value: []byte(op)}}
			if unchanged != nil {
				r.Headers = append(r.Headers, kgo.RecordHeader{Key: "cdc.unchanged", Value: []byte(strings.Join(unchanged, ","))})
			}
			want.apply(key, op == "delete", cells)
			if err := b.add(context.Background(), schemas, p, r); err != nil {
				t.Fatal(err)
			}
			if len(b.faults) > 0 {
				t.Fatal(b.faults[0].err)
			}
			if rapid.IntRange(0, 9).Draw(t, "cut") == 0 {
				flush()
			}
		}
		flush()
		if got.String() != want.String() {
			t.Fatalf("batches:\n%s\none by one:\n%s", got, want)
		}
	})
}
