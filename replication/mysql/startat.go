package mysql

import (
	"fmt"

	"cdc/replication"
)

// startAt reads where a capture without a checkpoint begins: a set of GTIDs, for
// MariaDB a GTID position, or a file and an offset, as in binlog.000007:4711.
func startAt(flavor Flavor, text string) (replication.Position, error) {
	forms, want := []placeForm{placeGTID, placeFile}, "a set of GTIDs like 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-77, or a file and an offset like binlog.000007:4711"
	if flavor == MariaDB {
		forms, want = []placeForm{placeMaria}, "a GTID position like 0-1-77"
	}
	var err error
	for _, form := range forms {
		p := position{}
		if p.place, err = parsePlace(form, text); err == nil {
			return p.text(), nil
		}
	}
	return "", refuse(fmt.Sprintf("start_at %q is no place in a log", text), "give "+want, err)
}
