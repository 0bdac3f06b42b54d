// Package pace is what sources do alike with the clock: they wait between
// attempts, and tell how far a snapshot has come.
package pace

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff waits between attempts: 100 ms doubling to 10 s, of which a random
// half, so that many clients of a restarted server do not come at once. The zero
// Backoff is that of a first attempt.
type Backoff struct {
	Attempts int       // that were waited after
	Since    time.Time // for its user: since when something in the way is waited for; zero when nothing is
}

// Sleep waits for the next attempt. It returns false when ctx ended first.
func (b *Backoff) Sleep(ctx context.Context) bool {
	d := min(100*time.Millisecond<<min(b.Attempts, 10), 10*time.Second)
	b.Attempts++
	t := time.NewTimer(d/2 + rand.N(d/2))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
