package replicationtest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"cdc/replication"
)

// reader reads a source, and writes down what comes.
type reader struct {
	w      *world
	s      replication.Source
	ack    bool // acknowledge every Position at once
	events []event
	pos    replication.Position // the newest
}

// event is a change that was written down.
type event struct {
	text  string             // as describe has it
	table *replication.Table // of the change
	tx    string             // its id and commit
	index uint64
	// safe is the newest Position when the change had come: all that is in it
	// came before.
	safe replication.Position
}

// describe renders a change so that it is the same for every family, whatever
// its log tells of old rows: of Before it has the key alone, and for an update
// only when the key changed.
//
//	insert t id=1 s="a"
//	update t id=1 s="b"
//	update t (id=1) id=2 s="b"
//	delete t id=2
//	truncate t
func describe(c *replication.Change) string {
	var b strings.Builder
	b.WriteString(c.Op.String())
	if c.Table == nil {
		return b.String()
	}
	b.WriteString(" " + c.Table.Name)
	switch c.Op {
	case replication.OpUpdate:
		if c.Before != nil && slices.ContainsFunc(c.Table.Key, func(k int) bool { return !c.Before[k].Equal(c.After[k]) }) {
			b.WriteString(" (" + strings.TrimPrefix(cells(c.Table, c.Before, c.Table.Key), " ") + ")")
		}
	case replication.OpDelete:
		b.WriteString(cells(c.Table, c.Before, c.Table.Key))
	default: // they have no row before
	}
	if c.After != nil {
		all := make([]int, len(c.After))
		for i := range all {
			all[i] = i
		}
		b.WriteString(cells(c.Table, c.After, all))
	}
	return b.String()
}

func cells(t *replication.Table, row []replication.Value, columns []int) string {
	var b strings.Builder
	for _, i := range columns {
		fmt.Fprintf(&b, " %s=%s", t.Columns[i].Name, row[i])
	}
	return b.String()
}

// next takes one batch, and checks what holds for every batch.
func (r *reader) next() *replication.Batch {
	r.w.Helper()
	b, err := r.s.Next(r.w.ctx)
	if err != nil {
		r.w.Fatalf("next: %v; %d changes came before, the last: %s", err, len(r.events), r.last())
	}
	return b
}

func (r *reader) last() string {
	if len(r.events) == 0 {
		return "none"
	}
	return r.events[len(r.events)-1].text
}

// take takes the next batch and writes it down.
func (r *reader) take() {
	r.w.Helper()
	b := r.next()
	r.note(b)
	b.Release()
}

func (r *reader) note(b *replication.Batch) {
	r.w.Helper()
	for i := range b.Changes {
		c := &b.Changes[i]
		if c.Tx == nil {
			r.w.Fatalf("%s has no transaction", describe(c))
		}
		if c.Table != nil {
			for _, row := range [][]replication.Value{c.Before, c.After} {
				if row != nil && len(row) != len(c.Table.Columns) {
					r.w.Fatalf("%s %s has %d values for %d columns", c.Op, c.Table, len(row), len(c.Table.Columns))
				}
			}
		}
		r.events = append(r.events, event{
			text: describe(c), table: c.Table, tx: fmt.Sprintf("%s at %s", c.Tx.ID, c.Tx.Commit), index: c.Index, safe: r.pos,
		})
	}
	if b.Position != "" {
		r.pos = b.Position
		if r.ack {
			r.s.Ack(b.Position)
		}
	}
}

// until takes batches until enough says so.
func (r *reader) until(enough func() bool) {
	r.w.Helper()
	for !enough() {
		r.take()
	}
}

// settle reads on until everything has come that is committed by now, and until
// there is a Position behind it. The fence is not written down.
func (r *reader) settle() {
	r.w.Helper()
	id := r.w.nextFence()
	r.w.exec(insert(fence, id))
	want := fmt.Sprintf("insert fence id=%d", id)
	for {
		before := r.pos
		r.take()
		if n := len(r.events) - 1; n >= 0 && r.events[n].text == want {
			for r.pos == before { // not yet: the fence came without one
				r.take()
			}
			break
		}
	}
	r.events = slices.DeleteFunc(r.events, func(e event) bool { return e.text == want })
}

// lines returns what was written down since the last call.
func (r *reader) lines() []string {
	lines := make([]string, len(r.events))
	for i, e := range r.events {
		lines[i] = e.text
	}
	r.events = nil
	return lines
}

// want settles and compares all that came since the last call.
func (r *reader) want(lines ...string) {
	r.w.Helper()
	r.settle()
	if diff := cmp.Diff(lines, r.lines()); diff != "" {
		r.w.Fatalf("what came (+) is not what happened (-):\n%s", diff)
	}
}

// checkOrder makes sure that the changes of a transaction come together,
// numbered from 0, and that no transaction comes twice.
func (r *reader) checkOrder(events []event) {
	r.w.Helper()
	seen := map[string]bool{}
	tx, next := "", uint64(0)
	for _, e := range events {
		if e.tx != tx {
			if seen[e.tx] {
				r.w.Fatalf("transaction %s comes again with %s", e.tx, e.text)
			}
			tx, next, seen[e.tx] = e.tx, 0, true
		}
		if e.index != next {
			r.w.Fatalf("transaction %s: %s has index %d, want %d", e.tx, e.text, e.index, next)
		}
		next++
	}
}
