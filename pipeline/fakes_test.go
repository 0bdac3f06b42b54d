package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"cdc/mapping"
	"cdc/replication"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var items = &replication.Table{
	Schema: "public", Name: "items", Key: []int{0},
	Columns: []replication.Column{{Name: "id", Kind: replication.KindInt, Bits: 64, NotNull: true, Identity: true}},
}

// batch is a Batch with a change for each id, all of one transaction that
// committed at the time commit (µs since 1970).
func batch(position replication.Position, commit int64, ids ...int64) *replication.Batch {
	b := &replication.Batch{Position: position}
	tx := &replication.Transaction{ID: []byte("1"), Commit: []byte(position), CommitTime: commit}
	for i, id := range ids {
		b.Changes = append(b.Changes, replication.Change{
			Op: replication.OpInsert, Table: items, After: []replication.Value{replication.IntValue(id)}, Tx: tx, Index: uint64(i),
		})
	}
	return b
}

// source is a log from which it can resume: batches, numbered by their
// positions from 1 on. It forgets what it is told to forget, as a slot does.
type source struct {
	log    []*replication.Batch
	fail   error         // what Next returns after the last batch, instead of waiting for ctx
	more   chan struct{} // a token for each batch that Next may hand out; nil is all
	closed int
	closeE error

	mu       sync.Mutex
	next     int // index into log
	acks     []replication.Position
	released int
}

func (s *source) Next(ctx context.Context) (*replication.Batch, error) {
	if s.more != nil {
		select {
		case <-s.more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if s.next < len(s.log) {
		b := *s.log[s.next]
		b.Changes = append([]replication.Change(nil), b.Changes...)
		b.Free = func(b *replication.Batch) {
			clear(b.Changes) // whoever still looks sees nothing
			s.mu.Lock()
			s.released++
			s.mu.Unlock()
		}
		s.next++
		return &b, nil
	}
	if s.fail != nil {
		return nil, s.fail
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	return nil, ctx.Err()
}

func (s *source) Ack(p replication.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks = append(s.acks, p)
}

func (s *source) Close(context.Context) error {
	s.closed++
	return s.closeE
}

func (s *source) taken() int { s.mu.Lock(); defer s.mu.Unlock(); return s.next }

func (s *source) acked() []replication.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]replication.Position(nil), s.acks...)
}

// mapper makes a record of each change whose value is the row's id. bad names
// the rows that have no record.
type mapper struct {
	bad  map[int64]bool
	fail error // of every Map
	wait bool  // Map waits for ctx's end, as for a registry that is down
	// outbox makes messages of an outbox.
	outbox bool
}

var errBad = errors.New("bad row")

func (m *mapper) Map(ctx context.Context, b *replication.Batch, out *mapping.Records) error {
	if m.wait {
		<-ctx.Done()
		return fmt.Errorf("ask the registry: %w", ctx.Err())
	}
	for i, c := range b.Changes {
		id := c.After[0].Int()
		if m.bad[id] {
			return &mapping.RowError{Table: c.Table.String(), Key: fmt.Sprintf("id=%d", id), Op: c.Op, Index: i, Err: errBad}
		}
		start := len(out.Buf)
		out.Buf = strconv.AppendInt(out.Buf, id, 10)
		v := out.Buf[start:len(out.Buf):len(out.Buf)]
		r := mapping.Record{Topic: "t", Key: v, Value: v, Time: c.Tx.CommitTime, Op: c.Op, Table: c.Table}
		if m.outbox { // with a time of their own, which says nothing of their age
			r.Time, r.Routing = 1, &mapping.Routing{Commit: c.Tx.CommitTime}
		}
		out.List = append(out.List, r)
	}
	return m.fail
}

// sent is one call of Produce.
type sent struct {
	r    *mapping.Records
	ids  []int64
	done func(error)
}

