package mysql

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	gorepl "github.com/go-mysql-org/go-mysql/replication"
	"github.com/klauspost/compress/zstd"

	"cdc/replication"
)

// reader turns the events of the log into changes: MySQL manual, "Binary Log
// Event Types"; MariaDB's documentation, "Replication Protocol". It knows no
// connection, and lives as long as the stream. One goroutine owns it.
type reader struct {
	cfg    *Config
	shapes *shapes
	again  refetcher
	// room returns the batch to fill, waiting for one that is not full.
	room func(context.Context) (*batch, error)
	// aside runs f, which may take its time, while the batch is free to be taken.
	aside func(f func() error) error
	// hold runs f, which may take its time and changes the batch.
	hold  func(f func() error) error
	bound func() // done has moved
	// undo takes back the changes of the transaction at hand, which ends here.
	undo func(cause error) error
	fold bool // names of tables are compared without regard to case

	done  place // everything before it is in batches
	marks *marks
	tx    transaction
	// resume is a transaction of which changes have been handed out before the
	// connection broke: as many are passed over when it comes again.
	resume struct {
		id     txID
		server string // whose log it was, "" when it is not known where in it
		count  uint64
	}

	server   string // whose log it is: serverInfo.identity
	file     string // of the next event
	offset   uint64 // and where it begins
	checksum bool
	serial   uint64

	at struct { // the event at hand
		offset uint64 // the last one's when the log does not tell
		time   uint32
		server uint32
		first  uint64                // number of its first change
		log    *replication.LogEvent // in batch
		batch  *batch
	}

	plans  map[string]*logTable // by the table map without its id
	tables map[uint64]*logTable // of the statement at hand
	zlib   io.ReadCloser
	zstd   *zstd.Decoder
	event  []byte // scratch: an event of a compressed transaction

	late    []replication.Change // see addLate
	lacking []int                // of these, what the log left something out of

	undecided []prepared       // the list of done, or of what comes after it
	group     group            // of the transaction at hand, when it is going to be prepared
	kept      map[string]group // by xid
	keptBytes int
	others    map[string]bool // by xid: prepared ones that changed no captured table
}

// logTable is a table of the log.
type logTable struct {
	plan   *plan  // nil: not captured
	mark   string // tableKey
	serial uint64 // the transaction that skip was settled for
	skip   bool   // its changes are in the table's snapshot
}

// maxPlans bounds the table maps that are remembered.
const maxPlans = 20000

func newReader(cfg *Config, sh *shapes, from place, m *marks) *reader {
	return &reader{
		undecided: from.prepared, kept: map[string]group{}, others: map[string]bool{},
		cfg: cfg, shapes: sh, done: from, marks: m, file: from.file, offset: from.offset,
		again: refetcher{cfg: cfg, warned: map[string]bool{}}, plans: map[string]*logTable{}, tables: map[uint64]*logTable{},
	}
}

// restart prepares for the log to come again from r.done.
func (r *reader) restart() {
	if out := r.tx.index + r.tx.pass; r.tx.open && out > 0 {
		r.resume.id, r.resume.server, r.resume.count = r.tx.id, "", out
		if r.tx.sum != 0 {
			r.resume.server = r.server
		}
	}
	r.abandon()
	r.file, r.offset = r.done.file, r.done.offset
	r.checksum = false
}

// use says whose log comes next, and at which of the hosts.
func (r *reader) use(server *serverInfo, host string) {
	r.server = server.identity()
	r.again.use(host)
	if r.shapes.use(server) {
		clear(r.plans)
	}
}

const eventHeader = 19

// header is the frame of an event.
type header struct {
	time   uint32 // seconds since 1970 UTC
	kind   gorepl.EventType
	server uint32
	size   uint32
	end    uint32 // offset of the next event in the file; 0 in artificial ones
	flags  uint16
}

