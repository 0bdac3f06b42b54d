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
