package integration

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cdc/internal/services"
	"cdc/internal/servicetest"
	"cdc/replication"
)

// documents guards docs/types.md against tests that write it at once.
var documents sync.Mutex

var updateDocs = flag.Bool("update", false, "write the tables of docs/types.md anew")

// TestBuiltInTypes carries every type that PostgreSQL brings along, domains and
// arrays of them, from a table through the topic into a table.
func TestBuiltInTypes(t *testing.T) {
	t.Parallel()
	for _, major := range []int{14, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.source, w.target = servicetest.PostgresMajor(t, major), servicetest.PostgresMajor(t, major)
			source := connect(t, w.source)
			exec1(t, source, `CREATE TABLE st AS SELECT g % 10 AS a, g % 5 AS b FROM generate_series(1, 1000) g; CREATE STATISTICS st_ab ON a, b FROM st`)
			exec1(t, source, `ANALYZE st`)
			carryTypes(t, w, builtIn, major, major == 18)

			var missing []string
			err := source.QueryRow(t.Context(), `SELECT array_agg(typname::text) FROM pg_type t
				WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm', 'e', 'd')
				  AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid) AND oid <> ALL($1::text[]::regtype[]::oid[])`,
				typeNames(builtIn, major)).Scan(&missing)
			if err != nil || len(missing) > 0 {
				t.Errorf("types of PostgreSQL %d that are not in the table: %v %v", major, missing, err)
			}
		})
	}
}

// TestUserTypes does the same for the kinds of types that people make, and for
// those of the extensions that come with PostgreSQL. The target has them, too.
func TestUserTypes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, url := range []string{w.source, w.target} {
		exec1(t, connect(t, url), prologue)
	}
	carryTypes(t, w, userDefined, 15, true)
}

// TestExtensionTypes does the same for pgvector and PostGIS.
func TestExtensionTypes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := servicetest.PostgresExtensions(t)
	w.source, w.target = servicetest.PostgresOn(t, server), servicetest.PostgresOn(t, server)
	for _, url := range []string{w.source, w.target} {
		exec1(t, connect(t, url), `CREATE EXTENSION vector; CREATE EXTENSION postgis`)
	}
	carryTypes(t, w, fromDebian, services.PostgresExtensionsMajor, true)
}

func typeNames(cases []typeCase, major int) (names []string) {
	for _, c := range cases {
		if c.since <= major {
			names = append(names, c.sql)
		}
	}
	return names
}

// typeTable is one of the tables that the cases are spread over.
type typeTable struct {
	name string
	cols []typeColumn
	rows [][]string // SQL, without the id
}

type typeColumn struct {
	of   *typeCase
	name string
	sql  string // its type
}

// spread makes the tables: plain columns, domains, arrays, arrays of domains, and
// arrays of several dimensions.
func spread(t *testing.T, conn *pgx.Conn, cases []typeCase, major int) []*typeTable {
	t.Helper()
	plain, domains := &typeTable{name: "plain"}, &typeTable{name: "domains"}
	arrays, matrices := &typeTable{name: "arrays"}, &typeTable{name: "matrices"}
	for i := range cases {
		c := &cases[i]
		if c.since > major {
			continue
		}
		var values []string
		for _, v := range c.values {
			values = append(values, replication.QuoteLiteral(v)+"::"+c.sql)
		}
		if major >= 17 {
			for _, v := range c.since17 {
				values = append(values, replication.QuoteLiteral(v)+"::"+c.sql)
			}
		}
		values = append(values, c.expr...)
		domain := fmt.Sprintf("domain_%d", i)
		exec1(t, conn, "CREATE DOMAIN "+domain+" AS "+c.sql)
		plain.add(c, fmt.Sprintf("c%d", i), c.sql, values)
		domains.add(c, fmt.Sprintf("d%d", i), domain, values)

		var hasArray bool
		if err := conn.QueryRow(t.Context(), `SELECT typarray <> 0 FROM pg_type WHERE oid = $1::text::regtype`, c.sql).Scan(&hasArray); err != nil {
			t.Fatal(err)
		}
		if !hasArray {
			continue
		}
		v, w := "NULL", "NULL"
		if len(values) > 0 {
			v, w = values[0], values[len(values)-1]
		}
		list := strings.Join(append(slices.Clone(values), "NULL"), ", ")
		for _, a := range []struct{ name, elem string }{{"a", c.sql}, {"b", domain}} {
			typ := a.elem + "[]"
			arrays.add(c, fmt.Sprintf("%s%d", a.name, i), typ, []string{"ARRAY[" + list + "]::" + typ, "ARRAY[]::" + typ, "ARRAY[NULL]::" + typ})
		}
		typ := c.sql + "[]"
		matrix := fmt.Sprintf("ARRAY[ARRAY[%s, NULL], ARRAY[NULL, %s]]::%s", v, w, typ)
		matrices.add(c, fmt.Sprintf("m%d", i), typ+"[]", []string{
			matrix, "('[0:1][-2:-1]=' || (" + matrix + ")::text)::" + typ, "ARRAY[ARRAY[ARRAY[" + v + "]]]::" + typ, "ARRAY[" + w + "]::" + typ, "ARRAY[]::" + typ,
		})
	}
	return []*typeTable{plain, domains, arrays, matrices}
}

