package postgres

import (
	"fmt"
	"strings"
	"testing"

	"cdc/replication"
)

// shape renders what a consumer sees of a table's shape.
func shape(t *replication.Table) string {
	var b strings.Builder
	for i, c := range t.Columns {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(c.Name + ":" + c.TypeName)
		if c.NotNull {
			b.WriteByte('!')
		}
		if c.Identity {
			b.WriteByte('*')
		}
	}
	return fmt.Sprintf("%s key %v", b.String(), t.Key)
}

// TestAlter changes tables between rows that are read later, so that the
// catalog is always younger than the log: each row has the columns it was
// written with.
func TestAlter(t *testing.T) {
	db := newTestDB(t)
	db.exec(`CREATE TABLE a (id int PRIMARY KEY, x text NOT NULL)`)
	s := mustOpen(t, db.stream("a"))
	r := &tape{t: t, s: s}
	for _, sql := range []string{
		`INSERT INTO a VALUES (1, 'one')`,
		`ALTER TABLE a ADD COLUMN y numeric(6,2) NOT NULL DEFAULT 7`,
		`INSERT INTO a VALUES (2, 'two', 2.5)`,
		`INSERT INTO a VALUES (3, 'three', 3)`,
		`ALTER TABLE a DROP COLUMN x`,
		`INSERT INTO a VALUES (4, 4)`,
		`ALTER TABLE a RENAME COLUMN id TO key`,
		`INSERT INTO a VALUES (5, 5)`,
		`ALTER TABLE a ALTER COLUMN y TYPE text`,
		`INSERT INTO a VALUES (6, 'six')`,
		`BEGIN; ALTER TABLE a ADD COLUMN z int; INSERT INTO a VALUES (7, 'seven', 7); COMMIT`,
		`ALTER TABLE a REPLICA IDENTITY FULL`,
		`INSERT INTO a VALUES (8, 'eight', 8)`,
	} {
		db.exec(sql)
	}
	r.want(
		`0 insert a after id=1 x="one"`,
		`0 insert a after id=2 x="two" y=2.50`,
		`0 insert a after id=3 x="three" y=3.00`,
		`0 insert a after id=4 y=4.00`,
		`0 insert a after key=5 y=5.00`,
		`0 insert a after key=6 y="six"`,
		`0 insert a after key=7 y="seven" z=7`,
		`0 insert a after key=8 y="eight" z=8`)
	for i, want := range []string{
		`id:integer!* x:text key [0]`, // x is gone: whether it was NOT NULL nobody knows
		`id:integer!* x:text y:numeric(6,2) key [0]`,
		`id:integer!* x:text y:numeric(6,2) key [0]`,
		`id:integer!* y:numeric(6,2) key [0]`,
		`key:integer!* y:numeric(6,2) key [0]`,
		`key:integer!* y:text! key [0]`,
		`key:integer!* y:text! z:integer key [0]`,
		`key:integer!* y:text!* z:integer* key [0]`,
	} {
		got := shape(r.tables[i])
		// NOT NULL is today's knowledge: it may be missing in an older shape,
		// it may not be wrong.
		if strings.ReplaceAll(got, "!", "") != strings.ReplaceAll(want, "!", "") {
			t.Errorf("row %d\n got %s\nwant %s", i, got, want)
		}
	}
	if r.tables[1] != r.tables[2] {
		t.Error("rows of the same shape have different tables")
	}
}

// TestNullBeforeNotNull reads a NULL from before the column became NOT NULL.
func TestNullBeforeNotNull(t *testing.T) {
	db := newTestDB(t)
	db.exec(`CREATE TABLE a (id int PRIMARY KEY, x text)`)
	s := mustOpen(t, db.stream("a"))
	db.exec(`INSERT INTO a VALUES (1, NULL)`)
	db.exec(`UPDATE a SET x = ''`)
	db.exec(`ALTER TABLE a ALTER COLUMN x SET NOT NULL`)
	db.exec(`INSERT INTO a VALUES (2, 'b')`)
	r := &tape{t: t, s: s}
	r.want(`0 insert a after id=1 x=null`, `0 update a after id=1 x=""`, `0 insert a after id=2 x="b"`)
	if r.tables[0].Columns[1].NotNull {
		t.Error("a NULL stands in a NOT NULL column")
	}
	if !r.tables[2].Columns[1].NotNull {
		t.Error("the column is NOT NULL at last")
	}
}

