// Package postgres is a replication.Source over PostgreSQL's logical
// replication: it makes the slot and the publication of the configured tables,
// reads what the tables hold already at a point of the log (the snapshot), then
// the changes from that point on (the stream, by the plugin pgoutput). Check
// and Drop go with it.
package postgres

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"

	"cdc/replication"
	"cdc/replication/arena"
	"cdc/replication/pace"
)

// Source is an open source. It is a replication.Source.
//
// Next runs two phases. In the first a goroutine of its own copies the
// snapshot's tables into batches; the Position that completes them comes with
// the last row, so that whoever saved no Position takes the whole snapshot
// again. In the second the stream's goroutine decodes the log. The catalog's
// connection belongs to Open, then to the first goroutine, then to the second.
type Source struct {
	cfg     Config
	catalog *catalog
	pool    *batchPool
	refetch *refetcher // of Next
	first   *start     // what Open prepared

	out    chan *batch     // from the snapshot, closed at its end
	ctx    context.Context //nolint:containedctx // of its goroutines, until Close
	cancel context.CancelFunc

	monitor    *monitor
	unregister func()
	rows       atomic.Int64 // that the snapshot has read

	// Of the snapshot's goroutine until out is closed, then of Next.
	pos      position
	captured map[uint32]replication.TableName
	snapErr  error

	// Of Next.
	announced bool   // the first Position of a start without snapshot is out
	rest      *batch // cut off the last one, still to be filled by refetch
	failed    error  // it returns this for good

	mu      sync.Mutex
	stream  *stream
	acked   pglogrepl.LSN        // before there was a stream
	opening replication.Position // that was handed out last
	opened  chan struct{}        // closed when it has been acknowledged; nil then
	closed  bool
}

var _ replication.Source = (*Source)(nil)

// Open connects, verifies that everything is as it must be, makes slot and
// publication where they are absent, and begins the snapshot's transaction. A
// *replication.Refusal (or several, joined) says what a person must do first;
// nothing has been made then. ctx is for Open alone.
func Open(ctx context.Context, cfg Config) (*Source, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	s := &Source{
		cfg:  cfg,
		pool: newBatchPool(cfg.BatchBytes, arena.MaxBatches),
		out:  make(chan *batch, 1), // the opening one must not wait: the snapshot's transaction holds locks
	}
	s.catalog = newCatalog(newSession(&s.cfg))
	s.first, err = setUp(ctx, &s.cfg, s.catalog)
	if err != nil {
		s.catalog.s.close(context.WithoutCancel(ctx))
		return nil, err
	}
	s.refetch, s.monitor = newRefetcher(&s.cfg, s.pool), newMonitor(&s.cfg)
	s.monitor.absentTables = func(ctx context.Context, conn *pgx.Conn, tables []TableConfig) error {
		s.mu.Lock()
		stream := s.stream
		s.mu.Unlock()
		if stream == nil {
			return nil
		}
		return stream.watchAnew(ctx, conn, tables)
	}
	if s.unregister, err = s.register(cfg.Registerer); err != nil {
		if s.first.snap != nil {
			s.first.snap.close(context.WithoutCancel(ctx))
		}
		s.catalog.s.close(context.WithoutCancel(ctx))
		return nil, err
	}
	s.cfg.Reload = nil // the slot is ours from here on
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go s.monitor.run(s.ctx)
	if s.first.snap == nil {
		s.pos, s.captured = s.first.pos, s.first.captured
		close(s.out)
	} else {
		go s.snapshot()
	}
	return s, nil
}

// snapshot reads the tables, from the beginning again whenever the connection
// breaks, until it comes to the end.
func (s *Source) snapshot() {
	defer close(s.out)
	st := s.first
	for retry := (pace.Backoff{}); ; {
		err := s.readSnapshot(st)
		switch {
		case err == nil:
			s.pos, s.captured = st.pos, st.captured
			return
		case s.ctx.Err() != nil:
			s.snapErr = errClosing
			return
		}
		if st.opening != nil && len(st.opening.Upto) > 0 {
			s.cfg.From = st.opening.text()
		}
		st = nil
		for st == nil {
			if !transient(err) {
				s.snapErr = err
				return
			}
			s.cfg.Logger.Warn("the snapshot broke off and starts again", "error", err)
			if !retry.Sleep(s.ctx) {
				s.snapErr = errClosing
				return
			}
			st, err = setUp(s.ctx, &s.cfg, s.catalog)
		}
	}
}

func (s *Source) readSnapshot(st *start) error {
	if st.snap == nil { // the tables to read were all done: cannot be after one that broke off
		return nil
	}
	if st.opening != nil {
		if err := s.open(st); err != nil {
			st.snap.close(context.WithoutCancel(s.ctx))
			return err
		}
	}
	last, err := st.snap.read(s.ctx, &s.cfg, s.pool, s.out, &s.rows)
	// Before anybody is waited for: the transaction holds locks.
	st.snap.close(context.WithoutCancel(s.ctx))
	if err != nil {
		return err
	}
	last.end, last.Position = st.pos.LSN, st.pos.text()
	return s.hand(last)
}

