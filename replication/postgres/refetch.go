package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"cdc/replication"
)

// refetcher supplies the values of updated rows that the log left out: TOASTed
// values that the update did not touch. In this order:
//
//  1. The change before it to the same row, in the same batch, has the value:
//     it is the very same one, because the update did not touch it.
//  2. The row is read from the table again, many rows a query. That is the
//     row's value now, which a later change may have set; it is marked in
//     Change.Refetched, and that later change is still to come.
//  3. The row is gone: the value stays Unchanged. Its delete is still to come.
//
// It has an ordinary connection of its own. The goroutine that calls fill owns
// it.
type refetcher struct {
	cfg     *Config
	session *session
	budget  int // of refetched bytes in one batch

	rows   int // to ask for in the next query, adapted to their size
	last   map[string]int
	keyBuf []byte
	warned map[string]bool
}

const (
	maxRefetchRows   = 1000
	firstRefetchRows = 64
)

func newRefetcher(cfg *Config) *refetcher {
	return &refetcher{
		cfg: cfg, session: newSession(cfg), budget: 4 * cfg.BatchBytes, rows: firstRefetchRows,
		last: map[string]int{}, warned: map[string]bool{},
	}
}

func (r *refetcher) close(ctx context.Context) { r.session.close(ctx) }

// fill supplies what the changes of b in b.incomplete lack. When their values
// are more than one batch should hold, it cuts b after some changes and returns
// the others, and the Position, as a batch that is still to be filled. When it
// returns an error it may be called again with the same b. Troubles that pass
// it waits out.
func (r *refetcher) fill(ctx context.Context, b *batch) (rest *batch, err error) {
	r.carry(b)
	todo := b.incomplete[:0:0]
	for _, i := range b.incomplete {
		if hasHole(b.Changes[i].After) && len(lookupKey(b.Changes[i].Table)) > 0 {
			todo = append(todo, i)
		}
	}
	if len(todo) == 0 {
		return nil, nil
	}
	if err := r.patiently(ctx, func() error { return r.awaitVisible(ctx, b, todo) }); err != nil {
		return nil, err
	}
	spent := 0
	for len(todo) > 0 {
		if spent >= r.budget {
			if rest, err = cut(ctx, b, int(todo[0]), todo); err != nil {
				return nil, err
			}
			break
		}
		n := min(r.rows, len(todo))
		var read int
		var open []int32 // what the budget left unread
		err := r.patiently(ctx, func() (err error) {
			read, open, err = r.readRows(ctx, b, todo[:n], r.budget-spent)
			return err
		})
		if err != nil {
			return nil, err
		}
		spent += read
		r.rows = max(1, min(maxRefetchRows, 2*r.rows, r.budget*n/max(read, 1)))
		todo = append(open, todo[n:]...)
	}
	b.Bytes += spent
	return rest, nil
}

// patiently runs f until it succeeds or fails for good.
func (r *refetcher) patiently(ctx context.Context, f func() error) error {
	for retry := (backoff{}); ; {
		err := f()
		if err == nil || ctx.Err() != nil || !transient(err) {
			return err
		}
		if retry.attempts == 0 {
			r.cfg.Logger.Warn("unchanged values cannot be read, trying again", "error", err)
		}
		if !retry.sleep(ctx) {
			return ctx.Err()
		}
	}
}

func hasHole(row []replication.Value) bool {
	return slices.ContainsFunc(row, replication.Value.IsUnchanged)
}

// lookupKey returns the indexes of the columns that name a row: the primary
// key, else the replica identity.
func lookupKey(t *replication.Table) []int {
	if len(t.Key) > 0 {
		return t.Key
	}
	var cols []int
	for i, c := range t.Columns {
		if c.Identity {
			cols = append(cols, i)
		}
	}
	return cols
}

// appendKey appends the table and the row's key, for maps; false when a part of
// the key is not there.
func appendKey(dst []byte, t *replication.Table, key []int, row []replication.Value) ([]byte, bool) {
	dst = append(append(append(dst, t.Schema...), 0), t.Name...)
	for _, k := range key {
		if row[k].IsUnchanged() {
			return dst, false
		}
		dst = append(dst, 0)
		dst = appendText(dst, row[k])
	}
	return dst, true
}

