package postgres

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pglogrepl"

	"cdc/replication"
)

// This file reads what applications write into the log with
// pg_logical_emit_message: PostgreSQL manual, "Logical Replication Message
// Formats", Message. The server sends them when it is asked to by the option
// messages of pgoutput, which PostgreSQL 14 brought.

const msgMessage = 'M'

// messageTransactional is the flag of a message that belongs to its transaction.
const messageTransactional = 1

// prefixes are the patterns of Config.Messages.
type prefixes struct {
	exact  [][]byte
	starts [][]byte
}

// newPrefixes returns nil when no messages are wanted.
func newPrefixes(patterns []string) *prefixes {
	if len(patterns) == 0 {
		return nil
	}
	p := &prefixes{}
	for _, s := range patterns {
		if start, ok := strings.CutSuffix(s, "*"); ok {
			p.starts = append(p.starts, []byte(start))
		} else {
			p.exact = append(p.exact, []byte(s))
		}
	}
	return p
}

// match reports whether messages with that prefix are wanted.
func (p *prefixes) match(prefix []byte) bool {
	for _, s := range p.exact {
		if string(s) == string(prefix) {
			return true
		}
	}
	for _, s := range p.starts {
		if len(prefix) >= len(s) && string(prefix[:len(s)]) == string(s) {
			return true
		}
	}
	return false
}

// message decodes a message. Every message of a transaction takes a number
// there, wanted or not, so that the numbers do not change with the patterns.
// One outside any transaction is a boundary between transactions: its position
// is the end of its record, where a commit record may begin.
func (d *decoder) message(c *cursor, owned bool, b *batch, wire int) error {
	flags := c.U8()
	lsn := pglogrepl.LSN(c.BE64())
	prefix := c.CString()
	content := c.Bytes(uint64(c.BE32()))
	if err := c.Finish(); err != nil {
		return err
	}
	transactional := flags&messageTransactional != 0
	change := replication.Change{Op: replication.OpMessage}
	switch {
	case flags&^messageTransactional != 0:
		return fmt.Errorf("message has unknown flags %#x", flags)
	case d.messages == nil:
		return errors.New("message was not asked for")
	case transactional && d.commit == 0:
		return errors.New("transactional message outside a transaction")
	case !transactional && d.commit != 0:
		return errors.New("message of no transaction inside one")
	case !transactional && lsn <= d.end:
		return nil // decoded before
	case transactional:
		change.Index = d.index
		d.index++
		if change.Index < d.skip {
			return nil
		}
	}
	if d.messages.match(prefix) {
		if !owned {
			prefix, content = b.Copy(prefix), b.Copy(content)
		}
		change.Message = b.Message()
		*change.Message = replication.Message{Prefix: prefix, Content: content, Transactional: transactional}
		if transactional {
			change.Tx = d.transaction(b)
		} else {
			change.Tx = b.Transaction()
			text := b.Alloc(len("FFFFFFFF/FFFFFFFF"))[:0]
			change.Tx.Commit = slices.Clip(appendLSN(text, lsn))
			change.Tx.CommitTime = d.clock + pgEpoch
		}
		b.Add(change, wire)
	}
	if !transactional && !d.open() {
		d.end = lsn
		b.bound(lsn)
	}
	return nil
}
