package mapping_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"testing"

	twmb "github.com/twmb/avro"

	"cdc/mapping"
	"cdc/replication"
)

// registry is a schema registry in memory: it gives each schema of a subject an
// id of its own, and refuses the subjects named in refuse.
type registry struct {
	refuse  map[string]error
	ids     map[string]int
	schemas map[int]string
	subject map[int]string
	calls   int
}

func (r *registry) ID(_ context.Context, subject, schema string) (int, error) {
	r.calls++
	if err := r.refuse[subject]; err != nil {
		return 0, err
	}
	if _, err := twmb.Parse(schema); err != nil {
		return 0, fmt.Errorf("subject %s: %w", subject, err)
	}
	if r.ids == nil {
		r.ids, r.schemas, r.subject = map[string]int{}, map[int]string{}, map[int]string{}
	}
	k := subject + "\x00" + schema
	id, ok := r.ids[k]
	if !ok {
		id = len(r.ids) + 1
		r.ids[k], r.schemas[id], r.subject[id] = id, schema, subject
	}
	return id, nil
}

// decode reads Confluent's wire format by an Avro library that is not ours.
func (r *registry) decode(t testing.TB, b []byte) map[string]any {
	t.Helper()
	if len(b) < 5 || b[0] != 0 {
		t.Fatalf("%x is not in the wire format", b)
	}
	s, err := twmb.Parse(r.schemas[int(binary.BigEndian.Uint32(b[1:]))])
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	rest, err := s.Decode(b[5:], &m)
	if err != nil || len(rest) > 0 {
		t.Fatalf("decode %x: %v, %d bytes left over", b, err, len(rest))
	}
	return m
}

// seen is a record as a reader of the topic sees it.
type seen struct {
	Topic   string
	Key     any               // a map when Avro, a string when plain, nil when null
	Value   map[string]any    // nil is null
	Headers map[string]string // without cdc.commit_time
	All     bool
}

// read decodes all records.
func (r *registry) read(t testing.TB, out *mapping.Records) []seen {
	t.Helper()
	var list []seen
	for _, rec := range out.List {
		s := seen{Topic: rec.Topic, All: rec.AllPartitions, Headers: map[string]string{}}
		if len(rec.Key) >= 5 && rec.Key[0] == 0 {
			s.Key = r.decode(t, rec.Key)
		} else if rec.Key != nil {
			s.Key = string(rec.Key)
		}
		if rec.Value != nil {
			s.Value = r.decode(t, rec.Value)
		}
		for _, h := range rec.Headers {
			if _, twice := s.Headers[h.Key]; twice {
				t.Fatalf("header %s stands there twice", h.Key)
			}
			s.Headers[h.Key] = string(h.Value)
		}
		if got := s.Headers[mapping.HeaderCommitTime]; got != fmt.Sprint(rec.Time) {
			t.Fatalf("header %s is %q, the record's time %d", mapping.HeaderCommitTime, got, rec.Time)
		}
		delete(s.Headers, mapping.HeaderCommitTime)
		if op := s.Headers[mapping.HeaderOp]; op != rec.Op.String() {
			t.Fatalf("header %s is %q, the record's Op %s", mapping.HeaderOp, op, rec.Op)
		}
		if rec.Table == nil || rec.Describe == nil {
			t.Fatal("a record without its table or without Describe")
		}
		list = append(list, s)
	}
	return list
}

// headers builds the expected ones.
func headers(op, position, tx string, more ...string) map[string]string {
	h := map[string]string{mapping.HeaderOp: op, mapping.HeaderPosition: position}
	if tx != "" {
		h[mapping.HeaderTx] = tx
	}
	for i := 0; i+1 < len(more); i += 2 {
		h[more[i]] = more[i+1]
	}
	return maps.Clone(h)
}

// The columns that the tests' tables are made of.
func bigint(name string) replication.Column {
	return replication.Column{Name: name, Kind: replication.KindInt, Bits: 64, NotNull: true, TypeName: "bigint"}
}

func text(name string) replication.Column {
	return replication.Column{Name: name, Kind: replication.KindString, TypeName: "text"}
}

// identity marks columns as part of the replica identity.
func identity(c ...replication.Column) []replication.Column {
	for i := range c {
		c[i].Identity = true
	}
	return c
}

// orders is public.orders (id bigint primary key, note text, region text) with
// the replica identity of a primary key.
func orders() *replication.Table {
	return &replication.Table{
		Schema: "public", Name: "orders", Key: []int{0},
		Columns: append(identity(bigint("id")), text("note"), text("region")),
	}
}

// ordersFull is the same with REPLICA IDENTITY FULL.
func ordersFull() *replication.Table {
	t := orders()
	identity(t.Columns...)
	return t
}

func str(s string) replication.Value { return replication.StringValue(replication.KindString, s) }
func num(i int64) replication.Value  { return replication.IntValue(i) }
func row(v ...replication.Value) []replication.Value {
	return v
}

// tx7 is a transaction for tests that need but one.
var tx7 = &replication.Transaction{ID: []byte("7"), Commit: []byte("0/1A0"), CommitTime: 1_700_000_000_123_456}

func insert(t *replication.Table, index uint64, after ...replication.Value) replication.Change {
	return replication.Change{Op: replication.OpInsert, Table: t, After: after, Tx: tx7, Index: index}
}

func update(t *replication.Table, index uint64, before, after []replication.Value) replication.Change {
	return replication.Change{Op: replication.OpUpdate, Table: t, Before: before, After: after, Tx: tx7, Index: index}
}

func remove(t *replication.Table, index uint64, before ...replication.Value) replication.Change {
	return replication.Change{Op: replication.OpDelete, Table: t, Before: before, Tx: tx7, Index: index}
}

func truncate(t *replication.Table, index uint64) replication.Change {
	return replication.Change{Op: replication.OpTruncate, Table: t, Tx: tx7, Index: index}
}

func newMapper(t testing.TB, cfg mapping.Config) mapping.Mapper {
	t.Helper()
	m, err := mapping.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// mapRows maps changes with a fresh mapper, and reads the records.
func mapRows(t testing.TB, cfg mapping.Config, changes ...replication.Change) []seen {
	t.Helper()
	reg := &registry{}
	cfg.Registry = reg
	var out mapping.Records
	if err := newMapper(t, cfg).Map(t.Context(), &replication.Batch{Changes: changes}, &out); err != nil {
		t.Fatal(err)
	}
	return reg.read(t, &out)
}

// mapError maps changes with a fresh mapper and returns its error.
func mapError(t testing.TB, cfg mapping.Config, changes ...replication.Change) error {
	t.Helper()
	if cfg.Registry == nil {
		cfg.Registry = &registry{}
	}
	var out mapping.Records
	err := newMapper(t, cfg).Map(t.Context(), &replication.Batch{Changes: changes}, &out)
	if err == nil {
		t.Fatal("mapped what it should not")
	}
	return err
}
