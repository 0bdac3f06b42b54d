package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"cdc/secret"
)

// object is a mapping of the file: the declaration of its fields, bound to
// where their values go.
type object struct {
	fields []*field
}

// field declares one key of a mapping.
type field struct {
	name, doc string
	kind      string   // for people: text, duration, …
	def       string   // the default, as it would be written; "" is none
	defNote   string   // in place of def where it depends on another field
	words     []string // for a choice, or accepted beside a mapping
	must      bool     // required
	secret    bool     // can be given as <name>_file too
	min, max  int      // for whole numbers, when max > 0
	shape     func() *object
	many      bool // a list of shape
	orText    bool // a shape that may be written as a text
	set       func(d *decoder, n *yaml.Node, path string)
}

func (o *object) add(f *field) *field {
	o.fields = append(o.fields, f)
	return f
}

func (f *field) required() *field { f.must = true; return f }

// defaults sets the field to what text means, now.
func (f *field) defaults(text string) *field {
	f.def = text
	d := &decoder{env: func(string) (string, bool) { return "", false }, nodes: nodes{}}
	f.set(d, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}, f.name)
	if err := d.errors(); err != nil {
		panic("config: default of " + err.Error()) // a test builds every field
	}
	return f
}

// note describes a default that depends on other fields.
func (f *field) note(text string) *field { f.defNote = text; return f }

// scalar declares a field whose value is one text.
func (o *object) scalar(name, kind, doc string, parse func(text string) error) *field {
	f := &field{name: name, kind: kind, doc: doc}
	f.set = func(d *decoder, n *yaml.Node, path string) {
		text, ok := d.text(n, path)
		if !ok {
			return
		}
		if err := parse(text); err != nil {
			// Not the text itself: it may hold what an environment variable hides.
			d.problem(n, path, "%q is %v", d.resolve(n).Value, err)
		}
	}
	return o.add(f)
}

func (o *object) text(name string, to *string, doc string) *field {
	return o.scalar(name, "text", doc, func(s string) error { *to = s; return nil })
}

func (o *object) choice(name string, to *string, doc string, words ...string) *field {
	f := o.scalar(name, "text", doc, func(s string) error {
		if slices.Contains(words, s) {
			*to = s
			return nil
		}
		if near := didYouMean(s, words); near != "" {
			return fmt.Errorf("none of %s; did you mean %q?", strings.Join(words, ", "), near)
		}
		return fmt.Errorf("none of %s", strings.Join(words, ", "))
	})
	f.words = words
	return f
}

func (o *object) flag(name string, to *bool, doc string) *field {
	return o.scalar(name, "true or false", doc, func(s string) error {
		switch s {
		case "true", "false":
			*to = s == "true"
			return nil
		}
		return fmt.Errorf("neither true nor false")
	})
}

func (o *object) number(name string, to *int, least, most int, doc string) *field {
	f := o.scalar(name, "whole number", doc, func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return fmt.Errorf("not a whole number from %d to %d", least, most)
		}
		*to = n
		return nil
	})
	f.min, f.max = least, most
	return f
}

func (o *object) duration(name string, to *time.Duration, doc string) *field {
	return o.scalar(name, "duration", doc, func(s string) (err error) {
		*to, err = parseDuration(s)
		return err
	})
}

func (o *object) size(name string, to *int, doc string) *field {
	return o.scalar(name, "size", doc, func(s string) (err error) {
		*to, err = parseSize(s)
		return err
	})
}

// file declares the name of a file, relative to the configuration's.
func (o *object) file(name string, to *string, doc string) *field {
	f := &field{name: name, kind: "file", doc: doc}
	f.set = func(d *decoder, n *yaml.Node, path string) {
		if text, ok := d.text(n, path); ok {
			*to = d.relative(text)
		}
	}
	return o.add(f)
}

// secret declares a text that is never printed, and name_file beside it.
func (o *object) secret(name string, to *secret.String, doc string) *field {
	f := &field{name: name, kind: "secret", doc: doc, secret: true}
	f.set = func(d *decoder, n *yaml.Node, path string) {
		if _, err := expand(d.resolve(n).Value, d.env); errors.Is(err, errEnvName) {
			d.problem(n, path, "a ${…} in it %v", errEnvName) // it may be a part of the secret
			return
		}
		if text, ok := d.text(n, path); ok {
			*to = secret.New(text)
		}
	}
	return o.add(f)
}

