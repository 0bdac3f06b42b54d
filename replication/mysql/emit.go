package mysql

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"cdc/replication"
)

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
	if t.plan.added {
		t.plan.added = false
		r.tx.added = append(r.tx.added, t.mark)
	}
	r.at.log, r.at.first = nil, r.tx.index
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
	ch.Tx, ch.Index, ch.Log = r.transaction(b), r.tx.index, r.logEvent(b)
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
