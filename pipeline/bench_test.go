package pipeline

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"cdc/mapping"
	"cdc/replication"
)

// endless hands out one batch n times.
type endless struct {
	b    *replication.Batch
	left int
	acks int
}

var errEnd = errors.New("end")

func (s *endless) Next(context.Context) (*replication.Batch, error) {
	if s.left == 0 {
		return nil, errEnd
	}
	s.left--
	return s.b, nil
}
func (s *endless) Ack(replication.Position)    { s.acks++ }
func (s *endless) Close(context.Context) error { return nil }

// instant acknowledges at once.
type instant struct{}

func (instant) Produce(_ context.Context, _ *mapping.Records, done func(error)) { done(nil) }

// TestSteadyStateDoesNotAllocate: beyond the start, a batch costs no allocation
// (its rows even less).
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	const few, many = 2_000, 22_000
	run := func(batches int) float64 {
		return testing.AllocsPerRun(1, func() { _ = loop(batches, 10) })
	}
	if perBatch := (run(many) - run(few)) / (many - few); perBatch > 0.05 {
		t.Errorf("%.3f allocations a batch", perBatch)
	}
}

// BenchmarkLoop is what the loop itself costs, beside source, mapper and broker.
func BenchmarkLoop(b *testing.B) {
	for _, rows := range []int{1, 1000} {
		b.Run("rows="+strconv.Itoa(rows), func(b *testing.B) {
			b.ReportAllocs()
			if err := loop(b.N, rows); !errors.Is(err, errEnd) {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/row")
		})
	}
}

// loop runs a pipeline over so many batches.
func loop(batches, rows int) error {
	ids := make([]int64, rows)
	return New(Config{
		Source: &endless{b: batch("1", 1, ids...), left: batches}, Mapper: &mapper{}, Producer: instant{}, Checkpoints: &checkpoints{},
		InFlightBytes: 1 << 20,
	}).Run(context.Background())
}
