package postgres

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/jackc/pglogrepl"

	"cdc/replication"
)

// This file reads the messages of the output plugin pgoutput, protocol version
// 1, with values as text: PostgreSQL manual, "Logical Replication Message
// Formats". Whatever it does not know is an error, never passed over.

// The messages of version 1 but for msgMessage.
const (
	msgBegin    = 'B'
	msgCommit   = 'C'
	msgOrigin   = 'O'
	msgRelation = 'R'
	msgType     = 'Y'
	msgInsert   = 'I'
	msgUpdate   = 'U'
	msgDelete   = 'D'
	msgTruncate = 'T'
)

// pgEpoch is 2000-01-01, where PostgreSQL's clock begins, in microseconds since
// 1970-01-01.
const pgEpoch = 946_684_800 * usPerSecond

// relation is how the rows of one table look on the wire, from one relation
// message to the next.
type relation struct {
	table *replication.Table
	cols  []columnDecoder
	// before is the consistent point of the table's snapshot: the snapshot has
	// what transactions did whose commit record begins before it.
	before pglogrepl.LSN
	// widen returns the table with column i nullable. The catalog is of today:
	// it may say NOT NULL of a column that held NULL at this place of the log.
	widen func(t *replication.Table, i int) *replication.Table
	// refetch says where to read values that the log left out; nil leaves them
	// Unchanged. With omit it serves only rows whose key changed.
	refetch *origin
	omit    bool
}

// origin is the table that a relation message described, so that one which was
// dropped and made anew, or another column of an old name, is not taken for it.
// Immutable.
type origin struct {
	oid   uint32
	types []uint32 // OIDs of the columns' types
}

// decoder turns messages into Changes of a batch. It is pure: no connection, no
// clock. What it holds is the place in the log:
//
//	end       everything whose commit record begins before it has been decoded
//	          whole; a stream may be resumed there
//	commit    the open transaction's commit record, 0 when none is open
//	index     how many changes of the open transaction have been decoded
//	skip      changes of the open transaction with a lower index were decoded
//	          by an earlier connection
type decoder struct {
	rels map[uint32]*relation
	last uint32 // OID of lastRel
	rel  *relation

	end    pglogrepl.LSN
	commit pglogrepl.LSN
	index  uint64
	skip   uint64
	xid    uint32
	time   int64 // of the commit, microseconds since 1970-01-01

	messages *prefixes // that are wanted; nil when the server was not asked for any
	clock    int64     // of the server when it sent what is decoded, microseconds since pgEpoch

	partCommit pglogrepl.LSN // the transaction that a lost connection cut
	partIndex  uint64        // and how many of its changes had been decoded
}

func newDecoder(start pglogrepl.LSN) *decoder {
	return &decoder{end: start, rels: map[uint32]*relation{}}
}

// restart prepares for a new connection that begins to stream at d.end: the
// server tells all relations anew, and sends an open transaction again from its
// beginning.
func (d *decoder) restart() {
	clear(d.rels)
	d.rel = nil
	if d.commit >= d.end && d.commit != 0 {
		d.partCommit, d.partIndex = d.commit, max(d.index, d.skip)
	}
	d.commit, d.index, d.skip = 0, 0, 0
}

// open reports whether a transaction has been decoded in part.
func (d *decoder) open() bool { return d.commit != 0 || d.partCommit != 0 }

// setRelation makes rel what rows of oid look like from here on.
func (d *decoder) setRelation(oid uint32, rel *relation) {
	d.rels[oid] = rel
	d.rel = nil
}

// idle says that the server has sent everything that committed before lsn. It
// reports whether that moved the end, which then is b's.
func (d *decoder) idle(lsn pglogrepl.LSN, b *batch) bool {
	if d.open() || lsn <= d.end {
		return false
	}
	d.end = lsn
	b.bound(lsn)
	return true
}

// decode reads one message other than a relation. With owned the body lives as
// long as b does, else what is needed of it is copied.
func (d *decoder) decode(body []byte, owned bool, b *batch) error {
	c := cursor{B: body}
	var err error
	switch kind := c.U8(); kind {
	case msgInsert, msgUpdate, msgDelete:
		err = d.row(kind, &c, owned, b, len(body))
	case msgBegin:
		err = d.begin(&c)
	case msgCommit:
		err = d.committed(&c, b)
	case msgTruncate:
		err = d.truncate(&c, b)
	case msgMessage:
		err = d.message(&c, owned, b, len(body))
	case msgOrigin:
		c.BE64()
		c.CString()
	case msgType:
		c.BE32()
		c.CString()
		c.CString()
	default:
		err = errors.New("message is not of protocol version 1")
	}
	if err == nil {
		err = c.Finish()
	}
	if err != nil {
		return d.locate(body, err)
	}
	return nil
}

