package sink

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

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

// LateClient makes every sink get its Kafka client only when joined, given that
// client, has returned; and puts that back when the test ends.
func LateClient(t interface{ Cleanup(func()) }, joined func(*kgo.Client)) {
	newClient = func(opts ...kgo.Opt) (*kgo.Client, error) {
		cl, err := kgo.NewClient(opts...)
		if err == nil {
			joined(cl)
		}
		return cl, err
	}
	t.Cleanup(func() { newClient = kgo.NewClient })
}
