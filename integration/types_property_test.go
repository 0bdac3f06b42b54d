package integration

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"cdc/replication"
)

// literal is a text as an SQL constant.
func literal(s string) string { return replication.QuoteLiteral(s) }

// texts are what a text column may hold.
var texts = rapid.OneOf(
	rapid.StringOfN(rapid.Rune().Filter(func(r rune) bool { return r != 0 }), 0, 40, -1),
	rapid.SampledFrom(hostile),
	rapid.StringOfN(rapid.RuneFrom([]rune(`"\{},'() =>N`+"\t\n\r")), 0, 12, -1),
)

func numbers(low, high int64) *rapid.Generator[string] {
	return rapid.Map(rapid.OneOf(rapid.Int64Range(low, high), rapid.SampledFrom([]int64{low, high, 0})), func(i int64) string {
		return "(" + literal(strconv.FormatInt(i, 10)) + "::bigint)" // -9223372036854775808 has no literal of its own
	})
}

func sampled(list ...string) *rapid.Generator[string] { return rapid.SampledFrom(list) }

func mapped[T any](g *rapid.Generator[T], format string) *rapid.Generator[string] {
	return rapid.Map(g, func(v T) string { return fmt.Sprintf(format, v) })
}

// listed are arrays of one or two dimensions of what g makes, as SQL.
func listed(g *rapid.Generator[string], typ string, two bool) *rapid.Generator[string] {
	elem := rapid.OneOf(g, rapid.Just("NULL"))
	return rapid.Custom(func(t *rapid.T) string {
		if !two {
			return "ARRAY[" + strings.Join(rapid.SliceOfN(elem, 0, 6).Draw(t, "list"), ", ") + "]::" + typ + "[]"
		}
		width := rapid.IntRange(1, 3).Draw(t, "width")
		rows := make([]string, rapid.IntRange(1, 3).Draw(t, "height"))
		for i := range rows {
			rows[i] = "ARRAY[" + strings.Join(rapid.SliceOfN(elem, width, width).Draw(t, "row"), ", ") + "]::" + typ + "[]"
		}
		return "ARRAY[" + strings.Join(rows, ", ") + "]"
	})
}

