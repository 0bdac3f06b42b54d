package postgres

import (
	"strings"
	"testing"

	"cdc/replication"
)

func TestReached(t *testing.T) {
	const p = replication.Position(`{"lsn":"1/20","tables":{"public.outbox":"0/5","public.old":"0/5","\"a.b\".c":"0/5"},"oids":{"public.outbox":7,"\"a.b\".c":7}}`)
	for _, tt := range []struct {
		p                  replication.Position
		lsn, schema, table string
		want               bool
	}{
		{p, "1/20", "public", "outbox", true},
		{p, "0/FFFFFFFF", "public", "outbox", true},
		{p, "1/21", "public", "outbox", false},
		{p, "1/20", "public", "other", false}, // its snapshot is not complete
		{p, "1/20", "public", "old", false},   // which table it was is not known
		{p, "1/20", "a.b", "c", true},
		{"", "0/0", "public", "outbox", false},
	} {
		if got, err := Reached(tt.p, tt.lsn+" 7", tt.schema, tt.table); got != tt.want || err != nil {
			t.Errorf("%s in %s.%s: %v, %v", tt.lsn, tt.schema, tt.table, got, err)
		}
	}
	if got, err := Reached(p, "1/20 8", "public", "outbox"); got || err == nil || !strings.Contains(err.Error(), "made anew") {
		t.Errorf("another table of the same name: %v, %v", got, err)
	}
	if _, err := Reached(p, "1/20", "public", "outbox"); err == nil {
		t.Error("a mark without a table")
	}
	if _, err := Reached("{", "0/0 7", "a", "b"); err == nil {
		t.Error("a position that is none")
	}
	if _, err := Reached(p, "x", "a", "b"); err == nil {
		t.Error("a log position that is none")
	}
}
