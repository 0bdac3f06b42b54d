package postgres

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/secret"
)

// role makes a role that may log in, and returns its name and its URL of d. It
// is dropped with all it owns when the test ends.
func (d *testDB) role(attributes string) (name, roleURL string) {
	d.t.Helper()
	name = servicetest.Name(d.t, "r")
	d.exec(`CREATE ROLE ` + name + ` LOGIN PASSWORD 'pw' ` + attributes)
	d.t.Cleanup(func() {
		d.exec(`REASSIGN OWNED BY ` + name + ` TO CURRENT_USER`)
		d.exec(`DROP OWNED BY ` + name)
		d.exec(`DROP ROLE ` + name)
	})
	u, err := url.Parse(d.url)
	if err != nil {
		d.t.Fatal(err)
	}
	u.User = url.UserPassword(name, "pw")
	return name, u.String()
}

// wantRefusal opens cfg and expects a refusal whose problem and remedy hold
// these texts, in a problem and its own remedy.
func wantRefusal(t *testing.T, cfg Config, problem, remedy string) {
	t.Helper()
	s, err := Open(testContext(t), cfg)
	if err == nil {
		s.Close(context.Background())
		t.Fatalf("Open did not refuse; want %q", problem)
	}
	if !replication.IsRefusal(err) {
		t.Fatalf("Open failed without a refusal: %v", err)
	}
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	for _, err := range all {
		r, ok := errors.AsType[*replication.Refusal](err)
		if ok && strings.Contains(r.Problem, problem) && strings.Contains(r.Remedy, remedy) {
			return
		}
	}
	t.Fatalf("Open refused with\n%v\nwant the problem %q\nwith the remedy %q", err, problem, remedy)
}

// made says which of slot and publication exist.
func (d *testDB) made(cfg Config) string {
	d.t.Helper()
	return d.text(`SELECT concat_ws(',', (SELECT 'slot' FROM pg_replication_slots WHERE slot_name = $1),
		(SELECT 'publication' FROM pg_publication WHERE pubname = $2))`, cfg.Slot, cfg.Publication)
}

