package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/jackc/pglogrepl"

	"cdc/replication"
)

// relations makes relation messages into relations. The message is of its place
// in the log, the catalog of today: what they disagree about the message knows
// better, and what only the catalog knows (NOT NULL, the key's order, the key
// under REPLICA IDENTITY FULL) is taken as far as it fits. Not safe for
// concurrent use: the goroutine of the stream owns it, with the catalog.
type relations struct {
	catalog *catalog
	// snapshots holds, by tableKey, the consistent points of the snapshots.
	snapshots map[string]pglogrepl.LSN
	// skip says which relations are not captured, though the publication has
	// them: their changes are passed over. nil captures all.
	skip func(*relationMessage) bool
	// captured holds the configured tables by OID.
	captured map[uint32]replication.TableName
	// wide holds, by OID, the Tables that were made by widen, so that a reread
	// of the same piece of the log finds the same pointers.
	wide map[uint32][]*replication.Table

	patience time.Duration // catalogPatience
	unseen   uint32        // a transaction that is not waited for again
}

func newRelations(c *catalog, snapshots map[string]pglogrepl.LSN) *relations {
	return &relations{catalog: c, snapshots: snapshots, wide: map[uint32][]*replication.Table{}, patience: catalogPatience}
}

// catalogPatience is how long the catalog may need to show what a transaction in
// the log has made of a table, before the connection is made anew; a tenth of it
// where the catalog has the table as the log has it.
const catalogPatience = 10 * time.Second

// lookUp returns what the catalog knows of m's table, zero when it has none (any
// more), and numbers m's columns. The log has a commit a moment before other
// sessions see it, with synchronous standbys a long one, so m's transaction xid is
// awaited: asked before, the catalog lacks the columns that it has made, or has
// those in their place that it has dropped. Without what only the catalog knows of
// them, a rename would be another column, and rows from before would lack the
// default. While it waits it calls alive.
func (r *relations) lookUp(ctx context.Context, m *relationMessage, xid uint32, alive func() error) (tableInfo, error) {
	if r.skip != nil && r.skip(m) {
		return tableInfo{}, nil // nobody asks
	}
	began := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		seen, err := r.catalog.s.sees(ctx, []uint32{xid})
		if err != nil {
			return tableInfo{}, err
		}
		info, err := r.catalog.table(ctx, m.oid)
		if err != nil && !errors.Is(err, errNoTable) {
			return info, err
		}
		waited := time.Since(began)
		if !seen && info.is(m) && (xid == r.unseen || waited >= r.patience/10) {
			r.unseen, seen = xid, true // it has changed nothing that shows
		}
		if seen {
			info.align(m.cols)
			return info, nil
		}
		if waited >= r.patience {
			return info, fmt.Errorf("transaction %d has changed the table, and queries do not see it after %s; does it wait for a synchronous standby? %w",
				xid, waited.Round(time.Second), io.ErrUnexpectedEOF)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return info, ctx.Err()
		}
		if err := alive(); err != nil {
			return info, err
		}
	}
}

// is reports whether the catalog has the table just as m has it.
func (t *tableInfo) is(m *relationMessage) bool {
	if t.OID != m.oid || t.Schema != m.schema || t.Name != m.name || t.Identity != m.identity {
		return false
	}
	identity, rest := t.identity(), slices.Clone(m.cols)
	for i := range t.Columns {
		c := &t.Columns[i]
		n := slices.IndexFunc(rest, func(w wireColumn) bool { return w.Name == c.Name })
		if n < 0 && (c.Generated || t.Listed) {
			continue // left out
		}
		if n < 0 || rest[n].TypeOID != c.TypeOID || rest[n].Typmod != c.Typmod ||
			rest[n].Identity != (t.Identity == identityFull || slices.Contains(identity, c.Name)) {
			return false
		}
		rest = slices.Delete(rest, n, n+1)
	}
	return len(rest) == 0
}

// resolve returns what rows look like after m, of whose table info is what lookUp
// has returned. It asks the catalog for types.
func (r *relations) resolve(ctx context.Context, m *relationMessage, info tableInfo) (*relation, error) {
	if r.skip != nil && r.skip(m) {
		// As if its snapshot were later than any change.
		return &relation{table: &replication.Table{Schema: m.schema, Name: m.name}, before: math.MaxUint64}, nil
	}
	name := replication.TableName{Schema: m.schema, Name: m.name}
	home, ok := r.captured[m.oid]
	if !ok || r.catalog.s.config.table(name) != nil {
		home = name
	}
	table, err := r.catalog.shape(ctx, name, home, m.identity, m.cols, info)
	if err != nil {
		return nil, err
	}
	rel := &relation{
		table:  table,
		cols:   make([]columnDecoder, len(table.Columns)),
		before: r.snapshots[tableKey(home.Schema, home.Name)],
		widen: func(t *replication.Table, i int) *replication.Table {
			return r.widen(m.oid, t, i)
		},
	}
	for i, c := range table.Columns {
		rel.cols[i] = newColumnDecoder(c)
	}
	toast := r.catalog.s.config.toast(home)
	if rel.omit = toast == ToastOmit; toast != ToastFail {
		rel.refetch = &origin{oid: m.oid, types: make([]uint32, len(m.cols))}
		for i, c := range m.cols {
			rel.refetch.types[i] = c.TypeOID
		}
	}
	return rel, nil
}

// widen returns t with column i nullable.
func (r *relations) widen(oid uint32, t *replication.Table, i int) *replication.Table {
	w := *t
	w.Columns = slices.Clone(t.Columns)
	w.Columns[i].NotNull = false
	known := r.wide[oid]
	if k := slices.IndexFunc(known, w.Equal); k >= 0 {
		return known[k]
	}
	r.wide[oid] = append(known, &w)
	return &w
}
