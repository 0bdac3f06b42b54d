package mapping_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/mapping"
	"cdc/mapping/avro"
	"cdc/replication"
)

// TestConfigErrors: what is wrong without seeing a table is an error of New.
func TestConfigErrors(t *testing.T) {
	one := func(c mapping.TableConfig) mapping.Config {
		c.Schema, c.Name = "public", "orders"
		return mapping.Config{Tables: []mapping.TableConfig{c}}
	}
	two := func(topic string, a, b mapping.TableConfig) mapping.Config {
		return mapping.Config{Topic: topic, Tables: []mapping.TableConfig{a, b}}
	}
	a, b := mapping.TableConfig{Schema: "a", Name: "t"}, mapping.TableConfig{Schema: "b", Name: "t"}
	for _, c := range []struct {
		cfg  mapping.Config
		want string
	}{
		{mapping.Config{Topic: "{schema}.{tabel}"}, `{tabel} is not a placeholder; there are {schema} and {table}`},
		{mapping.Config{Topic: "{schema"}, `{schema is not a placeholder`},
		{mapping.Config{Topic: "a b"}, `topic: "a b": the character ' ' is not allowed there`},
		{mapping.Config{Topic: "a}"}, `the character '}' is not allowed`},
		{mapping.Config{Prefix: "ü."}, `prefix "ü.": Kafka allows only letters`},
		{mapping.Config{Namespace: "a-b"}, `namespace: "a-b": the character '-'`},
		{one(mapping.TableConfig{Topic: "x{}"}), `table public.orders: topic: "x{}": {} is not a placeholder`},
		{one(mapping.TableConfig{Key: mapping.KeyConfig{Mode: "primry"}}), `key: "primry" is none of primary, field, schema, plain, none`},
		{one(mapping.TableConfig{Key: mapping.KeyConfig{Mode: mapping.KeyField}}), `key: no field is named`},
		{one(mapping.TableConfig{Key: mapping.KeyConfig{Mode: mapping.KeyField, Fields: []string{"a", "b", "a"}}}), `key: field "a" is named twice`},
		{one(mapping.TableConfig{Key: mapping.KeyConfig{Mode: mapping.KeyPlain}}), `key: no column is named`},
		{one(mapping.TableConfig{Key: mapping.KeyConfig{Mode: mapping.KeySchema}}), `key: no schema is given`},
		{one(mapping.TableConfig{Include: []string{"a"}, Exclude: []string{"b"}}), `include and exclude exclude each other`},
		{one(mapping.TableConfig{Rename: map[string]string{"a": ""}}), `rename: column "a" gets an empty name`},
		{two("", a, a), `table a.t stands there twice`},
		{two("{table}", a, b), `tables a.t and b.t go to the same topic "t"`},
		{two("{table}", mapping.TableConfig{Schema: "a", Name: "t", Topic: "t"}, b), `tables a.t and b.t go to the same topic "t"`},
		{two("", mapping.TableConfig{Schema: "a_b", Name: "t"}, mapping.TableConfig{Schema: "a", Name: "b_t", Topic: "a.b.t"}), `Kafka does not tell the topics "a_b.t" and "a.b.t" apart`},
		{mapping.Config{Prefix: strings.Repeat("p", 241), Tables: []mapping.TableConfig{{Schema: "public", Name: "o"}}, Topic: "{schema}.{table}{table}"}, `is 250 bytes long, and Kafka allows 249`},
		{mapping.Config{Topic: ".", Tables: []mapping.TableConfig{a}}, `the topic name "." is not allowed by Kafka`},
	} {
		c.cfg.Registry = &registry{}
		_, err := mapping.New(c.cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got  %v\nwant …%s…", err, c.want)
		}
	}
	if _, err := mapping.New(mapping.Config{}); err == nil || !strings.Contains(err.Error(), "no schema registry is given") {
		t.Errorf("without a registry: %v", err)
	}
}

