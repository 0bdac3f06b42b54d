package postgres

import (
	"strings"
	"testing"

	"cdc/replication"
)

// TestSyncStandby: a server for which every walsender is a synchronous standby
// counts this program as one.
func TestSyncStandby(t *testing.T) {
	for names, warned := range map[string]bool{"": false, "FIRST 1 (a, b)": false, "*": true, "ANY 1 (a, *)": true} {
		i := inspection{server: serverInfo{Version: 150000, WALLevel: "logical", SyncStandbys: names}}
		if !i.judgeServer() {
			t.Errorf("%q: refused", names)
		}
		f := i.findings[0]
		if got := f.Level == replication.LevelWarning && strings.Contains(f.Problem, "'"+names+"'") && strings.Contains(f.Remedy, "FIRST 1"); got != warned {
			t.Errorf("%q: %+v", names, f)
		}
	}
}
