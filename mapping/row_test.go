package mapping_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/mapping"
	"cdc/replication"
)

type fields = map[string]any

func check(t *testing.T, got, want []seen) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("records (-want +got):\n%s", d)
	}
}

func TestOperations(t *testing.T) {
	tab := orders()
	snapshot := replication.Change{
		Op: replication.OpRead, Table: tab, After: row(num(1), str("a"), replication.Null), Index: 9,
		Tx: &replication.Transaction{Commit: []byte("0/100"), CommitTime: 5},
	}
	got := mapRows(t, mapping.Config{},
		snapshot,
		insert(tab, 0, num(2), str("b"), str("north")),
		update(tab, 1, nil, row(num(2), replication.Null, str("south"))),
		remove(tab, 2, num(2), replication.Unchanged, replication.Unchanged),
		truncate(tab, 3),
	)
	check(t, got, []seen{
		{
			Topic: "public.orders", Key: fields{"id": int64(1)},
			Value: fields{"id": int64(1), "note": "a", "region": nil}, Headers: headers("read", "0/100:9", ""),
		},
		{
			Topic: "public.orders", Key: fields{"id": int64(2)},
			Value: fields{"id": int64(2), "note": "b", "region": "north"}, Headers: headers("insert", "0/1A0:0", "7"),
		},
		{
			Topic: "public.orders", Key: fields{"id": int64(2)},
			Value: fields{"id": int64(2), "note": nil, "region": "south"}, Headers: headers("update", "0/1A0:1", "7"),
		},
		{Topic: "public.orders", Key: fields{"id": int64(2)}, Headers: headers("delete", "0/1A0:2", "7")},
		{Topic: "public.orders", Key: fields{"id": int64(0)}, Headers: headers("truncate", "0/1A0:3", "7"), All: true},
	})
}

// TestKeyChange: the old key's row ends by a tombstone, then comes the row.
func TestKeyChange(t *testing.T) {
	u := replication.Unchanged
	tab, full := orders(), ordersFull()
	check(t, mapRows(t, mapping.Config{}, update(tab, 4, row(num(1), u, u), row(num(2), str("x"), str("y")))), []seen{
		{Topic: "public.orders", Key: fields{"id": int64(1)}, Headers: headers("delete", "0/1A0:4", "7")},
		{
			Topic: "public.orders", Key: fields{"id": int64(2)}, Value: fields{"id": int64(2), "note": "x", "region": "y"},
			Headers: headers("update", "0/1A0:4", "7"),
		},
	})
	// A Before that only the replica identity brought is no change of the key.
	got := mapRows(t, mapping.Config{}, update(full, 0, row(num(1), str("a"), str("b")), row(num(1), str("c"), str("d"))))
	if len(got) != 1 || got[0].Headers[mapping.HeaderOp] != "update" {
		t.Errorf("an update without a change of the key became %v", got)
	}
	// Neither is a value that is written differently and encodes alike.
	dec := &replication.Table{Schema: "public", Name: "rates", Key: []int{0}, Columns: identity(
		replication.Column{Name: "rate", Kind: replication.KindDecimal, Precision: 6, Scale: 2, NotNull: true})}
	d := func(s string) replication.Value { return replication.StringValue(replication.KindDecimal, s) }
	if got := mapRows(t, mapping.Config{}, update(dec, 0, row(d("1.5")), row(d("1.50")))); len(got) != 1 {
		t.Errorf("1.5 → 1.50 became %d records, want 1", len(got))
	}
}

