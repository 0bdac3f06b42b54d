package mysql

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cdc/replication"
	"cdc/replication/pace"
)

// A Position without changes is handed out this often, or when this many bytes
// of log have gone by, so that what is saved stays ahead of what is purged.
const (
	idleInterval = 10 * time.Second
	idleBytes    = 16 << 20
	// handOver is how many bytes of an unfinished transaction are worth waking
	// the consumer; its rest is on the way.
	handOver = 64 << 10

	heartbeat = 5 * time.Second // of the server, when it has nothing to send
	silence   = 30 * time.Second
)

// stream reads the log. One goroutine, run, owns the connection and the reader;
// next takes what it has decoded. Between them stands one batch: run fills it
// until it is full, next takes it as soon as it is worth it.
type stream struct {
	cfg    *Config
	log    *slog.Logger
	pool   *batchPool
	reader *reader // of run; its done and marks under mu

	cancel context.CancelFunc
	done   chan struct{} // closed when run has ended
	ready  chan struct{} // token: there is something to take
	space  chan struct{} // token: the batch was taken
	look   *time.Timer   // of next
	idle   time.Duration

	mu       sync.Mutex
	cur      *batch // nil when next took it
	held     bool   // cur is not to be taken
	missed   bool   // a boundary came while there was no batch
	bounds   int    // boundaries that have been read
	handed   int    // of these, the newest that next has handed out
	handedAt time.Time
	bytes    int64 // of log since then
	partly   bool  // next has handed out a transaction, but not its end
	owed     bool  // the newest boundary is to be handed out before err
	err      error // why run has ended
	conn     *conn

	connected atomic.Bool
}

// startStream begins to stream at from. The caller closes the stream.
func startStream(cfg *Config, sh *shapes, from place, m *marks, fold bool, pool *batchPool) *stream {
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{
		cfg: cfg, log: cfg.Logger, pool: pool, reader: newReader(cfg, sh, from.clone(), m), cancel: cancel,
		done: make(chan struct{}), ready: make(chan struct{}, 1), space: make(chan struct{}, 1), handedAt: time.Now(),
		idle: cmp.Or(cfg.IdleInterval, idleInterval),
	}
	s.look = time.NewTimer(s.idle)
	s.reader.room, s.reader.aside, s.reader.hold, s.reader.bound, s.reader.undo, s.reader.fold = s.room, s.aside, s.hold, s.bound, s.undo, fold
	go s.run(ctx)
	return s
}

