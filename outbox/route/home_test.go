package route

import (
	"context"
	"testing"

	"cdc/mapping"
	"cdc/replication"
)

type noRows struct{ *testing.T }

func (m noRows) Map(_ context.Context, b *replication.Batch, _ *mapping.Records) error {
	if len(b.Changes) > 0 {
		m.Errorf("%s: %d messages are published as rows of an ordinary table", b.Changes[0].Table, len(b.Changes))
	}
	return nil
}

// TestHome: an outbox that has another name at this place of the log than in the
// configuration stays one, before and after rows under the configured name.
func TestHome(t *testing.T) {
	m, err := New(Config{Outboxes: []Outbox{{Schema: "public", Table: "outbox"}}, Inner: noRows{t}})
	if err != nil {
		t.Fatal(err)
	}
	before, after := *columnsTable, *columnsTable
	before.Name, before.Home = "outbox_before", replication.TableName{Schema: "public", Name: "outbox"}
	for _, table := range []*replication.Table{&before, &after} {
		tx := &replication.Transaction{ID: []byte("1"), Commit: []byte("0/1")}
		b := replication.Batch{Changes: []replication.Change{{Op: replication.OpDelete, Table: table, Tx: tx}}}
		var out mapping.Records
		if err := m.Map(t.Context(), &b, &out); err != nil {
			t.Fatal(err)
		}
	}
}