func TestTruncate(t *testing.T) {
	tab := orders()
	key := func(k mapping.KeyConfig) mapping.Config {
		return mapping.Config{Tables: []mapping.TableConfig{{Schema: "public", Name: "orders", Key: k}}}
	}
	for _, c := range []struct {
		name string
		cfg  mapping.Config
		key  any
	}{
		{"primary", mapping.Config{Truncate: "record"}, fields{"id": int64(0)}},
		{"plain", key(mapping.KeyConfig{Mode: mapping.KeyPlain, Field: "id"}), ""},
		{"none", key(mapping.KeyConfig{Mode: mapping.KeyNone}), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			check(t, mapRows(t, c.cfg, truncate(tab, 0)), []seen{
				{Topic: "public.orders", Key: c.key, Headers: headers("truncate", "0/1A0:0", "7"), All: true},
			})
		})
	}
	if got := mapRows(t, mapping.Config{Truncate: "skip"}, truncate(tab, 0)); len(got) != 0 {
		t.Errorf("skip published %v", got)
	}
	err := mapError(t, mapping.Config{Truncate: "stop"}, truncate(tab, 0))
	if !replication.IsRefusal(err) || !strings.Contains(err.Error(), "table public.orders was truncated (transaction 7, position 0/1A0)") {
		t.Errorf("stop: %v", err)
	}
	if _, err := mapping.New(mapping.Config{Truncate: "maybe", Registry: &registry{}}); err == nil || !strings.Contains(err.Error(), `"maybe" is none of record, skip, stop`) {
		t.Errorf("an unknown setting: %v", err)
	}
}

func TestKeyModes(t *testing.T) {
	tab := ordersFull()
	cfg := func(k mapping.KeyConfig, rename map[string]string) mapping.Config {
		return mapping.Config{Tables: []mapping.TableConfig{{Schema: "public", Name: "orders", Key: k, Rename: rename}}}
	}
	full := row(num(7), str("n"), str("eu"))
	del := headers("delete", "0/1A0:1", "7")
	for _, c := range []struct {
		name string
		key  mapping.KeyConfig
		want any
	}{
		{"field", mapping.KeyConfig{Mode: mapping.KeyField, Fields: []string{"region", "id"}}, fields{"area": "eu", "id": int64(7)}},
		{"schema", mapping.KeyConfig{
			Mode:   mapping.KeySchema,
			Schema: `{"type":"record","name":"K","fields":[{"name":"id","type":"long"},{"name":"area","type":["null","string"]},{"name":"v","type":"int","default":3}]}`,
		}, fields{"id": int64(7), "area": "eu", "v": int32(3)}},
		{"plain", mapping.KeyConfig{Mode: mapping.KeyPlain, Field: "region"}, "eu"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := mapRows(t, cfg(c.key, map[string]string{"region": "area"}), insert(tab, 0, full...), remove(tab, 1, full...))
			check(t, got, []seen{
				{Topic: "public.orders", Key: c.want, Value: fields{"id": int64(7), "note": "n", "area": "eu"}, Headers: headers("insert", "0/1A0:0", "7")},
				{Topic: "public.orders", Key: c.want, Headers: del},
			})
		})
	}
	t.Run("none", func(t *testing.T) {
		u := replication.Unchanged
		got := mapRows(t, cfg(mapping.KeyConfig{Mode: mapping.KeyNone}, nil),
			insert(tab, 0, full...), update(tab, 1, row(num(6), u, u), full), remove(tab, 2, full...), remove(tab, 3, num(7), u, u))
		value := fields{"id": int64(7), "note": "n", "region": "eu"}
		check(t, got, []seen{
			{Topic: "public.orders", Value: value, Headers: headers("insert", "0/1A0:0", "7")},
			{Topic: "public.orders", Value: value, Headers: headers("update", "0/1A0:1", "7")},
			{Topic: "public.orders", Value: value, Headers: headers("delete", "0/1A0:2", "7")},
			{
				Topic: "public.orders", Value: fields{"id": int64(7), "note": nil, "region": nil},
				Headers: headers("delete", "0/1A0:3", "7", mapping.HeaderUnchanged, "note,region"),
			},
		})
	})
}