func (tt *typeTable) add(c *typeCase, name, sql string, values []string) {
	n := len(tt.cols)
	tt.cols = append(tt.cols, typeColumn{c, name, sql})
	for r := range max(len(values), len(tt.rows)) {
		if r == len(tt.rows) {
			tt.rows = append(tt.rows, slices.Repeat([]string{"NULL"}, n))
		}
		v := "NULL"
		if r < len(values) {
			v = values[r]
		}
		tt.rows[r] = append(tt.rows[r], v)
	}
}

// make creates and fills the table in the source, rows from id 1 on and one more
// of nulls.
func (tt *typeTable) make(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	var cols []string
	for _, c := range tt.cols {
		cols = append(cols, c.name+" "+c.sql)
	}
	exec1(t, conn, "CREATE TABLE "+tt.name+" (id bigint PRIMARY KEY, "+strings.Join(cols, ", ")+")")
	for r, row := range append(tt.rows, slices.Repeat([]string{"NULL"}, len(tt.cols))) {
		exec1(t, conn, fmt.Sprintf("INSERT INTO %s VALUES (%d, %s)", tt.name, r+1, strings.Join(row, ", ")))
	}
}

// marker is the id of the last row.
const marker = 1_000_000_000

// carryTypes carries the types by snapshot and by stream, and compares source
// and target, snapshot and stream, and what became of each type with the table
// in docs/types.md.
func carryTypes(t *testing.T, w *world, cases []typeCase, major int, documented bool) {
	t.Helper()
	source, target := connect(t, w.source), connect(t, w.target)
	tables := spread(t, source, cases, major)
	var names []string
	for _, tt := range tables {
		tt.make(t, source)
		names = append(names, tt.name)
	}
	p := start(t, binary, "run", "--config", w.config(t, names, ""))
	for _, tt := range tables {
		eventually(t, time.Minute, "the snapshot of "+tt.name+" is in the target", func() error { return tt.same(t.Context(), source, target) }, p)
		exec1(t, source, fmt.Sprintf("CREATE TEMP TABLE again AS TABLE %s; UPDATE again SET id = id + 1000; INSERT INTO %[1]s TABLE again; DROP TABLE again", tt.name))
		exec1(t, source, fmt.Sprintf("UPDATE %s SET id = id WHERE id < 1000; INSERT INTO %[1]s (id) VALUES (%d)", tt.name, marker))
	}
	for _, tt := range tables {
		eventually(t, time.Minute, "the stream of "+tt.name+" is in the target", func() error { return tt.same(t.Context(), source, target) }, p)
	}
	p.stop(t)
	for _, tt := range tables {
		w.sameBytes(t, tt)
	}
	rows := described(t, w, target, tables)
	if documented {
		document(t, strings.TrimPrefix(t.Name()[:strings.IndexByte(t.Name()+"/", '/')], "Test"), rows)
	}
}

