package mapping_test

import (
	"testing"

	"cdc/mapping"
	"cdc/mapping/debezium"
	"cdc/replication"
)

// TestRenamedTableKeepsItsConfiguration: a table that is renamed, or moved to
// another schema, while it is captured, publishes no more than before.
func TestRenamedTableKeepsItsConfiguration(t *testing.T) {
	named := func(schema, name, oid string) *replication.Table {
		tab := numbered(orders(), oid+".1", oid+".2", oid+".3")
		tab.Schema, tab.Name = schema, name
		if oid == "9" && name != "orders" {
			tab.Home = replication.TableName{Schema: "public", Name: "orders"}
		}
		return tab
	}
	// After the table was renamed another one gets its name, and only then the
	// excluded column is renamed.
	card := named("archive", "old", "9")
	card.Columns[1].Name = "card"
	changes := []replication.Change{
		insert(named("public", "orders", "9"), 0, num(1), str("secret"), str("a")),
		insert(named("public", "old", "9"), 1, num(2), str("secret"), str("b")),
		insert(named("public", "orders", "12"), 2, num(3), str("secret"), str("c")),
		insert(card, 3, num(4), str("secret"), str("d")),
		insert(named("public", "other", "13"), 4, num(5), str("open"), str("e")),
	}
	config := func(topic string) mapping.Config {
		return mapping.Config{Tables: []mapping.TableConfig{{
			Schema: "public", Name: "orders", Topic: topic, Exclude: []string{"note"}, Rename: map[string]string{"region": "area"},
			Key: mapping.KeyConfig{Mode: mapping.KeyPlain, Field: "id"},
		}}}
	}
	for topic, want := range map[string][]string{
		"":          {"public.orders", "public.old", "public.orders", "archive.old", "public.other"},
		"sales":     {"sales", "sales", "sales", "sales", "public.other"},
		"x.{table}": {"x.orders", "x.old", "x.orders", "x.old", "public.other"},
	} {
		got := mapRows(t, config(topic), changes...)
		if len(got) != len(want) {
			t.Fatal(got)
		}
		for i, s := range got {
			if s.Topic != want[i] {
				t.Errorf("topic %q: record %d is in %s, want %s", topic, i, s.Topic, want[i])
			}
		}
		for i, area := range []string{"a", "b", "c", "d"} {
			equalFields(t, got[i].Value, fields{"id": int64(i + 1), "area": area})
			if key := string(rune('1' + i)); got[i].Key != key {
				t.Errorf("record %d has the key %v, want %s", i, got[i].Key, key)
			}
		}
		equalFields(t, got[4].Value, fields{"id": int64(5), "note": "open", "region": "e"})
	}
}

// TestRenamedTableKeepsItsSchema: in a topic that stays, the registry takes the
// schemas before and after for versions of one only if they have one name.
func TestRenamedTableKeepsItsSchema(t *testing.T) {
	first := numbered(orders(), "9.1", "9.2", "9.3")
	renamed := numbered(orders(), "9.1", "9.2", "9.3")
	renamed.Schema, renamed.Name, renamed.Home = "archive", "old", replication.TableName{Schema: "public", Name: "orders"}
	reg := &registry{}
	m := newMapper(t, mapping.Config{Registry: reg, Tables: []mapping.TableConfig{{Schema: "public", Name: "orders", Topic: "sales"}}})
	var out mapping.Records
	if err := m.Map(t.Context(), &replication.Batch{Changes: []replication.Change{
		insert(first, 0, num(1), str("a"), str("b")), insert(renamed, 1, num(2), str("a"), str("b")),
	}}, &out); err != nil {
		t.Fatal(err)
	}
	if len(reg.ids) != 2 {
		t.Errorf("%d schemas, want one of the key and one of the value: %v", len(reg.ids), reg.schemas)
	}
}

// TestRenamedTableDebezium is the first test for the format debezium.
func TestRenamedTableDebezium(t *testing.T) {
	first := numbered(orders(), "9.1", "9.2", "9.3")
	renamed := numbered(orders(), "9.1", "9.2", "9.3")
	renamed.Name, renamed.Home = "old", replication.TableName{Schema: "public", Name: "orders"}
	got := mapRows(t, mapping.Config{
		Debezium: &mapping.Debezium{Source: debezium.Source{Connector: "postgresql", Name: "shop", Database: "db"}},
		Tables:   []mapping.TableConfig{{Schema: "public", Name: "orders", Exclude: []string{"note"}}},
	}, insert(first, 0, num(1), str("secret"), str("a")), insert(renamed, 1, num(2), str("secret"), str("b")))
	if len(got) != 2 || got[1].Topic != "shop.public.old" {
		t.Fatal(got)
	}
	for i, s := range got {
		after, ok := s.Value["after"].(map[string]any)
		if _, leaks := after["note"]; !ok || leaks || len(after) != 2 {
			t.Errorf("record %d holds %v", i, s.Value["after"])
		}
	}
}
