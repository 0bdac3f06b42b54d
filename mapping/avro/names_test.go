package avro

import (
	"regexp"
	"strconv"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// avroName is the grammar of the Avro specification, "Names".
var avroName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func TestName(t *testing.T) {
	for in, want := range map[string]string{
		"id":          "id",
		"_x":          "_x",
		"max_x":       "max_x",
		"Größe":       "Gr_x00F6__x00DF_e",
		"a b":         "a_x0020_b",
		"a-b":         "a_x002D_b",
		"1a":          "_x0031_a",
		"a1":          "a1",
		"😀":           "_x01F600_",
		"":            "_xDC00_",
		"a_x0020_b":   "a_x005F_x0020_b", // would read as "a b"
		"a_x00zz":     "a_x00zz",
		"\xff":        "_xDCFF_",
		"select":      "select",
		"order.total": "order_x002E_total",
	} {
		if got := Name(in); got != want {
			t.Errorf("Name(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestNamespace(t *testing.T) {
	for in, want := range map[string]string{
		"cdc.public": "cdc.public",
		"cdc.my-app": "cdc.my_x002D_app",
		".a..b.":     "a.b",
		"":           "",
	} {
		if got := Namespace(in); got != want {
			t.Errorf("Namespace(%q) = %q, want %q", in, got, want)
		}
	}
}

// unescape undoes Name as SQL/XML describes it. That it can shows that no two
// identifiers share a name.
func unescape(name string) string {
	if name == "_xDC00_" {
		return ""
	}
	escape := regexp.MustCompile(`_x([0-9A-F]{6}|[0-9A-F]{4})_`)
	return escape.ReplaceAllStringFunc(name, func(e string) string {
		r, _ := strconv.ParseInt(e[2:len(e)-1], 16, 32)
		if r >= 0xDC80 && r <= 0xDCFF {
			return string([]byte{byte(r)})
		}
		return string(utf8.AppendRune(nil, rune(r)))
	})
}

func TestNameIsValidAndReversible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.OneOf(
			rapid.String(),
			rapid.StringMatching(`[_x0-9A-F]{0,12}`),
			rapid.StringMatching(`[_x0A é]{0,14}`),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		).Draw(t, "name")
		out := Name(in)
		if !avroName.MatchString(out) {
			t.Fatalf("Name(%q) = %q is no Avro name", in, out)
		}
		if back := unescape(out); back != in {
			t.Fatalf("Name(%q) = %q reads back as %q", in, out, back)
		}
	})
}
