package debezium

import (
	"fmt"
	"strings"
	"unicode/utf16"

	"cdc/mapping/avro"
)

// fullName is the namespace of a table's schemas: its parts with dots between,
// adjusted to what Avro allows.
func (o *Options) fullName(parts ...string) string { return o.adjust(strings.Join(parts, "."), true) }

// adjust replaces the characters that Avro does not allow in a name: by an
// underscore or, in the mode avro_unicode, by _u and the character's number, and
// the underscore itself, too. A digit that a name begins with gets an underscore
// before it, or is replaced so. With dots each part is a name of its own.
func (o *Options) adjust(name string, dots bool) string {
	var out strings.Builder
	first := true
	for _, r := range name {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || !first && r >= '0' && r <= '9' || dots && r == '.'
		switch {
		case ok, r == '_' && o.Names != "avro_unicode":
			out.WriteRune(r)
		case o.Names == "avro_unicode":
			for _, unit := range utf16.Encode([]rune{r}) { // Java's characters
				fmt.Fprintf(&out, "_u%04x", unit)
			}
		case r >= '0' && r <= '9':
			out.WriteString("_" + string(r))
		default:
			out.WriteByte('_')
		}
		first = dots && r == '.'
	}
	return out.String()
}

// fieldNames names the fields. Those that would be named alike are named as
// avro.Name does.
func (o *Options) fieldNames(specs []avro.FieldSpec) []string {
	names, count := make([]string, len(specs)), map[string]int{}
	for i, s := range specs {
		names[i] = o.adjust(s.Name, false)
		count[names[i]]++
	}
	for i, s := range specs {
		if count[names[i]] > 1 && names[i] != s.Name {
			names[i] = avro.Name(s.Name)
		}
	}
	return names
}
