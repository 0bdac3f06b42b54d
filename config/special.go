package config

import (
	"errors"
	"net"

	"go.yaml.in/yaml/v4"

	"cdc/secret"
)

// keyField declares how keys are made: a word, or a mapping of one way.
func keyField(o *object, k *Key) {
	k.Mode = KeyPrimary
	f := &field{
		name: "key", kind: "mapping", def: KeyPrimary,
		doc:   "What the record key is made of: primary (the table's primary key, in Avro) or none, or a mapping with one of the fields below.",
		shape: func() *object { s := &object{}; new(Key).declare(s); return s },
	}
	f.set = func(d *decoder, n *yaml.Node, path string) {
		inner := &object{}
		k.Mode = ""
		k.declare(inner)
		d.object(inner, n, path)
	}
	o.add(f).or(func(word string) { k.Mode = word }, KeyPrimary, KeyNone)
}

func (k *Key) declare(o *object) {
	way := func(mode string, f *field) {
		decode := f.set
		f.set = func(d *decoder, n *yaml.Node, path string) {
			if k.Mode != "" {
				d.problem(n, path, "cannot stand beside %s: a key is made in one way", k.Mode)
				return
			}
			k.Mode = mode
			decode(d, n, path)
		}
	}
	way(KeyField, o.texts("field", &k.Fields, "Columns, in Avro, with a schema made from theirs. The way out for tables without a primary key."))
	f := &field{name: "schema", kind: "file", doc: "File with an Avro schema of the key; its fields are the table's columns."}
	f.set = func(d *decoder, n *yaml.Node, path string) {
		if schema, ok := d.schemaFile(n, path); ok {
			k.Schema = schema
		}
	}
	way(KeySchema, o.add(f))
	way(KeyPlain, o.text("plain", &k.Field, "One column, as its text, not encoded."))
}

// tlsField declares TLS: true, or a mapping.
func tlsField(o *object, to **TLS) {
	optional(o, "tls", "TLS: true verifies the server by the system's authorities; the mapping says more.", to, (*TLS).declare).
		or(func(word string) {
			if *to = nil; word == "true" {
				*to = &TLS{}
			}
		}, "true", "false")
}

// secretText declares a secret without name_file.
func (o *object) secretText(name string, to *secret.String, doc string) *field {
	f := o.secret(name, to, doc)
	f.secret = false
	return f
}

func parseListen(to *string) func(string) error {
	return func(s string) error {
		if s == "off" {
			*to = ""
			return nil
		}
		if _, _, err := net.SplitHostPort(s); err != nil {
			return errors.New("not an address: write host:port, :port or off")
		}
		*to = s
		return nil
	}
}
