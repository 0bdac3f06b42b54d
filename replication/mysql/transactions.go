package mysql

import (
	"errors"

	gorepl "github.com/go-mysql-org/go-mysql/replication"

	"cdc/replication"
)

// transaction is the one that is being read.
type transaction struct {
	open   bool // a GTID has come, its end has not
	begun  bool // it is more than one statement
	rows   bool // changes of captured tables have come
	xa     bool // it is going to be prepared
	replay bool // its rows are those of one that was prepared
	void   bool // its statement is one that does nothing yet, or nothing any more
	// captured is a captured table that it changed while it was to be prepared.
	captured *replication.Table
	id       txID
	time     int64 // of its commit, microseconds since 1970 UTC
	index    uint64
	pass     uint64 // changes to pass over: they were handed out already
	thread   int64  // the session that wrote it, and 1; 0 when the log does not tell
	serial   uint64
	added    []string // tables of which a first row has come with the columns added
	sum      uint32   // eventSum of its begin; 0 when it is not known where it stands
}

// transactionBegins reads the event that begins a transaction.
func (r *reader) transactionBegins(h header, body []byte, start uint64) error {
	id, err := readID(h, body)
	if err != nil {
		return err
	}
	if err := r.begin(id.txID, id.committed, start); err != nil {
		return err
	}
	if r.tx.pass > 0 && h.end != 0 && r.another() {
		return refuseTorn(string(r.tx.id.append(nil)), nil)
	}
	if h.kind == gorepl.MARIADB_GTID_EVENT {
		r.tx.begun, r.tx.xa, r.tx.void = !id.standalone, id.preparedXA, id.half
	}
	if h.end != 0 {
		r.tx.sum = eventSum(h, body)
	}
	return nil
}

// beginning is what the event says that begins a transaction.
type beginning struct {
	txID
	committed  int64 // microseconds since 1970 UTC
	standalone bool  // MariaDB: it is one statement
	preparedXA bool  // MariaDB: it is prepared, not committed
	// half, of MariaDB: its statement is an ALTER TABLE that begins, or that failed
	// after it had begun. One that is done stands in the log once more.
	half bool
}

// readID reads such an event. The form, the file and the offset of the id are
// left to the caller.
func readID(h header, body []byte) (beginning, error) {
	switch h.kind {
	case gorepl.GTID_TAGGED_LOG_EVENT:
		return readTagged(body)
	case gorepl.MARIADB_GTID_EVENT:
		return readMaria(h, body)
	default:
		return readGTID(h, body)
	}
}

// readGTID reads what begins every transaction of MySQL: MySQL source,
// "Gtid_event".
func readGTID(h header, body []byte) (id beginning, err error) {
	c := cursor{B: body}
	c.U8() // flags
	copy(id.source.sid[:], c.Bytes(16))
	id.gno = int64(c.LE64())
	id.committed = int64(h.time) * 1e6
	if len(c.B) >= 17+7 && c.U8() == 2 { // logical clock, then the commit's time
		c.LE64()
		c.LE64()
		if t := c.LE(7); t != 0 {
			id.committed = int64(t & (1<<55 - 1))
		}
	}
	return id, c.Err
}

// readTagged reads the same of a GTID with a tag, for which MySQL has another
// encoding.
func readTagged(body []byte) (id beginning, err error) {
	defer func() {
		if recover() != nil { // the library's decoder is not made for bad input
			err = errShort
		}
	}()
	var e gorepl.GtidTaggedLogEvent
	if err := e.Decode(body); err != nil {
		return id, err
	}
	id.source.tag, id.gno = e.Tag.String(), e.GNO
	copy(id.source.sid[:], e.SID)
	id.committed = int64(e.ImmediateCommitTimestamp)
	return id, nil
}