// carry copies values from the change before to the same row. All changes of a
// row pass by in order, so what an update left alone is what the change before
// it left behind.
func (r *refetcher) carry(b *batch) {
	clear(r.last)
	var keys []tableKeyCols // of the tables in question
	for _, i := range b.incomplete {
		t := b.Changes[i].Table
		if !slices.ContainsFunc(keys, func(k tableKeyCols) bool { return k.table == t }) {
			keys = append(keys, tableKeyCols{t, lookupKey(t)})
		}
	}
	for i := range b.Changes {
		c := &b.Changes[i]
		n := slices.IndexFunc(keys, func(k tableKeyCols) bool { return k.table == c.Table })
		if n < 0 {
			continue
		}
		key := keys[n].cols
		if c.Op == replication.OpTruncate {
			clear(r.last) // of other tables too, which costs a query at most
			continue
		}
		old := c.Before // its key, when it changed or the row is gone
		if old == nil {
			old = c.After
		}
		var ok bool
		if r.keyBuf, ok = appendKey(r.keyBuf[:0], c.Table, key, old); !ok {
			clear(r.last)
			continue
		}
		if c.Op == replication.OpUpdate {
			if j, found := r.last[string(r.keyBuf)]; found && b.Changes[j].Table == c.Table {
				carryValues(c, &b.Changes[j])
			}
		}
		delete(r.last, string(r.keyBuf))
		if c.After != nil {
			if r.keyBuf, ok = appendKey(r.keyBuf[:0], c.Table, key, c.After); ok {
				r.last[string(r.keyBuf)] = i
			}
		}
	}
}

type tableKeyCols struct {
	table *replication.Table
	cols  []int
}

func carryValues(c, before *replication.Change) {
	for i := range c.After {
		if c.After[i].IsUnchanged() && !slices.Contains(before.Refetched, int32(i)) {
			c.After[i] = before.After[i]
		}
	}
}

// awaitVisible waits until queries see the transactions of the changes. The log
// has a commit a moment before other sessions see it, with synchronous standbys
// a long one; read then, the row would be one version too old.
func (r *refetcher) awaitVisible(ctx context.Context, b *batch, todo []int32) error {
	var xids []uint32
	for _, i := range todo {
		xid, err := strconv.ParseUint(string(b.Changes[i].Tx.ID), 10, 32)
		if err == nil && !slices.Contains(xids, uint32(xid)) {
			xids = append(xids, uint32(xid))
		}
	}
	began := time.Now()
	for pause, told := time.Millisecond, false; ; pause = min(2*pause, 100*time.Millisecond) {
		var snapshot string
		err := r.session.do(ctx, func(conn *pgx.Conn) error {
			return conn.QueryRow(ctx, `SELECT pg_catalog.pg_current_snapshot()::text`).Scan(&snapshot)
		})
		if err != nil {
			return fmt.Errorf("read unchanged values: %w", err)
		}
		visible, err := allVisible(snapshot, xids)
		if err != nil || visible {
			return err
		}
		if !told && time.Since(began) > 10*time.Second {
			told = true
			r.cfg.Logger.Warn("waiting for a transaction that is in the log but not yet visible: does it wait for a synchronous standby?")
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// allVisible reports whether a snapshot sees the transactions. Its text is
// xmin:xmax:xip_list with 64-bit ids (PostgreSQL manual, "Transaction ID and
// Snapshot Information Functions"); the log has their lower halves.
func allVisible(snapshot string, xids []uint32) (bool, error) {
	parts := strings.Split(snapshot, ":")
	if len(parts) != 3 {
		return false, fmt.Errorf("read snapshot %q: not of the form xmin:xmax:xip_list", snapshot)
	}
	xmax, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return false, fmt.Errorf("read snapshot %q: %w", snapshot, err)
	}
	for _, xid := range xids {
		if int32(uint32(xmax)-xid) <= 0 {
			return false, nil
		}
	}
	for text := range strings.SplitSeq(parts[2], ",") {
		if text == "" {
			continue
		}
		running, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return false, fmt.Errorf("read snapshot %q: %w", snapshot, err)
		}
		if slices.Contains(xids, uint32(running)) {
			return false, nil
		}
	}
	return true, nil
}

// group is what one query asks for: rows of one table.
type group struct {
	table *replication.Table
	key   []int
	holes []int              // the columns to read
	rows  []int32            // of the changes, first of each row
	same  map[string][]int32 // by key: the changes of the row
}

// readRows reads the rows of the changes in todo, one query a table, and fills
// their holes. Once it has taken budget bytes it leaves the rest, which it
// returns, in order.
func (r *refetcher) readRows(ctx context.Context, b *batch, todo []int32, budget int) (read int, open []int32, err error) {
	var groups []*group
	for _, i := range todo {
		c := &b.Changes[i]
		n := slices.IndexFunc(groups, func(g *group) bool { return g.table == c.Table })
		if n < 0 {
			n = len(groups)
			groups = append(groups, &group{table: c.Table, key: lookupKey(c.Table), same: map[string][]int32{}})
		}
		g := groups[n]
		key, ok := appendKey(r.keyBuf[:0], c.Table, g.key, c.After)
		r.keyBuf = key
		if !ok {
			continue
		}
		if g.same[string(key)] == nil {
			g.rows = append(g.rows, i)
		}
		g.same[string(key)] = append(g.same[string(key)], i)
		for col, v := range c.After {
			if v.IsUnchanged() && !slices.Contains(g.holes, col) {
				g.holes = append(g.holes, col)
			}
		}
	}
	for _, g := range groups {
		var n int
		var left []int32
		err = r.session.do(ctx, func(conn *pgx.Conn) (err error) {
			n, left, err = r.readGroup(ctx, conn.PgConn(), b, g, budget-read)
			return err
		})
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
	slices.Sort(open)
	return read, open, nil
}

// errOtherShape says that a value does not fit the column as the log had it.
var errOtherShape = errors.New("the column has another type now")

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
	literal := replication.QuoteLiteral(name)
	b.WriteString(" WHERE t.tableoid = " + literal + "::regclass OR (SELECT c.relkind FROM pg_catalog.pg_class c WHERE c.oid = " + literal + "::regclass) = 'p'")
	return b.String()
}

func (r *refetcher) readGroup(ctx context.Context, conn *pgconn.PgConn, b *batch, g *group, budget int) (read int, left []int32, err error) {
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
			v, decodeErr := decoders[h].value(b.arena.copy(text), &b.arena)
			if decodeErr != nil || v.Kind() == replication.KindInvalid && v.Reason() == replication.ReasonForm {
				result.Close()
				return read, left, errOtherShape
			}
			vals[h] = v
		}
		for _, i := range same {
			fillHoles(&b.Changes[i], g.holes, vals, filled)
		}
	}
	_, err = result.Close()
	return read, left, err
}