// same compares every cell as the server's text.
func (tt *typeTable) same(ctx context.Context, source, target *pgx.Conn) error {
	list := "id"
	for _, c := range tt.cols {
		list += ", " + c.name
	}
	var sides [2][][][]byte
	for i, conn := range []*pgx.Conn{source, target} {
		res, err := conn.PgConn().Exec(ctx, "SELECT "+list+" FROM "+tt.name+" ORDER BY id").ReadAll()
		if err != nil {
			return err
		}
		sides[i] = res[0].Rows
	}
	if len(sides[0]) != len(sides[1]) {
		return fmt.Errorf("table %s: %d rows instead of %d", tt.name, len(sides[1]), len(sides[0]))
	}
	var wrong []string
	for r, want := range sides[0] {
		for i := range want {
			if got := sides[1][r][i]; (got == nil) != (want[i] == nil) || string(got) != string(want[i]) {
				what := "id"
				if i > 0 {
					what = tt.cols[i-1].sql + ", a " + tt.cols[i-1].of.sql
				}
				wrong = append(wrong, fmt.Sprintf("row %s, %s: %.200q instead of %.200q", want[0], what, got, want[i]))
			}
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("table %s: %d cells differ:\n  %s", tt.name, len(wrong), strings.Join(wrong[:min(len(wrong), 8)], "\n  "))
	}
	return nil
}

// sameBytes asserts that the stream's record of a row is the snapshot's, byte
// for byte; reading the topic decodes every record by another library.
func (w *world) sameBytes(t *testing.T, tt *typeTable) {
	t.Helper()
	snapshot, compared := map[string]string{}, 0
	for _, m := range w.read(t, w.topic(tt.name)) {
		switch m.headers["cdc.op"] {
		case "read":
			snapshot[string(m.raw.Key)] = string(m.raw.Value)
		case "update":
			compared++
			if want := snapshot[string(m.raw.Key)]; want != string(m.raw.Value) {
				t.Errorf("table %s, key %v: the stream's record is\n%x, the snapshot's\n%x", tt.name, m.key, m.raw.Value, want)
			}
		}
	}
	if want := len(tt.rows) + 1; compared != want {
		t.Errorf("table %s: %d rows compared instead of %d", tt.name, compared, want)
	}
}

// described returns a line of docs/types.md a type, and checks that domains,
// arrays and arrays of several dimensions follow from it.
func described(t *testing.T, w *world, target *pgx.Conn, tables []*typeTable) []string {
	t.Helper()
	avro, made := map[string]string{}, map[string]string{}
	for _, tt := range tables {
		maps.Copy(avro, w.fieldTypes(t, tt.name))
		rows, err := target.Query(t.Context(), `SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0`, tt.name)
		if err != nil {
			t.Fatal(err)
		}
		var name, typ string
		if _, err := pgx.ForEachRow(rows, []any{&name, &typ}, func() error { made[name] = typ; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	var lines []string
	for _, c := range tables[0].cols {
		plain, i := c.name, c.name[1:]
		domain := "d" + i
		if avro[domain] != avro[plain] || made[domain] != made[plain] {
			t.Errorf("a domain over %s is %s and becomes %s; the type itself %s and %s", c.of.sql, avro[domain], made[domain], avro[plain], made[plain])
		}
		array := "–"
		if typ := avro["a"+i]; typ != "" {
			if array = "array"; typ == "string" {
				array = "text"
			} else if typ != "array of "+avro[plain] {
				t.Errorf("an array of %s is %s", c.of.sql, typ)
			}
			for _, x := range []string{"a", "b", "m"} {
				name := x + i
				if want := made[plain] + "[]"; made[name] != want && made[name] != made[plain] {
					t.Errorf("an array of %s (%s) becomes %s, want %s", c.of.sql, name, made[name], want)
				}
			}
			if typ := avro["m"+i]; typ != "string" {
				t.Errorf("an array of arrays of %s is %s", c.of.sql, typ)
			}
		}
		lines = append(lines, fmt.Sprintf("| %s | %s | %s | %s | %s |", c.of.sql, avro[plain], array, made[plain], c.of.note))
	}
	return lines
}

// fieldTypes returns the Avro types of the newest value schema of a table's
// topic, by field, as docs/types.md writes them.
func (w *world) fieldTypes(t *testing.T, table string) map[string]string {
	t.Helper()
	resp, err := http.Get(w.registry + "/subjects/" + w.topic(table) + "-value/versions/latest")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Schema string }
	var record struct {
		Fields []struct {
			Name string
			Type any
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(answer.Schema), &record); err != nil {
		t.Fatal(err)
	}
	types := map[string]string{}
	for _, f := range record.Fields {
		types[f.Name] = avroText(f.Type)
	}
	return types
}

func avroText(typ any) string {
	switch typ := typ.(type) {
	case string:
		return typ
	case []any: // ["null", T]
		return avroText(typ[1])
	case map[string]any:
		if typ["type"] == "array" {
			return "array of " + avroText(typ["items"])
		}
		if typ["logicalType"] == "decimal" {
			return fmt.Sprintf("%v, decimal(%v,%v)", typ["type"], typ["precision"], typ["scale"])
		}
		return fmt.Sprintf("%v, %v", typ["type"], typ["logicalType"])
	}
	return fmt.Sprint(typ)
}

// document compares the lines with a section of docs/types.md, or writes it.
func document(t *testing.T, section string, lines []string) {
	t.Helper()
	root, err := services.Root()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "docs", "types.md")
	begin, end := "<!-- "+section+": written by its test, -update -->\n", "<!-- "+section+": end -->\n"
	table := "| PostgreSQL | Avro | an array of it | the sink makes | the text, where it is one; policies |\n|---|---|---|---|---|\n" + strings.Join(lines, "\n") + "\n"
	documents.Lock()
	defer documents.Unlock()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(text), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	switch {
	case !ok1 || !ok2:
		t.Errorf("docs/types.md has no section between %q and %q", begin, end)
	case old == table:
	case *updateDocs:
		if err := os.WriteFile(file, []byte(head+begin+table+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("docs/types.md says another thing (go test -C integration -run 'Types' -update . writes it):\n%s", difference(strings.Split(table, "\n"), strings.Split(old, "\n")))
	}
}

// TestAsText carries values that have no place in an Avro type of their own:
// with as_text they arrive, in columns of the source's types; without, the
// capture says where they are and how to go on.
func TestAsText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, target := connect(t, w.source), connect(t, w.target)
	exec1(t, source, `CREATE TABLE odd (id int PRIMARY KEY, n numeric(4,2), ts timestamp, tz timestamptz, a int[], d date, b bytea, u uuid, k text);
		INSERT INTO odd VALUES (1, 'NaN', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', '{{1,2},{3,NULL}}', 'infinity', '\x00ff', '6f9619ff-8b86-d011-b42d-00cf4fc964ff', 'snapshot'),
			(2, 1.5, '2026-11-21 12:00:00', '-infinity', '[5:6]={1,2}', '0044-03-15 BC', '\x', NULL, 'snapshot'), (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)`)
	entry := "odd\nas_text: [n, ts, tz, a, d, b, u]"
	tt := &typeTable{name: "odd"}
	for _, name := range []string{"n", "ts", "tz", "a", "d", "b", "u", "k"} {
		tt.cols = append(tt.cols, typeColumn{&typeCase{sql: name}, name, name})
	}
	p := start(t, binary, "run", "--config", w.config(t, []string{entry}, ""))
	equal := func() error { return tt.same(t.Context(), source, target) }
	eventually(t, time.Minute, "the snapshot is in the target", equal, p)
	exec1(t, source, `INSERT INTO odd SELECT id + 10, n, ts, tz, a, d, b, u, 'stream' FROM odd`)
	exec1(t, source, `UPDATE odd SET n = -0.5, a = '{}', u = NULL WHERE id = 11`)
	eventually(t, time.Minute, "the stream is in the target", equal, p)
	p.stop(t)
	for field, typ := range w.fieldTypes(t, "odd") {
		if want := map[bool]string{true: "int", false: "string"}[field == "id"]; typ != want {
			t.Errorf("field %s is %s, want %s", field, typ, want)
		}
	}
	var types string
	const sql = `SELECT string_agg(format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'odd'::regclass AND attnum > 0`
	if err := target.QueryRow(t.Context(), sql).Scan(&types); err != nil {
		t.Fatal(err)
	}
	if want := "integer, numeric(4,2), timestamp without time zone, timestamp with time zone, integer[], date, bytea, uuid, text"; types != want {
		t.Errorf("the sink made %s, want %s", types, want)
	}

	exec1(t, source, `CREATE TABLE bare (id int PRIMARY KEY, n numeric(4,2)); INSERT INTO bare VALUES (7, 'NaN')`)
	other := &world{name: servicetest.Name(t, "it"), source: w.source, target: w.target, brokers: w.brokers, registry: w.registry, dir: w.dir}
	p = start(t, binary, "run", "--config", other.config(t, []string{"bare"}, ""))
	if code := p.exit(t, time.Minute); code != 3 { // a person must act
		t.Errorf("exit code %d, want 3", code)
	}
	for _, part := range []string{"table public.bare", "key id=7", "column n", "NaN", "as_text"} {
		if !strings.Contains(p.output(), part) {
			t.Errorf("the error does not say %q:\n%s", part, p.output())
		}
	}
	if stdout, _, code := command(t, "check", "--config", other.config(t, []string{"bare\nas_text: [nope]"}, "")); code == 0 || !strings.Contains(stdout, `no column "nope"`) {
		t.Errorf("check of a column that is not there: exit code %d: %s", code, stdout)
	}
}
