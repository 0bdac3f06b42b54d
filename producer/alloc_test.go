package producer

import (
	"testing"

	"cdc/internal/servicetest"
)

// TestNoAllocationPerRecord: in steady state the memory of records goes round.
// What remains is kgo's and the brokers' answers, a few per request.
func TestNoAllocationPerRecord(t *testing.T) {
	p := open(t, nil)
	topic := servicetest.Name(t, "allocs")
	dropTopics(t, p, topic)
	const rows = 2000
	r := batchOf(topic, rows)
	acked := make(chan error, 1)
	done := func(err error) { acked <- err }
	send := func() {
		p.Produce(t.Context(), r, done)
		if err := <-acked; err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		send()
	}
	if n := testing.AllocsPerRun(20, send) / rows; n > 0.1 {
		t.Errorf("%.3f allocations a record", n)
	}
}
