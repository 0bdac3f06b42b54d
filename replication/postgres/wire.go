package postgres

import (
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// maxMessage bounds one message: PostgreSQL makes none larger than 1 GiB.
const maxMessage = 1<<30 + 1<<16

// wireReader cuts a connection's bytes into messages of the PostgreSQL
// protocol, in place: a byte of kind, a length of four bytes that counts
// itself, the body. It is bare of deadlines: fill may fail with one and be
// called again.
type wireReader struct {
	r    io.Reader
	buf  []byte
	i, n int // buf[i:n] is read and not taken

	// A message larger than buf gets memory of its own, which is never reused.
	big     []byte
	bigKind byte
	bigN    int // bytes of big that are read
}

func newWireReader(r io.Reader) *wireReader {
	return &wireReader{r: r, buf: make([]byte, readBuffer)}
}

// next takes the next message if it is there whole. The body is valid until
// fill; with owned it is the caller's for good.
func (w *wireReader) next() (kind byte, body []byte, owned, ok bool, err error) {
	if w.big != nil {
		if w.bigN < len(w.big) {
			return 0, nil, false, false, nil
		}
		body, w.big = w.big, nil
		return w.bigKind, body, true, true, nil
	}
	if w.n-w.i < 5 {
		return 0, nil, false, false, nil
	}
	c := cursor{B: w.buf[w.i:w.n]}
	kind = c.U8()
	size := c.BE32()
	if size < 4 || size > maxMessage {
		return 0, nil, false, false, fmt.Errorf("read message %q: length %d is out of bounds", kind, size)
	}
	size -= 4
	if int(size) <= len(c.B) {
		w.i += 5 + int(size)
		return kind, c.Bytes(uint64(size)), false, true, nil
	}
	if int(size)+5 > len(w.buf) {
		w.big, w.bigKind = make([]byte, size), kind
		w.bigN = copy(w.big, c.B)
		w.i, w.n = 0, 0
	}
	return 0, nil, false, false, nil
}

// fill reads once.
func (w *wireReader) fill() error {
	if w.big != nil {
		n, err := w.r.Read(w.big[w.bigN:])
		w.bigN += n
		return readError(n, err)
	}
	// Moving the rest of a message to the front costs little; short reads cost
	// much.
	if w.i == w.n {
		w.i, w.n = 0, 0
	} else if len(w.buf)-w.n < lowWater {
		w.n = copy(w.buf, w.buf[w.i:w.n])
		w.i = 0
	}
	n, err := w.r.Read(w.buf[w.n:])
	w.n += n
	return readError(n, err)
}

func readError(n int, err error) error {
	if n > 0 {
		return nil // an error comes again
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// serverError decodes the body of an ErrorResponse.
func serverError(body []byte) error {
	var e pgproto3.ErrorResponse
	if err := e.Decode(body); err != nil {
		return fmt.Errorf("decode the server's error: %w", err)
	}
	return pgconn.ErrorResponseToPgError(&e)
}
