package avro

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// JSONScratch is the memory of one text's way through a JSONEncoder, used again
// for the next. The zero value is ready.
type JSONScratch struct {
	jsonReader
	spans []int32 // of the records that are open: where the value of each field begins, 0 for nowhere
	depth int
	fill  *JSONFill
	out   []byte // for numbers that are written anew
}

// Append appends the text as a record to dst. The error names the field; dst
// then comes back as it was. fill may be nil.
func (e *JSONEncoder) Append(dst, text []byte, fill *JSONFill, s *JSONScratch) ([]byte, error) {
	before := len(dst)
	s.b, s.pos, s.depth, s.spans, s.fill = text, 0, 0, s.spans[:0], fill
	out, err := s.value(append(dst, e.prefix[:]...), e.root)
	if err == nil {
		err = s.end()
	}
	at := s.pos
	s.b, s.fill = nil, nil // borrowed
	if err != nil {
		return dst[:before], jsonError(err, at)
	}
	return out, nil
}

// jsonFieldError is why a text could not be written, and where in it.
type jsonFieldError struct {
	path string // field.of.record, element[3]
	err  error
}

func (f *jsonFieldError) Error() string { return "field " + f.path + ": " + f.err.Error() }
func (f *jsonFieldError) Unwrap() error { return f.err }

// inField puts what err lies in before its path.
func inField(name string, err error) error {
	if f, ok := errors.AsType[*jsonFieldError](err); ok {
		if f.path[0] != '[' {
			name += "."
		}
		return &jsonFieldError{name + f.path, f.err}
	}
	return &jsonFieldError{name, err}
}

func jsonError(err error, at int) error {
	if _, ok := errors.AsType[*jsonFieldError](err); ok {
		return err
	}
	return fmt.Errorf("at byte %d: %w", at, err)
}

// value writes the next value as a type.
func (s *JSONScratch) value(dst []byte, t *jsonType) ([]byte, error) {
	kind, err := s.peek()
	if err != nil {
		return dst, err
	}
	switch t.typ {
	case typeUnion:
		return s.union(dst, t, kind)
	case typeRecord:
		if kind == jsonObject {
			return s.nested(dst, t, (*JSONScratch).record)
		}
	case typeArray:
		if kind == jsonArray {
			return s.nested(dst, t, (*JSONScratch).array)
		}
	case typeMap:
		if kind == jsonObject {
			return s.nested(dst, t, (*JSONScratch).object)
		}
	case typeString:
		if kind == jsonObject || kind == jsonArray {
			return s.raw(dst, t)
		}
	default: // scalars, as below
	}
	if kind == jsonObject || kind == jsonArray {
		return dst, mismatch(t, token{kind: kind})
	}
	tok, err := s.scalar(kind)
	if err != nil {
		return dst, err
	}
	return s.coerce(dst, t, tok)
}

func (s *JSONScratch) nested(dst []byte, t *jsonType, write func(*JSONScratch, []byte, *jsonType) ([]byte, error)) ([]byte, error) {
	if s.depth++; s.depth > maxDepth {
		return dst, errJSONDepth
	}
	dst, err := write(s, dst, t)
	s.depth--
	return dst, err
}

// raw writes an object or array as its text.
func (s *JSONScratch) raw(dst []byte, t *jsonType) ([]byte, error) {
	start := s.pos
	if err := s.skip(s.depth); err != nil {
		return dst, err
	}
	return s.coerce(dst, t, token{jsonString, s.b[start:s.pos]})
}

// record writes the fields in the schema's order. Those of the text that come in
// that order are written as they are read; of the others it notes where they
// lie, and reads them again when it is their turn.
func (s *JSONScratch) record(dst []byte, t *jsonType) ([]byte, error) {
	base := len(s.spans)
	for range t.fields {
		s.spans = append(s.spans, 0)
	}
	turn := 0 // the field to be written next
	for first := true; ; first = false {
		name, more, err := s.name(first)
		if err != nil {
			return dst, err
		}
		if !more {
			break
		}
		i := t.field(name, turn)
		switch {
		case i < 0: // not in the schema
			if err := s.skip(s.depth); err != nil {
				return dst, err
			}
			continue
		case i < turn || s.spans[base+i] != 0:
			return dst, inField(t.fields[i].name, errJSONTwice)
		case i > turn:
			s.space()
			s.spans[base+i] = int32(s.pos)
			if err := s.skip(s.depth); err != nil {
				return dst, inField(t.fields[i].name, err)
			}
			continue
		}
		if dst, err = s.field(dst, &t.fields[i]); err != nil {
			return dst, err
		}
		turn++
		if dst, err = s.noted(dst, t, base, &turn, false); err != nil {
			return dst, err
		}
	}
	dst, err := s.noted(dst, t, base, &turn, true)
	s.spans = s.spans[:base]
	return dst, err
}

