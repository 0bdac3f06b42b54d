package replicationtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"
)

// testResume reads a history, then opens a source at every Position that was
// handed out: each reads exactly what came after it, with the same names.
func testResume(w *world) {
	w.exec(createT, createM)
	o := Options{Tables: []string{"t", "m"}}
	r := w.open(o)
	name := func(e event) string { return fmt.Sprintf("%s, %d of %s", e.text, e.index, e.tx) }
	type place struct {
		o    Options
		done int // changes before it
	}
	r.settle()
	places := []place{{Options{Tables: o.Tables, From: r.pos}, 0}}
	for i := range 12 {
		w.exec("BEGIN", insert("t", i, "a"), insert("m", i, 1), "UPDATE t SET s = 'b' WHERE id = 0", "COMMIT")
		w.exec(insert("t", 1000+i, "alone"))
		if i%4 == 3 {
			w.exec(fmt.Sprintf("DELETE FROM m WHERE id = %d", i), "BEGIN", insert("m", i, 2), "ROLLBACK")
		}
		r.settle()
		places = append(places, place{Options{Tables: o.Tables, From: r.pos}, len(r.events)})
	}
	r.close()
	var all []string
	for _, e := range r.events {
		all = append(all, name(e))
	}
	for _, p := range places {
		again := w.open(p.o)
		again.settle()
		got := []string{}
		for _, e := range again.events {
			if e.table.Name != fence {
				got = append(got, name(e))
			}
		}
		if diff := cmp.Diff(all[p.done:], got); diff != "" {
			w.Fatalf("resumed after %d changes:\n%s", p.done, diff)
		}
		again.close()
	}
}

// testResumeInside stops in the middle of a large transaction: it comes again
// whole.
func testResumeInside(w *world) {
	w.exec(createL, createT)
	o := Options{Tables: []string{"l", "t"}, BatchBytes: largeBatch}
	r := w.open(o)
	w.exec(insert("t", 0, "earlier"))
	r.want(`insert t id=0 s="earlier"`)
	r.s.Ack(r.pos)
	w.exec("BEGIN")
	w.exec(insertMany(0, largeRows)...)
	w.exec("COMMIT")
	r.until(func() bool { return len(r.events) > largeRows/3 })
	if len(r.events) >= largeRows {
		w.Fatal("the transaction came in one batch")
	}
	o.From = r.pos
	r.s.Ack(r.pos)
	r.close()
	r = w.open(o)
	w.exec(insert("t", 3, "after"))
	r.drainLarge(nil)
	r.want(large, `insert t id=3 s="after"`)
}

// testIdle leaves the captured tables alone while others are busy: a Position
// comes all the same, and reading may resume there.
func testIdle(w *world) {
	w.exec(createT, "CREATE TABLE busy (pad VARCHAR(2000))", insert("busy", strings.Repeat("x", 2000)))
	r := w.open(Options{Tables: []string{"t"}})
	w.exec(insert("t", 1, "a"))
	r.settle()
	r.ack = true
	r.s.Ack(r.pos)
	r.lines()
	before := r.pos
	for range 13 { // 16 MiB in the last one
		w.exec("INSERT INTO busy SELECT pad FROM busy")
	}
	began := time.Now()
	r.until(func() bool { return r.pos != before })
	if took := time.Since(began); took > time.Minute {
		w.Errorf("a Position came after %s", took)
	}
	if len(r.events) > 0 {
		w.Errorf("changes came: %q", r.lines())
	}
	r.close()
	w.exec(insert("t", 2, "b"))
	o := Options{Tables: []string{"t"}, From: r.pos}
	r = w.open(o)
	r.want(`insert t id=2 s="b"`)
}

