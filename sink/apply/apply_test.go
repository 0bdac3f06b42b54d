package apply

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/replication"
	"cdc/sink"
)

var errRefused = errors.New("refused")

// TestCareful has a database that never takes row 13, and row 5 only once row
// 40 is there: the others are written, each once.
func TestCareful(t *testing.T) {
	written := map[int32]int{}
	c := Careful[string]{
		Attempt: func(_ context.Context, rows Rows[string]) (error, error) {
			for _, r := range rows.Index {
				if r == 13 || r == 5 && written[40] == 0 {
					return errRefused, nil
				}
			}
			for _, r := range rows.Index {
				written[r]++
			}
			return nil, nil
		},
		Again: func(how string, _ error) bool { return how == "upsert" },
	}
	rows := Rows[string]{How: "upsert"}
	for i := range int32(100) {
		rows.Index = append(rows.Index, i)
	}
	if err := c.Run(t.Context(), rows, 0); err != nil {
		t.Fatal(err)
	}
	var bad []int
	if err := c.Settle(t.Context(), func(row int, err error) {
		if bad = append(bad, row); !errors.Is(err, errRefused) {
			t.Errorf("row %d: %v", row, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{13}, bad); diff != "" {
		t.Error(diff)
	}
	for i := range int32(100) {
		if want := map[bool]int{true: 1}[i != 13]; written[i] != want {
			t.Errorf("row %d was written %d times", i, written[i])
		}
	}
	if err := c.Run(t.Context(), rows, MaxBadRows); err != nil || written[0] != 1 {
		t.Errorf("beyond the bound it goes on: %v", err)
	}
}

// TestCarefulBroken gives up at once when the connection breaks.
func TestCarefulBroken(t *testing.T) {
	broken := errors.New("connection reset")
	tries := 0
	c := Careful[int]{Attempt: func(context.Context, Rows[int]) (error, error) { tries++; return nil, broken }}
	if err := c.Run(t.Context(), Rows[int]{Index: []int32{1, 2, 3}}, 0); !errors.Is(err, broken) || tries != 1 {
		t.Errorf("%v after %d tries", err, tries)
	}
}

func TestSplit(t *testing.T) {
	one, left := replication.IntValue(1), replication.Unchanged
	row := func(values ...replication.Value) sink.Row { return sink.Row{Values: values} }
	rows := []sink.Row{row(one, one, one), row(one, left, one), row(one, one, left), row(one, left, one), {Values: []replication.Value{one}, Delete: true}, row(one, one, one), row(one, one, one)}
	rows[5].Replace, rows[6].New = true, true
	var s Split
	for range 2 { // the second time over what the first has left
		s.Sort(rows, []int{0, 1}, true)
		want := Split{Deletes: []int32{4, 5}, New: []int32{6}, Upserts: []int32{0, 2, 5}, Partial: map[string][]int32{"\x01\x00\x00": {1, 3}}}
		if diff := cmp.Diff(want, s); diff != "" {
			t.Error(diff)
		}
	}
	if s.Sort(rows, []int{0, 1}, false); len(s.New) != 0 || len(s.Upserts) != 4 {
		t.Errorf("not apart: %v, %v", s.New, s.Upserts)
	}
}

func TestApplied(t *testing.T) {
	have := map[string]map[int32]int64{"a": {0: 5, 1: 7}}
	read := func([]string) (map[string]map[int32]int64, error) { return have, nil }
	for _, test := range []struct {
		offsets []sink.Offset
		want    bool
	}{
		{nil, false},
		{[]sink.Offset{{Topic: "a", Next: 5}, {Topic: "a", Partition: 1, Next: 7}}, true},
		{[]sink.Offset{{Topic: "a", Next: 5}, {Topic: "a", Partition: 1, Next: 8}}, false},
		{[]sink.Offset{{Topic: "b", Next: 0}}, false},
	} {
		if got, err := Applied(test.offsets, read); got != test.want || err != nil {
			t.Errorf("%v: %v, %v", test.offsets, got, err)
		}
	}
}
