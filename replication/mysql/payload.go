package mysql

import (
	"bytes"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"cdc/replication/arena"
)

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
