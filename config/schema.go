package config

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// JSONSchema returns the JSON Schema (draft 2020-12) of the file, for editors
// and CI. What depends on other fields, only Parse checks.
func JSONSchema() []byte {
	c, o := &Config{}, &object{}
	c.declare(o)
	s := o.schema()
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Configuration of cdc"
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic("config: " + err.Error()) // maps of texts and numbers
	}
	return append(out, '\n')
}

type schema = map[string]any

func (o *object) schema() schema {
	properties, must := schema{}, []string{}
	var rules []schema
	for _, f := range o.fields {
		properties[f.name] = f.schema()
		if f.secret {
			file := f.name + "_file"
			properties[file] = schema{"type": "string", "description": "File that holds " + f.name + "."}
			rules = append(rules, schema{"not": schema{"required": []string{f.name, file}}})
			if f.must {
				rules = append(rules, schema{"anyOf": []schema{{"required": []string{f.name}}, {"required": []string{file}}}})
			}
			continue
		}
		if f.must {
			must = append(must, f.name)
		}
	}
	s := schema{"type": "object", "additionalProperties": false, "properties": properties}
	if len(must) > 0 {
		s["required"] = must
	}
	if len(rules) > 0 {
		s["allOf"] = rules
	}
	return s
}

// variable is a text with an environment variable, which any field may be.
var variable = schema{"type": "string", "pattern": `\$\{`}

func (f *field) schema() schema {
	s := f.shapeSchema()
	if len(f.words) > 0 && f.shape != nil {
		s = schema{"anyOf": []schema{{"enum": wordsOf(f.words)}, s}}
	}
	s["description"] = f.doc
	if f.def != "" {
		s["default"] = f.value()
	}
	return s
}

// wordsOf returns the words as they stand in YAML: true is no text there.
func wordsOf(words []string) []any {
	list := make([]any, len(words))
	for i, w := range words {
		list[i] = w
		if b, err := strconv.ParseBool(w); err == nil && len(w) > 1 {
			list[i] = b
		}
	}
	return list
}

func (f *field) shapeSchema() schema {
	if f.shape != nil {
		s := f.shape().schema()
		if !f.many {
			return s
		}
		if f.orText {
			s = schema{"anyOf": []schema{{"type": "string"}, s}}
		}
		return schema{"type": "array", "items": s}
	}
	switch f.kind {
	case "true or false":
		return schema{"anyOf": []schema{{"type": "boolean"}, variable}}
	case "whole number":
		return schema{"anyOf": []schema{{"type": "integer", "minimum": f.min, "maximum": f.max}, variable}}
	case "duration":
		return schema{"anyOf": []schema{{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`}, {"const": 0}, variable}}
	case "size":
		units := slices.Sorted(maps.Keys(sizeUnits))
		pattern := "^[0-9]+ *(" + strings.Join(units, "|")
		return schema{"anyOf": []schema{{"type": "string", "pattern": pattern + ")$"}, {"type": "integer", "minimum": 0}, variable}}
	case "list of texts":
		text := schema{"type": []string{"string", "number", "boolean"}}
		return schema{"anyOf": []schema{text, {"type": "array", "items": text}}}
	case "mapping of texts":
		return schema{"type": "object", "additionalProperties": schema{"type": []string{"string", "number", "boolean"}}}
	}
	if len(f.words) > 0 {
		return schema{"anyOf": []schema{{"enum": f.words}, variable}}
	}
	return schema{"type": []string{"string", "number", "boolean"}}
}

// value is the default as JSON.
func (f *field) value() any {
	switch f.kind {
	case "true or false":
		return f.def == "true"
	case "whole number":
		n, err := strconv.Atoi(f.def)
		if err != nil {
			return f.def
		}
		return n
	}
	return f.def
}
