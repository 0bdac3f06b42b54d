package apply

import (
	"context"

	"cdc/sink"
)

// Rows is some rows of a sink.Rows and how they are to be written.
type Rows[H any] struct {
	Index []int32 // into sink.Rows.Rows
	How   H
}

// refused is one row that a database refused, and why.
type refused[H any] struct {
	Rows[H]
	err error
}

// Careful writes rows so that those a database refuses are found: by bisection
// of what it refused as a whole. Not safe for concurrent use.
type Careful[H any] struct {
	// Attempt writes rows in a savepoint of their own; fault is an error that
	// lies in the rows, and is undone.
	Attempt func(context.Context, Rows[H]) (fault, err error)
	// Again reports whether a row that was refused for err may be taken once the
	// others are in their places: it met another one's unique value, or a row that
	// it refers to.
	Again func(how H, err error) bool

	refused []refused[H]
}

// Run writes the rows. found is how many bad rows are known already.
func (c *Careful[H]) Run(ctx context.Context, rows Rows[H], found int) error {
	if found+len(c.refused) >= MaxBadRows {
		return nil // what was found is left out first, then the rest is tried again
	}
	fault, err := c.Attempt(ctx, rows)
	if fault == nil || err != nil {
		return err
	}
	n := len(rows.Index)
	if n == 1 {
		c.refused = append(c.refused, refused[H]{rows, fault})
		return nil
	}
	half := rows
	half.Index = rows.Index[:n/2]
	if err := c.Run(ctx, half, found); err != nil {
		return err
	}
	half.Index = rows.Index[n/2:]
	return c.Run(ctx, half, found)
}

// Settle tries refused rows again as long as that helps: a row may have stood
// in the way of another one (a second unique index, a foreign key of the table
// to itself) that came to its place by now. What is left goes to bad: the row's
// index and why it was refused.
func (c *Careful[H]) Settle(ctx context.Context, bad func(row int, err error)) error {
	for progress := true; progress; {
		progress = false
		left := c.refused[:0]
		for _, r := range c.refused {
			if !c.Again(r.How, r.err) {
				left = append(left, r)
				continue
			}
			fault, err := c.Attempt(ctx, r.Rows)
			if err != nil {
				return err
			}
			if progress = progress || fault == nil; fault != nil {
				left = append(left, refused[H]{r.Rows, fault})
			}
		}
		c.refused = left
	}
	for _, r := range c.refused {
		bad(int(r.Index[0]), r.err)
	}
	c.refused = nil
	return nil
}

// Split is rows sorted by what is to be done with them, in this order. Its
// memory serves one batch after the other.
type Split struct {
	Deletes, New, Upserts []int32
	// Partial are rows with Unchanged values by the set of the fields they have:
	// a byte a field, 1 or 0.
	Partial map[string][]int32
}

// Sort sorts rows. fields are those that are written; apart is whether rows that
// are probably new are to stand apart.
func (s *Split) Sort(rows []sink.Row, fields []int, apart bool) {
	s.Deletes, s.New, s.Upserts = s.Deletes[:0], s.New[:0], s.Upserts[:0]
	if s.Partial == nil {
		s.Partial = map[string][]int32{}
	}
	clear(s.Partial)
	for i := range rows {
		r := &rows[i]
		if r.Delete || r.Replace {
			s.Deletes = append(s.Deletes, int32(i))
		}
		switch {
		case r.Delete:
		case hasUnchanged(r, fields):
			set := make([]byte, len(r.Values))
			for _, f := range fields {
				if !r.Values[f].IsUnchanged() {
					set[f] = 1
				}
			}
			s.Partial[string(set)] = append(s.Partial[string(set)], int32(i))
		case r.New && apart:
			s.New = append(s.New, int32(i))
		default:
			s.Upserts = append(s.Upserts, int32(i))
		}
	}
}

// hasUnchanged reports whether a field of the row was left out of the log.
func hasUnchanged(r *sink.Row, fields []int) bool {
	for _, f := range fields {
		if r.Values[f].IsUnchanged() {
			return true
		}
	}
	return false
}
