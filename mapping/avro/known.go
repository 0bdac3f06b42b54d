package avro

import (
	"context"
	"errors"
	"net/http"

	"github.com/twmb/franz-go/pkg/sr"
)

// Known returns the id that the schema has under the subject, 0 when it is not
// one of its versions. It registers nothing, in either mode; transient errors
// are retried until ctx ends.
func (r *Registry) Known(ctx context.Context, subject, schema string) (id int, err error) {
	err = r.retry(ctx, func() error {
		found, err := r.client.LookupSchema(ctx, subject, sr.Schema{Schema: schema})
		id = found.ID
		return err
	})
	if answer, ok := errors.AsType[*sr.ResponseError](err); ok && answer.StatusCode == http.StatusNotFound {
		return 0, nil
	}
	if err != nil {
		return 0, r.refuse(subject, err)
	}
	return id, nil
}

// FieldInfo is what one field of a record's schema tells of its column.
type FieldInfo struct {
	Name       string // the Avro name
	Nullable   bool
	Aliases    []string
	ID         string // replication.Column's; "" when the schema does not tell
	HasMissing bool   // Missing is replication.Column's
	Missing    string
}

// Fields describes the fields of a record in their order; it returns none for
// any other schema.
func (s *Schema) Fields() []FieldInfo {
	if s.root.typ != typeRecord {
		return nil
	}
	list := make([]FieldInfo, 0, len(s.root.fields))
	for i := range s.root.fields {
		f := &s.root.fields[i]
		if f.omitted() {
			continue
		}
		info := FieldInfo{
			Name: f.name, Aliases: f.aliases, ID: f.prop(propColumn),
			Nullable: f.node.typ == typeUnion && f.node.null >= 0,
		}
		info.Missing, info.HasMissing = f.props[propMissing].(string)
		list = append(list, info)
	}
	return list
}

// FieldNames returns, for each column of a row, the name of the field that the
// Encoder writes it to, "" when it writes it nowhere. columns is the length of
// the row.
func (e *Encoder) FieldNames(columns int) []string {
	names := make([]string, columns)
	for i := range e.steps {
		if s := &e.steps[i]; s.op > encodeOmitted && s.source < columns {
			names[s.source] = s.field
		}
	}
	return names
}
