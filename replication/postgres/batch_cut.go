package postgres

import (
	"context"

	"cdc/replication"
)

// cut moves the changes from index at on into another batch, with the Position.
// todo, sorted, lists those that are still incomplete.
func cut(ctx context.Context, pool *batchPool, b *batch, at int, todo []hole) (*batch, error) {
	rest, err := pool.Get(ctx)
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
			from, to = c.Tx, rest.Transaction()
			to.ID, to.Commit, to.CommitTime = rest.Copy(from.ID), rest.Copy(from.Commit), from.CommitTime
		}
		c.Tx = to
		if m := c.Message; m != nil {
			c.Message = rest.Message()
			*c.Message = replication.Message{Prefix: rest.Copy(m.Prefix), Content: rest.Copy(m.Content), Transactional: m.Transactional}
		}
		rest.Add(c, bytes/len(b.Changes))
	}
	for _, h := range todo {
		rest.incomplete = append(rest.incomplete, hole{h.at - int32(at), h.whose})
	}
	b.Bytes -= rest.Bytes
	rest.end, rest.Position, rest.Open = b.end, b.Position, b.Open
	b.end, b.Position, b.Open = 0, "", at > 0 && b.Changes[at-1].Tx == moved[0].Tx
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
	c := b.Values(len(row))
	for i, v := range row {
		switch v.Kind() {
		case replication.KindDecimal, replication.KindString, replication.KindBytes, replication.KindUUID, replication.KindJSON:
			v = replication.BytesValue(v.Kind(), b.Copy(v.Bytes()))
		case replication.KindInvalid:
			v = replication.InvalidValue(b.Copy(v.Bytes()), v.Reason())
		case replication.KindArray:
			v = replication.ArrayValue(b.copyRow(v.Elems()))
		default: // the others point to nothing
		}
		c[i] = v
	}
	return c
}
