package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pglogrepl"

	"cdc/replication"
)

func TestPosition(t *testing.T) {
	for _, test := range []struct {
		text string
		want position
	}{
		{`{"lsn":"0/16B3748"}`, position{LSN: 0x16B3748, Tables: map[string]pglogrepl.LSN{}}},
		{
			`{"lsn":"16/B374D848","tables":{"public.orders":"0/16B0000"}}`,
			position{LSN: 0x16B374D848, Tables: map[string]pglogrepl.LSN{"public.orders": 0x16B0000}},
		},
		{
			`{"lsn":"0/1","timeline":"7406531893456214/3","tables":{"public.a":"0/2","public.b":"0/3"},"oids":{"public.a":16384}}`,
			position{LSN: 1, Timeline: timeline{"7406531893456214", 3}, Tables: map[string]pglogrepl.LSN{"public.a": 2, "public.b": 3}, OIDs: map[string]uint32{"public.a": 16384}},
		},
		{
			`{"lsn":"0/1","tables":{"\"a.b\".c":"0/2","a.\"b.\"\"c\"":"0/3","ä.ö":"0/4"}}`,
			position{LSN: 1, Tables: map[string]pglogrepl.LSN{tableKey("a.b", "c"): 2, tableKey("a", `b."c`): 3, "ä.ö": 4}},
		},
	} {
		got, err := parsePosition(replication.Position(test.text))
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.text, diff)
		}
		again, err := parsePosition(got.text())
		if err != nil || !cmp.Equal(got, again) || again.text() != got.text() {
			t.Errorf("%s came back as %s (%v)", test.text, got.text(), err)
		}
	}
	for _, bad := range []replication.Position{"", "x", "{}", `{"lsn":""}`, `{"lsn":"0/x"}`, `{"lsn":"0/1","tables":{"a.b":"?"}}`, `{"lsn":5}`} {
		if pos, err := parsePosition(bad); err == nil {
			t.Errorf("%q is read as %v", bad, pos)
		}
	}
	if tableKey("a.b", "c") == tableKey("a", "b.c") {
		t.Error("two tables share a key")
	}
}
