package mysql

import (
	"context"
	"fmt"

	"cdc/sink"
	"cdc/sink/apply"
)

// How large statements grow. The driver keeps a buffer of up to 256 KiB, and
// what is larger it allocates for each statement; servers gain nothing from
// longer ones (BenchmarkStatementSize).
var (
	statementBytes = 240 << 10
	statementKeys  = 1000 // keys of a DELETE: the optimizer's memory for ranges is bounded
)

// maxKept bounds the buffer that is kept for the next statement, in bytes.
const maxKept = 64 << 20

// verb is what a load does with its rows.
type verb uint8

const (
	remove verb = iota // deletes by key
	upsert             // inserts, or overwrites all columns
	merge              // sets some columns of rows that are there, inserts the others
)

// load is a number of rows and what is to be done with them.
type load struct {
	verb verb
	cols []column // that are written
}

// loader brings some rows of one Rows into statements.
type loader struct {
	w       *Writer
	p       *plan
	t       *tx
	table   int
	rows    *sink.Rows
	careful apply.Careful[load] // in a careful transaction
}

func newLoader(w *Writer, p *plan, t *tx, table int, rows *sink.Rows) *loader {
	l := &loader{w: w, p: p, t: t, table: table, rows: rows}
	l.careful.Attempt = l.attempt
	l.careful.Again = func(how load, err error) bool { return how.verb != remove && crosses(err) }
	return l
}

// run writes the rows. In a careful transaction rows that the database refuses
// are sorted out by bisection.
func (l *loader) run(ctx context.Context, rows []int32, ld load) error {
	if !l.t.careful {
		return l.write(ctx, rows, ld)
	}
	return l.careful.Run(ctx, apply.Rows[load]{Index: rows, How: ld}, len(l.t.bad))
}

// attempt writes rows behind a savepoint; fault is an error that lies in the
// rows, and is undone.
func (l *loader) attempt(ctx context.Context, rows apply.Rows[load]) (fault, err error) {
	if _, err := l.w.exec(ctx, "SAVEPOINT cdc"); err != nil {
		return nil, fmt.Errorf("savepoint: %w", err)
	}
	if fault = l.write(ctx, rows.Index, rows.How); fault == nil {
		return nil, nil //nolint:nilnil // neither failed
	}
	if !rowFault(fault) {
		return nil, fault
	}
	if _, err := l.w.exec(ctx, "ROLLBACK TO SAVEPOINT cdc"); err != nil {
		return nil, fmt.Errorf("rollback to savepoint: %w", err)
	}
	return fault, nil
}

// settle tells the transaction which rows are bad.
func (l *loader) settle(ctx context.Context) error {
	return l.careful.Settle(ctx, func(row int, err error) {
		l.t.bad = append(l.t.bad, &sink.RowError{Shape: l.p.shape, Index: row, Tables: l.table, Origin: l.rows.Rows[row].Origin, Err: err})
	})
}

// write writes the rows in as many statements as it takes.
func (l *loader) write(ctx context.Context, rows []int32, ld load) error {
	switch {
	case ld.verb == remove:
		return l.remove(ctx, rows, ld)
	case ld.verb == merge, l.t.careful && l.p.guard != "" && len(rows) == 1:
		// Alone, a row that meets another one's unique value is told so.
		return l.merge(ctx, rows, ld)
	}
	return l.insert(ctx, rows, ld.cols, l.p.insert, l.p.update)
}

// insert writes rows between the two parts of a statement, in as many
// statements as it takes.
func (l *loader) insert(ctx context.Context, rows []int32, cols []column, before, after string) error {
	w := l.w
	b, n := append(w.fresh(), before...), 0
	for _, r := range rows {
		start := len(b)
		if n > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = l.appendRow(b, cols, r); err != nil {
			w.buf = b
			return err
		}
		if n++; n > 1 && len(b)+len(after) >= w.server.maxPacket { // a large row goes alone
			row := append([]byte(nil), b[start+1:]...)
			if err := l.exec(ctx, append(b[:start], after...)); err != nil {
				return err
			}
			b, n = append(append(w.fresh(), before...), row...), 1
		}
		if len(b)+len(after) >= statementBytes {
			if err := l.exec(ctx, append(b, after...)); err != nil {
				return err
			}
			b, n = append(w.fresh(), before...), 0
		}
	}
	if n == 0 {
		return nil
	}
	return l.exec(ctx, append(b, after...))
}

// fresh returns the empty buffer for a statement.
func (w *Writer) fresh() []byte {
	if cap(w.buf) > maxKept {
		w.buf = nil
	}
	return w.buf[:0]
}

// exec runs the statement that stands in the Writer's buffer.
func (l *loader) exec(ctx context.Context, sql []byte) error {
	l.w.buf = sql
	if len(sql) >= l.w.server.maxPacket {
		return l.tooLong(len(sql))
	}
	if _, err := l.w.execBytes(ctx, sql); err != nil {
		return fmt.Errorf("write to table %s: %w", l.p.table, err)
	}
	return nil
}

