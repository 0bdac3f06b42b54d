package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"cdc/replication"
	"cdc/replication/pace"
)

// streamConfig says what to stream.
type streamConfig struct {
	cfg     *Config // complete
	catalog *catalog
	// from is where to resume: the end of a commit, or a confirmed end of the
	// log. The server takes it as acknowledged.
	from pglogrepl.LSN
	// timeline is the one that from lies on.
	timeline timeline
	// snapshots holds, by tableKey, the consistent points of the tables'
	// snapshots; it goes into every Position.
	snapshots map[string]pglogrepl.LSN
	oids      map[string]uint32 // as position.OIDs
	// captured holds the configured tables as they were at the start, by OID. A
	// table is known by its OID, so that one that is renamed does not go silent and
	// keeps its configuration, and by its name, so that one that is made anew does
	// not either.
	captured map[uint32]replication.TableName
	// refetch fills the values that the log left out; nil leaves them.
	refetch func(context.Context, *batch) error
	pool    *batchPool
}

// A Position without changes is handed out this often, or when the log has
// moved this far, so that idle tables hold no WAL.
const (
	idleInterval = 10 * time.Second
	idleBytes    = 16 << 20
	// handOver is how many bytes of an unfinished transaction are worth waking
	// the consumer: it has committed, its rest is on the way or in a spool.
	handOver = 64 << 10
)

// stream reads the slot. One goroutine, run, owns the connection and the
// decoder; next takes what it has decoded. Between them stands one batch: run
// fills it until it is full, next takes it as soon as it is worth it.
type stream struct {
	streamConfig
	log       *slog.Logger
	positions positionText
	relations *relations
	dec       *decoder // of run
	progress  progress // of run
	// whole is where transactions may come in progress again; of run.
	whole pglogrepl.LSN

	cancel context.CancelCauseFunc
	done   chan struct{} // closed when run has ended
	ready  chan struct{} // token: there is something to take
	space  chan struct{} // token: the batch was taken

	mu       sync.Mutex
	cur      *batch        // nil when next took it
	inTx     bool          // the decoder is inside a transaction
	handed   pglogrepl.LSN // the newest boundary that next has handed out
	handedAt time.Time
	prompt   bool  // the server waits to hear of its end of log
	partly   bool  // next has handed out a transaction, but not its end
	err      error // why run has ended
	wire     *walConn
	wait     context.Context //nolint:containedctx // Close's, once it was called

	held *batch // of next: taken, but not refetched

	acked     atomic.Uint64 // LSN
	received  atomic.Uint64 // LSN up to which the log was received
	serverEnd atomic.Uint64 // LSN: the end of the log as the server told last
	connected atomic.Bool
	statuses  atomic.Uint64 // sent
}

// startStream begins to stream. The caller closes the stream.
func startStream(c streamConfig) *stream {
	ctx, cancel := context.WithCancelCause(context.Background())
	s := &stream{
		streamConfig: c,
		log:          c.cfg.Logger,
		positions:    newPositionText(c.timeline, c.snapshots, c.oids, nil),
		relations:    newRelations(c.catalog, c.snapshots),
		dec:          newDecoder(c.from),
		progress:     progress{spools: newSpools(c.cfg)},
		cancel:       cancel,
		done:         make(chan struct{}),
		ready:        make(chan struct{}, 1),
		space:        make(chan struct{}, 1),
		handed:       c.from,
		handedAt:     time.Now(),
	}
	s.dec.messages = newPrefixes(c.cfg.Messages)
	s.acked.Store(uint64(c.from))
	if c.captured != nil {
		s.relations.captured = c.captured
		s.relations.skip = s.notCaptured
	}
	go s.run(ctx)
	return s
}

// notCaptured reports whether m is of a table that is not configured.
func (s *stream) notCaptured(m *relationMessage) bool {
	if _, ok := s.captured[m.oid]; ok {
		return false
	}
	for _, t := range s.cfg.Tables {
		if t.Schema == m.schema && t.Name == m.name {
			return false
		}
	}
	return true
}

