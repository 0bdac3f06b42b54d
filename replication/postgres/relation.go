package postgres

import (
	"context"
	"errors"
	"math"
	"slices"

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

// resolve returns what rows look like after m. It asks the catalog.
func (r *relations) resolve(ctx context.Context, m *relationMessage) (*relation, error) {
	if r.skip != nil && r.skip(m) {
		// As if its snapshot were later than any change.
		return &relation{table: &replication.Table{Schema: m.schema, Name: m.name}, before: math.MaxUint64}, nil
	}
	info, err := r.catalog.table(ctx, m.oid)
	if err != nil && !errors.Is(err, errNoTable) {
		return nil, err
	}
	info.align(m.cols)
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