// TestRefuseTable covers what is wrong with a table. Nothing may have been made
// then: a table without an identity in a publication would break the
// application's updates.
func TestRefuseTable(t *testing.T) {
	d := newTestDB(t)
	for _, test := range []struct {
		name            string
		setup           string
		edit            func(*TableConfig)
		problem, remedy string
	}{
		{
			name: "missing", setup: `SELECT`,
			problem: `table public.t does not exist`, remedy: `ILIKE 't'`,
		},
		{
			name: "view", setup: `CREATE VIEW t AS SELECT 1 AS id`,
			problem: `table public.t is a view`, remedy: `the tables that the view reads`,
		},
		{
			name: "materialized view", setup: `CREATE MATERIALIZED VIEW t AS SELECT 1 AS id`,
			problem: `table public.t is a materialized view`, remedy: `the tables that the view reads`,
		},
		{
			name: "foreign", setup: `CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE t (id int) SERVER s`,
			problem: `table public.t is a foreign table`, remedy: `capture it on the server that owns it`,
		},
		{
			name: "sequence", setup: `CREATE SEQUENCE t`,
			problem: `table public.t is not a table`, remedy: `remove it from the configuration`,
		},
		{
			name: "unlogged", setup: `CREATE UNLOGGED TABLE t (id int PRIMARY KEY)`,
			problem: `table public.t is an unlogged table`, remedy: `ALTER TABLE "public"."t" SET LOGGED`,
		},
		{
			name: "system", setup: `SELECT`, edit: func(t *TableConfig) { t.Schema, t.Name = "pg_catalog", "pg_class" },
			problem: `table pg_catalog.pg_class is a system table`, remedy: `remove it`,
		},
		{
			name: "no key", setup: `CREATE TABLE t (a int, b int)`,
			problem: `table public.t has no primary key and REPLICA IDENTITY DEFAULT`, remedy: `ALTER TABLE "public"."t" REPLICA IDENTITY FULL`,
		},
		{
			name: "no key, configured key", setup: `CREATE TABLE t (a int, b int)`, edit: func(t *TableConfig) { t.Key = []string{"a"} },
			problem: `table public.t has no primary key and REPLICA IDENTITY DEFAULT`, remedy: `ALTER TABLE "public"."t" REPLICA IDENTITY USING INDEX`,
		},
		{
			name: "deferrable key", setup: `CREATE TABLE t (a int PRIMARY KEY DEFERRABLE, b int)`,
			problem: `table public.t has no primary key and REPLICA IDENTITY DEFAULT`, remedy: `REPLICA IDENTITY FULL`,
		},
		{
			name: "identity nothing", setup: `CREATE TABLE t (a int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY NOTHING`,
			problem: `table public.t has REPLICA IDENTITY NOTHING`, remedy: `ALTER TABLE "public"."t" REPLICA IDENTITY DEFAULT`,
		},
		{
			name: "identity index gone", setup: `CREATE TABLE t (a int PRIMARY KEY, b int NOT NULL); CREATE UNIQUE INDEX i ON t (b);
			ALTER TABLE t REPLICA IDENTITY USING INDEX i; DROP INDEX i`,
			problem: `table public.t has REPLICA IDENTITY USING INDEX whose index is gone`, remedy: `ALTER TABLE "public"."t" REPLICA IDENTITY DEFAULT`,
		},
		{
			name: "full without a key", setup: `CREATE TABLE t (a int, b int); ALTER TABLE t REPLICA IDENTITY FULL`,
			problem: `table public.t has no primary key, so its records have no key`, remedy: `key: {field: […]}`,
		},
		{
			name: "unknown key column", setup: `CREATE TABLE t (a int PRIMARY KEY, b int)`, edit: func(t *TableConfig) { t.Key = []string{"c"} },
			problem: `table public.t has no column "c", which its configured key names`, remedy: `the table's columns are a, b`,
		},
		{
			name: "key outside the identity", setup: `CREATE TABLE t (a int PRIMARY KEY, b int)`, edit: func(t *TableConfig) { t.Key = []string{"b"} },
			problem: `table public.t has the column "b" of its configured key outside its replica identity (DEFAULT: a)`, remedy: `ALTER TABLE "public"."t" REPLICA IDENTITY FULL`,
		},
		{
			name: "primary key outside the identity", setup: `CREATE TABLE t (a int PRIMARY KEY, b int NOT NULL UNIQUE); ALTER TABLE t REPLICA IDENTITY USING INDEX t_b_key`,
			problem: `table public.t has the column "a" of its primary key outside its replica identity (USING INDEX: b)`, remedy: `ALTER TABLE "public"."t" REPLICA IDENTITY DEFAULT`,
		},
		{
			name: "generated key", setup: `CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a + 1) STORED PRIMARY KEY)`,
			problem: `table public.t has the generated column "b" in its primary key`, remedy: `configure a key`,
		},
		{
			name: "partitions differ", setup: `CREATE TABLE t (a int PRIMARY KEY) PARTITION BY HASH (a);
			CREATE TABLE t0 PARTITION OF t FOR VALUES WITH (MODULUS 1, REMAINDER 0); ALTER TABLE t0 REPLICA IDENTITY FULL`,
			problem: `table public.t has partitions with another replica identity`, remedy: `REPLICA IDENTITY DEFAULT`,
		},
		{
			name: "quoting", setup: `CREATE TABLE "T ""q""" (a int)`, edit: func(t *TableConfig) { t.Name = `T "q"` },
			problem: `table public.T "q" has no primary key`, remedy: `ALTER TABLE "public"."T ""q""" REPLICA IDENTITY FULL`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			schema := servicetest.Name(t, "schema")
			d.exec(`CREATE SCHEMA ` + schema)
			d.exec(`SET search_path = ` + schema)
			d.exec(test.setup)
			test.problem = strings.ReplaceAll(test.problem, "public", schema)
			test.remedy = strings.ReplaceAll(test.remedy, "public", schema)
			cfg := d.config(schema + ".t")
			if test.edit != nil {
				test.edit(&cfg.Tables[0])
			}
			wantRefusal(t, cfg, test.problem, test.remedy)
			if made := d.made(cfg); made != "" {
				t.Errorf("Open refused after it made %s", made)
			}
			findings := Check(testContext(t), cfg)
			wantFinding(t, findings, replication.LevelError, test.problem, test.remedy)
		})
	}
}