// readMaria reads what begins every transaction of MariaDB: MariaDB source,
// "Gtid_log_event".
func readMaria(h header, body []byte) (id beginning, err error) {
	const (
		standalone, groupCommit, preparedXA, completedXA = 1, 2, 64, 128
		startAlter, rollbackAlter                        = 2, 8 // of the second flags
	)
	c := cursor{B: body}
	id.maria = mariaGTID{server: h.server, seq: c.LE64()}
	id.domain = c.LE32()
	flags := c.U8()
	id.committed = int64(h.time) * 1e6
	id.standalone, id.preparedXA = flags&standalone != 0, flags&preparedXA != 0
	if c.Err != nil {
		return id, c.Err
	}
	if flags&groupCommit != 0 {
		c.LE64()
	}
	if flags&(preparedXA|completedXA) != 0 {
		c.LE32() // the format
		c.Bytes(uint64(c.U8()) + uint64(c.U8()))
	}
	if len(c.B) > 0 && c.Err == nil { // older servers have none
		id.half = c.U8()&(startAlter|rollbackAlter) != 0
	}
	return id, nil
}

// begin opens a transaction.
func (r *reader) begin(id txID, committed int64, start uint64) error {
	if r.tx.open {
		return errors.New("a transaction begins inside of another")
	}
	id.form, id.file, id.offset = r.done.form, r.file, start
	if id.form != placeGTID {
		id.source, id.gno = gtidSource{}, 0
	}
	if id.form != placeMaria {
		id.maria, id.domain = mariaGTID{}, 0
	}
	if id.form == placeGTID && id.gno == 0 {
		return refuse("the log holds a transaction without a GTID, though gtid_mode is ON", "let gtid_mode be ON on every server that this one replicates from, then begin again with a new snapshot: cdc drop", nil)
	}
	r.serial++
	r.tx = transaction{open: true, id: id, time: committed, serial: r.serial}
	if r.resume.count > 0 && sameTx(&id, &r.resume.id) {
		r.tx.pass = r.resume.count
		r.resume.count = 0
	}
	return nil
}

// another reports whether the transaction at hand is not the one of which changes
// were handed out before the connection broke, though it has its number: a crash
// took that one, or its end, so the server does not send it again, and numbers the
// next one as it did that. One server's transaction stays where it is in its log.
func (r *reader) another() bool {
	now, then := &r.tx.id, &r.resume.id
	return r.server != "" && r.server == r.resume.server && (now.file != then.file || uint32(now.offset) != uint32(then.offset))
}

// sameTx reports whether two ids name one transaction, on whatever server.
func sameTx(a, b *txID) bool {
	if a.form != b.form {
		return false
	}
	switch a.form {
	case placeGTID:
		return a.source == b.source && a.gno == b.gno
	case placeMaria:
		return a.domain == b.domain && a.maria == b.maria
	default:
		return a.file == b.file && a.offset == b.offset
	}
}

// commit ends the transaction: what comes next is a boundary.
func (r *reader) commit() error {
	if !r.tx.open {
		return nil // of a log that was joined in the middle: nothing of it was read
	}
	if r.tx.captured != nil {
		return r.refuseXA(r.tx.captured)
	}
	switch r.done.form {
	case placeGTID:
		r.done.mysql.add(r.tx.id.source, r.tx.id.gno)
	case placeMaria:
		r.done.maria[r.tx.id.domain] = r.tx.id.maria
	case placeFile:
		// A place beyond 4 GiB cannot be asked for: the next file begins a boundary.
		if r.offset <= 0xffffffff {
			r.done.file, r.done.offset = r.file, r.offset
		}
	}
	// What lies beyond 4 GiB cannot be asked for.
	if id := &r.tx.id; r.tx.sum != 0 && r.server != "" && id.offset <= 0xffffffff {
		r.done.seen = witness{server: r.server, file: id.file, offset: id.offset, sum: r.tx.sum}
	}
	if len(r.tx.added) > 0 {
		r.settle(r.tx.added)
	}
	r.done.prepared = r.undecided
	r.tx = transaction{}
	r.group = group{}
	clear(r.tables)
	r.bound()
	return nil
}
