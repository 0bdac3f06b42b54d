package mysql

import (
	"errors"
	"math"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"cdc/internal/services"
	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/secret"
	"cdc/sink"
	"cdc/sink/sinktest"
)

// TestRefusals asserts that each refusal says what is wrong and the statement
// that mends it, and that the statement does mend it.
func TestRefusals(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		bin, foreign := "utf8mb4_0900_bin", "utf8mb4_0900_ai_ci"
		if strings.HasPrefix(version, "mariadb") {
			bin, foreign = "utf8mb4_nopad_bin", "utf8mb4_general_ci"
		}
		text := keyed(field("id", kStr, 0, "text"))
		for _, c := range []struct {
			name, setup     string
			key             sink.Field
			problem, remedy string
			mend            string // "" is the remedy
		}{
			{
				"table absent", "", id(),
				"table `DB`.`t` for topic public.t does not exist",
				"CREATE TABLE IF NOT EXISTS `DB`.`t` (`id` bigint NOT NULL, `note` longtext CHARACTER SET utf8mb4 COLLATE " + bin + " NULL, PRIMARY KEY (`id`)) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE " + bin, "",
			},
			{
				"no unique index", "CREATE TABLE t (id bigint, note text)", id(),
				"table `DB`.`t` has no unique index on exactly the key of topic public.t (id)", "ALTER TABLE `DB`.`t` ADD UNIQUE INDEX (`id`)", "",
			},
			{
				"unique index on more", "CREATE TABLE t (id bigint NOT NULL, note varchar(9), UNIQUE (id, note))", id(),
				"no unique index on exactly the key", "ALTER TABLE `DB`.`t` ADD UNIQUE INDEX (`id`)", "",
			},
			{
				"unique index on a prefix", "CREATE TABLE t (id varchar(20) CHARACTER SET utf8mb4 COLLATE " + bin + " NOT NULL, note varchar(9), UNIQUE (id(3)))", text,
				"no unique index on exactly the key", "ALTER TABLE `DB`.`t` ADD UNIQUE INDEX (`id`)", "",
			},
			{
				"another unique index, and a key that may be null", "CREATE TABLE t (id bigint UNIQUE, note varchar(9) UNIQUE)", id(),
				"other unique indexes (note) besides the one on the key, of which no column is NOT NULL", "ALTER TABLE `DB`.`t` MODIFY `id` bigint", "",
			},
			{
				"key column absent", "CREATE TABLE t (note text)", id(),
				"table `DB`.`t` has no column for the key field \"id\" of topic public.t", "ALTER TABLE `DB`.`t` ADD COLUMN `id` bigint NULL", "ALTER TABLE t ADD COLUMN id bigint PRIMARY KEY",
			},
			{
				"key column generated", "CREATE TABLE t (note varchar(9), id bigint GENERATED ALWAYS AS (length(note)) STORED UNIQUE)", id(),
				"the key field \"id\" of topic public.t is a generated column of table `DB`.`t`", "MODIFY `id` bigint", "",
			},
			{
				"key that ignores case", "CREATE TABLE t (id varchar(20) CHARACTER SET utf8mb4 COLLATE " + foreign + " PRIMARY KEY, note text)", text,
				"the key column `id` of table `DB`.`t` has the collation " + foreign, "ALTER TABLE `DB`.`t` MODIFY `id` varchar(20) CHARACTER SET utf8mb4 COLLATE " + bin + " NOT NULL", "",
			},
			{
				"engine without transactions", "CREATE TABLE t (id bigint PRIMARY KEY, note text) ENGINE=MyISAM", id(),
				"table `DB`.`t` has the engine MyISAM", "ALTER TABLE `DB`.`t` ENGINE=InnoDB", "",
			},
			{
				"column without a default", "CREATE TABLE t (id bigint PRIMARY KEY, note text, more varchar(9) NOT NULL)", id(),
				"column `more` of table `DB`.`t` is NOT NULL and has no default", "ALTER TABLE `DB`.`t` MODIFY `more` varchar(9) NULL", "ALTER TABLE t MODIFY more varchar(9) NULL",
			},
		} {
			t.Run(c.name, func(t *testing.T) {
				tg := newTarget(t, version, Config{})
				if c.setup != "" {
					tg.exec(c.setup)
				}
				here := func(s string) string { return strings.ReplaceAll(s, "`DB`", quoteName(tg.w.cfg.Schema)) }
				s := shape(c.key, note())
				key := num(1)
				if c.key.Kind == kStr {
					key = str("1")
				}
				err := tg.w.Apply(t.Context(), "g", tg.Batch(s, row(key, str("a"))))
				r, ok := errors.AsType[*replication.Refusal](err)
				if !ok {
					t.Fatalf("got %v, want a refusal", err)
				}
				if !strings.Contains(r.Problem, here(c.problem)) || !strings.Contains(r.Remedy, here(c.remedy)) {
					t.Errorf("got\n%v\nwant\n%s\n%s", r, here(c.problem), here(c.remedy))
				}
				if c.mend == "" {
					c.mend, _, _ = strings.Cut(r.Remedy, " (or create_tables")
				}
				tg.exec(c.mend)
				tg.Apply(s, row(key, str("a")))
				if got := tg.dump("SELECT id, note FROM t"); got != "1|a" {
					t.Errorf("after the remedy: %s", got)
				}
			})
		}
	})
}

