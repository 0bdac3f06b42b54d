package pace

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestBackoff: the pauses double from 100 ms to 10 s, and a random half of each
// is left out.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Backoff
		for i := range 12 {
			most := min(100*time.Millisecond<<i, 10*time.Second)
			began := time.Now()
			if !b.Sleep(t.Context()) {
				t.Fatal("it was interrupted")
			}
			if d := time.Since(began); d < most/2 || d >= most || b.Attempts != i+1 {
				t.Errorf("pause %d: %v of at most %v", i+1, d, most)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		if b.Sleep(ctx) || time.Since(began) != time.Second {
			t.Errorf("it went on for %v after its context had ended", time.Since(began)-time.Second)
		}
	})
}

// TestTally: it tells of a table about once a second, and when it is done.
func TestTally(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []Progress
		var total atomic.Int64
		total.Store(99) // of a snapshot that broke off
		y := NewTally(func(p Progress) { told = append(told, p) }, &total)
		y.Begin("s", "a", 5000)
		for i := range 4096 {
			if i%1024 == 0 {
				time.Sleep(600 * time.Millisecond) //nolint:forbidigo // of the bubble
			}
			y.Row(2)
		}
		y.Row(2)
		if total.Load() != 4096 {
			t.Errorf("%d rows in all, before the table's end", total.Load())
		}
		done := y.Done()
		y.Begin("s", "b", -1)
		y.Done()
		at := func(rows int64, elapsed time.Duration, done bool) Progress {
			return Progress{Schema: "s", Table: "a", Rows: rows, Bytes: 2 * rows, Estimate: 5000, Elapsed: elapsed, Done: done}
		}
		want := []Progress{
			at(2048, 1200*time.Millisecond, false), at(4096, 2400*time.Millisecond, false), at(4097, 2400*time.Millisecond, true),
			{Schema: "s", Table: "b", Estimate: -1, Done: true},
		}
		if d := cmp.Diff(want, told); d != "" {
			t.Errorf("(-want +told):\n%s", d)
		}
		if done != want[2] || total.Load() != 4097 {
			t.Errorf("%+v, %d rows in all", done, total.Load())
		}
	})
}
