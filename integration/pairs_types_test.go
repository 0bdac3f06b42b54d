package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cdc/internal/services"
	"cdc/internal/servicetest"
	"cdc/replication"
)

// intoMySQL is how a type of PostgreSQL and what MySQL and MariaDB have of it are
// compared, where that is not by PostgreSQL's text, and which of the values in the
// tables of types have no place there: the row is refused.
type intoMySQL struct {
	source, target string // expressions; {} is the column
	kind           kind
	refused        []string
	refusedByMySQL []string // and MariaDB keeps, whose json is a text
	roundedBy80    []string // as numbers of JSON: arrays with them are refused
}

const (
	dayText     = "to_char({}, 'YYYY-MM-DD')"
	stampText   = "to_char({}, 'YYYY-MM-DD HH24:MI:SS.US')"
	utcText     = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
	microsOfDay = "(extract(epoch FROM {}) * 1000000)::bigint::text"
	printed     = "CASE WHEN {} IS NOT NULL THEN concat({}) END" // a cast would trim a char and mask an inet

	myDayText     = "date_format({}, '%Y-%m-%d')"
	myStampText   = "date_format({}, '%Y-%m-%d %H:%i:%s.%f')"
	myMicrosOfDay = "((hour({}) * 60 + minute({})) * 60 + second({})) * 1000000 + microsecond({})"
)

var mysqlForms = map[string]intoMySQL{
	"boolean": {source: "{}::int::text"},
	"real":    {source: "{}::float8::text", target: "{} - 0e0", kind: asDouble, refused: []string{"NaN", "Infinity", "-Infinity"}, roundedBy80: []string{"1e-45", "-3.4028235e+38"}},
	"double precision": {
		kind: asDouble, refused: []string{"NaN", "Infinity", "-Infinity"},
		roundedBy80: []string{"4.9406564584124654e-324", "1.7976931348623157e+308", "123456789012345680000"},
	},
	"numeric":           {kind: asNumber, refused: []string{"NaN", "Infinity", "-Infinity", "1e1000", "-1e-1000", "12345678901234567890123456789012345678901234567890.000000000000000000000000000001"}},
	"numeric(1000,500)": {kind: asNumber, refused: []string{"1e499", "-1e-500"}},
	"numeric(5,-2)":     {kind: asNumber, refused: []string{"NaN"}},
	"numeric(3,5)":      {kind: asNumber, refused: []string{"NaN"}},
	"character(5)":      {source: printed},
	"bpchar":            {source: printed},
	"inet":              {source: printed},
	"bytea":             {source: "upper(encode({}, 'hex'))", target: "hex({})"},
	"date":              {source: dayText, target: myDayText, refused: []string{"0001-12-31 BC", "4714-11-24 BC", "5874897-12-31", "infinity", "-infinity", "10000-01-01"}},
	"time":              {source: microsOfDay, target: myMicrosOfDay},
	"time(3)":           {source: microsOfDay, target: myMicrosOfDay},
	"timestamp": {
		source: stampText, target: myStampText,
		refused: []string{"0001-12-31 23:59:59.999999 BC", "4714-11-24 00:00:00 BC", "294247-01-10 04:00:54.775806", "infinity", "-infinity"},
	},
	"timestamp(0)": {source: stampText, target: myStampText, refused: []string{"infinity"}},
	"timestamp with time zone": {
		source: utcText, target: myStampText,
		refused: []string{"4714-11-24 00:00:00+00 BC", "294247-01-10 04:00:54.775806+00", "infinity", "-infinity"},
	},
	"timestamp(3) with time zone": {source: utcText, target: myStampText, refused: []string{"-infinity"}},
	"json":                        {kind: asJSON, refusedByMySQL: []string{"1e1000"}},
	"jsonb":                       {kind: asJSON, refusedByMySQL: []string{"12345678901234567890.10"}},
}

// jsonNumbers are the types whose elements an array has as numbers and truth
// values; all others are texts there.
var jsonNumbers = []string{"boolean", "smallint", "integer", "bigint", "real", "double precision"}

// form returns how columns of a case are compared, and its values that are
// refused.
func (c *typeCase) form(mariadb bool) (f intoMySQL, refused []string) {
	f = mysqlForms[c.sql]
	if f.source == "" {
		f.source = "{}::text"
	}
	if f.target == "" {
		f.target = "{}"
	}
	refused = f.refused
	if !mariadb {
		refused = append(slices.Clone(refused), f.refusedByMySQL...)
	} else {
		switch f.kind {
		case asJSON: // the very text
			f.kind = exactly
		case asDouble:
			f.kind = asUnsignedZero
		}
	}
	return f, refused
}

// elements is the same for an array of the case.
func (c *typeCase) elements() intoMySQL {
	switch {
	case c.sql == "box":
		return intoMySQL{source: "{}::text", target: "{}"}
	case slices.Contains(jsonNumbers, c.sql), slices.Contains([]string{"character(5)", "bpchar", "inet"}, c.sql): // which a cast would change
		return intoMySQL{source: "to_json({})::text", target: "{}", kind: asJSON}
	}
	return intoMySQL{source: "to_json({}::text[])::text", target: "{}", kind: asJSON}
}

