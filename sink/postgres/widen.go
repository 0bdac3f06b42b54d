package postgres

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// relation is how a column's type in the target stands to the type that the
// topic's field has in the source.
type relation struct {
	// related says that both are of one family: the column holds every value of
	// the field, or would as Wider.
	related bool
	wider   string // the type that holds the column's values and the field's; "" when it does already
	// cuts says that the column as it is takes the field's values without an
	// error and keeps them only in part: digits or the time of day go.
	cuts bool
}

// relate compares two types as format_type prints them.
func relate(have, want string) relation {
	holds := relation{related: true}
	if have == want || have == "text" || have == "character varying" {
		return holds // a text holds what it is not
	}
	h, ok := parseType(have)
	w, ok2 := parseType(want)
	if !ok || !ok2 || h.array != w.array {
		return relation{}
	}
	r := h.relate(w)
	if r.wider != "" && h.array {
		r.wider += "[]"
	}
	return r
}

// typeText is a type's name taken apart.
type typeText struct {
	base  string
	args  []int
	array bool
}

var typeForm = regexp.MustCompile(`^([a-z0-9 ]+?)(?:\((\d+)(?:,(-?\d+))?\))?( with(?:out)? time zone)?(\[\])?$`)

func parseType(s string) (t typeText, ok bool) {
	m := typeForm.FindStringSubmatch(s)
	if m == nil {
		return t, false
	}
	t.base, t.array = m[1]+m[4], m[5] != ""
	for _, arg := range m[2:4] {
		if arg != "" {
			n, err := strconv.Atoi(arg)
			if err != nil {
				return t, false
			}
			t.args = append(t.args, n)
		}
	}
	return t, true
}

func (t typeText) relate(w typeText) relation {
	switch {
	case integerDigits[t.base] > 0:
		return t.relateInteger(w)
	case t.base == "numeric":
		return t.relateNumeric(w)
	case t.base == "real" && w.base == "double precision":
		return relation{related: true, wider: w.base, cuts: true}
	case t.base == "double precision" && w.base == "real":
		return relation{related: true}
	case isCharacters(t.base):
		return t.relateCharacters(w)
	case t.base == "bit" || t.base == "bit varying":
		return t.relateBits(w)
	case t.base == w.base && strings.HasPrefix(t.base, "time"):
		return t.relateTime(w)
	case t.base == "date" && w.base == "timestamp without time zone":
		return relation{related: true, wider: w.base, cuts: true}
	case t.base == "timestamp without time zone" && w.base == "date":
		return relation{related: true}
	case t.base == w.base:
		return relation{related: true}
	}
	return relation{}
}

// integerDigits is how many decimal digits hold every value of the type.
var integerDigits = map[string]int{"smallint": 5, "integer": 10, "bigint": 19}

func (t typeText) relateInteger(w typeText) relation {
	digits := integerDigits[t.base]
	switch other := integerDigits[w.base]; {
	case other > digits:
		return relation{related: true, wider: w.base}
	case other > 0:
		return relation{related: true}
	case w.base == "numeric" && len(w.args) == 0:
		return relation{related: true, wider: w.base}
	case w.base == "numeric":
		return relation{related: true, wider: numeric(max(digits, w.whole()), w.scale())}
	case w.base == "double precision" && t.base != "bigint":
		return relation{related: true, wider: w.base}
	case w.base == "real" && t.base == "smallint":
		return relation{related: true, wider: w.base}
	}
	return relation{}
}

// whole is how many digits a numeric has before the point, at most; scale how
// many after it.
func (t typeText) whole() int { return t.args[0] - t.scale0() }

func (t typeText) scale() int { return max(0, t.scale0()) }

func (t typeText) scale0() int {
	if len(t.args) < 2 {
		return 0
	}
	return t.args[1]
}

func numeric(whole, scale int) string {
	if whole+scale > 1000 {
		return "numeric"
	}
	return fmt.Sprintf("numeric(%d,%d)", whole+scale, scale)
}

func (t typeText) relateNumeric(w typeText) relation {
	digits := integerDigits[w.base]
	switch {
	case w.base != "numeric" && digits == 0:
		return relation{}
	case len(t.args) == 0:
		return relation{related: true}
	case digits > 0 && t.whole() >= digits:
		return relation{related: true}
	case digits > 0:
		return relation{related: true, wider: numeric(digits, t.scale())}
	case len(w.args) == 0:
		return relation{related: true, wider: w.base, cuts: true}
	case w.whole() <= t.whole() && w.scale() <= t.scale():
		return relation{related: true}
	}
	return relation{
		related: true, wider: numeric(max(t.whole(), w.whole()), max(t.scale(), w.scale())),
		cuts: w.scale() > t.scale(),
	}
}

func isCharacters(base string) bool {
	return base == "character varying" || base == "character" || base == "bpchar" || base == "text"
}

// relateCharacters compares lengths; a type without one holds any.
func (t typeText) relateCharacters(w typeText) relation {
	switch {
	case !isCharacters(w.base), w.base == "character" && len(w.args) == 0: // the latter is character(1) in SQL, and nobody prints it
		return relation{}
	case len(t.args) == 0 && t.base == w.base:
		return relation{related: true}
	case w.base == "text" || len(w.args) == 0:
		return relation{related: true, wider: w.base}
	case len(t.args) == 0: // bpchar
		return relation{related: true}
	case t.args[0] >= w.args[0]:
		return relation{related: true}
	case t.base == w.base:
		return relation{related: true, wider: fmt.Sprintf("%s(%d)", t.base, w.args[0])}
	}
	return relation{related: true, wider: fmt.Sprintf("character varying(%d)", w.args[0])}
}

func (t typeText) relateBits(w typeText) relation {
	switch {
	case w.base != "bit" && w.base != "bit varying", t.base == "bit" && len(t.args) == 0, w.base == "bit" && len(w.args) == 0:
		return relation{}
	case len(t.args) == 0 && t.base == "bit varying":
		return relation{related: true}
	case w.base == "bit varying" && len(w.args) == 0:
		return relation{related: true, wider: w.base}
	case t.base == "bit varying" && t.args[0] >= w.args[0], t.base == w.base && t.args[0] == w.args[0]:
		return relation{related: true}
	}
	return relation{related: true, wider: fmt.Sprintf("bit varying(%d)", max(t.args[0], w.args[0]))}
}

// relateTime compares the digits of a second: 6 unless said.
func (t typeText) relateTime(w typeText) relation {
	if len(t.args) == 0 || len(w.args) > 0 && w.args[0] <= t.args[0] {
		return relation{related: true}
	}
	name, zone, _ := strings.Cut(t.base, " ")
	if len(w.args) > 0 {
		name += fmt.Sprintf("(%d)", w.args[0])
	}
	return relation{related: true, wider: name + " " + zone, cuts: true}
}
