package avro

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"cdc/replication"
)

// The properties that a generated schema carries for readers: Avro ignores
// what it does not know.
const (
	// propName, on a field or a record, is the name that Avro does not allow.
	propName = "cdc.name"
	// propBase, on a field, is replication.Column's BaseType: "integer".
	propBase = "cdc.base"
	// propType, on a field, is the source's own type: "character varying(40)".
	propType = "cdc.type"
	// propKind, on a field, tells what a string holds (or the strings of an
	// array): "decimal" or "json".
	propKind = "cdc.kind"
	// propColumn, on a field, is replication.Column's ID.
	propColumn = "cdc.column"
	// propMissing, on a field, is replication.Column's Missing.
	propMissing = "cdc.missing"
)

// maxPrecision is the largest precision of a decimal that the codec reads or
// writes, in digits: PostgreSQL's for a declared numeric.
const maxPrecision = 1000

// FieldSpec is one column on its way into a record.
type FieldSpec struct {
	// Name is the field's name as wanted: the column's, or what it is renamed
	// to. It may be any text; see Name.
	Name string
	// Column is the column as the source describes it.
	Column replication.Column
	// Source is the index of the column in a row.
	Source int
	// Aliases are the Avro names that the field had before.
	Aliases []string
	// Type is the JSON text of the field's type, in place of the column's own,
	// which it must hold; see Schema.Wider.
	Type string
}

// RecordSchema returns the schema of a record with a field per spec, in their
// order, and the fields' Avro names. A column is nullable, with default null,
// unless it is NotNull. The record is called Name(name) in Namespace(namespace).
// The text depends on nothing but the arguments.
func RecordSchema(namespace, name, doc string, fields []FieldSpec) (schema string, fieldNames []string, err error) {
	return recordSchema(namespace, Name(name), name, doc, fields)
}

// KeySchema returns the schema of a record's key: RecordSchema of some of the
// value's fields, with the same field names and types, called Name(name) with
// "_key" after it. An empty doc becomes "Key for namespace.name".
func KeySchema(namespace, name, doc string, fields []FieldSpec) (schema string, fieldNames []string, err error) {
	if doc == "" {
		doc = "Key for " + fullName(Namespace(namespace), Name(name))
	}
	return recordSchema(namespace, Name(name)+"_key", name, doc, fields)
}

func recordSchema(namespace, avroName, name, doc string, fields []FieldSpec) (string, []string, error) {
	b := append([]byte(nil), `{"type":"record","name":`...)
	b = appendQuoted(b, avroName)
	if ns := Namespace(namespace); ns != "" {
		b = append(b, `,"namespace":`...)
		b = appendQuoted(b, ns)
	}
	if doc != "" {
		b = append(b, `,"doc":`...)
		b = appendQuoted(b, doc)
	}
	if Name(name) != name {
		b = append(b, `,"`+propName+`":`...)
		b = appendQuoted(b, name)
	}
	b = append(b, `,"fields":[`...)
	names := make([]string, len(fields))
	seen := make(map[string]string, len(fields))
	for i, f := range fields {
		names[i] = Name(f.Name)
		if other, ok := seen[names[i]]; ok {
			return "", nil, fmt.Errorf("columns %s and %s would both be field %s", other, f.Column.Name, names[i])
		}
		seen[names[i]] = f.Column.Name
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendField(b, names[i], f); err != nil {
			return "", nil, fmt.Errorf("column %s: %w", f.Column.Name, err)
		}
	}
	return string(append(b, `]}`...)), names, nil
}