// noted writes fields from *turn on that have been read over already, and, at
// the record's end, those that are not there.
func (s *JSONScratch) noted(dst []byte, t *jsonType, base int, turn *int, end bool) ([]byte, error) {
	resume := s.pos
	for ; *turn < len(t.fields); *turn++ {
		f := &t.fields[*turn]
		at := s.spans[base+*turn]
		if at == 0 && !end {
			break
		}
		var err error
		if at == 0 {
			dst, err = s.absent(dst, f)
		} else {
			s.pos = int(at)
			dst, err = s.field(dst, f)
		}
		if err != nil {
			return dst, err
		}
	}
	s.pos = resume
	return dst, nil
}

// field writes one field's value.
func (s *JSONScratch) field(dst []byte, f *jsonField) ([]byte, error) {
	if s.fills(f) {
		kind, err := s.peek()
		if err != nil {
			return dst, inField(f.name, err)
		}
		if kind == jsonNull {
			if _, err := s.scalar(kind); err != nil {
				return dst, inField(f.name, err)
			}
			return s.absent(dst, f)
		}
	}
	out, err := s.value(dst, f.typ)
	if err != nil {
		return dst, inField(f.name, err)
	}
	return out, nil
}

// fills reports whether something stands in for the field.
func (s *JSONScratch) fills(f *jsonField) bool {
	return f.fill != fillNothing && s.fill != nil && s.depth == 1 && (f.fill == fillTimestamp || len(s.fill.MessageID) > 0)
}

// absent writes a field that the text does not have.
func (s *JSONScratch) absent(dst []byte, f *jsonField) ([]byte, error) {
	if s.fills(f) {
		tok := token{jsonString, s.fill.MessageID}
		if f.fill == fillTimestamp {
			tok.text = AppendInstant(s.text[:0], s.fill.Timestamp)
			s.text = tok.text
		}
		before := len(dst)
		out, err := s.filled(dst, f.typ, tok)
		if err == nil {
			return out, nil
		}
		dst = dst[:before]
		if f.absent == nil {
			return dst, inField(f.name, err)
		}
	}
	if f.absent == nil {
		return dst, inField(f.name, errors.New("missing, and the schema has neither a default nor null for it"))
	}
	return append(dst, f.absent...), nil
}

// filled writes a text that stands in for a field.
func (s *JSONScratch) filled(dst []byte, t *jsonType, tok token) ([]byte, error) {
	if t.typ != typeUnion {
		return s.coerce(dst, t, tok)
	}
	for i, b := range t.branches {
		if b.typ == typeNull {
			continue
		}
		before := len(dst)
		out, err := s.coerce(binary.AppendVarint(dst, int64(i)), b, tok)
		if err == nil {
			return out, nil
		}
		dst = dst[:before]
	}
	return dst, mismatch(t, tok)
}

// array writes all elements as one block, whose count is known at the end.
func (s *JSONScratch) array(dst []byte, t *jsonType) ([]byte, error) {
	return s.block(dst, func(dst []byte, n int, first bool) ([]byte, bool, error) {
		more, err := s.next(']', first)
		if !more || err != nil {
			return dst, false, err
		}
		out, err := s.value(dst, t.items)
		if err != nil {
			return dst, false, inField(fmt.Sprintf("[%d]", n), err)
		}
		return out, true, nil
	})
}

// object writes all entries of a map as one block.
func (s *JSONScratch) object(dst []byte, t *jsonType) ([]byte, error) {
	return s.block(dst, func(dst []byte, _ int, first bool) ([]byte, bool, error) {
		name, more, err := s.name(first)
		if !more || err != nil {
			return dst, false, err
		}
		at := len(dst)
		dst = append(binary.AppendVarint(dst, int64(len(name))), name...)
		key := dst[at:]
		out, err := s.value(dst, t.items)
		if err != nil {
			_, n := binary.Varint(key)
			return dst, false, inField("["+string(key[n:])+"]", err)
		}
		return out, true, nil
	})
}

// block writes items until there are no more, then puts their count before
// them. One byte is kept for the count, which does for 63 items; for more the
// items move.
func (s *JSONScratch) block(dst []byte, item func(dst []byte, n int, first bool) ([]byte, bool, error)) ([]byte, error) {
	at := len(dst)
	dst = append(dst, 0)
	n := 0
	for {
		out, more, err := item(dst, n, n == 0)
		if err != nil {
			return dst, err
		}
		if !more {
			break
		}
		dst = out
		n++
	}
	if n == 0 {
		return dst, nil // that byte is the end
	}
	var count [binary.MaxVarintLen64]byte
	size := binary.PutVarint(count[:], int64(n))
	if size > 1 {
		dst = append(dst, count[1:size]...)
		copy(dst[at+size:], dst[at+1:len(dst)-size+1])
	}
	copy(dst[at:], count[:size])
	return append(dst, 0), nil
}