// poor makes a user that may nothing in the target's database, and a config
// with it.
func poor(tg *target) (user string, cfg Config) {
	name := servicetest.Name(tg, "poor")
	user = "'" + name + "'@'127.0.0.1'"
	tg.exec("CREATE USER " + user + " IDENTIFIED BY 'secret'")
	tg.Cleanup(func() { tg.exec("DROP USER " + user) })
	return user, Config{URL: secret.New(strings.Replace(tg.url, "root:root@", name+":secret@", 1))}
}

func TestRefusalsOfRights(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{})
		user, cfg := poor(tg)
		db := quoteName(tg.w.cfg.Schema)
		refused := func(err error, problem, remedy string) {
			t.Helper()
			r, ok := errors.AsType[*replication.Refusal](err)
			if !ok || !strings.Contains(r.Problem, problem) || !strings.Contains(r.Remedy, remedy) {
				t.Errorf("got %v, want a refusal with %q and %q", err, problem, remedy)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the password is in the message: %v", err)
			}
		}
		_, err := Open(t.Context(), cfg)
		refused(err, "the sink's database refuses the connection", "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER ON "+db+".*")
		wrong := cfg
		wrong.URL = secret.New(strings.Replace(cfg.URL.Reveal(), ":secret@", ":secretive@", 1))
		_, err = Open(t.Context(), wrong)
		refused(err, "the sink's database refuses the connection", "check user, password")
		none := Config{URL: secret.New(tg.url + "_absent")}
		_, err = Open(t.Context(), none)
		refused(err, "the sink's database refuses the connection", "CREATE DATABASE")

		tg.exec("DROP TABLE cdc_offsets", "GRANT SELECT ON "+db+".* TO "+user)
		_, err = Open(t.Context(), cfg)
		refused(err, "the offsets table "+db+".`cdc_offsets` is absent and may not be created", "CREATE TABLE IF NOT EXISTS")
		findings := func() string {
			var s []string
			for _, f := range Check(t.Context(), cfg) {
				if f.Level != replication.LevelOK {
					s = append(s, f.Remedy)
				}
			}
			return strings.Join(s, "; ")
		}
		cfg.CreateTables = true
		if got, want := findings(), "GRANT INSERT, UPDATE, DELETE, CREATE ON "+db+".* TO "+user; got != want {
			t.Errorf("check: got %s, want %s", got, want)
		}
		tg.exec("GRANT INSERT, UPDATE, CREATE ON " + db + ".* TO " + user)
		w, err := Open(t.Context(), cfg)
		tg.Must(err)
		defer w.Close(t.Context())
		tg.exec("CREATE TABLE t (id bigint PRIMARY KEY)")
		w.cfg.AddColumns = true
		err = w.Apply(t.Context(), "g", tg.Batch(shape(id(), note()), row(num(1), str("a"))))
		refused(err, "table "+db+".`t` has no column \"note\" for topic public.t, and it may not be added", "ALTER TABLE "+db+".`t` ADD COLUMN `note` longtext")
		err = w.Apply(t.Context(), "g", tg.Batch(shape(id()), sink.Row{Delete: true, Values: []replication.Value{num(1)}}))
		refused(err, "the sink's user lacks a privilege", "GRANT SELECT, INSERT, UPDATE, DELETE ON "+db+".`t`")
		tg.exec("GRANT DELETE, ALTER ON " + db + ".* TO " + user)
		cfg.AddColumns = true
		if got := findings(); got != "" {
			t.Errorf("check after the grants: %s", got)
		}
	})
}

