package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// TestKills kills capture and sink at random points under load, over and over
// (CDC_KILLS of each, 5 without it; `make kills N=100`). Nothing may be lost,
// each key's order must be kept, and the target must equal the source.
func TestKills(t *testing.T) {
	n := 5
	if s := os.Getenv("CDC_KILLS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t)
	source, target := connect(t, w.source), connect(t, w.target)
	// Many kills take long: then less load, or the topic grows beyond what can
	// be checked record by record.
	l := &load{url: w.source, writers: 4, keys: 100, pause: 5 * time.Millisecond * time.Duration(max(1, n/10))}
	l.seed(t, source)
	// A table large enough that kills hit its snapshot as well.
	exec1(t, source, `CREATE TABLE still (id int PRIMARY KEY, v text); INSERT INTO still SELECT g, md5(g::text) FROM generate_series(1, 20000) g`)
	tables := []string{"kv", "still"}
	captureFile, sinkFile := w.config(t, tables, ""), w.config(t, tables, "")
	admin := w.admin(t)
	topic := w.topic("kv")

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	loaded := make(chan error, 1)
	go func() { loaded <- l.run(ctx) }()

	begin := time.Now()
	// How far each side has come, in numbers that grow with every step.
	published := func() (int64, error) { return w.ends(ctx, admin, topic) }
	counter := connect(t, w.target)
	applied := func() (sum int64, err error) {
		err = counter.QueryRow(ctx, `SELECT coalesce(sum(v), 0)::bigint FROM kv`).Scan(&sum)
		return sum, err
	}
	var wg sync.WaitGroup
	var capture, sink *killer
	capture = &killer{args: []string{"capture", "--config", captureFile}, progress: published, seed: 1}
	sink = &killer{args: []string{"sink", "--config", sinkFile}, progress: applied, seed: 2}
	for _, k := range []*killer{capture, sink} {
		wg.Go(func() { k.run(ctx, t, n) })
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	stop()
	if err := <-loaded; err != nil {
		t.Fatal(err)
	}
	eventually(t, 3*time.Minute, "the target equals the source", func() error {
		if err := same(t.Context(), source, target, "kv"); err != nil {
			return err
		}
		return same(t.Context(), source, target, "still")
	}, capture.last, sink.last)
	capture.last.stop(t)
	sink.last.stop(t)

	messages := w.read(t, topic)
	replays, err := l.history.check(messages)
	if err != nil {
		t.Error("the order in the topic: ", err)
	}
	events := 0
	for k := range l.history.events {
		events += l.history.committed(k)
	}
	var rowsNow int
	if err := target.QueryRow(t.Context(), `SELECT count(*) FROM kv`).Scan(&rowsNow); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d kills of capture (%d before it had published anything), %d kills of sink (%d before it had applied anything) in %.0f s; "+
		"%d transactions with %d changes committed, %d records in the topic of which %d begin a replay; "+
		"nothing lost, order per key kept, target equals source (%d rows)",
		capture.kills, capture.early, sink.kills, sink.early, time.Since(begin).Seconds(), l.history.begun.Load(), events, len(messages), replays, rowsNow)
}

// killer starts a process and kills it, again and again, and leaves the last
// one running.
type killer struct {
	args         []string
	progress     func() (int64, error)
	seed         uint64
	kills, early int
	last         *process
}

func (k *killer) run(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(k.seed, 11))
	for k.kills < n {
		p := start(t, binary, k.args...)
		k.last = p
		before, _ := k.progress()
		if rng.IntN(4) == 0 {
			// Somewhere in the start.
			pause(ctx, p, time.Duration(rng.IntN(600))*time.Millisecond)
			k.early++
		} else {
			// Somewhere in its work: after it has got on by itself.
			if err := k.await(ctx, p, before); err != nil {
				t.Errorf("kill %d of %s: %v\n%s", k.kills+1, k.args[0], err, p.output())
				return
			}
			pause(ctx, p, time.Duration(rng.IntN(700))*time.Millisecond)
		}
		if !p.running() {
			t.Errorf("%s ended by itself after %d kills:\n%s", k.args[0], k.kills, p.output())
			return
		}
		p.kill()
		k.kills++
	}
	k.last = start(t, binary, k.args...)
}

// await waits until the process has moved its counter, for 90 s at most: after
// a kill the group waits for the dead member, and the slot for its connection.
func (k *killer) await(ctx context.Context, p *process, before int64) error {
	deadline := time.Now().Add(90 * time.Second)
	for {
		now, err := k.progress()
		if err == nil && now != before {
			return nil
		}
		if !p.running() {
			return fmt.Errorf("it ended by itself")
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no progress within 90 s (%d, %v)", now, err)
		}
		pause(ctx, p, 20*time.Millisecond)
	}
}

// pause lets a process run for a while.
func pause(ctx context.Context, p *process, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-p.ended:
	case <-timer.C:
	}
}

// TestSharedGroup: two sinks of one group share the partitions of a topic, and
// the death of one leaves its partitions to the other.
func TestSharedGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, target := connect(t, w.source), connect(t, w.target)
	l := &load{url: w.source, writers: 4, keys: 50, pause: 5 * time.Millisecond}
	l.seed(t, source)
	admin := w.admin(t)
	if _, err := admin.CreateTopic(t.Context(), 4, 1, nil, w.topic("kv")); err != nil {
		t.Fatal(err)
	}
	capture := start(t, binary, "capture", "--config", w.config(t, []string{"kv"}, ""))
	first := start(t, binary, "sink", "--config", w.config(t, []string{"kv"}, ""))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	loaded := make(chan error, 1)
	go func() { loaded <- l.run(ctx) }()
	second := start(t, binary, "sink", "--config", w.config(t, []string{"kv"}, ""))
	group := "cdc_" + w.name
	eventually(t, time.Minute, "two members share four partitions", func() error { return shared(t.Context(), admin, group, 2, 4) }, capture, first, second)
	first.kill()
	eventually(t, 2*time.Minute, "the survivor has all four", func() error { return shared(t.Context(), admin, group, 1, 4) }, capture, second)
	stop()
	if err := <-loaded; err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Minute, "the target equals the source", func() error { return same(t.Context(), source, target, "kv") }, capture, second)
	second.stop(t)
	capture.stop(t)
	if _, err := l.history.check(w.read(t, w.topic("kv"))); err != nil {
		t.Error("the order in the topic: ", err)
	}
}

// shared reports whether a stable group has so many members, each with
// partitions, and so many partitions in all.
func shared(ctx context.Context, admin *kadm.Client, group string, members, partitions int) error {
	described, err := admin.DescribeGroups(ctx, group)
	if err != nil {
		return err
	}
	g := described[group]
	if g.State != "Stable" || len(g.Members) != members {
		return fmt.Errorf("group %s is %s with %d members", group, g.State, len(g.Members))
	}
	all := 0
	for _, m := range g.Members {
		n := 0
		if a, ok := m.Assigned.AsConsumer(); ok {
			for _, topic := range a.Topics {
				n += len(topic.Partitions)
			}
		}
		if n == 0 {
			return fmt.Errorf("member %s of group %s has no partition", m.MemberID, group)
		}
		all += n
	}
	if all != partitions {
		return fmt.Errorf("group %s has %d partitions", group, all)
	}
	return nil
}
