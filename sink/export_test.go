package sink

import "time"

// SetSettleTimeout changes how long a revoked member waits for its batch, and
// returns a function that puts it back.
func SetSettleTimeout(d time.Duration) func() {
	old := settleTimeout
	settleTimeout = d
	return func() { settleTimeout = old }
}

// ShortMeasure measures the lag often until the test ends.
func ShortMeasure(t interface{ Cleanup(func()) }) {
	old := measureEvery
	measureEvery = 100 * time.Millisecond
	t.Cleanup(func() { measureEvery = old })
}
