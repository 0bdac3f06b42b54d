package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
)

// lookupTimeout bounds a question to the catalog.
const lookupTimeout = 30 * time.Second

// receive reads the log until an error, or the end of ctx.
func (s *stream) receive(ctx context.Context, w *walConn) error {
	stop := context.AfterFunc(ctx, w.wake)
	defer stop()
	for {
		s.mu.Lock()
		err := s.drain(ctx, w)
		s.inTx = s.dec.open()
		now := time.Now()
		worth := s.worth(now)
		s.mu.Unlock()
		if worth {
			signal(s.ready)
		}
		if err != nil {
			return err
		}
		s.received.Store(uint64(w.received))
		s.serverEnd.Store(max(s.serverEnd.Load(), uint64(w.received)))
		if !now.Before(w.due) || w.asked.Load() && s.acked.Load() > uint64(w.flushed) {
			if err := s.status(w, now); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if w.low != nil {
			w.low.expect(s.progress.block != nil) // whose rows wait for their commit
		}
		if err := w.read(); err != nil {
			return fmt.Errorf("read replication stream: %w", err)
		}
	}
}

// status tells the server what was acknowledged.
func (s *stream) status(w *walConn, now time.Time) error {
	s.statuses.Add(1)
	return w.status(now, pglogrepl.LSN(s.acked.Load()))
}

// drain decodes the messages that have arrived, while s.mu is held.
func (s *stream) drain(ctx context.Context, w *walConn) error {
	for {
		if s.cur == nil || s.cur.Full() {
			if err := s.makeRoom(ctx, w); err != nil {
				return err
			}
		}
		kind, body, owned, ok, err := w.r.next()
		if err != nil || !ok {
			return err
		}
		switch kind {
		case 'd':
			if err := s.copyData(ctx, w, body, owned); err != nil {
				return err
			}
		case 'E':
			err := serverError(body)
			if w.streaming && strings.HasPrefix(sqlState(err), classInternal) {
				s.whole = max(w.received, s.dec.end)
				err = fmt.Errorf("%w: %w", errWhole, err)
			}
			return err
		case 'N', 'S': // a notice, a setting
		case 'c', 'C', 'Z':
			return fmt.Errorf("the server ended the stream: %w", io.ErrUnexpectedEOF)
		default:
			return fmt.Errorf("read replication stream: unexpected message %q", kind)
		}
	}
}

// makeRoom waits until there is a batch that is not full. The status updates go
// on meanwhile, so that a slow consumer does not cost the connection. s.mu is
// held before and after, not while waiting.
func (s *stream) makeRoom(ctx context.Context, w *walConn) error {
	for {
		if s.cur == nil {
			s.cur = s.pool.TryGet()
		}
		if s.cur != nil && !s.cur.Full() {
			return nil
		}
		s.inTx = s.dec.open()
		if s.cur != nil {
			signal(s.ready)
		}
		s.mu.Unlock()
		err := s.waitForRoom(ctx, w)
		s.mu.Lock()
		if err != nil {
			return err
		}
	}
}

func (s *stream) waitForRoom(ctx context.Context, w *walConn) error {
	timer := time.NewTimer(time.Until(w.due))
	defer timer.Stop()
	select {
	case <-s.space:
	case <-s.pool.Freed():
	case now := <-timer.C:
		return s.status(w, now)
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// copyData reads one message of the replication protocol: PostgreSQL manual,
// "Streaming Replication Protocol", XLogData and Primary keepalive message.
func (s *stream) copyData(ctx context.Context, w *walConn, body []byte, owned bool) error {
	c := cursor{B: body}
	switch kind := c.U8(); kind {
	case 'w':
		start := pglogrepl.LSN(c.BE64())
		c.BE64() // end: the same as start, in logical replication
		s.dec.clock = int64(c.BE64())
		if c.Err != nil {
			return fmt.Errorf("read replication stream: %w", c.Err)
		}
		w.received = max(w.received, start)
		if len(c.B) > 0 {
			switch kind := c.B[0]; {
			case s.progress.takes(kind):
				return s.takeProgress(ctx, w, c.B)
			case kind == msgRelation:
				return s.relation(ctx, w, c.B)
			}
		}
		return s.dec.decode(c.B, owned, s.cur)
	case 'k':
		end := pglogrepl.LSN(c.BE64())
		c.BE64() // clock
		reply := c.U8() != 0
		if err := c.Finish(); err != nil {
			return fmt.Errorf("read keepalive: %w", err)
		}
		w.keepalive(time.Now(), end, reply, pglogrepl.LSN(s.acked.Load()))
		s.dec.idle(end, s.cur)
		s.prompt = s.prompt || reply && end > s.handed
		if s.whole != 0 && !w.streaming && s.dec.end > s.whole && !s.dec.open() && time.Since(w.began) >= s.cfg.wholeFor {
			s.whole = 0
			return errProgress
		}
		return nil
	default:
		return fmt.Errorf("read replication stream: unknown kind %q", kind)
	}
}

// relation resolves a relation message. The catalog may take its time: s.mu is
// free meanwhile, and s.cur may be gone afterwards.
func (s *stream) relation(ctx context.Context, w *walConn, body []byte) error {
	m, err := decodeRelation(body)
	if err != nil {
		return err
	}
	s.inTx = s.dec.open()
	xid := s.dec.xid
	if s.worth(time.Now()) {
		signal(s.ready)
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	info, err := s.relations.lookUp(ctx, m, xid, func() error {
		if now := time.Now(); !now.Before(w.due) {
			return s.status(w, now)
		}
		return nil
	})
	var rel *relation
	anew := err == nil && s.isAnew(m, &info)
	if err == nil && !anew {
		rel, err = s.relations.resolve(ctx, m, info)
	}
	if err != nil && errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer from the catalog in %s: %w", lookupTimeout, io.ErrUnexpectedEOF)
	}
	cancel()
	s.mu.Lock()
	if anew {
		return errAnew(m.schema, m.name)
	}
	if err != nil {
		return fmt.Errorf("describe table %s.%s: %w", m.schema, m.name, err)
	}
	s.dec.setRelation(m.oid, rel)
	return nil
}