// texts declares a list of texts; one alone may stand without brackets.
func (o *object) texts(name string, to *[]string, doc string) *field {
	f := &field{name: name, kind: "list of texts", doc: doc}
	f.set = func(d *decoder, n *yaml.Node, path string) {
		n = d.resolve(n)
		items := []*yaml.Node{n}
		if n.Kind == yaml.SequenceNode {
			items = n.Content
		}
		*to = nil
		for i, item := range items {
			at := path
			if n.Kind == yaml.SequenceNode {
				at = fmt.Sprintf("%s[%d]", path, i)
				d.nodes[at] = item
			}
			if text, ok := d.text(item, at); ok {
				*to = append(*to, text)
			}
		}
	}
	return o.add(f)
}

// pairs declares a mapping of texts to texts.
func (o *object) pairs(name string, to *map[string]string, doc string) *field {
	f := &field{name: name, kind: "mapping of texts", doc: doc}
	f.set = func(d *decoder, n *yaml.Node, path string) {
		*to = map[string]string{}
		d.mapping(n, path, func(key, value *yaml.Node, at string) {
			if text, ok := d.text(value, at); ok {
				(*to)[key.Value] = text
			}
		})
	}
	return o.add(f)
}

// section declares a mapping whose fields have places of their own.
func (o *object) section(name, doc string, declare func(*object)) *field {
	shape := func() *object { s := &object{}; declare(s); return s }
	inner := shape() // fills defaults now, also when the section is not there
	f := &field{name: name, kind: "mapping", doc: doc, shape: shape}
	f.set = func(d *decoder, n *yaml.Node, path string) { d.object(inner, n, path) }
	return o.add(f)
}

// optional declares a mapping that is nil when it is not there.
func optional[T any](o *object, name, doc string, to **T, declare func(*T, *object)) *field {
	f := &field{name: name, kind: "mapping", doc: doc, shape: func() *object { s := &object{}; declare(new(T), s); return s }}
	f.set = func(d *decoder, n *yaml.Node, path string) {
		*to = new(T)
		inner := &object{}
		declare(*to, inner)
		d.object(inner, n, path)
	}
	return o.add(f)
}

// list declares a list of mappings.
func list[T any](o *object, name, doc string, to *[]T, declare func(*T, *object)) *field {
	f := &field{name: name, kind: "list", doc: doc, many: true, shape: func() *object { s := &object{}; declare(new(T), s); return s }}
	f.set = func(d *decoder, n *yaml.Node, path string) {
		n = d.resolve(n)
		if n.Kind != yaml.SequenceNode {
			d.problem(n, path, "must be a list")
			return
		}
		// No append while fields point into the items.
		*to = make([]T, len(n.Content))
		for i, item := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			d.nodes[at] = item
			inner := &object{}
			declare(&(*to)[i], inner)
			if r := d.resolve(item); f.orText && r.Kind == yaml.ScalarNode {
				inner.fields[0].set(d, item, at)
				continue
			}
			d.object(inner, item, at)
		}
	}
	return o.add(f)
}

// textForFirst lets an item of a list be a text alone: that of its first field.
func (f *field) textForFirst() *field { f.orText = true; return f }

// or accepts words in place of the mapping.
func (f *field) or(use func(word string), words ...string) *field {
	f.words = words
	whole := f.set
	f.set = func(d *decoder, n *yaml.Node, path string) {
		if r := d.resolve(n); r.Kind != yaml.ScalarNode || r.Tag == "!!null" {
			whole(d, n, path)
			return
		}
		text, ok := d.text(n, path)
		if !ok {
			return
		}
		for _, w := range words {
			if w == text {
				use(w)
				return
			}
		}
		d.problem(n, path, "%q is neither a mapping nor %s", d.resolve(n).Value, strings.Join(words, " nor "))
	}
	return f
}
