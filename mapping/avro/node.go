package avro

import (
	"fmt"

	twmb "github.com/twmb/avro"
)

// Schema is a parsed schema. It is immutable.
type Schema struct {
	text string
	root *node
}

// ParseSchema parses the JSON text of a schema that refers to no other.
func ParseSchema(text string) (*Schema, error) {
	s, err := twmb.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parse schema: %w", err)
	}
	return newSchema(text, s)
}

func newSchema(text string, s *twmb.Schema) (*Schema, error) {
	root, err := compile(s.Root().ExpandReferences(), "", map[string]*node{})
	if err != nil {
		return nil, fmt.Errorf("parse schema: %w", err)
	}
	return &Schema{text: text, root: root}, nil
}

// String returns the schema's JSON text as it was given.
func (s *Schema) String() string { return s.text }

// Name returns the full name of the record (or enum, or fixed), or "".
func (s *Schema) Name() string { return s.root.name }

type avroType uint8

const (
	typeNull avroType = iota
	typeBoolean
	typeInt
	typeLong
	typeFloat
	typeDouble
	typeBytes
	typeString
	typeFixed
	typeEnum
	typeArray
	typeMap
	typeRecord
	typeUnion
)

var typesByName = map[string]avroType{
	"null": typeNull, "boolean": typeBoolean, "int": typeInt, "long": typeLong, "float": typeFloat,
	"double": typeDouble, "bytes": typeBytes, "string": typeString, "fixed": typeFixed, "enum": typeEnum,
	"array": typeArray, "map": typeMap, "record": typeRecord, "error": typeRecord, "union": typeUnion,
}

type logical uint8

const (
	logicalNone logical = iota
	logicalDecimal
	logicalUUID
	logicalDate
	logicalTimeMillis
	logicalTimeMicros
	logicalTimestampMillis
	logicalTimestampMicros
	logicalTimestampNanos
	logicalLocalMillis
	logicalLocalMicros
	logicalLocalNanos
)

// logicals says which logical type means something on which type; as the
// specification asks, any other is ignored.
var logicals = map[string]map[avroType]logical{
	"decimal":                {typeBytes: logicalDecimal, typeFixed: logicalDecimal},
	"uuid":                   {typeString: logicalUUID, typeFixed: logicalUUID},
	"date":                   {typeInt: logicalDate},
	"time-millis":            {typeInt: logicalTimeMillis},
	"time-micros":            {typeLong: logicalTimeMicros},
	"timestamp-millis":       {typeLong: logicalTimestampMillis},
	"timestamp-micros":       {typeLong: logicalTimestampMicros},
	"timestamp-nanos":        {typeLong: logicalTimestampNanos},
	"local-timestamp-millis": {typeLong: logicalLocalMillis},
	"local-timestamp-micros": {typeLong: logicalLocalMicros},
	"local-timestamp-nanos":  {typeLong: logicalLocalNanos},
}

// node is a type of a schema with every reference resolved to a pointer, so a
// recursive type is a cycle.
type node struct {
	typ     avroType
	logical logical
	name    string // full name of a record, enum or fixed
	spelled string // for messages: bytes/decimal(12,2)
	fields  []field
	items   *node // elements of an array, values of a map
	// branches of a union; null is the index of the null branch, or -1
	branches         []*node
	null             int
	symbols          []string
	size             int // of a fixed, in bytes
	precision, scale int // of a decimal
	props            map[string]any
}

type field struct {
	name    string
	aliases []string
	props   map[string]any
	node    *node
	origin  *twmb.SchemaField
}

func (f *field) prop(name string) string {
	s, _ := f.props[name].(string)
	return s
}

// compile turns a parsed tree into nodes. Named types are entered into known
// before their insides, which may refer to them.
func compile(n *twmb.SchemaNode, namespace string, known map[string]*node) (*node, error) {
	typ, ok := typesByName[n.Type]
	if !ok {
		for _, name := range []string{n.Type, fullName(namespace, n.Type)} {
			if d := known[name]; d != nil {
				return d, nil
			}
		}
		return nil, fmt.Errorf("type %s is not defined", n.Type)
	}
	d := &node{typ: typ, spelled: n.Type, symbols: n.Symbols, size: n.Size, null: -1, props: n.Props}
	d.logical = logicals[n.LogicalType][typ]
	switch d.logical {
	case logicalDecimal:
		d.precision, d.scale = n.Precision, n.Scale
		if d.precision < 1 || d.precision > maxPrecision || d.scale < 0 || d.scale > d.precision {
			return nil, fmt.Errorf("decimal(%d,%d) is out of bounds: at most %d digits", d.precision, d.scale, maxPrecision)
		}
		d.spelled = fmt.Sprintf("%s/decimal(%d,%d)", n.Type, d.precision, d.scale)
	case logicalUUID:
		if typ == typeFixed && n.Size != 16 {
			d.logical = logicalNone
		}
		fallthrough
	default:
		if d.logical != logicalNone {
			d.spelled += "/" + n.LogicalType
		}
	}
	if n.Name != "" {
		d.name = fullName(n.Namespace, n.Name)
		namespace = n.Namespace
		known[d.name] = d
	}
	var err error
	switch typ {
	case typeRecord:
		d.fields = make([]field, len(n.Fields))
		for i := range n.Fields {
			f := &n.Fields[i]
			d.fields[i] = field{name: f.Name, aliases: f.Aliases, props: f.Props, origin: f}
			if d.fields[i].node, err = compile(&f.Type, namespace, known); err != nil {
				return nil, fmt.Errorf("field %s: %w", f.Name, err)
			}
		}
	case typeArray:
		d.items, err = compile(n.Items, namespace, known)
	case typeMap:
		d.items, err = compile(n.Values, namespace, known)
	case typeUnion:
		d.branches = make([]*node, len(n.Branches))
		for i := range n.Branches {
			if d.branches[i], err = compile(&n.Branches[i], namespace, known); err != nil {
				return nil, err
			}
			if d.branches[i].typ == typeNull {
				d.null = i
			}
		}
	default: // the others have no parts
	}
	return d, err
}
