package debezium

import (
	"encoding/binary"
	"testing"

	"cdc/replication"
)

// TestClockText: MySQL manual, "The TIME Type".
func TestClockText(t *testing.T) {
	for text, want := range map[string]int64{
		"00:00:00": 0, "10:11:12": 36672_000000, "10:11:12.5": 36672_500000, "-00:00:00.000001": -1,
		"838:59:59.000000": 3020399_000000, "-838:59:59": -3020399_000000,
	} {
		if got, ok := clockText([]byte(text)); !ok || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "-", "10", "10:11", "10:11:1", "10:11:12x", "10:11:12.5x", "a:11:12"} {
		if got, ok := clockText([]byte(text)); ok {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func TestAllowed(t *testing.T) {
	for typ, want := range map[string]string{
		"enum('a')": "a", "enum('a','b,c','d''e')": `a,b\,c,d'e`, "set('x','y')": "x,y", "enum('')": "", "enum(')','(')": "),(",
	} {
		if got := allowed(typ); got != want {
			t.Errorf("%s: %s, want %s", typ, got, want)
		}
	}
}

// FuzzBinlogBytes: no bytes of the log make the types of MySQL panic, and a
// geometry's come back as they are.
func FuzzBinlogBytes(f *testing.F) {
	point := binary.LittleEndian.AppendUint32(nil, 4326)
	point = append(append(point, 1, 1, 0, 0, 0), make([]byte, 16)...)
	for _, b := range [][]byte{nil, point, point[:24], []byte("-838:59:59.000000"), []byte("enum('a','b'")} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = allowed(string(b))
		for _, o := range []op{opTimeText, opISOTimeText, opPointWKB, opGeometryWKB} {
			kind := replication.KindString
			if o == opPointWKB || o == opGeometryWKB {
				kind = replication.KindBytes
			}
			s := step{op: o, kind: kind, mul: 1, div: 1}
			v := replication.BytesValue(kind, b)
			out, err := s.append(nil, &v, true)
			if o != opGeometryWKB || err != nil {
				continue
			}
			n, w := binary.Varint(out)
			if int(n) != len(b)-4 || string(out[w:w+int(n)]) != string(b[4:]) {
				t.Fatalf("%x became %x", b, out)
			}
		}
	})
}