func readHeader(b []byte) (h header, body []byte, err error) {
	if len(b) < eventHeader {
		return h, nil, fmt.Errorf("read event: %w", errShort)
	}
	h = header{
		time: binary.LittleEndian.Uint32(b), kind: gorepl.EventType(b[4]), server: binary.LittleEndian.Uint32(b[5:]),
		size: binary.LittleEndian.Uint32(b[9:]), end: binary.LittleEndian.Uint32(b[13:]), flags: binary.LittleEndian.Uint16(b[17:]),
	}
	return h, b[eventHeader:], nil
}

// take reads one event as the dump sends it. The bytes are the caller's again
// afterwards.
func (r *reader) take(ctx context.Context, b []byte) error {
	h, body, err := readHeader(b)
	if err != nil {
		return err
	}
	if r.checksum && h.kind != gorepl.FORMAT_DESCRIPTION_EVENT {
		if len(body) < 4 {
			return fmt.Errorf("read event: %w", errShort)
		}
		body = body[:len(body)-4]
	}
	start := r.offset
	if h.end != 0 && h.kind != gorepl.HEARTBEAT_EVENT && h.kind != gorepl.HEARTBEAT_LOG_EVENT_V2 && h.kind != gorepl.ROTATE_EVENT {
		// The header holds 32 bits; a file that one transaction made grow may be longer.
		end := r.offset&^0xffffffff | uint64(h.end)
		if end < r.offset && r.offset-end > 1<<31 {
			end += 1 << 32
		}
		r.offset = end
		if start = end - uint64(h.size); start > end {
			start = end
		}
		r.at.offset = start
	}
	r.at.time, r.at.server = h.time, h.server
	if err := r.dispatch(ctx, h, body, start, false); err != nil {
		return fmt.Errorf("log %s:%d, event %s: %w", r.file, start, h.kind, err)
	}
	return nil
}

// dispatch reads one event. With owned the body lives in the batch's arena.
func (r *reader) dispatch(ctx context.Context, h header, body []byte, start uint64, inner bool) error {
	if r.tx.xa {
		if done, err := r.xaRows(ctx, h, body); done || err != nil {
			return err
		}
	}
	if r.tx.replay && !isRows(h.kind) {
		if h.kind != gorepl.TRANSACTION_PAYLOAD_EVENT && h.kind != gorepl.TABLE_MAP_EVENT {
			return nil
		}
	}
	switch h.kind {
	case gorepl.TABLE_MAP_EVENT:
		return r.tableMap(ctx, body)
	case gorepl.WRITE_ROWS_EVENTv1:
		return r.rows(ctx, replication.OpInsert, 1, false, body)
	case gorepl.UPDATE_ROWS_EVENTv1:
		return r.rows(ctx, replication.OpUpdate, 1, false, body)
	case gorepl.DELETE_ROWS_EVENTv1:
		return r.rows(ctx, replication.OpDelete, 1, false, body)
	case gorepl.WRITE_ROWS_EVENTv2:
		return r.rows(ctx, replication.OpInsert, 2, false, body)
	case gorepl.UPDATE_ROWS_EVENTv2:
		return r.rows(ctx, replication.OpUpdate, 2, false, body)
	case gorepl.DELETE_ROWS_EVENTv2:
		return r.rows(ctx, replication.OpDelete, 2, false, body)
	case gorepl.PARTIAL_UPDATE_ROWS_EVENT:
		return r.partialRows(ctx, body)
	case gorepl.MARIADB_WRITE_ROWS_COMPRESSED_EVENT_V1:
		return r.rows(ctx, replication.OpInsert, 1, true, body)
	case gorepl.MARIADB_UPDATE_ROWS_COMPRESSED_EVENT_V1:
		return r.rows(ctx, replication.OpUpdate, 1, true, body)
	case gorepl.MARIADB_DELETE_ROWS_COMPRESSED_EVENT_V1:
		return r.rows(ctx, replication.OpDelete, 1, true, body)
	case gorepl.TRANSACTION_PAYLOAD_EVENT:
		if inner {
			return errors.New("a compressed transaction inside of another")
		}
		return r.payload(ctx, body, start)
	case gorepl.XID_EVENT:
		return r.commit()
	case gorepl.QUERY_EVENT, gorepl.MARIADB_QUERY_COMPRESSED_EVENT, gorepl.EXECUTE_LOAD_QUERY_EVENT:
		return r.query(ctx, h, body)
	case gorepl.XA_PREPARE_LOG_EVENT:
		return r.xaPrepared(ctx, body)
	case gorepl.GTID_EVENT, gorepl.ANONYMOUS_GTID_EVENT, gorepl.GTID_TAGGED_LOG_EVENT, gorepl.MARIADB_GTID_EVENT:
		return r.transactionBegins(h, body, start)
	case gorepl.FORMAT_DESCRIPTION_EVENT:
		return r.format(h, body)
	case gorepl.ROTATE_EVENT:
		return r.rotate(body)
	case gorepl.INCIDENT_EVENT:
		return refuse("the server says that it could not write all changes to its log (an incident)",
			"find the cause in the server's error log, then begin again with a new snapshot: cdc drop", nil)
	case gorepl.STOP_EVENT, gorepl.INTVAR_EVENT, gorepl.RAND_EVENT, gorepl.USER_VAR_EVENT, gorepl.HEARTBEAT_EVENT, gorepl.HEARTBEAT_LOG_EVENT_V2,
		gorepl.IGNORABLE_EVENT, gorepl.ROWS_QUERY_EVENT, gorepl.PREVIOUS_GTIDS_EVENT, gorepl.TRANSACTION_CONTEXT_EVENT, gorepl.VIEW_CHANGE_EVENT,
		gorepl.BEGIN_LOAD_QUERY_EVENT, gorepl.APPEND_BLOCK_EVENT, gorepl.DELETE_FILE_EVENT,
		gorepl.MARIADB_ANNOTATE_ROWS_EVENT, gorepl.MARIADB_BINLOG_CHECKPOINT_EVENT, gorepl.MARIADB_GTID_LIST_EVENT, gorepl.MARIADB_START_ENCRYPTION_EVENT:
		return nil
	default:
		const ignorable = 0x80
		if h.flags&ignorable != 0 {
			return nil
		}
		return errors.New("this version of cdc does not know such events, and must not pass over them")
	}
}

