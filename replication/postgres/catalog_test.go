package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
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

// uncommitted is what a transaction has done that no other session sees yet.
type uncommitted struct {
	pgx.Tx
	xid uint32
	oid uint32 // of table t as the transaction has it
}

// begin runs statements in a transaction of another session.
func (d *testDB) begin(statements string) *uncommitted {
	d.t.Helper()
	ctx := testContext(d.t)
	conn, err := pgx.Connect(ctx, d.url)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { conn.Close(context.Background()) })
	u := &uncommitted{}
	if u.Tx, err = conn.Begin(ctx); err != nil {
		d.t.Fatal(err)
	}
	if _, err := u.Exec(ctx, statements); err != nil {
		d.t.Fatal(err)
	}
	if err := u.QueryRow(ctx, `SELECT 't'::regclass::oid, (pg_current_xact_id()::text::bigint & 4294967295)::oid`).Scan(&u.oid, &u.xid); err != nil {
		d.t.Fatal(err)
	}
	return u
}

const int4 = 23 // pg_type.oid

// TestCatalogVisible looks up a table that the log has in another shape before
// other sessions see that: the transaction is awaited, and the new column has its
// own number, not that of the one it replaced.
func TestCatalogVisible(t *testing.T) {
	for _, tt := range []struct {
		name, alter string
		number      int
	}{
		{"added", `ALTER TABLE t DROP x; ALTER TABLE t ADD n int`, 3},
		{"renamed", `ALTER TABLE t RENAME x TO n`, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newTestDB(t)
			ctx := testContext(t)
			d.exec(`CREATE TABLE t (id int PRIMARY KEY, x int)`)
			cfg := d.config("public.t")
			cat := newCatalog(newSession(&cfg))
			defer cat.s.close(context.Background())
			tx := d.begin(tt.alter)
			m := &relationMessage{oid: tx.oid, schema: "public", name: "t", identity: identityDefault, cols: []wireColumn{
				{Name: "id", TypeOID: int4, Typmod: -1, Identity: true}, {Name: "n", TypeOID: int4, Typmod: -1},
			}}
			impatient := newRelations(cat, nil)
			impatient.patience = 0
			if _, err := impatient.lookUp(ctx, m, tx.xid, nil); err == nil || !transient(err) {
				t.Fatalf("without patience: %v", err)
			}
			looks := 0
			r := newRelations(cat, nil)
			r.patience = time.Hour
			info, err := r.lookUp(ctx, m, tx.xid, func() error {
				if looks++; looks == 2 {
					return tx.Commit(ctx)
				}
				return nil
			})
			if err != nil || looks != 2 {
				t.Fatalf("after %d looks: %v", looks, err)
			}
			rel, err := r.resolve(ctx, m, info)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := rel.table.Columns[1].ID, fmt.Sprintf("%d.%d", tx.oid, tt.number); got != want {
				t.Errorf("the new column is known as %q, want %q", got, want)
			}
		})
	}
}

// TestCatalogUnchanged looks up a table that an open transaction has not changed:
// its columns are known, and it is awaited once.
func TestCatalogUnchanged(t *testing.T) {
	for _, tt := range []struct{ name, create string }{
		{"default", ``},
		{"index", `CREATE UNIQUE INDEX i ON t (u); ALTER TABLE t REPLICA IDENTITY USING INDEX i`},
		{"full", `ALTER TABLE t REPLICA IDENTITY FULL`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newTestDB(t)
			ctx := testContext(t)
			d.exec(`CREATE TABLE t (gone int, id int PRIMARY KEY, n numeric(5,2), u int NOT NULL, g int GENERATED ALWAYS AS (u + 1) STORED); ALTER TABLE t DROP gone; ` + tt.create)
			cfg := d.config("public.t")
			if tt.name == "index" {
				cfg.Tables[0].Key = []string{"u"}
			}
			s := mustOpen(t, cfg)
			tx := d.begin(`INSERT INTO t VALUES (1, 1, 1)`)
			d.exec(`INSERT INTO t VALUES (2, 2, 2)`)
			b := nextChanges(t, s)
			cat := newCatalog(newSession(&cfg))
			defer cat.s.close(context.Background())
			// The message as the server sends it, of which the other row's table was made.
			m := &relationMessage{oid: tx.oid, schema: "public", name: "t", identity: map[string]byte{"default": 'd', "index": 'i', "full": 'f'}[tt.name]}
			for i, c := range b.Changes[0].Table.Columns {
				m.cols = append(m.cols, wireColumn{Name: c.Name, TypeOID: []uint32{int4, oidNumeric, int4, int4}[i], Typmod: []int32{-1, 5<<16 + 2 + 4, -1, -1}[i], Identity: c.Identity}) // 18 has the generated one, too
			}
			b.Release()
			r := newRelations(cat, nil)
			r.patience = 10 * time.Millisecond
			info, err := r.lookUp(ctx, m, tx.xid, func() error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			if m.cols[2].Number != 4 {
				t.Errorf("column u is number %d", m.cols[2].Number)
			}
			r.patience = time.Hour
			if again, err := r.lookUp(ctx, m, tx.xid, nil); err != nil {
				t.Error(err)
			} else if diff := cmp.Diff(info, again); diff != "" {
				t.Error(diff)
			}
			if err := tx.Rollback(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// nextChanges returns the next batch with changes.
func nextChanges(t *testing.T, s *Source) *replication.Batch {
	t.Helper()
	for {
		b, err := s.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Changes) > 0 {
			return b
		}
		b.Release()
	}
}

// TestAnewVisible meets a table made anew in a transaction that other sessions do
// not see yet.
func TestAnewVisible(t *testing.T) {
	d := newTestDB(t)
	ctx := testContext(t)
	d.exec(`CREATE TABLE t (id int PRIMARY KEY)`)
	cfg := d.config("public.t")
	cat := newCatalog(newSession(&cfg))
	defer cat.s.close(context.Background())
	old, err := cat.named(ctx, "public", "t")
	if err != nil {
		t.Fatal(err)
	}
	tx := d.begin(`DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY)`)
	s := &stream{
		streamConfig: streamConfig{
			cfg: &cfg, catalog: cat, oids: map[string]uint32{"public.t": old.OID},
			captured: map[uint32]replication.TableName{old.OID: {Schema: "public", Name: "t"}},
		},
		relations: newRelations(cat, nil), dec: newDecoder(1),
	}
	s.dec.xid = tx.xid
	committed := make(chan error, 1)
	time.AfterFunc(50*time.Millisecond, func() { committed <- tx.Commit(ctx) })
	body := binary.BigEndian.AppendUint32([]byte{msgRelation}, tx.oid)
	body = append(append(body, "public\x00t\x00"...), identityDefault, 0, 1, 1)
	body = append(append(body, "id\x00"...), 0, 0, 0, int4, 255, 255, 255, 255)
	s.mu.Lock()
	err = s.relation(ctx, &walConn{due: time.Now().Add(time.Hour)}, body)
	s.mu.Unlock()
	if !replication.IsRefusal(err) || !strings.Contains(err.Error(), "table public.t was dropped and made anew") {
		t.Errorf("the new table is taken for the old one: %v", err)
	}
	if err := <-committed; err != nil {
		t.Error(err)
	}
}
