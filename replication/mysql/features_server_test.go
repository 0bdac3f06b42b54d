package mysql

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cdc/internal/services"
	"cdc/replication"
)

func lines(rows []row) (out []string) {
	for i := range rows {
		out = append(out, rows[i].String())
	}
	return out
}

func wantRows(t *testing.T, got []row, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, lines(got)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func changesOnly(cfg Config) Config {
	for i := range cfg.Tables {
		cfg.Tables[i].Snapshot = SnapshotNever
	}
	return cfg
}

// TestZeroDates: each policy does what it says, for the snapshot and the stream.
func TestZeroDates(t *testing.T) {
	t.Parallel()
	everyServer(t, func(t *testing.T, version string) {
		for policy, want := range map[ZeroDates][]string{
			ZeroDatesError: {`"0000-00-00"`, `"2026-00-10"`, `"0000-00-00 00:00:00"`, `"0000-00-00 00:00:00.000"`, "date(59)"},
			ZeroDatesNull:  {"null", "null", "null", "null", "date(59)"},
			ZeroDatesText:  {`"0000-00-00"`, `"2026-00-10"`, `"0000-00-00 00:00:00"`, `"0000-00-00 00:00:00.000"`, `"1970-03-01"`},
		} {
			cfg, exec := testConfig(t, version, "z")
			cfg.ZeroDates = policy
			exec("SET sql_mode = ''", "CREATE TABLE z (id INT PRIMARY KEY, a DATE NOT NULL, b DATE, c DATETIME, d TIMESTAMP(3) NULL, e DATE)")
			const values = "'0000-00-00', '2026-00-10', '0000-00-00', '0000-00-00', '1970-03-01')"
			exec("INSERT INTO z VALUES (1, " + values)
			r := openSource(t, cfg)
			exec("INSERT INTO z VALUES (2, " + values)
			for _, row := range r.take(2) {
				if diff := cmp.Diff(want, row.after[1:]); diff != "" {
					t.Errorf("zero_dates %s, %s (-want +got):\n%s", policy, row.op, diff)
				}
				if row.table.Columns[1].NotNull == (policy == ZeroDatesNull) {
					t.Errorf("zero_dates %s: column a is %+v", policy, row.table.Columns[1])
				}
			}
		}
	})
}

// TestJSON: what the stream makes of the binary form is what the server prints.
func TestJSON(t *testing.T) {
	t.Parallel()
	for _, version := range []string{services.MySQL9, services.MySQL80} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			cfg, exec := testConfig(t, version, "j")
			cfg.BatchBytes = 64 << 10
			exec("CREATE TABLE j (id INT PRIMARY KEY AUTO_INCREMENT, doc JSON, printed LONGTEXT)")
			docs := []string{
				"'null'", "'true'", "'0'", "'-0.0'", "'1.0'", "'1e15'", "'123456789012345.5'", "'1e14'", "'1e-15'", "'0.00001234'", "'1.7976931348623157e308'", "'5e-324'", "'0.1'",
				"'18446744073709551615'", "'-9223372036854775808'", "'32768'", "'-32769'", "'4294967296'", "'{}'", `'{"": ""}'`,
				`'"\\u0001\\b\\f\\n\\r\\t\\\\\\"/é😀"'`, `'[[[[]]],{"a":[{}]}]'`,
				"JSON_OBJECT('d', CAST('2026-05-24' AS DATE), 't', CAST('-12:34:56.5' AS TIME(6)), 'dt', CAST('2026-05-24 01:02:03.000004' AS DATETIME(6)))",
				"JSON_ARRAY(CAST(1.50 AS DECIMAL(10,2)), CAST(-99999999999999999999.5 AS DECIMAL(30,5)), 0.10)",
				"JSON_ARRAY(x'00ff', CAST(REPEAT('b', 200) AS BINARY))", "JSON_ARRAY(b'101', CAST(2026 AS YEAR))",
				"JSON_OBJECT('k', REPEAT('x', 70000))", "JSON_ARRAY(REPEAT('x', 127), REPEAT('y', 128), REPEAT('z', 16384))",
			}
			docs[len(docs)-3] = "JSON_ARRAY(x'00ff', CAST(REPEAT('b', 200) AS BINARY), b'101')"
			rng := rand.New(rand.NewPCG(1, 2))
			for range 60 {
				docs = append(docs, "'"+randomJSON(rng, 4)+"'")
			}
			docs = append(docs, "'["+strings.Repeat(`{"key":123456,"other":"value"},`, 3000)+"1]'")
			for _, d := range docs {
				if strings.Contains(d, "AS YEAR") && version == services.MySQL80 {
					continue
				}
				exec("INSERT INTO j (doc) VALUES (" + d + ")")
			}
			exec("UPDATE j SET printed = doc")
			r := openSource(t, cfg)
			n := 0
			for _, d := range docs {
				if !strings.Contains(d, "AS YEAR") || version != services.MySQL80 {
					n++
				}
			}
			read := r.take(n)
			exec("UPDATE j SET id = id + 1000 ORDER BY id DESC")
			streamed := map[string]row{}
			for _, c := range r.take(n) {
				streamed[c.before[0]] = c
			}
			for _, c := range read {
				doc := streamed[c.after[0]].after[1]
				if doc != c.after[1] {
					t.Errorf("document %s: the stream reads\n%s, the server prints\n%s", c.after[0], clip(doc, 300), clip(c.after[1], 300))
				}
			}
		})
	}
}