// open hands out the Position of a start that has read nothing yet, and waits
// until it is saved if that must be.
func (s *Source) open(st *start) error {
	b, err := s.pool.Get(s.ctx)
	if err != nil {
		return err
	}
	opened := make(chan struct{})
	b.end, b.Position = st.pos.LSN, st.opening.text()
	s.mu.Lock()
	s.opening, s.opened = b.Position, opened
	s.mu.Unlock()
	if err := s.hand(b); err != nil || len(st.opening.Upto) == 0 {
		return err
	}
	select {
	case <-opened:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// hand hands a batch of the snapshot to Next.
func (s *Source) hand(b *batch) error {
	select {
	case s.out <- b:
		return nil
	case <-s.ctx.Done():
		b.Release()
		return s.ctx.Err()
	}
}

// Next implements replication.Source.
func (s *Source) Next(ctx context.Context) (*replication.Batch, error) {
	if s.failed != nil {
		return nil, s.failed
	}
	b, err := s.next(ctx)
	if err != nil {
		if ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
			s.failed = err
		}
		return nil, err
	}
	return &b.Batch.Batch, nil
}

func (s *Source) next(ctx context.Context) (*batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.stream == nil {
		select {
		case b, ok := <-s.out:
			if ok {
				return b, nil
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if s.snapErr != nil {
			return nil, s.snapErr
		}
		if s.first.announce && !s.announced {
			b, err := s.pool.Get(ctx)
			if err != nil {
				return nil, err
			}
			s.announced = true
			b.end, b.Position = s.pos.LSN, s.pos.text()
			return b, nil
		}
		if !s.begin() {
			return nil, errClosing
		}
	}
	if b := s.rest; b != nil {
		s.rest = nil
		if err := s.fill(ctx, b); err != nil {
			s.rest = b
			return nil, err
		}
		return b, nil
	}
	return s.stream.next(ctx)
}

// fill supplies what the log left out of b.
func (s *Source) fill(ctx context.Context, b *batch) (err error) {
	rest, err := s.refetch.fill(ctx, b)
	if err == nil {
		s.rest = rest
	}
	return err
}

// begin starts the stream. It returns false when the source is closed.
func (s *Source) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.stream = startStream(streamConfig{
		cfg:       &s.cfg,
		catalog:   s.catalog,
		from:      s.pos.LSN,
		timeline:  s.pos.Timeline,
		snapshots: s.pos.Tables,
		oids:      s.pos.OIDs,
		captured:  s.captured,
		refetch:   s.fill,
		pool:      s.pool,
	})
	s.refetch.refused = s.stream.refused
	s.stream.ack(s.acked)
	return true
}

// Ack implements replication.Source. Positions that this source did not mint
// are ignored.
func (s *Source) Ack(p replication.Position) {
	pos, err := parsePosition(p)
	if err != nil {
		s.cfg.Logger.Error("acknowledge position", "error", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked = max(s.acked, pos.LSN)
	if s.opened != nil && p == s.opening {
		close(s.opened)
		s.opened = nil
	}
	if s.stream != nil {
		s.stream.ack(pos.LSN)
	}
}

// Close implements replication.Source. Next must not run, or must be about to
// return because its ctx ended; batches may still be out.
func (s *Source) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	stream := s.stream
	s.mu.Unlock()

	s.cancel()
	for b := range s.out { // the snapshot's goroutine ends soon: its context has
		b.Release()
	}
	var err error
	if stream != nil {
		err = stream.close(ctx)
	}
	<-s.monitor.done
	s.unregister()
	s.refetch.close(ctx)
	s.catalog.s.close(ctx)
	return err
}

// Stats is the state of a source for metrics.
type Stats struct {
	Connected bool          // a replication connection streams, or a snapshot is being read
	Snapshot  bool          // in the snapshot phase
	Received  pglogrepl.LSN // the log has been received up to here; 0 before the stream
	Acked     pglogrepl.LSN // and is acknowledged up to here
	ServerEnd pglogrepl.LSN // the end of the server's log as it told last; 0 before the stream
	LagBytes  int64         // ServerEnd - Acked; 0 before the stream
	Retained  int64         // bytes of log the server keeps because of the slot, looked at rarely; -1 before the first look
	// SnapshotRows is how many rows the snapshot has read, of all tables.
	SnapshotRows int64
	// InProgress is how many transactions in progress are held, Spooled how many
	// bytes of them, Spilled how many of these bytes are in files.
	InProgress, Spooled, Spilled int64
}

// Stats returns the state. Safe from any goroutine.
func (s *Source) Stats() Stats {
	s.mu.Lock()
	stream, acked := s.stream, s.acked
	s.mu.Unlock()
	st := Stats{Acked: acked, Retained: s.monitor.retained.Load(), SnapshotRows: s.rows.Load()}
	if stream == nil {
		st.Snapshot, st.Connected = s.first.snap != nil, true
		return st
	}
	st.Connected = stream.connected.Load()
	st.Received = pglogrepl.LSN(stream.received.Load())
	st.Acked = pglogrepl.LSN(stream.acked.Load())
	st.ServerEnd = pglogrepl.LSN(stream.serverEnd.Load())
	st.InProgress, st.Spooled, st.Spilled = stream.progress.spools.spooled()
	st.Spooled += st.Spilled
	st.LagBytes = max(0, int64(st.ServerEnd)-int64(st.Acked))
	return st
}
