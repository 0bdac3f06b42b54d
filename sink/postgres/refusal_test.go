package postgres

import (
	"errors"
	"strings"
	"testing"

	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/secret"
	"cdc/sink/sinktest"
)

// TestRefusals asserts that each refusal says what is wrong and the statement
// that mends it, and that the statement does mend it.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name, setup     string
		cfg             Config
		problem, remedy string
		mend            string // "" is the remedy
	}{
		{
			"table absent", "",
			Config{},
			`table "public"."t" for topic public.t does not exist`,
			`CREATE TABLE IF NOT EXISTS "public"."t" ("id" bigint NOT NULL, "note" text, PRIMARY KEY ("id"))`, "",
		},
		{
			"no unique index", "CREATE TABLE t (id bigint, note text)",
			Config{},
			`table "public"."t" has no unique index on exactly the key of topic public.t (id)`,
			`CREATE UNIQUE INDEX ON "public"."t" ("id")`, "",
		},
		{
			"unique index on more", "CREATE TABLE t (id bigint, note text, UNIQUE (id, note))",
			Config{},
			`no unique index on exactly the key`,
			`CREATE UNIQUE INDEX ON "public"."t" ("id")`, "",
		},
		{
			"partial unique index", "CREATE TABLE t (id bigint, note text); CREATE UNIQUE INDEX ON t (id) WHERE id > 0",
			Config{},
			`no unique index on exactly the key`,
			`CREATE UNIQUE INDEX ON "public"."t" ("id")`, "",
		},
		{
			"deferrable constraint", "CREATE TABLE t (id bigint, note text, UNIQUE (id) DEFERRABLE)",
			Config{},
			`the key of table "public"."t" is a deferrable constraint`,
			`ALTER TABLE "public"."t" DROP CONSTRAINT t_id_key, ADD UNIQUE ("id")`, "",
		},
		{
			"key column absent", "CREATE TABLE t (note text)",
			Config{},
			`table "public"."t" has no column for the key field "id" of topic public.t`,
			`ALTER TABLE "public"."t" ADD COLUMN IF NOT EXISTS "id" bigint`, `ALTER TABLE t ADD COLUMN id bigint PRIMARY KEY`,
		},
		{
			"key column generated", "CREATE TABLE t (note text, id bigint GENERATED ALWAYS AS (length(note)) STORED PRIMARY KEY)",
			Config{},
			`the key field "id" of topic public.t is a generated column of table "public"."t"`, `ALTER TABLE "public"."t" ALTER COLUMN "id" DROP EXPRESSION`, "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			tg := newTarget(t, c.cfg)
			tg.exec(c.setup + ";")
			s := shape(id(), note())
			err := tg.w.Apply(t.Context(), "g", tg.Batch(s, row(num(1), str("a"))))
			r, ok := errors.AsType[*replication.Refusal](err)
			if !ok {
				t.Fatalf("got %v, want a refusal", err)
			}
			if !strings.Contains(r.Problem, c.problem) || !strings.Contains(r.Remedy, c.remedy) {
				t.Errorf("got\n%v\nwant\n%s\n%s", r, c.problem, c.remedy)
			}
			if c.mend == "" {
				c.mend = c.remedy
			}
			tg.exec(c.mend)
			tg.Apply(s, row(num(1), str("a")))
			if got := tg.dump("SELECT id, note FROM t"); got != "1|a" {
				t.Errorf("after the remedy: %s", got)
			}
		})
	}
}