// TestKeySchemasRegistered: value schemas always, key schemas only for Avro keys.
func TestKeySchemasRegistered(t *testing.T) {
	for mode, want := range map[mapping.KeyMode]string{
		mapping.KeyPrimary: "public.orders-value public.orders-key", mapping.KeyNone: "public.orders-value", mapping.KeyPlain: "public.orders-value",
	} {
		reg := &registry{}
		m := newMapper(t, mapping.Config{Registry: reg, Tables: []mapping.TableConfig{
			{Schema: "public", Name: "orders", Key: mapping.KeyConfig{Mode: mode, Field: "id"}},
		}})
		var out mapping.Records
		if err := m.Map(t.Context(), &replication.Batch{Changes: []replication.Change{insert(orders(), 0, num(1), str("a"), str("b"))}}, &out); err != nil {
			t.Fatal(err)
		}
		var subjects []string
		for id := range len(reg.subject) {
			subjects = append(subjects, reg.subject[id+1])
		}
		if got := strings.Join(subjects, " "); got != want {
			t.Errorf("%s: registered %q, want %q", mode, got, want)
		}
	}
}

func TestUnchangedAndRefetched(t *testing.T) {
	tab := orders()
	tab.Columns = append(tab.Columns, replication.Column{Name: "total", Kind: replication.KindInt, Bits: 32, NotNull: true})
	u := replication.Unchanged
	refetched := update(tab, 1, nil, row(num(2), str("big"), str("x"), num(5)))
	refetched.Refetched = []int32{1, 2}
	got := mapRows(t, mapping.Config{Tables: []mapping.TableConfig{
		{Schema: "public", Name: "orders", Exclude: []string{"region"}, Rename: map[string]string{"note": "full note"}},
	}},
		update(tab, 0, nil, row(num(1), u, u, u)), refetched)
	check(t, got, []seen{
		{
			Topic: "public.orders", Key: fields{"id": int64(1)}, Value: fields{"id": int64(1), "full_x0020_note": nil, "total": int32(0)},
			Headers: headers("update", "0/1A0:0", "7", mapping.HeaderUnchanged, "full_x0020_note,total"),
		},
		{
			Topic: "public.orders", Key: fields{"id": int64(2)}, Value: fields{"id": int64(2), "full_x0020_note": "big", "total": int32(5)},
			Headers: headers("update", "0/1A0:1", "7", mapping.HeaderRefetched, "full_x0020_note"),
		},
	})
}

// TestRowErrors: the error names the row, the records before it stand in out,
// and Map goes on behind it.
func TestRowErrors(t *testing.T) {
	reg := &registry{}
	m := newMapper(t, mapping.Config{Registry: reg, Tables: []mapping.TableConfig{
		{Schema: "public", Name: "orders", Key: mapping.KeyConfig{Mode: mapping.KeyField, Fields: []string{"id", "region"}}},
	}})
	tab := ordersFull()
	good := func(i uint64) replication.Change { return insert(tab, i, num(int64(i)), str("n"), str("eu")) }
	b := &replication.Batch{Changes: []replication.Change{
		good(0),
		insert(tab, 1, num(1), str("bad \xff"), str("eu")), // no UTF-8
		insert(tab, 2, num(2), str("n"), replication.Null), // null in the key
		update(tab, 3, row(num(8), str("n"), str("old")), row(num(3), str("\xff"), str("eu"))),
		remove(tab, 4, num(4), str("n"), replication.Unchanged),
		{Op: replication.OpInsert, Table: tab, After: row(num(1)), Tx: tx7, Index: 5}, // too short
		{Op: replication.OpDelete, Table: tab, Tx: tx7, Index: 6},                     // nothing to delete
		insert(tab, 7, num(5), replication.InvalidValue([]byte("{{a}}"), replication.ReasonDimensions), str("eu")),
		remove(tab, 8, num(6), replication.Unchanged, replication.InvalidValue([]byte("[0:0]={b}"), replication.ReasonBounds)),
		good(9),
	}}
	var out mapping.Records
	var failed []string
	rest := *b
	for {
		before := len(out.List)
		err := m.Map(t.Context(), &rest, &out)
		if err == nil {
			break
		}
		e, ok := errors.AsType[*mapping.RowError](err)
		if !ok {
			t.Fatal(err)
		}
		if n := len(out.List) - before; n != e.Index {
			t.Fatalf("%d records before the change %d that failed", n, e.Index)
		}
		failed = append(failed, e.Error())
		rest.Changes = rest.Changes[e.Index+1:]
	}
	want := []string{
		"table public.orders, key id=1 region='eu', insert, transaction 7, position 0/1A0: column note: ",
		"table public.orders, key id=2 region=null, insert, transaction 7, position 0/1A0: column region: null in a column of the key",
		"table public.orders, key id=3 region='eu', update, transaction 7, position 0/1A0: column note: ",
		"table public.orders, key id=4 region=unchanged, delete, transaction 7, position 0/1A0: column region: a column of the key has a value that the log left out",
		"table public.orders, key (none), insert, transaction 7, position 0/1A0: the row has 1 columns after and 0 before the change, its table 3",
		"table public.orders, key (none), delete, transaction 7, position 0/1A0: the row has 0 columns, its table 3",
		"table public.orders, key id=5 region='eu', insert, transaction 7, position 0/1A0: column note: value '{{a}}': has no place in string: arrays of more than one dimension are not supported",
		"table public.orders, key id=6 region='[0:0]={b}', delete, transaction 7, position 0/1A0: a column of the key has a value that no key can hold: region='[0:0]={b}': arrays whose first index is not 1 are not supported",
	}
	if len(failed) != len(want) {
		t.Fatalf("%d errors, want %d: %q", len(failed), len(want), failed)
	}
	for i := range want {
		if !strings.HasPrefix(failed[i], want[i]) {
			t.Errorf("error %d:\n got %s\nwant %s…", i, failed[i], want[i])
		}
	}
	got := reg.read(t, &out)
	if len(got) != 2 || got[0].Headers[mapping.HeaderPosition] != "0/1A0:0" || got[1].Headers[mapping.HeaderPosition] != "0/1A0:9" {
		t.Errorf("records %v, want those of the changes 0 and 9", got)
	}
	if d := out.List[0].Describe(out.List[0].Key); d != "id=0 region='eu'" {
		t.Errorf("Describe: %s", d)
	}
	if d := out.List[0].Describe([]byte("?")); d != "0x3f" {
		t.Errorf("Describe of foreign bytes: %s", d)
	}
}