func wantFinding(t *testing.T, findings []replication.Finding, level replication.Level, problem, remedy string) {
	t.Helper()
	for _, f := range findings {
		if f.Level == level && strings.Contains(f.Problem, problem) && strings.Contains(f.Remedy, remedy) {
			return
		}
	}
	t.Errorf("no finding of level %s with %q and the remedy %q in %q", level, problem, remedy, findings)
}

func TestRefuseTwoOfOnePartitionTree(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (a int PRIMARY KEY) PARTITION BY HASH (a)`)
	d.exec(`CREATE TABLE t0 PARTITION OF t FOR VALUES WITH (MODULUS 1, REMAINDER 0)`)
	wantRefusal(t, d.config("public.t", "public.t0"), `table public.t0 is a partition of public.t, and both are configured`, `remove public.t0 or public.t`)
}

func TestRefuseAllAtOnce(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (a int)`)
	cfg := d.config("public.t", "public.gone")
	wantRefusal(t, cfg, `table public.t has no primary key`, ``)
	wantRefusal(t, cfg, `table public.gone does not exist`, ``)
}

func TestRefuseConfiguration(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (id int PRIMARY KEY)`)
	with := func(edit func(*Config)) Config {
		cfg := d.config("public.t")
		edit(&cfg)
		return cfg
	}
	wantRefusal(t, with(func(c *Config) { c.Slot = "No-Slot" }), `slot name "No-Slot" is not valid`, `lower case letters`)
	wantRefusal(t, with(func(c *Config) { c.Publication = "" }), `publication name "" is not valid`, `choose a name`)
	wantRefusal(t, with(func(c *Config) { c.Tables = nil }), `no table is configured`, `list the tables`)
	wantRefusal(t, with(func(c *Config) { c.Tables = append(c.Tables, c.Tables...) }), `table public.t is configured twice`, `remove one`)
	wantRefusal(t, with(func(c *Config) { c.Tables[0].Snapshot = "often" }), `snapshot mode "often" does not exist`, `initial or never`)
	wantRefusal(t, with(func(c *Config) { c.From = "what" }), `the saved checkpoint cannot be read`, `cdc drop`)
	wantRefusal(t, with(func(c *Config) { c.URL = secret.New("postgres://u:geheim@h:no/x") }), `postgres url cannot be used`, `sslmode=verify-full`)

	_, err := Open(testContext(t), with(func(c *Config) { c.URL = secret.New("postgres://u:geheim@h:no/x") }))
	if strings.Contains(err.Error(), "geheim") {
		t.Errorf("the error shows the password: %v", err)
	}
}

func TestRefuseConnect(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (id int PRIMARY KEY)`)
	name, roleURL := d.role("")
	d.exec(`GRANT SELECT ON t TO ` + name)
	d.exec(`CREATE PUBLICATION p FOR TABLE t`)
	cfg := d.config("public.t")
	cfg.Publication = "p"

	cfg.URL = secret.New(roleURL)
	wantRefusal(t, cfg, `role "`+name+`" lacks the attribute REPLICATION`, `ALTER ROLE "`+name+`" REPLICATION`)
	wantFinding(t, Check(testContext(t), cfg), replication.LevelError, `lacks the attribute REPLICATION`, `ALTER ROLE "`+name+`" REPLICATION`)

	cfg.URL = secret.New(strings.Replace(roleURL, ":pw@", ":wrong@", 1))
	_, err := Open(testContext(t), cfg)
	if sqlState(err) == codeInvalidPassword { // a server with trust authentication lets everybody in
		wantRefusal(t, cfg, `role "`+name+`" cannot log in`, `PASSWORD`)
	}
	u, _ := url.Parse(d.url)
	u.Path = "/no_such_database"
	cfg.URL = secret.New(u.String())
	wantRefusal(t, cfg, `database "no_such_database" does not exist`, `mend the database's name`)
}

