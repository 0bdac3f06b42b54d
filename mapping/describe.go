package mapping

import (
	"fmt"
	"strings"
	"sync"

	"cdc/mapping/avro"

	twmb "github.com/twmb/avro"
)

// describeAvro returns what renders keys of that schema for people: id=7. It
// serves messages only, so the schema is compiled at the first use.
func describeAvro(schema string) func(key []byte) string {
	parsed := sync.OnceValues(func() (*twmb.Schema, error) { return twmb.Parse(schema) })
	return func(key []byte) string {
		s, err := parsed()
		if err != nil || len(key) < 5 {
			return fmt.Sprintf("%x", key)
		}
		var fields map[string]any
		if _, err := s.Decode(key[5:], &fields); err != nil {
			return fmt.Sprintf("%x", key)
		}
		var b strings.Builder
		root := s.Root()
		for i := range root.Fields {
			if i > 0 {
				b.WriteString(", ")
			}
			name := root.Fields[i].Name
			fmt.Fprintf(&b, "%s=%v", name, fields[name])
		}
		return b.String()
	}
}

var _ = avro.Name
