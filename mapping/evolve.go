package mapping

import (
	"context"
	"errors"
	"slices"

	"cdc/mapping/avro"
	"cdc/replication"
)

// History is what a SchemaRegistry has besides when it remembers the versions of
// a subject. With it the schemas of a table follow one another compatibly.
type History interface {
	// Known returns the id of a schema that is one of the subject's versions, or 0.
	Known(ctx context.Context, subject, schema string) (id int, err error)
	// Latest returns the subject's newest version. A subject that has none is
	// avro.ErrUnusableSchema.
	Latest(ctx context.Context, subject string) (id int, schema *avro.Schema, err error)
}

// recordSchema is the value schema of one version of a table.
type recordSchema struct {
	namespace, name string
	omitted         bool // with avro.OmittedField
	specs           []avro.FieldSpec
}

func (s *recordSchema) text() (schema string, err error) {
	if schema, _, err = avro.RecordSchema(s.namespace, s.name, "", s.specs); err == nil && s.omitted {
		schema, err = avro.WithOmitted(schema)
	}
	return schema, err
}

// valueEncoder finds the schema that the table's rows are written by:
//
//   - the one that is true for the table, where the subject is new or has it;
//   - else that one made to follow the subject's latest version (see follows);
//   - else, when the registry does not take that, the latest version itself, if
//     every value of every column fits it: a column that became narrower, or a
//     schema that somebody registered by hand.
//
// Its error is a *replication.Refusal, or ctx's.
func (pl *planner) valueEncoder(ctx context.Context, t *replication.Table, subject string, s recordSchema) (*avro.Encoder, error) {
	added := s.specs // with what their rows from before have
	s.specs = slices.Clone(added)
	for i := range s.specs {
		s.specs[i].Column.HasMissing, s.specs[i].Column.Missing = false, ""
	}
	schema, err := s.text()
	if err != nil {
		return nil, refuseSchema(t, err)
	}
	id := 0
	history, ok := pl.registry.(History)
	if ok {
		if id, err = history.Known(ctx, subject, schema); err != nil {
			return nil, err
		}
	}
	var latest *avro.Schema
	latestID := 0
	if ok && id == 0 {
		latestID, latest, err = history.Latest(ctx, subject)
		switch {
		case errors.Is(err, avro.ErrUnusableSchema):
			latest = nil
		case err != nil:
			return nil, err
		default:
			s.specs = follows(added, latest)
			if schema, err = s.text(); err != nil {
				return nil, refuseSchema(t, err)
			}
		}
	}
	if id == 0 {
		if id, err = pl.registry.ID(ctx, subject, schema); err != nil {
			if latest == nil || !replication.IsRefusal(err) {
				return nil, err
			}
			enc, fitErr := avro.NewEncoder(latest.String(), latestID, s.specs)
			if fitErr != nil || !holdsAll(enc, s.specs, len(t.Columns)) {
				return nil, err
			}
			pl.log.Warn("the registry does not take the table's schema, but its latest version holds the table's rows: they are written by that",
				"table", t.String(), "subject", subject, "id", latestID)
			return enc, nil
		}
	}
	enc, err := avro.NewEncoder(schema, id, s.specs)
	if err != nil {
		return nil, refuseSchema(t, err)
	}
	return enc, nil
}

func holdsAll(enc *avro.Encoder, specs []avro.FieldSpec, columns int) bool {
	names := enc.FieldNames(columns)
	return !slices.ContainsFunc(specs, func(s avro.FieldSpec) bool { return names[s.Source] == "" })
}

// follows returns the fields of a schema that shall follow another version, so
// that its readers can read what was written by that one:
//
//   - a field that is new is nullable, with default null, also where the column
//     is NOT NULL; cdc.missing tells what the rows from before it have;
//   - a field that was nullable stays so;
//   - a field whose type was wider, and holds the column, keeps it;
//   - a field of a column that was renamed has its old name as an alias.
func follows(specs []avro.FieldSpec, latest *avro.Schema) []avro.FieldSpec {
	specs = slices.Clone(specs)
	before := latest.Fields()
	named := func(name string) int {
		return slices.IndexFunc(before, func(f avro.FieldInfo) bool { return f.Name == name })
	}
	current := make([]string, len(specs))
	for i := range specs {
		current[i] = avro.Name(specs[i].Name)
	}
	// A topic may be shared, and a table made anew: only of the same table are the
	// rows from before.
	// And a column is an added one only if no field that is gone can be it, under
	// its former name.
	same := slices.ContainsFunc(specs, func(s avro.FieldSpec) bool {
		return s.Column.ID != "" && slices.ContainsFunc(before, func(f avro.FieldInfo) bool { return f.ID == s.Column.ID })
	}) && !slices.ContainsFunc(before, func(f avro.FieldInfo) bool { return f.ID == "" && !slices.Contains(current, f.Name) })
	for i := range specs {
		spec, c := &specs[i], &specs[i].Column
		at := named(current[i])
		added := at < 0
		if added && c.ID != "" {
			at = slices.IndexFunc(before, func(f avro.FieldInfo) bool { return f.ID == c.ID && !slices.Contains(current, f.Name) })
		}
		if at < 0 {
			c.NotNull, c.HasMissing = false, c.HasMissing && same && c.ID != ""
			continue
		}
		was := &before[at]
		c.NotNull = c.NotNull && !added && !was.Nullable
		spec.Type = latest.Wider(was.Name, *c)
		c.HasMissing, c.Missing = was.HasMissing, was.Missing
		if added {
			spec.Aliases = append(spec.Aliases, was.Name)
		}
		for _, alias := range was.Aliases {
			if !slices.Contains(current, alias) {
				spec.Aliases = append(spec.Aliases, alias)
			}
		}
	}
	return specs
}
