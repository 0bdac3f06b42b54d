package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/replication"
	"cdc/replication/arena"
)

// TestInvalidText has values that no kind can hold: they keep the text that the
// server sent, each byte of it, although arrays, bytea and uuid are decoded in
// place.
func TestInvalidText(t *testing.T) {
	array := func(elem replication.Kind, bits uint8) replication.Column {
		return replication.Column{Kind: replication.KindArray, Elem: elem, Bits: bits}
	}
	tests := []struct {
		column replication.Column
		text   string
		why    replication.Reason
	}{
		{array(replication.KindInt, 32), "{{1,2},{3,4}}", replication.ReasonDimensions},
		{array(replication.KindString, 0), `{{"a\"b",c},{d,"e f"}}`, replication.ReasonDimensions},
		{array(replication.KindInt, 32), "[0:1]={1,2}", replication.ReasonBounds},
		{array(replication.KindTimestamp, 0), `{"2026-01-01 00:00:00","294247-01-11 00:00:00"}`, replication.ReasonRange},
		{replication.Column{Kind: replication.KindTimestamp}, "294276-12-31 23:59:59.999999", replication.ReasonRange},
		{replication.Column{Kind: replication.KindDate}, "no date", replication.ReasonForm},
		{replication.Column{Kind: replication.KindBytes}, `\001`, replication.ReasonForm},
		{replication.Column{Kind: replication.KindBytes}, `\x`, 0},
		{replication.Column{Kind: replication.KindBytes}, `\x00ff10a9zz`, replication.ReasonForm},
		{replication.Column{Kind: replication.KindBytes}, `\xdeadbeef00112233445566778899aabbccddee-f`, replication.ReasonForm},
		{replication.Column{Kind: replication.KindUUID}, "0f9619ff-8b86-d011-b42d-00cf4fc964f", replication.ReasonForm},
		{replication.Column{Kind: replication.KindUUID}, "0f9619ff-8b86-d011-b42d-00cf4fc964fx", replication.ReasonForm},
		{array(replication.KindBytes, 0), `{"\\xdead","\\xbeef","\\xno"}`, replication.ReasonForm},
		{array(replication.KindUUID, 0), `{0f9619ff-8b86-d011-b42d-00cf4fc964ff,none}`, replication.ReasonForm},
		{array(replication.KindString, 0), `{"a\"b\\","c" d}`, replication.ReasonForm},
	}
	for _, tt := range tests {
		d := newColumnDecoder(tt.column)
		v := d.value([]byte(tt.text), new(arena.Arena))
		if tt.why == 0 {
			if v.Kind() != tt.column.Kind {
				t.Errorf("%q: %v %v", tt.text, v.Kind(), v)
			}
			continue
		}
		if v.Kind() != replication.KindInvalid || string(v.Bytes()) != tt.text || v.Reason() != tt.why {
			t.Errorf("%q: %v %v %v", tt.text, v.Kind(), v, v.Reason())
		}
	}
}

