package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"cdc/replication"
)

const (
	statusInterval = 10 * time.Second // between two status updates, at most
	statusPause    = 100 * time.Millisecond
	startTimeout   = time.Minute
	writeTimeout   = 10 * time.Second
	endTimeout     = 3 * time.Second
)

// walConn is a connection in the copy-both mode of START_REPLICATION. It was
// made by pgconn, and taken from it before that command, while it was idle: the
// messages are cut out of one buffer in place. One goroutine owns it; wake and
// conn.Close may come from others.
type walConn struct {
	conn net.Conn // TLS, or the lowWaterConn itself
	low  *lowWaterConn
	// streaming says that transactions in progress come.
	streaming bool
	began     time.Time
	r         *wireReader
	out       []byte

	every    time.Duration // between two status updates
	due      time.Time     // of the next
	sentAt   time.Time
	flushed  pglogrepl.LSN // as told last
	received pglogrepl.LSN // everything before it was received
	told     pglogrepl.LSN // received as it was when the last status went out

	// asked says that the server waits for flushed to reach wanted: before it
	// shuts down it waits for all its walsenders' clients.
	asked  atomic.Bool
	wanted pglogrepl.LSN
}

// startReplication takes over conn, whose connection it closes when it fails.
func startReplication(ctx context.Context, conn *pgconn.PgConn, slot, options string, from pglogrepl.LSN) (*walConn, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	every, err := statusEvery(ctx, conn)
	if err == nil {
		err = conn.SyncConn(ctx)
	}
	if err != nil {
		conn.Close(ctx)
		return nil, err
	}
	h, err := conn.Hijack()
	if err != nil {
		return nil, fmt.Errorf("take over connection: %w", err)
	}
	w := &walConn{conn: h.Conn, low: lowWaterOf(h.Conn), r: newWireReader(h.Conn), every: every, flushed: from, received: from, began: time.Now()}
	stop := context.AfterFunc(ctx, func() { w.conn.SetDeadline(time.Unix(1, 0)) })
	err = w.start(slot, options, from)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = w.conn.SetDeadline(time.Time{})
	}
	if err != nil {
		w.conn.Close()
		return nil, err
	}
	if w.low != nil {
		w.low.enable()
	}
	return w, nil
}

// statusEvery returns how often to send a status so that the server never
// takes us for dead.
func statusEvery(ctx context.Context, conn *pgconn.PgConn) (time.Duration, error) {
	res, err := conn.Exec(ctx, `SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'`).ReadAll()
	if err != nil {
		return 0, fmt.Errorf("read wal_sender_timeout: %w", err)
	}
	if len(res) != 1 || len(res[0].Rows) != 1 {
		return statusInterval, nil
	}
	ms, err := strconv.Atoi(string(res[0].Rows[0][0]))
	if err != nil || ms <= 0 { // 0: it never does
		return statusInterval, nil //nolint:nilerr // the usual interval will do
	}
	return min(statusInterval, time.Duration(ms)*time.Millisecond/4), nil
}

// decodingMemory is what the server may keep of the transactions in progress
// before it sends from them (logical_decoding_work_mem), where nobody has set
// that: in the URL, on the role or the database, in the server's configuration.
// What it keeps of a transaction when that commits is sent between the commit
// and the first row at the consumer: of PostgreSQL's 64 MB that are up to a
// quarter of a million rows, a second's work.
const decodingMemory = "8MB"

// sendSooner sets decodingMemory for a connection that streams. On another the
// server would only go to its disk sooner.
func sendSooner(ctx context.Context, conn *pgconn.PgConn) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err := conn.Exec(ctx, `SELECT pg_catalog.set_config(name, '`+decodingMemory+`', false) FROM pg_catalog.pg_settings WHERE name = 'logical_decoding_work_mem' AND source = 'default'`).Close()
	if err != nil {
		return fmt.Errorf("set logical_decoding_work_mem: %w", err)
	}
	return nil
}

// pluginOptions is what pgoutput is asked for: PostgreSQL manual, "Logical
// Streaming Replication Parameters". With streaming transactions come while they
// are in progress.
func (c *Config) pluginOptions(streaming bool) string {
	// The replication commands know no backslashes.
	literal := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	options := "publication_names " + literal(replication.QuoteIdentifier(c.Publication))
	// What versions 3 and 4 add is for slots with two-phase commit, and for
	// those who apply a transaction before it has committed.
	if streaming {
		options += ", proto_version '2', streaming 'on'"
	} else {
		options += ", proto_version '1'"
	}
	if len(c.Messages) > 0 {
		options += ", messages 'true'"
	}
	return options
}

