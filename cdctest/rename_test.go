package cdctest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"cdc/internal/servicetest"
	"cdc/outbox"
	"cdc/outbox/route"
	"cdc/replication"
)

// ending is a TB for a capture that is to end by itself.
type ending struct{ testing.TB }

func (ending) Errorf(string, ...any) {}

// An outbox that is renamed while the capture runs is no ordinary table.
func TestRenamedOutbox(t *testing.T) {
	url := servicetest.Postgres(t)
	db := connect(t, url)
	ddl, err := outbox.DDL{}.SQL()
	if err != nil {
		t.Fatal(err)
	}
	exec(t, db, ddl)
	c := Start(t).Capture(ending{t}, Source{Postgres: url, Outboxes: []route.Outbox{{Schema: "public", Table: "outbox"}}})
	exec(t, db, `INSERT INTO outbox (topic, payload) VALUES ('orders', '1')`)
	c.HaveSent(t, "orders", "1")
	exec(t, db, `ALTER TABLE outbox RENAME TO outbox_old`)
	exec(t, db, `INSERT INTO outbox_old (topic, payload) VALUES ('orders', '2')`)
	select {
	case err = <-c.result:
		c.result <- err
	case <-time.After(patience):
		t.Fatal("the capture goes on")
	}
	refusal, ok := errors.AsType[*replication.Refusal](err)
	if !ok || !strings.Contains(refusal.Problem, "outbox table public.outbox is called public.outbox_old now") || !strings.Contains(refusal.Remedy, "rename it back to public.outbox") {
		t.Errorf("capture ended: %v", err)
	}
}