func randomJSON(rng *rand.Rand, depth int) string {
	switch rng.IntN(7 + depth) {
	case 0:
		return "null"
	case 1:
		return fmt.Sprint(rng.IntN(2) == 0)
	case 2:
		return fmt.Sprint(rng.Int64() >> rng.IntN(63))
	case 3:
		return fmt.Sprint(-(rng.Int64() >> rng.IntN(63)))
	case 4:
		return fmt.Sprintf("%g", rng.NormFloat64()*float64(rng.Int64()>>rng.IntN(63)))
	case 5, 6:
		return fmt.Sprintf(`"%s"`, strings.Repeat("é漢x", rng.IntN(30)))
	}
	var parts []string
	object := rng.IntN(2) == 0
	for i := range rng.IntN(12) {
		part := randomJSON(rng, depth-1)
		if object {
			part = fmt.Sprintf(`"%s%d": %s`, strings.Repeat("k", rng.IntN(5)), i, part)
		}
		parts = append(parts, part)
	}
	if object {
		return "{" + strings.Join(parts, ",") + "}"
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// TestPartialJSON: a log that holds only what changed in documents gives the
// whole documents.
func TestPartialJSON(t *testing.T) {
	t.Parallel()
	for _, version := range []string{services.MySQL9, services.MySQL80} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			cfg, exec := testConfig(t, version, "p")
			exec("SET binlog_row_value_options = 'PARTIAL_JSON'",
				"CREATE TABLE p (id INT PRIMARY KEY, a JSON, n INT, b JSON)",
				`INSERT INTO p VALUES (1, '{"name": "x", "list": [1, 2, 3], "deep": {"k y": [{"z": 1}]}, "long": "`+strings.Repeat("l", 500)+`"}', 0, '[1, {"a": null}]'), (2, NULL, 0, '{"q": "`+strings.Repeat("q", 500)+`"}')`)
			r := openSource(t, cfg)
			r.take(2)
			updates := []string{
				"a = JSON_SET(a, '$.name', 'longer than it was before')",
				"a = JSON_REPLACE(a, '$.list[1]', 22)",
				"a = JSON_SET(a, '$.deep.\"k y\"[0].z', JSON_OBJECT('n', 1.50))",
				"a = JSON_REMOVE(a, '$.list[0]'), b = JSON_SET(b, '$[0]', 'both')",
				"a = JSON_SET(a, '$.name', NULL), n = n + 1",
				"b = JSON_REPLACE(b, '$[1].a', true)",
				"a = JSON_REMOVE(JSON_SET(a, '$.name', 1, '$.added', 2), '$.deep')",
				"a = JSON_SET(a, '$.added', 'x'), b = '[]'",
			}
			for i, u := range updates {
				exec("UPDATE p SET " + u + " WHERE id = 1")
				got := r.take(1)[0]
				want := r.query(t, "SELECT a, n, b FROM "+quoteTable(cfg.Tables[0].Schema, "p")+" WHERE id = 1")
				if diff := cmp.Diff(want, got.after[1:]); diff != "" {
					t.Errorf("update %d, %s (-want +got):\n%s", i, u, diff)
				}
			}
			exec("UPDATE p SET b = JSON_SET(b, '$.q', 'short') WHERE id = 2")
			wantRows(t, r.take(1), `update p 2 null 0 {"q": "`+strings.Repeat("q", 500)+`"} > 2 null 0 {"q": "short"}`)
		})
	}
}

// query returns the first row of an answer of the server's.
func (r *reading) query(t *testing.T, sql string) (out []string) {
	t.Helper()
	rows, err := r.s.session.query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range rows[0] {
		if c.null {
			c.text = "null"
		}
		out = append(out, c.text)
	}
	return out
}

