package mysql

import (
	"bytes"
	"encoding/json"
	"testing"

	"cdc/replication"
	"cdc/sink/apply"
)

// unquote reads a literal as the server's manual says, and reports how many
// bytes it is long.
func unquote(lit []byte) (text []byte, n int) {
	for i := 1; i < len(lit); i++ {
		switch lit[i] {
		case '\'':
			return text, i + 1
		case '\\':
			i++
			if lit[i] == '0' {
				text = append(text, 0)
				continue
			}
			text = append(text, lit[i])
		default:
			text = append(text, lit[i])
		}
	}
	return nil, -1
}

// FuzzQuoted: whatever the bytes, the literal ends where it should and holds
// them.
func FuzzQuoted(f *testing.F) {
	for _, s := range []string{"", "'", "\\", "\\'", "a\x00b", "\xf0\x9f\x92'", "''\\\\"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		lit := appendQuoted(nil, b)
		if text, n := unquote(lit); n != len(lit) || !bytes.Equal(text, b) {
			t.Errorf("%q became %s", b, lit)
		}
		tail := append(apply.EscapeTail(append([]byte("'"), b...), 1, &special), '\'')
		if !bytes.Equal(tail, lit) {
			t.Errorf("%q became %s in place", b, tail)
		}
		quoted := append(escapeJSON(append([]byte(`"`), b...), 1), '"')
		var s string
		if err := json.Unmarshal(quoted, &s); err != nil {
			t.Errorf("%q became %s: %v", b, quoted, err)
		}
	})
}

// FuzzLiterals: texts for every class of columns either make a whole literal or
// are refused.
func FuzzLiterals(f *testing.F) {
	for _, s := range []string{"1.5", "-0.10", "NaN", "0101", "a,b", `{"a":[1e400,0.1]}`, "12:00:00.5", "1;DROP TABLE t"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v := replication.StringValue(replication.KindString, s)
		for c := classOther; c <= classSpace; c++ {
			col := column{class: c, whole: 10, scale: 3, limit: 100, labels: labels{"a": {}, "b": {}}, set: true}
			lit, err := col.appendLiteral(nil, v)
			if err != nil {
				continue
			}
			switch c {
			case classInteger, classYear, classDecimal, classFloat:
				for _, b := range bytes.TrimSuffix(lit, []byte("e0")) {
					if (b < '0' || b > '9') && b != '-' && b != '.' {
						t.Fatalf("%q became %s", s, lit)
					}
				}
			case classBit:
				if !bytes.HasPrefix(lit, []byte("b'")) || len(bytes.Trim(lit[1:], "'01")) > 0 {
					t.Fatalf("%q became %s", s, lit)
				}
			default:
				if text, n := unquote(bytes.TrimPrefix(lit, []byte("_binary"))); n != len(bytes.TrimPrefix(lit, []byte("_binary"))) || string(text) != s {
					t.Fatalf("%q became %s", s, lit)
				}
			}
		}
	})
}

// FuzzExactJSON: no text of JSON is read beyond its end, and the numbers that
// pass are the doubles or integers that Go reads.
func FuzzExactJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,-2.50,1e3]}`, `"unended \"`, "0.1234567890123456789", "18446744073709551616", "1e-400", "-"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, rounds := range []bool{false, true} {
			if exactJSON(b, rounds) != nil {
				continue
			}
			var n json.Number
			if json.Unmarshal(b, &n) != nil || !bytes.ContainsAny(b, ".eE") || bytes.ContainsRune(b, '"') {
				continue
			}
			if _, err := n.Float64(); err != nil {
				t.Errorf("%s passes, and is no double: %v", b, err)
			}
		}
	})
}
