package postgres

import (
	"regexp"
	"strings"

	"cdc/replication"
)

// clockName matches MySQL's names of times; PostgreSQL's own always end with
// "with time zone" or "without time zone".
var clockName = regexp.MustCompile(`^(time|timestamp)(\(\d\))?$`)

// shapeName matches MySQL's types of shapes.
var shapeName = regexp.MustCompile(`^(?:point|linestring|polygon|geometry|multi(?:point|linestring|polygon)|geom(?:etry)?collection)$`)

// foreignType returns the type for a column whose source's type has the name of
// one of PostgreSQL's and is another thing, as some of MySQL's and MariaDB's;
// "" when there is no such confusion.
func foreignType(c replication.Column) string {
	if m := clockName.FindStringSubmatch(c.TypeName); m != nil {
		if m[1] == "time" {
			return "interval" // from -838:59:59 to 838:59:59
		}
		return "timestamp" + m[2] + " with time zone" // an instant, printed in UTC
	}
	switch c.Kind {
	case replication.KindBytes: // MySQL's own bytes of them; PostGIS's travel as their text
		if shapeName.MatchString(c.TypeName) {
			return "bytea"
		}
	case replication.KindBool, replication.KindInt, replication.KindUint, replication.KindDecimal:
		if strings.HasPrefix(c.TypeName, "bit(") { // a number there, a text of 0 and 1 here
			return kindType(c)
		}
	case replication.KindArray:
		if strings.HasPrefix(c.TypeName, "vector") && !strings.HasSuffix(c.TypeName, "[]") { // pgvector's travels as its text
			c.Kind = c.Elem
			return kindType(c) + "[]"
		}
	default: // nothing to confuse
	}
	return ""
}
