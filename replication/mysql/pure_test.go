package mysql

import (
	"testing"

	"cdc/replication"
)

func TestGTIDSet(t *testing.T) {
	t.Parallel()
	const a, b = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "4e11fa47-71ca-11e1-9e33-c80aa9429562"
	for _, text := range []string{"", a + ":1", a + ":1-5:7-9", a + ":1-5," + b + ":3", a + ":1-5:tag:1-2:4:zzz:9", a + ":tag:1"} {
		s, err := parseGTIDSet(text)
		if err != nil || s.String() != text {
			t.Errorf("%q reads as %q, %v", text, s.String(), err)
		}
	}
	for in, want := range map[string]string{
		a + ":5-7:1-3:4": a + ":1-7", " " + a + ":1 ,\n" + a + ":2": a + ":1-2", "3E11FA47-71CA-11E1-9E33-C80AA9429562:2-2": a + ":2",
		a + ":1-10:5-20:30": a + ":1-20:30",
	} {
		s, err := parseGTIDSet(in)
		if err != nil || s.String() != want {
			t.Errorf("%q reads as %q, %v; want %q", in, s.String(), err, want)
		}
	}
	for _, bad := range []string{"x", a, a + ":0", a + ":3-1", a + ":1-x", a + "::1", "zz:1"} {
		if s, err := parseGTIDSet(bad); err == nil {
			t.Errorf("%q reads as %q", bad, s.String())
		}
	}
	s, _ := parseGTIDSet(a + ":1-5:8")
	var src gtidSource
	for k := range s.parts {
		src = k
	}
	for _, gno := range []int64{7, 6, 10, 9, 11, 3} {
		s.add(src, gno)
	}
	if s.String() != a+":1-11" {
		t.Errorf("after adding: %s", s.String())
	}
	if !s.contains(src, 11) || s.contains(src, 12) || s.contains(gtidSource{}, 1) {
		t.Error("contains is wrong")
	}
	part, _ := parseGTIDSet(a + ":2-3:5")
	if !s.covers(&part) || part.covers(&s) {
		t.Error("covers is wrong")
	}
	c := s.clone()
	c.add(src, 12)
	if s.contains(src, 12) {
		t.Error("a clone shares its memory")
	}
}

