package mysql

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff waits between attempts: 100 ms doubling to 10 s, of which a random
// half, so that many clients of a restarted server do not come at once.
type backoff struct {
	attempts int
	since    time.Time // since when a server behind, or an id in use, is waited for
}

// sleep waits for the next attempt. It returns false when ctx ended first.
func (b *backoff) sleep(ctx context.Context) bool {
	d := min(100*time.Millisecond<<min(b.attempts, 10), 10*time.Second)
	b.attempts++
	t := time.NewTimer(d/2 + rand.N(d/2))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
