package sink

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/mapping"
	"cdc/mapping/avro"
	"cdc/mapping/debezium"
	"cdc/replication"
)

// noSchema stands for the id of a key or value that has no schema: a tombstone,
// a plain or an absent key.
const noSchema = -1

// plan is how to read the records of one topic under one pair of schemas.
// Immutable.
type plan struct {
	// nothing says that the records are no rows, and are passed over.
	nothing    bool
	shape      *Shape
	keyID      int
	key, value *avro.Decoder // nil without a schema
	// envelope reads values of Debezium's format, in place of value; or nil.
	envelope  *avro.Envelope
	keySchema *avro.Schema
	nvalue    int            // the first fields of the shape are the value's, in its order
	fromKey   []int          // for each column of the key, its field; -1: not used
	keyFields []int          // the fields with Key
	byName    map[string]int // fields of the value by column name and by Avro name
}

// topic holds the plans of one topic.
type topic struct {
	cfg   TableConfig
	plans map[[2]int]*plan
	// latest is the newest plan with a value, per key schema id: a tombstone
	// has no value schema and is read as a row without values of that.
	latest map[int]*plan
	// unavailable is the placeholder of Debezium's format for a large value that
	// the log left out.
	unavailable string
	enveloped   bool // a record of that format was seen
	// leaveOut is told of a schema whose records are no rows and are passed over.
	// nil where the configuration names the topic: then they go to a table, too.
	leaveOut func(schema string)
}

func newTopic(cfg TableConfig) *topic {
	return &topic{cfg: cfg, unavailable: debezium.DefaultUnavailable, plans: map[[2]int]*plan{}, latest: map[int]*plan{}}
}

// recordError is a fault of one record: the error policy decides.
type recordError struct{ err error }

func (e *recordError) Error() string { return e.err.Error() }
func (e *recordError) Unwrap() error { return e.err }

func faulty(format string, args ...any) error { return &recordError{fmt.Errorf(format, args...)} }

// wire splits a key or value; plain keys are no error here.
func wire(b []byte, key, configured bool) (int, error) {
	if b == nil {
		return noSchema, nil
	}
	id, _, err := avro.SplitWire(b)
	if err == nil {
		return id, nil
	}
	if key && configured {
		return noSchema, nil
	}
	what := "value"
	if key {
		what = "key"
	}
	return 0, faulty("%s is not Avro with a schema id: %w", what, err)
}

// plan returns the plan for a record, compiling it when its pair of schemas is
// new. A *recordError concerns this record alone.
func (t *topic) plan(ctx context.Context, schemas SchemaSource, keyID, valueID int) (*plan, error) {
	if valueID == noSchema {
		if p := t.latest[keyID]; p != nil {
			return p, nil
		}
	}
	if p := t.plans[[2]int{keyID, valueID}]; p != nil {
		return p, nil
	}
	p, err := t.compile(ctx, schemas, keyID, valueID)
	if err != nil {
		return nil, err
	}
	if valueID != noSchema {
		t.latest[keyID] = p
	}
	t.plans[[2]int{keyID, valueID}] = p
	return p, nil
}

func (t *topic) compile(ctx context.Context, schemas SchemaSource, keyID, valueID int) (*plan, error) {
	p := &plan{keyID: keyID, byName: map[string]int{}}
	p.shape = &Shape{Topic: t.cfg.Topic, Schema: t.cfg.Schema, Table: t.cfg.Table, KeysOnly: valueID == noSchema}
	var err error
	if valueID != noSchema {
		var schema *avro.Schema
		if p.value, schema, err = decoder(ctx, schemas, valueID); err != nil {
			return nil, err
		}
		if t.leaveOut != nil && debezium.NoRow(schema.Name()) {
			t.leaveOut(schema.Name())
			p.nothing = true
			return p, nil
		}
		columns, fields := p.value.Columns(), schema.Fields() // one a column, of a record
		if envelope, ok := avro.NewEnvelope(schema, t.unavailable); ok {
			p.envelope, p.value, t.enveloped = envelope, nil, true
			columns, fields = envelope.Columns(), nil
		}
		for i, c := range columns {
			if c.Name == "" {
				return nil, faulty("value of schema id %d is no record", valueID)
			}
			if strings.ContainsRune(c.Name, 0) || !utf8.ValidString(c.Name) {
				return nil, faulty("a field of schema id %d has the name %q, which no column can have", valueID, c.Name)
			}
			if _, twice := p.byName[c.Name]; twice {
				return nil, faulty("two fields of schema id %d are column %q", valueID, c.Name)
			}
			p.byName[c.Name] = i
			f := Field{Column: c}
			if fields != nil {
				for _, alias := range fields[i].Aliases {
					f.Aliases = append(f.Aliases, avro.Original(alias))
				}
			}
			p.shape.Fields = append(p.shape.Fields, f)
		}
		p.nvalue = len(p.shape.Fields)
	}
	if keyID != noSchema {
		if p.key, p.keySchema, err = decoder(ctx, schemas, keyID); err != nil {
			return nil, err
		}
		if err := p.mapKey(t.cfg.Key); err != nil {
			return nil, err
		}
	}
	for _, name := range t.cfg.Key {
		if i, ok := p.field(name); ok {
			p.shape.Fields[i].Key = true
		} else if p.value != nil || p.envelope != nil || p.key != nil {
			return nil, faulty("configured key column %q is not in the record", name)
		} else { // a tombstone with a plain key, before any value
			p.shape.Fields = append(p.shape.Fields, Field{Column: replication.Column{Name: name, Kind: replication.KindString}, Key: true})
		}
	}
	for i, f := range p.shape.Fields {
		if f.Key {
			p.keyFields = append(p.keyFields, i)
		}
	}
	for i, f := range p.shape.Fields[:p.nvalue] { // cdc.unchanged names the fields as Avro does
		if _, taken := p.byName[avro.Name(f.Name)]; !taken {
			p.byName[avro.Name(f.Name)] = i
		}
	}
	return p, nil
}

