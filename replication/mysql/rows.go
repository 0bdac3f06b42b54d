package mysql

import (
	"errors"
	"fmt"
	"math/bits"

	"cdc/replication"
	"cdc/replication/arena"
)

// rowsEvent is a row event without its frame: MySQL source, "Rows_event".
type rowsEvent struct {
	op       replication.Op
	table    uint64 // id of the table map
	last     bool   // the statement ends with it
	partial  bool   // JSON columns may hold differences
	columns  int
	present  []byte // bitmap of the columns in the only image, or the one before
	presentA []byte // in the image after an update
	rows     []byte
}

// readRows takes a row event's frame apart. version is 1 or 2.
func readRows(op replication.Op, version int, partial bool, body []byte) (e rowsEvent, err error) {
	c := cursor{B: body}
	e.op, e.partial = op, partial
	e.table = c.LE(6)
	e.last = c.LE16()&1 != 0
	if version == 2 {
		extra := c.LE16() // its length, these two bytes included
		c.Bytes(uint64(max(extra, 2) - 2))
	}
	n := c.Packed()
	if n > 4096 { // more than a table may have
		c.Fail()
	}
	e.columns = int(n)
	e.present = c.Bytes((n + 7) / 8)
	if op == replication.OpUpdate {
		e.presentA = c.Bytes((n + 7) / 8)
	}
	e.rows = c.B
	if c.Err != nil {
		return e, fmt.Errorf("read row event: %w", c.Err)
	}
	return e, nil
}

// countBits counts the columns that a bitmap names.
func countBits(bitmap []byte, n int) (count int) {
	for i, x := range bitmap {
		if rest := n - 8*i; rest < 8 {
			x &= 1<<max(rest, 0) - 1
		}
		count += bits.OnesCount8(x)
	}
	return count
}

// walker goes through the rows of an event.
type walker struct {
	plan   *plan
	event  *rowsEvent
	c      cursor
	n1, n2 int // columns in the first and in the second image
	lack   lack
}

func (p *plan) walk(e *rowsEvent) (w walker, err error) {
	if e.columns != len(p.decoders) {
		return w, fmt.Errorf("row event of table %s has %d columns, its table map %d", p.table, e.columns, len(p.decoders))
	}
	w = walker{plan: p, event: e, c: cursor{B: e.rows}, n1: countBits(e.present, e.columns)}
	if e.op == replication.OpUpdate {
		w.n2 = countBits(e.presentA, e.columns)
	}
	return w, nil
}

// next reads the next row into ch; false at the end of the event. The event's
// bytes must live as long as the arena, for values alias them.
func (w *walker) next(a *arena.Arena, ch *replication.Change) (more bool, err error) {
	if len(w.c.B) == 0 {
		return false, nil
	}
	at := len(w.event.rows) - len(w.c.B)
	w.lack = lacksNothing
	ch.Op, ch.Table = w.event.op, w.plan.table
	switch {
	case w.event.partial:
		err = w.partialUpdate(a, ch)
	case w.event.op == replication.OpInsert:
		ch.Before, ch.After = nil, w.image(w.event.present, w.n1, a)
		w.whole(ch.After)
	case w.event.op == replication.OpDelete:
		ch.Before, ch.After = w.image(w.event.present, w.n1, a), nil
	default:
		ch.Before = w.image(w.event.present, w.n1, a)
		ch.After = w.image(w.event.presentA, w.n2, a)
		w.complete(ch)
	}
	if w.c.Err != nil {
		err = w.c.Err
	}
	if err == nil && len(w.c.B) == len(w.event.rows)-at {
		err = errors.New("a row without content")
	}
	if err != nil {
		return false, fmt.Errorf("decode row of table %s: %w", w.plan.table, err)
	}
	return true, nil
}

// image reads one image of a row: a bitmap of the NULLs among the columns that
// are there, then the values.
func (w *walker) image(present []byte, count int, a *arena.Arena) []replication.Value {
	c := &w.c
	nulls := c.Bytes(uint64(count+7) / 8)
	if c.Err != nil {
		return nil
	}
	decoders := w.plan.decoders
	values := a.Values(len(w.plan.table.Columns))
	j, k := 0, 0
	for i := range decoders {
		d := &decoders[i]
		v := replication.Unchanged
		if bit(present, i) {
			if v = replication.Null; nulls[k/8]&(1<<(k%8)) == 0 {
				v = d.value(c, a)
			}
			k++
		}
		if !d.skip {
			values[j] = v
			j++
		}
	}
	return values
}

