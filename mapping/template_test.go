package mapping

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestEscapeTopicIsInjective: every name becomes valid, and is told by what it
// became: undoing the escape, as specified, gives the name back.
func TestEscapeTopicIsInjective(t *testing.T) {
	undo := func(s string) string {
		var b strings.Builder
		for i := 0; i < len(s); i++ {
			const hex = "0123456789ABCDEF"
			if i+3 < len(s) && s[i] == '_' && s[i+1] == 'x' {
				hi, lo := strings.IndexByte(hex, s[i+2]), strings.IndexByte(hex, s[i+3])
				if hi >= 0 && lo >= 0 {
					b.WriteByte(byte(hi<<4 | lo))
					i += 3
					continue
				}
			}
			b.WriteByte(s[i])
		}
		return b.String()
	}
	names := rapid.OneOf(rapid.String(), rapid.StringMatching(`([_x0-9A-F.a-]|ü){0,12}`))
	rapid.Check(t, func(t *rapid.T) {
		name := names.Draw(t, "name")
		e := escapeTopic(name)
		if i := strings.IndexFunc(e, func(c rune) bool { return !topicByte(c) || c == '.' }); i >= 0 {
			t.Fatalf("%q became %q, which Kafka does not allow", name, e)
		}
		if back := undo(e); back != name {
			t.Fatalf("%q became %q, which is also what %q becomes", name, e, back)
		}
	})
}