func TestKeysOnlyShapeMakesNoTable(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		sinktest.KeysOnly(t, newTarget(t, version, Config{CreateTables: true, AddColumns: true}).Target, "database()")
	})
}

// TestSecondUniqueIndex: a value moves on from row to row within one batch, and
// no row is ever taken for another one that has its value.
func TestSecondUniqueIndex(t *testing.T) {
	each(t, services.MySQLVersions(), func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{CreateTables: true})
		tg.exec("CREATE TABLE t (id bigint PRIMARY KEY, note varchar(9) UNIQUE, parent bigint, FOREIGN KEY (parent) REFERENCES t (id))")
		s := shape(id(), note(), field("parent", kInt, 64, "bigint"))
		none := replication.Null
		tg.Apply(s, row(num(1), str("a"), none), row(num(2), str("b"), none), row(num(3), str("c"), none))
		tg.Apply(s, row(num(1), str("b"), none), row(num(2), str("c"), none), row(num(3), str("d"), num(4)), row(num(4), str("x"), num(5)), row(num(5), str("e"), none))
		if got := tg.dump("SELECT * FROM t ORDER BY id"); got != "1|b|NULL\n2|c|NULL\n3|d|4\n4|x|5\n5|e|NULL" {
			t.Errorf("got\n%s", got)
		}
		tg.Apply(s, row(num(6), str("e"), none), row(num(5), str("f"), none)) // a new row takes what another gives up after it
		if got := tg.dump("SELECT id, note FROM t WHERE id > 4 ORDER BY id"); got != "5|f\n6|e" {
			t.Errorf("got\n%s", got)
		}
		// What stays in the way is named: one row that is there, one that is new.
		for _, key := range []int64{1, 7} {
			err := tg.w.Apply(t.Context(), "g", tg.Batch(s, row(num(key), str("e"), none), row(num(2), str("z"), none)))
			bad, ok := errors.AsType[sink.RowErrors](err)
			if !ok || len(bad) != 1 || bad[0].Index != 0 || number(bad[0]) != duplicateEntry {
				t.Errorf("key %d: got %v, want the first row", key, err)
			}
		}
		if got := tg.dump("SELECT id, note FROM t WHERE id IN (2, 6) ORDER BY id"); got != "2|c\n6|e" {
			t.Errorf("a refused row left\n%s", got)
		}
	})
}

// TestLateUniqueIndex: one that is made after the table was looked at changes
// nothing: no row is taken for another one's.
func TestLateUniqueIndex(t *testing.T) {
	each(t, services.MySQLVersions(), func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{})
		tg.exec("CREATE TABLE t (id bigint PRIMARY KEY, note varchar(9))")
		s := shape(id(), note())
		tg.Apply(s, row(num(1), str("a")))
		tg.exec("ALTER TABLE t ADD UNIQUE (note)")
		err := tg.w.Apply(t.Context(), "g", tg.Batch(s, row(num(2), str("a")), row(num(3), str("c"))))
		bad, ok := errors.AsType[sink.RowErrors](err)
		if !ok || len(bad) != 1 || bad[0].Index != 0 || number(bad[0]) != duplicateEntry {
			t.Errorf("got %v, want the first row", err)
		}
		tg.Apply(s, row(num(1), str("b")), row(num(2), str("a")))
		if got := tg.dump("SELECT id, note FROM t ORDER BY id"); got != "1|b\n2|a" {
			t.Errorf("got\n%s", got)
		}
	})
}