// next returns the next batch. The refetching runs on the caller's goroutine.
func (s *stream) next(ctx context.Context) (*batch, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if s.held == nil {
			s.held = s.take()
		}
		if b := s.held; b != nil {
			if len(b.incomplete) > 0 && s.refetch != nil {
				if err := s.refetch(ctx, b); err != nil {
					if ctx.Err() != nil {
						return nil, ctx.Err()
					}
					return nil, err
				}
			}
			s.held = nil
			return b, nil
		}
		select {
		case <-s.ready:
		case <-s.done:
			if s.held = s.take(); s.held != nil {
				continue
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			return nil, s.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// refused returns the refusal that run has ended with, nil when it runs or has
// ended for another reason.
func (s *stream) refused() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if replication.IsRefusal(s.err) {
		return s.err
	}
	return nil
}

// take takes the batch if it is worth it.
func (s *stream) take() *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.worth(time.Now()) {
		return nil
	}
	b := s.cur
	s.cur = nil
	b.Open = len(b.Changes) > b.whole
	if b.Open {
		s.partly = true
	} else if b.end != 0 {
		s.partly = false
	}
	if b.end != 0 {
		b.Position = s.positions.at(b.end)
		s.handed, s.handedAt, s.prompt = b.end, time.Now(), false
	}
	signal(s.space)
	return b
}

// worth reports whether there is something to take. Changes are, at the end of
// a transaction, or when they are many. A Position alone is not, unless it is the
// end of a transaction that was handed out, or the last one is long ago or far
// behind.
func (s *stream) worth(now time.Time) bool {
	b := s.cur
	switch {
	case b == nil:
		return false
	case len(b.Changes) > 0:
		return b.whole > 0 || !s.inTx || b.Size() >= handOver || b.Full() || s.err != nil
	}
	return b.end > s.handed &&
		(s.prompt || s.partly || now.Sub(s.handedAt) >= idleInterval || b.end-s.handed >= idleBytes)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// ack says that everything before lsn is safe.
func (s *stream) ack(lsn pglogrepl.LSN) {
	for {
		old := s.acked.Load()
		if uint64(lsn) <= old {
			return
		}
		if s.acked.CompareAndSwap(old, uint64(lsn)) {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wire != nil && s.wire.asked.Load() {
		s.wire.wake()
	}
}

// close ends the stream, tells the server the last ack, and waits for the
// goroutine; when ctx ends first, the connection is cut.
func (s *stream) close(ctx context.Context) error {
	s.mu.Lock()
	if s.wait == nil {
		s.wait = ctx
	}
	s.mu.Unlock()
	s.cancel(errClosing)
	<-s.done // session.end watches ctx
	return ctx.Err()
}

// errClosing ends run because close was called.
var errClosing = errors.New("stream is closed")

// run connects, receives, and does so again after errors that pass.
func (s *stream) run(ctx context.Context) {
	defer close(s.done)
	defer s.progress.restart()
	var retry pace.Backoff
	down := false // the state as it was logged last
	for {
		end := s.dec.end
		err := s.session(ctx, func() {
			if down {
				s.log.Info("replication connection is back", "slot", s.cfg.Slot, "lsn", s.dec.end.String(), "attempts", retry.Attempts)
			}
			down = false
		})
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if s.connected.Swap(false) && s.dec.end != end {
			retry = pace.Backoff{} // it got somewhere
		}
		if ctx.Err() != nil || !s.retriable(err, &retry) {
			err = s.explain(ctx, err)
			s.mu.Lock()
			s.err = err
			s.mu.Unlock()
			return
		}
		if errors.Is(err, errWhole) {
			s.log.Info(err.Error(), "up_to", s.whole.String())
		} else if errors.Is(err, errProgress) {
			s.log.Debug(err.Error())
		} else if !down {
			s.log.Warn("replication connection is lost, reconnecting", "slot", s.cfg.Slot, "error", err)
			down = true
		}
		s.dec.restart()
		s.progress.restart()
		s.mu.Lock()
		s.inTx = s.dec.open()
		s.mu.Unlock()
		if !retry.Sleep(ctx) {
			continue // closing: session notices
		}
	}
}

// retriable reports whether to try again after err. A slot in use is waited
// for: at the start for as long as configured, after a lost connection also for
// as long as the server may take to notice the loss.
func (s *stream) retriable(err error, retry *pace.Backoff) bool {
	if sqlState(err) != codeInUse {
		retry.Since = time.Time{}
		return transient(err) || errors.Is(err, errWhole) || errors.Is(err, errProgress)
	}
	if retry.Since.IsZero() {
		retry.Since = time.Now()
	}
	patience := s.cfg.SlotWait
	if s.received.Load() != 0 {
		patience += 90 * time.Second
	}
	return time.Since(retry.Since) < patience
}

// session is one connection, from its start to its error. up is called when it
// streams.
func (s *stream) session(ctx context.Context, up func()) error {
	wire, err := s.connect(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.wire = wire
	s.mu.Unlock()
	s.connected.Store(true)
	up()
	err = s.receive(ctx, wire)
	s.mu.Lock()
	s.wire = nil
	wait := s.wait
	s.mu.Unlock()
	if ctx.Err() != nil && wait != nil {
		if err := wire.end(wait, pglogrepl.LSN(s.acked.Load())); err != nil {
			s.log.Debug("replication connection did not end in order", "error", err)
		}
		return errClosing
	}
	wire.conn.Close()
	return err
}

// connect checks the slot and begins to stream at the decoder's end.
func (s *stream) connect(ctx context.Context) (*walConn, error) {
	if err := s.checkSlot(ctx); err != nil {
		return nil, err
	}
	conn, err := s.cfg.connectReplication(ctx, withLowWater)
	if err != nil {
		return nil, err
	}
	if err := s.follow(ctx, conn); err != nil {
		closeSoon(ctx, conn)
		return nil, err
	}
	streaming := !s.cfg.NoStreaming && s.dec.end > s.whole
	if streaming {
		if err := sendSooner(ctx, conn); err != nil {
			closeSoon(ctx, conn)
			return nil, err
		}
	}
	w, err := startReplication(ctx, conn, s.cfg.Slot, s.cfg.pluginOptions(streaming), s.dec.end)
	if err == nil {
		w.streaming = streaming
	}
	return w, err
}

// checkSlot refuses what would leave changes out: the server begins at the
// slot's own point when that is later than ours, without a word, and a server
// whose log is shorter than what we have read (a standby that took over, a
// restored backup) has other changes at the positions that we would skip.
func (s *stream) checkSlot(ctx context.Context) error {
	slot, database, err := s.slot(ctx)
	if err != nil {
		return err
	}
	var end *string // none on a standby, whose end may go back for a while
	err = s.catalog.s.do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_flush_lsn() END::text`).Scan(&end)
	})
	if err != nil {
		return err
	}
	if end == nil && s.cfg.awaitsPromotion(slot) {
		return fmt.Errorf("slot %q %w", s.cfg.Slot, errStandby)
	}
	if r := refuseSlot(slot, s.cfg.Slot, database, s.dec.end); r != nil {
		return r
	}
	if end == nil {
		return nil
	}
	lsn, err := pglogrepl.ParseLSN(*end)
	if err == nil && s.dec.end > lsn {
		return refuseBeyond(s.dec.end, lsn)
	}
	return err
}

// slot looks the slot up, with the name of the database.
func (s *stream) slot(ctx context.Context) (slot *slotInfo, database string, err error) {
	err = s.catalog.s.do(ctx, func(conn *pgx.Conn) error {
		database = conn.Config().Database
		slot, err = readSlot(ctx, conn, s.cfg.Slot)
		return err
	})
	return slot, database, err
}

// explain makes of an error of the server a refusal: trying again did not help
// or would not.
func (s *stream) explain(ctx context.Context, err error) error {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || replication.IsRefusal(err) || ctx.Err() != nil {
		return err
	}
	if e.Code == codeInUse {
		if slot, _, err := s.slot(ctx); err == nil && slot != nil && slot.ActivePID != 0 {
			return refuseActive(slot)
		}
	}
	if e.Code == codeUndefinedObject && strings.Contains(e.Routine, "publication") { // messages are in the server's language
		return &replication.Refusal{
			Problem: fmt.Sprintf("publication %q does not exist at the place of the log where reading is to go on: it was dropped, even if there is one of its name again; the changes since then are missing", s.cfg.Publication),
			Remedy:  again,
			Err:     err,
		}
	}
	return &replication.Refusal{
		Problem: fmt.Sprintf("postgres does not stream publication %q from slot %q", s.cfg.Publication, s.cfg.Slot),
		Remedy:  "run cdc check with this configuration: it looks at the slot, the publication and the role",
		Err:     err,
	}
}
