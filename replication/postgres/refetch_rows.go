package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"cdc/replication"
)

// group is what one query asks for: rows of one table.
type group struct {
	table *replication.Table
	whose *origin
	key   []int
	holes []int             // the columns to read
	rows  []int32           // of the changes, first of each row
	same  map[string][]hole // by key: the changes of the row
}

// readRows reads the rows of the changes in todo, one query a table, and fills
// their holes. Once it has taken budget bytes it leaves the rest, which it
// returns, in order.
func (r *refetcher) readRows(ctx context.Context, b *batch, todo []hole, budget int) (read int, open []hole, err error) {
	var groups []*group
	for _, h := range todo {
		c := &b.Changes[h.at]
		if !hasHole(c.After) {
			continue // read before, by a query that then failed
		}
		n := slices.IndexFunc(groups, func(g *group) bool { return g.table == c.Table && g.whose == h.whose })
		if n < 0 {
			n = len(groups)
			groups = append(groups, &group{table: c.Table, whose: h.whose, key: lookupKey(c.Table), same: map[string][]hole{}})
		}
		g := groups[n]
		key, ok := appendKey(r.keyBuf[:0], c.Table, g.key, c.After)
		r.keyBuf = key
		if !ok {
			continue
		}
		if g.same[string(key)] == nil {
			g.rows = append(g.rows, h.at)
		}
		g.same[string(key)] = append(g.same[string(key)], h)
		for col, v := range c.After {
			if v.IsUnchanged() && !slices.Contains(g.holes, col) {
				g.holes = append(g.holes, col)
			}
		}
	}
	for _, g := range groups {
		n, left, err := r.readParts(ctx, b, g, budget-read)
		switch {
		case err == nil:
		case sqlState(err) == codeNoPrivilege:
			return 0, nil, &replication.Refusal{
				Problem: fmt.Sprintf("values of table %s that the log left out cannot be read from the table", g.table),
				Remedy:  "grant SELECT on it to the role of the URL: GRANT SELECT ON " + quoteTable(g.table.Schema, g.table.Name) + " TO …",
				Err:     err,
			}
		case strings.HasPrefix(sqlState(err), "42"), errors.Is(err, errOtherShape):
			// The table is another one by now: dropped, or columns renamed.
			if !r.warned[g.table.String()] {
				r.warned[g.table.String()] = true
				r.cfg.Logger.Warn("values that the log left out stay unknown: the table has changed since", "table", g.table.String(), "error", err)
			}
		default:
			return 0, nil, fmt.Errorf("read unchanged values of table %s: %w", g.table, err)
		}
		read += n
		open = append(open, left...)
	}
	slices.SortFunc(open, func(a, b hole) int { return cmp.Compare(a.at, b.at) })
	return read, open, nil
}

// readParts reads the rows of a group. Of a key that is no value of its column any
// more, as after RENAME VALUE of an enum or another CHECK of a domain, the server
// says so for the whole query: then it reads halves, down to that row, whose values
// stay unknown.
func (r *refetcher) readParts(ctx context.Context, b *batch, g *group, budget int) (read int, left []hole, err error) {
	err = r.session.do(ctx, func(conn *pgx.Conn) (err error) {
		read, left, err = r.readGroup(ctx, conn.PgConn(), b, g, budget)
		return err
	})
	if state := sqlState(err); !strings.HasPrefix(state, classData) && !strings.HasPrefix(state, classConstraint) {
		return read, left, err
	}
	if len(g.rows) == 1 {
		if about := g.table.String() + " keys"; !r.warned[about] {
			r.warned[about] = true
			r.cfg.Logger.Warn("values that the log left out stay unknown: the row's key is no value of its column any more", "table", g.table.String(), "error", err)
		}
		return 0, nil, nil
	}
	read, left = 0, nil
	half := len(g.rows) / 2
	for _, rows := range [][]int32{g.rows[:half], g.rows[half:]} {
		part := *g
		part.rows = rows
		n, more, err := r.readParts(ctx, b, &part, budget-read)
		if err != nil {
			return 0, nil, err
		}
		read, left = read+n, append(left, more...)
	}
	return read, left, nil
}

// errOtherShape says that the table, or a column to read, is not the one that
// the log had.
var errOtherShape = errors.New("the table or a column has been made anew since, or has another type")