func appendField(b []byte, avroName string, f FieldSpec) ([]byte, error) {
	b = append(b, `{"name":`...)
	b = appendQuoted(b, avroName)
	b = append(b, `,"type":`...)
	kind := f.Column.Kind
	if kind == replication.KindArray {
		kind = f.Column.Elem
	}
	b, err := appendFieldType(b, kind, f)
	if err != nil {
		return nil, err
	}
	if avroName != f.Name {
		b = append(b, `,"`+propName+`":`...)
		b = appendQuoted(b, f.Name)
	}
	if f.Column.BaseType != "" {
		b = append(b, `,"`+propBase+`":`...)
		b = appendQuoted(b, f.Column.BaseType)
	}
	if f.Column.TypeName != "" {
		b = append(b, `,"`+propType+`":`...)
		b = appendQuoted(b, f.Column.TypeName)
	}
	if len(f.Aliases) > 0 {
		aliases, err := json.Marshal(f.Aliases)
		if err != nil {
			return nil, fmt.Errorf("write aliases: %w", err)
		}
		b = append(append(b, `,"aliases":`...), aliases...)
	}
	if f.Column.ID != "" {
		b = append(b, `,"`+propColumn+`":`...)
		b = appendQuoted(b, f.Column.ID)
	}
	if f.Column.HasMissing {
		b = append(b, `,"`+propMissing+`":`...)
		b = appendQuoted(b, f.Column.Missing)
	}
	if kind == replication.KindJSON || kind == replication.KindDecimal && !boundedDecimal(f.Column) {
		b = append(b, `,"`+propKind+`":"`+kind.String()+`"`...)
	}
	return append(b, '}'), nil
}

// appendFieldType appends the type of the field, with null where the column may
// be NULL, and the default that goes with it.
func appendFieldType(b []byte, kind replication.Kind, f FieldSpec) (_ []byte, err error) {
	if f.Type != "" {
		b = append(b, f.Type...)
		if strings.HasPrefix(f.Type, `["null"`) {
			b = append(b, `,"default":null`...)
		}
		return b, nil
	}
	if !f.Column.NotNull {
		b = append(b, `["null",`...)
	}
	if f.Column.Kind == replication.KindArray {
		b = append(b, `{"type":"array","items":["null",`...)
		b, err = appendType(b, kind, f.Column)
		b = append(b, `]}`...)
	} else {
		b, err = appendType(b, kind, f.Column)
	}
	if !f.Column.NotNull {
		b = append(b, `],"default":null`...)
	}
	return b, err
}

// appendType appends the Avro type of a value of that kind; c tells its width,
// precision and scale.
func appendType(b []byte, kind replication.Kind, c replication.Column) ([]byte, error) {
	switch kind {
	case replication.KindBool:
		return append(b, `"boolean"`...), nil
	case replication.KindInt:
		if c.Bits <= 32 {
			return append(b, `"int"`...), nil
		}
		return append(b, `"long"`...), nil
	case replication.KindUint:
		switch {
		case c.Bits <= 16:
			return append(b, `"int"`...), nil
		case c.Bits <= 32:
			return append(b, `"long"`...), nil
		}
		return append(b, `{"type":"bytes","logicalType":"decimal","precision":20,"scale":0}`...), nil
	case replication.KindFloat:
		if c.Bits <= 32 {
			return append(b, `"float"`...), nil
		}
		return append(b, `"double"`...), nil
	case replication.KindDecimal:
		if !boundedDecimal(c) {
			return append(b, `"string"`...), nil
		}
		b = append(b, `{"type":"bytes","logicalType":"decimal","precision":`...)
		b = strconv.AppendInt(b, int64(c.Precision), 10)
		b = append(b, `,"scale":`...)
		b = strconv.AppendInt(b, int64(c.Scale), 10)
		return append(b, '}'), nil
	case replication.KindString, replication.KindJSON:
		return append(b, `"string"`...), nil
	case replication.KindBytes:
		return append(b, `"bytes"`...), nil
	case replication.KindDate:
		return append(b, `{"type":"int","logicalType":"date"}`...), nil
	case replication.KindTime:
		return append(b, `{"type":"long","logicalType":"time-micros"}`...), nil
	case replication.KindTimestamp:
		return append(b, `{"type":"long","logicalType":"local-timestamp-micros"}`...), nil
	case replication.KindTimestampTZ:
		return append(b, `{"type":"long","logicalType":"timestamp-micros"}`...), nil
	case replication.KindUUID:
		return append(b, `{"type":"string","logicalType":"uuid"}`...), nil
	default: // the others have none
	}
	return nil, fmt.Errorf("kind %s has no Avro type", kind)
}

// boundedDecimal reports whether the column's decimals fit an Avro decimal:
// their digits are bounded and the scale is one that Avro knows. All others
// travel as their text.
func boundedDecimal(c replication.Column) bool {
	return c.Precision > 0 && c.Precision <= maxPrecision && c.Scale >= 0 && c.Scale <= c.Precision
}

func fullName(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "." + name
}

func appendQuoted(b []byte, s string) []byte {
	q, _ := json.Marshal(s) // a string always marshals
	return append(b, q...)
}
