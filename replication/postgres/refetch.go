package postgres

import (
	"context"
	"slices"

	"cdc/replication"
	"cdc/replication/pace"
)

// refetcher supplies the values of updated rows that the log left out: TOASTed
// values that the update did not touch. In this order:
//
//  1. The change before it to the same row, in the same batch, has the value:
//     it is the very same one, because the update did not touch it.
//  2. The row is read from the table again, many rows a query. That is the
//     row's value now, which a later change may have set; it is marked in
//     Change.Refetched, and that later change is still to come.
//  3. The row has another key by now: what was read for the update that gave it
//     that key, in the same batch, is the value, when that one left it alone, too.
//  4. The row is gone: the value stays Unchanged. Its delete is still to come.
//
// It has an ordinary connection of its own. The goroutine that calls fill owns
// it.
type refetcher struct {
	cfg     *Config
	pool    *batchPool // of what does not fit into the batch at hand
	session *session
	budget  int // of refetched bytes in one batch
	// refused returns the refusal that the stream has ended with, if it has; nil
	// is a stream that never ends.
	refused func() error

	rows   int // to ask for in the next query, adapted to their size
	last   map[string]int
	keyBuf []byte
	warned map[string]bool
}

const (
	maxRefetchRows   = 1000
	firstRefetchRows = 64
)

func newRefetcher(cfg *Config, pool *batchPool) *refetcher {
	return &refetcher{
		cfg: cfg, pool: pool, session: newSession(cfg), budget: 4 * cfg.BatchBytes, rows: firstRefetchRows,
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
	for _, h := range b.incomplete {
		if c := &b.Changes[h.at]; hasHole(c.After) && len(lookupKey(c.Table)) > 0 {
			todo = append(todo, h)
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
			if rest, err = cut(ctx, r.pool, b, int(todo[0].at), todo); err != nil {
				return nil, err
			}
			break
		}
		n := min(r.rows, len(todo))
		var read int
		var open []hole // what the budget left unread
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
	r.carryBack(b)
	b.Bytes += spent
	return rest, nil
}

// patiently runs f until it succeeds or fails for good.
func (r *refetcher) patiently(ctx context.Context, f func() error) error {
	for retry := (pace.Backoff{}); ; {
		err := f()
		if err == nil || ctx.Err() != nil || !transient(err) {
			return err
		}
		if retry.Attempts == 0 {
			r.cfg.Logger.Warn("unchanged values cannot be read, trying again", "error", err)
		}
		if !retry.Sleep(ctx) {
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
	for _, h := range b.incomplete {
		t := b.Changes[h.at].Table
		if !slices.ContainsFunc(keys, func(k tableKeyCols) bool { return k.table == t }) {
			keys = append(keys, tableKeyCols{t, lookupKey(t)})
		}
	}
	todo := b.incomplete
	for i := range b.Changes {
		c := &b.Changes[i]
		wanted := len(todo) > 0 && int(todo[0].at) == i
		if wanted {
			todo = todo[1:]
		}
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
		if wanted {
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

// carryBack copies what was read for an update that moved a row to another key
// to the changes before it: under their key the row was not to be found.
func (r *refetcher) carryBack(b *batch) {
	if !slices.ContainsFunc(b.incomplete, func(h hole) bool { return int(h.at) < len(b.Changes) && hasHole(b.Changes[h.at].After) }) {
		return
	}
	clear(r.last)
	for i := len(b.Changes) - 1; i >= 0; i-- {
		c := &b.Changes[i]
		if c.Table == nil { // a message
			continue
		}
		key := lookupKey(c.Table)
		if c.Op == replication.OpUpdate && hasHole(c.After) {
			var ok bool
			if r.keyBuf, ok = appendKey(r.keyBuf[:0], c.Table, key, c.After); ok {
				if j, found := r.last[string(r.keyBuf)]; found && b.Changes[j].Table == c.Table {
					carryRead(c, &b.Changes[j])
				}
			}
		}
		// Before this change the new key was another row's, or nobody's.
		old, known := c.Before, true
		if old == nil {
			old = c.After
		}
		if c.After != nil {
			if r.keyBuf, known = appendKey(r.keyBuf[:0], c.Table, key, c.After); known {
				delete(r.last, string(r.keyBuf))
			}
		}
		if old != nil && known {
			if r.keyBuf, known = appendKey(r.keyBuf[:0], c.Table, key, old); known {
				delete(r.last, string(r.keyBuf))
			}
		}
		switch {
		case !known || c.Op == replication.OpTruncate:
			clear(r.last)
		case c.Op == replication.OpUpdate:
			r.last[string(r.keyBuf)] = i
		}
	}
}

func carryRead(c, after *replication.Change) {
	for i := range c.After {
		if c.After[i].IsUnchanged() && slices.Contains(after.Refetched, int32(i)) {
			c.After[i] = after.After[i]
			c.Refetched = append(slices.Clip(c.Refetched), int32(i))
		}
	}
	slices.Sort(c.Refetched)
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
