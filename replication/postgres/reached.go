package postgres

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pglogrepl"

	"cdc/replication"
)

// Reached reports whether a saved position is at or behind an end of the log, and
// has the whole snapshot of the table: then every row of the table that was
// committed before the log ended there has been handed out and is safe. The mark
// is "LSN OID", where the log ended and which table the rows are of. It is a
// *replication.Refusal when the position knows another table under that name. An
// empty position has reached nothing.
func Reached(p replication.Position, mark, schema, table string) (bool, error) {
	if p == "" {
		return false, nil
	}
	pos, err := parsePosition(p)
	if err != nil {
		return false, err
	}
	lsn, number, _ := strings.Cut(mark, " ")
	end, err := pglogrepl.ParseLSN(lsn)
	if err != nil {
		return false, fmt.Errorf("read log position %q: %w", mark, err)
	}
	oid, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return false, fmt.Errorf("read the table of log position %q: %w", mark, err)
	}
	key := tableKey(schema, table)
	known := pos.OIDs[key]
	if known != 0 && known != uint32(oid) {
		return false, errAnew(schema, table)
	}
	_, read := pos.Tables[key]
	return read && known != 0 && pos.LSN >= end, nil
}
