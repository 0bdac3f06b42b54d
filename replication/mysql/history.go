package mysql

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// The log describes a table anew whenever it changed, but says neither which
// column is which of those before, nor what an added one has in the rows that
// are there already. Both follow from the statements in the log. What is known of
// a table by them is its columnHistory; it goes with the Position.

// columnHistory is what the statements said of the columns of a table. Its keys
// are names in lower case: names of columns are compared without regard to case.
type columnHistory struct {
	// IDs holds the identities that are not the column's own name.
	IDs map[string]string `json:"ids,omitempty"`
	// Added holds what rows from before have in columns that were added: a
	// valueKind and the text. From the first row on that has the column the schema
	// registry knows.
	Added map[string]string `json:"added,omitempty"`

	// Shadow says that the table may take the place of a captured one.
	Shadow bool `json:"shadow,omitempty"`

	settled bool // it knows all of Added: a row has come
}

func (h *columnHistory) clone() *columnHistory {
	return &columnHistory{IDs: maps.Clone(h.IDs), Added: maps.Clone(h.Added), Shadow: h.Shadow, settled: h.settled}
}

// id returns the identity of a column, unique in its table.
func (h *columnHistory) id(name string) string {
	name = strings.ToLower(name)
	if h == nil {
		return name
	}
	if id, ok := h.IDs[name]; ok {
		return id
	}
	id := name
	for taken := slices.Collect(maps.Values(h.IDs)); slices.Contains(taken, id); {
		id += "~" // another column was called so once
	}
	return id
}

// added returns what rows from before have in a column, if it was added.
func (h *columnHistory) added(name string) (v rowValue, ok bool) {
	if h == nil {
		return v, false
	}
	text, ok := h.Added[strings.ToLower(name)]
	if !ok || text == "" {
		return v, false
	}
	return rowValue{valueKind(text[0]), text[1:]}, true
}

// alter follows an ALTER TABLE. All names in one are those from before it.
func (h *columnHistory) alter(changes []columnChange) {
	before := h.clone()
	if h.settled {
		h.Added, h.settled = nil, false
	}
	if h.IDs == nil {
		h.IDs = map[string]string{}
	}
	if h.Added == nil {
		h.Added = map[string]string{}
	}
	done := func(c *columnChange) bool { // it may have been there before
		_, renamed := before.IDs[strings.ToLower(c.to)]
		_, added := before.Added[strings.ToLower(c.to)]
		return c.perhaps && c.to != "" && (renamed || added)
	}
	for i := range changes {
		if c := &changes[i]; c.from != "" && !done(c) {
			delete(h.IDs, strings.ToLower(c.from))
			delete(h.Added, strings.ToLower(c.from))
		}
	}
	var added []string
	for i := range changes {
		c := &changes[i]
		to := strings.ToLower(c.to)
		switch {
		case c.to == "" || done(c):
		case c.from != "":
			delete(h.Added, to)
			if v, ok := before.Added[strings.ToLower(c.from)]; ok {
				h.Added[to] = v
			}
			h.IDs[to] = before.id(c.from)
		default:
			delete(h.IDs, to)
			delete(h.Added, to)
			added = append(added, to)
			if c.value.kind != valueNull && c.value.kind != valueUnknown {
				h.Added[to] = string(c.value.kind) + c.value.text
			}
		}
	}
	maps.DeleteFunc(h.IDs, func(name, id string) bool { return name == id })
	// It must not become another one when the column goes that was called so once.
	for _, name := range added {
		if id := h.id(name); id != name {
			h.IDs[name] = id
		}
	}
}

// columnNames are those of a table, in lower case, as the log described it last and
// statements altered it since; nil when they are not known.
type columnNames map[string]bool

