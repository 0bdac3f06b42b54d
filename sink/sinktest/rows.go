// Package sinktest holds what tests of the sink.Writers of all databases share:
// rows and batches, a proxy that loses answers, and tests that every Writer has
// to pass.
package sinktest

import (
	"testing"

	"cdc/replication"
	"cdc/sink"
)

// Target is a Writer into a fresh database.
type Target struct {
	testing.TB
	Writer sink.Writer
	// Dump returns what a query of the target says, a line a row, fields separated
	// by |, as another client than the Writer sees it.
	Dump func(sql string) string
	// Exec runs a statement as that client does.
	Exec func(sql string)
	// Logs returns what the Writer has logged so far.
	Logs func() string
	Next int64 // the offset that the next Batch comes from; -1 at first
}

// Must ends the test on an error.
func (t *Target) Must(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Batch wraps rows of one shape with the next offset.
func (t *Target) Batch(s *sink.Shape, rows ...sink.Row) *sink.Batch {
	return &sink.Batch{Tables: []sink.Rows{{Shape: s, Rows: rows}}, Offsets: []sink.Offset{t.Offset(len(rows))}}
}

// Offset is that of the next n records.
func (t *Target) Offset(n int) sink.Offset {
	return sink.Offset{Topic: "public.t", Partition: 0, From: t.Next, Next: max(t.Next, 0) + int64(n)}
}

// Apply writes rows.
func (t *Target) Apply(s *sink.Shape, rows ...sink.Row) {
	t.Helper()
	b := t.Batch(s, rows...)
	t.Must(t.Writer.Apply(t.Context(), "g", b))
	t.Next = b.Offsets[0].Next
}

// Shape is of the topic public.t and the table t.
func Shape(fields ...sink.Field) *sink.Shape {
	return &sink.Shape{Topic: "public.t", Table: "t", Fields: fields}
}

// Field is a field with the source's type.
func Field(name string, k replication.Kind, bits uint8, typ string) sink.Field {
	return sink.Field{Column: replication.Column{Name: name, Kind: k, Bits: bits, TypeName: typ}}
}

// Keyed puts a field into the key.
func Keyed(f sink.Field) sink.Field {
	f.Key = true
	return f
}

// ID is the key of most tables, Note their other column.
func ID() sink.Field   { return Keyed(Field("id", replication.KindInt, 64, "bigint")) }
func Note() sink.Field { return Field("note", replication.KindString, 0, "text") }

// Row is a row of values.
func Row(values ...replication.Value) sink.Row { return sink.Row{Values: values} }

// Num and Str are an integer and a text.
func Num(n int64) replication.Value  { return replication.IntValue(n) }
func Str(s string) replication.Value { return replication.StringValue(replication.KindString, s) }