// TestColumnsComeAndGo: the first record of a new version, in the middle of a
// batch, has the new schema, and each version asks the registry once.
func TestColumnsComeAndGo(t *testing.T) {
	reg := &registry{}
	m := newMapper(t, mapping.Config{Registry: reg})
	old, added := orders(), orders()
	added.Columns = append(added.Columns, text("extra"))
	b := &replication.Batch{Changes: []replication.Change{
		insert(old, 0, num(1), str("a"), str("b")),
		insert(added, 1, num(2), str("a"), str("b"), str("c")),
		insert(old, 2, num(3), str("a"), str("b")),
		insert(added, 3, num(4), str("a"), str("b"), replication.Null),
	}}
	var out mapping.Records
	for range 3 {
		out.Reset()
		if err := m.Map(t.Context(), b, &out); err != nil {
			t.Fatal(err)
		}
	}
	var got []any
	for _, s := range reg.read(t, &out) {
		v, ok := s.Value["extra"]
		got = append(got, fmt.Sprintf("%v %v %v", s.Value["id"], v, ok))
	}
	if d := cmp.Diff([]any{"1 <nil> false", "2 c true", "3 <nil> false", "4 <nil> true"}, got); d != "" {
		t.Error(d)
	}
	if reg.calls != 4 { // key and value of two versions
		t.Errorf("the registry was asked %d times, want 4", reg.calls)
	}
}

// TestNamedColumnIsDropped: a column that the configuration names may be dropped
// while running; a column that was never there is another matter (TestRefusals).
func TestNamedColumnIsDropped(t *testing.T) {
	dropped := orders()
	dropped.Columns = dropped.Columns[:2]
	got := mapRows(t, mapping.Config{Tables: []mapping.TableConfig{
		{Schema: "public", Name: "orders", Exclude: []string{"region"}, Rename: map[string]string{"note": "n"}},
	}}, insert(orders(), 0, num(1), str("a"), str("secret")), insert(dropped, 1, num(2), str("b")))
	if len(got) != 2 {
		t.Fatal(got)
	}
	equalFields(t, got[0].Value, fields{"id": int64(1), "n": "a"})
	equalFields(t, got[1].Value, fields{"id": int64(2), "n": "b"})
}