// alter follows an ALTER TABLE, and returns the changes without those that IF
// EXISTS or IF NOT EXISTS kept from being made. All names in one are those from
// before it.
func (n columnNames) alter(changes []columnChange) []columnChange {
	if n == nil {
		return changes
	}
	made := slices.DeleteFunc(slices.Clone(changes), func(c columnChange) bool {
		return c.perhaps && (c.from != "" && !n[strings.ToLower(c.from)] || c.from == "" && n[strings.ToLower(c.to)])
	})
	for _, c := range made {
		delete(n, strings.ToLower(c.from))
	}
	for i := range made {
		if c := &made[i]; c.to != "" {
			n[strings.ToLower(c.to)] = true
		}
		made[i].perhaps = false // it was
	}
	return made
}

// replacedBy returns the history of a table whose place another one took that was
// made with its columns and altered then.
func (h *columnHistory) replacedBy(shadow *columnHistory) *columnHistory {
	if h == nil {
		h = &columnHistory{}
	}
	out := &columnHistory{IDs: map[string]string{}, Added: map[string]string{}}
	renamed := slices.Collect(maps.Values(shadow.IDs))
	for name, id := range h.IDs {
		if !slices.Contains(renamed, name) {
			out.IDs[name] = id
		}
	}
	for name, id := range shadow.IDs {
		out.IDs[name] = h.id(id)
	}
	if !h.settled {
		maps.Copy(out.Added, h.Added)
	}
	maps.Copy(out.Added, shadow.Added)
	return out
}

// identify gives the columns of a table what its history tells of them. place
// holds the indexes of columns in the table.
func (s *shapes) identify(p *plan, columns []column, place []int, pol policy) {
	t := p.table
	h := s.histories[tableKey(t.Schema, t.Name)]
	prefix := tableIdentity(t.Schema, t.Name) + "."
	for i := range columns {
		if p.decoders[i].skip {
			continue
		}
		c := &t.Columns[place[i]]
		c.ID = prefix + h.id(c.Name)
		v, added := h.added(c.Name)
		if !added {
			continue
		}
		p.added = p.added || !h.settled
		text, null, known := columns[i].existing(v, pol)
		switch {
		case !known:
			s.warnAdded(t.String(), c.Name, v)
		case !null:
			c.HasMissing, c.Missing = true, text
		}
	}
}

// warnAdded says that nobody knows here what rows from before have in a column,
// once.
func (s *shapes) warnAdded(table, column string, v rowValue) {
	if key := table + "." + column + " " + describeUnknown(v); !s.warned[key] {
		s.warned[key] = true
		s.cfg.Logger.Warn("a column was added whose value in the rows that were there the log does not tell: targets have NULL there until the row changes",
			"table", table, "column", column, "value", describeUnknown(v), "remedy", "have the table read again: take it out of tables, run cdc for half a minute, put it back; an UPDATE that changes nothing is not logged")
	}
}

// histories are those of the tables, by tableKey.
type histories map[string]*columnHistory

func (h histories) of(table string) *columnHistory {
	if h[table] == nil {
		h[table] = &columnHistory{}
	}
	return h[table]
}

func (h histories) clone() histories {
	out := histories{}
	for table, c := range h {
		out[table] = c.clone()
	}
	return out
}

// text renders as JSON what a Position has to hold; "" when there is nothing.
func (h histories) text() string {
	full := histories{}
	for table, c := range h {
		kept := columnHistory{IDs: c.IDs, Shadow: c.Shadow}
		if !c.settled {
			kept.Added = c.Added
		}
		if len(kept.IDs) > 0 || len(kept.Added) > 0 || kept.Shadow {
			full[table] = &kept
		}
	}
	if len(full) == 0 {
		return ""
	}
	b, _ := json.Marshal(full) // maps of strings always have a JSON form
	return string(b)
}

// restore takes the histories of a Position.
func (s *shapes) restore(h histories) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.histories = h.clone()
}

// tableIdentity is what the identities of a table's columns begin with.
func tableIdentity(schema, name string) string {
	escape := strings.NewReplacer("%", "%25", ".", "%2E", "/", "%2F")
	return escape.Replace(schema) + "/" + escape.Replace(name)
}
