package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// decoder walks the nodes of one file and collects what is wrong.
type decoder struct {
	file, dir string
	env       func(string) (string, bool)
	nodes     nodes
	problems  []Problem
}

// nodes remembers where each field stands, by its path.
type nodes map[string]*yaml.Node

func (d *decoder) problem(n *yaml.Node, path, format string, args ...any) {
	p := Problem{File: d.file, Path: path, Text: fmt.Sprintf(format, args...)}
	if n != nil {
		p.Line, p.Column = n.Line, n.Column
	}
	d.problems = append(d.problems, p)
}

// at reports a problem of the field at path, or of the nearest mapping around
// it that is there.
func (d *decoder) at(path, format string, args ...any) {
	for p := path; ; {
		if n, ok := d.nodes[p]; ok || p == "" {
			d.problem(n, path, format, args...)
			return
		}
		p = p[:max(strings.LastIndexAny(p, ".["), 0)]
	}
}

// load parses YAML and returns the mapping at its root, or nil.
func (d *decoder) load(data []byte) *yaml.Node {
	var doc yaml.Node
	if err := yaml.Load(data, &doc); err != nil {
		p := Problem{File: d.file, Text: "not valid YAML: " + err.Error()}
		if e, ok := errors.AsType[*yaml.LoadError](err); ok && e.Message != "" {
			p.Line, p.Column = e.Mark.Line, e.Mark.Column
			p.Text = "not valid YAML: " + e.Message
		}
		switch {
		case strings.Contains(err.Error(), "no documents"):
			p = Problem{File: d.file, Line: 1, Column: 1, Text: "the file is empty"}
		case strings.Contains(err.Error(), "expected single document"):
			p = Problem{File: d.file, Text: "there is more than one YAML document (---): one is allowed"}
		}
		d.problems = append(d.problems, p)
		return nil
	}
	if len(doc.Content) != 1 {
		d.problem(nil, "", "the file is empty")
		return nil
	}
	d.nodes[""] = doc.Content[0]
	return doc.Content[0]
}

// resolve follows an alias.
func (d *decoder) resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

// mapping calls f for each key of a mapping, once a key.
func (d *decoder) mapping(n *yaml.Node, path string, f func(key, value *yaml.Node, path string)) bool {
	n = d.resolve(n)
	if n.Kind != yaml.MappingNode {
		d.problem(n, path, "must be a mapping of keys to values")
		return false
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			d.problem(key, path, "a key must be a text")
			continue
		}
		at := key.Value
		if path != "" {
			at = path + "." + key.Value
		}
		if line, twice := first[key.Value]; twice {
			d.problem(key, at, "stands here again; it is in line %d already", line)
			continue
		}
		first[key.Value] = key.Line
		d.nodes[at] = key
		f(key, value, at)
	}
	return true
}

// object decodes a mapping into the fields of o.
func (d *decoder) object(o *object, n *yaml.Node, path string) {
	seen := map[string]string{} // field → as which key
	ok := d.mapping(n, path, func(key, value *yaml.Node, at string) {
		for _, f := range o.fields {
			if key.Value != f.name && (!f.secret || key.Value != f.name+"_file") {
				continue
			}
			if other, twice := seen[f.name]; twice {
				d.problem(key, at, "only one of %s and %s is allowed", other, key.Value)
				return
			}
			seen[f.name] = key.Value
			if key.Value == f.name {
				f.set(d, value, at)
			} else if text, ok := d.secretFile(value, at); ok {
				f.set(d, text, at)
			}
			return
		}
		d.unknown(o, key, at)
	})
	if !ok {
		return
	}
	for _, f := range o.fields {
		if _, there := seen[f.name]; f.must && !there {
			name := f.name
			if f.secret {
				name += " (or " + f.name + "_file)"
			}
			d.problem(d.resolve(n), path, "%s is missing: %s", name, firstSentence(f.doc))
		}
	}
}

func (d *decoder) unknown(o *object, key *yaml.Node, at string) {
	var known []string
	for _, f := range o.fields {
		known = append(known, f.name)
		if f.secret {
			known = append(known, f.name+"_file")
		}
	}
	if near := didYouMean(key.Value, known); near != "" {
		d.problem(key, at, "unknown key; did you mean %q?", near)
		return
	}
	slices.Sort(known)
	d.problem(key, at, "unknown key; known here: %s", strings.Join(known, ", "))
}

// text returns a scalar with ${NAME} replaced.
func (d *decoder) text(n *yaml.Node, path string) (string, bool) {
	r := d.resolve(n)
	switch {
	case r.Kind != yaml.ScalarNode:
		d.problem(n, path, "must be one value, not a list or a mapping")
		return "", false
	case r.Tag == "!!null":
		d.problem(n, path, "has no value")
		return "", false
	}
	text, err := expand(r.Value, d.env)
	if err != nil {
		d.problem(n, path, "%v", err)
		return "", false
	}
	if text == "" && strings.Contains(r.Value, "${") {
		d.problem(n, path, "is empty: so is the environment variable in %s", r.Value)
		return "", false
	}
	return text, true
}

// maxFile bounds the files that are read: a configuration, a secret, a schema.
const maxFile = 4 << 20

func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("larger than %d bytes", maxFile)
	}
	return data, err
}

// read returns the content of a regular file.
func (d *decoder) read(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f)
}

// relative makes a file's name relative to the configuration's folder.
func (d *decoder) relative(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(d.dir, name)
}

// secretFile returns the content of the file that a *_file key names, without
// the newline at its end, as a node: one that holds no ${NAME} to replace.
func (d *decoder) secretFile(n *yaml.Node, path string) (*yaml.Node, bool) {
	name, ok := d.text(n, path)
	if !ok {
		return nil, false
	}
	data, err := d.read(d.relative(name))
	if err != nil {
		d.problem(n, path, "cannot read: %v", err)
		return nil, false
	}
	text := strings.TrimRight(string(data), "\r\n")
	if text == "" {
		d.problem(n, path, "the file %s is empty", name)
		return nil, false
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: strings.ReplaceAll(text, "${", "$${"), Line: n.Line, Column: n.Column}, true
}

func firstSentence(doc string) string {
	if s, _, more := strings.Cut(doc, ". "); more {
		return s
	}
	return strings.TrimSuffix(doc, ".")
}
