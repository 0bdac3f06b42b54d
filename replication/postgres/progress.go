package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
)

// This file reads what protocol version 2 adds: transactions that the server
// sends while they are in progress, because they are too large for its memory
// (logical_decoding_work_mem). PostgreSQL manual, "Logical Replication Message
// Formats" and "Streaming of Large Transactions for Logical Decoding".
//
// A transaction comes in blocks, between Stream Start and Stream Stop; blocks of
// several transactions take turns, and between them come whole transactions.
// Each message in a block has the xid of its subtransaction behind its kind,
// else it is as in version 1. Stream Abort takes one subtransaction back, or the
// whole transaction. Stream Commit stands where the commit does in the log, so
// that transactions are in the order of their commits whichever way they came.
//
// A relation message inside a block holds for its transaction alone, until that
// has committed: the server tells other transactions on their own, and this one
// again after an abort. So it stays at its place among the rows.
const (
	msgStreamStart  = 'S'
	msgStreamStop   = 'E'
	msgStreamCommit = 'c'
	msgStreamAbort  = 'A'
)

// progress spools the transactions in progress. It is pure, as the decoder.
type progress struct {
	spools *spools
	block  *spool // of the block that is open, or nil
}

// streamCommit says that a transaction in progress has committed.
type streamCommit struct {
	spool       *spool
	commit, end pglogrepl.LSN
	time        int64 // microseconds since pgEpoch
}

// takes reports whether a message of that kind, which is not empty, is for
// decode.
func (p *progress) takes(kind byte) bool {
	if p.block != nil {
		return true
	}
	switch kind {
	case msgStreamStart, msgStreamStop, msgStreamCommit, msgStreamAbort:
		return true
	}
	return false
}

// errWhole ends a connection because there is something in the log that the
// server cannot send while it is in progress: it is read again whole.
//
//   - A message carries the xid of its transaction, not of its subtransaction
//     (up to PostgreSQL 18 at least). When a subtransaction is aborted after it,
//     nobody knows whether the message goes, too.
//   - A table that a subtransaction rewrote and left behind (TRUNCATE, ROLLBACK
//     TO SAVEPOINT) makes the server fail now and then with an internal error
//     ("could not map filenode … to relation OID"), seen on PostgreSQL 14 to 18.
var errWhole = errors.New("transactions are read whole for a while")

// errProgress ends a connection so that the next one has transactions come in
// progress again.
var errProgress = errors.New("transactions may come in progress again")

// wholeFor is how long a connection reads whole at least: the next one has the
// server read its log again from the oldest open transaction on.
const wholeFor = 10 * time.Minute

// restart drops everything: a new connection sends it again.
func (p *progress) restart() {
	p.block = nil
	p.spools.clear()
}

// decode takes a message, whose body it may overwrite. When that is a commit,
// the caller reads the spool, and ends it.
func (p *progress) decode(body []byte) (*streamCommit, error) {
	done, err := p.message(body)
	if err != nil {
		if p.block != nil {
			return nil, fmt.Errorf("decode message %q of transaction %d in progress: %w", body[0], p.block.xid, err)
		}
		return nil, fmt.Errorf("decode message %q: %w", body[0], err)
	}
	return done, nil
}

func (p *progress) message(body []byte) (*streamCommit, error) {
	c := cursor{B: body}
	kind := c.U8()
	if p.block != nil {
		return nil, p.inBlock(kind, body, &c)
	}
	switch kind {
	case msgStreamStart:
		xid, first := c.BE32(), c.U8()
		if err := c.Finish(); err != nil {
			return nil, err
		}
		return nil, p.start(xid, first != 0)
	case msgStreamCommit:
		done := &streamCommit{spool: p.spools.open[c.BE32()]}
		c.U8() // flags, none defined
		done.commit, done.end, done.time = pglogrepl.LSN(c.BE64()), pglogrepl.LSN(c.BE64()), int64(c.BE64())
		if err := c.Finish(); err != nil {
			return nil, err
		}
		if done.spool == nil {
			return nil, fmt.Errorf("transaction %d was not begun", binary.BigEndian.Uint32(body[1:]))
		}
		return done, nil
	case msgStreamAbort:
		xid, sub := c.BE32(), c.BE32()
		if len(c.B) > 0 { // where and when: version 4 with streaming 'parallel'
			c.BE64()
			c.BE64()
		}
		if err := c.Finish(); err != nil {
			return nil, err
		}
		p.abort(xid, sub)
		return nil, nil
	}
	return nil, errors.New("message is outside a block")
}

func (p *progress) start(xid uint32, first bool) error {
	s := p.spools.open[xid]
	switch {
	case first && s != nil:
		return fmt.Errorf("transaction %d begins twice", xid)
	case first:
		s = p.spools.begin(xid)
	case s == nil:
		return fmt.Errorf("transaction %d was not begun", xid)
	}
	p.block = s
	return nil
}

// inBlock takes a message of the open block.
func (p *progress) inBlock(kind byte, body []byte, c *cursor) error {
	switch kind {
	case msgStreamStop:
		p.block = nil
		return c.Finish()
	case msgOrigin: // without an xid
		c.BE64()
		c.CString()
		return c.Finish()
	case msgRelation, msgInsert, msgUpdate, msgDelete, msgTruncate, msgMessage:
	case msgType:
		return nil // not used
	default:
		return errors.New("message does not belong into a block")
	}
	xid := c.BE32()
	if c.Err != nil {
		return c.Err
	}
	p.block.messages = p.block.messages || kind == msgMessage
	body[4] = kind
	p.spools.add(p.block, xid, body[4:])
	return nil
}

// abort drops the subtransaction sub, or all when that is the transaction. Of
// one that is unknown nothing was sent.
func (p *progress) abort(xid, sub uint32) {
	s := p.spools.open[xid]
	switch {
	case s == nil:
	case sub == xid:
		p.spools.end(s)
	default:
		s.abort(sub)
	}
}