// format reads a FORMAT_DESCRIPTION event, of which the end matters: whether
// the events of the file carry checksums.
//
// It begins a file, unless its offset is 0, as at the begin of a dump. No
// transaction goes on in another file: one that is open was torn by a crash
// (MariaDB source, "Format_description_log_event::do_apply_event").
func (r *reader) format(h header, body []byte) error {
	if len(body) < 5 {
		return errShort
	}
	r.checksum = body[len(body)-5] == 1
	if h.end == 0 || !r.tx.open {
		return nil
	}
	if err := r.undo(nil); err != nil {
		return err
	}
	r.abandon()
	return nil
}

// abandon forgets the transaction at hand, which has no end or comes again.
func (r *reader) abandon() {
	r.tx = transaction{}
	r.late, r.lacking = r.late[:0], r.lacking[:0]
	r.group, r.undecided = group{}, r.done.prepared
	clear(r.tables)
}

// rotate reads a ROTATE event: the name of the file that follows.
func (r *reader) rotate(body []byte) error {
	c := cursor{B: body}
	offset := c.LE64()
	if c.Err != nil {
		return c.Err
	}
	name := string(c.B)
	if r.checksum && len(name) > 4 && r.file != "" && !sameBase(name, r.file) && sameBase(name[:len(name)-4], r.file) {
		name = name[:len(name)-4]
	}
	r.file, r.offset = name, offset
	if r.done.form == placeFile && !r.tx.open {
		r.done.file, r.done.offset = name, offset
		r.bound()
	}
	return nil
}

// sameBase reports whether two log files are of one series.
func sameBase(a, b string) bool {
	i, j := bytes.LastIndexByte([]byte(a), '.'), bytes.LastIndexByte([]byte(b), '.')
	if i < 0 || j < 0 || a[:i] != b[:j] {
		return false
	}
	for _, c := range []byte(a[i+1:]) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// close gives back what the reader holds.
func (r *reader) close() {
	r.again.close()
	if r.zstd != nil {
		r.zstd.Close()
	}
}
