package pipeline

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"cdc/replication"
)

var errKilled = errors.New("killed")

// TestCrashPoints kills the pipeline at each step between the broker's
// acknowledgement and the source's, and starts it again from what was saved:
// nothing is lost, and what the source was told to forget is never needed.
func TestCrashPoints(t *testing.T) {
	for _, c := range []struct {
		name  string
		crash func(r *rig)                                   // arms the crash at position 3
		then  func(t *testing.T, saved replication.Position) // what the store holds afterwards
	}{
		{
			"before the save", func(r *rig) {
				r.points.before = func(p replication.Position) error { return killAt(p, "3") }
			},
			func(t *testing.T, saved replication.Position) { equal(t, "saved", saved, "2") },
		},
		{
			"between save and acknowledgement", func(r *rig) {
				r.points.after = func(p replication.Position) error { return killAt(p, "3") }
			},
			func(t *testing.T, saved replication.Position) { equal(t, "saved", saved, "3") },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := numbered(5)
				first := start(t, log, func(r *rig, cfg *Config) {
					r.prod.auto = true
					r.src.more = make(chan struct{})
					c.crash(r)
				})
				for range 3 {
					first.src.more <- struct{}{}
					synctest.Wait()
					time.Sleep(time.Second) // each position has a save of its own
				}
				if err := <-first.result; !errors.Is(err, errKilled) {
					t.Fatalf("got %v", err)
				}
				c.then(t, first.points.last())
				equal(t, "acknowledged", first.src.acked(), []replication.Position{"1", "2"})
				second := restart(t, first, log)
				synctest.Wait()
				if err := second.end(); err != nil {
					t.Error(err)
				}
				equal(t, "saved", second.points.last(), "5")
				complete(t, second.prod.published(), 5)
			})
		})
	}
}

// killAt fails the save of position at.
func killAt(p, at replication.Position) error {
	if p == at {
		return errKilled
	}
	return nil
}

// restart starts a pipeline as a new process would, with a producer that
// acknowledges everything.
func restart(t *testing.T, old *rig, log []*replication.Batch) *rig {
	t.Helper()
	return resume(t, old, log, func(r *rig, _ *Config) { r.prod.auto = true })
}

// resume starts a pipeline as a new process would: the broker's topic and the
// store are still there, the source resumes from the saved position, which it
// must not have been told to forget.
func resume(t *testing.T, old *rig, log []*replication.Batch, change func(*rig, *Config)) *rig {
	t.Helper()
	from := position(old.points.last())
	for _, p := range old.src.acked() {
		if position(p) > from {
			t.Fatalf("the source was told of %s, the store holds %d: rows are lost", p, from)
		}
	}
	return start(t, log, func(r *rig, c *Config) {
		r.src.next = from
		r.points.saved = old.points.all()
		r.prod.topic = old.prod.published()
		change(r, c)
	})
}

// position reads a position of numbered: how many batches lie before it.
func position(p replication.Position) int {
	n, _ := strconv.Atoi(string(p))
	return n
}

// complete checks that the topic holds rows 1 to n, and that each first came
// after all rows before it.
func complete(t *testing.T, topic []int64, n int64) {
	t.Helper()
	var next int64 = 1
	for _, id := range topic {
		if id == next {
			next++
		} else if id > next {
			t.Fatalf("row %d came before row %d: %v", id, next, topic)
		}
	}
	if next != n+1 {
		t.Errorf("the topic ends with row %d, want %d", next-1, n)
	}
}

// TestRandomCrashes kills pipelines at random steps: by a store that dies before
// or after a save, by a producer that fails, or with rows in flight that nobody
// will ever acknowledge.
func TestRandomCrashes(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			const n = 40
			rnd := rand.New(rand.NewPCG(seed, 3))
			log := numbered(n)
			for i := range n - 1 {
				if rnd.IntN(3) == 0 {
					log[i].Position = ""
				}
			}
			r := &rig{src: &source{}, prod: &producer{}, points: &checkpoints{}}
			for range 5 {
				r = resume(t, r, log, func(r *rig, c *Config) {
					c.DrainTimeout = time.Second
					fuse := rnd.IntN(6)
					die := func(replication.Position) error {
						if fuse--; fuse == 0 {
							return errKilled
						}
						return nil
					}
					if rnd.IntN(2) == 0 {
						r.points.before = die
					} else {
						r.points.after = die
					}
				})
				synctest.Wait()
				for range rnd.IntN(n / 2) {
					if r.prod.inFlight() == 0 {
						break
					}
					r.prod.settle(0, nil)
					if rnd.IntN(3) == 0 {
						time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond)
					}
				}
				if r.prod.inFlight() > 0 && rnd.IntN(2) == 0 {
					r.prod.settle(0, errKilled)
				}
				_ = r.end() // whatever it died of
			}
			last := restart(t, r, log)
			synctest.Wait()
			if err := last.end(); err != nil {
				t.Error(err)
			}
			equal(t, fmt.Sprintf("seed %d: saved", seed), last.points.last(), "40")
			complete(t, last.prod.published(), n)
		})
	}
}