func fillHoles(c *replication.Change, holes []int, vals []replication.Value, all []int32) {
	var some []int32
	for h, col := range holes {
		if c.After[col].IsUnchanged() {
			c.After[col] = vals[h]
			some = append(some, int32(col))
		}
	}
	slices.Sort(some)
	if slices.Equal(some, all) {
		some = all
	}
	c.Refetched = some
}

// cut moves the changes from index at on into another batch, with the Position.
// todo, sorted, holds the indexes of those that are still incomplete.
func cut(ctx context.Context, b *batch, at int, todo []int32) (*batch, error) {
	rest, err := b.pool.get(ctx)
	if err != nil {
		return nil, err
	}
	moved := b.Changes[at:]
	bytes := b.Bytes
	var from, to *replication.Transaction
	for i := range moved {
		c := moved[i]
		c.Before, c.After = rest.copyRow(c.Before), rest.copyRow(c.After)
		if c.Tx != from || to == nil {
			from, to = c.Tx, rest.arena.transaction()
			to.ID, to.Commit, to.CommitTime = rest.arena.copy(from.ID), rest.arena.copy(from.Commit), from.CommitTime
		}
		c.Tx = to
		rest.add(c, bytes/len(b.Changes))
	}
	for _, i := range todo {
		rest.incomplete = append(rest.incomplete, i-int32(at))
	}
	b.Bytes -= rest.Bytes
	rest.end, rest.Position = b.end, b.Position
	b.end, b.Position = 0, ""
	clear(moved)
	b.Changes = b.Changes[:at]
	b.incomplete = b.incomplete[:0]
	return rest, nil
}

// copyRow copies a row of another batch.
func (b *batch) copyRow(row []replication.Value) []replication.Value {
	if row == nil {
		return nil
	}
	c := b.arena.values(len(row))
	for i, v := range row {
		switch v.Kind() {
		case replication.KindDecimal, replication.KindString, replication.KindBytes, replication.KindUUID, replication.KindJSON:
			v = replication.BytesValue(v.Kind(), b.arena.copy(v.Bytes()))
		case replication.KindInvalid:
			v = replication.InvalidValue(b.arena.copy(v.Bytes()), v.Reason())
		case replication.KindArray:
			v = replication.ArrayValue(b.copyRow(v.Elems()))
		default: // the others point to nothing
		}
		c[i] = v
	}
	return c
}
