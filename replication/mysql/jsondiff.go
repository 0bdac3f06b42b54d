package mysql

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"cdc/replication"
	"cdc/replication/arena"
)

// A partial update of a JSON column carries, instead of the new document, what
// to do with the old one: MySQL source, "json_diff.h, Json_diff_vector".

const (
	diffReplace = 0
	diffInsert  = 1
	diffRemove  = 2
)

// jsonNode is a document that can be changed.
type jsonNode struct {
	typ  byte
	data []byte // of a scalar
	keys [][]byte
	elem []*jsonNode
}

func (n *jsonNode) box() bool    { return n.typ <= jsonLargeArray }
func (n *jsonNode) object() bool { return n.typ <= jsonLargeObject }

var errJSON = errors.New("malformed binary JSON")

// readJSON takes a binary document apart. budget bounds its values.
func readJSON(typ byte, b []byte, depth int, budget *int) (*jsonNode, error) {
	if *budget--; *budget < 0 || depth > jsonDepth {
		return nil, errJSON
	}
	n := &jsonNode{typ: typ, data: b}
	if !n.box() {
		return n, nil
	}
	box, ok := openJSON(typ, b)
	if !ok {
		return nil, errJSON
	}
	for i := range box.count {
		if box.object {
			key, ok := box.key(i)
			if !ok {
				return nil, errJSON
			}
			n.keys = append(n.keys, key)
		}
		typ, b, ok := box.elem(i)
		if !ok {
			return nil, errJSON
		}
		e, err := readJSON(typ, b, depth+1, budget)
		if err != nil {
			return nil, err
		}
		n.elem = append(n.elem, e)
	}
	return n, nil
}

// patchJSON applies the diffs to the old document and renders the result.
func patchJSON(old, diffs []byte, a *arena.Arena) (replication.Value, error) {
	if len(old) == 0 {
		return replication.Null, errJSON
	}
	budget := len(old) + len(diffs) + 2
	root, err := readJSON(old[0], old[1:], 0, &budget)
	if err != nil {
		return replication.Null, err
	}
	c := cursor{B: diffs}
	for len(c.B) > 0 {
		op, path := c.U8(), c.PackedBytes()
		var value *jsonNode
		if op != diffRemove {
			doc := c.PackedBytes()
			if c.Err != nil || len(doc) == 0 {
				return replication.Null, errJSON
			}
			if value, err = readJSON(doc[0], doc[1:], 0, &budget); err != nil {
				return replication.Null, err
			}
		}
		if c.Err != nil || op > diffRemove {
			return replication.Null, errJSON
		}
		if root, err = root.patch(op, path, value); err != nil {
			return replication.Null, fmt.Errorf("apply %q to JSON: %w", path, err)
		}
	}
	w := jsonWriter{out: a.Scratch[:0]}
	ok := w.tree(root, 0)
	a.Scratch = w.out[:0]
	if !ok {
		return replication.Null, errJSON
	}
	return replication.BytesValue(replication.KindJSON, a.Copy(w.out)), nil
}

func (w *jsonWriter) tree(n *jsonNode, depth int) bool {
	if depth > jsonDepth {
		return false
	}
	if !n.box() {
		return w.scalar(n.typ, n.data)
	}
	open, shut := byte('['), byte(']')
	if n.object() {
		open, shut = '{', '}'
	}
	w.out = append(w.out, open)
	for i, e := range n.elem {
		if i > 0 {
			w.out = append(w.out, ", "...)
		}
		if n.object() {
			w.out = append(appendJSONString(w.out, n.keys[i]), ": "...)
		}
		if !w.tree(e, depth+1) {
			return false
		}
	}
	w.out = append(w.out, shut)
	return true
}

// patch applies one diff and returns the new root.
func (n *jsonNode) patch(op byte, path []byte, value *jsonNode) (*jsonNode, error) {
	legs, err := parsePath(path)
	if err != nil {
		return nil, err
	}
	if len(legs) == 0 {
		if op != diffReplace {
			return nil, errJSON
		}
		return value, nil
	}
	at := n
	for _, l := range legs[:len(legs)-1] {
		i, found := at.find(l)
		if !found {
			return nil, errors.New("the path leads nowhere")
		}
		at = at.elem[i]
	}
	last := legs[len(legs)-1]
	if at.box() && at.object() != last.isKey {
		return nil, errors.New("the path leads nowhere")
	}
	i, found := at.find(last)
	switch {
	case op == diffReplace && found:
		at.elem[i] = value
	case op == diffRemove && found:
		at.elem = slices.Delete(at.elem, i, i+1)
		if at.object() {
			at.keys = slices.Delete(at.keys, i, i+1)
		}
	case op == diffInsert && at.box() && at.object() && !found:
		at.elem = slices.Insert(at.elem, i, value)
		at.keys = slices.Insert(at.keys, i, last.key)
	case op == diffInsert && at.box() && !at.object():
		at.elem = slices.Insert(at.elem, min(last.index, len(at.elem)), value)
	default:
		return nil, errors.New("the path leads nowhere")
	}
	return n, nil
}

// find returns where a leg leads, or for a key that is not there where it
// belongs: keys are sorted by length, then by their bytes.
func (n *jsonNode) find(l jsonLeg) (int, bool) {
	switch {
	case !n.box() || n.object() != l.isKey:
		return 0, false
	case l.isKey:
		return slices.BinarySearchFunc(n.keys, l.key, func(a, b []byte) int {
			if len(a) != len(b) {
				return len(a) - len(b)
			}
			return bytes.Compare(a, b)
		})
	default:
		return l.index, l.index < len(n.elem)
	}
}

// jsonLeg is one step of a path.
type jsonLeg struct {
	key   []byte
	index int
	isKey bool
}

// parsePath reads a path as the server writes it: "$.a[1].\"b c\"".
func parsePath(p []byte) ([]jsonLeg, error) {
	bad := errors.New("malformed path")
	if len(p) > 0 && p[0] == '$' {
		p = p[1:]
	}
	var legs []jsonLeg
	for len(p) > 0 {
		switch {
		case p[0] == '[':
			end := bytes.IndexByte(p, ']')
			if end < 0 {
				return nil, bad
			}
			i, err := strconv.Atoi(string(p[1:end]))
			if err != nil || i < 0 {
				return nil, bad
			}
			legs = append(legs, jsonLeg{index: i})
			p = p[end+1:]
		case len(p) > 1 && p[0] == '.' && p[1] == '"':
			end := 2
			for end < len(p) && p[end] != '"' {
				if p[end] == '\\' {
					end++
				}
				end++
			}
			if end >= len(p) {
				return nil, bad
			}
			var key string
			if err := json.Unmarshal(p[1:end+1], &key); err != nil {
				return nil, bad
			}
			legs = append(legs, jsonLeg{key: []byte(key), isKey: true})
			p = p[end+1:]
		case p[0] == '.':
			end := 1
			for end < len(p) && p[end] != '.' && p[end] != '[' {
				end++
			}
			if end == 1 {
				return nil, bad
			}
			legs = append(legs, jsonLeg{key: p[1:end], isKey: true})
			p = p[end:]
		default:
			return nil, bad
		}
	}
	return legs, nil
}