// start sends the command and waits for its answer.
func (w *walConn) start(slot, options string, from pglogrepl.LSN) error {
	command := fmt.Sprintf("START_REPLICATION SLOT %s LOGICAL %s (%s)", replication.QuoteIdentifier(slot), from, options)
	w.begin('Q')
	w.out = append(append(w.out, command...), 0)
	if err := w.send(); err != nil {
		return fmt.Errorf("start replication: %w", err)
	}
	for {
		kind, body, _, ok, err := w.r.next()
		switch {
		case err != nil:
			return err
		case !ok:
			if err := w.r.fill(); err != nil {
				return fmt.Errorf("start replication: %w", err)
			}
		case kind == 'W': // CopyBothResponse
			return nil
		case kind == 'E':
			return fmt.Errorf("start replication: %w", serverError(body))
		case kind == 'N' || kind == 'S': // a notice, a setting
		default:
			return fmt.Errorf("start replication: unexpected message %q", kind)
		}
	}
}

// begin begins a message of that kind in w.out, send ends and sends it.
func (w *walConn) begin(kind byte) { w.out = append(w.out[:0], kind, 0, 0, 0, 0) }

func (w *walConn) send() error {
	binary.BigEndian.PutUint32(w.out[1:], uint32(len(w.out)-1))
	w.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := w.conn.Write(w.out)
	return err
}

// status tells the server how far we are: PostgreSQL manual, "Streaming
// Replication Protocol", Standby status update. flushed is never 0.
func (w *walConn) status(now time.Time, flushed pglogrepl.LSN) error {
	w.begin('d')
	w.out = append(w.out, 'r')
	w.out = binary.BigEndian.AppendUint64(w.out, uint64(max(w.received, flushed)))
	w.out = binary.BigEndian.AppendUint64(w.out, uint64(flushed))
	w.out = binary.BigEndian.AppendUint64(w.out, uint64(flushed))
	w.out = binary.BigEndian.AppendUint64(w.out, uint64(now.UnixMicro()-pgEpoch))
	// A server that decodes what others write, and never comes to its log's end,
	// tells how far it is only when it is asked.
	ask := byte(0)
	if w.received == w.told {
		ask = 1
	}
	w.told = w.received
	w.out = append(w.out, ask)
	if err := w.send(); err != nil {
		return fmt.Errorf("send status: %w", err)
	}
	if flushed >= w.wanted {
		w.asked.Store(false)
	}
	w.flushed, w.sentAt, w.due = flushed, now, now.Add(w.every)
	return nil
}

// keepalive is told that the server has sent everything before end, and
// whether it wants a status now.
func (w *walConn) keepalive(now time.Time, end pglogrepl.LSN, reply bool, acked pglogrepl.LSN) {
	w.received = max(w.received, end)
	if !reply {
		return
	}
	if end > acked {
		w.wanted = end
		w.asked.Store(true)
	}
	// A server that shuts down asks again with every answer that does not
	// satisfy it: no faster than this then.
	w.due = now
	if acked == w.flushed && now.Sub(w.sentAt) < statusPause {
		w.due = w.sentAt.Add(statusPause)
	}
}

// read waits for more bytes until the next status is due. That it is due, or
// wake, is no error.
func (w *walConn) read() error {
	w.conn.SetReadDeadline(w.due)
	var timeout net.Error
	if err := w.r.fill(); err != nil && (!errors.As(err, &timeout) || !timeout.Timeout()) {
		return err
	}
	return nil
}

// wake ends a read.
func (w *walConn) wake() {
	if w.low != nil {
		w.low.wake()
	}
}

// end tells the last flushed, leaves the copy mode and waits until the server
// has let go of the slot, for a moment only, or until ctx ends: inside a large
// transaction the server does not listen. It closes the connection.
func (w *walConn) end(ctx context.Context, flushed pglogrepl.LSN) error {
	defer w.conn.Close()
	stop := context.AfterFunc(ctx, func() { w.conn.Close() })
	defer stop()
	if err := w.status(time.Now(), flushed); err != nil {
		return err
	}
	w.begin('c') // CopyDone
	if err := w.send(); err != nil {
		return err
	}
	w.due = time.Now().Add(endTimeout)
	if err := w.skipTo('Z'); err != nil { // ReadyForQuery
		return err
	}
	w.begin('X') // Terminate
	if err := w.send(); err != nil {
		return err
	}
	if err := w.skipTo(0); !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return nil
}

// skipTo reads up to a message of that kind.
func (w *walConn) skipTo(want byte) error {
	for {
		kind, body, _, ok, err := w.r.next()
		switch {
		case err != nil:
			return err
		case !ok:
			if err := w.read(); err != nil {
				return err
			}
			if time.Now().After(w.due) {
				return os.ErrDeadlineExceeded
			}
		case kind == want:
			return nil
		case kind == 'E':
			return serverError(body)
		}
	}
}