func (l *loader) tooLong(n int) error {
	return &cellError{err: fmt.Errorf("the row takes %d bytes in a statement, and the server's max_allowed_packet is %d", n, l.w.server.maxPacket)}
}

// appendRow appends (value, …) of one row.
func (l *loader) appendRow(b []byte, cols []column, r int32) ([]byte, error) {
	values := l.rows.Rows[r].Values
	b = append(b, '(')
	for i := range cols {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = cols[i].appendLiteral(b, values[cols[i].field]); err != nil {
			return b, &cellError{plan: l.p, column: cols[i].name, err: err}
		}
	}
	return append(b, ')'), nil
}

// appendMatch appends the condition that a row has the key of r.
func (l *loader) appendMatch(b []byte, key []column, r int32) ([]byte, error) {
	values := l.rows.Rows[r].Values
	for i := range key {
		if i > 0 {
			b = append(b, " AND "...)
		}
		b = append(append(b, key[i].name...), '=')
		var err error
		if b, err = key[i].appendLiteral(b, values[key[i].field]); err != nil {
			return b, &cellError{plan: l.p, column: key[i].name, err: err}
		}
	}
	return b, nil
}

// remove deletes by key.
func (l *loader) remove(ctx context.Context, rows []int32, ld load) error {
	w := l.w
	single := len(ld.cols) == 1
	begin := func() []byte {
		b := append(append(append(w.fresh(), "DELETE FROM "...), l.p.table...), " WHERE "...)
		if single {
			b = append(append(b, ld.cols[0].name...), " IN ("...)
		}
		return b
	}
	finish := func(b []byte) []byte {
		if single {
			b = append(b, ')')
		}
		return b
	}
	b, n := begin(), 0
	for _, r := range rows {
		var err error
		switch {
		case single:
			if n > 0 {
				b = append(b, ',')
			}
			if b, err = ld.cols[0].appendLiteral(b, l.rows.Rows[r].Values[ld.cols[0].field]); err != nil {
				err = &cellError{plan: l.p, column: ld.cols[0].name, err: err}
			}
		default:
			if n > 0 {
				b = append(b, " OR "...)
			}
			b = append(b, '(')
			b, err = l.appendMatch(b, ld.cols, r)
			b = append(b, ')')
		}
		if err != nil {
			w.buf = b
			return err
		}
		if n++; n == statementKeys || len(b) > statementBytes {
			if err := l.exec(ctx, finish(b)); err != nil {
				return err
			}
			b, n = begin(), 0
		}
	}
	if n == 0 {
		return nil
	}
	return l.exec(ctx, finish(b))
}

// merge sets the columns of the rows that are there, by one UPDATE each and
// many in a request, and inserts those that are not: an upsert would ask for
// values of columns that are NOT NULL and that the record leaves alone.
func (l *loader) merge(ctx context.Context, rows []int32, ld load) error {
	key := l.p.keyColumns()
	const chunk = 200
	for start := 0; start < len(rows); start += chunk {
		part := rows[start:min(start+chunk, len(rows))]
		b := l.w.fresh()
		for n, r := range part {
			if n > 0 {
				b = append(b, ';')
			}
			var err error
			if b, err = l.appendUpdate(b, ld.cols, key, r); err != nil {
				l.w.buf = b
				return err
			}
		}
		l.w.buf = b
		if len(b) >= l.w.server.maxPacket { // many large values: one by one
			if len(part) == 1 {
				return l.tooLong(len(b))
			}
			for i := range part {
				if err := l.merge(ctx, part[i:i+1], ld); err != nil {
					return err
				}
			}
			continue
		}
		matched, err := l.w.exec(ctx, string(b))
		if err != nil {
			return fmt.Errorf("write to table %s: %w", l.p.table, err)
		}
		if len(matched) != len(part) {
			return fmt.Errorf("write to table %s: the server answered %d of %d statements", l.p.table, len(matched), len(part))
		}
		var absent []int32
		for n, r := range part {
			if matched[n] == 0 {
				absent = append(absent, r)
			}
		}
		if len(absent) == 0 {
			continue
		}
		if err := l.insert(ctx, absent, ld.cols, l.p.insertInto(ld.cols), ""); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) appendUpdate(b []byte, cols, key []column, r int32) ([]byte, error) {
	b = append(append(append(b, "UPDATE "...), l.p.table...), " SET "...)
	values := l.rows.Rows[r].Values
	sep := ""
	for i := range cols {
		c := &cols[i]
		if c.key {
			continue
		}
		b = append(append(append(b, sep...), c.name...), '=')
		sep = ","
		var err error
		if b, err = c.appendLiteral(b, values[c.field]); err != nil {
			return b, &cellError{plan: l.p, column: c.name, err: err}
		}
	}
	if sep == "" { // only to see whether the row is there
		b = append(append(append(b, key[0].name...), '='), key[0].name...)
	}
	return l.appendMatch(append(b, " WHERE "...), key, r)
}
