package mapping

import (
	"fmt"
	"slices"

	"cdc/mapping/avro"
	"cdc/replication"
)

// maybeOmitted makes the fields nullable whose values the log may leave out:
// those of types without a fixed size, outside the key.
func maybeOmitted(specs []avro.FieldSpec, keys []int) {
	for i := range specs {
		if slices.Contains(keys, specs[i].Source) {
			continue
		}
		switch specs[i].Column.Kind {
		case replication.KindString, replication.KindBytes, replication.KindJSON, replication.KindDecimal, replication.KindArray:
			specs[i].Column.NotNull = false
		default: // a value of fixed size always stands in the log
		}
	}
}

// refuseUnchanged is the error of a row in which a published column has no
// value.
func (p *plan) refuseUnchanged(row []replication.Value) error {
	for i := range row {
		if row[i].IsUnchanged() && p.fields[i] != "" {
			return fmt.Errorf("column %s: the log left its value out, since the update did not touch it, and the table's setting toast is fail: "+
				"set it to refetch or omit, or run ALTER TABLE %s.%s REPLICA IDENTITY FULL (of MySQL and MariaDB: SET GLOBAL binlog_row_image = FULL)", p.table.Columns[i].Name,
				replication.QuoteIdentifier(p.table.Schema), replication.QuoteIdentifier(p.table.Name))
		}
	}
	return nil
}