// TestExcludedColumnIsRenamed: what must not be published is not so under another
// name either, whatever else the same DDL did.
func TestExcludedColumnIsRenamed(t *testing.T) {
	renamed, again := orders(), orders()
	renamed.Columns[1].Name = "remark"
	renamed.Columns = append(renamed.Columns, text("extra"))
	again.Columns[1].Name = "comment"
	got := mapRows(t, mapping.Config{Tables: []mapping.TableConfig{
		{Schema: "public", Name: "orders", Exclude: []string{"note"}},
	}}, insert(orders(), 0, num(1), str("secret"), str("a")), insert(renamed, 1, num(2), str("secret"), str("b"), str("c")),
		insert(again, 2, num(3), str("secret"), str("d")), insert(orders(), 3, num(4), str("secret"), str("e")))
	if len(got) != 4 {
		t.Fatal(got)
	}
	equalFields(t, got[0].Value, fields{"id": int64(1), "region": "a"})
	equalFields(t, got[1].Value, fields{"id": int64(2), "region": "b", "extra": "c"})
	equalFields(t, got[2].Value, fields{"id": int64(3), "region": "d"})
	equalFields(t, got[3].Value, fields{"id": int64(4), "region": "e"})
}

// TestIncludedColumnIsRenamed: what is to be published goes on under another name.
// A column that takes the place of one that was dropped is another one.
func TestIncludedColumnIsRenamed(t *testing.T) {
	identified := func() *replication.Table {
		table := orders()
		for i := range table.Columns {
			table.Columns[i].ID = fmt.Sprintf("7.%d", i+1)
		}
		return table
	}
	first, renamed, again, dropped := identified(), identified(), identified(), identified()
	renamed.Columns[1].Name = "remark"
	renamed.Columns = append(renamed.Columns, text("extra"))
	again.Columns[1].Name = "comment"
	dropped.Columns[1].Name, dropped.Columns[1].ID = "secret", "7.9"
	got := mapRows(t, mapping.Config{Tables: []mapping.TableConfig{
		{Schema: "public", Name: "orders", Include: []string{"id", "note"}},
	}}, insert(first, 0, num(1), str("n"), str("a")), insert(renamed, 1, num(2), str("o"), str("b"), str("c")),
		insert(again, 2, num(3), str("p"), str("d")), insert(identified(), 3, num(4), str("q"), str("e")), insert(dropped, 4, num(5), str("r"), str("f")))
	if len(got) != 5 {
		t.Fatal(got)
	}
	equalFields(t, got[0].Value, fields{"id": int64(1), "note": "n"})
	equalFields(t, got[1].Value, fields{"id": int64(2), "remark": "o"})
	equalFields(t, got[2].Value, fields{"id": int64(3), "comment": "p"})
	equalFields(t, got[3].Value, fields{"id": int64(4), "note": "q"})
	equalFields(t, got[4].Value, fields{"id": int64(5)})
}

func equalFields(t *testing.T, got, want fields) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("value (-want +got):\n%s", d)
	}
}

// TestKeysOutliveDDL: what changes a column without changing its Avro type leaves
// the bytes of the key alone, and with them the row's partition.
func TestKeysOutliveDDL(t *testing.T) {
	reg := &registry{}
	m := newMapper(t, mapping.Config{Registry: reg, Tables: []mapping.TableConfig{
		{Schema: "public", Name: "orders", Key: mapping.KeyConfig{Mode: mapping.KeyField, Fields: []string{"region"}}},
	}})
	before, after := ordersFull(), ordersFull()
	after.Columns[2].NotNull, after.Columns[2].TypeName = true, "character varying(80)"
	after.Columns = append(after.Columns, text("more"))
	var out mapping.Records
	if err := m.Map(t.Context(), &replication.Batch{Changes: []replication.Change{
		insert(before, 0, num(1), str("a"), str("eu")), insert(after, 1, num(1), str("a"), str("eu"), str("")),
	}}, &out); err != nil {
		t.Fatal(err)
	}
	if a, b := out.List[0].Key, out.List[1].Key; !bytes.Equal(a, b) {
		t.Errorf("the key was %x and became %x", a, b)
	}
	if a, b := out.List[0].Value[:5], out.List[1].Value[:5]; bytes.Equal(a, b) {
		t.Error("both values have the same schema")
	}
}

