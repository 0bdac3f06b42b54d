package avro

import "testing"

// TestNewEnvelope: what only looks like an envelope is none, since its rows
// would be read into the wrong columns, or the old row in place of the new one.
func TestNewEnvelope(t *testing.T) {
	const (
		ab     = `["null",{"type":"record","name":"AB","fields":[{"name":"a","type":"int"},{"name":"b","type":"int"}]}]`
		ba     = `["null",{"type":"record","name":"BA","fields":[{"name":"b","type":"int"},{"name":"a","type":"int"}]}]`
		a      = `["null",{"type":"record","name":"A","fields":[{"name":"a","type":"int"}]}]`
		again  = `["null","AB"]`
		before = `{"name":"before","type":`
		after  = `{"name":"after","type":`
		op     = `{"name":"op","type":"string"}`
	)
	for _, c := range []struct {
		name, fields string
		want         bool
	}{
		{"envelope", before + ab + `},` + after + again + `},` + op, true},
		{"op first", op + `,` + before + ab + `},` + after + again + `}`, true},
		{"after before before", after + ab + `},` + before + again + `},` + op, false},
		{"columns in another order", before + ab + `},` + after + ba + `},` + op, false},
		{"fewer columns", before + ab + `},` + after + a + `},` + op, false},
		{"no before", after + ab + `},` + op, false},
		{"no after", before + ab + `},` + op, false},
		{"no op", before + ab + `},` + after + again + `}`, false},
	} {
		s, err := ParseSchema(`{"type":"record","name":"Envelope","fields":[` + c.fields + `]}`)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if _, got := NewEnvelope(s, ""); got != c.want {
			t.Errorf("%s: an envelope: %t, want %t", c.name, got, c.want)
		}
	}
}