// jsonTexts are JSON texts with any nesting and spacing.
var jsonTexts = rapid.Custom(func(t *rapid.T) string {
	var value func(depth int) any
	value = func(depth int) any {
		switch kind := rapid.IntRange(0, 6).Draw(t, "kind"); {
		case kind == 0:
			return nil
		case kind == 1:
			return rapid.Bool().Draw(t, "bool")
		case kind == 2:
			return json.Number(rapid.StringMatching(`-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?`).Draw(t, "number"))
		case kind == 3 || depth > 2:
			return texts.Draw(t, "text")
		case kind < 6:
			list := make([]any, rapid.IntRange(0, 3).Draw(t, "length"))
			for i := range list {
				list[i] = value(depth + 1)
			}
			return list
		default:
			return map[string]any{texts.Draw(t, "name"): value(depth + 1), "b": nil}
		}
	}
	v := value(0)
	b, err := json.Marshal(v)
	if indent := rapid.StringMatching(`[ \t]{0,3}`).Draw(t, "indent"); err == nil && indent != "" {
		b, err = json.MarshalIndent(v, "", indent)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
})

// anyColumns are columns whose values the property test makes up, as SQL.
var anyColumns = func() []struct {
	typ string
	sql *rapid.Generator[string]
} {
	floats := rapid.Map(rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), math.MaxFloat64, math.SmallestNonzeroFloat64})), func(f float64) string {
		return literal(strings.Replace(strconv.FormatFloat(f, 'g', -1, 64), "Inf", "Infinity", 1))
	})
	floats32 := rapid.Map(rapid.Float32(), func(f float32) string { return literal(strconv.FormatFloat(float64(f), 'g', -1, 32)) })
	decimals := mapped(rapid.OneOf(rapid.StringMatching(`-?[0-9]{1,60}(\.[0-9]{1,40})?`), sampled("NaN", "Infinity", "-Infinity", "1e1000")), "'%s'::numeric")
	quoted := rapid.Map(texts, literal)
	const micros = " * INTERVAL '1 microsecond'"
	stamps := rapid.OneOf(mapped(rapid.Int64Range(-210_866_803_200_000_000, 9_223_371_000_000_000_000), "TIMESTAMP 'epoch' + %d"+micros),
		sampled("TIMESTAMP 'infinity'", "TIMESTAMP '-infinity'"))
	zoned := mapped(stamps, "(%s) AT TIME ZONE 'UTC'")
	days := rapid.OneOf(mapped(rapid.IntRange(-2_440_588, 2_145_042_905), "DATE '1970-01-01' + (%d)"), sampled("DATE 'infinity'", "DATE '-infinity'"))
	intervals := rapid.Custom(func(t *rapid.T) string {
		n := rapid.Int32Range(-1_000_000, 1_000_000)
		return fmt.Sprintf("make_interval(months => %d, days => %d, secs => %d / 1000000.0)", n.Draw(t, "months"), n.Draw(t, "days"), rapid.Int64Range(-1<<50, 1<<50).Draw(t, "micros"))
	})
	hexes := mapped(rapid.SliceOfN(rapid.Byte(), 0, 40), `'\x%x'::bytea`)
	uuids := mapped(rapid.SliceOfN(rapid.Byte(), 16, 16), "'%x'::uuid")
	ranges := func(name string, bound *rapid.Generator[string]) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			a, b := bound.Draw(t, "a"), bound.Draw(t, "b")
			return fmt.Sprintf("%s(least(%s, %s), greatest(%[2]s, %[3]s), %s)", name, a, b, sampled("'[]'", "'[)'", "'(]'", "'()'").Draw(t, "bounds"))
		})
	}
	small := mapped(rapid.Int32Range(-1<<30, 1<<30), "(%d)")
	pairs := rapid.Custom(func(t *rapid.T) string {
		return "ROW(" + rapid.OneOf(small, rapid.Just("NULL")).Draw(t, "a") + ", " + rapid.OneOf(quoted, rapid.Just("NULL")).Draw(t, "b") + ")::pair"
	})
	hstores := rapid.Map(rapid.SliceOfN(quoted, 0, 4), func(keys []string) string {
		return "hstore(ARRAY[" + strings.Join(keys, ", ") + "]::text[], ARRAY[" + strings.Repeat("NULL, ", max(len(keys)-1, 0)) + strings.Join(keys[:min(1, len(keys))], "") + "]::text[])"
	})
	type column = struct {
		typ string
		sql *rapid.Generator[string]
	}
	return []column{
		{"boolean", sampled("true", "false")},
		{"smallint", numbers(math.MinInt16, math.MaxInt16)},
		{"integer", numbers(math.MinInt32, math.MaxInt32)},
		{"bigint", numbers(math.MinInt64, math.MaxInt64)},
		{"real", floats32},
		{"double precision", floats},
		{"numeric", decimals},
		{"numeric(18,4)", mapped(rapid.Int64Range(-999_999_999_999_999_999, 999_999_999_999_999_999), "(%d / 10000.0::numeric)")},
		{"numeric(40,20)", mapped(rapid.StringMatching(`-?[0-9]{1,20}\.[0-9]{0,20}`), "'%s'::numeric")},
		{"money", mapped(rapid.Int64Range(-1<<60, 1<<60), "(%d / 100.0::numeric)::money")},
		{"text", quoted},
		{"varchar", quoted},
		{"char(50)", quoted},
		{"citext", quoted},
		{"bytea", hexes},
		{"date", days},
		{"time", mapped(rapid.Int64Range(0, 86_399_999_999), "TIME '00:00' + %d"+micros)},
		{"timetz", rapid.Custom(func(t *rapid.T) string {
			at, zone := rapid.Int64Range(0, 86_399_999_999).Draw(t, "at"), rapid.IntRange(0, 57_599).Draw(t, "zone")
			clock := time.UnixMicro(at).UTC().Format("15:04:05.000000")
			return literal(fmt.Sprintf("%s%s%02d:%02d:%02d", clock, sampled("+", "-").Draw(t, "side"), zone/3600, zone/60%60, zone%60))
		})},
		{"timestamp", stamps},
		{"timestamptz", zoned},
		{"interval", intervals},
		{"uuid", uuids},
		{"json", rapid.Map(jsonTexts, literal)},
		{"jsonb", rapid.Map(jsonTexts, literal)},
		{"inet", mapped(rapid.SliceOfN(rapid.Byte(), 5, 5), "inet '0.0.0.0' + ('x' || encode('\\x%x', 'hex'))::bit(32)::bigint")},
		{"varbit", mapped(rapid.StringMatching("[01]{0,70}"), "B'%s'")},
		{"point", rapid.Custom(func(t *rapid.T) string { return "point(" + floats.Draw(t, "x") + ", " + floats.Draw(t, "y") + ")" })},
		{"int4range", ranges("int4range", small)},
		{"tstzrange", ranges("tstzrange", zoned)},
		{"int4multirange", mapped(ranges("int4range", small), "int4multirange(%s)")},
		{"tsvector", rapid.Map(rapid.SliceOfN(quoted, 0, 4), func(words []string) string {
			return "array_to_tsvector(array_remove(ARRAY[" + strings.Join(words, ", ") + "]::text[], ''))"
		})},
		{"mood", rapid.Map(sampled("sad", "very happy", "", `quote " and ' and \ , {}`), literal)},
		{"pair", pairs},
		{"hstore", hstores},
		{"integer[]", listed(small, "integer", false)},
		{"text[]", listed(quoted, "text", false)},
		{"bytea[]", listed(hexes, "bytea", false)},
		{"numeric[]", listed(decimals, "numeric", false)},
		{"timestamptz[]", listed(zoned, "timestamptz", false)},
		{"jsonb[]", listed(rapid.Map(jsonTexts, literal), "jsonb", false)},
		{"pair[]", listed(pairs, "pair", false)},
		{"hstore[]", listed(hstores, "hstore", false)},
		{"uuid[]", listed(uuids, "uuid", false)},
		{"interval[]", listed(intervals, "interval", false)},
		{"text[][]", listed(quoted, "text", true)},
		{"date[][]", listed(days, "date", true)},
	}
}()