// producer keeps what it is given until the test settles it.
type producer struct {
	t    *testing.T
	auto bool // acknowledge at once

	mu    sync.Mutex
	open  []*sent
	topic []int64       // the ids that the broker has, in the order of acknowledgement
	gate  chan struct{} // when not nil, Produce waits for a token or ctx's end
}

func ids(r *mapping.Records) (list []int64) {
	for _, rec := range r.List {
		id, _ := strconv.ParseInt(string(rec.Value), 10, 64)
		list = append(list, id)
	}
	return list
}

func (p *producer) Produce(ctx context.Context, r *mapping.Records, done func(error)) {
	if p.gate != nil {
		select {
		case <-p.gate:
		case <-ctx.Done():
			done(ctx.Err())
			return
		}
	}
	s := &sent{r, ids(r), done}
	p.mu.Lock()
	p.open = append(p.open, s)
	p.mu.Unlock()
	if p.auto {
		p.settle(0, nil)
	}
}

// settle ends the i-th open call.
func (p *producer) settle(i int, err error) {
	p.mu.Lock()
	s := p.open[i]
	p.open = append(p.open[:i], p.open[i+1:]...)
	if now := ids(s.r); fmt.Sprint(now) != fmt.Sprint(s.ids) {
		p.t.Errorf("the records of %v were touched before done: %v", s.ids, now)
	}
	if err == nil {
		p.topic = append(p.topic, s.ids...)
	}
	p.mu.Unlock()
	s.done(err)
}

func (p *producer) inFlight() int { p.mu.Lock(); defer p.mu.Unlock(); return len(p.open) }

func (p *producer) published() []int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]int64(nil), p.topic...)
}

// checkpoints is a store in memory.
type checkpoints struct {
	mu     sync.Mutex
	saved  []replication.Position
	before func(replication.Position) error // called before a save takes place
	after  func(replication.Position) error // called after it
	gate   chan struct{}                    // when not nil, Save waits for a token or ctx's end
}

func (c *checkpoints) Load(context.Context) (replication.Position, error) {
	return c.last(), nil
}

func (c *checkpoints) last() replication.Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.saved) == 0 {
		return ""
	}
	return c.saved[len(c.saved)-1]
}

func (c *checkpoints) all() []replication.Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]replication.Position(nil), c.saved...)
}

func (c *checkpoints) Save(ctx context.Context, p replication.Position) error {
	if c.gate != nil {
		select {
		case <-c.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if c.before != nil {
		if err := c.before(p); err != nil {
			return err
		}
	}
	c.mu.Lock()
	c.saved = append(c.saved, p)
	c.mu.Unlock()
	if c.after != nil {
		return c.after(p)
	}
	return nil
}

// letters takes dead letters.
type letters struct {
	fail error
	gate chan struct{} // when not nil, Put waits for a token

	mu  sync.Mutex
	ids []int64
	why []error
}

func (l *letters) Put(ctx context.Context, c *replication.Change, reason error) error {
	if l.gate != nil {
		select {
		case <-l.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if l.fail != nil {
		return l.fail
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids, l.why = append(l.ids, c.After[0].Int()), append(l.why, reason)
	return nil
}

// rig is a pipeline between fakes.
type rig struct {
	*Pipeline
	src    *source
	mapper *mapper
	prod   *producer
	points *checkpoints
	stop   context.CancelFunc
	result chan error
}

// start runs a pipeline over the log; change may alter its parts first.
func start(t *testing.T, log []*replication.Batch, change func(*rig, *Config)) *rig {
	t.Helper()
	r := &rig{
		src: &source{log: log}, mapper: &mapper{}, prod: &producer{t: t}, points: &checkpoints{},
		result: make(chan error, 1),
	}
	cfg := Config{Source: r.src, Mapper: r.mapper, Producer: r.prod, Checkpoints: r.points}
	if change != nil {
		change(r, &cfg)
	}
	r.Pipeline = New(cfg)
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	go func() { r.result <- r.Run(ctx) }()
	return r
}

// end stops the pipeline and returns Run's result.
func (r *rig) end() error {
	r.stop()
	return <-r.result
}