func TestMariaSet(t *testing.T) {
	t.Parallel()
	s, err := parseMariaSet("1-2-300,0-1-77")
	if err != nil || s.String() != "0-1-77,1-2-300" {
		t.Fatalf("%s, %v", s, err)
	}
	for text, want := range map[string]bool{"": true, "0-9-77": true, "0-1-78": false, "2-1-1": false} {
		u, err := parseMariaSet(text)
		if err != nil || s.covers(u) != want {
			t.Errorf("covers %q: %v, %v", text, s.covers(u), err)
		}
	}
	for _, bad := range []string{"1", "1-2", "a-b-c", "1-2-3-4", "-1-1-1"} {
		if _, err := parseMariaSet(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestPosition(t *testing.T) {
	t.Parallel()
	for _, text := range []replication.Position{
		`{"gtid_set":"3e11fa47-71ca-11e1-9e33-c80aa9429562:1-77","tables":{"app.orders":"done","app.x":"begun","app.y":"done at 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-90"}}`,
		"{\"gtid_pos\":\"0-1-77\",\"tables\":{\"`a.b`.c\":\"done at 0-1-99\"}}",
		`{"file":"binlog.000007:4711","server":"uuid","tables":{"app.orders":"done at binlog.000007:5000"}}`,
		`{"gtid_set":""}`,
		`{"gtid_set":"3e11fa47-71ca-11e1-9e33-c80aa9429562:1-77","seen":"3e11fa47-71ca-11e1-9e33-c80aa9429562/binlog.000007:4480:0f86d081"}`,
		`{"gtid_pos":"0-1-77","seen":"1/binlog.000007:4480:9f86d081","xa":"?;x'61',x'',1 0-1-70 0-1-69,1-2-300;x'62',x'00ff',-1 0-1-71 0-1-70","tables":{"app.a":"done"}}`,
		`{"file":"binlog.000007:4711","server":"uuid","xa":"x'61',x'',1 binlog.000006:4"}`,
		`{"gtid_pos":"0-1-77","tables":{"app.a":"begun to 4711","app.b":"begun to -1,18446744073709551615","app.c":"begun to nothing"}}`,
		`{"gtid_pos":"0-1-77","tables":{"app.a":"begun to 4711,-3 of 9f86d081884c7d65"}}`,
	} {
		p, err := parsePosition(text)
		if err != nil || p.text() != text {
			t.Errorf("%s reads as %s, %v", text, p.text(), err)
		}
	}
	for _, bad := range []replication.Position{
		"", "{}", `{"lsn":"0/1"}`, `{"file":"x"}`, `{"gtid_set":"x"}`, `{"gtid_pos":"0-1-1","tables":{"a":"what"}}`,
		`{"gtid_pos":"0-1-1","seen":"x"}`, `{"gtid_pos":"0-1-1","seen":"1/x:4:zz"}`, `{"gtid_pos":"0-1-1","xa":"a 0-1-1"}`, `{"gtid_pos":"0-1-1","xa":"x'6',x'',1 0-1-1"}`,
		`{"gtid_pos":"0-1-1","tables":{"a":"begun to 1)"}}`, `{"gtid_pos":"0-1-1","tables":{"a":"begun to "}}`,
		`{"gtid_pos":"0-1-1","tables":{"a":"begun to 1) of 9f"}}`, `{"gtid_pos":"0-1-1","tables":{"a":"begun to 1 of \"x"}}`,
	} {
		if _, err := parsePosition(bad); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func TestCompareFiles(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{{"bin.000001", "bin.000002", -1}, {"bin.999999", "bin.1000000", -1}, {"bin.000010", "bin.000009", 1}, {"bin.000010", "bin.000010", 0}} {
		if got := compareFiles(c.a, c.b); got < 0 != (c.want < 0) || got > 0 != (c.want > 0) {
			t.Errorf("%s and %s: %d", c.a, c.b, got)
		}
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]struct {
		kind         statementKind
		schema, name string
	}{
		"TRUNCATE TABLE t":                           {truncateStatement, "db", "t"},
		"truncate `a.b`.`c``d` /* generated */":      {truncateStatement, "a.b", "c`d"},
		"/* why */ TRUNCATE\n\tTABLE -- x\n other.t": {truncateStatement, "other", "t"},
		"TRUNCATE TABLE t WAIT 5":                    {truncateStatement, "db", "t"},
		"begin":                                      {beginStatement, "", ""},
		"ROLLBACK TO `sp`":                           {rollbackToStatement, "", ""},
		"rollback":                                   {rollbackStatement, "", ""},
		"XA START X'61',X'',1":                       {xaStartStatement, "", ""},
		"XA COMMIT X'61',X'',1":                      {xaCommitStatement, "", ""},
		"INSERT INTO t VALUES (1)":                   {rowStatement, "", ""},
		"/*!50100 UPDATE t SET a = 1 */":             {rowStatement, "", ""},
		"DROP TABLE IF EXISTS x.`y` /* c */":         {dropStatement, "x", "y"},
		"ALTER TABLE t ADD truncate INT":             {otherStatement, "", ""},
		"ALTER TABLE x.t DROP PARTITION p0, p1":      {dropRowsStatement, "x", "t"},
		"ALTER TABLE t ALGORITHM = INPLACE, LOCK=NONE, TRUNCATE PARTITION ALL":         {dropRowsStatement, "db", "t"},
		"alter table `t` /* c */ exchange partition p with table u":                    {alterRowsStatement, "db", "t"},
		"ALTER TABLE t CONVERT PARTITION p TO TABLE u":                                 {alterRowsStatement, "db", "t"},
		"ALTER TABLE t DISCARD TABLESPACE":                                             {dropRowsStatement, "db", "t"},
		"ALTER ONLINE TABLE IF EXISTS t NOWAIT IMPORT PARTITION p TABLESPACE":          {alterRowsStatement, "db", "t"},
		"rename table t to u, x.y to t":                                                {renameStatement, "", ""},
		"ALTER TABLE t ADD c INT, RENAME u":                                            {renameStatement, "", ""},
		"ALTER TABLE t CONVERT TABLE u TO PARTITION p DEFAULT":                         {alterRowsStatement, "db", "t"},
		"ALTER TABLE t DROP COLUMN c, COMMENT 'DROP PARTITION'":                        {otherStatement, "", ""},
		"ALTER TABLE t DROP `partition`":                                               {otherStatement, "", ""},
		"ALTER TABLE t REORGANIZE PARTITION p INTO (PARTITION q VALUES LESS THAN (9))": {otherStatement, "", ""},
		"ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4":                               {otherStatement, "", ""},
		"":                       {otherStatement, "", ""},
		"`":                      {otherStatement, "", ""},
		"GRANT SELECT ON x TO y": {otherStatement, "", ""},
	} {
		if kind, schema, name := classify(sql, "db"); kind != want.kind || schema != want.schema || name != want.name {
			t.Errorf("%q: %d %q %q, want %+v", sql, kind, schema, name, want)
		}
	}
	if !mentions("update `orders` set", "orders") || mentions("update orders_old set", "orders") || !mentions("x.ORDERS", "orders") {
		t.Error("mentions is wrong")
	}
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	a, err := parseURL("mysql://us%40er:p%3Aw@h1:3307,h2,[::1]:1/db?tls=false", nil)
	if err != nil || a.user != "us@er" || a.password != "p:w" || a.database != "db" || a.tls != nil {
		t.Fatalf("%+v, %v", a, err)
	}
	if len(a.hosts) != 3 || a.hosts[0] != "h1:3307" || a.hosts[1] != "h2:3306" || a.hosts[2] != "[::1]:1" {
		t.Errorf("hosts %q", a.hosts)
	}
	for _, bad := range []string{"", "postgres://x", "mysql://u:p@h/?nosuch=1", "mysql://u:p@h/?tls=maybe", "mysql://u:%zz@h/"} {
		if _, err := parseURL(bad, nil); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// The days are those of the server (MySQL manual, TO_DAYS), less 719528.
func TestDays(t *testing.T) {
	t.Parallel()
	for date, want := range map[clock]int64{
		{year: 1970, month: 1, day: 1}: 0, {year: 1969, month: 12, day: 31}: -1, {year: 2000, month: 2, day: 29}: 11016,
		{year: 1000, month: 1, day: 1}: -354285, {year: 9999, month: 12, day: 31}: 2932896, {year: 0, month: 3, day: 1}: -719468,
	} {
		if got := days(date.year, date.month, date.day); got != want {
			t.Errorf("%v is day %d, want %d", date, got, want)
		}
		if back := clockAt(want * 86400); back != date {
			t.Errorf("day %d is %v, want %v", want, back, date)
		}
	}
	for _, bad := range []clock{{}, {year: 2026}, {year: 2026, month: 2}, {year: 2026, month: 2, day: 30}, {year: 2026, month: 13, day: 1}, {year: 1900, month: 2, day: 29}} {
		if bad.valid() {
			t.Errorf("%v is a date", bad)
		}
	}
}