// TestInvalidValues lets a server send such values: in the snapshot, in the
// stream, and read again for an update that left them alone.
func TestInvalidValues(t *testing.T) {
	db := newTestDB(t)
	db.exec(`CREATE TABLE t (id int PRIMARY KEY, n int, a int[], ts timestamp)`)
	db.exec(`ALTER TABLE t ALTER a SET STORAGE EXTERNAL`)
	db.exec(`INSERT INTO t VALUES (1, 0, '{{1,2},{3,4}}', NULL), (2, 0, NULL, '294276-12-31')`)
	s := mustOpen(t, db.config("public.t"))
	r := readFrom(t, s)
	want := []string{
		`read public.t (1, 0, "{{1,2},{3,4}}", null)`,
		`read public.t (2, 0, null, "294276-12-31 00:00:00")`,
	}
	if diff := cmp.Diff(want, r.changes(2)); diff != "" {
		t.Error(diff)
	}
	db.exec(`INSERT INTO t VALUES (3, 0, '[0:1]={1,2}', NULL)`)
	db.exec(`DELETE FROM t WHERE id = 3`)
	want = []string{
		`insert public.t (3, 0, "[0:1]={1,2}", null)`,
		`delete public.t before (3, unchanged, unchanged, unchanged)`,
	}
	if diff := cmp.Diff(want, r.changes(2)); diff != "" {
		t.Error(diff)
	}

	db.exec(`INSERT INTO t SELECT 4, 0, array_agg(ARRAY[g, g]), NULL FROM generate_series(1000, 3000) g`)
	r.changes(1)
	db.exec(`UPDATE t SET n = 1 WHERE id = 4`)
	b, err := s.Next(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Release()
	got := b.Changes[0].After[2]
	if text := db.text(`SELECT a::text FROM t WHERE id = 4`); got.Kind() != replication.KindInvalid || string(got.Bytes()) != text {
		t.Errorf("read again: %s of %d bytes, want the text of %d bytes", got.Kind(), got.Len(), len(text))
	}
	if diff := cmp.Diff([]int32{2}, b.Changes[0].Refetched); diff != "" {
		t.Error(diff)
	}
}

// TestDeclaredDimensions: an array declared with several dimensions, or a domain
// over one, is text from the first row on, whatever it holds; so is a column of
// as_text. Snapshot and stream agree, also when column and table are renamed, and
// when the table may be gone by the time its last change is read.
func TestDeclaredDimensions(t *testing.T) {
	db := newTestDB(t)
	db.exec(`CREATE DOMAIN board AS int[][]`)
	db.exec(`CREATE DOMAIN game AS board`)
	db.exec(`CREATE TABLE t (id int PRIMARY KEY, a int[], m int[][], b game, n numeric(4,2), s timestamptz[])`)
	db.exec(`INSERT INTO t VALUES (1, '{1}', '{1}', '{{1},{2}}', 1.5, '{"2026-01-01 00:00+02"}')`)
	cfg := db.config("public.t")
	cfg.Tables[0].AsText = []string{"n", "s"}
	s := mustOpen(t, cfg)
	r := readFrom(t, s)
	var b *replication.Batch
	for b == nil || len(b.Changes) == 0 {
		var err error
		if b, err = s.Next(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	var kinds []string
	for _, c := range b.Changes[0].Table.Columns {
		kinds = append(kinds, c.Kind.String()+" "+c.TypeName)
	}
	want := []string{"int integer", "array integer[]", "string integer[]", "string game", "string numeric(4,2)", "string timestamp with time zone[]"}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(`read public.t (1, [1], "{1}", "{{1},{2}}", "1.50", "{\"2025-12-31 22:00:00+00\"}")`, show(&b.Changes[0])); diff != "" {
		t.Error(diff)
	}
	b.Release()
	db.exec(`INSERT INTO t VALUES (2, '{1}', '{{1,2},{3,4}}', '{1}', 'NaN', NULL)`)
	db.exec(`INSERT INTO t VALUES (3, NULL, '[0:0][5:5]={{NULL}}', '{}', '-0.01', '{{infinity},{-infinity}}')`)
	db.exec(`ALTER TABLE t RENAME n TO renamed`)
	db.exec(`ALTER TABLE t RENAME TO other`)
	db.exec(`INSERT INTO other VALUES (4, NULL, NULL, NULL, 'NaN', NULL)`)
	changes := []string{
		`insert public.t (2, [1], "{{1,2},{3,4}}", "{1}", "NaN", null)`,
		`insert public.t (3, null, "[0:0][5:5]={{NULL}}", "{}", "-0.01", "{{infinity},{-infinity}}")`,
		`insert public.other (4, null, null, null, "NaN", null)`,
	}
	if diff := cmp.Diff(changes, r.changes(3)); diff != "" {
		t.Error(diff)
	}
	db.exec(`INSERT INTO other VALUES (5, NULL, '{{1},{2}}', NULL, 'NaN', NULL)`)
	db.exec(`DROP TABLE other`)
	if diff := cmp.Diff([]string{`insert public.other (5, null, "{{1},{2}}", null, "NaN", null)`}, r.changes(1)); diff != "" {
		t.Error(diff)
	}
}