// TestAnyValues makes up rows of the most different types, changes and deletes
// them, and waits each time until the target's tables hold what the source's
// do, in PostgreSQL's own words.
func TestAnyValues(t *testing.T) {
	t.Parallel()
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("40"); err != nil { // each waits for the whole way
			t.Fatal(err)
		}
	}
	w := newWorld(t)
	source, target := connect(t, w.source), connect(t, w.target)
	for _, conn := range []*pgx.Conn{source, target} {
		exec1(t, conn, prologue)
	}
	tt := &typeTable{name: "anything"}
	var list []string
	for i, c := range anyColumns {
		name := fmt.Sprintf("c%d", i)
		tt.cols = append(tt.cols, typeColumn{&typeCase{sql: c.typ}, name, c.typ})
		list = append(list, name+" "+c.typ)
	}
	exec1(t, source, "CREATE TABLE anything (id bigint PRIMARY KEY, "+strings.Join(list, ", ")+")")
	exec1(t, source, "INSERT INTO anything (id) VALUES (0)")
	p := start(t, binary, "run", "--config", w.config(t, []string{"anything"}, ""))
	eventually(t, time.Minute, "the first row is in the target", func() error { return tt.same(t.Context(), source, target) }, p)

	rapid.Check(t, func(rt *rapid.T) {
		statements := []string{"BEGIN", "DELETE FROM anything"}
		values := func(i int) string {
			if rapid.IntRange(0, 9).Draw(rt, "null") == 0 {
				return "NULL"
			}
			return anyColumns[i].sql.Draw(rt, tt.cols[i].sql)
		}
		for id := range rapid.IntRange(1, 4).Draw(rt, "rows") {
			row := make([]string, len(anyColumns))
			for i := range row {
				row[i] = values(i)
			}
			statements = append(statements, fmt.Sprintf("INSERT INTO anything VALUES (%d, %s)", id, strings.Join(row, ", ")))
		}
		for range rapid.IntRange(0, 3).Draw(rt, "updates") {
			i, id := rapid.IntRange(0, len(anyColumns)-1).Draw(rt, "column"), rapid.IntRange(0, 3).Draw(rt, "id")
			statements = append(statements, fmt.Sprintf("UPDATE anything SET %s = %s WHERE id = %d", tt.cols[i].name, values(i), id))
		}
		statements = append(statements, "COMMIT")
		for _, sql := range statements {
			if _, err := source.Exec(t.Context(), sql); err != nil {
				_, _ = source.Exec(t.Context(), "ROLLBACK") // of what failed
				rt.Fatalf("%s: %v", sql, err)
			}
		}
		deadline := time.Now().Add(patience)
		for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
			err := tt.same(t.Context(), source, target)
			switch {
			case err == nil:
				tick.Stop()
				return
			case !p.running():
				rt.Fatalf("cdc ended by itself: %s", p.output())
			case time.Now().After(deadline):
				tick.Stop()
				rt.Fatalf("%v\nafter %s", err, strings.Join(statements, ";\n"))
			}
		}
	})
	p.stop(t)
}
