// Package mysql is a replication.Source over the binary log of MySQL and
// MariaDB: it reads what the configured tables hold already at a place of the
// log (the snapshot), then the changes from that place on (the stream). It
// leaves nothing on the server. Check goes with it.
package mysql

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"cdc/replication"
	"cdc/replication/arena"
	"cdc/replication/pace"
)

// Source is an open source. It is a replication.Source.
//
// Next runs two phases. In the first a goroutine of its own reads the
// snapshot's tables into batches; the Position that completes them comes with
// the last row, so that whoever saved no Position takes the whole snapshot
// again. In the second the stream's goroutine decodes the log.
type Source struct {
	cfg     Config
	session *session
	shapes  *shapes
	pool    *batchPool
	first   *start // what Open prepared
	fold    bool   // names of tables are compared without regard to case

	out    chan *batch     // from the snapshot, closed at its end
	ctx    context.Context //nolint:containedctx // of its goroutines, until Close
	cancel context.CancelFunc

	monitor    *monitor
	unregister func()
	rows       atomic.Int64 // that the snapshot has read

	// Of the snapshot's goroutine until out is closed, then of Next.
	pos     position
	snapErr error

	// Of Next.
	announced bool  // the first Position of a start without snapshot is out
	failed    error // it returns this for good

	mu      sync.Mutex
	stream  *stream
	acked   replication.Position
	opening replication.Position // that was handed out last
	opened  chan struct{}        // closed when it has been acknowledged; nil then
	closed  bool
}

var _ replication.Source = (*Source)(nil)

// Open connects, verifies that everything is as it must be, and begins the
// snapshot's transaction. A *replication.Refusal (or several, joined) says what
// a person must do first. ctx is for Open alone.
func Open(ctx context.Context, cfg Config) (*Source, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	s := &Source{cfg: cfg, pool: newBatchPool(cfg.BatchBytes, arena.MaxBatches), out: make(chan *batch, 1)}
	s.session = newSession(&s.cfg)
	if s.first, err = s.setUp(ctx); err != nil {
		s.session.close()
		return nil, err
	}
	s.monitor = newMonitor(&s.cfg)
	if s.unregister, err = s.register(cfg.Registerer); err != nil {
		if s.first.snap != nil {
			s.first.snap.close()
		}
		s.session.close()
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go s.monitor.run(s.ctx, s.place)
	if s.first.snap == nil {
		s.pos = s.first.pos
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
			s.pos = st.pos
			return
		case s.ctx.Err() != nil:
			s.snapErr = errClosing
			return
		}
		// What was read may have been handed on: those that are gone meanwhile
		// have to come out of the log.
		s.cfg.From = st.opening.text()
		st = nil
		for st == nil {
			if !transient(err) && !errors.Is(err, errTableChanged) {
				s.snapErr = err
				return
			}
			s.cfg.Logger.Warn("the snapshot broke off and starts again", "error", err)
			if !retry.Sleep(s.ctx) {
				s.snapErr = errClosing
				return
			}
			st, err = s.setUp(s.ctx)
		}
	}
}

func (s *Source) readSnapshot(st *start) error {
	if st.snap == nil { // the tables to read were all done: cannot be after one that broke off
		return nil
	}
	defer st.snap.close()
	b, err := s.pool.Get(s.ctx)
	if err != nil {
		return err
	}
	opened := make(chan struct{})
	b.Position = st.opening.text()
	s.mu.Lock()
	s.opening, s.opened = b.Position, opened
	s.mu.Unlock()
	if err := s.hand(b); err != nil {
		return err
	}
	if st.bounded() {
		select {
		case <-opened:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
	last, err := st.snap.read(s.ctx, &s.cfg, s.pool, s.out, &s.rows)
	if err != nil {
		return err
	}
	last.Position = st.pos.text()
	return s.hand(last)
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
			b.Position = s.pos.text()
			return b, nil
		}
		if !s.begin() {
			return nil, errClosing
		}
	}
	return s.stream.next(ctx)
}

// begin starts the stream. It returns false when the source is closed.
func (s *Source) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.stream = startStream(&s.cfg, s.shapes, s.pos.place, newMarks(s.pos.tables, s.pos.columns.text()), s.fold, s.pool)
	return true
}