// TestKeysThatOnlyDifferByCaseOrSpaces stay two rows, or are refused.
func TestKeysThatOnlyDifferByCaseOrSpaces(t *testing.T) {
	each(t, services.MySQLVersions(), func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{CreateTables: true})
		s := shape(keyed(field("id", kStr, 0, "text")), note())
		keys := []string{"a", "A", "á", "a\t", "ß", "ss"}
		if version != services.MySQL80 {
			keys = append(keys, "a ", "a  ", "")
		} else { // which has no collation that minds trailing spaces
			err := tg.w.Apply(t.Context(), "g", tg.Batch(s, row(str("a "), str("x"))))
			if bad, ok := errors.AsType[sink.RowErrors](err); !ok || !strings.Contains(bad[0].Error(), "ends with a space") {
				t.Errorf("got %v", err)
			}
			err = tg.w.Apply(t.Context(), "g", tg.Batch(s, sink.Row{Delete: true, Values: []replication.Value{str("a "), replication.Null}}))
			if _, ok := errors.AsType[sink.RowErrors](err); !ok {
				t.Errorf("a delete: %v", err)
			}
		}
		var rows []sink.Row
		for _, k := range keys {
			rows = append(rows, row(str(k), str(k)))
		}
		tg.Apply(s, rows...)
		tg.Apply(s, rows...)
		if got := tg.dump("SELECT count(*), sum(cast(id AS binary) = cast(note AS binary)) FROM t"); got != strconv.Itoa(len(keys))+"|"+strconv.Itoa(len(keys)) {
			t.Errorf("%d keys: %s", len(keys), got)
		}
		for i := range rows {
			rows[i].Delete = true
		}
		tg.Apply(s, rows[1:]...)
		if got := tg.dump("SELECT id FROM t"); got != "a" {
			t.Errorf("after the deletes: %s", got)
		}
		err := tg.w.Apply(t.Context(), "g", tg.Batch(s, row(str(strings.Repeat("x", 256)), str("x"))))
		if bad, ok := errors.AsType[sink.RowErrors](err); !ok || !strings.Contains(bad[0].Error(), "too long") {
			t.Errorf("a long key: %v", err)
		}
	})
}

// TestHostileNames: names and values never leave their quotes.
func TestHostileNames(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{CreateTables: true, AddColumns: true, OffsetsTable: "off`sets'\\"})
		nasty := "`; DROP TABLE x; -- '\"\\"
		f := field(nasty, kStr, 0, "text")
		s := &sink.Shape{Topic: "public.t'\\", Table: "x" + nasty, Fields: []sink.Field{keyed(field("k"+nasty, kStr, 0, "text")), f}}
		group := "g'\\`"
		values := []string{"", "'", "\\", "\\'", "'; DROP TABLE x; -- ", "\x00\x1a\b\n\r\t%_", "\u2028\xc2\xa0\U0001F600"}
		b := &sink.Batch{Tables: []sink.Rows{{Shape: s}}, Offsets: []sink.Offset{{Topic: s.Topic, TopicID: "id'\\", From: -1, Next: 5}}}
		for _, v := range values {
			b.Tables[0].Rows = append(b.Tables[0].Rows, row(str(v), str(v)))
		}
		tg.Must(tg.w.Apply(t.Context(), group, b))
		have, err := tg.w.Offsets(t.Context(), group, []string{s.Topic})
		tg.Must(err)
		if have[s.Topic][0] != 5 {
			t.Errorf("offsets %v", have)
		}
		rows, err := tg.w.query(t.Context(), "SELECT * FROM "+tableName(tg.w.cfg.Schema, s.Table))
		tg.Must(err)
		if len(rows) != len(values) {
			t.Fatalf("%d rows", len(rows))
		}
		for _, r := range rows {
			if r[0] != r[1] {
				t.Errorf("%q differs from %q", r[0].text, r[1].text)
			}
		}
		for i := range b.Tables[0].Rows {
			b.Tables[0].Rows[i].Delete = true
		}
		b.Offsets[0].From, b.Offsets[0].Next = 5, 6
		tg.Must(tg.w.Apply(t.Context(), group, b))
		if got := tg.dump("SELECT count(*) FROM " + tableName(tg.w.cfg.Schema, s.Table)); got != "0" {
			t.Errorf("%s rows are left", got)
		}
		twice := shape(id(), field("Note", kStr, 0, "text"), field("note", kStr, 0, "text"))
		twice.Table = "twice"
		err = tg.w.Apply(t.Context(), "g", tg.Batch(twice, row(num(1), str("a"), str("b"))))
		if r, ok := errors.AsType[*replication.Refusal](err); !ok || !strings.Contains(r.Remedy, "tables[].rename") {
			t.Errorf("got %v", err)
		}
		tg.exec("CREATE TABLE twice (id bigint PRIMARY KEY, NOTE text)")
		err = tg.w.Apply(t.Context(), "g", tg.Batch(twice, row(num(1), str("a"), str("b"))))
		if r, ok := errors.AsType[*replication.Refusal](err); !ok || !strings.Contains(r.Remedy, "tables[].rename") {
			t.Errorf("a table that is there: %v", err)
		}
		long := shape(id(), field(strings.Repeat("x", 65), kStr, 0, "text"))
		if err = tg.w.Apply(t.Context(), "g", tg.Batch(long, row(num(1), str("a")))); !replication.IsRefusal(err) {
			t.Errorf("a long name: %v", err)
		}
	})
}

