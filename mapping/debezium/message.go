package debezium

import (
	"encoding/binary"

	"cdc/replication"
)

// Messages is how messages of PostgreSQL's log (pg_logical_emit_message) are
// written. It is immutable.
type Messages struct {
	KeySchema, ValueSchema string

	source  Table // its source block is that of a table without names
	content step
}

// CompileMessages makes the Messages of a source.
func CompileMessages(o Options, src Source) (*Messages, error) {
	table, err := Compile(o, src, &replication.Table{}, nil, nil)
	if err != nil {
		return nil, err
	}
	if err := o.complete(src.Connector); err != nil {
		return nil, err
	}
	content, contentSchema, err := compileScalar(&o, replication.KindBytes, replication.Column{})
	if err != nil {
		return nil, err
	}
	const space = "io.debezium.connector.postgresql."
	text := orNull(plain("string"))
	key := &schema{typ: "record", name: space + "MessageKey", version: 1, fields: []field{{"prefix", text}}}
	value := &schema{typ: "record", name: space + "MessageValue", version: 1, fields: []field{
		{"op", plain("string")},
		{"ts_ms", orNull(plain("long"))},
		{"source", sourceSchema(src.Connector)},
		{"transaction", transactionSchema()},
		{"message", &schema{typ: "record", name: space + "Message", version: 1, fields: []field{
			{"prefix", text}, {"content", orNull(contentSchema)},
		}}},
	}}
	return &Messages{KeySchema: key.String(), ValueSchema: value.String(), source: *table, content: content}, nil
}

// AppendKey appends the key of a message under the schema's id.
func (m *Messages) AppendKey(dst []byte, id int, prefix []byte) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, 0), uint32(id))
	return appendBytes(append(dst, 2), prefix)
}

// AppendValue appends the record of a message under the schema's id.
func (m *Messages) AppendValue(dst []byte, id int, e *Event, msg *replication.Message) ([]byte, error) {
	dst = binary.BigEndian.AppendUint32(append(dst, 0), uint32(id))
	dst = appendString(dst, "m")
	dst = binary.AppendVarint(append(dst, 2), floor(e.Now, 1e6))
	dst = m.source.appendSource(dst, e)
	dst = e.Place.append(dst)
	dst = appendBytes(append(dst, 2), msg.Prefix)
	content := replication.BytesValue(replication.KindBytes, msg.Content)
	return m.content.appendValue(append(dst, 2), &content)
}
