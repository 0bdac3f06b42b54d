package integration

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"cdc/internal/services"
	"cdc/internal/servicetest"
)

// mysqlSchemaChanges is what happens to the table kinds (id INT PRIMARY KEY, v
// VARCHAR(9) NOT NULL, a INT).
var mysqlSchemaChanges = []struct {
	name string
	sql  []string
}{
	{"a longer text, a column more", []string{
		"ALTER TABLE kinds MODIFY v VARCHAR(40), ADD n INT FIRST",
		"INSERT INTO kinds (id, v, n) VALUES (10, 'longer than nine', 5)",
	}},
	{"columns with defaults", []string{
		"ALTER TABLE kinds ADD b DECIMAL(6,2) NOT NULL DEFAULT 7, ADD (c VARCHAR(20) DEFAULT 'it''s \\\\ so', d DATE DEFAULT '2026-11-21'), ADD i INT NOT NULL",
		"INSERT INTO kinds (id, v, b, c, d, i) VALUES (20, 'a', 1.5, NULL, NULL, 1)",
		"UPDATE kinds SET v = 'changed' WHERE id = 1",
	}},
	{"a renamed column", []string{
		"ALTER TABLE kinds RENAME COLUMN c TO `C c`",
		"INSERT INTO kinds (id, v, `C c`, i) VALUES (30, 'a', 'renamed', 1)",
	}},
	{"a renamed and wider column", []string{
		"ALTER TABLE kinds CHANGE COLUMN a `a2` BIGINT AFTER v, ALGORITHM = COPY",
		"INSERT INTO kinds (id, v, a2, i) VALUES (40, 'a', 1099511627776, 1)",
	}},
	{"added, then renamed, and the old name taken again", []string{
		"ALTER TABLE kinds ADD x INT DEFAULT 3",
		"ALTER TABLE kinds RENAME COLUMN x TO y",
		"ALTER TABLE kinds ADD x INT NOT NULL DEFAULT 4",
		"UPDATE kinds SET v = 'again' WHERE id = 2",
	}},
	{"altered beside and swapped", []string{
		"CREATE TABLE _kinds_gho LIKE kinds",
		"ALTER TABLE _kinds_gho RENAME COLUMN y TO z, ADD COLUMN extra INT DEFAULT 9",
		"INSERT INTO _kinds_gho (n, id, v, a2, b, `C c`, d, i, z, x) SELECT n, id, v, a2, b, `C c`, d, i, y, x FROM kinds",
		"RENAME TABLE kinds TO _kinds_del, _kinds_gho TO kinds",
		"INSERT INTO kinds (id, v, i) VALUES (60, 'a', 1)",
		"DROP TABLE _kinds_del",
	}},
	{"a column less", []string{
		"ALTER TABLE kinds DROP COLUMN b, DROP n",
		"INSERT INTO kinds (id, v, i, z) VALUES (70, 'a', 1, 8)",
	}},
}

// TestMySQLSchemaChanges alters a captured table while cdc runs, and all at once
// while it is stopped: in the end the target has what the source has, in the rows
// from before, too.
func TestMySQLSchemaChanges(t *testing.T) {
	for _, pair := range [][2]string{{services.MySQL9, "postgres"}, {services.MariaDB118, services.MySQL9}, {services.MariaDB118, "postgres"}} {
		for _, stopped := range []bool{false, true} {
			if stopped && pair == [2]string{services.MariaDB118, "postgres"} {
				continue // one of the two is enough
			}
			t.Run(fmt.Sprintf("%s to %s, stopped %v", pair[0], pair[1], stopped), func(t *testing.T) {
				t.Parallel()
				source, target := newSide(t, pair[0]), newSide(t, pair[1])
				source.exec(t, "CREATE TABLE kinds (id INT PRIMARY KEY, v VARCHAR(9) NOT NULL, a INT)", "INSERT INTO kinds VALUES (1, 'one', 1), (2, 'two', NULL), (3, 'three', 3)")
				file := capturePair(t, source, target)
				equal := func() error { return sameKinds(t, source, target) }
				p := start(t, binary, "run", "--config", file)
				eventually(t, time.Minute, "the snapshot is in the target", equal, p)
				backward(t, file)
				if stopped {
					p.stop(t)
				}
				for _, change := range mysqlSchemaChanges {
					source.exec(t, change.sql...)
					if !stopped {
						eventually(t, time.Minute, change.name, equal, p)
					}
				}
				if stopped {
					p = start(t, binary, "run", "--config", file)
					eventually(t, time.Minute, "all changes are in the target", equal, p)
				}

				// Rows would be written under a name that is not captured.
				source.exec(t, "RENAME TABLE kinds TO kinds2", "INSERT INTO kinds2 (id, v, i) VALUES (80, 'lost', 1)", "RENAME TABLE kinds2 TO kinds")
				if code := p.exit(t, time.Minute); code != 3 || !strings.Contains(p.output(), "was renamed to") || !strings.Contains(p.output(), "on_rename: warn") {
					t.Errorf("it ended with %d:\n%s", code, p.output())
				}
			})
		}
	}
}

// backward lets the registry take nothing but what readers of the version before
// can read.
func backward(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "topics: [")
	topic, _, _ := strings.Cut(after, "]")
	w := &world{registry: servicetest.Registry(t)}
	for _, part := range []string{"-key", "-value"} {
		w.compatibility(t, topic+part, "BACKWARD")
	}
}

// sameKinds reports how two databases differ in the columns that the source's
// table kinds has.
func sameKinds(t *testing.T, source, target *side) error {
	columns, err := source.query(t.Context(), "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = database() AND TABLE_NAME = 'kinds' ORDER BY 1")
	if err != nil {
		return err
	}
	sql := func(quote string) string {
		var list []string
		for _, c := range columns {
			list = append(list, quote+c[0]+quote)
		}
		return "SELECT " + strings.Join(list, ", ") + " FROM kinds ORDER BY id"
	}
	want, err := source.query(t.Context(), sql("`"))
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	quote := "`"
	if target.pg != nil {
		quote = `"`
	}
	got, err := target.query(t.Context(), sql(quote))
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	if !slices.EqualFunc(want, got, slices.Equal) {
		return fmt.Errorf("columns %v:\n%v instead of\n%v", columns, got, want)
	}
	return nil
}