// TestCompression: compressed transactions (MySQL) and events (MariaDB) read as
// the others, also when they are larger than a batch.
func TestCompression(t *testing.T) {
	t.Parallel()
	for _, version := range []string{services.MySQL9, services.MariaDB118, services.MariaDB1011} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			cfg, exec := testConfig(t, version, "c")
			cfg.BatchBytes = 16 << 10
			exec("CREATE TABLE c (id INT PRIMARY KEY, s VARCHAR(300)) CHARACTER SET utf8mb4")
			if version == services.MySQL9 {
				exec("SET binlog_transaction_compression = ON")
			} else {
				exec("SET GLOBAL log_bin_compress = ON, log_bin_compress_min_len = 10")
				t.Cleanup(func() { exec("SET GLOBAL log_bin_compress = OFF") })
			}
			r := openSource(t, changesOnly(cfg))
			const n = 2000
			var sql strings.Builder
			for i := range n {
				fmt.Fprintf(&sql, "%c(%d, '%s%d')", ",("[min(1, max(0, 1-i))], i, strings.Repeat("x", 200), i)
			}
			exec("INSERT INTO c VALUES "+strings.Replace(sql.String(), "((", "(", 1), "UPDATE c SET s = 'u' WHERE id < 3", "DELETE FROM c WHERE id >= 1000")
			rows := r.take(n + 3 + 1000)
			for i, c := range rows[:n] {
				if want := fmt.Sprintf("insert c  > %d \"%s%d\"", i, strings.Repeat("x", 200), i); c.String() != want || c.index != uint64(i) || c.tx != rows[0].tx {
					t.Fatalf("change %d is %s, index %d in %s", i, clip(c.String(), 100), c.index, c.tx)
				}
			}
			if got := rows[n+1].after; got[0] != "1" || got[1] != `"u"` {
				t.Errorf("update is %v", got)
			}
			if got := rows[n+3]; got.op != replication.OpDelete || got.before[0] != "1000" {
				t.Errorf("delete is %v", got.String())
			}
		})
	}
}

// TestRowImages: what the log leaves out is known from the image before, or read
// from the table, or Unchanged where that was chosen.
func TestRowImages(t *testing.T) {
	t.Parallel()
	everyServer(t, func(t *testing.T, version string) {
		const table = " (id INT PRIMARY KEY, a INT NOT NULL DEFAULT 5, b TEXT, c VARCHAR(10) DEFAULT 'd', at DATETIME(3) DEFAULT '2026-05-24 01:02:03.004', z DECIMAL(9,2) DEFAULT 1.5)"
		cfg, exec := testConfig(t, version, "i", "o", "f")
		cfg.Tables[1].Toast, cfg.Tables[2].Toast = ToastOmit, ToastFail
		for _, name := range []string{"i", "o", "f"} {
			exec("CREATE TABLE "+name+table, "INSERT INTO "+name+" (id, a, b, c) VALUES (1, 1, 'text', 'c'), (2, 2, 'text', 'c')")
		}
		r := openSource(t, changesOnly(cfg))
		at := " timestamp(1779584523004000) 1.50"
		for name, want := range map[string][]string{
			"i": {
				`update i 1 1 unchanged "c"@ > 1 10 "new" "c"@`, `update i 1 10 unchanged "c"@ > 1 10 "new" "c"@`,
				`update i 1 unchanged unchanged unchanged unchanged unchanged > 1 11 "new" "c"@`,
				`delete i 2 unchanged unchanged unchanged unchanged unchanged > `, `insert i  > 7 5 null "d"@`, `insert i  > 8 5 null "d"@`,
				`update i 8 unchanged unchanged unchanged unchanged unchanged > 9 5 null "d"@`, `update i 1 11 "new" "c"@ > 1 12 "new" "c"@`,
			},
			"o": {
				`update o 1 1 unchanged "c"@ > 1 10 unchanged "c"@`, `update o 1 10 unchanged "c"@ > 1 10 "new" "c"@`,
				`update o 1 unchanged unchanged unchanged unchanged unchanged > 1 11 unchanged unchanged unchanged unchanged`,
				`delete o 2 unchanged unchanged unchanged unchanged unchanged > `, `insert o  > 7 5 null "d"@`, `insert o  > 8 5 null "d"@`,
				`update o 8 unchanged unchanged unchanged unchanged unchanged > 9 5 null "d"@`, `update o 1 11 "new" "c"@ > 1 12 "new" "c"@`,
			},
			"f": {
				`update f 1 1 unchanged "c"@ > 1 10 unchanged "c"@`, `update f 1 10 unchanged "c"@ > 1 10 "new" "c"@`,
				`update f 1 unchanged unchanged unchanged unchanged unchanged > 1 11 unchanged unchanged unchanged unchanged`,
				`delete f 2 unchanged unchanged unchanged unchanged unchanged > `, `insert f  > 7 unchanged unchanged unchanged unchanged unchanged`,
				`insert f  > 8 unchanged unchanged unchanged unchanged unchanged`,
				`update f 8 unchanged unchanged unchanged unchanged unchanged > 9 unchanged unchanged unchanged unchanged unchanged`,
				`update f 1 11 "new" "c"@ > 1 12 "new" "c"@`,
			},
		} {
			// In one transaction, so that what is read is what it ended with; b aside.
			exec("SET binlog_row_image = 'NOBLOB'", "BEGIN", "UPDATE "+name+" SET a = 10 WHERE id = 1", "UPDATE "+name+" SET b = 'new' WHERE id = 1", "COMMIT",
				"SET binlog_row_image = 'MINIMAL'", "UPDATE "+name+" SET a = 11 WHERE id = 1", "DELETE FROM "+name+" WHERE id = 2")
			got := r.take(4)
			exec("INSERT INTO " + name + " (id) VALUES (7), (8)")
			got = append(got, r.take(2)...)
			exec("UPDATE "+name+" SET id = 9 WHERE id = 8", "SET binlog_row_image = 'FULL'", "UPDATE "+name+" SET a = 12 WHERE id = 1")
			got = append(got, r.take(2)...)
			for i := range want {
				want[i] = strings.ReplaceAll(want[i], "@", at)
			}
			wantRows(t, got, want...)
		}
	})
}

