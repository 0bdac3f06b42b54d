package mapping_test

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"

	"cdc/internal/servicetest"
	"cdc/mapping"
	"cdc/mapping/avro"
	"cdc/replication"
)

// TestRealRegistry registers with a real registry, reads the schemas back with
// another client, decodes with them, and meets the registry's refusal of an
// incompatible version.
func TestRealRegistry(t *testing.T) {
	url := servicetest.Registry(t)
	client, err := sr.NewClient(sr.URLs(url))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := avro.NewRegistry(avro.RegistryConfig{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	prefix := servicetest.Name(t, "mapping") + "."
	topic := prefix + "public.orders"
	m := newMapper(t, mapping.Config{Prefix: prefix, Registry: ours})
	var out mapping.Records
	one := func(tab *replication.Table, values ...replication.Value) error {
		out.Reset()
		return m.Map(t.Context(), &replication.Batch{Changes: []replication.Change{insert(tab, 0, values...)}}, &out)
	}
	if err := one(orders(), num(5), str("ä"), replication.Null); err != nil {
		t.Fatal(err)
	}
	reader := &registry{schemas: map[int]string{}}
	for _, subject := range []string{topic + "-key", topic + "-value"} {
		s, err := client.SchemaByVersion(t.Context(), subject, -1)
		if err != nil {
			t.Fatal(err)
		}
		reader.schemas[s.ID] = s.Schema.Schema
	}
	check(t, reader.read(t, &out), []seen{{
		Topic: topic, Key: fields{"id": int64(5)}, Value: fields{"id": int64(5), "note": "ä", "region": nil},
		Headers: headers("insert", "0/1A0:0", "7"),
	}})

	// A column of another type under an old name cannot be read with the old
	// schema, nor the other way round.
	for _, r := range client.SetCompatibility(t.Context(), sr.SetCompatibility{Level: sr.CompatFull}, topic+"-value") {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	changed := orders()
	changed.Columns[1] = replication.Column{Name: "note", Kind: replication.KindBool, TypeName: "boolean"}
	err = one(changed, num(6), replication.BoolValue(true), replication.Null)
	if !replication.IsRefusal(err) || !strings.Contains(err.Error(), topic+"-value") {
		t.Errorf("an incompatible schema: %v", err)
	}
}
