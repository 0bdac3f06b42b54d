package mysql

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"cdc/replication"
)

// position is what a replication.Position of this package says: resume the
// stream at a place, and do not take changes of a table in Tables that are in
// its snapshot. It is immutable once it is shared.
//
// Its text is JSON, one of
//
//	{"gtid_set":"3e11fa47-…:1-77","tables":{"app.orders":"done"}}
//	{"gtid_pos":"0-1-77","tables":{"app.orders":"done"}}
//	{"file":"binlog.000007:4711","server":"3e11fa47-…","tables":{"app.orders":"done"}}
//
// each with "columns" behind the tables where statements have said something of
// their columns (see columnHistory), and, behind the place, with
// "seen":"3e11fa47-…/binlog.000007:4480:9f86d081", the witness, once there is one,
// and "xa":"x'61',x”,1 3e11fa47-…:70", the prepared transactions, if there are some.
type position struct {
	place place
	// tables holds, by tableKey, what is known of the snapshot of a table. One
	// that is absent has not been read.
	tables map[string]tableMark
	// columns holds, by tableKey, what statements before the place have said.
	columns histories
}

// tableMark says how far a table's snapshot is.
type tableMark struct {
	state markState
	// point is the snapshot's own place when that is beyond the stream's: the
	// transactions before it are in the snapshot and not taken again.
	point place
	upto  bound
}

// bound is up to where a table that is read in order had rows when its snapshot
// began. What has come since is in the log, and a snapshot that takes the place of
// one that broke off leaves it out. The zero bound is not known.
type bound struct {
	// key is the greatest key, numbers separated by commas, or nothingYet.
	key string
	// of is what the key was made of, as shapeOfKey: in one of other columns or
	// types key bounds nothing.
	of string
}

// nothingYet bounds a table that had no row, whatever its key.
const nothingYet = "nothing"

// holds reports whether the bound says something of a table whose key is shape.
func (b bound) holds(shape string) bool { return b.key == nothingYet || b.key != "" && b.of == shape }

func (b bound) String() string {
	if b.of == "" {
		return b.key
	}
	return b.key + " of " + b.of
}

func parseBound(text string) (b bound, ok bool) {
	b.key, b.of, _ = strings.Cut(text, " of ")
	_, err := strconv.ParseUint(b.of, 16, 64)
	return b, (b.key == nothingYet || isBound(b.key)) && (err == nil || b.of == "")
}

type markState uint8

const (
	// markBegun: rows of it may have been published, but not all. Nothing that
	// the log has since then may be left out.
	markBegun markState = iota + 1
	// markAhead: complete, as of a point beyond the stream's place.
	markAhead
	// markDone: complete, and the stream is beyond its point.
	markDone
)

// isBound reports whether text is one of numbers.
func isBound(text string) bool {
	for n := range strings.SplitSeq(text, ",") {
		if _, err := strconv.ParseInt(n, 10, 64); err != nil {
			if _, err := strconv.ParseUint(n, 10, 64); err != nil {
				return false
			}
		}
	}
	return true
}

// tableKey names a table in a position. A dot or a quote inside a name is
// quoted, so that two tables never share a key.
func tableKey(schema, name string) string { return quoteDotted(schema) + "." + quoteDotted(name) }

func quoteDotted(s string) string {
	if strings.ContainsAny(s, ".`") {
		return quoteName(s)
	}
	return s
}

type positionJSON struct {
	GTIDSet *string           `json:"gtid_set,omitempty"`
	GTIDPos *string           `json:"gtid_pos,omitempty"`
	File    *string           `json:"file,omitempty"`
	Server  string            `json:"server,omitempty"`
	Seen    string            `json:"seen,omitempty"`
	XA      string            `json:"xa,omitempty"`
	Tables  map[string]string `json:"tables,omitempty"`
	Columns histories         `json:"columns,omitempty"`
}