// TestRefetchSwapped: the names are still there, but those of other columns.
func TestRefetchSwapped(t *testing.T) {
	t.Parallel()
	everyServer(t, func(t *testing.T, version string) {
		cfg, exec := testConfig(t, version, "w")
		exec("CREATE TABLE w (id INT PRIMARY KEY, a INT, b INT, c INT)", "INSERT INTO w VALUES (1, 10, 20, 30)", "SET binlog_row_image = 'MINIMAL'")
		r := openSource(t, changesOnly(cfg))
		exec("UPDATE w SET c = 31")
		wantRows(t, r.take(1), "update w 1 unchanged unchanged unchanged > 1 10 20 31")
		cfg.From = r.pos
		r.close()
		exec("UPDATE w SET c = 32", "ALTER TABLE w RENAME COLUMN a TO b, RENAME COLUMN b TO a")
		wantRows(t, openSource(t, changesOnly(cfg)).take(1), "update w 1 unchanged unchanged unchanged > 1 unchanged unchanged 32")
	})
}

// TestRefetch: what the log leaves out of many rows is read as the table has it;
// of a row that is gone, or of a column that is another one by now, nothing is
// known; without a key it cannot be found.
func TestRefetch(t *testing.T) {
	t.Parallel()
	everyServer(t, func(t *testing.T, version string) {
		cfg, exec := testConfig(t, version, "m", "k", "n")
		cfg.BatchBytes = 16 << 10
		exec("CREATE TABLE m (id INT PRIMARY KEY, s VARCHAR(300) DEFAULT 'default', n INT)",
			"CREATE TABLE k (s VARCHAR(20), b VARBINARY(9), d DATE, t TIMESTAMP(6), u BIGINT UNSIGNED, x DECIMAL(30,10), v INT DEFAULT 7, PRIMARY KEY (s, b, d, t, u, x))",
			"CREATE TABLE n (a INT, v INT DEFAULT 7)", "SET binlog_row_image = 'MINIMAL'")
		r := openSource(t, changesOnly(cfg))
		const n = 1000
		var sql strings.Builder
		for i := range n {
			fmt.Fprintf(&sql, ", (%d)", i)
		}
		exec("INSERT INTO m (id) VALUES " + sql.String()[2:])
		for i, c := range r.take(n) {
			if want := fmt.Sprintf(`insert m  > %d "default" null`, i); c.String() != want || c.index != uint64(i) {
				t.Fatalf("change %d is %s, index %d, want %s", i, &c, c.index, want)
			}
		}
		exec(`INSERT INTO k (s, b, d, t, u, x) VALUES ('it''s \\ é', x'00ff27', '1969-12-31', '2026-05-24 01:02:03.000004', 18446744073709551615, -0.5)`)
		got := r.take(1)
		if v := got[0].after[6]; v != "7" {
			t.Errorf("the value of a row with every kind of key is %s, want 7", v)
		}
		// Both are read at a time when the row is gone, or the column is.
		r.close()
		exec("INSERT INTO m (id) VALUES (2001)", "DELETE FROM m WHERE id = 2001")
		cfg.From = r.pos
		r = openSource(t, changesOnly(cfg))
		wantRows(t, r.take(2), "insert m  > 2001 unchanged unchanged", "delete m 2001 unchanged unchanged > ")
		r.close()
		exec("INSERT INTO m (id) VALUES (2002)", "ALTER TABLE m MODIFY n CHAR(3) DEFAULT 'x'", "INSERT INTO m (id) VALUES (2003)")
		cfg.From = r.pos
		r = openSource(t, changesOnly(cfg))
		wantRows(t, r.take(2), "insert m  > 2002 unchanged unchanged", `insert m  > 2003 "default" "x"`)
		r.close()
		only := changesOnly(cfg)
		only.From, only.Tables[0].InsertsOnly = r.pos, true
		exec("INSERT INTO m (id) VALUES (2004)", "DELETE FROM m WHERE id = 2004")
		wantRefusal(t, openSource(t, only).fails(), "leaves column s out of a new row, and the row is gone", "SET GLOBAL binlog_row_image = FULL")
		cfg.From, cfg.Tables[0].InsertsOnly = "", false
		cfg.Name += "2"
		r = openSource(t, changesOnly(cfg))
		exec("INSERT INTO n (a) VALUES (1)")
		if cfg.Flavor == MariaDB { // it has whole rows in the log then
			wantRows(t, r.take(1), "insert n  > 1 7")
			return
		}
		wantRefusal(t, r.fails(), "leaves column v out of a row that is new", "SET GLOBAL binlog_row_image = FULL")
	})
}

