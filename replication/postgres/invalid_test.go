package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/replication"
)

// TestInvalidText has values that no kind can hold: they keep the text that the
// server sent, each byte of it, although arrays are decoded in place.
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
	}
	for _, tt := range tests {
		d := newColumnDecoder(tt.column)
		v, err := d.value([]byte(tt.text), new(arena))
		if err != nil || v.Kind() != replication.KindInvalid || string(v.Bytes()) != tt.text || v.Reason() != tt.why {
			t.Errorf("%q: %v %v %v, %v", tt.text, v.Kind(), v, v.Reason(), err)
		}
	}
	// What is decoded in place and of no known form stops: all rows will be like it.
	for _, kind := range []replication.Kind{replication.KindBytes, replication.KindUUID} {
		d := newColumnDecoder(replication.Column{Kind: kind})
		if v, err := d.value([]byte(`\001`), new(arena)); err == nil {
			t.Errorf("%s: %v", kind, v)
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