// Ack implements replication.Source. The server keeps its log by its own rules
// and is told nothing.
func (s *Source) Ack(p replication.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked = p
	if s.opened != nil && p == s.opening {
		close(s.opened)
		s.opened = nil
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
	if stream != nil {
		stream.close()
	}
	<-s.monitor.done
	s.unregister()
	s.session.close()
	return ctx.Err()
}

// Stats is the state of a source for metrics.
type Stats struct {
	Connected bool                 // the log is being read, or a snapshot
	Snapshot  bool                 // in the snapshot phase
	Read      string               // the log has been read up to here; "" before the stream
	Acked     replication.Position // and is acknowledged up to here
	// LagBytes is how much of the server's log is still to be read, looked at
	// now and then; -1 before the first look.
	LagBytes int64
	// SnapshotRows is how many rows the snapshot has read, of all tables.
	SnapshotRows int64
}

// Stats returns the state. Safe from any goroutine.
func (s *Source) Stats() Stats {
	s.mu.Lock()
	stream, acked := s.stream, s.acked
	s.mu.Unlock()
	st := Stats{Acked: acked, LagBytes: s.monitor.lag.Load(), SnapshotRows: s.rows.Load()}
	if stream == nil {
		st.Snapshot, st.Connected = s.first.snap != nil, true
		return st
	}
	st.Connected = stream.connected.Load()
	stream.mu.Lock()
	defer stream.mu.Unlock()
	st.Read = stream.reader.done.String()
	return st
}

// place returns the file and offset that the stream is at; "" before it.
func (s *Source) place() (file string, offset uint64) {
	s.mu.Lock()
	stream := s.stream
	s.mu.Unlock()
	if stream == nil {
		return "", 0
	}
	stream.mu.Lock()
	defer stream.mu.Unlock()
	return stream.reader.file, stream.reader.offset
}

// start says where the source begins: with a snapshot, if there is one, then
// the stream from pos.
type start struct {
	pos  position  // to stream from, as it holds once snap is read
	snap *snapshot // nil when no table has to be read; owned by who gets the start
	// announce says that pos is new and should be saved before anything happens.
	announce bool
	// opening is what holds before the snapshot's first row is out.
	opening position
}

// bounded reports whether opening says up to where tables are read that are read
// in order. It must be saved then before a row is handed out.
func (s *start) bounded() bool {
	for i := range s.snap.tables {
		if s.snap.tables[i].upto != (bound{}) {
			return true
		}
	}
	return false
}

// setUp verifies everything and prepares the snapshot of the tables that need
// one. It may be called again after a snapshot that broke off.
func (s *Source) setUp(ctx context.Context) (*start, error) {
	insp, err := inspect(ctx, &s.cfg, s.session, true)
	if err != nil {
		return nil, err
	}
	if err := insp.refusal(); err != nil {
		return nil, err
	}
	for _, f := range insp.findings {
		if f.Level == replication.LevelWarning {
			s.cfg.Logger.Warn(f.Problem, "remedy", f.Remedy)
		}
	}
	if s.shapes == nil {
		s.shapes = newShapes(&s.cfg, s.session, &insp.server)
		s.fold = insp.server.vars["lower_case_table_names"] != "0"
	}
	from := insp.from
	if insp.purged != nil {
		from = nil
	}
	pending := pending(&s.cfg, from, insp.purged != nil)
	columns := s.known(from, pending)
	s.shapes.restore(columns)
	if len(pending) == 0 {
		if from != nil {
			return &start{pos: position{place: from.place, tables: s.configured(from), columns: columns}, announce: s.cfg.begins}, nil
		}
		unknown, err := s.cfg.awaitPrepared(ctx, s.session)
		if err != nil {
			return nil, err
		}
		if unknown {
			insp.server.end.prepared = []prepared{{xid: unknownXA}}
		}
		return &start{pos: position{place: insp.server.end}, announce: true}, nil
	}
	if from != nil {
		for i := range pending {
			pending[i].upto = from.tables[tableKey(pending[i].Schema, pending[i].Name)].upto
		}
	}
	snap, err := openSnapshot(ctx, &s.cfg, s.shapes, pending)
	if err != nil {
		return nil, err
	}
	// The stream begins where it was, and takes of the tables that are read now
	// what is not in their snapshot.
	at, read := snap.before, map[string]tableMark{}
	if from != nil {
		at, read = from.place, s.configured(from)
		if len(snap.before.prepared) > 0 && !slices.Contains(at.prepared, snap.before.prepared[0]) {
			at.prepared = append(slices.Clone(at.prepared), snap.before.prepared...)
		}
	}
	st := &start{snap: snap, pos: position{place: at, tables: read, columns: columns}, opening: position{place: at, tables: maps.Clone(read), columns: columns}}
	for i, t := range pending {
		name := tableKey(t.Schema, t.Name)
		mark := tableMark{state: markDone}
		// Of one that nobody has read before, the changes before the snapshot are
		// not wanted. The others may have been handed out in part: rows that were
		// deleted since are in the log only.
		fresh := from == nil && insp.purged == nil || from != nil && from.tables[name].state == 0
		if fresh && snap.point.form == at.form && !at.covers(&snap.point) {
			mark = tableMark{state: markAhead, point: snap.point}
		}
		st.pos.tables[name] = mark
		st.opening.tables[name] = tableMark{state: markBegun, upto: snap.tables[i].upto}
	}
	return st, nil
}

// configured returns the marks of the tables that are still configured.
func (s *Source) configured(from *position) map[string]tableMark {
	marks := map[string]tableMark{}
	for _, t := range s.cfg.Tables {
		name := tableKey(t.Schema, t.Name)
		if m, ok := from.tables[name]; ok {
			marks[name] = m
		}
	}
	return marks
}

// known returns the histories of the tables that go on, and of those that may
// take the place of one.
func (s *Source) known(from *position, pending []TableConfig) histories {
	known := histories{}
	if from == nil {
		return known
	}
	for table, h := range from.columns {
		if h.Shadow {
			known[table] = h
		}
	}
	for _, t := range s.cfg.Tables {
		table := tableKey(t.Schema, t.Name)
		fresh := slices.ContainsFunc(pending, func(p TableConfig) bool { return p.Schema == t.Schema && p.Name == t.Name }) && from.tables[table].state == 0
		if h := from.columns[table]; h != nil && !fresh {
			known[table] = h
		}
	}
	return known
}

// pending returns the tables whose rows are still to be read; all of them when
// changes are missing.
func pending(cfg *Config, from *position, all bool) (todo []TableConfig) {
	for _, t := range cfg.Tables {
		if !all {
			if t.Snapshot != SnapshotInitial {
				continue
			}
			if from != nil {
				if state := from.tables[tableKey(t.Schema, t.Name)].state; state != 0 && state != markBegun {
					continue
				}
			}
		}
		todo = append(todo, t)
	}
	return todo
}