// next returns the next batch. It looks now and then by itself: a Position alone
// may be worth taking without another event.
func (s *stream) next(ctx context.Context) (*batch, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if b := s.take(); b != nil {
			return b, nil
		}
		s.look.Reset(s.idle)
		select {
		case <-s.ready:
		case <-s.look.C:
		case <-s.done:
			if b := s.take(); b != nil {
				return b, nil
			}
			return s.last(ctx)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// last returns what comes when run has ended and all is taken: its error, and
// before that the Position that is owed.
func (s *stream) last(ctx context.Context) (*batch, error) {
	s.mu.Lock()
	b, owed, err := s.cur, s.owed && s.bounds > s.handed, s.err
	s.cur, s.owed = nil, false
	s.mu.Unlock()
	switch {
	case !owed && b != nil:
		b.Release()
		return nil, err
	case !owed:
		return nil, err
	case b == nil:
		if b, err = s.pool.Get(ctx); err != nil {
			return nil, err
		}
	}
	b.Open, b.Position = true, s.reader.marks.text.at(&s.reader.done)
	return b, nil
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
	} else if b.bounded {
		s.partly = false
	}
	// The reader's place is the newest boundary, and that is in b. One that comes
	// before the begin of a large transaction is left to the batch with its end.
	if b.bounded && (b.whole > 0 || len(b.Changes) == 0) {
		b.Position = s.reader.marks.text.at(&s.reader.done)
		s.handed, s.handedAt, s.bytes = s.bounds, time.Now(), 0
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
	case b == nil || s.held:
		return false
	case len(b.Changes) > 0:
		return b.whole > 0 || !s.reader.tx.open || b.Size() >= handOver || b.Full() || s.err != nil
	}
	return b.bounded && s.bounds > s.handed && (s.partly || now.Sub(s.handedAt) >= s.idle || s.bytes >= idleBytes)
}

// bound notes a boundary between transactions.
func (s *stream) bound() {
	s.bounds++
	s.reader.marks.pass(&s.reader.done)
	if s.cur != nil {
		s.cur.bound()
	} else {
		s.missed = true
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// close ends the stream and waits for its goroutine.
func (s *stream) close() {
	s.cancel()
	<-s.done
}

// errClosing ends run because close was called.
var errClosing = errors.New("stream is closed")

// run connects, receives, and does so again after errors that pass.
func (s *stream) run(ctx context.Context) {
	defer close(s.done)
	defer s.reader.close()
	var retry pace.Backoff
	down := false // the state as it was logged last
	for {
		bounds := s.bounds
		err := s.connection(ctx, func() {
			if down {
				s.log.Info("connection to the log is back", "place", s.reader.done.String(), "attempts", retry.Attempts)
			}
			down = false
		})
		if ctx.Err() != nil {
			err = errClosing
		}
		if torn(err) {
			s.mu.Lock()
			err = cmp.Or(s.undo(err), err)
			s.mu.Unlock()
		}
		got := s.connected.Swap(false) && s.bounds != bounds // somewhere
		if got {
			retry = pace.Backoff{}
		}
		if errors.Is(err, errClosing) || !s.retriable(err, &retry) && !(got && torn(err)) {
			s.mu.Lock()
			s.err = s.explain(err)
			s.mu.Unlock()
			return
		}
		if !down {
			s.log.Warn("connection to the log is lost, reconnecting", "error", err)
			down = true
		}
		s.mu.Lock()
		s.reader.restart()
		s.mu.Unlock()
		if !retry.Sleep(ctx) {
			continue // closing: connection notices
		}
	}
}

// errInUse says that somebody else reads under our server id; errBehind that the
// server has not come as far as we have.
var (
	errInUse  = errors.New("the server id is in use")
	errBehind = errors.New("the server has not come as far as the position")
)

// retriable reports whether to try again after err.
func (s *stream) retriable(err error, retry *pace.Backoff) bool {
	if !errors.Is(err, errInUse) && !errors.Is(err, errBehind) {
		retry.Since = time.Time{}
		return transient(err)
	}
	if retry.Since.IsZero() {
		retry.Since = time.Now()
	}
	return time.Since(retry.Since) < s.cfg.IDWait
}

// torn reports whether the server came to the begin of an event that it was
// writing when it crashed, and that MariaDB leaves at the end of the file.
func torn(err error) bool {
	return errorCode(err) == codeBinlogFatal && strings.Contains(err.Error(), "truncated in the middle of event")
}

// undo takes back the changes of a transaction of which a torn log has the begin
// only: it never committed, and the next one gets its number. What was handed out
// already cannot be taken back: that is a refusal. s.mu is held.
func (s *stream) undo(cause error) error {
	tx, here := &s.reader.tx, 0
	if s.cur != nil {
		here = len(s.cur.Changes) - s.cur.whole
		clear(s.cur.Changes[s.cur.whole:])
		s.cur.Changes = s.cur.Changes[:s.cur.whole]
	}
	out := tx.open && tx.index+tx.pass > uint64(here)
	id := string(tx.id.append(nil))
	tx.index, tx.pass = 0, 0 // restart would pass over as many
	if out {
		// From the boundary before it the server goes on behind it; from an earlier
		// one the same would come again.
		s.owed = true
		return refuseTorn(id, cause)
	}
	if tx.open {
		s.log.Warn("the server crashed while it wrote a transaction to its log, which never committed and is passed over", "transaction", id)
	}
	return nil
}

// refuseTorn: what was handed out cannot be taken back.
func refuseTorn(id string, cause error) error {
	return refuse(fmt.Sprintf("the server crashed while it wrote transaction %s to its log, and changes of it were published: it never committed", id),
		"start cdc again, which goes on behind it; the changes of that transaction stay where they were published: cdc drop begins again with a new snapshot", cause)
}

// connection is one connection, from its start to its error. up is called when
// it streams.
func (s *stream) connection(ctx context.Context, up func()) error {
	c, err := s.cfg.connect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		c.Close()
		s.cfg.giveUpID(c.GetConnectionID())
	}()
	server, err := s.cfg.prepareDump(ctx, c, &s.reader.done)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, c.cut)
	defer stop()
	s.mu.Lock()
	s.conn = c
	s.reader.use(&server, c.host)
	s.mu.Unlock()
	s.connected.Store(true)
	up()
	err = s.receive(ctx, newPackets(c, silence))
	s.mu.Lock()
	s.conn = nil
	s.mu.Unlock()
	return err
}

// receive reads the log until an error, or the end of ctx.
func (s *stream) receive(ctx context.Context, p *packets) error {
	for {
		b, err := p.next() // whole: nothing waits for the network while s.mu is held
		if err != nil {
			return err
		}
		s.mu.Lock()
		err = s.drain(ctx, p, b)
		worth := s.worth(time.Now())
		s.mu.Unlock()
		if worth {
			signal(s.ready)
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// drain decodes b and the events that have arrived after it, while s.mu is held.
func (s *stream) drain(ctx context.Context, p *packets, b []byte) error {
	for {
		if _, err := s.room(ctx); err != nil {
			return err
		}
		if len(b) == 0 {
			return fmt.Errorf("read the log: %w", errShort)
		}
		switch b[0] {
		case 0x00:
			s.bytes += int64(len(b))
			if err := s.reader.take(ctx, b[1:]); err != nil {
				return err
			}
		case 0xff:
			return serverError(b)
		case 0xfe:
			return fmt.Errorf("the server ended the log: %w", io.ErrUnexpectedEOF)
		default:
			return fmt.Errorf("read the log: a packet begins with %#x", b[0])
		}
		if !p.arrived() {
			return nil
		}
		var err error
		if b, err = p.next(); err != nil {
			return err
		}
	}
}

// room returns the batch, when there is one that is not full. s.mu is held
// before and after, not while waiting.
func (s *stream) room(ctx context.Context) (*batch, error) {
	for {
		if s.cur == nil {
			if s.cur = s.pool.TryGet(); s.cur != nil && s.missed {
				s.cur.bounded, s.missed = true, false
			}
		}
		if s.cur != nil && s.cur.Full() && len(s.cur.Changes) == 0 {
			// Of rows that were passed over: nobody would come to take them.
			s.cur.Empty()
			s.cur.tx, s.cur.txSerial = nil, 0
		}
		if s.cur != nil && !s.cur.Full() {
			return s.cur, nil
		}
		if s.cur != nil {
			signal(s.ready)
		}
		s.mu.Unlock()
		var err error
		select {
		case <-s.space:
		case <-s.pool.Freed():
		case <-ctx.Done():
			err = ctx.Err()
		}
		s.mu.Lock()
		if err != nil {
			return nil, err
		}
	}
}

// aside runs f while s.mu is free.
func (s *stream) aside(f func() error) error {
	if s.worth(time.Now()) {
		signal(s.ready)
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	return f()
}

// hold runs f, which may change the batch, while s.mu is free.
func (s *stream) hold(f func() error) error {
	s.held = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.held = false
	}()
	return f()
}

// explain makes of an error of the server a refusal: trying again did not help
// or would not.
func (s *stream) explain(err error) error {
	if errors.Is(err, errClosing) || replication.IsRefusal(err) {
		return err
	}
	return s.cfg.explain(err, &s.reader.done)
}
