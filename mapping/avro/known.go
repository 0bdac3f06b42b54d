package avro

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/sr"

	"cdc/replication"
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

// Fields describes the fields of a record in their order, OmittedField aside, as
// Decoder.Columns does; it returns none for any other schema.
func (s *Schema) Fields() []FieldInfo {
	if s.root.typ != typeRecord {
		return nil
	}
	fields := s.root.fields
	if n := len(fields) - 1; n > 0 && fields[n].omitted() {
		fields = fields[:n]
	}
	list := make([]FieldInfo, 0, len(fields))
	for i := range fields {
		f := &fields[i]
		info := FieldInfo{
			Name: f.name, Aliases: f.aliases, ID: f.prop(propColumn),
			Nullable: f.node.typ == typeUnion && f.node.null >= 0,
		}
		info.Missing, info.HasMissing = f.props[propMissing].(string)
		list = append(list, info)
	}
	return list
}

// Wider returns the JSON text of the field's type, if it holds every value of the
// column and readers with the column's own type could not read what was written
// by it: the column was wider once, or somebody registered a union. Else "".
func (s *Schema) Wider(name string, c replication.Column) string {
	i := slices.IndexFunc(s.root.fields, func(f field) bool { return f.name == name })
	if i < 0 {
		return ""
	}
	n := s.root.fields[i].node
	if n.typ == typeUnion && n.null >= 0 && len(n.branches) == 2 {
		n = n.branches[1-n.null]
	}
	own, err := appendType(nil, c.Kind, c)
	if err != nil || numberRank[n.typ] <= numberRank[typesByName[strings.Trim(string(own), `"`)]] && n.typ != typeUnion || n.logical != logicalNone {
		return ""
	}
	if _, err := compileStep(s.root.fields[i].node, c); err != nil {
		return ""
	}
	var record struct {
		Fields []struct{ Type json.RawMessage }
	}
	var text bytes.Buffer
	if json.Unmarshal([]byte(s.text), &record) != nil || i >= len(record.Fields) || json.Compact(&text, record.Fields[i].Type) != nil {
		return ""
	}
	return text.String()
}

// numberRank orders the numbers: what was written as one can be read as any of a
// higher rank (Avro specification, "Schema Resolution").
var numberRank = map[avroType]int{typeInt: 1, typeLong: 2, typeFloat: 3, typeDouble: 4}

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

var escapedRune = regexp.MustCompile(`_x([0-9A-F]{4}|[0-9A-F]{6})_`)

// Original undoes Name for an identifier that is valid UTF-8.
func Original(name string) string {
	return escapedRune.ReplaceAllStringFunc(name, func(group string) string {
		r, err := strconv.ParseUint(group[2:len(group)-1], 16, 32)
		if err != nil || !utf8.ValidRune(rune(r)) {
			return group
		}
		return string(rune(r))
	})
}