func TestRefusePrivileges(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE SCHEMA app`)
	d.exec(`CREATE TABLE app.t (id int PRIMARY KEY)`)
	name, roleURL := d.role("REPLICATION")
	cfg := d.config("app.t")
	cfg.URL = secret.New(roleURL)

	wantRefusal(t, cfg, `role "`+name+`" lacks USAGE on schema "app"`, `GRANT USAGE ON SCHEMA "app" TO "`+name+`"`)
	wantRefusal(t, cfg, `role "`+name+`" lacks SELECT on it`, `GRANT SELECT ON "app"."t" TO "`+name+`"`)
	create := `CREATE PUBLICATION "` + cfg.Publication + `" FOR TABLE ONLY "app"."t" WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)`
	wantRefusal(t, cfg, `role "`+name+`" cannot make it: it lacks CREATE on database`, create)
	wantRefusal(t, cfg, `ownership of table app.t (it is "postgres"'s)`, create)

	// The remedies are what they say: with them it goes.
	d.exec(`GRANT USAGE ON SCHEMA app TO ` + name)
	d.exec(`GRANT SELECT ON app.t TO ` + name)
	d.exec(create)
	s := mustOpen(t, cfg)
	d.exec(`INSERT INTO app.t VALUES (1)`)
	if got := readFrom(t, s).changes(1); got[0] != `insert app.t (1)` {
		t.Errorf("read %q", got)
	}
	mustClose(t, s)

	// A second table, which the role can neither read nor add.
	d.exec(`CREATE TABLE app.u (id int PRIMARY KEY)`)
	d.exec(`GRANT SELECT ON app.u TO ` + name)
	cfg.Tables = append(cfg.Tables, TableConfig{Schema: "app", Name: "u"})
	wantRefusal(t, cfg, `lacks app.u, and role "`+name+`" cannot add it: it lacks ownership of the publication (it is "postgres"'s)`,
		`ALTER PUBLICATION "`+cfg.Publication+`" ADD TABLE ONLY "app"."u"`)
}

