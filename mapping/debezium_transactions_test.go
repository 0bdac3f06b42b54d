package mapping_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/mapping"
	"cdc/replication"
)

func transactionsConfig() mapping.Config {
	cfg := debeziumConfig()
	cfg.Debezium.Transactions = true
	return cfg
}

// inTx puts changes into the transaction of that id, from an index on.
func inTx(id string, index int, changes ...replication.Change) []replication.Change {
	tx := &replication.Transaction{ID: []byte(id), Commit: []byte("0/" + id), CommitTime: 1_700_000_000_123_456}
	for i := range changes {
		changes[i].Tx, changes[i].Index = tx, uint64(index+i)
	}
	return changes
}

// told renders the records of a batch: an event with its place in its
// transaction, a boundary with what it tells.
func told(t *testing.T, r *registry, m mapping.Mapper, b *replication.Batch) []string {
	t.Helper()
	var out mapping.Records
	if err := m.Map(t.Context(), b, &out); err != nil {
		t.Fatal(err)
	}
	return tell(t, r, &out)
}

func tell(t *testing.T, r *registry, out *mapping.Records) (list []string) {
	t.Helper()
	for _, rec := range out.List {
		if rec.Value == nil {
			list = append(list, "tombstone")
			continue
		}
		v := r.decode(t, rec.Value)
		if rec.Topic != "shop.transaction" {
			s := fmt.Sprint(v["op"])
			if place, ok := v["transaction"].(map[string]any); ok {
				s += fmt.Sprintf(" %v %v %v", place["id"], place["total_order"], place["data_collection_order"])
			}
			list = append(list, s)
			continue
		}
		if key := r.decode(t, rec.Key); !cmp.Equal(key["id"], v["id"]) || v["ts_ms"] != int64(1_700_000_000_123) || rec.Describe(rec.Key) == "" || rec.Table == nil {
			t.Errorf("key %v of %v", key, v)
		}
		s := fmt.Sprintf("%v %v", v["status"], v["id"])
		if v["status"] == "END" {
			s += fmt.Sprintf(" %v", v["event_count"])
			for _, c := range v["data_collections"].([]any) {
				c := c.(map[string]any)
				s += fmt.Sprintf(" %v=%v", c["data_collection"], c["event_count"])
			}
		} else if v["event_count"] != nil || v["data_collections"] != nil {
			t.Errorf("BEGIN with counts: %v", v)
		}
		list = append(list, s)
	}
	return list
}

// TestDebeziumTransactions: places and boundaries, over batches that end inside
// transactions.
func TestDebeziumTransactions(t *testing.T) {
	cfg := transactionsConfig()
	r := &registry{}
	cfg.Registry = r
	m := newMapper(t, cfg)
	tab, full := orders(), ordersFull()
	full.Name = "others"
	new1 := func() replication.Change { return insert(tab, 0, num(1), str("b"), str("north")) }
	moved := func() replication.Change {
		return update(tab, 0, row(num(1), replication.Unchanged, replication.Unchanged), row(num(2), str("b"), str("north")))
	}
	other := func() replication.Change { return insert(full, 0, num(1), str("b"), str("north")) }
	read := insert(tab, 0, num(9), str("b"), str("north"))
	read.Op = replication.OpRead
	bad := insert(tab, 0, num(9), replication.InvalidValue([]byte("x"), replication.ReasonForm), str("north"))
	whole, cut := inTx("A", 0, new1(), moved(), other()), inTx("B", 0, new1(), other())
	for _, step := range []struct {
		name  string
		batch replication.Batch
		want  []string
	}{
		{"a snapshot", replication.Batch{Changes: inTx("", 0, read)}, []string{"r"}},
		{"one transaction, half of another", replication.Batch{Changes: slices.Concat(whole, cut), Open: true, Position: "after A"}, []string{
			"BEGIN A:10", "c A:10 1 1", "d A:10 2 2", "tombstone", "c A:10 3 3", "c A:10 4 1", "END A:10 4 public.orders=3 public.others=1",
			"BEGIN B:11", "c B:11 1 1", "c B:11 2 1",
		}},
		{"a message of none", replication.Batch{Changes: nil, Open: true}, nil},
		{"its second half", replication.Batch{Changes: inTx("B", 2, other(), new1()), Open: true}, []string{"c B:11 3 2", "c B:11 4 2"}},
		{"its end alone", replication.Batch{Position: "after B"}, []string{"END B:11 4 public.orders=2 public.others=2"}},
		{"nothing", replication.Batch{Position: "later"}, nil},
		{"one without an end yet", replication.Batch{Changes: inTx("C", 0, other()), Open: true}, []string{"BEGIN C:12", "c C:12 1 1"}},
		{"the next one tells", replication.Batch{Changes: inTx("D", 0, new1()), Position: "after D"}, []string{
			"END C:12 1 public.others=1", "BEGIN D:13", "c D:13 1 1", "END D:13 1 public.orders=1",
		}},
		{"nothing published", replication.Batch{Changes: inTx("E", 0, truncate(tab, 0)), Position: "after E"}, nil},
	} {
		if d := cmp.Diff(step.want, told(t, r, m, &step.batch)); d != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, d)
		}
	}

	// Rows that have no record are not counted.
	b := replication.Batch{Changes: inTx("F", 0, bad, new1(), bad), Position: "after F"}
	var got []string
	for len(b.Changes) > 0 {
		var out mapping.Records
		err := m.Map(t.Context(), &b, &out)
		got = append(got, tell(t, r, &out)...)
		row, ok := errors.AsType[*mapping.RowError](err)
		if !ok {
			t.Fatal(err)
		}
		b.Changes = b.Changes[row.Index+1:]
	}
	got = append(got, told(t, r, m, &b)...)
	if d := cmp.Diff([]string{"BEGIN F:15", "c F:15 1 1", "END F:15 1 public.orders=1"}, got); d != "" {
		t.Errorf("rows without records (-want +got):\n%s", d)
	}

	topics, err := mapping.Topics(cfg)
	if err != nil || len(topics) != 1 || topics[0].Name != "shop.transaction" || topics[0].Keyed {
		t.Errorf("topics %+v, %v", topics, err)
	}
	cfg.Tables = []mapping.TableConfig{{Schema: "public", Name: "orders", Topic: "transaction"}}
	if _, err := mapping.New(cfg); err == nil || !strings.Contains(err.Error(), "transaction") {
		t.Errorf("a table's topic is that of transactions: %v", err)
	}
}

