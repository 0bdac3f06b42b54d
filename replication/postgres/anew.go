package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"cdc/replication"
)

// A table that is dropped and made anew under its name is another table: DROP
// takes the old one's rows without a word in the log, and the new one's first
// rows are in no publication of single tables, or were written under another
// name. So the stream ends when it meets one, and the next start publishes a
// truncate, reads the new table's rows, and passes over what the log still has of
// the old one. Which table a name was is in the position.

// madeAnew reports whether t is another table than the one of its name that was
// captured up to the checkpoint, and is to be read.
func (i *inspection) madeAnew(t *tableState) bool {
	if i.from == nil || !t.found || t.Snapshot != SnapshotInitial {
		return false
	}
	oid, known := i.from.OIDs[tableKey(t.Schema, t.Name)]
	return known && oid != t.info.OID
}

// judgeAnew tells of tables that were made anew.
func (i *inspection) judgeAnew() {
	for n := range i.tables {
		if t := &i.tables[n]; i.madeAnew(t) {
			i.add(replication.LevelWarning, "table "+t.String(),
				fmt.Sprintf("table %s was dropped and made anew: a truncate is published, then the rows of the new table are read; what the log has yet of the old one is passed over", t), "")
		}
	}
}

// errAnew is the refusal of a stream that meets a table made anew.
func errAnew(schema, name string) error {
	return &replication.Refusal{
		Problem: fmt.Sprintf("table %s.%s was dropped and made anew, or another one was renamed to its name: its rows are not those that were captured so far", schema, name),
		Remedy:  "start cdc again: it publishes a truncate of the table, reads the new one's rows and goes on",
	}
}

// isAnew reports whether m's table, which the catalog has as info, has the name of
// a configured one that was another table at the start: it was made anew, or
// renamed to it, be it a configured one itself. What the catalog has no more, or
// under another name, is the old one, whose last changes come yet.
func (s *stream) isAnew(m *relationMessage, info *tableInfo) bool {
	known := s.oids[tableKey(m.schema, m.name)]
	return s.captured != nil && known != 0 && known != m.oid &&
		info.OID == m.oid && info.Schema == m.schema && info.Name == m.name
}

// watchAnew ends the stream when one of the tables, which the publication does
// not have, was made anew.
func (s *stream) watchAnew(ctx context.Context, conn *pgx.Conn, tables []TableConfig) error {
	for _, t := range tables {
		known := s.oids[tableKey(t.Schema, t.Name)]
		if known == 0 || t.Snapshot != SnapshotInitial {
			continue
		}
		info, err := readTable(ctx, conn, `n.nspname = $1::text AND c.relname = $2::text`, t.Schema, t.Name)
		switch {
		case errors.Is(err, errNoTable):
		case err != nil:
			return err
		case info.OID != known:
			s.cancel(errAnew(t.Schema, t.Name))
			return nil
		}
	}
	return nil
}
