package postgres

import "slices"

// The log tells the columns of a table by their names at that place; the catalog
// tells them by the names of today, with numbers that stay for life and that no
// later column gets again, in the order of which the columns stand in both.

// align finds which columns of the catalog the log's cols are, sets their Number
// where that is certain, and gives those of t that were renamed since their old
// names, in t.
//
// A column of the same name is the same one, unless that leaves out a column that
// must have been there: one that exists today and whose number is lower than that
// of another one in cols. Between two columns that are known the others follow in
// order; columns that were dropped since may stand among them. That takes a
// catalog that is no older than the log: in an older one a column that was dropped
// stands in the place of the one that was added with it.
func (t *tableInfo) align(cols []wireColumn) {
	numbers := t.matchNames(cols)
	if slices.Contains(numbers, 0) && !t.Listed {
		numbers = t.fillGaps(numbers)
	}
	renamed := map[string]string{}
	for i := range cols {
		cols[i].Number = numbers[i]
		if n := t.numbered(numbers[i]); n >= 0 && t.Columns[n].Name != cols[i].Name {
			renamed[t.Columns[n].Name] = cols[i].Name
		}
	}
	if len(renamed) == 0 {
		return
	}
	for i := range t.Columns {
		c := &t.Columns[i]
		if old, ok := renamed[c.Name]; ok {
			c.Name = old
		} else if slices.ContainsFunc(cols, func(w wireColumn) bool { return w.Name == c.Name && w.Number != c.Number }) {
			c.Name = "" // another column had that name
		}
	}
	for _, names := range [][]string{t.Key, t.Index} {
		for i, name := range names {
			if old, ok := renamed[name]; ok {
				names[i] = old
			}
		}
	}
}

// numbered returns the index of the column of that number, -1 when there is none
// today.
func (t *tableInfo) numbered(number int16) int {
	return slices.IndexFunc(t.Columns, func(c columnInfo) bool { return c.Number == number })
}

// matchNames returns the numbers of the columns that have the same names, 0 for
// the others. Names that cannot be those of the same columns, by their order or
// because a column between them would be missing, are not taken.
func (t *tableInfo) matchNames(cols []wireColumn) []int16 {
	numbers := make([]int16, len(cols))
	last, lastAt := int16(0), -1
	for i, w := range cols {
		n := slices.IndexFunc(t.Columns, func(c columnInfo) bool { return c.Name == w.Name })
		if n < 0 || t.Columns[n].Number <= last {
			continue
		}
		number := t.Columns[n].Number
		if n := i - lastAt - 1; int(number-last)-1 < n || !t.Listed && len(t.between(last, number, false)) > n {
			continue
		}
		numbers[i], last, lastAt = number, number, i
	}
	return numbers
}

// between returns the numbers after low and before high: of the columns that
// must have been in the log where a later one was, or with gone of those that
// may have been: dropped since, or generated.
func (t *tableInfo) between(low, high int16, gone bool) (numbers []int16) {
	for number := low + 1; number < high; number++ {
		n := t.numbered(number)
		if optional := n < 0 || t.Columns[n].Generated; optional == gone {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

// fillGaps finds the numbers of columns between those that are known, where only
// one way to do that is left.
func (t *tableInfo) fillGaps(numbers []int16) []int16 {
	filled := slices.Clone(numbers)
	low := int16(0)
	for i := 0; i < len(numbers); i++ {
		if numbers[i] != 0 {
			low = numbers[i]
			continue
		}
		end := i
		for end < len(numbers) && numbers[end] == 0 {
			end++
		}
		high, open := t.Natts+1, true // behind the last known one there may be columns that came later
		if end < len(numbers) {
			high, open = numbers[end], false
		}
		live, gone := t.between(low, high, false), t.between(low, high, true)
		var fit []int16
		switch n := end - i; {
		case n == len(live)+len(gone):
			fit = append(append(fit, live...), gone...)
			slices.Sort(fit)
		case len(gone) == 0 && open && n <= len(live):
			fit = live[:n]
		case n == len(live) && !open:
			fit = live
		case n == len(gone) && len(live) == 0:
			fit = gone
		}
		copy(filled[i:end], fit)
		i = end - 1
	}
	return filled
}
