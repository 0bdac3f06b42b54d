package avro

import (
	"encoding/binary"
	"fmt"
	"strings"

	"cdc/replication"
)

// OmittedField is the last field of a record whose values may be left out
// (WithOmitted): the Avro names of the fields that have no value in this record,
// null when all have theirs. What such a field holds (null, or the type's zero)
// means nothing, and must not be written over real data.
const OmittedField = "cdc_omitted"

// kindOmitted is the property cdc.kind of OmittedField, by which readers know it.
const kindOmitted = "omitted"

// WithOmitted returns a schema of RecordSchema with OmittedField as its last
// field.
func WithOmitted(schema string) (string, error) {
	body, ok := strings.CutSuffix(schema, "]}")
	if !ok {
		return "", fmt.Errorf("add field %s: the schema is not one of RecordSchema", OmittedField)
	}
	return body + `,{"name":"` + OmittedField + `","type":["null",{"type":"array","items":"string"}],"default":null,` +
		`"doc":"names of the fields that have no value in this record","` + propKind + `":"` + kindOmitted + `"}]}`, nil
}

// omitted reports whether f is an OmittedField, in the form of WithOmitted.
func (f *field) omitted() bool {
	n := f.node
	return f.prop(propKind) == kindOmitted && n.typ == typeUnion && len(n.branches) == 2 && n.null == 0 &&
		n.branches[1].typ == typeArray && n.branches[1].items.typ == typeString && n.branches[1].items.logical == logicalNone
}

// appendOmitted appends the value of OmittedField for row: the names of the
// fields whose values are Unchanged.
func (e *Encoder) appendOmitted(dst []byte, row []replication.Value) []byte {
	n := 0
	for i := range e.steps {
		if s := &e.steps[i]; s.op > encodeOmitted && s.source < len(row) && row[s.source].IsUnchanged() {
			n++
		}
	}
	if n == 0 {
		return append(dst, 0) // the branch null
	}
	dst = binary.AppendVarint(append(dst, 1<<1), int64(n))
	for i := range e.steps {
		if s := &e.steps[i]; s.op > encodeOmitted && s.source < len(row) && row[s.source].IsUnchanged() {
			dst = binary.AppendVarint(dst, int64(len(s.field)))
			dst = append(dst, s.field...)
		}
	}
	return append(dst, 0)
}

// omittedReader reads an OmittedField.
type omittedReader struct {
	step   readStep
	byName map[string]int
}

func newOmittedReader(f *field, others []field) *omittedReader {
	r := &omittedReader{byName: make(map[string]int, len(others))}
	r.step, _ = compileRead(f)
	for i := range others {
		r.byName[others[i].name] = i
	}
	return r
}

// read marks the values of the fields that it names.
func (r *omittedReader) read(c *cursor, dst []replication.Value, mem *Memory) error {
	var names replication.Value
	r.step.read(c, &names, mem)
	if c.err != nil {
		return fmt.Errorf("decode field %s: %w", OmittedField, c.err)
	}
	for _, name := range names.Elems() {
		i, ok := r.byName[string(name.Bytes())]
		if !ok {
			return fmt.Errorf("decode field %s: it names %q, which is no field", OmittedField, name.Bytes())
		}
		dst[i] = replication.Unchanged
	}
	return nil
}
