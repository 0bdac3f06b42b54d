package postgres

import (
	"fmt"

	"github.com/jackc/pglogrepl"

	"cdc/replication"
)

// Reached reports whether a saved position is at or behind the end of the log
// named by lsn, and has the whole snapshot of the table: then every row of the
// table that was committed before the log ended there has been handed out and
// is safe. An empty position has reached nothing.
func Reached(p replication.Position, lsn, schema, table string) (bool, error) {
	if p == "" {
		return false, nil
	}
	pos, err := parsePosition(p)
	if err != nil {
		return false, err
	}
	end, err := pglogrepl.ParseLSN(lsn)
	if err != nil {
		return false, fmt.Errorf("read log position %q: %w", lsn, err)
	}
	_, read := pos.Tables[tableKey(schema, table)]
	return read && pos.LSN >= end, nil
}
