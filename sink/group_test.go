package sink_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/replication"
	"cdc/sink"
	"cdc/sink/postgres"
)

// gate is a Writer that can be held before a batch is applied.
type gate struct {
	sink.Writer
	held    chan struct{} // gets a value when an Apply is held
	release chan struct{} // closed: go on
	armed   *atomic.Bool
}

func (g *gate) Apply(ctx context.Context, group string, b *sink.Batch) error {
	if g.armed.CompareAndSwap(true, false) {
		g.held <- struct{}{}
		select {
		case <-g.release:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return g.Writer.Apply(ctx, group, b)
}

func newGate() *gate {
	return &gate{held: make(chan struct{}, 1), release: make(chan struct{}), armed: new(atomic.Bool)}
}

func (g *gate) open(w *world) func(context.Context) (sink.Writer, error) {
	open := w.writer(postgres.Config{CreateTables: true, AddColumns: true})
	return func(ctx context.Context) (sink.Writer, error) {
		inner, err := open(ctx)
		g.Writer = inner
		return g, err
	}
}

// TestMembersShareAndSurvive runs two sinks of one group under load; one is
// stopped in the middle of a batch that it may not finish, a third joins, the
// second leaves. Every record takes effect exactly once: the topic is
// insert-only.
func TestMembersShareAndSurvive(t *testing.T) {
	w := newWorld(t)
	topic := w.topic("shared", 6)
	f := w.feed(topic, []replication.Column{intCol("n")})
	w.exec("CREATE TABLE " + table(topic) + " (n bigint)")
	next := int64(0)
	load := func(n int) {
		t.Helper()
		for range n {
			r := f.row(replication.OpInsert, num(next))
			r.Key = nil
			r.Partition = int32(next % 6)
			w.manual.Produce(t.Context(), r, nil)
			next++
		}
		must(t, w.manual.Flush(t.Context()))
	}
	cfg := w.config(topic)
	cfg.BatchRows = 97
	g := newGate()
	doomed := cfg
	doomed.Writer, doomed.DrainTimeout = g.open(w), time.Nanosecond
	a, b := w.run(doomed), w.run(cfg)
	eventually(t, func() error {
		if x, y := a.sink.Health().Assigned, b.sink.Health().Assigned; x != 3 || y != 3 {
			return fmt.Errorf("%d and %d partitions", x, y)
		}
		return nil
	})
	load(500)
	g.armed.Store(true)
	load(500)
	<-g.held
	if err := a.end(); !errors.Is(err, sink.ErrDrain) {
		t.Errorf("stop of the doomed one: %v, want ErrDrain", err)
	}
	load(500)
	c := w.run(cfg)
	load(500)
	w.applied("cdc_"+cfg.Name, topic)
	must(t, b.end())
	load(500)
	w.applied("cdc_"+cfg.Name, topic)
	must(t, c.end())
	w.expect("SELECT count(*), count(DISTINCT n), max(n) FROM "+table(topic), "(2500,2500,2499)")
}

// TestZombieIsFenced holds a member in the middle of a batch until another one
// has its partitions and went on; the late batch then must not take effect.
func TestZombieIsFenced(t *testing.T) {
	defer sink.SetSettleTimeout(10 * time.Millisecond)()
	w := newWorld(t)
	topic := w.topic("fenced", 1)
	f := w.feed(topic, []replication.Column{intCol("id"), textCol("note")}, "id")
	cfg := w.config(topic)
	g := newGate()
	g.armed.Store(true)
	zombie := cfg
	zombie.Writer = g.open(w)
	reg := prometheus.NewRegistry()
	zombie.Registerer = reg
	a := w.run(zombie)
	w.produce(f.row(replication.OpInsert, num(1), text("old")))
	<-g.held
	// The balancer keeps a lone partition where it is, so the zombie's member is
	// removed by hand, as the coordinator does with one that is silent too long.
	adm := w.admin()
	group := "cdc_" + cfg.Name
	groups, err := adm.DescribeGroups(t.Context(), group)
	must(t, err)
	member := groups[group].Members[0]
	w.kick(group, member.MemberID)
	b := w.run(cfg)
	w.produce(f.row(replication.OpUpdate, num(1), text("new")))
	w.applied(group, topic)
	close(g.release)
	eventually(t, func() error {
		if n := counter(t, reg, "cdc_sink_fenced_total"); n < 1 {
			return fmt.Errorf("fenced %v times", n)
		}
		return nil
	})
	w.produce(f.row(replication.OpInsert, num(2), text("after")))
	w.applied(group, topic)
	w.expect("SELECT * FROM "+table(topic), "(1,new)\n(2,after)")
	must(t, a.end())
	must(t, b.end())
}

// TestStopFinishesTheBatchInHand holds a batch, asks for a stop, lets go: the
// batch is applied and Run returns nil.
func TestStopFinishesTheBatchInHand(t *testing.T) {
	w := newWorld(t)
	topic := w.topic("drain", 1)
	f := w.feed(topic, []replication.Column{intCol("id")}, "id")
	g := newGate()
	g.armed.Store(true)
	cfg := w.config(topic)
	cfg.Writer = g.open(w)
	r := w.run(cfg)
	w.produce(f.row(replication.OpInsert, num(1)))
	<-g.held
	r.stop()
	close(g.release)
	if err := r.end(); err != nil {
		t.Errorf("stop: %v", err)
	}
	w.expect("SELECT t.id, next_offset FROM cdc_offsets, "+table(topic)+" t", "(1,1)")
}

// TestAssignedBeforeTheClientIsMade: the group may assign partitions while the
// client that asked for them is still being made.
func TestAssignedBeforeTheClientIsMade(t *testing.T) {
	w := newWorld(t)
	topic := w.topic("early", 1)
	f := w.feed(topic, []replication.Column{intCol("n")}, "n")
	w.produce(f.row(replication.OpInsert, num(1)))
	sink.LateClient(t, func(cl *kgo.Client) {
		eventually(t, func() error {
			if member, generation := cl.GroupMetadata(); generation <= 0 {
				return fmt.Errorf("member %q is not in the group yet", member)
			}
			return nil
		})
	})
	cfg := w.config(topic)
	w.run(cfg)
	w.applied("cdc_"+cfg.Name, topic)
}