// complete takes what the image after an update leaves out from the one before
// it: with binlog_row_image=MINIMAL or NOBLOB it did not change. What is in
// neither is Unchanged.
func (w *walker) complete(ch *replication.Change) {
	for i := range ch.After {
		if ch.After[i].IsUnchanged() && i < len(ch.Before) {
			if ch.After[i] = ch.Before[i]; ch.After[i].IsUnchanged() {
				w.lack = lacksOld
			}
		}
	}
	if w.lack == lacksNothing {
		return
	}
	for _, k := range w.plan.key {
		if k < len(ch.Before) && k < len(ch.After) && !ch.Before[k].Equal(ch.After[k]) {
			w.lack = lacksNew
		}
	}
}

// whole looks whether a new row is there as a whole: with
// binlog_row_image=MINIMAL the columns that were given no value are left out,
// with NOBLOB those of them that may be large. They have their defaults.
func (w *walker) whole(after []replication.Value) {
	if w.n1 == len(w.plan.decoders) {
		return
	}
	for i := range after {
		if after[i].IsUnchanged() {
			w.lack = lacksNew
		}
	}
}

// partialUpdate reads an update of which JSON columns may hold differences:
// MySQL source, "Partial_update_rows_event".
func (w *walker) partialUpdate(a *arena.Arena, ch *replication.Change) error {
	c := &w.c
	raw := make([][]byte, len(w.plan.decoders)) // the documents before
	ch.Before = w.imageOf(w.event.present, w.n1, a, func(i int, d *decoder) replication.Value {
		if d.op != opJSON {
			return d.value(c, a)
		}
		raw[i] = c.Bytes(c.LE(d.width))
		return d.json(raw[i], a)
	})
	var differs []byte
	if options := c.Packed(); options&1 != 0 {
		differs = c.Bytes(uint64(w.plan.json+7) / 8)
	}
	if c.Err != nil {
		return c.Err
	}
	json := 0
	var err error
	ch.After = w.imageOf(w.event.presentA, w.n2, a, func(i int, d *decoder) replication.Value {
		if d.op != opJSON {
			return d.value(c, a)
		}
		json++
		doc := c.Bytes(c.LE(d.width))
		if !bit(differs, json-1) {
			return d.json(doc, a)
		}
		if raw[i] == nil {
			err = errors.Join(err, refuse(fmt.Sprintf("table %s: the log holds only what changed in column %s, and not the document before", w.plan.table, w.plan.table.Columns[min(i, len(w.plan.table.Columns)-1)].Name),
				"SET GLOBAL binlog_row_image = FULL, or binlog_row_value_options = '' (and in the server's configuration file); then begin again with a new snapshot: cdc drop", nil))
			return replication.Null
		}
		v, patchErr := patchJSON(raw[i], doc, a)
		err = errors.Join(err, patchErr)
		return v
	}, func(i int, d *decoder) { // a NULL takes its bit, too
		if d.op == opJSON {
			json++
		}
	})
	if err == nil {
		err = c.Err
	}
	if err != nil {
		return err
	}
	w.complete(ch)
	return nil
}

// imageOf is image with a reader for each value.
func (w *walker) imageOf(present []byte, count int, a *arena.Arena, read func(int, *decoder) replication.Value, null ...func(int, *decoder)) []replication.Value {
	nulls := w.c.Bytes(uint64(count+7) / 8)
	values := a.Values(len(w.plan.table.Columns))
	j, k := 0, 0
	for i := range w.plan.decoders {
		d := &w.plan.decoders[i]
		v := replication.Unchanged
		if bit(present, i) {
			switch {
			case bit(nulls, k):
				v = replication.Null
				for _, f := range null {
					f(i, d)
				}
			case w.c.Err != nil:
				v = replication.Null
			default:
				v = read(i, d)
			}
			k++
		}
		if !d.skip {
			values[j] = v
			j++
		}
	}
	return values
}
