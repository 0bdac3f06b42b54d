// Package apply is what the Writers of all databases share: finding the rows
// that a database refuses, sorting rows by what is to be done with them, trying
// again, the texts of values that every database reads alike, and the dialer.
package apply

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"cdc/sink"
)

// MaxBadRows bounds how many refused rows one Apply looks for.
const MaxBadRows = 1000

// RecheckMissing is how often a plan with missing columns looks whether they
// have appeared.
const RecheckMissing = 30 * time.Second

// TruncateChunk is how many keys one step of a partial truncate reads.
const TruncateChunk = 10_000

// IsRowErrors reports whether err tells which rows were refused.
func IsRowErrors(err error) bool {
	_, ok := errors.AsType[sink.RowErrors](err)
	return ok
}

// Connection is what Retry knows of a database's connection.
type Connection struct {
	// Ready makes sure that there is one with no transaction open.
	Ready func(context.Context) error
	// Transient reports whether an error may pass by itself.
	Transient func(error) bool
	// Lost is told of each transient error before the next try.
	Lost func(context.Context, error)
	Log  *slog.Logger
}

// Retry runs f until it succeeds or fails for good, reconnecting in between,
// with backoff. It returns ctx's error when ctx ends.
func (c *Connection) Retry(ctx context.Context, what string, f func() error) error {
	wait := 50 * time.Millisecond
	for {
		err := c.Ready(ctx)
		if err == nil {
			err = f()
		}
		if err == nil || ctx.Err() != nil || !c.Transient(err) {
			if ctx.Err() != nil && err != nil {
				return ctx.Err()
			}
			return err
		}
		c.Lost(ctx, err)
		c.Log.Warn("sink database: will try again", "while", what, "wait", wait, "error", err)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
		wait = min(wait*2, 10*time.Second)
	}
}

// Sorted returns the offsets in an order that is the same for all members of a
// group, so that two of them do not deadlock.
func Sorted(offsets []sink.Offset) []sink.Offset {
	sorted := slices.Clone(offsets)
	slices.SortFunc(sorted, func(a, b sink.Offset) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return int(a.Partition - b.Partition)
	})
	return sorted
}

// Applied reports whether every offset already stands at its Next, as read
// tells: a commit whose acknowledgement got lost did happen.
func Applied(offsets []sink.Offset, read func(topics []string) (map[string]map[int32]int64, error)) (bool, error) {
	if len(offsets) == 0 {
		return false, nil
	}
	var topics []string
	for _, o := range offsets {
		topics = append(topics, o.Topic)
	}
	have, err := read(topics)
	if err != nil {
		return false, err
	}
	for _, o := range offsets {
		if n, ok := have[o.Topic][o.Partition]; !ok || n != o.Next {
			return false, nil
		}
	}
	return true, nil
}

// Pick returns the columns that are wanted.
func Pick[C any](cols []C, want func(*C) bool) (picked []C) {
	for i := range cols {
		if want(&cols[i]) {
			picked = append(picked, cols[i])
		}
	}
	return picked
}

// Join makes a text of columns.
func Join[C any](cols []C, sep string, f func(*C) string) string {
	s := make([]string, len(cols))
	for i := range cols {
		s[i] = f(&cols[i])
	}
	return strings.Join(s, sep)
}