func TestRefuseRowSecurity(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (id int PRIMARY KEY, who text)`)
	d.exec(`ALTER TABLE t ENABLE ROW LEVEL SECURITY`)
	name, roleURL := d.role("REPLICATION")
	d.exec(`GRANT SELECT ON t TO ` + name)
	cfg := d.config("public.t")
	d.exec(`CREATE PUBLICATION ` + cfg.Publication + ` FOR TABLE t`)
	cfg.URL = secret.New(roleURL)
	wantRefusal(t, cfg, `row security whose policies hide rows`, `ALTER ROLE "`+name+`" BYPASSRLS`)
}

func TestRefusePublication(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (id int PRIMARY KEY, a int, b int)`)
	d.exec(`CREATE TABLE p (id int PRIMARY KEY) PARTITION BY HASH (id)`)
	d.exec(`CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 1, REMAINDER 0)`)

	cfg := d.config("public.t")
	d.exec(`CREATE PUBLICATION ` + cfg.Publication + ` FOR TABLE t WITH (publish = 'insert, truncate')`)
	all := `ALTER PUBLICATION "` + cfg.Publication + `" SET (publish = 'insert, update, delete, truncate')`
	wantRefusal(t, cfg, `does not publish update, delete`, all)
	d.exec(`ALTER PUBLICATION ` + cfg.Publication + ` SET (publish = 'insert, update, delete')`)
	wantFinding(t, Check(testContext(t), cfg), replication.LevelWarning, `does not publish truncate`, all)

	cfg = d.config("public.p")
	d.exec(`CREATE PUBLICATION ` + cfg.Publication + ` FOR TABLE p`)
	wantRefusal(t, cfg, `publishes the partitions of table public.p, not the table itself`,
		`ALTER PUBLICATION "`+cfg.Publication+`" SET (publish_via_partition_root = true)`)

	cfg = d.config("public.t")
	cfg.Tables[0].Key = []string{"a"}
	d.exec(`CREATE TABLE w (id int PRIMARY KEY)`)
	d.exec(`ALTER TABLE t REPLICA IDENTITY FULL`)
	d.exec(`CREATE PUBLICATION ` + cfg.Publication + ` FOR TABLE t (id, b) WHERE (b > 1), TABLE w`)
	findings := Check(testContext(t), cfg)
	wantFinding(t, findings, replication.LevelError, `table public.t has the column "a" in its configured key, which publication`, `ALTER PUBLICATION`)
	wantFinding(t, findings, replication.LevelWarning, `publishes only the columns id, b`, ``)
	wantFinding(t, findings, replication.LevelWarning, `publishes only the rows with (b > 1)`, ``)
	wantFinding(t, findings, replication.LevelWarning, `has tables that are not configured ("public"."w")`, `DROP TABLE "public"."w"`)
}

func TestRefuseSlot(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (id int PRIMARY KEY)`)

	t.Run("other plugin", func(t *testing.T) {
		cfg := d.config("public.t")
		d.exec(`SELECT pg_create_logical_replication_slot($1, 'test_decoding')`, cfg.Slot)
		wantRefusal(t, cfg, `slot "`+cfg.Slot+`" is one of the plugin test_decoding, not of pgoutput`, `SELECT pg_drop_replication_slot('`+cfg.Slot+`')`)
	})
	t.Run("physical", func(t *testing.T) {
		cfg := d.config("public.t")
		d.exec(`SELECT pg_create_physical_replication_slot($1)`, cfg.Slot)
		defer d.exec(`SELECT pg_drop_replication_slot($1)`, cfg.Slot)
		wantRefusal(t, cfg, `slot "`+cfg.Slot+`" is a physical one`, `configure another slot name`)
	})
	t.Run("other database", func(t *testing.T) {
		other := newTestDB(t)
		cfg := d.config("public.t")
		other.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, cfg.Slot)
		wantRefusal(t, cfg, `slot "`+cfg.Slot+`" belongs to database "`+other.text(`SELECT current_database()::text`)+`"`, `configure another slot name`)
	})
	t.Run("checkpoint without slot", func(t *testing.T) {
		cfg := d.config("public.t")
		cfg.From = `{"lsn":"0/1","tables":{"public.t":"0/1"}}`
		wantRefusal(t, cfg, `slot "`+cfg.Slot+`" does not exist, but there is a checkpoint at 0/1`, `run cdc drop, then start again`)
	})
	t.Run("ahead of the checkpoint", func(t *testing.T) {
		cfg := d.config("public.t")
		d.exec(`CREATE PUBLICATION ` + cfg.Publication + ` FOR TABLE t`)
		confirmed := d.text(`SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput')`, cfg.Slot)
		before := d.text(`SELECT ($1::pg_lsn - 1000)::text`, confirmed)
		cfg.From = replication.Position(`{"lsn":"` + before + `","tables":{"public.t":"` + before + `"}}`)
		wantRefusal(t, cfg, `slot "`+cfg.Slot+`" is ahead of the checkpoint: the slot begins at `+confirmed+`, the checkpoint is at `+before+`; 1000 bytes of log are missing`,
			`run cdc drop, then start again`)
		cfg.From = replication.Position(`{"lsn":"` + confirmed + `","tables":{"public.t":"` + confirmed + `"}}`)
		mustClose(t, mustOpen(t, cfg))
	})
	t.Run("beyond the log", func(t *testing.T) {
		cfg := d.config("public.t")
		cfg.From = `{"lsn":"FFFFFF/0","tables":{"public.t":"0/1"}}`
		wantRefusal(t, cfg, `the checkpoint FFFFFF/0 lies beyond the end of the server's log`, `point the URL at the right server`)
	})
}

