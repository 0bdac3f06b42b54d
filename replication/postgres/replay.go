package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// takeProgress takes a message of a transaction in progress. s.mu is held before
// and after; s.cur may be gone afterwards.
func (s *stream) takeProgress(ctx context.Context, w *walConn, body []byte) error {
	done, err := s.progress.decode(body)
	switch {
	case err != nil:
		return err
	case done != nil:
		return s.replay(ctx, w, done)
	case s.progress.spools.over():
		s.mu.Unlock()
		err = s.progress.spools.spill()
		s.mu.Lock()
	}
	return err
}

// replay decodes a transaction that was in progress, now that it has committed:
// from here on all is as if it came whole at this place, and the server, which
// waits meanwhile, is told as usual that somebody is there. s.mu is held before
// and after.
func (s *stream) replay(ctx context.Context, w *walConn, done *streamCommit) error {
	defer s.progress.spools.end(done.spool)
	if done.spool.unclear {
		s.whole = done.commit
		return fmt.Errorf("%w: transaction %d has messages that may have been rolled back", errWhole, done.spool.xid)
	}
	if err := s.dec.enter(done.spool.xid, done.commit, done.time); err != nil {
		return err
	}
	r := s.progress.spools.reader(done.spool)
	for {
		if err := s.refill(ctx, w, r); err != nil {
			if errors.Is(err, io.EOF) {
				break
			}
			return err
		}
		for {
			body, owned, ok := r.next()
			if !ok {
				break
			}
			if err := s.makeRoom(ctx, w); err != nil {
				return err
			}
			var err error
			if body[0] == msgRelation {
				err = s.relation(ctx, w, body)
			} else {
				err = s.dec.decode(body, owned, s.cur)
			}
			if err != nil {
				return err
			}
		}
	}
	if err := s.makeRoom(ctx, w); err != nil {
		return err
	}
	s.dec.leave(done.commit, done.end, s.cur)
	return nil
}

// refill gets the next piece of the spool, with s.mu free meanwhile: what is
// decoded may be taken.
func (s *stream) refill(ctx context.Context, w *walConn, r *spoolReader) (err error) {
	s.inTx = s.dec.open()
	now := time.Now()
	if s.worth(now) {
		signal(s.ready)
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	if !now.Before(w.due) {
		if err := s.status(w, now); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return r.fill()
}