// locate says where err happened.
func (d *decoder) locate(body []byte, err error) error {
	what := "no message"
	if len(body) > 0 {
		what = fmt.Sprintf("message %q", body[0])
	}
	if d.commit == 0 {
		return fmt.Errorf("decode %s after %s: %w", what, d.end, err)
	}
	return fmt.Errorf("decode %s, transaction %d, commit %s, change %d: %w", what, d.xid, d.commit, d.index, err)
}

func (d *decoder) begin(c *cursor) error {
	if d.commit != 0 {
		return errors.New("transaction begins inside another")
	}
	commit := pglogrepl.LSN(c.BE64())
	time := int64(c.BE64())
	xid := c.BE32()
	if c.Err != nil {
		return c.Err
	}
	return d.enter(xid, commit, time)
}

// enter opens the transaction xid that committed at time, in microseconds since
// pgEpoch.
func (d *decoder) enter(xid uint32, commit pglogrepl.LSN, time int64) error {
	if commit == 0 {
		return errors.New("commit position is zero")
	}
	d.xid, d.time = xid, time+pgEpoch
	d.commit, d.index, d.skip = commit, 0, 0
	switch {
	case commit < d.end:
		d.skip = math.MaxUint64 // decoded whole before
	case commit == d.partCommit:
		d.skip = d.partIndex
	}
	return nil
}

func (d *decoder) committed(c *cursor, b *batch) error {
	c.U8() // flags, none defined
	commit := pglogrepl.LSN(c.BE64())
	end := pglogrepl.LSN(c.BE64())
	c.BE64() // the time, as in begin
	switch {
	case c.Err != nil:
		return c.Err
	case d.commit == 0:
		return errors.New("commit outside a transaction")
	case commit != d.commit || end <= commit:
		return fmt.Errorf("commit %s to %s does not fit", commit, end)
	}
	d.leave(commit, end, b)
	return nil
}

// leave closes the open transaction, whose commit record lies between the two.
func (d *decoder) leave(commit, end pglogrepl.LSN, b *batch) {
	d.commit, d.index, d.skip = 0, 0, 0
	if commit >= d.partCommit {
		d.partCommit, d.partIndex = 0, 0
	}
	if end > d.end {
		d.end = end
		b.bound(end)
	}
}

// relation returns the relation of that OID.
func (d *decoder) relation(oid uint32) (*relation, error) {
	if d.rel != nil && d.last == oid {
		return d.rel, nil
	}
	rel := d.rels[oid]
	if rel == nil {
		return nil, fmt.Errorf("relation %d was not described", oid)
	}
	d.rel, d.last = rel, oid
	return rel, nil
}

// next numbers a change of the open transaction and reports whether it is to
// be decoded.
func (d *decoder) next(rel *relation) (index uint64, wanted bool) {
	index = d.index
	d.index++
	return index, index >= d.skip && d.commit >= rel.before
}

// transaction returns the open transaction as b has it.
func (d *decoder) transaction(b *batch) *replication.Transaction {
	if b.tx != nil && b.txCommit == d.commit {
		return b.tx
	}
	t := b.Transaction()
	text := b.Alloc(len("4294967295") + len("FFFFFFFF/FFFFFFFF"))[:0]
	t.ID = strconv.AppendUint(text, uint64(d.xid), 10)
	t.Commit = appendLSN(t.ID[len(t.ID):], d.commit)
	t.ID = slices.Clip(t.ID)
	t.CommitTime = d.time
	b.tx, b.txCommit = t, d.commit
	return t
}

// appendLSN appends lsn's text as the server prints it.
func appendLSN(dst []byte, lsn pglogrepl.LSN) []byte {
	const digits = "0123456789ABCDEF"
	half := func(n uint32) {
		shift := 28
		for shift > 0 && n>>shift == 0 {
			shift -= 4
		}
		for ; shift >= 0; shift -= 4 {
			dst = append(dst, digits[n>>shift&15])
		}
	}
	half(uint32(lsn >> 32))
	dst = append(dst, '/')
	half(uint32(lsn))
	return dst
}

