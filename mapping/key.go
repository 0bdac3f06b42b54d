package mapping

import (
	"encoding/json"
	"errors"
	"fmt"

	"cdc/mapping/avro"
	"cdc/replication"
)

// keyPlan makes the keys of one version of a table. It is immutable.
type keyPlan struct {
	mode    KeyMode
	columns []int // indexes into the table's columns, in the key's order; none for KeyNone
	schema  string
	enc     *avro.Encoder // not for KeyPlain and KeyNone
	zero    []byte        // what a truncate bears; nil for KeyNone
}

var (
	errKeyNull      = errors.New("null in a column of the key")
	errKeyUnchanged = errors.New("a column of the key has a value that the log left out")
)

// append appends the key of row, nothing for KeyNone.
func (k *keyPlan) append(dst []byte, t *replication.Table, row []replication.Value) ([]byte, error) {
	for _, c := range k.columns {
		if v := &row[c]; v.IsNull() {
			return dst, fmt.Errorf("column %s: %w", t.Columns[c].Name, errKeyNull)
		} else if v.IsUnchanged() {
			return dst, fmt.Errorf("column %s: %w", t.Columns[c].Name, errKeyUnchanged)
		} else if v.Kind() == replication.KindInvalid {
			return dst, fmt.Errorf("a column of the key has a value that no key can hold: %s: %s",
				avro.KeyText(t.Columns[c:c+1], []replication.Value{*v}), v.Reason())
		}
	}
	switch k.mode {
	case KeyNone:
		return dst, nil
	case KeyPlain:
		return appendPlain(dst, row[k.columns[0]])
	default:
		return k.enc.Append(dst, row)
	}
}

// same reports whether both rows have equal values in the key's columns. Rows
// of which it is false may still have the same key: 1.0 and 1.00.
func (k *keyPlan) same(a, b []replication.Value) bool {
	for _, c := range k.columns {
		if !a[c].Equal(b[c]) {
			return false
		}
	}
	return true
}

// text renders the key's columns of row for people: id=7 region='eu'.
func (k *keyPlan) text(t *replication.Table, row []replication.Value) string {
	if len(k.columns) == 0 || row == nil {
		return "(none)"
	}
	columns := make([]replication.Column, len(k.columns))
	values := make([]replication.Value, len(k.columns))
	for i, c := range k.columns {
		columns[i], values[i] = t.Columns[c], row[c]
	}
	return avro.KeyText(columns, values)
}

// keyColumns finds the columns that the key is made of, in its order, and
// refuses those by which deletes could not be told.
func keyColumns(t *replication.Table, cfg *TableConfig) ([]int, error) {
	var columns []int
	mode := cfg.Key.mode()
	byName := func(setting, name string) error {
		i := t.Column(name)
		if i < 0 {
			return unknownColumn(t, setting, name)
		}
		columns = append(columns, i)
		return nil
	}
	switch mode {
	case KeyNone:
		return nil, nil
	case KeyPrimary:
		if len(t.Key) == 0 {
			return nil, &replication.Refusal{
				Problem: fmt.Sprintf("table %s has no primary key, and no key is configured for it", t),
				Remedy:  "add a primary key, or choose the key in the table's configuration: columns that tell its rows apart, or none",
			}
		}
		columns = t.Key
	case KeyField:
		for _, name := range cfg.Key.Fields {
			if err := byName("key", name); err != nil {
				return nil, err
			}
		}
	case KeyPlain:
		if err := byName("key", cfg.Key.Field); err != nil {
			return nil, err
		}
		if c := &t.Columns[columns[0]]; c.Kind == replication.KindArray {
			return nil, &replication.Refusal{
				Problem: fmt.Sprintf("table %s: column %q is an array, which has no plain text for a key", t, c.Name),
				Remedy:  "choose another column, or a key of fields",
			}
		}
	case KeySchema:
		names, err := schemaFields(cfg.Key.Schema)
		if err != nil {
			return nil, refuseKeySchema(t, err)
		}
		for _, name := range names {
			if i := fieldColumn(t, cfg, name); i >= 0 {
				columns = append(columns, i)
			}
		}
		if len(columns) == 0 {
			return nil, refuseKeySchema(t, errors.New("none of its fields is a column of the table"))
		}
	}
	for _, i := range columns {
		if !t.Columns[i].Identity {
			return nil, refuseIdentity(t, i, mode)
		}
	}
	return columns, nil
}

func refuseIdentity(t *replication.Table, column int, mode KeyMode) error {
	alter := fmt.Sprintf("ALTER TABLE %s.%s REPLICA IDENTITY ", replication.QuoteIdentifier(t.Schema), replication.QuoteIdentifier(t.Name))
	remedy := alter + "FULL"
	if mode == KeyPrimary {
		remedy = alter + "DEFAULT, or " + remedy
	}
	return &replication.Refusal{
		Problem: fmt.Sprintf("table %s: column %q is part of the record's key but not of the table's replica identity, so the log does not tell which row a delete or a change of the key concerns", t, t.Columns[column].Name),
		Remedy:  remedy,
	}
}

func refuseKeySchema(t *replication.Table, err error) error {
	return &replication.Refusal{
		Problem: fmt.Sprintf("table %s: the key schema does not fit", t), Err: err,
		Remedy: "mend the schema in the table's setting key, whose fields are found by the names of the value's fields",
	}
}

// schemaFields returns the names of the fields of a record schema.
func schemaFields(schema string) ([]string, error) {
	var record struct {
		Type   string
		Fields []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(schema), &record); err != nil {
		return nil, fmt.Errorf("read key schema: %w", err)
	}
	if record.Type != "record" {
		return nil, errors.New("it is not a record")
	}
	names := make([]string, len(record.Fields))
	for i, f := range record.Fields {
		names[i] = f.Name
	}
	return names, nil
}

// fieldColumn returns the column that is published under the name of a field,
// -1 if there is none.
func fieldColumn(t *replication.Table, cfg *TableConfig, field string) int {
	for i, c := range t.Columns {
		name := c.Name
		if to, ok := cfg.Rename[name]; ok {
			name = to
		}
		if name == field || avro.Name(name) == field {
			return i
		}
	}
	return -1
}
