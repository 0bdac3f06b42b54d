package mapping_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/sr"

	"cdc/internal/servicetest"
	"cdc/mapping"
	"cdc/mapping/avro"
	"cdc/replication"
)

// history is one subject of a real registry that takes only what can read its
// latest version (BACKWARD), and a mapper before it.
type history struct {
	t        *testing.T
	client   *sr.Client
	registry *avro.Registry
	prefix   string
	mapper   mapping.Mapper
}

func newHistory(t *testing.T, first *replication.Table, values ...replication.Value) *history {
	t.Helper()
	url := servicetest.Registry(t)
	client, err := sr.NewClient(sr.URLs(url))
	if err != nil {
		t.Fatal(err)
	}
	h := &history{t: t, client: client, prefix: servicetest.Name(t, "evolve") + "."}
	if h.registry, err = avro.NewRegistry(avro.RegistryConfig{URL: url}); err != nil {
		t.Fatal(err)
	}
	h.restart(mapping.TableConfig{})
	h.row(first, values...)
	for _, r := range client.SetCompatibility(t.Context(), sr.SetCompatibility{Level: sr.CompatBackward}, h.subject()) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	return h
}

func (h *history) subject() string { return h.prefix + "public.orders-value" }

// restart makes a mapper that has seen nothing.
func (h *history) restart(table mapping.TableConfig) {
	table.Schema, table.Name = "public", "orders"
	h.mapper = newMapper(h.t, mapping.Config{Prefix: h.prefix, Registry: h.registry, Tables: []mapping.TableConfig{table}})
}

func (h *history) map1(t *replication.Table, values ...replication.Value) (*seen, error) {
	h.t.Helper()
	var out mapping.Records
	err := h.mapper.Map(h.t.Context(), &replication.Batch{Changes: []replication.Change{insert(t, 0, values...)}}, &out)
	if err != nil {
		return nil, err
	}
	reader := &registry{schemas: map[int]string{}}
	for _, b := range [][]byte{out.List[0].Key, out.List[0].Value} {
		id, _, err := avro.SplitWire(b)
		if err != nil {
			h.t.Fatal(err)
		}
		s, err := h.registry.Schema(h.t.Context(), id)
		if err != nil {
			h.t.Fatal(err)
		}
		reader.schemas[id] = s.String()
	}
	return &reader.read(h.t, &out)[0], nil
}

// row maps one row of t and returns its value as a foreign reader has it.
func (h *history) row(t *replication.Table, values ...replication.Value) map[string]any {
	h.t.Helper()
	s, err := h.map1(t, values...)
	if err != nil {
		h.t.Fatal(err)
	}
	return s.Value
}

// latest returns what the newest version says of a field, with the schema.
func (h *history) latest(field string) (avro.FieldInfo, string) {
	h.t.Helper()
	_, s, err := h.registry.Latest(h.t.Context(), h.subject())
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range s.Fields() {
		if f.Name == field {
			return f, s.String()
		}
	}
	return avro.FieldInfo{}, s.String()
}

// numbered gives the columns ids, as the source does.
func numbered(t *replication.Table, ids ...string) *replication.Table {
	for i := range ids {
		t.Columns[i].ID = ids[i]
	}
	return t
}