// poor makes a role that may nothing but log in, and a config with it.
func poor(tg *target) (role string, cfg Config) {
	role = servicetest.Name(tg, "poor")
	tg.exec("CREATE ROLE " + role + " LOGIN PASSWORD 'secret'")
	tg.exec("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
	tg.Cleanup(func() {
		tg.exec("DROP OWNED BY " + role)
		tg.exec("DROP ROLE " + role)
	})
	cfg = Config{URL: secret.New(strings.Replace(tg.url, "postgres:postgres@", role+":secret@", 1))}
	return role, cfg
}

func TestRefusalsOfRights(t *testing.T) {
	tg := newTarget(t, Config{})
	role, cfg := poor(tg)
	refused := func(err error, problem, remedy string) {
		t.Helper()
		r, ok := errors.AsType[*replication.Refusal](err)
		if !ok || !strings.Contains(r.Problem, problem) || !strings.Contains(r.Remedy, remedy) {
			t.Errorf("got %v, want a refusal with %q and %q", err, problem, remedy)
		}
		if err != nil && strings.Contains(err.Error(), "secret@") {
			t.Errorf("the password is in the message: %v", err)
		}
	}
	tg.exec("DROP TABLE cdc_offsets")
	_, err := Open(t.Context(), cfg)
	refused(err, `the offsets table "public"."cdc_offsets" is absent and may not be created`, "CREATE TABLE IF NOT EXISTS")
	wrong := cfg
	wrong.URL = secret.New(strings.Replace(cfg.URL.Reveal(), ":secret@", ":wrong@", 1))
	_, err = Open(t.Context(), wrong)
	if replication.IsRefusal(err) { // a server that trusts everyone has nothing to refuse
		refused(err, "the sink's database refuses the connection", "pg_hba.conf")
	}
	none := cfg
	none.URL = secret.New(cfg.URL.Reveal() + "_absent")
	_, err = Open(t.Context(), none)
	refused(err, "the sink's database refuses the connection", "url")

	findings := func() string {
		var s []string
		for _, f := range Check(t.Context(), cfg) {
			if f.Level == replication.LevelError {
				s = append(s, f.Remedy)
			}
		}
		return strings.Join(s, "; ")
	}
	if got, want := findings(), "GRANT CREATE ON SCHEMA \"public\" TO "+role; got != want {
		t.Errorf("check: got %s, want %s", got, want)
	}
	tg.exec("GRANT CREATE ON SCHEMA public TO " + role)
	if got := findings(); got != "" {
		t.Errorf("check after the grant: %s", got)
	}
	w, err := Open(t.Context(), cfg)
	tg.Must(err)
	defer w.Close(t.Context())

	tg.exec("CREATE TABLE t (id bigint PRIMARY KEY); GRANT SELECT, INSERT, UPDATE, DELETE ON t TO " + role)
	w.cfg.AddColumns = true
	err = w.Apply(t.Context(), "g", tg.Batch(shape(id(), note()), row(num(1), str("a"))))
	refused(err, `table "public"."t" has no column "note" for topic public.t, and it may not be added`, `ALTER TABLE "public"."t" ADD COLUMN IF NOT EXISTS "note" text`)
	tg.exec("REVOKE CREATE ON SCHEMA public FROM " + role)
	w.cfg.CreateTables = true
	s := shape(id())
	s.Table = "u"
	err = w.Apply(t.Context(), "g", tg.Batch(s, row(num(1))))
	refused(err, `table "public"."u" for topic public.t does not exist`, `CREATE TABLE IF NOT EXISTS "public"."u"`)
}

func TestAddColumns(t *testing.T) {
	tg := newTarget(t, Config{AddColumns: true})
	tg.exec("CREATE TABLE t (id bigint PRIMARY KEY, mine text DEFAULT 'kept')")
	tg.Apply(shape(id()), row(num(1)))
	tg.Apply(shape(id(), note(), field("price", replication.KindDecimal, 0, "numeric(12,2)")), row(num(2), str("b"), replication.StringValue(replication.KindDecimal, "1.5")))
	if got := tg.dump("SELECT * FROM t ORDER BY id"); got != "1|kept|NULL|NULL\n2|kept|b|1.50" {
		t.Errorf("got %s", got)
	}
}

func TestKeysOnlyShapeMakesNoTable(t *testing.T) {
	sinktest.KeysOnly(t, newTarget(t, Config{CreateTables: true, AddColumns: true}).Target, "current_schema")
}
