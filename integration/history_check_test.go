package integration

import (
	"slices"
	"strings"
	"testing"
)

// TestHistoryCheck shows that the oracle of the fault tests finds what it is
// there to find.
func TestHistoryCheck(t *testing.T) {
	record := func(op string, version int, tx string) message {
		m := message{key: map[string]any{"k": 1}, headers: map[string]string{"cdc.op": op, "cdc.tx": tx, "cdc.position": "0/1:0"}}
		if version > 0 {
			m.value = map[string]any{"v": int64(version)}
		}
		return m
	}
	row := func(v int) message { return record("update", v, "7") }
	// The delete's transaction ends with version 6, of another key.
	h := &history{events: map[int][]string{1: {"v1", "v2", "v3", "gone in 6", "v4"}, 2: {"v6"}}, ends: map[int64]bool{6: true}}
	end := record("update", 6, "9")
	end.key = map[string]any{"k": 2}
	all := []message{record("read", 1, ""), row(2), row(3), record("delete", 0, "9"), row(4)}
	for _, c := range []struct {
		name string
		in   []message
		want string // part of the error, "" for none
	}{
		{"in order", all, ""},
		{"a replay", append([]message{record("read", 1, ""), row(2), row(3), row(2)}, all[2:]...), ""},
		{"a replay of everything", append(append([]message{}, all...), all...), ""},
		{"back after a snapshot", []message{record("read", 2, ""), row(3), record("delete", 0, "9"), row(4)}, ""},
		{"one lost", []message{all[0], all[1], all[3], all[4]}, "lost or late"},
		{"two exchanged", []message{all[0], all[2], all[1], all[3], all[4]}, "lost or late"},
		{"a replay with a hole", []message{all[0], all[1], all[2], all[1], all[3], all[4]}, "lost or late"},
		{"the end lost", all[:4], "the topic ends"},
		{"a delete lost", []message{all[0], all[1], all[2], all[4]}, "lost or late"},
		{"never committed", append(append([]message{}, all...), row(5)), "never committed"},
		{"rolled back delete", append([]message{all[0], record("delete", 0, "8")}, all[1:]...), "never committed"},
		{"nothing at all", nil, "no record at all"},
	} {
		if len(c.in) > 0 {
			c.in = append(slices.Clone(c.in), end)
		}
		_, err := h.check(c.in)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}
