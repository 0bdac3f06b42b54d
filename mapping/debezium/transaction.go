package debezium

import (
	"encoding/binary"
	"strings"
)

// Place is where an event stands in its transaction.
type Place struct {
	// ID names the transaction; empty is none.
	ID []byte
	// Total numbers the transaction's events from 1, Collection those of one table.
	Total, Collection int64
}

func transactionSchema() *schema {
	return orNull(&schema{typ: "record", name: "event.block", version: 1, fields: []field{
		{"id", plain("string")}, {"total_order", plain("long")}, {"data_collection_order", plain("long")},
	}})
}

func (p *Place) append(dst []byte) []byte {
	if len(p.ID) == 0 {
		return append(dst, 0)
	}
	dst = appendBytes(append(dst, 2), p.ID)
	dst = binary.AppendVarint(dst, p.Total)
	return binary.AppendVarint(dst, p.Collection)
}

// Collection is how many events a transaction has of one table.
type Collection struct {
	Name   string
	Events int64
}

// Boundary is a record of the topic of transactions: that one begins, or, with
// the numbers of its events, that it has ended.
type Boundary struct {
	ID          []byte
	Time        int64 // of the commit, microseconds since 1970-01-01 UTC
	End         bool
	Events      int64
	Collections []*Collection
}

// BoundarySchemas are the schemas of the topic of transactions.
func BoundarySchemas() (key, value string) {
	const space = "io.debezium.connector.common."
	text, long := plain("string"), plain("long")
	k := &schema{typ: "record", name: space + "TransactionMetadataKey", version: 1, fields: []field{{"id", text}}}
	collection := &schema{typ: "record", name: "event.collection", version: 1, fields: []field{{"data_collection", text}, {"event_count", long}}}
	v := &schema{typ: "record", name: space + "TransactionMetadataValue", version: 1, fields: []field{
		{"status", text},
		{"id", text},
		{"event_count", orNull(long)},
		{"data_collections", orNull(&schema{typ: "array", items: orNull(collection)})},
		{"ts_ms", long},
	}}
	return k.String(), v.String()
}

// NoRow reports whether records whose value has a schema of that name tell of
// transactions or of messages in the log, and not of a row.
func NoRow(schema string) bool {
	connector, ok := strings.CutPrefix(schema, "io.debezium.connector.")
	return ok && (connector == "common.TransactionMetadataValue" || strings.HasSuffix(connector, ".MessageValue"))
}

// AppendKey appends the record's key under the schema's id.
func (b *Boundary) AppendKey(dst []byte, id int) []byte {
	return appendBytes(binary.BigEndian.AppendUint32(append(dst, 0), uint32(id)), b.ID)
}

// AppendValue appends the record's value under the schema's id.
func (b *Boundary) AppendValue(dst []byte, id int) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, 0), uint32(id))
	if !b.End {
		dst = appendBytes(appendString(dst, "BEGIN"), b.ID)
		return binary.AppendVarint(append(dst, 0, 0), floor(b.Time, 1000))
	}
	dst = appendBytes(appendString(dst, "END"), b.ID)
	dst = binary.AppendVarint(append(dst, 2), b.Events)
	dst = append(dst, 2)
	if len(b.Collections) > 0 {
		dst = binary.AppendVarint(dst, int64(len(b.Collections)))
		for _, c := range b.Collections {
			dst = binary.AppendVarint(appendString(append(dst, 2), c.Name), c.Events)
		}
	}
	return binary.AppendVarint(append(dst, 0), floor(b.Time, 1000))
}
