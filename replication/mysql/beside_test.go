package mysql

import (
	"testing"

	"cdc/replication"
)

func TestReached(t *testing.T) {
	const (
		gtid  = replication.Position(`{"gtid_set":"3e11fa47-71ca-11e1-9e33-c80aa9429562:1-77","tables":{"app.outbox":"done","app.begun":"begun"}}`)
		maria = replication.Position(`{"gtid_pos":"0-1-77","tables":{"app.outbox":"done"}}`)
		file  = replication.Position(`{"file":"binlog.000007:4711","server":"s","tables":{"app.outbox":"done"}}`)
	)
	for _, tt := range []struct {
		p          replication.Position
		end, table string
		want       bool
	}{
		{gtid, "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-77", "outbox", true},
		{gtid, "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-78", "outbox", false},
		{gtid, "3e11fa47-71ca-11e1-9e33-c80aa9429562:5", "begun", false}, // its snapshot is not complete
		{gtid, "3e11fa47-71ca-11e1-9e33-c80aa9429562:5", "other", false},
		{maria, "0-1-76", "outbox", true},
		{maria, "0-1-76,1-1-1", "outbox", false},
		{file, "binlog.000007:4711", "outbox", true},
		{file, "binlog.000008:4", "outbox", false},
		{"", "0-1-76", "outbox", false},
	} {
		if got, err := Reached(tt.p, tt.end, "app", tt.table); got != tt.want || err != nil {
			t.Errorf("%s at %s, table %s: %v, %v", tt.end, tt.p, tt.table, got, err)
		}
	}
	if _, err := Reached(gtid, "0-1-76", "app", "outbox"); err == nil {
		t.Error("an end of the log in another form")
	}
}