func (p *plan) field(name string) (int, bool) {
	i := slices.IndexFunc(p.shape.Fields, func(f Field) bool { return f.Name == name })
	return i, i >= 0
}

// mapKey finds the fields of the key's columns, or makes them. Without a
// configured key all of them identify the row.
func (p *plan) mapKey(configured []string) error {
	for _, c := range p.key.Columns() {
		if strings.ContainsRune(c.Name, 0) || !utf8.ValidString(c.Name) {
			return faulty("a field of the key has the name %q, which no column can have", c.Name)
		}
		if c.Name == "" { // a key that is no record: long, string
			if len(configured) != 1 {
				return faulty("key of schema id %d is no record: set the column that it is as the topic's key", p.keyID)
			}
			c.Name = configured[0]
		}
		i, ok := p.field(c.Name)
		if !ok {
			if configured != nil && !slices.Contains(configured, c.Name) {
				p.fromKey = append(p.fromKey, -1)
				continue
			}
			i = len(p.shape.Fields)
			p.shape.Fields = append(p.shape.Fields, Field{Column: c})
		}
		if configured == nil {
			p.shape.Fields[i].Key = true
		}
		p.fromKey = append(p.fromKey, i)
	}
	return nil
}

func decoder(ctx context.Context, schemas SchemaSource, id int) (*avro.Decoder, *avro.Schema, error) {
	s, err := schemas.Schema(ctx, id)
	if err != nil {
		if errors.Is(err, avro.ErrUnusableSchema) {
			return nil, nil, &recordError{err}
		}
		return nil, nil, fmt.Errorf("get schema id %d: %w", id, err)
	}
	d, err := avro.NewDecoder(s)
	if err != nil {
		return nil, nil, faulty("schema id %d: %w", id, err)
	}
	return d, s, nil
}

// marks are what the headers say that matters here.
type marks struct {
	op        replication.Op // 0 is not known
	unchanged []byte
}

func readMarks(headers []kgo.RecordHeader) (m marks) {
	for i := range headers {
		switch h := &headers[i]; h.Key {
		case mapping.HeaderOp:
			switch string(h.Value) {
			case "read":
				m.op = replication.OpRead
			case "insert":
				m.op = replication.OpInsert
			case "update":
				m.op = replication.OpUpdate
			case "delete":
				m.op = replication.OpDelete
			case "truncate":
				m.op = replication.OpTruncate
			}
		case mapping.HeaderUnchanged:
			m.unchanged = h.Value
		}
	}
	return m
}

// keyed returns a plan of the same values with a key, p when none is known: a
// truncate of Debezium's format has no key.
func (t *topic) keyed(p *plan, valueID int) *plan {
	for ids, other := range t.plans {
		if p.key == nil && ids[1] == valueID && other.key != nil {
			return other
		}
	}
	return p
}

// truncates reports whether a value in Debezium's format is a truncate.
func (p *plan) truncates(value []byte, a *arena) bool {
	values := a.values(p.nvalue)
	defer a.unget(p.nvalue)
	op, err := p.envelope.Decode(value, values, &a.mem)
	return err == nil && op == opTruncate
}

// Operations of Debezium's format.
const (
	opCreate   = 'c'
	opRead     = 'r'
	opUpdate   = 'u'
	opDelete   = 'd'
	opTruncate = 't'
)