// TestBinarySafety: any bytes survive, and none ends its literal.
func TestBinarySafety(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{CreateTables: true})
		s := shape(id(), field("b", kBytes, 0, "bytea"), field("hex", kStr, 0, "text"))
		r := rand.New(rand.NewPCG(1, 2))
		var rows []sink.Row
		for i := range 2000 {
			b := make([]byte, r.IntN(40))
			for j := range b {
				b[j] = "'\\\x00\"\xf0\x9f\x92\x27\xe0\xc2a\xff;"[r.IntN(13)]
			}
			hex := strings.ToUpper(string(appendPlain(nil, bytesOf(kBytes, string(b)), 0)[2:]))
			rows = append(rows, row(num(int64(i)), bytesOf(kBytes, string(b)), str(hex)))
		}
		tg.Apply(s, rows...)
		if got := tg.dump("SELECT count(*), sum(hex(b) = hex) FROM t"); got != "2000|2000" {
			t.Errorf("got %s", got)
		}
	})
}

// TestNumbersOfJSON: what exactJSON lets through, the server keeps.
func TestNumbersOfJSON(t *testing.T) {
	each(t, []string{services.MySQL9, services.MySQL80}, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{CreateTables: true})
		s := shape(id(), field("j", kJSON, 0, "jsonb"))
		r := rand.New(rand.NewPCG(3, 4))
		var rows []sink.Row
		var want []float64
		for i := range 3000 {
			f := math.Float64frombits(r.Uint64())
			switch i % 3 {
			case 0:
				f = float64(r.IntN(1_000_000)) / 1000
			case 1:
				f = r.Float64()
			}
			if math.IsNaN(f) || math.IsInf(f, 0) || math.Abs(f) < 1e-290 {
				f = 0.5
			}
			want = append(want, f)
			rows = append(rows, row(num(int64(i)), bytesOf(kJSON, "["+strconv.FormatFloat(f, 'g', -1, 64)+"]")))
		}
		refused := 0
		for {
			err := tg.w.Apply(t.Context(), "g", tg.Batch(s, rows...))
			bad, ok := errors.AsType[sink.RowErrors](err)
			if !ok {
				tg.Must(err)
				break
			}
			refused += len(bad)
			for i := range bad {
				rows[bad[i].Index].Values[1] = bytesOf(kJSON, "[0.5]")
				want[bad[i].Index] = 0.5
			}
		}
		if version == services.MySQL9 != (refused == 0) {
			t.Errorf("%d numbers were refused", refused)
		}
		got := strings.Split(tg.dump("SELECT j FROM t ORDER BY id"), "\n")
		wrong := 0
		for i, text := range got {
			if f, err := strconv.ParseFloat(strings.Trim(text, "[]"), 64); err != nil || f != want[i] {
				if wrong++; wrong < 5 {
					t.Errorf("%s became %s", strconv.FormatFloat(want[i], 'g', -1, 64), text)
				}
			}
		}
		if wrong > 0 {
			t.Errorf("%d of %d numbers changed", wrong, len(want))
		}
	})
}

func TestURL(t *testing.T) {
	for _, bad := range []string{
		"mysql://u:secret@h:port/d", "mysql://u:%secret@h/d", "postgres://u:secret@h/d", "u:secret@tcp(h)/d", "mysql://u:secret@/d", "mysql://u:secret@h", "mysql://u:secret@h/d?tls=maybe", "mysql://u:secret@h/d?x=secret",
	} {
		_, err := Open(t.Context(), Config{URL: secret.New(bad)})
		if !replication.IsRefusal(err) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	m, err := parseURL("mariadb://us%40er:p%40ss@[::1]/da%2Fta?tls=skip-verify")
	if err != nil || m.User != "us@er" || m.Passwd != "p@ss" || m.Addr != "[::1]:3306" || m.DBName != "da/ta" || m.AllowFallbackToPlaintext || !m.TLS.InsecureSkipVerify {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err = parseURL("mysql://u@/d?socket=" + url.QueryEscape("/run/my sql.sock")); err != nil || m.Net != "unix" || m.Addr != "/run/my sql.sock" {
		t.Errorf("%+v, %v", m, err)
	}
}