// activate makes the slot in use and returns the pid.
func (d *testDB) activate(slot string) (pid string, release func()) {
	d.t.Helper()
	cfg := Config{Name: "other", URL: secret.New(d.url)}
	conn, err := cfg.connectReplication(context.Background(), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	// A temporary slot is in use for as long as its session lives.
	if _, _, err := createSlot(context.Background(), conn, slot, slotOptions{temporary: true}); err != nil {
		d.t.Fatal(err)
	}
	return d.text(`SELECT active_pid::text FROM pg_replication_slots WHERE slot_name = $1`, slot), func() { conn.Close(context.Background()) }
}

func TestSlotInUse(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (id int PRIMARY KEY)`)
	cfg := d.config("public.t")
	pid, release := d.activate(cfg.Slot)
	cfg.SlotWait = 300 * time.Millisecond
	began := time.Now()
	wantRefusal(t, cfg, `slot "`+cfg.Slot+`" is in use by the server process with pid `+pid, `SELECT pg_terminate_backend(`+pid+`)`)
	if waited := time.Since(began); waited < cfg.SlotWait {
		t.Errorf("refused after %s, want a wait of %s", waited, cfg.SlotWait)
	}
	if made := d.made(cfg); made != "slot" {
		t.Errorf("made %q", made)
	}
	if _, _, err := Drop(testContext(t), cfg); !replication.IsRefusal(err) || !strings.Contains(err.Error(), "pid "+pid) {
		t.Errorf("Drop of a slot in use: %v", err)
	}

	// Once the other lets go, the wait ends.
	cfg.SlotWait = 30 * time.Second
	time.AfterFunc(50*time.Millisecond, release)
	mustOpen(t, cfg)
}

func TestRefuseEncoding(t *testing.T) {
	d := newTestDB(t)
	name := servicetest.Name(t, "ascii")
	d.exec(`CREATE DATABASE ` + name + ` ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`)
	t.Cleanup(func() { d.exec(`DROP DATABASE ` + name + ` WITH (FORCE)`) })
	u, _ := url.Parse(d.url)
	u.Path = "/" + name
	cfg := d.config("public.t")
	cfg.URL = secret.New(u.String())
	wantRefusal(t, cfg, `has the encoding SQL_ASCII`, `ENCODING 'UTF8'`)
}

func TestDrop(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (id int PRIMARY KEY)`)
	cfg := d.config("public.t")
	mustClose(t, mustOpen(t, cfg))
	if made := d.made(cfg); made != "slot,publication" {
		t.Fatalf("Open made %q", made)
	}
	cfg.Tables = nil // not needed
	dropped, left, err := Drop(testContext(t), cfg)
	if len(left) > 0 {
		t.Errorf("Drop left %q", left)
	}
	if err != nil || len(dropped) != 2 || !strings.HasPrefix(dropped[0], `slot "`+cfg.Slot+`"`) ||
		dropped[1] != `publication "`+cfg.Publication+`" of 1 tables` {
		t.Errorf("Drop: %q, %v", dropped, err)
	}
	if made := d.made(cfg); made != "" {
		t.Errorf("Drop left %q", made)
	}
	if dropped, left, err := Drop(testContext(t), cfg); err != nil || len(dropped)+len(left) != 0 {
		t.Errorf("Drop of nothing: %q, %v", dropped, err)
	}

	// A publication that somebody else has made stays, and no error keeps the
	// rest from being dropped.
	d.exec(`CREATE PUBLICATION ` + replication.QuoteIdentifier(cfg.Publication) + ` FOR TABLE t`)
	dropped, left, err = Drop(testContext(t), cfg)
	if err != nil || len(dropped) != 0 || len(left) != 1 || !strings.Contains(left[0], `which cdc has not made (it belongs to role`) || !strings.Contains(left[0], `DROP PUBLICATION`) {
		t.Errorf("Drop of a foreign publication: dropped %q, left %q, %v", dropped, left, err)
	}
	if made := d.made(cfg); made != "publication" {
		t.Errorf("after Drop of a foreign publication there is %q", made)
	}
	d.exec(`DROP PUBLICATION ` + replication.QuoteIdentifier(cfg.Publication))

	// A slot of somebody else stays.
	d.exec(`SELECT pg_create_logical_replication_slot($1, 'test_decoding')`, cfg.Slot)
	if _, _, err := Drop(testContext(t), cfg); !replication.IsRefusal(err) {
		t.Errorf("Drop of a foreign slot: %v", err)
	}
	if made := d.made(cfg); made != "slot" {
		t.Errorf("after Drop of a foreign slot there is %q", made)
	}
}