// TestSchemasFollow puts the versions of a table one after the other into a
// registry with its usual rule.
func TestSchemasFollow(t *testing.T) {
	first := numbered(orders(), "9.1", "9.2", "9.3")
	first.Columns[1].NotNull = true
	h := newHistory(t, first, num(1), str("a"), replication.Null)

	// A NOT NULL column with a default is added: nullable, and the default is told
	// to whoever adds the column to a table.
	added := numbered(orders(), "9.1", "9.2", "9.3")
	added.Columns[1].NotNull = true
	added.Columns = append(added.Columns, replication.Column{
		Name: "n", Kind: replication.KindInt, Bits: 32, NotNull: true, TypeName: "integer", ID: "9.4", HasMissing: true, Missing: "7",
	})
	equalFields(t, h.row(added, num(2), str("b"), replication.Null, num(5)), fields{"id": int64(2), "note": "b", "region": nil, "n": int32(5)})
	if f, text := h.latest("n"); !f.Nullable || f.Missing != "7" || !f.HasMissing || !strings.Contains(text, `"default":null`) {
		t.Errorf("field n is %+v in %s", f, text)
	}
	version := h.version()

	// The same after a restart, also when a rewrite of the table has made the
	// source forget the default; and rows of the first version once more.
	h.restart(mapping.TableConfig{})
	again := numbered(orders(), "9.1", "9.2", "9.3")
	again.Columns = append(again.Columns, added.Columns[3])
	again.Columns[1].NotNull, again.Columns[3].HasMissing, again.Columns[3].Missing = true, false, ""
	h.row(again, num(3), str("c"), replication.Null, num(5))
	h.row(first, num(1), str("a"), replication.Null)
	if got := h.version(); got != version {
		t.Errorf("the same shape became version %d, want %d", got, version)
	}

	// SET NOT NULL leaves the field nullable, DROP NOT NULL makes it so.
	strict := numbered(orders(), "9.1", "9.2", "9.3")
	strict.Columns[1].NotNull, strict.Columns[2].NotNull = false, true
	equalFields(t, h.row(strict, num(4), replication.Null, str("d")), fields{"id": int64(4), "note": nil, "region": "d"})
	if f, _ := h.latest("region"); !f.Nullable {
		t.Error("a field that was nullable is so no more")
	}

	// A column is renamed, and again.
	renamed := numbered(orders(), "9.1", "9.2", "9.3")
	renamed.Columns[1].Name = "remark"
	h.row(renamed, num(5), str("e"), replication.Null)
	if f, _ := h.latest("remark"); cmp.Diff([]string{"note"}, f.Aliases) != "" || !f.Nullable {
		t.Errorf("the renamed field is %+v", f)
	}
	h.restart(mapping.TableConfig{})
	twice := numbered(orders(), "9.1", "9.2", "9.3")
	twice.Columns[1].Name = "comment"
	h.row(twice, num(6), str("f"), replication.Null)
	if f, _ := h.latest("comment"); cmp.Diff([]string{"remark", "note"}, f.Aliases) != "" {
		t.Errorf("the twice renamed field is %+v", f)
	}
	// A column dropped and another one in its place is not renamed.
	replaced := numbered(orders(), "9.1", "9.8", "9.3")
	replaced.Columns[1].Name = "memo"
	h.row(replaced, num(7), str("g"), replication.Null)
	if f, _ := h.latest("memo"); f.Aliases != nil {
		t.Errorf("the new field is %+v", f)
	}

	// Wider types are taken; a narrower one is written by the wider schema.
	wide := numbered(orders(), "9.1", "9.8", "9.3")
	wide.Columns[1] = replication.Column{Name: "size", Kind: replication.KindInt, Bits: 32, TypeName: "integer", ID: "9.9"}
	h.row(wide, num(8), num(1), replication.Null)
	wider := numbered(orders(), "9.1", "9.8", "9.3")
	wider.Columns[1] = replication.Column{Name: "size", Kind: replication.KindInt, Bits: 64, TypeName: "bigint", ID: "9.9"}
	equalFields(t, h.row(wider, num(9), num(1<<40), replication.Null), fields{"id": int64(9), "size": int64(1 << 40), "region": nil})
	version = h.version()
	h.restart(mapping.TableConfig{})
	narrow := numbered(orders(), "9.1", "9.8", "9.3")
	narrow.Columns[1] = replication.Column{Name: "size", Kind: replication.KindInt, Bits: 16, NotNull: true, TypeName: "smallint", ID: "9.9"}
	equalFields(t, h.row(narrow, num(10), num(3), replication.Null), fields{"id": int64(10), "size": int64(3), "region": nil})
	if got := h.version(); got != version+1 { // cdc.type tells that it is a smallint
		t.Errorf("a narrower column made version %d after %d", got, version)
	}
	if f, text := h.latest("size"); !f.Nullable || !strings.Contains(text, `"type":["null","long"],"default":null,"cdc.type":"smallint"`) {
		t.Errorf("the narrower field is %+v in %s", f, text)
	}

	// A type that has nothing to do with the old one is refused. A schema that
	// somebody registers by hand is taken when it holds both.
	other := numbered(orders(), "9.1", "9.8", "9.3")
	other.Columns[1] = replication.Column{Name: "size", Kind: replication.KindString, TypeName: "text", ID: "9.9"}
	_, err := h.map1(other, num(11), str("large"), replication.Null)
	if !replication.IsRefusal(err) || !strings.Contains(err.Error(), h.subject()) || !strings.Contains(err.Error(), "to mend it") {
		t.Fatalf("int to text: %v", err)
	}
	_, text := h.latest("size")
	union := strings.Replace(text, `"type":["null","long"],"default":null,"cdc.type":"smallint"`, `"type":["null","long","string"],"default":null`, 1)
	if union == text {
		t.Fatal(text)
	}
	if _, err := h.client.CreateSchema(t.Context(), h.subject(), sr.Schema{Schema: union}); err != nil {
		t.Fatal(err)
	}
	equalFields(t, h.row(other, num(11), str("large"), replication.Null), fields{"id": int64(11), "size": "large", "region": nil})
}

// version is the number of the subject's newest version.
func (h *history) version() int {
	h.t.Helper()
	s, err := h.client.SchemaByVersion(h.t.Context(), h.subject(), -1)
	if err != nil {
		h.t.Fatal(err)
	}
	return s.Version
}