func TestTopics(t *testing.T) {
	none := mapping.KeyConfig{Mode: mapping.KeyNone}
	got, err := mapping.Topics(mapping.Config{Prefix: "shop.", Tables: []mapping.TableConfig{
		{Schema: "public", Name: "orders"},
		{Schema: "public", Name: "log", Key: none},
		{Schema: "eu", Name: "parts", Topic: "parts"},
		{Schema: "us", Name: "parts", Topic: "parts", Key: none},
		{Schema: "my.schema", Name: "Größe_x2E"},
		{Schema: "public", Name: "a-b_c", Topic: "{table}-x"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := []mapping.Topic{
		{Name: "shop.public.orders", Keyed: true, Tables: []string{"public.orders"}},
		{Name: "shop.public.log", Tables: []string{"public.log"}},
		{Name: "shop.parts", Tables: []string{"eu.parts", "us.parts"}},
		{Name: "shop.my_x2Eschema.Gr_xC3_xB6_xC3_x9Fe_x5Fx2E", Keyed: true, Tables: []string{"my.schema.Größe_x2E"}},
		{Name: "shop.a-b_c-x", Keyed: true, Tables: []string{"public.a-b_c"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestSharedTopic: two tables that are told to share a topic share its subject
// and, having the same columns, the schema.
func TestSharedTopic(t *testing.T) {
	reg := &registry{}
	m := newMapper(t, mapping.Config{Registry: reg, Tables: []mapping.TableConfig{
		{Schema: "eu", Name: "p", Topic: "parts.all"}, {Schema: "us", Name: "p", Topic: "parts.all"},
	}})
	var changes []replication.Change
	for _, schema := range []string{"eu", "us"} {
		tab := orders()
		tab.Schema, tab.Name = schema, "p"
		changes = append(changes, insert(tab, 0, num(1), str(schema), str("")))
	}
	var out mapping.Records
	if err := m.Map(t.Context(), &replication.Batch{Changes: changes}, &out); err != nil {
		t.Fatal(err)
	}
	got := reg.read(t, &out)
	if len(reg.ids) != 2 || got[0].Topic != "parts.all" || got[1].Topic != "parts.all" || got[1].Value["note"] != "us" {
		t.Errorf("%d schemas, records %v", len(reg.ids), got)
	}
}

// TestUnconfiguredTablesKeepApart: tables that no entry names are held to the
// same rule when they come.
func TestUnconfiguredTablesKeepApart(t *testing.T) {
	a, b := orders(), orders()
	b.Schema = "other"
	err := mapError(t, mapping.Config{Topic: "{table}", Tables: []mapping.TableConfig{{Schema: "public", Name: "orders"}}},
		insert(a, 0, num(1), str("a"), str("b")), insert(b, 1, num(1), str("a"), str("b")))
	if !replication.IsRefusal(err) || !strings.Contains(err.Error(), `tables public.orders and other.orders go to the same topic "orders"`) {
		t.Error(err)
	}
}

// TestRefusals: what does not fit the table that comes is refused with the way
// out.
func TestRefusals(t *testing.T) {
	noKey := orders()
	noKey.Key = nil
	notIdentity := orders() // REPLICA IDENTITY NOTHING
	notIdentity.Columns[0].Identity = false
	quoted := orders()
	quoted.Schema, quoted.Name = `we"ird`, "Orders"
	array := ordersFull()
	array.Columns = append(array.Columns, replication.Column{Name: "tags", Kind: replication.KindArray, Elem: replication.KindString, Identity: true})
	field := func(f ...string) mapping.KeyConfig {
		return mapping.KeyConfig{Mode: mapping.KeyField, Fields: f}
	}
	schema := func(s string) mapping.KeyConfig {
		return mapping.KeyConfig{Mode: mapping.KeySchema, Schema: s}
	}
	for _, c := range []struct {
		table *replication.Table
		cfg   mapping.TableConfig
		want  string
	}{
		{
			orders(),
			mapping.TableConfig{Include: []string{"id", "nota"}},
			"table public.orders has no column \"nota\", which its setting include names\n  to mend it: name one of its columns: id, note, region",
		},
		{orders(), mapping.TableConfig{Exclude: []string{"x"}}, `has no column "x", which its setting exclude names`},
		{orders(), mapping.TableConfig{Rename: map[string]string{"x": "y"}}, `has no column "x", which its setting rename names`},
		{orders(), mapping.TableConfig{Exclude: []string{"id"}}, `column "id" is part of the record's key and cannot be left out`},
		{orders(), mapping.TableConfig{Include: []string{"note"}}, `column "id" is part of the record's key and cannot be left out`},
		{orders(), mapping.TableConfig{Rename: map[string]string{"note": "region"}}, `columns "note" and "region" would both be field "region"`},
		{orders(), mapping.TableConfig{Key: mapping.KeyConfig{Mode: mapping.KeyNone}, Exclude: []string{"id", "note", "region"}}, `no column is left to publish`},
		{noKey, mapping.TableConfig{}, "table public.orders has no primary key, and no key is configured for it\n  to mend it: add a primary key, or choose the key"},
		{
			orders(),
			mapping.TableConfig{Key: field("id", "region")},
			"column \"region\" is part of the record's key but not of the table's replica identity, so the log does not tell which row a delete or a change of the key concerns\n  to mend it: ALTER TABLE \"public\".\"orders\" REPLICA IDENTITY FULL",
		},
		{notIdentity, mapping.TableConfig{}, `to mend it: ALTER TABLE "public"."orders" REPLICA IDENTITY DEFAULT, or ALTER TABLE "public"."orders" REPLICA IDENTITY FULL`},
		{quoted, mapping.TableConfig{Key: mapping.KeyConfig{Mode: mapping.KeyPlain, Field: "note"}}, `ALTER TABLE "we""ird"."Orders" REPLICA IDENTITY FULL`},
		{orders(), mapping.TableConfig{Key: field("idd")}, `has no column "idd", which its setting key names`},
		{orders(), mapping.TableConfig{Key: mapping.KeyConfig{Mode: mapping.KeyPlain, Field: "idd"}}, `has no column "idd", which its setting key names`},
		{array, mapping.TableConfig{Key: mapping.KeyConfig{Mode: mapping.KeyPlain, Field: "tags"}}, `column "tags" is an array, which has no plain text for a key`},
		{orders(), mapping.TableConfig{Key: schema(`{`)}, `the key schema does not fit: read key schema: `},
		{orders(), mapping.TableConfig{Key: schema(`{"type":"enum"}`)}, `the key schema does not fit: it is not a record`},
		{orders(), mapping.TableConfig{Key: schema(`{"type":"record","name":"K","fields":[{"name":"z","type":"int"}]}`)}, `none of its fields is a column of the table`},
		{orders(), mapping.TableConfig{Key: schema(`{"type":"record","name":"K","fields":[{"name":"id","type":"int"}]}`)}, `the key schema does not fit: field id cannot hold column id`},
		{orders(), mapping.TableConfig{Key: schema(`{"type":"record","name":"K","fields":[{"name":"id","type":"long"},{"name":"z","type":"int"}]}`)}, `the key schema does not fit: field z`},
	} {
		c.cfg.Schema, c.cfg.Name = c.table.Schema, c.table.Name
		reg := &registry{}
		values := []replication.Value{num(1), str("a"), str("b")}
		if len(c.table.Columns) > 3 {
			values = append(values, replication.Null)
		}
		err := mapError(t, mapping.Config{Registry: reg, Tables: []mapping.TableConfig{c.cfg}}, insert(c.table, 0, values...))
		if !replication.IsRefusal(err) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got  %v\nwant …%s…", err, c.want)
		}
	}
}

// TestNames: the names in the schemas, and what becomes of those that Avro does
// not allow.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		cfg          mapping.Config
		schema, name string
		value, key   string
	}{
		{mapping.Config{}, "public", "orders", "cdc.public.orders", "cdc.public.orders_key"},
		{mapping.Config{Namespace: "com.shop"}, "public", "orders", "com.shop.orders", "com.shop.orders_key"},
		{mapping.Config{Namespace: "x_{table}.{schema}"}, "public", "orders", "x_orders.public.orders", "x_orders.public.orders_key"},
		{mapping.Config{}, "my-schema", "1 a", "cdc.my_x002D_schema._x0031__x0020_a", "cdc.my_x002D_schema._x0031__x0020_a_key"},
		{mapping.Config{}, "a.b", "c", "cdc.a_x005F_x002E_b.c", "cdc.a_x005F_x002E_b.c_key"},
	} {
		reg := &registry{}
		c.cfg.Registry = reg
		tab := orders()
		tab.Schema, tab.Name = c.schema, c.name
		var out mapping.Records
		if err := newMapper(t, c.cfg).Map(t.Context(), &replication.Batch{Changes: []replication.Change{remove(tab, 0, num(1), replication.Unchanged, replication.Unchanged)}}, &out); err != nil {
			t.Fatal(err)
		}
		for id, text := range reg.schemas {
			s, err := avro.ParseSchema(text)
			if err != nil {
				t.Fatal(err)
			}
			want := c.value
			if strings.HasSuffix(reg.subject[id], "-key") {
				want = c.key
			}
			if s.Name() != want {
				t.Errorf("%s: the record is called %s, want %s", reg.subject[id], s.Name(), want)
			}
		}
	}
}
