package mysql

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	gorepl "github.com/go-mysql-org/go-mysql/replication"
	"github.com/klauspost/compress/zstd"

	"cdc/replication"
	"cdc/replication/arena"
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
	fold  bool   // names of tables are compared without regard to case

	done  place // everything before it is in batches
	marks *marks
	tx    transaction
	// resume is a transaction of which changes have been handed out before the
	// connection broke: as many are passed over when it comes again.
	resume struct {
		id    txID
		count uint64
	}

	server   string // whose log it is: serverInfo.identity
	file     string // of the next event
	offset   uint64 // and where it begins
	checksum bool
	serial   uint64

	plans  map[string]*logTable // by the table map without its id
	tables map[uint64]*logTable // of the statement at hand
	zlib   io.ReadCloser
	zstd   *zstd.Decoder
	event  []byte // scratch: an event of a compressed transaction

	late    []replication.Change // see addLate
	lacking []int                // of these, what the log left something out of
}

// logTable is a table of the log.
type logTable struct {
	plan   *plan  // nil: not captured
	mark   string // tableKey
	serial uint64 // the transaction that skip was settled for
	skip   bool   // its changes are in the table's snapshot
}

// transaction is the one that is being read.
type transaction struct {
	open   bool // a GTID has come, its end has not
	begun  bool // it is more than one statement
	rows   bool // changes of captured tables have come
	xa     bool
	id     txID
	time   int64 // of its commit, microseconds since 1970 UTC
	index  uint64
	pass   uint64 // changes to pass over: they were handed out already
	serial uint64
	sum    uint32 // eventSum of its begin; 0 when it is not known where it stands
}

// maxPlans bounds the table maps that are remembered.
const maxPlans = 20000

func newReader(cfg *Config, sh *shapes, from place, m *marks) *reader {
	return &reader{
		cfg: cfg, shapes: sh, done: from, marks: m, file: from.file, offset: from.offset,
		again: refetcher{cfg: cfg, warned: map[string]bool{}}, plans: map[string]*logTable{}, tables: map[uint64]*logTable{},
	}
}

// restart prepares for the log to come again from r.done.
func (r *reader) restart() {
	if out := r.tx.index + r.tx.pass; r.tx.open && out > 0 {
		r.resume.id, r.resume.count = r.tx.id, out
	}
	r.tx = transaction{}
	r.late, r.lacking = r.late[:0], r.lacking[:0]
	r.file, r.offset = r.done.file, r.done.offset
	r.checksum = false
	clear(r.tables)
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
	}
	if err := r.dispatch(ctx, h, body, start, false); err != nil {
		return fmt.Errorf("log %s:%d, event %s: %w", r.file, start, h.kind, err)
	}
	return nil
}

