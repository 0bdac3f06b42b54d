package route

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/mapping"
	"cdc/replication"
)

// openMapper notes how many changes it gets, and whether their transaction goes on.
type openMapper struct{ calls []string }

func (m *openMapper) Map(_ context.Context, b *replication.Batch, _ *mapping.Records) error {
	m.calls = append(m.calls, fmt.Sprintf("%d %t", len(b.Changes), b.Open))
	return nil
}

// TestOpen: the mapper of rows learns that a transaction is over with the batch
// that tells it, also when the changes between are an outbox's.
func TestOpen(t *testing.T) {
	rows := table("rows", column("id", replication.KindInt))
	in := func(id string, kinds string) (changes []replication.Change) {
		tx := &replication.Transaction{ID: []byte(id), Commit: []byte(id)}
		for _, k := range kinds {
			c := replication.Change{Op: replication.OpDelete, Table: rows, Tx: tx}
			if k == 'o' {
				c.Table = columnsTable // whose deletes are no messages
			}
			changes = append(changes, c)
		}
		return changes
	}
	for _, c := range []struct {
		name    string
		batches []replication.Batch
		want    []string
	}{
		{"rows, a message, rows", []replication.Batch{{Changes: in("A", "ror")}}, []string{"1 true", "1 false"}},
		{"a message last", []replication.Batch{{Changes: in("A", "ro")}}, []string{"1 true", "0 false"}},
		{"a message last, and more to come", []replication.Batch{{Changes: in("A", "ro"), Open: true}, {Changes: in("A", "o")}}, []string{"1 true", "0 false"}},
		{"another transaction's message", []replication.Batch{{Changes: append(in("A", "r"), in("B", "o")...), Open: true}}, []string{"1 true", "0 false"}},
		{"another's in the next batch", []replication.Batch{{Changes: in("A", "r"), Open: true}, {Changes: in("B", "o"), Open: true, Position: "A"}}, []string{"1 true", "0 false"}},
		{"the end alone", []replication.Batch{{Changes: in("A", "r"), Open: true}, {Position: "A"}}, []string{"1 true", "0 false"}},
		{"messages alone", []replication.Batch{{Changes: in("A", "oo"), Open: true}, {Position: "A"}}, nil},
	} {
		inner := &openMapper{}
		m, err := New(Config{Outboxes: []Outbox{{Schema: "public", Table: "outbox"}}, Inner: inner})
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.batches {
			var out mapping.Records
			if err := m.Map(t.Context(), &c.batches[i], &out); err != nil {
				t.Fatal(err)
			}
		}
		if d := cmp.Diff(c.want, inner.calls); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}
