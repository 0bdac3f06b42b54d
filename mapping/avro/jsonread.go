package avro

import (
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonReader walks a JSON text (RFC 8259) that nobody vouches for, and checks
// all of it that it passes, also what it skips. Its first error is the last
// thing it does.
type jsonReader struct {
	b    []byte
	pos  int
	text []byte // of the last string with escapes
}

// What a JSON text can be wrong in; the caller says at which byte.
var (
	errJSONEnd     = errors.New("not JSON: it ends too early")
	errJSONValue   = errors.New("not JSON: no value here")
	errJSONNumber  = errors.New("not JSON: a malformed number")
	errJSONString  = errors.New("not JSON: a control character in a string")
	errJSONEscape  = errors.New("not JSON: a malformed escape in a string")
	errJSONUTF8    = errors.New("not JSON: text that is not UTF-8")
	errJSONColon   = errors.New("not JSON: a name without a colon and a value")
	errJSONComma   = errors.New("not JSON: neither a comma nor the end of the list")
	errJSONName    = errors.New("not JSON: an object's field without a name in quotes")
	errJSONDepth   = errors.New("nested too deeply")
	errJSONAfter   = errors.New("not JSON: something after the value")
	errJSONTwice   = errors.New("stands there twice")
	errJSONLiteral = errors.New("not JSON: neither true nor false nor null")
)

type jsonKind uint8

const (
	jsonNull jsonKind = iota
	jsonFalse
	jsonTrue
	jsonNumber
	jsonString
	jsonObject
	jsonArray
)

var jsonNames = [...]string{"null", "false", "true", "the number", "the text", "an object", "an array"}

// token is one value without its insides: a number's text, or a string's
// content, valid until the next string is read.
type token struct {
	kind jsonKind
	text []byte
}

func (r *jsonReader) space() {
	for r.pos < len(r.b) {
		switch r.b[r.pos] {
		case ' ', '\n', '\t', '\r':
			r.pos++
		default:
			return
		}
	}
}

// peek returns the kind of the next value.
func (r *jsonReader) peek() (jsonKind, error) {
	r.space()
	if r.pos >= len(r.b) {
		return 0, errJSONEnd
	}
	switch c := r.b[r.pos]; {
	case c == '"':
		return jsonString, nil
	case c == '{':
		return jsonObject, nil
	case c == '[':
		return jsonArray, nil
	case c == 'n':
		return jsonNull, nil
	case c == 't':
		return jsonTrue, nil
	case c == 'f':
		return jsonFalse, nil
	case c == '-', c >= '0' && c <= '9':
		return jsonNumber, nil
	}
	return 0, errJSONValue
}

// scalar reads a value that is neither object nor array.
func (r *jsonReader) scalar(kind jsonKind) (t token, err error) {
	t.kind = kind
	switch kind {
	case jsonNull:
		err = r.literal("null")
	case jsonTrue:
		err = r.literal("true")
	case jsonFalse:
		err = r.literal("false")
	case jsonNumber:
		t.text, err = r.number()
	default:
		t.text, err = r.string()
	}
	return t, err
}

func (r *jsonReader) literal(word string) error {
	if end := r.pos + len(word); end > len(r.b) || string(r.b[r.pos:end]) != word {
		return errJSONLiteral
	}
	r.pos += len(word)
	return nil
}

func (r *jsonReader) digits() bool {
	start := r.pos
	for r.pos < len(r.b) && r.b[r.pos]-'0' <= 9 {
		r.pos++
	}
	return r.pos > start
}

func (r *jsonReader) at(c byte) bool { return r.pos < len(r.b) && r.b[r.pos] == c }

func (r *jsonReader) number() ([]byte, error) {
	start := r.pos
	if r.at('-') {
		r.pos++
	}
	if r.at('0') {
		r.pos++
	} else if !r.digits() {
		return nil, errJSONNumber
	}
	if r.at('.') {
		r.pos++
		if !r.digits() {
			return nil, errJSONNumber
		}
	}
	if r.at('e') || r.at('E') {
		r.pos++
		if r.at('+') || r.at('-') {
			r.pos++
		}
		if !r.digits() {
			return nil, errJSONNumber
		}
	}
	if r.pos < len(r.b) && (r.b[r.pos]-'0' <= 9 || r.b[r.pos] == '.') { // 01, 1.2.3
		return nil, errJSONNumber
	}
	return r.b[start:r.pos], nil
}

// string reads a string and returns its content: a slice of the input, or of
// r.text when it has escapes.
func (r *jsonReader) string() ([]byte, error) {
	r.pos++
	start := r.pos
	ascii := true
	for ; r.pos < len(r.b); r.pos++ {
		switch c := r.b[r.pos]; {
		case c == '"':
			s := r.b[start:r.pos]
			r.pos++
			if !ascii && !utf8.Valid(s) {
				return nil, errJSONUTF8
			}
			return s, nil
		case c == '\\':
			return r.escaped(start)
		case c < 0x20:
			return nil, errJSONString
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, errJSONEnd
}

// escaped goes on with a string in which an escape has been met.
func (r *jsonReader) escaped(start int) ([]byte, error) {
	out := r.text[:0]
	out = append(out, r.b[start:r.pos]...)
	for r.pos < len(r.b) {
		c := r.b[r.pos]
		switch {
		case c == '"':
			r.pos++
			r.text = out
			if !utf8.Valid(out) {
				return nil, errJSONUTF8
			}
			return out, nil
		case c < 0x20:
			return nil, errJSONString
		case c != '\\':
			out = append(out, c)
			r.pos++
			continue
		}
		r.pos++
		if r.pos >= len(r.b) {
			return nil, errJSONEnd
		}
		c = r.b[r.pos]
		r.pos++
		switch c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			u, ok := r.hex4()
			if !ok {
				return nil, errJSONEscape
			}
			if utf16.IsSurrogate(u) {
				if r.pos+1 >= len(r.b) || r.b[r.pos] != '\\' || r.b[r.pos+1] != 'u' {
					return nil, errJSONEscape
				}
				r.pos += 2
				low, ok := r.hex4()
				if u = utf16.DecodeRune(u, low); !ok || u == utf8.RuneError {
					return nil, errJSONEscape
				}
			}
			out = utf8.AppendRune(out, u)
		default:
			return nil, errJSONEscape
		}
	}
	return nil, errJSONEnd
}

func (r *jsonReader) hex4() (u rune, ok bool) {
	if r.pos+4 > len(r.b) {
		return 0, false
	}
	for _, c := range r.b[r.pos : r.pos+4] {
		switch {
		case c-'0' <= 9:
			u = u<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			u = u<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	r.pos += 4
	return u, true
}

// name reads the next name of an object, with its colon. first says that none
// was read yet; more is false at the object's end. The name is valid until the
// next string is read.
func (r *jsonReader) name(first bool) (name []byte, more bool, err error) {
	if more, err = r.next('}', first); !more || err != nil {
		return nil, false, err
	}
	if !r.at('"') {
		return nil, false, errJSONName
	}
	if name, err = r.string(); err != nil {
		return nil, false, err
	}
	r.space()
	if !r.at(':') {
		return nil, false, errJSONColon
	}
	r.pos++
	return name, true, nil
}

// next goes to the next item of a list that end closes.
func (r *jsonReader) next(end byte, first bool) (more bool, err error) {
	if first {
		r.pos++ // the bracket
	}
	r.space()
	if r.at(end) {
		r.pos++
		return false, nil
	}
	if first {
		return true, nil
	}
	if !r.at(',') {
		if r.pos >= len(r.b) {
			return false, errJSONEnd
		}
		return false, errJSONComma
	}
	r.pos++
	r.space()
	if r.at(end) {
		return false, errJSONValue
	}
	return true, nil
}

// skip passes the next value, checking it.
func (r *jsonReader) skip(depth int) error {
	if depth > maxDepth {
		return errJSONDepth
	}
	kind, err := r.peek()
	if err != nil {
		return err
	}
	switch kind {
	case jsonObject:
		for first := true; ; first = false {
			if _, more, err := r.name(first); !more || err != nil {
				return err
			}
			if err := r.skip(depth + 1); err != nil {
				return err
			}
		}
	case jsonArray:
		for first := true; ; first = false {
			if more, err := r.next(']', first); !more || err != nil {
				return err
			}
			if err := r.skip(depth + 1); err != nil {
				return err
			}
		}
	default:
		_, err := r.scalar(kind)
		return err
	}
}

// end makes sure that nothing follows.
func (r *jsonReader) end() error {
	if r.space(); r.pos < len(r.b) {
		return errJSONAfter
	}
	return nil
}

// CheckJSON reports what keeps a text from being one JSON value.
func CheckJSON(text []byte) error {
	r := jsonReader{b: text}
	err := r.skip(0)
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return fmt.Errorf("at byte %d: %w", r.pos, err)
	}
	return nil
}
