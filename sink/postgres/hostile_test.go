package postgres

import (
	"errors"
	"strings"
	"testing"

	"cdc/replication"
	"cdc/secret"
	"cdc/sink"
)

// TestNamesThatWouldBeCut: PostgreSQL cuts a name after 63 bytes without an
// error, so that two topics would share a table, and a column would be missed.
func TestNamesThatWouldBeCut(t *testing.T) {
	tg := newTarget(t, Config{CreateTables: true, AddColumns: true})
	long := strings.Repeat("x", 64)
	table := shape(id(), note())
	table.Table = long
	column := shape(id(), field(long, replication.KindString, 0, "text"))
	for want, s := range map[string]*sink.Shape{"sinks[].tables": table, "tables[].rename": column} {
		err := tg.w.Apply(t.Context(), "g", tg.Batch(s, row(num(1), str("a"))))
		r, ok := errors.AsType[*replication.Refusal](err)
		if !ok || !strings.Contains(r.Problem, long) || !strings.Contains(r.Remedy, want) {
			t.Errorf("got %v, want a refusal with %s", err, want)
		}
	}
	fits := shape(id(), field(long[:63], replication.KindString, 0, "text"))
	fits.Table = long[:63]
	tg.Apply(fits, row(num(1), str("a")))
	if got := tg.dump(`SELECT * FROM "` + long[:63] + `"`); got != "1|a" {
		t.Errorf("63 bytes: %s", got)
	}
}

// TestSecondUniqueIndex: a value moves on from row to row within one batch. The
// order of rows in a statement does not matter then.
func TestSecondUniqueIndex(t *testing.T) {
	tg := newTarget(t, Config{CreateTables: true})
	tg.exec("CREATE TABLE t (id bigint PRIMARY KEY, note text UNIQUE, parent bigint REFERENCES t)")
	s := shape(id(), note(), field("parent", replication.KindInt, 64, "bigint"))
	none := replication.Null
	tg.Apply(s, row(num(1), str("a"), none), row(num(2), str("b"), none), row(num(3), str("c"), none))
	tg.Apply(s, row(num(1), str("b"), none), row(num(2), str("c"), none), row(num(3), str("d"), num(4)), row(num(4), str("x"), num(5)), row(num(5), str("e"), none))
	if got := tg.dump("SELECT * FROM t ORDER BY id"); got != "1|b|NULL\n2|c|NULL\n3|d|4\n4|x|5\n5|e|NULL" {
		t.Errorf("got\n%s", got)
	}
	// What stays in the way is named.
	err := tg.w.Apply(t.Context(), "g", tg.Batch(s, row(num(1), str("e"), none), row(num(2), str("f"), none)))
	bad, ok := errors.AsType[sink.RowErrors](err)
	if !ok || len(bad) != 1 || bad[0].Index != 0 {
		t.Errorf("got %v, want the first row", err)
	}
}

// TestURLStaysSecret: pgconn's error quotes the connection string.
func TestURLStaysSecret(t *testing.T) {
	for _, url := range []string{
		`host=h port=none password='se\'cret'`, `host=h password=se\ cret port=none`, `password = secret host`, `host=h sslmode=cret password='x`,
		"postgres://u:p@h:cret/d", "postgres://u:%cret@h/d", "postgres://h/d?password=%cret",
	} {
		_, err := Open(t.Context(), Config{URL: secret.New(url)})
		if !replication.IsRefusal(err) || strings.Contains(err.Error(), "cret") || strings.Contains(err.Error(), ":se") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