// sql is the query for the group: keys come as one text array a key column.
// Rows of tables that inherit from the table do not count, those of its
// partitions do.
func (g *group) sql() string {
	var b strings.Builder
	name := quoteTable(g.table.Schema, g.table.Name)
	b.WriteString("SELECT k.i")
	for _, col := range g.holes {
		b.WriteString(", t." + replication.QuoteIdentifier(g.table.Columns[col].Name))
	}
	b.WriteString(" FROM ROWS FROM (")
	for n := range g.key {
		if n > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "pg_catalog.unnest($%d::text[])", n+1)
	}
	b.WriteString(") WITH ORDINALITY AS k(")
	for n := range g.key {
		fmt.Fprintf(&b, "k%d, ", n)
	}
	b.WriteString("i) JOIN " + name + " t ON ")
	for n, col := range g.key {
		if n > 0 {
			b.WriteString(" AND ")
		}
		c := &g.table.Columns[col]
		fmt.Fprintf(&b, "t.%s = k.k%d::%s", replication.QuoteIdentifier(c.Name), n, c.TypeName)
	}
	b.WriteString(" WHERE " + g.unaltered())
	fmt.Fprintf(&b, " AND (t.tableoid = %d OR (SELECT c.relkind FROM pg_catalog.pg_class c WHERE c.oid = %d) = 'p')", g.whose.oid, g.whose.oid)
	return b.String()
}

// unaltered is the condition that the table of that name is the one that the
// log had, and that its columns to read have the types they had there.
func (g *group) unaltered() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s::regclass = %d AND (SELECT count(*) FROM pg_catalog.pg_attribute a WHERE a.attrelid = %d AND NOT a.attisdropped AND (",
		replication.QuoteLiteral(quoteTable(g.table.Schema, g.table.Name)), g.whose.oid, g.whose.oid)
	for n, col := range g.holes {
		if n > 0 {
			b.WriteString(" OR ")
		}
		fmt.Fprintf(&b, "a.attname = %s AND a.atttypid = %d", replication.QuoteLiteral(g.table.Columns[col].Name), g.whose.types[col])
	}
	fmt.Fprintf(&b, ")) = %d", len(g.holes))
	return b.String()
}

func (r *refetcher) readGroup(ctx context.Context, conn *pgconn.PgConn, b *batch, g *group, budget int) (read int, left []hole, err error) {
	params := make([][]byte, len(g.key))
	for n, col := range g.key {
		a := []byte{'{'}
		for m, i := range g.rows {
			if m > 0 {
				a = append(a, ',')
			}
			a = appendElement(a, b.Changes[i].After[col])
		}
		params[n] = append(a, '}')
	}
	decoders := make([]columnDecoder, len(g.holes))
	for n, col := range g.holes {
		decoders[n] = newColumnDecoder(g.table.Columns[col])
	}
	var filled []int32 // Refetched of the changes that lack all of g.holes
	for _, col := range g.holes {
		filled = append(filled, int32(col))
	}
	slices.Sort(filled)

	seen := make([]bool, len(g.rows))
	vals := make([]replication.Value, len(g.holes))
	result := conn.ExecParams(ctx, g.sql(), params, nil, nil, nil)
	for result.NextRow() {
		row := result.Values()
		n, _ := strconv.Atoi(string(row[0]))
		if n < 1 || n > len(g.rows) || seen[n-1] {
			continue
		}
		seen[n-1] = true
		i := g.rows[n-1]
		r.keyBuf, _ = appendKey(r.keyBuf[:0], g.table, g.key, b.Changes[i].After)
		same := g.same[string(r.keyBuf)]
		if read >= budget {
			left = append(left, same...)
			continue
		}
		for h := range g.holes {
			text := row[h+1]
			if vals[h] = replication.Null; text == nil {
				continue
			}
			read += len(text)
			v := decoders[h].value(b.Copy(text), &b.Arena)
			if v.Kind() == replication.KindInvalid && v.Reason() == replication.ReasonForm {
				result.Close()
				return read, left, errOtherShape
			}
			vals[h] = v
		}
		for _, h := range same {
			fillHoles(&b.Changes[h.at], g.holes, vals, filled)
		}
	}
	if _, err = result.Close(); err == nil && !slices.Contains(seen, true) {
		err = g.explain(ctx, conn)
	}
	return read, left, err
}

// explain tells rows that are gone from a table that is another one by now.
func (g *group) explain(ctx context.Context, conn *pgconn.PgConn) error {
	result := conn.ExecParams(ctx, "SELECT "+g.unaltered(), nil, nil, nil, nil).Read()
	if result.Err == nil && len(result.Rows) == 1 && string(result.Rows[0][0]) != "t" {
		return errOtherShape
	}
	return result.Err
}

func fillHoles(c *replication.Change, holes []int, vals []replication.Value, all []int32) {
	var some []int32
	for h, col := range holes {
		if c.After[col].IsUnchanged() {
			c.After[col] = vals[h]
			some = append(some, int32(col))
		}
	}
	if some == nil {
		return // read before, by a query that then failed
	}
	slices.Sort(some)
	if slices.Equal(some, all) {
		some = all
	}
	c.Refetched = some
}
