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
}

func newRelations(c *catalog, snapshots map[string]pglogrepl.LSN) *relations {
	return &relations{catalog: c, snapshots: snapshots, wide: map[uint32][]*replication.Table{}}
}

// catalogPatience is how long the catalog may need to show what a transaction in
// the log has made of a table, before the connection is made anew.
const catalogPatience = 10 * time.Second

// lookUp returns what the catalog knows of m's table, zero when it has none (any
// more), and numbers m's columns. The log has a commit a moment before other
// sessions see it, with synchronous standbys a long one: columns that xid has
// made are awaited. Without what only the catalog knows of them, a rename would
// be another column, and rows from before would lack the default.
func (r *relations) lookUp(ctx context.Context, m *relationMessage, xid uint32) (tableInfo, error) {
	began := time.Now()
	for pause, seen := time.Millisecond, false; ; pause = min(2*pause, 100*time.Millisecond) {
		info, err := r.catalog.table(ctx, m.oid)
		if err != nil && !errors.Is(err, errNoTable) {
			return info, err
		}
		info.align(m.cols)
		if seen || info.fits(m.cols) {
			return info, nil
		}
		if seen, err = r.catalog.s.sees(ctx, []uint32{xid}); err != nil {
			return info, err
		}
		if seen {
			continue
		}
		if waited := time.Since(began); waited > catalogPatience {
			return info, fmt.Errorf("transaction %d has changed the table, and queries do not see it after %s; does it wait for a synchronous standby? %w",
				xid, waited.Round(time.Second), io.ErrUnexpectedEOF)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return info, ctx.Err()
		}
	}
}

// fits reports whether each column of the log is one of the catalog, of the same
// type.
func (t *tableInfo) fits(cols []wireColumn) bool {
	return !slices.ContainsFunc(cols, func(w wireColumn) bool {
		n := t.numbered(w.Number)
		return w.Number == 0 || n < 0 || t.Columns[n].TypeOID != w.TypeOID
	})
}

// resolve returns what rows look like after m, which is part of the transaction
// xid. It asks the catalog.
func (r *relations) resolve(ctx context.Context, m *relationMessage, xid uint32) (*relation, error) {
	if r.skip != nil && r.skip(m) {
		// As if its snapshot were later than any change.
		return &relation{table: &replication.Table{Schema: m.schema, Name: m.name}, before: math.MaxUint64}, nil
	}
	info, err := r.lookUp(ctx, m, xid)
	if err != nil {
		return nil, err
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