// parsePosition reads the text of a position that is not "".
func parsePosition(p replication.Position) (pos position, err error) {
	var j positionJSON
	if err := json.Unmarshal([]byte(p), &j); err != nil {
		return pos, fmt.Errorf("read position %q: %w", string(p), err)
	}
	switch {
	case j.GTIDSet != nil:
		pos.place, err = parsePlace(placeGTID, *j.GTIDSet)
	case j.GTIDPos != nil:
		pos.place, err = parsePlace(placeMaria, *j.GTIDPos)
	case j.File != nil:
		pos.place, err = parsePlace(placeFile, *j.File)
		pos.place.server = j.Server
	default:
		err = errors.New("it names no place in a log of MySQL or MariaDB")
	}
	if err != nil {
		return pos, fmt.Errorf("read position %q: %w", string(p), err)
	}
	if j.Seen != "" {
		if pos.place.seen, err = parseWitness(j.Seen); err != nil {
			return pos, fmt.Errorf("read position %q: %w", string(p), err)
		}
	}
	maps.DeleteFunc(j.Columns, func(_ string, h *columnHistory) bool { return h == nil })
	pos.columns = j.Columns
	if j.XA != "" {
		if pos.place.prepared, err = parsePrepared(j.XA); err != nil {
			return pos, fmt.Errorf("read position %q: %w", string(p), err)
		}
	}
	pos.tables = make(map[string]tableMark, len(j.Tables))
	for name, text := range j.Tables {
		upto, bounded := strings.CutPrefix(text, "begun to ")
		switch {
		case text == "begun", bounded:
			m := tableMark{state: markBegun}
			if bounded {
				if m.upto, bounded = parseBound(upto); !bounded {
					return pos, fmt.Errorf("read position %q: table %s is said to have begun to %q", string(p), name, upto)
				}
			}
			pos.tables[name] = m
		case text == "done":
			pos.tables[name] = tableMark{state: markDone}
		default:
			point, err := parsePlace(pos.place.form, strings.TrimPrefix(text, "done at "))
			if err != nil {
				return pos, fmt.Errorf("read position %q: table %s: %w", string(p), name, err)
			}
			pos.tables[name] = tableMark{state: markAhead, point: point}
		}
	}
	return pos, nil
}

// text renders the position; equal positions have equal texts.
func (p *position) text() replication.Position {
	return newPositionText(p.tables, p.columns.text()).at(&p.place)
}

// positionText renders positions that differ in their place only.
type positionText struct{ tail string }

func newPositionText(tables map[string]tableMark, columns string) positionText {
	tail := ""
	if columns != "" {
		tail = `,"columns":` + columns
	}
	if len(tables) == 0 {
		return positionText{tail: `"` + tail + `}`}
	}
	var b strings.Builder
	b.WriteString(`","tables":{`)
	for i, name := range slices.Sorted(maps.Keys(tables)) {
		if i > 0 {
			b.WriteByte(',')
		}
		quoted, _ := json.Marshal(name) // a string always has a JSON form
		b.Write(quoted)
		switch m := tables[name]; m.state {
		case markBegun:
			b.WriteString(`:"begun`)
			if m.upto != (bound{}) {
				b.WriteString(" to " + m.upto.String())
			}
			b.WriteByte('"')
		case markAhead:
			b.WriteString(`:"done at ` + m.point.String() + `"`)
		case markDone:
			b.WriteString(`:"done"`)
		}
	}
	b.WriteString(`}` + tail + `}`)
	return positionText{tail: b.String()}
}

// at returns the text of the position at a place.
func (t positionText) at(p *place) replication.Position {
	head, seen := "", ""
	switch p.form {
	case placeGTID:
		head = `{"gtid_set":"` + p.String()
	case placeMaria:
		head = `{"gtid_pos":"` + p.String()
	case placeFile:
		head = `{"file":"` + p.String() + `","server":"` + p.server
	}
	if p.seen.server != "" {
		seen = `","seen":"` + p.seen.String()
	}
	if len(p.prepared) > 0 {
		seen += `","xa":"` + preparedText(p.prepared)
	}
	// None of the forms holds a character that JSON escapes: the name of a log
	// file with one is refused (see readServer).
	return replication.Position(head + seen + t.tail)
}
