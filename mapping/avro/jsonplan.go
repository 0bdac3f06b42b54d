package avro

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// JSONEncoder writes JSON texts as Avro in Confluent's wire format, by a plan
// compiled once, and coerces what JSON has no type for, or what an application
// wrote loosely: docs/outbox.md has the table. It is immutable: any goroutine
// may use it, each with a JSONScratch of its own.
type JSONEncoder struct {
	prefix [5]byte
	root   *jsonType
}

// JSONFill is what stands in for the fields message_id and timestamp of the
// outermost record, when the schema has them and the text does not, or has null.
type JSONFill struct {
	MessageID []byte // text
	Timestamp int64  // microseconds since 1970-01-01 UTC
}

// jsonType is a node with what is decided about it before the first text.
type jsonType struct {
	*node
	items    *jsonType
	fields   []jsonField
	index    map[string]int // of the fields, where there are many
	branches []*jsonType
	single   int // of a union of null and one other type, that one; else -1
}

type jsonField struct {
	name string
	typ  *jsonType
	// absent is how the field is written when the text lacks it; nil when it
	// must be there.
	absent []byte
	fill   jsonFillKind
}

type jsonFillKind uint8

const (
	fillNothing jsonFillKind = iota
	fillMessageID
	fillTimestamp
)

// manyFields is from how many on a field is looked up in a map.
const manyFields = 8

// NewJSONEncoder compiles a plan that writes texts by the schema, of any type,
// under the id that the registry gave it.
func NewJSONEncoder(s *Schema, schemaID int) (*JSONEncoder, error) {
	if schemaID < 0 || int64(schemaID) > math.MaxUint32 {
		return nil, fmt.Errorf("schema id %d is beyond 32 bits", schemaID)
	}
	root, err := compileJSON(s.root, map[*node]*jsonType{})
	if err != nil {
		return nil, fmt.Errorf("plan schema: %w", err)
	}
	for i := range root.fields {
		f := &root.fields[i]
		switch f.name {
		case "message_id":
			f.fill = fillMessageID
		case "timestamp":
			f.fill = fillTimestamp
		}
	}
	e := &JSONEncoder{root: root}
	binary.BigEndian.PutUint32(e.prefix[1:], uint32(schemaID))
	return e, nil
}

// compileJSON enters a type into known before its insides, which may refer to it.
func compileJSON(n *node, known map[*node]*jsonType) (*jsonType, error) {
	if t := known[n]; t != nil {
		return t, nil
	}
	t := &jsonType{node: n, single: -1}
	known[n] = t
	var err error
	switch n.typ {
	case typeArray, typeMap:
		t.items, err = compileJSON(n.items, known)
	case typeRecord:
		t.fields = make([]jsonField, len(n.fields))
		if len(t.fields) >= manyFields {
			t.index = make(map[string]int, len(t.fields))
		}
		for i := range n.fields {
			f := &t.fields[i]
			f.name = n.fields[i].name
			if t.index != nil {
				t.index[f.name] = i
			}
			if f.typ, err = compileJSON(n.fields[i].node, known); err != nil {
				return nil, err
			}
			if f.absent, err = absentBytes(&n.fields[i]); err != nil {
				return nil, fmt.Errorf("field %s: %w", f.name, err)
			}
		}
	case typeUnion:
		if len(n.branches) > 64 {
			return nil, errors.New("a union of more than 64 branches")
		}
		for i, b := range n.branches {
			branch, err := compileJSON(b, known)
			if err != nil {
				return nil, err
			}
			t.branches = append(t.branches, branch)
			if b.typ == typeNull {
				continue
			}
			if t.single = i; len(n.branches) > 2 || len(n.branches) == 2 && n.null < 0 {
				t.single = -1
			}
		}
	default: // the others have no parts
	}
	return t, err
}

// absentBytes is what a field holds of which a text says nothing: its default,
// else null.
func absentBytes(f *field) ([]byte, error) {
	switch {
	case f.origin.HasDefault:
		b, err := defaultBytes(f)
		if b == nil {
			b = []byte{}
		}
		return b, err
	case f.node.typ == typeNull:
		return []byte{}, nil
	case f.node.typ == typeUnion && f.node.null >= 0:
		return binary.AppendVarint(nil, int64(f.node.null)), nil
	}
	return nil, nil
}

// field returns the index of the field of that name, -1 when there is none.
// likely is looked at first.
func (t *jsonType) field(name []byte, likely int) int {
	if likely < len(t.fields) && t.fields[likely].name == string(name) {
		return likely
	}
	if t.index != nil {
		if i, ok := t.index[string(name)]; ok {
			return i
		}
		return -1
	}
	for i := range t.fields {
		if t.fields[i].name == string(name) {
			return i
		}
	}
	return -1
}