// TestPlansAreBounded: many versions of one table do not pile up, and an evicted
// one is compiled again.
func TestPlansAreBounded(t *testing.T) {
	reg := &registry{}
	m := newMapper(t, mapping.Config{Registry: reg})
	var versions []*replication.Table
	for i := range 50 {
		tab := orders()
		tab.Columns = append(tab.Columns, text(fmt.Sprintf("c%d", i)))
		versions = append(versions, tab)
	}
	one := func(tab *replication.Table) {
		t.Helper()
		var out mapping.Records
		if err := m.Map(t.Context(), &replication.Batch{Changes: []replication.Change{insert(tab, 0, num(1), str("a"), str("b"), str("c"))}}, &out); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range versions {
		one(v)
	}
	calls := reg.calls
	if one(versions[49]); reg.calls != calls {
		t.Error("the newest version was compiled twice")
	}
	if one(versions[0]); reg.calls == calls {
		t.Error("the plans of 50 versions are all kept")
	}
}

// TestRegistryRefuses: the refusal comes through as it is.
func TestRegistryRefuses(t *testing.T) {
	refusal := &replication.Refusal{Problem: "subject public.orders-value: incompatible", Remedy: "set its compatibility to NONE"}
	reg := &registry{refuse: map[string]error{"public.orders-value": refusal}}
	if err := mapError(t, mapping.Config{Registry: reg}, insert(orders(), 0, num(1), str("a"), str("b"))); !errors.Is(err, refusal) {
		t.Errorf("got %v", err)
	}
}

// TestGrowingBuffersKeepRecords maps the same batch into buffers that have room
// and into buffers that must grow at nearly every row; the records are the same.
func TestGrowingBuffersKeepRecords(t *testing.T) {
	reg := &registry{}
	m := newMapper(t, mapping.Config{Registry: reg})
	tab := ordersFull()
	var changes []replication.Change
	for i := range 3000 {
		long := str(strings.Repeat("x", i%700))
		tx := &replication.Transaction{ID: fmt.Append(nil, i/3), Commit: fmt.Appendf(nil, "0/%X", i/3), CommitTime: int64(i / 3)}
		c := update(tab, uint64(i), row(num(int64(i)), long, long), row(num(int64(i+1)), long, replication.Unchanged))
		c.Tx = tx
		changes = append(changes, c)
	}
	var roomy, tight mapping.Records
	for out, size := range map[*mapping.Records]int{&roomy: 64 << 20, &tight: 0} {
		if err := m.Map(t.Context(), &replication.Batch{Changes: changes, Bytes: size}, out); err != nil {
			t.Fatal(err)
		}
	}
	if len(roomy.List) != 6000 || len(tight.List) != 6000 {
		t.Fatalf("%d and %d records, want 6000", len(roomy.List), len(tight.List))
	}
	for i := range roomy.List {
		a, b := &roomy.List[i], &tight.List[i]
		if !bytes.Equal(a.Key, b.Key) || !bytes.Equal(a.Value, b.Value) || len(a.Headers) != len(b.Headers) {
			t.Fatalf("record %d differs", i)
		}
		for j := range a.Headers {
			if a.Headers[j].Key != b.Headers[j].Key || !bytes.Equal(a.Headers[j].Value, b.Headers[j].Value) {
				t.Fatalf("record %d: header %s is %q and %q", i, a.Headers[j].Key, a.Headers[j].Value, b.Headers[j].Value)
			}
		}
	}
	read := reg.read(t, &tight)
	last := read[len(read)-1]
	if last.Key.(fields)["id"] != int64(3000) || last.Headers[mapping.HeaderPosition] != "0/3E7:2999" || last.Headers[mapping.HeaderTx] != "999" {
		t.Errorf("the last record is %v", last)
	}
}
