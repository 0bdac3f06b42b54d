package postgres

import (
	"context"
	"fmt"
	"io"
	"sync"

	"cdc/sink"
	"cdc/sink/apply"
)

// maxKept bounds the buffer that is kept for the next statement, in bytes.
const maxKept = 64 << 20

// loader brings some rows of one Rows into a statement.
type loader struct {
	w       *Writer
	p       *plan
	t       *tx
	table   int
	rows    *sink.Rows
	careful apply.Careful[load] // in a careful transaction
}

// load is a statement for some rows.
type load struct {
	cols    []column
	sql     func(from string) string // of the FROM item that the rows are in
	prepare bool
	removes bool // it deletes
}

func newLoader(w *Writer, p *plan, t *tx, table int, rows *sink.Rows) *loader {
	l := &loader{w: w, p: p, t: t, table: table, rows: rows}
	l.careful.Attempt = l.attempt
	l.careful.Again = func(how load, err error) bool { return !how.removes && crosses(err) }
	return l
}

// run loads the columns of the rows and runs the statement. In a careful
// transaction rows that the database refuses are sorted out by bisection.
func (l *loader) run(ctx context.Context, rows []int32, ld load) error {
	if !l.t.careful {
		return l.once(ctx, rows, ld)
	}
	return l.careful.Run(ctx, apply.Rows[load]{Index: rows, How: ld}, len(l.t.bad))
}

// attempt runs a statement in a savepoint of its own; fault is an error that
// lies in its rows, and is undone.
func (l *loader) attempt(ctx context.Context, rows apply.Rows[load]) (fault, err error) {
	if err := l.w.exec(ctx, "SAVEPOINT cdc"); err != nil {
		return nil, fmt.Errorf("savepoint: %w", err)
	}
	err = l.once(ctx, rows.Index, rows.How)
	if err == nil {
		return nil, l.w.exec(ctx, "RELEASE SAVEPOINT cdc")
	}
	if !rowFault(err) {
		return nil, err
	}
	if err := l.w.exec(ctx, "ROLLBACK TO SAVEPOINT cdc; RELEASE SAVEPOINT cdc"); err != nil {
		return nil, fmt.Errorf("rollback to savepoint: %w", err)
	}
	return err, nil
}

// settle tells the transaction which rows are bad.
func (l *loader) settle(ctx context.Context) error {
	return l.careful.Settle(ctx, func(row int, err error) {
		l.t.bad = append(l.t.bad, &sink.RowError{Shape: l.p.shape, Index: row, Tables: l.table, Origin: l.rows.Rows[row].Origin, Err: l.hint(err)})
	})
}

func (l *loader) once(ctx context.Context, idx []int32, ld load) error {
	cols, sql := ld.cols, ld.sql
	if l.p.copied || len(idx) >= copyThreshold {
		stage := l.p.stage
		if err := l.copy(ctx, stage, idx, cols); err != nil {
			return err
		}
		if err := l.w.exec(ctx, sql(stage+" AS s")); err != nil {
			return fmt.Errorf("write to table %s: %w", l.p.table, err)
		}
		return l.w.exec(ctx, "TRUNCATE "+stage)
	}
	w := l.w
	if cap(w.buf) > maxKept {
		w.buf = nil
	}
	w.buf, w.params = w.buf[:0], w.params[:0]
	ends := make([]int, len(cols))
	for i := range cols {
		c := &cols[i]
		w.buf = append(w.buf, '{')
		for n, r := range idx {
			if n > 0 {
				w.buf = append(w.buf, ',')
			}
			w.buf = appendElement(w.buf, l.rows.Rows[r].Values[c.field], c.bits)
		}
		w.buf = append(w.buf, '}')
		ends[i] = len(w.buf)
	}
	start := 0
	for _, end := range ends {
		w.params = append(w.params, w.buf[start:end:end])
		start = end
	}
	if _, err := w.run(ctx, sql(l.p.unnest(cols)), w.params, ld.prepare); err != nil {
		return fmt.Errorf("write to table %s: %w", l.p.table, err)
	}
	return nil
}

// run runs one statement, prepared once a connection when it will come again,
// and returns how many rows it touched.
func (w *Writer) run(ctx context.Context, sql string, params [][]byte, prepare bool) (int64, error) {
	if !prepare {
		tag, err := w.conn.ExecParams(ctx, sql, params, nil, nil, nil).Close()
		return tag.RowsAffected(), err
	}
	name, ok := w.prepared[sql]
	if !ok {
		name = fmt.Sprintf("cdc_%d", len(w.prepared))
		if _, err := w.conn.Prepare(ctx, name, sql, nil); err != nil {
			return 0, err
		}
		w.prepared[sql] = name
	}
	tag, err := w.conn.ExecPrepared(ctx, name, params, nil, nil).Close()
	return tag.RowsAffected(), err
}

// copyNew tries to COPY rows straight into the table. When one of them is there
// already it undoes that, remembers it, and reports false.
func (l *loader) copyNew(ctx context.Context, idx []int32) (bool, error) {
	if err := l.w.exec(ctx, "SAVEPOINT cdc_new"); err != nil {
		return false, fmt.Errorf("savepoint: %w", err)
	}
	err := l.copy(ctx, l.p.table, idx, l.p.cols)
	if err == nil {
		l.p.penalty = 0
		return true, nil
	}
	switch sqlState(err) {
	case uniqueViolation, featureUnsupported, "42809": // a view, row security: the upsert may still do
	default:
		return false, err
	}
	l.p.penalty = min(max(2*l.p.penalty, 4), 256)
	l.p.pause = l.p.penalty
	if err := l.w.exec(ctx, "ROLLBACK TO SAVEPOINT cdc_new"); err != nil {
		return false, fmt.Errorf("rollback to savepoint: %w", err)
	}
	return false, nil
}

// copy sends rows by COPY in the text format.
func (l *loader) copy(ctx context.Context, table string, idx []int32, cols []column) error {
	r := &copyReader{rows: l.rows.Rows, idx: idx, cols: cols}
	_, err := l.w.conn.CopyFrom(ctx, r, l.p.copyInto(table, cols))
	r.stop()
	if err != nil {
		return fmt.Errorf("copy into %s: %w", table, err)
	}
	return nil
}

// copyReader renders rows as COPY text while the connection reads it.
type copyReader struct {
	// mu guards against pgconn's sending goroutine, which may outlive CopyFrom
	// when the connection breaks.
	mu      sync.Mutex
	stopped bool
	rows    []sink.Row
	idx     []int32
	cols    []column
	buf     []byte
	off     int
}

func (r *copyReader) stop() {
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
}

func (r *copyReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return 0, io.ErrClosedPipe
	}
	if r.off == len(r.buf) {
		r.buf, r.off = r.buf[:0], 0
		for len(r.idx) > 0 && len(r.buf) < len(p) {
			r.buf = appendRow(r.buf, r.cols, &r.rows[r.idx[0]])
			r.idx = r.idx[1:]
		}
		if len(r.buf) == 0 {
			return 0, io.EOF
		}
	}
	n := copy(p, r.buf[r.off:])
	r.off += n
	return n, nil
}

// appendRow appends one line of COPY text.
func appendRow(dst []byte, cols []column, r *sink.Row) []byte {
	for i := range cols {
		if i > 0 {
			dst = append(dst, '\t')
		}
		dst = appendCopy(dst, r.Values[cols[i].field], cols[i].bits)
	}
	return append(dst, '\n')
}