// decode reads a record into values, which is as long as the shape's fields. It
// returns the operation that stands in a value of Debezium's format; of any other
// one, what its header says when that is an update or a delete, else 0. A delete
// with a value is that of a topic without keys.
func (p *plan) decode(key, value []byte, tombstone bool, m marks, values []replication.Value, a *arena) (op byte, err error) {
	switch {
	case tombstone:
		clear(values)
	case p.envelope != nil:
		if op, err = p.envelope.Decode(value, values[:p.nvalue], &a.mem); err != nil {
			return 0, &recordError{err}
		}
		if op == opCreate && m.unchanged == nil {
			for i := range values[:p.nvalue] {
				if values[i].IsUnchanged() {
					return 0, faulty("column %q of a row whose key changed holds Debezium's placeholder for a large value: the value is in no record; "+
						"copy it by hand, and run ALTER TABLE … REPLICA IDENTITY FULL in the source", p.shape.Fields[i].Name)
				}
			}
		}
	default:
		if err := p.value.Decode(value, values[:p.nvalue], &a.mem); err != nil {
			return 0, &recordError{err}
		}
		switch m.op {
		case replication.OpUpdate:
			op = opUpdate
		case replication.OpDelete:
			op = opDelete
		default: // it writes the row, whatever stood there
		}
	}
	if !tombstone {
		clear(values[p.nvalue:])
		if err := p.markUnchanged(m.unchanged, values); err != nil {
			return 0, err
		}
	}
	return op, p.decodeKey(key, tombstone, op, values, a)
}

// decodeKey sets the values that identify the row.
func (p *plan) decodeKey(key []byte, tombstone bool, op byte, values []replication.Value, a *arena) error {
	switch {
	case p.key != nil:
		a.key = slices.Grow(a.key[:0], len(p.fromKey))[:len(p.fromKey)]
		if err := p.key.Decode(key, a.key, &a.mem); err != nil {
			return faulty("key: %w", err)
		}
		// The topic's identity is the record's key: it wins over the value's
		// columns of that name, should they differ.
		for i, f := range p.fromKey {
			if f >= 0 {
				values[f] = a.key[i]
			}
		}
	case tombstone && key != nil && len(p.keyFields) == 1:
		values[p.keyFields[0]] = replication.BytesValue(replication.KindString, key)
	case tombstone:
		return faulty("a delete without a key that could be read: there is no telling which row is gone")
	}
	if len(p.keyFields) == 0 && (tombstone || op == opDelete || op == opUpdate) {
		if op == opUpdate {
			return faulty("an update in a topic without a key: there is no telling which row has changed; set the topic's key columns")
		}
		return faulty("a delete in a topic without a key: there is no telling which row is gone; set the topic's key columns")
	}
	for _, f := range p.keyFields {
		if values[f].IsNull() || values[f].IsUnchanged() {
			return faulty("key column %q is %s", p.shape.Fields[f].Name, values[f])
		}
	}
	return nil
}

func (p *plan) markUnchanged(list []byte, values []replication.Value) error {
	for len(list) > 0 {
		name := list
		for i, c := range list {
			if c == ',' {
				name = list[:i]
				break
			}
		}
		list = list[min(len(name)+1, len(list)):]
		i, ok := p.byName[string(name)]
		if !ok {
			return faulty("header %s names %q, which is no field", mapping.HeaderUnchanged, name)
		}
		values[i] = replication.Unchanged
	}
	return nil
}

// spells reports whether a plain key is the text of the one value that identifies
// the row. A key that is Avro may stand for other columns than the configured
// ones, so that rows share it.
func (p *plan) spells(key []byte, values []replication.Value, a *arena) bool {
	if p.key != nil || len(p.keyFields) != 1 {
		return false
	}
	text, err := mapping.AppendText(a.text[:0], values[p.keyFields[0]])
	a.text = text
	return err == nil && bytes.Equal(text, key)
}

// identity appends what tells the key's values apart, for rows whose record
// has no key or one that is not theirs: kind, length and bytes of each.
func (p *plan) identity(dst []byte, values []replication.Value) []byte {
	for _, f := range p.keyFields {
		v := values[f]
		dst = append(dst, byte(v.Kind()))
		b := v.Bytes()
		if v.Kind() == replication.KindArray {
			b = []byte(v.String())
		}
		if b != nil {
			dst = binary.AppendUvarint(dst, uint64(len(b)))
			dst = append(dst, b...)
		} else {
			dst = binary.BigEndian.AppendUint64(dst, v.Uint())
		}
	}
	return dst
}
