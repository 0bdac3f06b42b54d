package mysql

import (
	"testing"

	"cdc/replication"
)

func TestStartAt(t *testing.T) {
	const uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
	for _, c := range []struct {
		flavor Flavor
		text   string
		want   replication.Position // "" is an error
	}{
		{MySQL, uuid + ":1-77", `{"gtid_set":"` + uuid + `:1-77"}`},
		{MySQL, uuid + ":1-77:80,\n4e11fa47-71ca-11e1-9e33-c80aa9429562:5", `{"gtid_set":"` + uuid + `:1-77:80,4e11fa47-71ca-11e1-9e33-c80aa9429562:5"}`},
		{MySQL, "binlog.000007:4711", `{"file":"binlog.000007:4711","server":""}`},
		{MySQL, "0-1-77", ""},
		{MySQL, "binlog.000007", ""},
		{MariaDB, "0-1-77,1-2-5", `{"gtid_pos":"0-1-77,1-2-5"}`},
		{MariaDB, "binlog.000007:4711", ""},
		{MariaDB, uuid + ":1-77", ""},
	} {
		got, err := startAt(c.flavor, c.text)
		if got != c.want || (err == nil) != (c.want != "") || err != nil && !replication.IsRefusal(err) {
			t.Errorf("%s, %q: %s, %v; want %s", c.flavor, c.text, got, err, c.want)
		}
		if err == nil {
			if _, err := parsePosition(got); err != nil {
				t.Errorf("%s: %v", got, err)
			}
		}
	}
}
