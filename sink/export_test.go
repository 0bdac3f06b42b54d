package sink

import "time"

// SetSettleTimeout changes how long a revoked member waits for its batch, and
// returns a function that puts it back.
func SetSettleTimeout(d time.Duration) func() {
	old := settleTimeout
	settleTimeout = d
	return func() { settleTimeout = old }
}
