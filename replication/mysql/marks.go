package mysql

import "maps"

// marks knows which tables' snapshots are ahead of the stream. One goroutine
// owns it.
type marks struct {
	tables map[string]tableMark
	ahead  int // tables whose snapshot is beyond the stream
	// columns is histories.text.
	columns string
	text    positionText
}

func newMarks(tables map[string]tableMark, columns string) *marks {
	m := &marks{tables: maps.Clone(tables), columns: columns}
	if m.tables == nil {
		m.tables = map[string]tableMark{}
	}
	for _, t := range m.tables {
		if t.state == markAhead {
			m.ahead++
		}
	}
	m.text = newPositionText(m.tables, m.columns)
	return m
}

// skip reports whether a transaction's changes of a table are in its snapshot.
func (m *marks) skip(table string, id *txID) bool {
	if m.ahead == 0 {
		return false
	}
	t := m.tables[table]
	return t.state == markAhead && t.point.has(id)
}

// pass notes that the stream has come to a place.
func (m *marks) pass(p *place) {
	if m.ahead == 0 {
		return
	}
	for name, t := range m.tables {
		if t.state == markAhead && p.covers(&t.point) {
			m.tables[name] = tableMark{state: markDone}
			m.ahead--
		}
	}
	m.text = newPositionText(m.tables, m.columns)
}

// remember takes the histories that Positions hold from here on.
func (m *marks) remember(columns string) {
	if m.columns != columns {
		m.columns = columns
		m.text = newPositionText(m.tables, columns)
	}
}
