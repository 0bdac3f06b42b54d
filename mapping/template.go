package mapping

import (
	"fmt"
	"strings"

	"cdc/replication"
)

// maxTopic is the longest name of a topic that Kafka allows, in bytes.
const maxTopic = 249

// template is a text with placeholders for a table's names.
type template []templatePart

// templatePart is a literal text, or a placeholder when text is "".
type templatePart struct {
	text  string
	table bool // the placeholder is {table}, else {schema}
}

// parseTemplate reads a template of literal characters that legal accepts, and
// of the placeholders {schema} and {table}.
func parseTemplate(s string, legal func(rune) bool) (template, error) {
	var t template
	for rest := s; rest != ""; {
		text, after, found := strings.Cut(rest, "{")
		for _, c := range text {
			if !legal(c) {
				return nil, fmt.Errorf("%q: the character %q is not allowed there", s, c)
			}
		}
		if text != "" {
			t = append(t, templatePart{text: text})
		}
		if !found {
			break
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed || name != "schema" && name != "table" {
			return nil, fmt.Errorf("%q: {%s is not a placeholder; there are {schema} and {table}", s, after)
		}
		t = append(t, templatePart{table: name == "table"})
		rest = tail
	}
	return t, nil
}

// expand puts the table's names in, each made valid by escape.
func (t template) expand(id tableID, escape func(string) string) string {
	var b strings.Builder
	for _, p := range t {
		switch {
		case p.text != "":
			b.WriteString(p.text)
		case p.table:
			b.WriteString(escape(id.name))
		default:
			b.WriteString(escape(id.schema))
		}
	}
	return b.String()
}

// topicByte accepts what Kafka allows in a topic's name
// (org.apache.kafka.common.internals.Topic).
func topicByte(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}

// namespaceByte accepts what may stand in an Avro namespace.
func namespaceByte(c rune) bool { return topicByte(c) && c != '-' }

// escapeTopic makes any name a valid part of a topic's name, different names
// differently: a byte that Kafka does not allow becomes _x and two upper-case
// hexadecimal digits. So does the dot, which parts schema and table, and an
// underscore that would otherwise look like the beginning of such a group.
func escapeTopic(name string) string {
	const hex = "0123456789ABCDEF"
	isHex := func(i int) bool { return i < len(name) && strings.IndexByte(hex, name[i]) >= 0 }
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		group := c == '_' && i+1 < len(name) && name[i+1] == 'x' && isHex(i+2) && isHex(i+3)
		if c != '.' && !group && c < 0x80 && topicByte(rune(c)) {
			b.WriteByte(c)
		} else {
			b.WriteString("_x")
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// underscored makes a name a valid part of a topic's as Debezium does, which
// may make two names one.
func underscored(name string) string {
	return strings.Map(func(c rune) rune {
		if topicByte(c) {
			return c
		}
		return '_'
	}, name)
}

// topicOf returns the topic of a table that is configured under the name home.
func (r *router) topicOf(id, home tableID) (string, error) {
	t, own := r.own[home]
	if !own {
		t = r.topic
	}
	escape := escapeTopic
	if r.debezium {
		escape = underscored
	}
	name := r.prefix + t.expand(id, escape)
	refuse := func(problem string) error {
		return &replication.Refusal{
			Problem: fmt.Sprintf("table %s: the topic name %q is %s", id, name, problem),
			Remedy:  "give the table a topic of its own in the configuration",
		}
	}
	switch {
	case name == "" || name == "." || name == "..":
		return "", refuse("not allowed by Kafka")
	case len(name) > maxTopic:
		return "", refuse(fmt.Sprintf("%d bytes long, and Kafka allows %d", len(name), maxTopic))
	}
	return name, nil
}
