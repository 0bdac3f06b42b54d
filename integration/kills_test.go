package integration

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"cdc/internal/services"
	"cdc/internal/servicetest"
)

// TestKills kills capture and sink at random points under load, over and over
// (CDC_KILLS of each, 5 without it; `make kills N=100`). Nothing may be lost,
// each key's order must be kept, and the target must equal the source.
func TestKills(t *testing.T) {
	t.Parallel()
	n := kills(t, 5)
	underKills(t, newWorld(t), nil, n, n)
}

// TestKillsMySQL is the same from MySQL, and every fifth time its server is
// restarted, too, in turn ended and killed. The target is in the same server.
func TestKillsMySQL(t *testing.T) {
	t.Parallel()
	server := durable(t, services.MySQL9)
	w := emptyWorld(t, server.Address()+"shop")
	servicetest.MySQLExec(t, server.Address(), "CREATE DATABASE shop", "CREATE DATABASE copy")
	w.target = server.Address() + "copy"
	underKills(t, w, server, kills(t, 5), kills(t, 2))
}

// TestKillsMariaDB is the same from MariaDB into PostgreSQL.
func TestKillsMariaDB(t *testing.T) {
	t.Parallel()
	server := durable(t, services.MariaDB118)
	w := emptyWorld(t, server.Address()+"shop")
	servicetest.MySQLExec(t, server.Address(), "CREATE DATABASE shop")
	w.target = servicetest.Postgres(t)
	underKills(t, w, server, kills(t, 5), kills(t, 2))
}

// durable starts a server whose binary log loses nothing by a crash.
func durable(t *testing.T, version string) *services.Server {
	t.Helper()
	return servicetest.OwnMySQL(t, version, map[string]string{"sync-binlog": "1", "innodb-flush-log-at-trx-commit": "1"})
}

