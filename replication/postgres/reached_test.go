package postgres

import (
	"testing"

	"cdc/replication"
)

func TestReached(t *testing.T) {
	const p = replication.Position(`{"lsn":"1/20","tables":{"public.outbox":"0/5","\"a.b\".c":"0/5"}}`)
	for _, tt := range []struct {
		p                  replication.Position
		lsn, schema, table string
		want               bool
	}{
		{p, "1/20", "public", "outbox", true},
		{p, "0/FFFFFFFF", "public", "outbox", true},
		{p, "1/21", "public", "outbox", false},
		{p, "1/20", "public", "other", false}, // its snapshot is not complete
		{p, "1/20", "a.b", "c", true},
		{"", "0/0", "public", "outbox", false},
	} {
		if got, err := Reached(tt.p, tt.lsn, tt.schema, tt.table); got != tt.want || err != nil {
			t.Errorf("%s in %s.%s: %v, %v", tt.lsn, tt.schema, tt.table, got, err)
		}
	}
	if _, err := Reached("{", "0/0", "a", "b"); err == nil {
		t.Error("a position that is none")
	}
	if _, err := Reached(p, "x", "a", "b"); err == nil {
		t.Error("a log position that is none")
	}
}