// row decodes an insert, an update or a delete.
func (d *decoder) row(kind byte, c *cursor, owned bool, b *batch, wire int) error {
	oid := c.BE32()
	if c.Err != nil {
		return c.Err
	}
	rel, err := d.relation(oid)
	if err != nil {
		return err
	}
	if d.commit == 0 {
		return errors.New("row outside a transaction")
	}
	index, wanted := d.next(rel)
	if !wanted {
		c.B = nil
		return nil
	}
	if !owned {
		c.B = b.Copy(c.B)
	}
	change := replication.Change{Index: index}
	part := c.U8()
	if kind != msgInsert && (part == 'K' || part == 'O') {
		if change.Before, err = d.tuple(c, rel, part, nil, b); err != nil {
			return err
		}
		if kind == msgUpdate {
			part = c.U8()
		}
	}
	switch kind {
	case msgInsert:
		change.Op = replication.OpInsert
	case msgUpdate:
		change.Op = replication.OpUpdate
	case msgDelete:
		change.Op = replication.OpDelete
		if change.Before == nil && c.Err == nil {
			return fmt.Errorf("table %s: delete without the old row", rel.table)
		}
	}
	if kind != msgDelete {
		if part != 'N' && c.Err == nil {
			return fmt.Errorf("table %s: unknown tuple %q", rel.table, part)
		}
		if change.After, err = d.tuple(c, rel, 'N', change.Before, b); err != nil {
			return err
		}
	}
	if err := c.Finish(); err != nil {
		return fmt.Errorf("table %s: %w", rel.table, err)
	}
	change.Table = rel.table
	change.Tx = d.transaction(b)
	if b.hole {
		b.hole = false
		// A row under a new key is a new one to readers: nothing of it may be missing.
		if rel.refetch != nil && (!rel.omit || change.Before != nil) {
			b.incomplete = append(b.incomplete, hole{int32(len(b.Changes)), rel.refetch})
		}
	}
	b.Add(change, wire)
	return nil
}

// tuple decodes the values of one row: part 'K' has the replica identity only,
// 'O' a whole old row, 'N' a new row. A TOASTed value that stands in neither
// the new tuple nor in old stays Unchanged, and sets b.hole.
func (d *decoder) tuple(c *cursor, rel *relation, part byte, old []replication.Value, b *batch) ([]replication.Value, error) {
	n := int(c.BE16())
	if c.Err == nil && n != len(rel.cols) {
		return nil, fmt.Errorf("table %s: row has %d columns, the relation %d", rel.table, n, len(rel.cols))
	}
	if c.Err != nil {
		return nil, c.Err
	}
	vals := b.Values(n)
	for i := range vals {
		switch kind := c.U8(); kind {
		case 't':
			text := c.Bytes(uint64(c.BE32()))
			if c.Err != nil {
				return nil, c.Err
			}
			v, err := rel.cols[i].decode(text, &b.Arena)
			if err != nil {
				v = invalid(text, err)
			}
			vals[i] = v
		case 'n':
			col := &rel.table.Columns[i]
			if part == 'K' && !col.Identity {
				vals[i] = replication.Unchanged // not logged, which is not NULL
				continue
			}
			vals[i] = replication.Null
			if col.NotNull {
				rel.table = rel.widen(rel.table, i)
			}
		case 'u':
			vals[i] = replication.Unchanged
			if part == 'N' {
				if old != nil && !old[i].IsUnchanged() {
					vals[i] = old[i]
				} else {
					b.hole = true
				}
			}
		default:
			if c.Err != nil {
				return nil, c.Err
			}
			return nil, fmt.Errorf("table %s, column %q: unknown form %q", rel.table, rel.table.Columns[i].Name, kind)
		}
	}
	return vals, nil
}

func (d *decoder) truncate(c *cursor, b *batch) error {
	if d.commit == 0 {
		return errors.New("truncate outside a transaction")
	}
	n := c.BE32()
	c.U8() // CASCADE, RESTART IDENTITY: the tables are all listed
	for range n {
		oid := c.BE32()
		if c.Err != nil {
			return c.Err
		}
		rel, err := d.relation(oid)
		if err != nil {
			return err
		}
		if index, wanted := d.next(rel); wanted {
			b.Add(replication.Change{Op: replication.OpTruncate, Table: rel.table, Tx: d.transaction(b), Index: index}, 4)
		}
	}
	return nil
}

// relationMessage is what the server says of a table before its first row, and
// again after it changed.
type relationMessage struct {
	oid          uint32
	schema, name string
	identity     byte // pg_class.relreplident
	cols         []wireColumn
}

func decodeRelation(body []byte) (*relationMessage, error) {
	c := cursor{B: body}
	c.U8()
	m := &relationMessage{oid: c.BE32(), schema: string(c.CString()), name: string(c.CString()), identity: c.U8()}
	if m.schema == "" {
		m.schema = "pg_catalog" // which the protocol abbreviates
	}
	for range c.BE16() {
		flags := c.U8()
		col := wireColumn{Name: string(c.CString()), TypeOID: c.BE32(), Typmod: int32(c.BE32())}
		if c.Err != nil {
			break
		}
		col.Identity = flags&1 != 0 || m.identity == identityFull
		m.cols = append(m.cols, col)
	}
	if err := c.Finish(); err != nil {
		return nil, fmt.Errorf("decode relation %d: %w", m.oid, err)
	}
	return m, nil
}