// kills is CDC_KILLS, or n without it.
func kills(t *testing.T, n int) int {
	t.Helper()
	if s := os.Getenv("CDC_KILLS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// underKills writes to the source, kills capture n times and sink m times
// meanwhile, restarts the server, if one is given, a fifth as often, and
// compares at the end.
func underKills(t *testing.T, w *world, server *services.Server, n, m int) {
	t.Helper()
	// Many kills take long: then less load, or the topic grows beyond what can
	// be checked record by record.
	l := &load{url: w.source, writers: 4, keys: 100, pause: 5 * time.Millisecond * time.Duration(max(1, n/10))}
	l.seed(t)
	// A table large enough that kills hit its snapshot as well.
	still(t, w.source, 20_000)
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
	asking := &asker{url: w.target}
	defer asking.close()
	applied := func() (int64, error) { return asking.number(ctx, `SELECT sum(v) FROM kv`) }
	var wg sync.WaitGroup
	outages := new(atomic.Int64)
	// The group waits ten seconds for a member that was killed, so the sink takes
	// longer: capture keeps its pace, or all restarts came at the begin.
	capture := &killer{outages: outages, args: []string{"capture", "--config", captureFile}, progress: published, seed: 1}
	sink := &killer{outages: outages, args: []string{"sink", "--config", sinkFile}, progress: applied, seed: 2}
	capture.due = func() bool { return sink.kills.Load()+1 >= capture.kills.Load()*int64(m)/int64(n) }
	wg.Go(func() { capture.run(ctx, t, n) })
	wg.Go(func() { sink.run(ctx, t, m) })
	restarts := 0
	if server != nil {
		wg.Go(func() { restarts = restart(ctx, t, server, n/5, capture, outages) })
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	stop()
	if err := <-loaded; err != nil {
		t.Fatal(err)
	}
	source, target := sideAt(t, w.source), sideAt(t, w.target)
	eventually(t, 3*time.Minute, "the target equals the source", func() error {
		for _, query := range []string{"SELECT k, v, note, big FROM kv", "SELECT id, v FROM still"} {
			if err := sameRows(t.Context(), source, target, query); err != nil {
				return err
			}
		}
		return nil
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
	rows, err := target.number(t.Context(), `SELECT count(*) FROM kv`)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d kills of capture (%d before it had published anything), %d kills of sink (%d before it had applied anything), %d restarts of the server (%d starts of the two while it was down) in %.0f s; "+
		"%d transactions with %d changes committed, %d records in the topic of which %d begin a replay; "+
		"nothing lost, order per key kept, target equals source (%d rows)",
		capture.kills.Load(), capture.early, sink.kills.Load(), sink.early, restarts, capture.vain+sink.vain, time.Since(begin).Seconds(),
		l.history.begun.Load(), events, len(messages), replays, rows)
}

// still makes a table that nobody writes to.
func still(t *testing.T, address string, rows int) {
	t.Helper()
	s := sideAt(t, address)
	s.exec(t, "CREATE TABLE still (id int PRIMARY KEY, v text)")
	var b strings.Builder
	for i := range rows {
		fmt.Fprintf(&b, ", (%d, '%x')", i, md5.Sum(strconv.AppendInt(nil, int64(i), 10)))
	}
	s.exec(t, "INSERT INTO still VALUES"+b.String()[1:])
}

// sameRows reports how what a query answers differs between two databases.
func sameRows(ctx context.Context, source, target *side, query string) error {
	var texts [2][]string
	for i, s := range []*side{source, target} {
		rows, err := s.query(ctx, query)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", s.family, query, err)
		}
		for _, r := range rows {
			texts[i] = append(texts[i], strings.Join(r, " | "))
		}
	}
	if d := difference(texts[0], texts[1]); d != "" {
		return fmt.Errorf("%s: %s", query, d)
	}
	return nil
}

// restart ends and starts a server n times, one time cleanly and one time by a
// kill, spread over the kills of another. outages counts both: it is odd while
// the server is down.
func restart(ctx context.Context, t *testing.T, server *services.Server, n int, along *killer, outages *atomic.Int64) (done int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 11))
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ; done < n; done++ {
		for at := int64(5*done + 1 + rng.IntN(4)); along.kills.Load() < at; {
			if <-tick.C; t.Failed() {
				return done
			}
		}
		outages.Add(1)
		end := server.Stop
		if done%2 == 0 {
			end = server.Kill
		}
		err := end(ctx)
		if err == nil {
			_, err = server.Start(ctx)
		}
		if err != nil {
			t.Errorf("restart %d: %v", done+1, err)
			return done
		}
		outages.Add(1)
	}
	return done
}

// killer starts a process and kills it, again and again, and leaves the last
// one running.
type killer struct {
	args     []string
	progress func() (int64, error)
	seed     uint64
	due      func() bool   // the next kill is; nil: at once
	outages  *atomic.Int64 // of a server, see restart; nil: there are none
	kills    atomic.Int64
	early    int
	vain     int // starts that ended with code 1 since the server was down
	last     *process
}

func (k *killer) run(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(k.seed, 11))
	for !t.Failed() {
		last, early := k.kills.Load() == int64(n), rng.IntN(4) == 0
		outage := k.outage()
		p := start(t, binary, k.args...)
		k.last = p
		var err error
		if early && !last {
			// Somewhere in the start.
			pause(ctx, p, time.Duration(rng.IntN(600))*time.Millisecond)
		} else if err = k.await(ctx, p); err == nil && !last {
			// Somewhere in its work: after it has got on by itself.
			for k.due != nil && !k.due() && p.running() && !t.Failed() {
				pause(ctx, p, 20*time.Millisecond)
			}
			pause(ctx, p, time.Duration(rng.IntN(700))*time.Millisecond)
		}
		// What the one before it had sent may look like its progress.
		starting := early || err != nil || strings.Contains(p.output(), "read the server's settings")
		if down := outage%2 == 1 || k.outage() != outage; starting && down && !p.running() && p.cmd.ProcessState.ExitCode() == 1 {
			k.vain++ // a supervisor starts it again
			continue
		}
		if err == nil && !p.running() {
			err = errors.New("it ended by itself")
		}
		if err != nil {
			t.Errorf("kill %d of %s: %v\n%s", k.kills.Load()+1, k.args[0], err, p.output())
			return
		}
		if last {
			return
		}
		p.kill()
		k.kills.Add(1)
		if early {
			k.early++
		}
	}
}

// outage is how often the server has gone down and come up, 0 without one.
func (k *killer) outage() int64 {
	if k.outages == nil {
		return 0
	}
	return k.outages.Load()
}

// await waits until the process has moved its counter, for patience at most: after
// a kill the group waits for the dead member, and the slot for its connection.
// While the counter cannot be asked, since a server restarts or the target has
// no table yet, nothing is known.
func (k *killer) await(ctx context.Context, p *process) error {
	deadline := time.Now().Add(patience)
	before, known := int64(0), false
	for {
		now, err := k.progress()
		switch {
		case err != nil:
		case !known:
			before, known = now, true
		case now != before:
			return nil
		}
		if !p.running() {
			return errors.New("it ended by itself")
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no progress within %s (%d, %v)", patience, now, err)
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
	l.seed(t)
	admin := w.admin(t)
	servicetest.MakeTopic(t, admin, 4, nil, w.topic("kv"))
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
