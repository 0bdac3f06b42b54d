package postgres

import (
	"strings"
	"testing"

	"cdc/replication"
)

// TestCheckExplainsIdentity: for each replica identity what it gives and what it
// does not, and a statement that can be run as it stands.
func TestCheckExplainsIdentity(t *testing.T) {
	for _, tt := range []struct {
		name, setup string
		toast       Toast
		level       replication.Level
		want        []string // in the finding of the table
		mend        string   // the statement in it, which is run; then nothing is wrong
	}{
		{
			"default", `CREATE TABLE t (id int PRIMARY KEY, big text, doc jsonb, n int)`, "", replication.LevelOK,
			[]string{"replica identity DEFAULT (id)", "deletes have the key", "large values of big, doc", "read from the table again"},
			`ALTER TABLE "public"."t" REPLICA IDENTITY FULL`,
		},
		{"default, omit", `CREATE TABLE t (id text PRIMARY KEY, big text)`, ToastOmit, replication.LevelOK, []string{"large values of big that", "toast: omit"}, ""},
		{"default, fail", `CREATE TABLE t (id text PRIMARY KEY, big text)`, ToastFail, replication.LevelOK, []string{"large values of big that", "toast: fail"}, ""},
		{"nothing large", `CREATE TABLE t (id int PRIMARY KEY, n int, s text); ALTER TABLE t ALTER s SET STORAGE PLAIN`, "", replication.LevelOK, []string{"no column of it is large"}, ""},
		{
			"full", `CREATE TABLE t (id int PRIMARY KEY, big text); ALTER TABLE t REPLICA IDENTITY FULL`, "", replication.LevelOK,
			[]string{"replica identity FULL", "the whole old row", "costs the log"},
			`ALTER TABLE "public"."t" REPLICA IDENTITY DEFAULT`,
		},
		{
			"index", `CREATE TABLE t (a int NOT NULL UNIQUE, b int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY USING INDEX t_pkey`, "", replication.LevelOK,
			[]string{"replica identity USING INDEX (b)", "deletes have the key"},
			`ALTER TABLE "public"."t" REPLICA IDENTITY FULL`,
		},
		{
			"nothing", `CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY NOTHING`, "", replication.LevelError,
			[]string{"has REPLICA IDENTITY NOTHING", "would not tell which row"},
			`ALTER TABLE "public"."t" REPLICA IDENTITY DEFAULT`,
		},
		{
			"no primary key, an index that would do", `CREATE TABLE t (a int NOT NULL, b int, c int); CREATE UNIQUE INDEX no1 ON t (b); CREATE UNIQUE INDEX no2 ON t (a) WHERE b > 0;
				CREATE UNIQUE INDEX no3 ON t ((a + 1)); ALTER TABLE t ADD CONSTRAINT no4 UNIQUE (a) DEFERRABLE; CREATE UNIQUE INDEX "Yes" ON t (a)`, "", replication.LevelError,
			[]string{"no primary key", `REPLICA IDENTITY USING INDEX "Yes"`},
			"",
		},
		{
			"uneven partitions", `CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (9); ALTER TABLE t1 REPLICA IDENTITY FULL`,
			"", replication.LevelError,
			[]string{"partitions with another replica identity"},
			`ALTER TABLE t1 REPLICA IDENTITY DEFAULT`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newTestDB(t)
			d.exec(tt.setup)
			cfg := d.config("public.t")
			cfg.Tables[0].Toast = tt.toast
			found := func() (level replication.Level, text string) {
				for _, f := range Check(testContext(t), cfg) {
					if f.Subject == "source: table public.t" {
						level, text = max(level, f.Level), text+f.Problem+"\n"+f.Remedy+"\n"
					}
				}
				return level, text
			}
			level, text := found()
			if level != tt.level {
				t.Errorf("level %s, want %s", level, tt.level)
			}
			for _, want := range append(tt.want, tt.mend) {
				if !strings.Contains(text, want) {
					t.Errorf("it lacks %q: %s", want, text)
				}
			}
			if tt.mend == "" {
				return
			}
			d.exec(tt.mend)
			if level, text := found(); level != replication.LevelOK {
				t.Errorf("after %s: %s", tt.mend, text)
			}
		})
	}
}