// union writes the value by the branch that it fits: the only one beside null;
// or the first whose type is the value's own; or the first that it can be
// coerced to.
func (s *JSONScratch) union(dst []byte, t *jsonType, kind jsonKind) ([]byte, error) {
	if kind == jsonNull {
		if _, err := s.scalar(kind); err != nil {
			return dst, err
		}
		if t.null < 0 {
			return dst, errNull
		}
		return binary.AppendVarint(dst, int64(t.null)), nil
	}
	if t.single >= 0 {
		return s.value(binary.AppendVarint(dst, int64(t.single)), t.branches[t.single])
	}
	start, before, open, depth := s.pos, len(dst), len(s.spans), s.depth
	for _, own := range []bool{true, false} {
		for i, b := range t.branches {
			if b.typ == typeNull || own && !s.fits(b, kind) {
				continue
			}
			out, err := s.value(binary.AppendVarint(dst, int64(i)), b)
			if err == nil {
				return out, nil
			}
			dst, s.pos, s.spans, s.depth = dst[:before], start, s.spans[:open], depth
		}
	}
	if err := s.skip(s.depth); err != nil {
		return dst, err
	}
	return dst, fmt.Errorf("no type of the union takes %s", appendCut(nil, s.b[start:s.pos], 0))
}

// fits reports whether a value of that kind is of the type without coercion, as
// far as can be told without reading it.
func (s *JSONScratch) fits(t *jsonType, kind jsonKind) bool {
	switch kind {
	case jsonTrue, jsonFalse:
		return t.typ == typeBoolean
	case jsonNumber:
		switch t.typ {
		case typeInt, typeLong:
			for _, c := range s.b[s.pos:] {
				switch {
				case c == '.' || c == 'e' || c == 'E':
					return false
				case c-'0' > 9 && c != '-':
					return true
				}
			}
			return true
		case typeFloat, typeDouble:
			return true
		default:
			return t.logical == logicalDecimal
		}
	case jsonString:
		switch t.typ {
		case typeString, typeEnum, typeFixed:
			return true
		case typeBytes:
			return t.logical != logicalDecimal
		default:
			return t.logical >= logicalDate // a time in text, if it reads as one
		}
	case jsonObject:
		return t.typ == typeMap || t.typ == typeRecord && s.subset(t)
	default:
		return t.typ == typeArray
	}
}

// subset reports whether the object's names are all fields of the record.
func (s *JSONScratch) subset(t *jsonType) bool {
	start := s.pos
	defer func() { s.pos = start }()
	for first := true; ; first = false {
		name, more, err := s.name(first)
		if !more || err != nil {
			return err == nil
		}
		if t.field(name, 0) < 0 || s.skip(s.depth) != nil {
			return false
		}
	}
}

// Member is one field of a JSON object. Everything in it is borrowed until the
// next one.
type Member struct {
	Name []byte
	// Raw is the value as it stands in the object.
	Raw []byte
	// Text is a string's content, or what Raw says of a number, true or false.
	Text                   []byte
	Null, String, Compound bool // Compound: an object or an array, without Text
}

// Object calls visit for each field of a JSON object, in its order, and checks
// the whole text. An error of visit ends it and is returned.
func (s *JSONScratch) Object(text []byte, visit func(Member) error) error {
	s.b, s.pos, s.depth = text, 0, 0
	err := s.members(visit)
	if err == nil {
		err = s.end()
	}
	at := s.pos
	s.b = nil
	if err != nil {
		return fmt.Errorf("at byte %d: %w", at, err)
	}
	return nil
}

var errNoObject = errors.New("not a JSON object")

func (s *JSONScratch) members(visit func(Member) error) error {
	if kind, err := s.peek(); err != nil {
		return err
	} else if kind != jsonObject {
		return errNoObject
	}
	for first := true; ; first = false {
		name, more, err := s.name(first)
		if !more || err != nil {
			return err
		}
		s.out = append(s.out[:0], name...)
		kind, err := s.peek()
		if err != nil {
			return err
		}
		m := Member{Name: s.out, Null: kind == jsonNull, String: kind == jsonString, Compound: kind == jsonObject || kind == jsonArray}
		start := s.pos
		if m.Compound {
			err = s.skip(1)
		} else {
			var tok token
			tok, err = s.scalar(kind)
			m.Text = tok.literal()
		}
		if err != nil {
			return err
		}
		m.Raw = s.b[start:s.pos]
		if err := visit(m); err != nil {
			return err
		}
	}
}
