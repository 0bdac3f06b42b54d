package postgres

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"cdc/replication"
)

// TestCatalogTable holds the catalog's answers against a table of every case.
func TestCatalogTable(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TYPE mood AS ENUM ('sad', 'ok')`)
	d.exec(`CREATE DOMAIN price AS numeric(12,2) NOT NULL`)
	d.exec(`CREATE DOMAIN prices AS price[]`)
	d.exec(`CREATE TYPE pair AS (a int, b text)`)
	d.exec(`CREATE TABLE t (b text, gone int, a int, n numeric, n1 numeric(5), n2 numeric(3,-2), n3 numeric(2,4), v varchar(40), m mood,
		p price, ps prices, na numeric(7,3)[], ia int2[], pr pair, pra pair[], ov oidvector, bx box[], tz timestamptz(3), g int GENERATED ALWAYS AS (a) STORED,
		PRIMARY KEY (a, b))`)
	d.exec(`ALTER TABLE t DROP COLUMN gone`)
	cfg := d.config("public.t")
	cat := newCatalog(newSession(&cfg))
	defer cat.s.close(context.Background())
	ctx := testContext(t)
	info, err := cat.named(ctx, "public", "t")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, info.Key); diff != "" {
		t.Error(diff)
	}
	var cols []wireColumn
	for _, c := range info.Columns {
		if !c.Generated {
			cols = append(cols, wireColumn{Name: c.Name, TypeOID: c.TypeOID, Typmod: c.Typmod, Number: c.Number, Identity: c.Name == "a" || c.Name == "b"})
		}
	}
	got, err := cat.shape(ctx, info.name(), info.name(), info.Identity, cols, info)
	if err != nil {
		t.Fatal(err)
	}
	str := func(name, typ string) replication.Column {
		return replication.Column{Name: name, Kind: replication.KindString, TypeName: typ}
	}
	dec := func(name, typ string, p, s int) replication.Column {
		return replication.Column{Name: name, Kind: replication.KindDecimal, TypeName: typ, Precision: p, Scale: s}
	}
	array := func(name, typ string, elem replication.Column) replication.Column {
		elem.Name, elem.TypeName, elem.Elem, elem.Kind = name, typ, elem.Kind, replication.KindArray
		return elem
	}
	over := func(base string, c replication.Column) replication.Column {
		c.BaseType = base
		return c
	}
	want := &replication.Table{Schema: "public", Name: "t", Key: []int{1, 0}, Columns: []replication.Column{
		{Name: "b", Kind: replication.KindString, TypeName: "text", NotNull: true, Identity: true},
		{Name: "a", Kind: replication.KindInt, Bits: 32, TypeName: "integer", NotNull: true, Identity: true},
		dec("n", "numeric", 0, 0), dec("n1", "numeric(5,0)", 5, 0), dec("n2", "numeric(3,-2)", 3, -2), dec("n3", "numeric(2,4)", 2, 4),
		str("v", "character varying(40)"),
		{Name: "m", Kind: replication.KindString, TypeName: "mood", Labels: "sad,ok"},
		over("numeric(12,2)", dec("p", "price", 12, 2)),
		over("numeric(12,2)", array("ps", "prices", dec("", "", 12, 2))), array("na", "numeric(7,3)[]", dec("", "", 7, 3)),
		array("ia", "smallint[]", replication.Column{Kind: replication.KindInt, Bits: 16}),
		str("pr", "pair"), array("pra", "pair[]", str("", "")), str("ov", "oidvector"),
		{Name: "bx", Kind: replication.KindString, AsText: true, TypeName: "box[]"},
		{Name: "tz", Kind: replication.KindTimestampTZ, TypeName: "timestamp(3) with time zone"},
	}}
	for i := range got.Columns {
		if c := &got.Columns[i]; c.ID == "" || slices.ContainsFunc(got.Columns[:i], func(other replication.Column) bool { return other.ID == c.ID }) {
			t.Errorf("column %s has the id %q", c.Name, c.ID)
		}
		want.Columns[i].ID = got.Columns[i].ID
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	again, err := cat.shape(ctx, info.name(), info.name(), info.Identity, cols, info)
	if err != nil || again != got {
		t.Errorf("the same shape has another pointer (%v)", err)
	}
	if _, err := cat.named(ctx, "public", "no such"); err != errNoTable {
		t.Errorf("a missing table: %v", err)
	}
	if _, err := cat.table(ctx, 1); err != errNoTable {
		t.Errorf("a missing OID: %v", err)
	}
}

// TestCatalogVisible looks up a table whose new column the log has before other
// sessions see it: the column is awaited, and has its number.
func TestCatalogVisible(t *testing.T) {
	d := newTestDB(t)
	ctx := testContext(t)
	d.exec(`CREATE TABLE t (id int PRIMARY KEY)`)
	cfg := d.config("public.t")
	cat := newCatalog(newSession(&cfg))
	defer cat.s.close(context.Background())
	other, err := pgx.Connect(ctx, d.url)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.Background())
	tx, err := other.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var oid, xid uint32
	if err := tx.QueryRow(ctx, `SELECT 't'::regclass::oid, (pg_current_xact_id()::text::bigint & 4294967295)::oid`).Scan(&oid, &xid); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, `ALTER TABLE t ADD n int`); err != nil {
		t.Fatal(err)
	}
	const int4 = 23 // pg_type.oid
	m := &relationMessage{oid: oid, schema: "public", name: "t", identity: identityDefault, cols: []wireColumn{
		{Name: "id", TypeOID: int4, Typmod: -1, Identity: true}, {Name: "n", TypeOID: int4, Typmod: -1},
	}}
	done := make(chan error, 1)
	var rel *relation
	go func() {
		var err error
		rel, err = newRelations(cat, nil).resolve(ctx, m, xid)
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("resolved while the transaction was not visible: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got, want := rel.table.Columns[1].ID, fmt.Sprintf("%d.2", oid); got != want {
		t.Errorf("the new column is known as %q, want %q", got, want)
	}
}
