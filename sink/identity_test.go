package sink

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/mapping/avro"
	"cdc/replication"
)

// TestConfiguredKeyTellsRowsApart has topics whose record keys are not the rows'
// keys (a customer's orders under the customer's key): the rows of one record key
// all reach the target, and a delete comes after what it deletes.
func TestConfiguredKeyTellsRowsApart(t *testing.T) {
	versions, schemas := twoVersions()
	row := func(id int64, a string) []replication.Value {
		return []replication.Value{replication.IntValue(id), replication.StringValue(replication.KindString, a), replication.Null}
	}
	value := func(id int64, a string) []byte { return must(versions[0].value.Append(nil, row(id, a))) }
	byA := schemas.encoder(9, []avro.FieldSpec{{Name: "a", Column: column("a", replication.KindString, false), Source: 1}})
	avroKey := func(a string) []byte { return must(byA.Append(nil, row(0, a))) }
	record := func(key, value []byte) *kgo.Record { return &kgo.Record{Topic: "t", Key: key, Value: value} }
	for _, test := range []struct {
		name    string
		records []*kgo.Record
		want    string // each table's rows in order
	}{
		{"Avro key of another column", []*kgo.Record{record(avroKey("c"), value(1, "c")), record(avroKey("c"), value(2, "c")), record(avroKey("c"), value(1, "c"))}, "+2 +1"},
		{"plain key of another column", []*kgo.Record{record([]byte("c"), value(1, "c")), record([]byte("c"), value(2, "c"))}, "+1 +2"},
		{"plain key", []*kgo.Record{record([]byte("1"), value(1, "c")), record([]byte("1"), value(1, "d")), record([]byte("1"), nil), record([]byte("2"), value(2, "c"))}, `-"1" +2`},
		{"plain key of another form", []*kgo.Record{record([]byte("01"), value(1, "c")), record([]byte("01"), nil), record([]byte("02"), value(2, "c"))}, `+1 / -"01" +2`},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBatch()
			b.serial = 1
			p := &partition{topic: newTopic(TableConfig{Topic: "t", Table: "t", Key: []string{"id"}}), applied: -1}
			for i, r := range test.records {
				r.Offset = int64(i)
				if err := b.add(t.Context(), schemas, p, r); err != nil {
					t.Fatal(err)
				}
			}
			for _, f := range b.faults {
				t.Error(f.err)
			}
			var tables []string
			for _, rows := range b.seal().Tables {
				var list []string
				for _, r := range rows.Rows {
					list = append(list, fmt.Sprintf("%s%s", map[bool]string{false: "+", true: "-"}[r.Delete], r.Values[0]))
				}
				tables = append(tables, strings.Join(list, " "))
			}
			if got := strings.Join(tables, " / "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// TestRecordsWithoutAKey has what a table without keys publishes: its deletes
// are the rows as they were, told by the header. They are no inserts, and
// without a configured key they and updates concern no row that could be found.
func TestRecordsWithoutAKey(t *testing.T) {
	versions, schemas := twoVersions()
	value := must(versions[0].value.Append(nil, []replication.Value{replication.IntValue(7), replication.Null, replication.Null}))
	for _, test := range []struct {
		key  []string
		op   string
		want string
	}{
		{nil, "insert", "+7"},
		{nil, "", "+7"},
		{nil, "update", "there is no telling which row has changed"},
		{nil, "delete", "there is no telling which row is gone"},
		{[]string{"id"}, "insert", "+7"},
		{[]string{"id"}, "update", "+7"},
		{[]string{"id"}, "delete", "-7"},
	} {
		b := newBatch()
		b.serial = 1
		p := &partition{topic: newTopic(TableConfig{Topic: "t", Table: "t", Key: test.key}), applied: -1}
		r := &kgo.Record{Topic: "t", Value: value, Headers: []kgo.RecordHeader{{Key: "cdc.op", Value: []byte(test.op)}}}
		if err := b.add(t.Context(), schemas, p, r); err != nil {
			t.Fatal(err)
		}
		var got string
		for _, f := range b.faults {
			got += f.err.Error()
		}
		for _, rows := range b.seal().Tables {
			for _, r := range rows.Rows {
				got += fmt.Sprintf("%s%s", map[bool]string{false: "+", true: "-"}[r.Delete], r.Values[0])
			}
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("key %v, %s: got %s, want %s", test.key, test.op, got, test.want)
		}
	}
}
