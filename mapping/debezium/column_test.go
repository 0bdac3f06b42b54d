package debezium

import (
	"testing"

	"cdc/replication"
)

// TestAsText: a text that is not the usual one of its type's name is a plain
// string: an array's, or one that the user asked for.
func TestAsText(t *testing.T) {
	var o Options
	for _, name := range []string{"interval[]", "money[]", "bit(3)[]", "point[]", "box[]", "hstore[]", "time with time zone[]", "oid[]", "interval", "money", "timestamp without time zone"} {
		s, sch, err := compileType(&o, replication.Column{Kind: replication.KindString, AsText: true, TypeName: name})
		if err != nil || s.op != opText || sch.typ != "string" || sch.name != "" {
			t.Errorf("%s: operation %d, schema %+v, %v", name, s.op, sch, err)
		}
		domain := replication.Column{Kind: replication.KindString, AsText: true, TypeName: "a domain", BaseType: name}
		if s, _, err := compileType(&o, domain); err != nil || s.op != opText {
			t.Errorf("a domain over %s: operation %d, %v", name, s.op, err)
		}
	}
	if s, _, err := compileType(&o, replication.Column{Kind: replication.KindString, TypeName: "interval"}); err != nil || s.op != opDuration {
		t.Errorf("an interval: operation %d, %v", s.op, err)
	}
}
