package pipeline

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cdc/mapping"
	"cdc/replication"
)

// numbered is a log: batch n, from 1 on, holds row n and has position n.
func numbered(n int) (log []*replication.Batch) {
	for i := range n {
		log = append(log, batch(replication.Position(fmt.Sprint(i+1)), 1, int64(i+1)))
	}
	return log
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// TestOrderOfPromises acknowledges in random order: at every save all rows up
// to its position are in the topic, and the source hears of saved positions
// only.
func TestOrderOfPromises(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			const n = 60
			rnd := rand.New(rand.NewPCG(seed, 2))
			log := numbered(n)
			for _, b := range log { // parts of large transactions have no position
				if rnd.IntN(3) == 0 {
					b.Position = ""
				}
			}
			log[n-1].Position = "60"
			r := start(t, log, func(r *rig, c *Config) {
				r.src.more = make(chan struct{}, n)
				r.points.before = func(p replication.Position) error {
					var last int64
					fmt.Sscan(string(p), &last)
					topic := r.prod.published()
					for id := int64(1); id <= last; id++ {
						if !slices.Contains(topic, id) {
							t.Errorf("seed %d: position %s is saved while row %d is not acknowledged", seed, p, id)
						}
					}
					for _, a := range r.src.acked() {
						if !slices.Contains(r.points.all(), a) {
							t.Errorf("seed %d: the source heard of %s before it was saved", seed, a)
						}
					}
					return nil
				}
			})
			for given := 0; given < n || r.prod.inFlight() > 0; synctest.Wait() {
				if given < n && rnd.IntN(2) == 0 {
					r.src.more <- struct{}{}
					given++
				} else if k := r.prod.inFlight(); k > 0 {
					r.prod.settle(rnd.IntN(k), nil)
				}
				if rnd.IntN(5) == 0 {
					time.Sleep(300 * time.Millisecond) // the bubble's clock: more saves
				}
			}
			if err := r.end(); err != nil {
				t.Error(err)
			}
			equal(t, "the last position saved", r.points.last(), "60")
			equal(t, "saved and acknowledged", r.src.acked(), r.points.all())
			if r.src.closed != 1 {
				t.Errorf("the source was closed %d times", r.src.closed)
			}
		})
	}
}

// TestBudget: at the bound nothing more is read, and a landing makes room.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var one flight // what one batch of one record costs
		_ = (&mapper{}).Map(t.Context(), numbered(1)[0], &one.records)
		r := start(t, numbered(20), func(_ *rig, c *Config) { c.InFlightBytes = 3 * one.footprint() })
		for settled := range 17 {
			synctest.Wait()
			equal(t, "batches taken", r.src.taken(), settled+3)
			equal(t, "batches in flight", r.prod.inFlight(), 3)
			if h := r.Health(); h.InFlightRecords != 3 || h.InFlightBytes != 3*one.footprint() {
				t.Errorf("health says %d records, %d bytes in flight", h.InFlightRecords, h.InFlightBytes)
			}
			r.prod.settle(0, nil)
		}
		synctest.Wait()
		for r.prod.inFlight() > 0 {
			r.prod.settle(0, nil)
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
		if h := r.Health(); h.InFlightBytes != 0 || h.InFlightRecords != 0 {
			t.Errorf("at the end %+v", h)
		}
	})
}

// TestDrain: after the stop nothing is read, what is in flight lands, the last
// position is saved at once, and then the source hears of it and is closed.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, numbered(5), func(r *rig, c *Config) { r.src.more = make(chan struct{}, 5) })
		for range 3 {
			r.src.more <- struct{}{}
		}
		synctest.Wait()
		began := time.Now()
		r.stop()
		synctest.Wait()
		r.src.more <- struct{}{} // comes too late
		time.Sleep(7 * time.Second)
		for range 3 {
			r.prod.settle(0, nil)
		}
		if err := <-r.result; err != nil {
			t.Error(err)
		}
		equal(t, "time", time.Since(began), 7*time.Second)
		equal(t, "batches taken", r.src.taken(), 3)
		equal(t, "acknowledged", r.src.acked()[len(r.src.acked())-1], "3")
		equal(t, "closed", r.src.closed, 1)
	})
}

// TestDrainTimesOut: the wait is bounded, and the error counts what is open.
func TestDrainTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, []*replication.Batch{batch("1", 1, 1, 2), batch("2", 1, 3, 4, 5), batch("3", 1, 6)}, nil)
		synctest.Wait()
		r.prod.settle(0, nil)
		r.prod.settle(1, nil) // the last one, behind an open one
		synctest.Wait()
		began := time.Now()
		err := r.end()
		if err == nil || err.Error() != "drain: 3 records in 1 batches were not acknowledged within 20s; the next start publishes them again" {
			t.Errorf("got %v", err)
		}
		equal(t, "time", time.Since(began), 20*time.Second)
		equal(t, "saved", r.points.all(), []replication.Position{"1"})
		equal(t, "closed", r.src.closed, 1)
		r.prod.settle(0, nil) // much too late: nobody hears it, nothing breaks
	})
}