// testInterrupt ends a wait, and waits again.
func testInterrupt(w *world) {
	w.exec(createT)
	r := w.capture("t")
	r.settle()
	for i := range 3 {
		ctx, cancel := context.WithCancel(w.ctx)
		ended := make(chan error, 1)
		go func() {
			for {
				b, err := r.s.Next(ctx)
				if err != nil {
					ended <- err
					return
				}
				r.note(b)
				b.Release()
			}
		}()
		cancel()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				w.Fatalf("next: %v, want the context's error", err)
			}
		case <-w.ctx.Done():
			w.Fatal("next does not return after its context has ended")
		}
		w.exec(insert("t", i, "a"))
		r.want(fmt.Sprintf(`insert t id=%d s="a"`, i))
	}
}

// testCut ends the source's connections again and again under load.
func testCut(w *world) {
	w.exec(createM)
	r := w.open(Options{Tables: []string{"m"}, BatchBytes: 2 << 10})
	m := newMirror(w)
	stop := w.writers(2)
	for cuts := 0; cuts < 6; {
		enough := len(r.events) + 200
		r.ack = cuts%2 == 0
		r.applyUntil(m, func() bool { return len(r.events) > enough })
		// None, while the source has not yet come back after the last one.
		n, err := w.db.Disconnect(w.ctx)
		w.fatal(err)
		cuts += n
	}
	stop()
	r.applyRest(m)
	m.compare()
	r.checkOrder(r.events)
}

// testCutInside ends the connections in the middle of a large transaction: it
// goes on where it was.
func testCutInside(w *world) {
	w.exec(createL, createT)
	r := w.open(Options{Tables: []string{"l", "t"}, BatchBytes: largeBatch})
	w.exec("BEGIN")
	w.exec(insertMany(0, largeRows)...)
	w.exec("COMMIT")
	cuts, next := 0, largeRows/5
	r.drainLarge(func(rows int) {
		if rows < next {
			return
		}
		next += largeRows / 5
		n, err := w.db.Disconnect(w.ctx)
		w.fatal(err)
		cuts += n
	})
	w.exec(insert("t", 3, "after"))
	r.want(large, `insert t id=3 s="after"`)
	if cuts == 0 {
		w.Error("no connection was ended")
	}
}

func testRestart(w *world) { testStop(w, false) }
func testCrash(w *world)   { testStop(w, true) }

// testStop stops the server under load, and starts it again: the source goes on
// by itself, and what was committed is there once.
func testStop(w *world, crash bool) {
	w.exec(createM)
	r := w.open(Options{Tables: []string{"m"}, BatchBytes: 2 << 10})
	r.ack = true
	m := newMirror(w)
	for round := range 2 {
		// The writers end with the server; what they had committed shows in the table.
		ctx, cancel := context.WithCancel(w.ctx)
		var wg sync.WaitGroup
		for i := range 2 {
			s := w.session()
			wg.Go(func() { _ = writer(ctx, s, uint64(10*round+i+1)) })
		}
		enough := len(r.events) + 200
		r.applyUntil(m, func() bool { return len(r.events) > enough })
		// A server that stops in the ordinary way may wait for its readers.
		stopped := make(chan error, 1)
		go func() {
			err := w.Stop(w.ctx, crash)
			if err == nil {
				err = w.Start(w.ctx)
			}
			stopped <- err
		}()
		r.readWhile(m, stopped)
		cancel()
		wg.Wait()
		w.sql.Close()
		w.sql = w.session()
		r.applyRest(m)
		m.compare()
	}
	r.checkOrder(r.events)
}

// readWhile applies what comes until stopped says that the server is back.
func (r *reader) readWhile(m *mirror, stopped <-chan error) {
	w := r.w
	w.Helper()
	ctx, cancel := context.WithCancelCause(w.ctx)
	result := make(chan error, 1)
	go func() {
		err := <-stopped
		cancel(errStopped)
		result <- err
	}()
	for {
		b, err := r.s.Next(ctx)
		if err != nil {
			if errors.Is(context.Cause(ctx), errStopped) {
				break
			}
			w.Fatalf("next while the server restarts: %v", err)
		}
		for i := range b.Changes {
			m.apply(&b.Changes[i])
		}
		r.note(b)
		b.Release()
	}
	w.fatal(<-result)
}
