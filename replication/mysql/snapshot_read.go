package mysql

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"cdc/replication"
	"cdc/replication/arena"
	"cdc/replication/pace"
)

// This file reads the snapshot's tables into batches.

// read reads all tables into batches and hands them to out. It returns the last
// batch, not yet handed over, so that the caller gives it the Position.
func (s *snapshot) read(ctx context.Context, cfg *Config, pool *batchPool, out chan<- *batch, rows *atomic.Int64) (*batch, error) {
	w := &snapshotWriter{pool: pool, out: out, commit: s.point.String(), taken: s.taken, describe: cfg.Describe, file: s.file, offset: s.offset, tally: pace.NewTally(cfg.Progress, rows)}
	if s.point.form == placeGTID && len(w.commit) > 200 {
		w.commit = "snapshot" // a set of many servers is no name
	}
	for i := range s.tables {
		st := &s.tables[i]
		w.begin(st)
		if err := s.readTable(ctx, w); err != nil {
			w.drop()
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, explainRead(&TableConfig{Schema: st.plan.table.Schema, Name: st.plan.table.Name}, err)
		}
		done := w.tally.Done()
		cfg.Logger.Info("read all rows of table", "table", st.plan.table.String(), "rows", done.Rows, "bytes", done.Bytes,
			"elapsed", done.Elapsed.Round(time.Millisecond))
		if _, err := s.conn.query(ctx, "ROLLBACK TO SAVEPOINT cdc"+strconv.Itoa(i)); err != nil {
			w.drop()
			return nil, err
		}
	}
	if w.b == nil {
		return pool.Get(ctx)
	}
	return w.b, nil
}

// readTable runs the table's query and writes its rows.
func (s *snapshot) readTable(ctx context.Context, w *snapshotWriter) error {
	return s.conn.within(ctx, 0, func() error {
		p := newPackets(s.conn, silenceOfQuery)
		defer s.conn.raw.SetReadDeadline(time.Time{})
		columns, err := execute(s.conn, p, w.st.sql)
		if err != nil {
			return err
		}
		if want := len(w.st.plan.table.Columns); columns != want {
			return fmt.Errorf("the server sends %d columns of %d", columns, want)
		}
		for {
			b, err := p.next()
			if err != nil {
				return err
			}
			if len(b) == 0 {
				return errShort
			}
			switch b[0] {
			case 0x00:
				if err := w.row(ctx, b[1:]); err != nil {
					return err
				}
			case 0xfe:
				return nil
			case 0xff:
				return serverError(b)
			default:
				return fmt.Errorf("a row begins with %#x", b[0])
			}
		}
	})
}

// silenceOfQuery is how long the server may think before the next row.
const silenceOfQuery = 10 * time.Minute

// snapshotWriter makes batches of rows.
type snapshotWriter struct {
	pool     *batchPool
	out      chan<- *batch
	commit   string
	taken    int64
	describe bool // rows tell where in the log the snapshot stands, at file and offset
	file     string
	offset   uint64
	tally    pace.Tally

	st    *snapshotTable
	b     *batch
	tx    *replication.Transaction
	at    *replication.LogEvent
	index uint64 // of the next change in the snapshot
}

func (w *snapshotWriter) begin(st *snapshotTable) {
	w.st = st
	w.tally.Begin(st.plan.table.Schema, st.plan.table.Name, st.estimate)
}

func (w *snapshotWriter) row(ctx context.Context, row []byte) error {
	if w.b == nil {
		b, err := w.pool.Get(ctx)
		if err != nil {
			return err
		}
		w.b = b
		w.tx = b.Transaction()
		w.tx.Commit, w.tx.CommitTime = b.Copy([]byte(w.commit)), w.taken
		w.at = w.logEvent()
	}
	wire := len(row)
	after, err := w.st.plan.resultRow(w.b.Copy(row), &w.b.Arena)
	if err != nil {
		return fmt.Errorf("row %d: %w", w.tally.Rows()+1, err)
	}
	w.b.Add(replication.Change{Op: replication.OpRead, Table: w.st.plan.table, After: after, Tx: w.tx, Index: w.index, Log: w.at}, wire)
	w.index++
	w.tally.Row(wire)
	if w.b.Full() {
		select {
		case w.out <- w.b:
			w.b = nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// resultRow reads a row of the binary protocol: a bitmap of the NULLs, which
// begins at its third bit, then the values. They alias row.
func (p *plan) resultRow(row []byte, a *arena.Arena) ([]replication.Value, error) {
	c := cursor{B: row}
	values := a.Values(len(p.table.Columns))
	nulls := c.Bytes(uint64(len(values)+9) / 8)
	j := 0
	for i := range p.decoders {
		if p.decoders[i].skip {
			continue
		}
		if values[j] = replication.Null; !bit(nulls, j+2) && c.Err == nil {
			if values[j] = p.decoders[i].result(&c, a); c.Err != nil {
				return nil, fmt.Errorf("column %s: %w", p.table.Columns[j].Name, c.Err)
			}
		}
		j++
	}
	return values, c.Finish()
}

// drop gives back the batch in work.
func (w *snapshotWriter) drop() {
	if w.b != nil {
		w.b.Release()
		w.b = nil
	}
}

// explainRead tells a table that cannot be read from one that was altered.
func explainRead(t *TableConfig, err error) error {
	switch {
	case slices.Contains([]uint16{codeTableDenied, codeColumnDenied}, errorCode(err)):
		return refuse(fmt.Sprintf("table %s cannot be read", t), "GRANT SELECT ON "+quoteTable(t.Schema, t.Name)+" TO …", err)
	case errorCode(err) == codeTableChanged, errorCode(err) == codeNoSuchTable:
		return fmt.Errorf("%w: %w", errTableChanged, err)
	}
	return fmt.Errorf("snapshot table %s: %w", t, err)
}