// TestStopWhileTheProducerIsFull: Produce goes on in the drain, and is let go
// when that runs out of time.
func TestStopWhileTheProducerIsFull(t *testing.T) {
	for _, drains := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, numbered(2), func(r *rig, c *Config) { r.prod.gate = make(chan struct{}, 1) })
			synctest.Wait()
			r.stop()
			synctest.Wait()
			if drains {
				r.prod.gate <- struct{}{}
				synctest.Wait()
				r.prod.settle(0, nil)
				if err := <-r.result; err != nil {
					t.Error(err)
				}
				equal(t, "saved", r.points.last(), "1")
			} else if err := <-r.result; err == nil || !strings.Contains(err.Error(), "1 records in 1 batches were not acknowledged") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestProduceFails: the run ends with the error, batches around the failed one
// land, and no position at or behind it is saved.
func TestProduceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("topic is gone")
		r := start(t, numbered(4), nil)
		synctest.Wait()
		r.prod.settle(2, broken) // row 3
		synctest.Wait()
		r.prod.settle(2, errors.New("and another")) // row 4
		r.prod.settle(1, nil)
		r.prod.settle(0, nil)
		err := <-r.result
		if !errors.Is(err, broken) || err.Error() != "publish records: topic is gone" {
			t.Errorf("got %v", err)
		}
		equal(t, "saved", r.points.last(), "2")
		equal(t, "acknowledged", r.src.acked(), r.points.all())
		equal(t, "closed", r.src.closed, 1)
	})
}

// TestSaveFails: the run ends, and the source hears nothing of the position.
func TestSaveFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("disk full")
		r := start(t, numbered(3), func(r *rig, c *Config) {
			r.prod.auto = true
			r.points.before = func(replication.Position) error { return full }
		})
		err := <-r.result
		if !errors.Is(err, full) || err.Error() != "save checkpoint: disk full" {
			t.Errorf("got %v", err)
		}
		equal(t, "acknowledged", len(r.src.acked()), 0)
		equal(t, "closed", r.src.closed, 1)
	})
}

// TestSaveHangs: a store that does not answer does not keep the program from
// ending.
func TestSaveHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, numbered(1), func(r *rig, c *Config) {
			r.prod.auto = true
			r.points.gate = make(chan struct{})
		})
		synctest.Wait()
		began := time.Now()
		if err := r.end(); err == nil || !strings.Contains(err.Error(), "save checkpoint: context canceled") {
			t.Errorf("got %v", err)
		}
		equal(t, "time", time.Since(began), 20*time.Second)
		equal(t, "acknowledged", len(r.src.acked()), 0)
	})
}

// TestSavesCoalesce: at once when idle, else the newest after the interval.
func TestSavesCoalesce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []string
		r := start(t, numbered(50), func(r *rig, c *Config) {
			r.prod.auto = true
			r.src.more = make(chan struct{}, 1)
			r.points.before = func(p replication.Position) error {
				at = append(at, fmt.Sprintf("%v:%s", time.Since(began), p))
				return nil
			}
		})
		for range 49 { // one each 9 ms: 0 to 432 ms
			r.src.more <- struct{}{}
			time.Sleep(9 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		r.src.more <- struct{}{}
		synctest.Wait()
		if err := r.end(); err != nil {
			t.Error(err)
		}
		equal(t, "saves", at, []string{"0s:1", "250ms:28", "500ms:49", "10.441s:50"})
	})
}

// TestPositionWithoutChanges: an idle source's position is saved without the
// producer, after all that came before it.
func TestPositionWithoutChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, []*replication.Batch{batch("1", 1, 1), batch("2", 0)}, nil)
		synctest.Wait()
		equal(t, "saved while row 1 is open", r.points.last(), "")
		r.prod.settle(0, nil)
		synctest.Wait()
		equal(t, "saved", r.points.last(), "2")
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}

// TestRowErrorStops: what came before the row is published, its batch's position
// is not saved, and the error names the row.
func TestRowErrorStops(t *testing.T) {
	for _, onError := range []string{"", OnErrorStop, OnErrorDeadLetter} { // the last one without a place for them
		synctest.Test(t, func(t *testing.T) {
			r := start(t, []*replication.Batch{batch("1", 1, 1), batch("2", 1, 2, 3, 4), batch("3", 1, 5)}, func(r *rig, c *Config) {
				c.OnError = onError
				r.mapper.bad = map[int64]bool{3: true}
				r.prod.auto = true
			})
			err := <-r.result
			row, ok := errors.AsType[*mapping.RowError](err)
			if !ok || row.Key != "id=3" {
				t.Errorf("got %v", err)
			}
			if !replication.IsRefusal(err) || !strings.Contains(err.Error(), "to mend it: mend what it complains of, or set on_error: dead-letter") {
				t.Errorf("no way out is told: %v", err)
			}
			equal(t, "published", r.prod.published(), []int64{1, 2})
			equal(t, "saved", r.points.all(), []replication.Position{"1"})
			equal(t, "released", r.src.released, 2)
		})
	}
}

