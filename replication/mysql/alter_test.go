package mysql

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

var allowUnexported = cmp.AllowUnexported(columnChange{}, rowValue{}, tableRename{}, token{}, columnHistory{})

func TestParseAlter(t *testing.T) {
	added := func(name string, kind valueKind, text string) columnChange {
		return columnChange{to: name, value: rowValue{kind, text}}
	}
	for sql, want := range map[string][]columnChange{
		"ALTER TABLE app.t RENAME COLUMN a TO b, RENAME COLUMN `c``d` TO `e.f`": {{from: "a", to: "b"}, {from: "c`d", to: "e.f"}},
		"alter /* x */ table app . t change column a b int not null default 5":  {{from: "a", to: "b"}},
		"ALTER TABLE app.t CHANGE `a` `b` DECIMAL(10,2), CHANGE c c BIGINT":     {{from: "a", to: "b"}},
		"ALTER TABLE app.t CHANGE COLUMN IF EXISTS a b INT":                     {{from: "a", to: "b", perhaps: true}},
		"ALTER TABLE app.t RENAME COLUMN IF EXISTS a TO b":                      {{from: "a", to: "b", perhaps: true}},
		"ALTER TABLE app.t RENAME TO x, RENAME INDEX a TO b, RENAME KEY a TO b": nil,
		"ALTER TABLE app.t MODIFY a INT DEFAULT 7 AFTER b":                      nil,
		"ALTER TABLE app.t DROP a, DROP COLUMN b, DROP INDEX c, DROP PRIMARY KEY, DROP FOREIGN KEY d, DROP COLUMN IF EXISTS `key`": {
			{from: "a"}, {from: "b"}, {from: "key", perhaps: true},
		},
		"ALTER TABLE app.t ADD INDEX (a), ADD UNIQUE u (a, b), ADD CONSTRAINT c CHECK (a > 0), ADD PRIMARY KEY (a), ADD FULLTEXT KEY f (t), ADD PERIOD FOR SYSTEM_TIME(a, b), ADD SYSTEM VERSIONING, ADD PARTITION (PARTITION p VALUES LESS THAN (9))": nil,
		"ALTER TABLE app.t ADD a INT": {added("a", valueNull, "")},
		"ALTER ONLINE IGNORE TABLE IF EXISTS app.t WAIT 5 ADD COLUMN IF NOT EXISTS a INT DEFAULT 7": {{to: "a", perhaps: true, value: rowValue{valueNumber, "7"}}},
		"ALTER TABLE app.t ADD (a INT DEFAULT 1, b VARCHAR(9) DEFAULT 'x,)', INDEX (a)), ADD c INT": {
			added("a", valueNumber, "1"), added("b", valueText, "x,)"), added("c", valueNull, ""),
		},
		"ALTER TABLE app.t ADD a DECIMAL(6,2) NOT NULL DEFAULT -7.50 COMMENT 'DEFAULT 8', ALGORITHM=INSTANT": {added("a", valueNumber, "-7.50")},
		"ALTER TABLE app.t ADD a INT NOT NULL FIRST":                                                         {added("a", valueImplicit, "")},
		"ALTER TABLE app.t ADD a INT NULL DEFAULT NULL":                                                      {added("a", valueNull, "")},
		"ALTER TABLE app.t ADD a INT NOT NULL DEFAULT NULL":                                                  {added("a", valueImplicit, "")},
		`ALTER TABLE app.t ADD a TEXT DEFAULT ('it''s \\ \n "x"')`:                                           {added("a", valueText, "it's \\ \n \"x\"")},
		`ALTER TABLE app.t ADD a TEXT DEFAULT "double ""quoted"""`:                                           {added("a", valueText, `double "quoted"`)},
		"ALTER TABLE app.t ADD a VARCHAR(9) DEFAULT 'a' 'b' CHARACTER SET utf8mb4":                           {added("a", valueText, "ab")},
		"ALTER TABLE app.t ADD a VARCHAR(9) DEFAULT _utf8mb4'é', ADD b TEXT DEFAULT N'n'":                    {added("a", valueText, "é"), added("b", valueText, "n")},
		"ALTER TABLE app.t ADD a BIT(9) DEFAULT b'101', ADD b BINARY(2) DEFAULT x'00FF', ADD c INT DEFAULT 0x10, ADD d BOOLEAN DEFAULT TRUE": {
			added("a", valueBytes, "\x05"), added("b", valueBytes, "\x00\xff"), added("c", valueBytes, "\x10"), added("d", valueNumber, "1"),
		},
		"ALTER TABLE app.t ADD a JSON DEFAULT (JSON_ARRAY()), ADD b JSON DEFAULT (json_object())":                                             {added("a", valueText, "[]"), added("b", valueText, "{}")},
		"ALTER TABLE app.t ADD a TIMESTAMP DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP":                                             {added("a", valueUnknown, "CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP")},
		"ALTER TABLE app.t ADD a INT DEFAULT (7 + 1), ADD b INT DEFAULT (b * 2)":                                                              {added("a", valueUnknown, "(7 + 1)"), added("b", valueUnknown, "(b * 2)")},
		"ALTER TABLE app.t ADD a CHAR(36) DEFAULT (uuid())":                                                                                   {added("a", valueUnknown, "(uuid())")},
		"ALTER TABLE app.t ADD a INT AUTO_INCREMENT UNIQUE, ADD b INT AS (a * 2) STORED":                                                      {added("a", valueUnknown, "AUTO_INCREMENT"), added("b", valueUnknown, "a generated column")},
		"ALTER TABLE app.t ADD a INT REFERENCES x (y), ADD b ENUM('NOT', 'NULL') DEFAULT 'NOT'":                                               {added("a", valueNull, ""), added("b", valueText, "NOT")},
		"ALTER TABLE app.t ADD a INT DEFAULT 7 COLUMN_FORMAT DEFAULT STORAGE DEFAULT, ADD b INT COLUMN_FORMAT FIXED DEFAULT 8 STORAGE DISK":   {added("a", valueNumber, "7"), added("b", valueNumber, "8")},
		"ALTER TABLE app.t ADD a INT DEFAULT 7 AFTER serial, ADD b INT DEFAULT 8 REFERENCES x (y) ON DELETE SET DEFAULT, ADD c SET('a', 'b')": {added("a", valueNumber, "7"), added("b", valueNumber, "8"), added("c", valueNull, "")},
		"ALTER TABLE app.t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES x (y), CONVERT TO CHARACTER SET utf8mb4":                               nil,
		"/*!80000 ALTER TABLE app.t ADD a INT DEFAULT 3 */":                                                                                   {added("a", valueNumber, "3")},
	} {
		a, ok := parseAlter(tokenize(sql, sqlMode{}), "app")
		if !ok || a.schema != "app" || a.name != "t" {
			t.Errorf("%s: table %q.%q, %v", sql, a.schema, a.name, ok)
		}
		if diff := cmp.Diff(want, a.columns, allowUnexported); diff != "" {
			t.Errorf("%s (-want +got):\n%s", sql, diff)
		}
	}
	a, _ := parseAlter(tokenize(`ALTER TABLE "t" ADD "b" VARCHAR(9) DEFAULT '\'`, sqlMode{ansiQuotes: true, noEscapes: true}), "db")
	if a.schema != "db" || a.name != "t" || cmp.Diff([]columnChange{added("b", valueText, `\`)}, a.columns, allowUnexported) != "" {
		t.Errorf("with ANSI_QUOTES and NO_BACKSLASH_ESCAPES: %+v", a)
	}
	for _, sql := range []string{"CREATE TABLE t (a INT)", "ALTER USER x", "ALTER", ""} {
		if a, ok := parseAlter(tokenize(sql, sqlMode{}), "db"); ok {
			t.Errorf("%s: %+v", sql, a)
		}
	}
}

func TestParseRenames(t *testing.T) {
	pair := func(a, b, c, d string) tableRename { return tableRename{[2]string{a, b}, [2]string{c, d}} }
	for sql, want := range map[string][]tableRename{
		"RENAME TABLE t TO u":                                     {pair("db", "t", "db", "u")},
		"rename tables `t` to x.`u v`, `x`.`w` to t":              {pair("db", "t", "x", "u v"), pair("x", "w", "db", "t")},
		"RENAME TABLE IF EXISTS a WAIT 5 TO b, c NOWAIT TO d":     {pair("db", "a", "db", "b"), pair("db", "c", "db", "d")},
		"ALTER TABLE t RENAME u":                                  {pair("db", "t", "db", "u")},
		"ALTER TABLE a.t ADD c INT, RENAME AS b.u, COMMENT = 'x'": {pair("a", "t", "b", "u")},
		"ALTER TABLE t RENAME = u":                                {pair("db", "t", "db", "u")},
		"ALTER TABLE t NOWAIT RENAME TO u":                        {pair("db", "t", "db", "u")},
		"ALTER TABLE t WAIT 3 RENAME TO u":                        {pair("db", "t", "db", "u")},
		"ALTER TABLE t RENAME COLUMN a TO b, RENAME INDEX c TO d": nil,
		"ALTER TABLE t COMMENT 'RENAME TO u', ADD x INT, DROP y":  nil,
		"RENAME USER a TO b":                                      nil,
		"/*!99 RENAME TABLE t TO u */ -- RENAME TABLE a TO b":     {pair("db", "t", "db", "u")},
	} {
		if diff := cmp.Diff(want, parseRenames(tokenize(sql, sqlMode{}), "db"), allowUnexported); diff != "" {
			t.Errorf("%s (-want +got):\n%s", sql, diff)
		}
	}
}

// TestColumnHistory: identities go with the columns, and no two columns of a
// table share one.
func TestColumnHistory(t *testing.T) {
	h := &columnHistory{}
	for _, step := range []struct {
		sql  string
		want map[string]string // identity by name
	}{
		{"ALTER TABLE t RENAME COLUMN a TO b", map[string]string{"b": "a", "a": "a~"}},
		{"ALTER TABLE t RENAME COLUMN a TO b", map[string]string{"b": "a~", "a": "a"}}, // of a new column a
		{"ALTER TABLE t DROP b, RENAME COLUMN a TO b", map[string]string{"b": "a", "a": "a~"}},
		{"ALTER TABLE t RENAME COLUMN IF EXISTS a TO b", map[string]string{"b": "a"}},
		{"ALTER TABLE t CHANGE B c INT, ADD b INT", map[string]string{"c": "a", "b": "b"}},
		{"ALTER TABLE t RENAME COLUMN b TO c, RENAME COLUMN c TO b", map[string]string{"c": "b", "B": "a"}},
		{"ALTER TABLE t RENAME COLUMN b TO a, RENAME COLUMN c TO b", map[string]string{"a": "a", "b": "b"}},
	} {
		a, _ := parseAlter(tokenize(step.sql, sqlMode{}), "db")
		h.alter(a.columns)
		for name, want := range step.want {
			if got := h.id(name); got != want {
				t.Fatalf("after %s: column %s is %s, want %s", step.sql, name, got, want)
			}
		}
	}
	if len(h.IDs) != 0 {
		t.Errorf("left over: %v", h.IDs)
	}

	for _, sql := range []string{"ALTER TABLE t ADD x INT DEFAULT 3", "ALTER TABLE t ADD IF NOT EXISTS x INT DEFAULT 4, CHANGE x y BIGINT", "ALTER TABLE t ALTER y SET DEFAULT 5"} {
		a, _ := parseAlter(tokenize(sql, sqlMode{}), "db")
		h.alter(a.columns)
	}
	if v, ok := h.added("Y"); !ok || v != (rowValue{valueNumber, "3"}) || h.id("y") != "x" {
		t.Errorf("added %v %v, identity %s", v, ok, h.id("y"))
	}

	// A table that another one takes the place of, which was made like it.
	h = &columnHistory{IDs: map[string]string{"b": "a"}, Added: map[string]string{"old": "n1"}}
	shadow := &columnHistory{Shadow: true}
	a, _ := parseAlter(tokenize("ALTER TABLE _t_gho RENAME COLUMN b TO c, ADD extra INT DEFAULT 7", sqlMode{}), "db")
	shadow.alter(a.columns)
	want := &columnHistory{IDs: map[string]string{"c": "a"}, Added: map[string]string{"old": "n1", "extra": "n7"}}
	if diff := cmp.Diff(want, h.replacedBy(shadow), allowUnexported); diff != "" {
		t.Errorf("replaced (-want +got):\n%s", diff)
	}
}

// FuzzStatement: whatever a statement is, it is taken apart to an end.
func FuzzStatement(f *testing.F) {
	for _, sql := range []string{
		"ALTER TABLE a.`t` ADD COLUMN (x INT DEFAULT (-1.5e3), y BIT DEFAULT b'1'), RENAME COLUMN `a``b` TO c", "RENAME TABLE a TO b, c.d TO e",
		"ALTER TABLE t ADD x TEXT DEFAULT _latin1'\\", "/*! ALTER TABLE t CHANGE a \"b\" INT DEFAULT 0x0 */", "ALTER TABLE t ADD x INT DEFAULT .5 AS (", "CREATE TABLE _t_new LIKE t",
	} {
		f.Add(sql, false)
	}
	f.Fuzz(func(t *testing.T, sql string, ansi bool) {
		tokens := tokenize(sql, sqlMode{ansiQuotes: ansi, noEscapes: ansi})
		if len(tokens) > len(sql) {
			t.Errorf("%d tokens of %d bytes", len(tokens), len(sql))
		}
		if a, ok := parseAlter(tokens, "db"); ok {
			h := &columnHistory{}
			h.alter(a.columns)
			h.alter(a.columns)
			for _, c := range a.columns {
				h.id(c.to)
				h.added(c.to)
			}
		}
		parseRenames(tokens, "db")
		classify(sql, "db")
		for _, flavor := range []Flavor{MySQL, MariaDB} {
			if got := plain(sql, sqlMode{ansiQuotes: ansi, noEscapes: ansi}, flavor); len(got) > len(sql) {
				t.Errorf("%q became %q", sql, got)
			}
		}
	})
}

// TestIdentityStays: a column keeps its identity when the one goes that had its
// name before.
func TestIdentityStays(t *testing.T) {
	t.Parallel()
	h := &columnHistory{}
	for _, step := range []struct{ sql, name, want string }{
		{"ALTER TABLE t RENAME COLUMN a TO b", "b", "a"},
		{"ALTER TABLE t ADD COLUMN a INT", "a", "a~"},
		{"ALTER TABLE t DROP COLUMN b", "a", "a~"},
		{"ALTER TABLE t RENAME COLUMN a TO z", "z", "a~"},
	} {
		a, ok := parseAlter(tokenize(step.sql, sqlMode{}), "app")
		if !ok {
			t.Fatal(step.sql)
		}
		h.alter(a.columns)
		if got := h.id(step.name); got != step.want {
			t.Errorf("%s: column %s is %q, want %q", step.sql, step.name, got, step.want)
		}
	}
}

func TestPlain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flavor    Flavor
		mode      sqlMode
		sql, want string
	}{
		{MariaDB, sqlMode{}, "TRUNCATE t", "TRUNCATE t"},
		{MariaDB, sqlMode{}, "SET STATEMENT lock_wait_timeout=5 FOR TRUNCATE t", " TRUNCATE t"},
		{MariaDB, sqlMode{}, "/* x */ set statement sql_mode='it''s \\' FOR x', b=\" FOR \", c=`FOR`, d=(SELECT 1 FOR UPDATE) /* FOR */ FOR ALTER TABLE t ADD a INT", " ALTER TABLE t ADD a INT"},
		{MariaDB, sqlMode{noEscapes: true}, `SET STATEMENT a='\' FOR TRUNCATE t`, " TRUNCATE t"},
		{MariaDB, sqlMode{}, "SET STATEMENT a='FOR", "SET STATEMENT a='FOR"},
		{MariaDB, sqlMode{}, "ALTER TABLE t /*M! ADD y INT, */ ADD x INT", "ALTER TABLE t /*M! ADD y INT, */ ADD x INT"},
		{MySQL, sqlMode{}, "ALTER TABLE t /*M!100100 ADD y INT, */ ADD x INT", "ALTER TABLE t   ADD x INT"},
		{MySQL, sqlMode{}, "ALTER TABLE t /*! ADD y TEXT DEFAULT ('/*M! \\' x */'), */ ADD `/*M!` INT", "ALTER TABLE t /*! ADD y TEXT DEFAULT ('/*M! \\' x */'), */ ADD `/*M!` INT"},
		{MySQL, sqlMode{}, "/* /*M! */ TRUNCATE -- /*M!\n t # /*M!", "  TRUNCATE   t  "},
		{MySQL, sqlMode{ansiQuotes: true}, `ALTER TABLE "/*M!\" /*M! x`, `ALTER TABLE "/*M!\"  `},
	} {
		if got := plain(c.sql, c.mode, c.flavor); got != c.want {
			t.Errorf("%s: %s\n got %q\nwant %q", c.flavor, c.sql, got, c.want)
		}
	}
}