// dispatch reads one event. With owned the body lives in the batch's arena.
func (r *reader) dispatch(ctx context.Context, h header, body []byte, start uint64, inner bool) error {
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
		return r.commit() // of which the rows were refused
	case gorepl.GTID_EVENT, gorepl.ANONYMOUS_GTID_EVENT, gorepl.GTID_TAGGED_LOG_EVENT, gorepl.MARIADB_GTID_EVENT:
		return r.transactionBegins(h, body, start)
	case gorepl.FORMAT_DESCRIPTION_EVENT:
		return r.format(body)
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
func (r *reader) format(body []byte) error {
	if len(body) < 5 {
		return errShort
	}
	r.checksum = body[len(body)-5] == 1
	return nil
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

// transactionBegins reads the event that begins a transaction.
func (r *reader) transactionBegins(h header, body []byte, start uint64) (err error) {
	switch h.kind {
	case gorepl.GTID_TAGGED_LOG_EVENT:
		err = r.gtidTagged(body, start)
	case gorepl.MARIADB_GTID_EVENT:
		err = r.gtidMaria(h, body, start)
	default:
		err = r.gtid(h, body, start)
	}
	if err == nil && h.end != 0 {
		r.tx.sum = eventSum(h, body)
	}
	return err
}

// gtid reads what begins every transaction of MySQL: MySQL source, "Gtid_event".
func (r *reader) gtid(h header, body []byte, start uint64) error {
	c := cursor{B: body}
	c.U8() // flags
	var id txID
	copy(id.source.sid[:], c.Bytes(16))
	id.gno = int64(c.LE64())
	committed := int64(h.time) * 1e6
	if len(c.B) >= 17+7 && c.U8() == 2 { // logical clock, then the commit's time
		c.LE64()
		c.LE64()
		if t := c.LE(7); t != 0 {
			committed = int64(t & (1<<55 - 1))
		}
	}
	if c.Err != nil {
		return c.Err
	}
	return r.begin(id, committed, start)
}

// gtidTagged reads the same of a GTID with a tag, for which MySQL has another
// encoding.
func (r *reader) gtidTagged(body []byte, start uint64) (err error) {
	defer func() {
		if recover() != nil { // the library's decoder is not made for bad input
			err = errShort
		}
	}()
	var e gorepl.GtidTaggedLogEvent
	if err := e.Decode(body); err != nil {
		return err
	}
	id := txID{source: gtidSource{tag: e.Tag.String()}, gno: e.GNO}
	copy(id.source.sid[:], e.SID)
	return r.begin(id, int64(e.ImmediateCommitTimestamp), start)
}

// gtidMaria reads what begins every transaction of MariaDB: MariaDB source,
// "Gtid_log_event".
func (r *reader) gtidMaria(h header, body []byte, start uint64) error {
	const (
		standalone = 1
		preparedXA = 64
	)
	c := cursor{B: body}
	id := txID{maria: mariaGTID{server: h.server}}
	id.maria.seq = c.LE64()
	id.domain = c.LE32()
	flags := c.U8()
	if c.Err != nil {
		return c.Err
	}
	if err := r.begin(id, int64(h.time)*1e6, start); err != nil {
		return err
	}
	r.tx.begun = flags&standalone == 0
	r.tx.xa = flags&preparedXA != 0
	return nil
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
		r.resume.count, r.resume.id = 0, txID{}
	}
	return nil
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
	r.tx = transaction{}
	clear(r.tables)
	r.bound()
	return nil
}

// tableMap notes the table that the next row events belong to.
func (r *reader) tableMap(ctx context.Context, body []byte) error {
	if len(body) < 6 {
		return errShort
	}
	id := binary.LittleEndian.Uint64(append(append(make([]byte, 0, 8), body[:6]...), 0, 0))
	t := r.plans[string(body[6:])]
	if t == nil {
		m, err := readTableMap(body)
		if err != nil {
			return err
		}
		t = &logTable{}
		if r.cfg.captures(string(m.schema), string(m.name)) {
			err = r.aside(func() (err error) {
				ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
				defer cancel()
				t.plan, err = r.shapes.fromLog(ctx, &m)
				return err
			})
			if err != nil {
				return fmt.Errorf("describe table %s.%s: %w", m.schema, m.name, err)
			}
			if err := r.judge(t.plan.table); err != nil {
				return err
			}
			t.mark = tableKey(string(m.schema), string(m.name))
		}
		if len(r.plans) >= maxPlans {
			clear(r.plans)
		}
		r.plans[string(body[6:])] = t
	}
	if t.plan != nil && t.serial != r.tx.serial {
		t.serial = r.tx.serial
		t.skip = r.marks.skip(t.mark, &r.tx.id)
	}
	r.tables[id] = t
	return nil
}

// lookupTimeout bounds a question to the catalog.
const lookupTimeout = 30 * time.Second

// judge checks the key of a table whose shape is new.
func (r *reader) judge(t *replication.Table) error {
	for _, c := range r.cfg.Tables {
		if c.Schema == t.Schema && c.Name == t.Name {
			return c.missingKey(t)
		}
	}
	return nil
}

// rows reads a row event.
func (r *reader) rows(ctx context.Context, op replication.Op, version int, compressed bool, body []byte) error {
	e, err := readRows(op, version, false, body)
	if err != nil {
		return err
	}
	return r.emit(ctx, &e, compressed)
}

func (r *reader) partialRows(ctx context.Context, body []byte) error {
	e, err := readRows(replication.OpUpdate, 2, true, body)
	if err != nil {
		return err
	}
	return r.emit(ctx, &e, false)
}

// emit puts the rows of an event into batches.
func (r *reader) emit(ctx context.Context, e *rowsEvent, compressed bool) error {
	t := r.tables[e.table]
	if e.last {
		defer clear(r.tables)
	}
	if t == nil {
		const dummy = 0xffffff // ends a statement, and has no rows
		if e.table == dummy && len(e.rows) == 0 {
			return nil
		}
		return fmt.Errorf("row event of table id %d, which no table map describes", e.table)
	}
	if t.plan == nil || t.skip {
		return nil
	}
	if r.tx.xa {
		return r.refuseXA(t.plan.table)
	}
	b, err := r.room(ctx)
	if err != nil {
		return err
	}
	wire := len(e.rows)
	if compressed {
		if e.rows, err = r.inflate(e.rows, &b.Arena); err != nil {
			return err
		}
	} else {
		e.rows = b.Copy(e.rows)
	}
	w, err := t.plan.walk(e)
	if err != nil {
		return err
	}
	r.tx.rows = true
	for first := true; ; first = false {
		var ch replication.Change
		more, err := w.next(&b.Arena, &ch)
		if err != nil {
			return err
		}
		if !more {
			return r.addLate(ctx, t.plan, b)
		}
		if r.tx.pass > 0 {
			r.tx.pass--
			r.tx.index++
			continue
		}
		if !first {
			wire = 0
		}
		if w.lack == lacksNothing && len(r.late) == 0 {
			r.add(b, ch, wire)
			continue
		}
		if err := r.wait(t.plan, w.lack, ch); err != nil {
			return err
		}
		if len(r.lacking) < maxRefetch {
			continue
		}
		if err := r.addLate(ctx, t.plan, b); err != nil {
			return err
		}
		if b.Full() {
			if b, err = r.room(ctx); err != nil {
				return err
			}
			w.c.B = b.Copy(w.c.B)
		}
	}
}

// add puts a change into a batch.
func (r *reader) add(b *batch, ch replication.Change, wire int) {
	ch.Tx, ch.Index = r.transaction(b), r.tx.index
	r.tx.index++
	b.Add(ch, wire)
}

// wait puts a change behind others that wait for addLate.
func (r *reader) wait(p *plan, l lack, ch replication.Change) error {
	if p.missing(l, ch.After) {
		if err := p.refuseRefetch(l, ch.After); err != nil {
			return err
		}
		if p.canFind(ch.After) {
			r.lacking = append(r.lacking, len(r.late))
		}
	}
	r.late = append(r.late, ch)
	return nil
}

// addLate reads what the log left out of the changes that wait, and puts them
// into the batch that their values live in.
func (r *reader) addLate(ctx context.Context, p *plan, b *batch) error {
	late, lacking := r.late, r.lacking
	r.late, r.lacking = r.late[:0], r.lacking[:0]
	if len(lacking) > 0 {
		rows := make([]*replication.Change, len(lacking))
		for n, i := range lacking {
			rows[n] = &late[i]
		}
		if err := r.hold(func() error { return r.again.fill(ctx, r.shapes, p, &r.tx.id, rows, &b.Arena) }); err != nil {
			return err
		}
	}
	for i := range late {
		if err := p.refuseLost(&late[i]); err != nil {
			return err
		}
		r.add(b, late[i], 0)
	}
	clear(late)
	return nil
}

// transaction returns the Transaction of the changes at hand in a batch.
func (r *reader) transaction(b *batch) *replication.Transaction {
	if b.txSerial == r.tx.serial && b.tx != nil {
		return b.tx
	}
	t := b.Transaction()
	var scratch [160]byte
	text := r.tx.id.append(scratch[:0])
	n := len(text)
	text = r.tx.id.appendOffset(text)
	kept := b.Copy(text)
	t.ID, t.Commit, t.CommitTime = kept[:n:n], kept[n:], r.tx.time
	b.tx, b.txSerial = t, r.tx.serial
	return t
}

// inflate undoes the compression of MariaDB's events: a byte with the number of
// the bytes of the length, the length, and a zlib stream.
func (r *reader) inflate(b []byte, a *arena.Arena) ([]byte, error) {
	c := cursor{B: b}
	n := c.BE(int(c.U8() & 7))
	if c.Err != nil || n > 1<<30 {
		return nil, errShort
	}
	var err error
	if r.zlib == nil {
		r.zlib, err = zlib.NewReader(bytes.NewReader(c.B))
	} else {
		err = r.zlib.(zlib.Resetter).Reset(bytes.NewReader(c.B), nil)
	}
	if err != nil {
		return nil, corruptError{err}
	}
	// Not all at once: the length is what the sender says.
	out := a.Alloc(int(min(n, uint64(len(c.B))*1032)))
	if uint64(len(out)) < n {
		return nil, errShort
	}
	if _, err := io.ReadFull(r.zlib, out); err != nil {
		return nil, corruptError{err}
	}
	return out, nil
}

// payload reads a compressed transaction, event by event: MySQL source,
// "Transaction_payload_event".
func (r *reader) payload(ctx context.Context, body []byte, start uint64) error {
	c := cursor{B: body}
	const none, zstandard = 255, 0
	compression := uint64(none)
	for {
		field := c.Packed()
		if c.Err != nil {
			return c.Err
		}
		if field == 0 {
			break
		}
		value := cursor{B: c.PackedBytes()}
		if field == 2 {
			compression = value.Packed()
		}
	}
	if compression == none {
		return r.payloadEvents(ctx, bytes.NewReader(c.B), start)
	}
	if compression != zstandard {
		return fmt.Errorf("a transaction is compressed by the unknown method %d", compression)
	}
	var err error
	if r.zstd == nil {
		r.zstd, err = zstd.NewReader(bytes.NewReader(c.B), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	} else {
		err = r.zstd.Reset(bytes.NewReader(c.B))
	}
	if err != nil {
		return corruptError{err}
	}
	return r.payloadEvents(ctx, r.zstd, start)
}

func (r *reader) payloadEvents(ctx context.Context, in io.Reader, start uint64) error {
	for {
		var head [eventHeader]byte
		if _, err := io.ReadFull(in, head[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return corruptError{err}
		}
		h, _, _ := readHeader(head[:])
		if h.size < eventHeader || h.size > 1<<30 {
			return fmt.Errorf("a compressed event says that it has %d bytes", h.size)
		}
		n := int(h.size - eventHeader)
		r.event = r.event[:0]
		for n > 0 { // in steps: the length is what the sender says
			step := min(n, 1<<20)
			at := len(r.event)
			r.event = append(r.event, make([]byte, step)...)
			if _, err := io.ReadFull(in, r.event[at:]); err != nil {
				return corruptError{err}
			}
			n -= step
		}
		if err := r.dispatch(ctx, h, r.event, start, true); err != nil {
			return fmt.Errorf("compressed event %s: %w", h.kind, err)
		}
		if cap(r.event) > 4<<20 {
			r.event = nil
		}
	}
}

// close gives back what the reader holds.
func (r *reader) close() {
	r.again.close()
	if r.zstd != nil {
		r.zstd.Close()
	}
}