// TestDeadLetters: bad rows go there, the others are published in order, and the
// position passes only when the letter is safe.
func TestDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := &letters{gate: make(chan struct{})}
		r := start(t, []*replication.Batch{batch("1", 1, 1, 2, 3, 4, 5, 6), batch("2", 1, 7)}, func(r *rig, c *Config) {
			c.OnError, c.DeadLetters = OnErrorDeadLetter, dead
			r.mapper.bad = map[int64]bool{1: true, 3: true, 4: true, 6: true, 7: true}
			r.prod.auto = true
		})
		for range 4 {
			synctest.Wait()
			equal(t, "saved while a letter is on its way", r.points.last(), "")
			dead.gate <- struct{}{}
		}
		synctest.Wait()
		equal(t, "saved", r.points.last(), "1")
		equal(t, "published", r.prod.published(), []int64{2, 5})
		dead.gate <- struct{}{}
		synctest.Wait()
		if err := r.end(); err != nil {
			t.Error(err)
		}
		equal(t, "saved", r.points.last(), "2")
		equal(t, "dead letters", dead.ids, []int64{1, 3, 4, 6, 7})
		if !errors.Is(dead.why[0], errBad) {
			t.Errorf("the reason is %v", dead.why[0])
		}
	})
}

func TestDeadLetterFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("topic full")
		r := start(t, []*replication.Batch{batch("1", 1, 1, 2)}, func(r *rig, c *Config) {
			c.OnError, c.DeadLetters = OnErrorDeadLetter, &letters{fail: full}
			r.mapper.bad = map[int64]bool{2: true}
			r.prod.auto = true
		})
		err := <-r.result
		if !errors.Is(err, full) || !strings.HasPrefix(err.Error(), "put dead letter: topic full (the row: table public.items, key id=2") {
			t.Errorf("got %v", err)
		}
		equal(t, "saved", r.points.last(), "")
	})
}

// TestSourceEnds: an error of the source or the mapper ends the run after what
// is in flight has landed.
func TestSourceEnds(t *testing.T) {
	lost := &replication.Refusal{Problem: "slot is lost", Remedy: "drop it"}
	for name, change := range map[string]func(*rig){
		"source": func(r *rig) { r.src.fail = lost },
		"mapper": func(r *rig) {
			r.mapper.fail = lost
			r.src.log = r.src.log[:1]
		},
		"close": func(r *rig) {
			r.src.closeE = lost
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, numbered(2), func(r *rig, _ *Config) { change(r); r.prod.auto = true })
				synctest.Wait()
				if err := r.end(); !errors.Is(err, lost) || !replication.IsRefusal(err) {
					t.Errorf("got %v", err)
				}
				want := replication.Position("2")
				if name == "mapper" {
					want = ""
				}
				equal(t, "saved", r.points.last(), want)
				equal(t, "closed", r.src.closed, 1)
			})
		})
	}
}

// TestStopWhileMapping: a mapper that waits for the registry does not hold up
// the stop; its batch is dropped and read again.
func TestStopWhileMapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, numbered(1), func(r *rig, _ *Config) { r.mapper.wait = true })
		synctest.Wait()
		if err := r.end(); err != nil {
			t.Error(err)
		}
		equal(t, "saved", r.points.last(), "")
		equal(t, "released", r.src.released, 1)
	})
}

// TestRecycling: flights are used again, and memory that a burst has left is let
// go after some batches that need little of it.
func TestRecycling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var many []int64
		for i := range 5000 {
			many = append(many, int64(i))
		}
		log := append([]*replication.Batch{batch("1", 1, many...)}, numbered(20)...)
		r := start(t, log, func(r *rig, c *Config) {
			r.prod.auto = true
			r.src.more = make(chan struct{})
		})
		for i := range log {
			r.src.more <- struct{}{}
			synctest.Wait()
			if n := len(r.flights.free); n != 1 {
				t.Fatalf("%d flights wait to be used again after batch %d, want 1", n, i)
			}
			switch n := r.flights.free[0].footprint(); {
			case i == 0 && n < 5000*100, i == 20 && n > 5000:
				t.Errorf("the flight holds %d bytes after batch %d", n, i)
			}
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}
