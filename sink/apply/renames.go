package apply

// Renames holds, by table, the new names of columns that were renamed, by the
// old ones: records of older versions of a topic have these.
type Renames map[string]map[string]string

// Note adds one.
func (r Renames) Note(table, from, to string) {
	if r[table] == nil {
		r[table] = map[string]string{}
	}
	r[table][from] = to
}

// Latest returns the name that a field's column has by now, which may have been
// renamed more than once. A name that another field has is not that of this one.
func (r Renames) Latest(table, field string, exists, taken func(string) bool) string {
	for range r[table] {
		to := r[table][field]
		if to == "" || exists(field) || taken(to) {
			break
		}
		field = to
	}
	return field
}