// without drops the columns whose names begin with a prefix.
func (tt *typeTable) without(prefix string) {
	drop := func(i int) bool { return strings.HasPrefix(tt.cols[i].name, prefix) }
	for r, row := range tt.rows {
		var kept []string
		for i, v := range row {
			if !drop(i) {
				kept = append(kept, v)
			}
		}
		tt.rows[r] = kept
	}
	tt.cols = slices.DeleteFunc(tt.cols, func(c typeColumn) bool { return strings.HasPrefix(c.name, prefix) })
}

// TestPostgresToMySQL carries every type of the tables of types to MySQL and
// MariaDB: plain, under a domain, in arrays and in arrays of several dimensions,
// by snapshot and by stream. What these cannot hold is refused, row by row.
func TestPostgresToMySQL(t *testing.T) {
	for _, version := range services.MySQLVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			const major = 18
			w := emptyWorld(t, servicetest.PostgresMajor(t, major))
			source, target := sideAt(t, w.source), newSide(t, version)
			w.target = target.url
			dead := w.name + "_dead"
			w.sink = []string{"on_error: dead-letter", "dead_letter_topic: " + dead}
			source.exec(t, prologue, `CREATE TABLE st AS SELECT g % 10 AS a, g % 5 AS b FROM generate_series(1, 1000) g; CREATE STATISTICS st_ab ON a, b FROM st`, `ANALYZE st`)

			var cases []typeCase
			var refused, more []string // the statements that insert such rows, and others
			for i, c := range slices.Concat(builtIn, userDefined) {
				f, bad := c.form(target.family == "mariadb")
				if version == services.MySQL80 {
					for _, v := range f.roundedBy80 {
						more = append(more, fmt.Sprintf("INSERT INTO plain (id, c%d) VALUES (%d, '%s')", i, 400+len(more), v))
						refused = append(refused, fmt.Sprintf("INSERT INTO arrays (id, a%d) VALUES ({%d}, '{%s}')", i, len(refused), v))
					}
					c.values = slices.DeleteFunc(slices.Clone(c.values), func(v string) bool { return slices.Contains(f.roundedBy80, v) })
				}
				c.values = slices.DeleteFunc(slices.Clone(c.values), func(v string) bool { return slices.Contains(bad, v) })
				cases = append(cases, c)
				for _, v := range bad {
					refused = append(refused, fmt.Sprintf("INSERT INTO plain (id, c%d) VALUES ({%d}, %s)", i, len(refused), replication.QuoteLiteral(v)))
				}
			}
			tables := spread(t, source.pg, cases, major)
			columns := map[string][]comparedColumn{}
			var names []string
			for _, tt := range tables {
				if tt.name == "arrays" {
					tt.without("b") // of domains: a row of InnoDB has no room for so many columns
				}
				tt.make(t, source.pg)
				names = append(names, tt.name)
				for _, c := range tt.cols {
					f, _ := c.of.form(target.family == "mariadb")
					switch tt.name {
					case "arrays":
						f = c.of.elements()
					case "matrices":
						f = intoMySQL{source: "{}::text", target: "{}"}
					}
					columns[tt.name] = append(columns[tt.name], comparedColumn{c.name, pairColumn{typ: c.sql, source: f.source, target: f.target, kind: f.kind}})
				}
			}
			var ids []int // of the rows that are refused
			refuse := func(from int) {
				for i, sql := range refused {
					ids = append(ids, from+i)
					source.exec(t, strings.Replace(sql, fmt.Sprintf("{%d}", i), fmt.Sprint(from+i), 1))
				}
			}
			const held = 1_000_000
			source.exec(t, more...)
			refuse(held)
			equal := func() error {
				for _, name := range names {
					if err := equalTables(t.Context(), source, target, name, columns[name], fmt.Sprintf(" WHERE id < %d", held)); err != nil {
						return err
					}
				}
				return nil
			}
			p := start(t, binary, "run", "--config", w.config(t, names, ""))
			eventually(t, time.Minute, "the snapshot is in the target", equal, p)
			refuse(2 * held)
			for _, name := range names {
				source.exec(t, fmt.Sprintf("CREATE TEMP TABLE again AS TABLE %s; UPDATE again SET id = id + 1000; INSERT INTO %[1]s SELECT * FROM again WHERE id < 2000; DROP TABLE again", name),
					fmt.Sprintf("UPDATE %s SET id = id + 2000 WHERE id < 500", name))
			}
			eventually(t, time.Minute, "the stream is in the target", equal, p)
			p.stop(t)
			var got []int
			for _, m := range w.read(t, dead) {
				id := asInt(m.key["id"])
				got = append(got, id)
				_, column, _ := strings.Cut(refused[id%held], "(id, ")
				column, _, _ = strings.Cut(column, ")")
				if text := m.headers["cdc.error.reason"]; !strings.Contains(text, column) {
					t.Errorf("%s: the error of the dead letter does not name column %s: %s", refused[id%held], column, text)
				}
			}
			slices.Sort(got)
			if d := cmp.Diff(ids, got); d != "" {
				t.Errorf("rows that are refused (-want +got):\n%s", d)
			}
		})
	}
}