// TestDropped reads rows of a table that is gone, and of another with its name.
func TestDropped(t *testing.T) {
	db := newTestDB(t)
	db.exec(`CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE a (id int PRIMARY KEY, m mood, l int[])`)
	cfg := db.stream("a")
	s := mustOpen(t, cfg)
	db.exec(`INSERT INTO a VALUES (1, 'ok', '{1}')`)
	db.exec(`UPDATE a SET id = 2`)
	db.exec(`DROP TABLE a; DROP TYPE mood`)
	db.exec(`CREATE TABLE a (name text PRIMARY KEY)`)
	db.exec(`ALTER PUBLICATION ` + replication.QuoteIdentifier(cfg.Publication) + ` ADD TABLE a`)
	db.exec(`INSERT INTO a VALUES ('new')`)
	r := &tape{t: t, s: s}
	r.want(`0 insert a after id=1 m="ok" l=[1]`,
		`0 update a before id=1 m=unchanged l=unchanged after id=2 m="ok" l=[1]`,
		`0 insert a after name="new"`)
	if got := shape(r.tables[0]); !strings.HasPrefix(got, "id:integer* m:") || !strings.HasSuffix(got, "key [0]") {
		t.Errorf("the dropped table's shape is %s", got)
	}
}

// TestIdentities looks at the key and the old rows under each replica identity.
func TestIdentities(t *testing.T) {
	db := newTestDB(t)
	db.exec(`CREATE TABLE i (id int PRIMARY KEY, u int NOT NULL, x text); CREATE UNIQUE INDEX iu ON i (u); ALTER TABLE i REPLICA IDENTITY USING INDEX iu;
		CREATE TABLE f (a int, id int PRIMARY KEY); ALTER TABLE f REPLICA IDENTITY FULL;
		CREATE TABLE n (x int); ALTER TABLE n REPLICA IDENTITY FULL`)
	r := &tape{t: t, s: mustOpen(t, db.stream("i", "f", "n"))}
	db.exec(`INSERT INTO i VALUES (1, 10, 'x')`)
	db.exec(`UPDATE i SET id = 2`)
	db.exec(`UPDATE i SET u = 20`)
	db.exec(`DELETE FROM i`)
	db.exec(`INSERT INTO f VALUES (NULL, 1)`)
	db.exec(`UPDATE f SET a = 2`)
	db.exec(`INSERT INTO n VALUES (1), (1)`)
	db.exec(`DELETE FROM n WHERE ctid = '(0,1)'`)
	r.want(`0 insert i after id=1 u=10 x="x"`,
		`0 update i after id=2 u=10 x="x"`,
		`0 update i before id=unchanged u=10 x=unchanged after id=2 u=20 x="x"`,
		`0 delete i before id=unchanged u=20 x=unchanged`,
		`0 insert f after a=null id=1`,
		`0 update f before a=null id=1 after a=2 id=1`,
		`0 insert n after x=1`, `1 insert n after x=1`,
		`0 delete n before x=1`)
	for i, want := range map[int]string{
		0: `id:integer! u:integer!* x:text key [0]`,
		4: `a:integer* id:integer!* key [1]`,
		6: `x:integer* key []`,
	} {
		if got := shape(r.tables[i]); got != want {
			t.Errorf("row %d: %s, want %s", i, got, want)
		}
	}
}

// TestToast leaves large values alone: they come from the old row where it is
// logged, else from the table.
func TestToast(t *testing.T) {
	db := newTestDB(t)
	db.exec(`CREATE TABLE d (id int PRIMARY KEY, n int, big text); ALTER TABLE d ALTER big SET STORAGE EXTERNAL;
		CREATE TABLE f (id int PRIMARY KEY, n int, big text); ALTER TABLE f ALTER big SET STORAGE EXTERNAL; ALTER TABLE f REPLICA IDENTITY FULL;
		CREATE TABLE k (big text, n int, PRIMARY KEY (big)); ALTER TABLE k ALTER big SET STORAGE EXTERNAL`)
	cfg := db.stream("d", "f", "k")
	s := mustOpen(t, cfg)
	r := &tape{t: t, s: s}
	db.exec(`INSERT INTO d VALUES (1, 1, repeat('d', 5000)), (2, 1, repeat('e', 5000))`)
	db.exec(`INSERT INTO f VALUES (1, 1, repeat('f', 5000))`)
	db.exec(`INSERT INTO k VALUES (repeat('k', 2500), 1)`)
	r.until(func() bool { return len(r.rows) == 4 })

	db.exec(`UPDATE f SET n = 2`)
	r.want(`0 update f before id=1 n=1 big="fffffffff…5002 after id=1 n=2 big="fffffffff…5002`)
	db.exec(`UPDATE d SET n = 2 WHERE id = 1`)
	r.want(`0 update d after id=1 n=2 big="ddddddddd…5002 refetched [2]`)
	db.exec(`UPDATE d SET id = 5 WHERE id = 1`)
	r.want(`0 update d before id=1 n=unchanged big=unchanged after id=5 n=2 big="ddddddddd…5002 refetched [2]`)
	db.exec(`UPDATE k SET n = 2`)
	r.want(`0 update k before big="kkkkkkkkk…2502 n=unchanged after big="kkkkkkkkk…2502 n=2`)
}