// TestColumnsOfOtherKinds: generated and invisible columns are the same in the
// snapshot and in the stream.
func TestColumnsOfOtherKinds(t *testing.T) {
	t.Parallel()
	everyServer(t, func(t *testing.T, version string) {
		invisible := " INVISIBLE"
		if version == services.MySQL80 {
			invisible = ""
		}
		cfg, exec := testConfig(t, version, "g")
		exec("CREATE TABLE g (id INT PRIMARY KEY, a INT, v INT AS (a * 2) VIRTUAL, s INT AS (a * 3) STORED, h INT DEFAULT 5"+invisible+", w VARCHAR(9) AS (CONCAT('w', a)) VIRTUAL)",
			"INSERT INTO g (id, a) VALUES (1, 1)")
		r := openSource(t, cfg)
		exec("INSERT INTO g (id, a) VALUES (2, 2)", "UPDATE g SET a = 3 WHERE id = 2", "DELETE FROM g WHERE id = 2")
		rows := r.take(4)
		if version == services.MariaDB118 { // its log leaves them out of updates
			wantRows(t, rows, `read g  > 1 1 5`, `insert g  > 2 2 5`, `update g 2 2 5 > 2 3 5`, `delete g 2 3 5 > `)
			return
		}
		wantRows(t, rows,
			`read g  > 1 1 2 3 5 "w1"`, `insert g  > 2 2 4 6 5 "w2"`, `update g 2 2 4 6 5 "w2" > 2 3 6 9 5 "w3"`, `delete g 2 3 6 9 5 "w3" > `)
	})
}

// TestIdleInterval: while only others write, the Position follows the log as often
// as is asked for. The default would take ten seconds each time.
func TestIdleInterval(t *testing.T) {
	t.Parallel()
	for _, version := range []string{services.MySQL9, services.MariaDB118} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			cfg, exec := testConfig(t, version, "t")
			cfg.IdleInterval = 20 * time.Millisecond
			exec("CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE other (id INT PRIMARY KEY)")
			r := openSource(t, changesOnly(cfg))
			beside, err := OpenBeside(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer beside.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			const rounds = 4
			begin := time.Now()
			for i := range rounds {
				exec(fmt.Sprintf("INSERT INTO other VALUES (%d)", i))
				end, err := beside.End(ctx)
				if err != nil {
					t.Fatal(err)
				}
				for passed := false; !passed; {
					b, err := r.s.Next(ctx)
					if err != nil {
						t.Fatal(err)
					}
					if passed, err = Passed(b.Position, end); err != nil || len(b.Changes) > 0 {
						t.Fatalf("%v, %d changes", err, len(b.Changes))
					}
					b.Release()
				}
			}
			if took := time.Since(begin); took > (rounds-1)*idleInterval {
				t.Errorf("%d Positions took %s", rounds, took)
			}
		})
	}
}
