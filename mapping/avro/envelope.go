package avro

import (
	"fmt"
	"slices"

	"cdc/replication"
)

// Envelope reads records of Debezium's envelope by a plan compiled once. It is
// immutable: any goroutine may use it, each with its own Memory.
type Envelope struct {
	before, after int // indexes of these fields
	op            int
	fields        []field
	null          [2]int64 // index of the null branch of before and after
	rows          [2]*Decoder
	placeholder   []byte
}

// NewEnvelope compiles a plan from a schema, if it is an envelope: a record with
// the fields before, after and op, of which the first two hold records of the
// same fields and stand in this order: Decode lets the second win.
// A text, bytes, or array that is the placeholder is Unchanged.
func NewEnvelope(s *Schema, placeholder string) (*Envelope, bool) {
	e := &Envelope{before: -1, after: -1, op: -1, placeholder: []byte(placeholder)}
	if s == nil || s.root == nil || s.root.typ != typeRecord {
		return nil, false
	}
	e.fields = s.root.fields
	for i, f := range e.fields {
		switch {
		case f.name == "before":
			e.before = i
		case f.name == "after":
			e.after = i
		case f.name == "op" && f.node.typ == typeString:
			e.op = i
		}
	}
	if e.before < 0 || e.after < e.before || e.op < 0 {
		return nil, false
	}
	for k, i := range []int{e.before, e.after} {
		n := e.fields[i].node
		if n.typ != typeUnion || len(n.branches) != 2 || n.null < 0 || n.branches[1-n.null].typ != typeRecord {
			return nil, false
		}
		e.null[k] = int64(n.null)
		d, err := NewDecoder(&Schema{root: n.branches[1-n.null]})
		if err != nil {
			return nil, false
		}
		e.rows[k] = d
	}
	sameName := func(a, b replication.Column) bool { return a.Name == b.Name }
	if !slices.EqualFunc(e.rows[0].columns, e.rows[1].columns, sameName) {
		return nil, false
	}
	return e, true
}

// Columns describes the values that Decode returns, as Decoder.Columns.
func (e *Envelope) Columns() []replication.Column { return e.rows[1].columns }

// Decode reads one record into dst, which must be as long as Columns: the row
// after the change, or the one before it for a delete. It returns the operation,
// c, r, u, d or t; for t dst is nulls. What it borrows and bounds is as with
// Decoder.Decode.
func (e *Envelope) Decode(body []byte, dst []replication.Value, mem *Memory) (op byte, err error) {
	if len(dst) != len(e.rows[1].columns) {
		return 0, fmt.Errorf("decode record: %d values for %d columns", len(dst), len(e.rows[1].columns))
	}
	c := cursor{b: body, limit: len(mem.bytes) + outputLimit(len(body))}
	clear(dst)
	for i := range e.fields {
		switch i {
		case e.before, e.after:
			k := 0
			if i == e.after {
				k = 1
			}
			branch := c.index(2, errBranch)
			if c.err != nil || int64(branch) == e.null[k] {
				break
			}
			d := e.rows[k]
			for j := range d.steps {
				if d.steps[j].read(&c, &dst[j], mem); c.err != nil {
					return 0, fmt.Errorf("decode field %s: %w", d.columns[j].Name, c.err)
				}
				if k == 1 && e.left(&dst[j]) {
					dst[j] = replication.Unchanged
				}
			}
		case e.op:
			if b := c.bytes(); len(b) == 1 {
				op = b[0]
			}
		default:
			skip(&c, e.fields[i].node, 0)
		}
		if c.err != nil {
			return 0, fmt.Errorf("decode field %s: %w", e.fields[i].name, c.err)
		}
	}
	if c.left() > 0 {
		return 0, fmt.Errorf("decode record: %d %w", c.left(), errTrailing)
	}
	return op, nil
}

// left reports whether v stands for a value that the log left out: in an array
// of texts the placeholder is the only element, in one of numbers its bytes are
// the elements.
func (e *Envelope) left(v *replication.Value) bool {
	switch v.Kind() {
	case replication.KindString, replication.KindJSON, replication.KindBytes:
		return string(v.Bytes()) == string(e.placeholder) && len(e.placeholder) > 0
	case replication.KindArray:
		elems := v.Elems()
		if len(elems) == 1 && elems[0].Kind() == replication.KindString {
			return string(elems[0].Bytes()) == string(e.placeholder) && len(e.placeholder) > 0
		}
		if len(elems) != len(e.placeholder) || len(elems) == 0 {
			return false
		}
		for i := range elems {
			if elems[i].Kind() != replication.KindInt || elems[i].Int() != int64(e.placeholder[i]) {
				return false
			}
		}
		return true
	default: // the others have no placeholder
	}
	return false
}
