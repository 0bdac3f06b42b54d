package postgres

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAlign matches columns of the log (by their names) with those of the
// catalog: a name a number from 1 on, - for one that was dropped since.
func TestAlign(t *testing.T) {
	for _, tt := range []struct {
		name, log, catalog string
		want               string // numbers of the log's columns, 0 for unknown
		listed             bool
	}{
		{"the same", "a b c", "a b c", "1 2 3", false},
		{"one more", "a b", "a b c", "1 2", false},
		{"renamed", "a b c", "a x c", "1 2 3", false},
		{"all renamed", "a b c", "x y z", "1 2 3", false},
		{"renamed, one more", "a b", "a x c", "1 2", false},
		{"swapped", "a b", "b a", "1 2", false},
		{"one dropped", "a b c", "a - c", "1 2 3", false},
		{"dropped before", "a c", "a - c", "1 3", false},
		{"dropped before, renamed since", "a c d", "a - x d", "1 3 4", false},
		{"the last was dropped", "a b", "a -", "1 2", false},
		{"dropped or renamed", "a b", "a - x", "1 0", false}, // b may have been 2 and x came later
		{"one dropped, one renamed", "a b c d", "a - x d", "1 2 3 4", false},
		{"the name goes to another column", "a b", "a x b", "1 2", false},
		{"dropped and made anew", "a b", "a - b", "1 3", false}, // nobody can tell
		{"of a list", "a c", "a b x", "1 0", true},
		{"of a list, all known", "a c", "a b c", "1 3", true},
		{"no table any more", "a b", "", "0 0", false},
		{"generated", "a c", "a (g) c", "1 3", false},
		{"generated, renamed", "a c", "a (g) x", "1 0", false},
		{"long", "id v n vc p a b c at m x", "id v - vc p a b Cc at - y", "1 2 3 4 5 6 7 8 9 10 11", false},
	} {
		info := tableInfo{Listed: tt.listed}
		for i, name := range strings.Fields(tt.catalog) {
			info.Natts++
			if name == "-" {
				continue
			}
			c := columnInfo{Name: strings.Trim(name, "()"), Number: int16(i + 1)}
			c.Generated = c.Name != name
			info.Columns = append(info.Columns, c)
			info.Key = append(info.Key, c.Name)
		}
		var cols []wireColumn
		for name := range strings.FieldsSeq(tt.log) {
			cols = append(cols, wireColumn{Name: name})
		}
		info.align(cols)
		var want []wireColumn
		for i, number := range strings.Fields(tt.want) {
			n := 0
			for _, d := range number {
				n = 10*n + int(d-'0')
			}
			want = append(want, wireColumn{Name: cols[i].Name, Number: int16(n)})
		}
		if d := cmp.Diff(want, cols); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
		for _, w := range cols { // the catalog has the log's names now
			if n := info.numbered(w.Number); n >= 0 && (info.Columns[n].Name != w.Name || info.Key[n] != w.Name) {
				t.Errorf("%s: column %d is %q in the catalog and %q in its key, want %q", tt.name, w.Number, info.Columns[n].Name, info.Key[n], w.Name)
			}
		}
	}
}