// TestCheckChangesNothing also sees the findings of a source that can start.
func TestCheckChangesNothing(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (id int PRIMARY KEY)`)
	d.exec(`CREATE TABLE u (id int PRIMARY KEY); ALTER TABLE u REPLICA IDENTITY FULL`)
	cfg := d.config("public.t", "public.u")
	findings := Check(testContext(t), cfg)
	for _, f := range findings {
		if f.Level != replication.LevelOK || f.Remedy != "" {
			t.Errorf("finding %+v", f)
		}
	}
	wantFinding(t, findings, replication.LevelOK, `replica identity DEFAULT (id)`, ``)
	wantFinding(t, findings, replication.LevelOK, `replica identity FULL: updates and deletes have the whole old row`, ``)
	wantFinding(t, findings, replication.LevelOK, `does not exist yet: it will be made for public.t, public.u`, ``)
	if made := d.made(cfg); made != "" {
		t.Errorf("Check made %q", made)
	}
	mustClose(t, mustOpen(t, cfg))
	findings = Check(testContext(t), cfg)
	wantFinding(t, findings, replication.LevelOK, `covers all configured tables`, ``)
	wantFinding(t, findings, replication.LevelOK, `of log, without a limit (max_slot_wal_keep_size = -1); wal_sender_timeout = `, ``)

	cfg.URL = secret.New("postgres://nobody@127.0.0.1:1/x?connect_timeout=2")
	if findings := Check(testContext(t), cfg); len(findings) != 1 || findings[0].Level != replication.LevelError {
		t.Errorf("Check without a server: %+v", findings)
	}
}

// TestOwner has a role with just what the manual asks for when no superuser
// helps: it owns the tables and may create in the database.
func TestOwner(t *testing.T) {
	d := newTestDB(t)
	name, roleURL := d.role("REPLICATION")
	d.exec(`CREATE SCHEMA AUTHORIZATION ` + name)
	d.exec(`CREATE TABLE ` + name + `.t (id int PRIMARY KEY)`)
	d.exec(`INSERT INTO ` + name + `.t VALUES (1)`)
	d.exec(`ALTER TABLE ` + name + `.t OWNER TO ` + name)
	d.exec(`GRANT CREATE ON DATABASE ` + pgx.Identifier{d.text(`SELECT current_database()::text`)}.Sanitize() + ` TO ` + name)
	cfg := d.config(name + ".t")
	cfg.URL = secret.New(roleURL)
	s := mustOpen(t, cfg)
	if got := readFrom(t, s).changes(1); got[0] != `read `+name+`.t (1)` {
		t.Errorf("read %q", got)
	}
}
