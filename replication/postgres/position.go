package postgres

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pglogrepl"

	"cdc/replication"
)

// position is what a replication.Position of this package says: resume the
// stream at LSN, and do not take changes of a table in Tables that committed
// before its snapshot. It is immutable once it is shared.
//
// Its text is JSON: {"lsn":"0/16B3748","timeline":"7406531893456214/1","tables":{"public.orders":"0/16B0000"},"oids":{"public.orders":16384}}.
type position struct {
	// LSN is the end of a commit, or an end of the log that the server named
	// when nothing was open before it.
	LSN pglogrepl.LSN
	// Timeline is the timeline that LSN was read on.
	Timeline timeline
	// Tables holds, by tableKey, the consistent point S of every table whose
	// snapshot is complete: the snapshot has what transactions did whose commit
	// record begins before S (Begin.final_lsn < S), the stream the rest.
	Tables map[string]pglogrepl.LSN
	// OIDs holds which tables those are, as far as it is known: one that is made
	// anew under an old name is another.
	OIDs map[string]uint32
	// Upto holds, by tableKey, what the snapshots that have begun of tables read
	// in order reach up to, until they are complete.
	Upto map[string]bound
}

// bound is the greatest key that a table had at the point of its first
// snapshot. A snapshot that takes the place of one that broke off reads no
// further: what has come since is in the log, and is handed out in its order
// alone.
type bound struct {
	OID uint32   `json:"oid"` // of the table
	Key []string `json:"key"` // as text, in the order of the key's columns; none when there was no row
	// Columns is what the key was made of, as keyShape: a key of other columns or
	// types has another order, in which Key bounds nothing.
	Columns string `json:"columns"`
}

// tableKey names a table in a position. A dot or a quote inside a name is
// quoted, so that two tables never share a key.
func tableKey(schema, name string) string {
	return quoteDotted(schema) + "." + quoteDotted(name)
}

func quoteDotted(s string) string {
	if strings.ContainsAny(s, `."`) {
		return replication.QuoteIdentifier(s)
	}
	return s
}

type positionJSON struct {
	LSN      string            `json:"lsn"`
	Timeline string            `json:"timeline,omitempty"`
	Tables   map[string]string `json:"tables,omitempty"`
	OIDs     map[string]uint32 `json:"oids,omitempty"`
	Upto     map[string]bound  `json:"upto,omitempty"`
}

// parsePosition reads the text of a position that is not "".
func parsePosition(p replication.Position) (position, error) {
	var j positionJSON
	if err := json.Unmarshal([]byte(p), &j); err != nil {
		return position{}, fmt.Errorf("read position %q: %w", string(p), err)
	}
	lsn, err := pglogrepl.ParseLSN(j.LSN)
	if err != nil {
		return position{}, fmt.Errorf("read position %q: %w", string(p), err)
	}
	on, err := parseTimeline(j.Timeline)
	if err != nil {
		return position{}, fmt.Errorf("read position %q: %w", string(p), err)
	}
	pos := position{LSN: lsn, Timeline: on, Tables: make(map[string]pglogrepl.LSN, len(j.Tables)), OIDs: j.OIDs, Upto: j.Upto}
	for name, text := range j.Tables {
		if pos.Tables[name], err = pglogrepl.ParseLSN(text); err != nil {
			return position{}, fmt.Errorf("read position %q: table %s: %w", string(p), name, err)
		}
	}
	return pos, nil
}

// text renders p; equal positions have equal texts.
func (p position) text() replication.Position {
	return newPositionText(p.Timeline, p.Tables, p.OIDs, p.Upto).at(p.LSN)
}

// positionText renders positions that differ in their LSN only.
type positionText struct{ tail string }

func newPositionText(on timeline, tables map[string]pglogrepl.LSN, oids map[string]uint32, upto map[string]bound) positionText {
	var b strings.Builder
	b.WriteByte('"')
	if on != (timeline{}) {
		b.WriteString(`,"timeline":"` + on.String() + `"`)
	}
	if len(upto) > 0 {
		object, _ := json.Marshal(upto) // with sorted keys
		b.WriteString(`,"upto":`)
		b.Write(object)
	}
	if len(tables) == 0 {
		b.WriteByte('}')
		return positionText{tail: b.String()}
	}
	b.WriteString(`,"tables":{`)
	for i, name := range slices.Sorted(maps.Keys(tables)) {
		if i > 0 {
			b.WriteByte(',')
		}
		quoted, _ := json.Marshal(name) // a string always has a JSON form
		b.Write(quoted)
		b.WriteString(`:"` + tables[name].String() + `"`)
	}
	b.WriteByte('}')
	if len(oids) > 0 {
		object, _ := json.Marshal(oids) // with sorted keys
		b.WriteString(`,"oids":`)
		b.Write(object)
	}
	b.WriteByte('}')
	return positionText{tail: b.String()}
}

// at returns the text of the position at lsn.
func (t positionText) at(lsn pglogrepl.LSN) replication.Position {
	return replication.Position(`{"lsn":"` + lsn.String() + t.tail)
}
