package debezium

import (
	"encoding/binary"

	"cdc/replication"
)

// binlogSourceSchema is the source block of the connectors for MySQL and
// MariaDB.
func binlogSourceSchema(connector string, common []field) *schema {
	text, long := plain("string"), plain("long")
	return &schema{typ: "record", name: "io.debezium.connector." + connector + ".Source", version: 1, fields: append(common,
		field{"table", orNull(text)},
		field{"server_id", long},
		field{"gtid", orNull(text)},
		field{"file", text},
		field{"pos", long},
		field{"row", plain("int")},
		field{"thread", orNull(long)},
		field{"query", orNull(text)},
	)}
}

// appendBinlogSource appends what the block has behind its common fields.
func (t *Table) appendBinlogSource(dst []byte, e *Event) []byte {
	at := e.Log
	dst = append(dst, t.tail...)
	dst = binary.AppendVarint(dst, int64(at.Server))
	if at.GTID {
		dst = appendBytes(append(dst, 2), e.Tx)
	} else {
		dst = append(dst, 0)
	}
	dst = binary.AppendVarint(appendBytes(dst, at.File), int64(at.Offset))
	dst = binary.AppendVarint(dst, e.Row)
	if at.Thread >= 0 {
		dst = binary.AppendVarint(append(dst, 2), at.Thread)
	} else {
		dst = append(dst, 0)
	}
	return append(dst, 0) // query
}

// Locate takes from a change of a binary log where it stands. Of MySQL's
// transactions with a GTID the commit's time is known, of the others when the
// statement began.
func (e *Event) Locate(c *replication.Change, connector string) {
	e.Log, e.Tx, e.Row = c.Log, c.Tx.ID, int64(c.Index-c.Log.First)
	switch {
	case c.Op == replication.OpRead:
		e.Row = 0
	case connector == "mysql" && c.Log.GTID:
	default:
		e.CommitTime = c.Log.Time
	}
}