// TestDebeziumTransactionsDoNotAllocate in the steady state.
func TestDebeziumTransactionsDoNotAllocate(t *testing.T) {
	cfg := transactionsConfig()
	cfg.Registry = &registry{}
	m, b := newMapper(t, cfg), debeziumBatch()
	for i := range b.Changes {
		b.Changes[i].Tx = &replication.Transaction{ID: fmt.Append(nil, i/3), Commit: fmt.Appendf(nil, "0/%X", i/3)}
	}
	var out mapping.Records
	one := func() {
		out.Reset()
		if err := m.Map(t.Context(), b, &out); err != nil {
			t.Fatal(err)
		}
	}
	one()
	one()
	if n := testing.AllocsPerRun(20, one); n > 10 {
		t.Errorf("%v allocations for %d rows", n, len(b.Changes))
	}
}

func message(prefix, content string, transactional bool) replication.Change {
	return replication.Change{Op: replication.OpMessage, Message: &replication.Message{Prefix: []byte(prefix), Content: []byte(content), Transactional: transactional}}
}

// TestDebeziumMessages: of a transaction and of none; one of none may come
// between the parts of a transaction.
func TestDebeziumMessages(t *testing.T) {
	cfg := transactionsConfig()
	cfg.Debezium.Messages = true
	r := &registry{}
	cfg.Registry = r
	m := newMapper(t, cfg)
	tab := orders()
	b := &replication.Batch{Changes: slices.Concat(
		inTx("A", 0, insert(tab, 0, num(1), str("b"), str("north")), message("p", "content", true)),
		inTx("", 0, message("", "", false)),
		inTx("A", 2, message("p", "\xff", true)),
	)}
	var out mapping.Records
	if err := m.Map(t.Context(), b, &out); err != nil {
		t.Fatal(err)
	}
	want := []string{"BEGIN A:10", "c A:10 1 1", "m A:10 2 1", "m", "m A:10 3 2", "END A:10 3 public.orders=1 message=2"}
	if d := cmp.Diff(want, tell(t, r, &out)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	var got []any
	for _, rec := range out.List {
		if rec.Topic != "shop.message" {
			continue
		}
		v := r.decode(t, rec.Value)
		source := v["source"].(map[string]any)
		got = append(got, r.decode(t, rec.Key)["prefix"], v["message"], source["txId"], source["lsn"], rec.Describe(rec.Key))
		if string(rec.Headers[0].Value) != "message" || rec.Table == nil {
			t.Errorf("headers %s, table %v", rec.Headers, rec.Table)
		}
	}
	wantMessages := []any{
		"p",
		map[string]any{"prefix": "p", "content": []byte("content")},
		nil, int64(10), "prefix='p'",
		"",
		map[string]any{"prefix": "", "content": []byte{}},
		nil, int64(0), "prefix=''",
		"p",
		map[string]any{"prefix": "p", "content": []byte("\xff")},
		nil, int64(10), "prefix='p'",
	}
	if d := cmp.Diff(wantMessages, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	// One that is refused, and may be put aside, is none of its transaction's events.
	bad := message("\xff", "", true)
	refused := &replication.Batch{Changes: inTx("C", 0, bad, message("p", "x", true), bad, insert(tab, 0, num(1), str("b"), str("north")))}
	out.Reset()
	for {
		err := m.Map(t.Context(), refused, &out)
		row, ok := errors.AsType[*mapping.RowError](err)
		if !ok {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		refused.Changes = refused.Changes[row.Index+1:]
	}
	want = []string{"BEGIN C:12", "m C:12 1 1", "c C:12 2 1", "END C:12 2 message=1 public.orders=1"}
	if d := cmp.Diff(want, tell(t, r, &out)); d != "" {
		t.Errorf("after refusals (-want +got):\n%s", d)
	}
	cfg.Registry = nil
	if err := mapError(t, cfg, inTx("B", 0, bad)...); !strings.Contains(err.Error(), "UTF-8") {
		t.Error(err)
	}
	cfg.Debezium.TransactionTopic = "message"
	if _, err := mapping.New(cfg); err == nil {
		t.Error("one topic for transactions and messages")
	}
}
