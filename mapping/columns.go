package mapping

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cdc/mapping/avro"
	"cdc/replication"
)

// selectColumns returns the columns that t's configuration publishes, in the
// table's order, under the names it gives them. keys are the indexes of the
// key's columns, which must be among them. hidden names excluded columns, and
// shown has the identities of included ones, beside those of the configuration.
//
// A setting that names no column of the table is refused in the first version
// that is seen of it: it is a slip of the pen, and one in exclude would publish
// what must not be. A column that is missing in a later version was dropped
// while running, which stops nothing: it may not even leave the configuration
// yet, for a restart may read rows again that still have it.
func selectColumns(t *replication.Table, cfg *TableConfig, hidden []string, shown map[string]bool, keys []int, first bool) ([]avro.FieldSpec, error) {
	if first {
		renamed := slices.Sorted(maps.Keys(cfg.Rename))
		for _, err := range []error{known(t, "include", cfg.Include), known(t, "exclude", cfg.Exclude), known(t, "rename", renamed)} {
			if err != nil {
				return nil, err
			}
		}
	}
	var specs []avro.FieldSpec
	for i, c := range t.Columns {
		out := len(cfg.Include) > 0 && !slices.Contains(cfg.Include, c.Name) && !shown[c.ID] || slices.Contains(cfg.Exclude, c.Name) || slices.Contains(hidden, c.Name)
		if out && slices.Contains(keys, i) {
			return nil, &replication.Refusal{
				Problem: fmt.Sprintf("table %s: column %q is part of the record's key and cannot be left out", t, c.Name),
				Remedy:  "include the column, or choose another key for the table",
			}
		}
		if out {
			continue
		}
		name := c.Name
		if to, ok := cfg.Rename[c.Name]; ok {
			name = to
		}
		if j := slices.IndexFunc(specs, func(s avro.FieldSpec) bool { return s.Name == name }); j >= 0 {
			return nil, &replication.Refusal{
				Problem: fmt.Sprintf("table %s: columns %q and %q would both be field %q", t, specs[j].Column.Name, c.Name, name),
				Remedy:  "rename one of them to another name",
			}
		}
		specs = append(specs, avro.FieldSpec{Name: name, Column: c, Source: i})
	}
	if len(specs) == 0 {
		return nil, &replication.Refusal{
			Problem: fmt.Sprintf("table %s: no column is left to publish", t),
			Remedy:  "include a column",
		}
	}
	return specs, nil
}

// VerifyColumns refuses settings of a table that name columns which it does not
// have, or leave none, before a row of it has come.
func VerifyColumns(cfg TableConfig, t *replication.Table) error {
	_, err := selectColumns(t, &cfg, nil, nil, nil, true)
	return err
}

// known refuses a setting that names a column which the table does not have.
func known(t *replication.Table, setting string, names []string) error {
	for _, name := range names {
		if t.Column(name) < 0 {
			return unknownColumn(t, setting, name)
		}
	}
	return nil
}

func unknownColumn(t *replication.Table, setting, name string) error {
	have := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		have[i] = c.Name
	}
	return &replication.Refusal{
		Problem: fmt.Sprintf("table %s has no column %q, which its setting %s names", t, name, setting),
		Remedy:  "name one of its columns: " + strings.Join(have, ", "),
	}
}
