package producer

import (
	"encoding/binary"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"cdc/internal/servicetest"
	"cdc/mapping"
)

// batchOf is what the mapper makes of one Batch: n rows of 200 bytes with five
// headers.
func batchOf(topic string, n int) *mapping.Records {
	r := &mapping.Records{}
	for i := range n {
		key := binary.BigEndian.AppendUint64([]byte{0, 0, 0, 0, 1}, uint64(i))
		value := make([]byte, 200)
		for j := range value {
			value[j] = byte(i*j) % 61
		}
		r.List = append(r.List, mapping.Record{
			Topic: topic, Key: key, Value: value, Time: 1_700_000_000_000_000 + int64(i), Table: orders,
			Headers: []mapping.Header{
				{Key: mapping.HeaderOp, Value: []byte("insert")},
				{Key: mapping.HeaderPosition, Value: []byte("16/B374D848:3")},
				{Key: mapping.HeaderTx, Value: []byte("123456")},
				{Key: mapping.HeaderCommitTime, Value: []byte("1700000000000000")},
			},
		})
	}
	return r
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkProduce measures a record's cost to a real Kafka when it is fed as
// fast as it takes records.
func BenchmarkProduce(b *testing.B) {
	p := open(b, nil)
	topic := servicetest.Name(b, "bench")
	dropTopics(b, p, topic)
	const rows = 2000
	free := make(chan *mapping.Records, 16)
	for range cap(free) {
		free <- batchOf(topic, rows)
	}
	var wg sync.WaitGroup
	send := func() {
		r := <-free
		wg.Add(1)
		p.Produce(b.Context(), r, func(err error) {
			if err != nil {
				b.Error(err)
			}
			free <- r
			wg.Done()
		})
	}
	for range 64 {
		send()
	}
	wg.Wait()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	from, n := cpu(), 0
	for b.Loop() {
		send()
		n += rows
	}
	wg.Wait()
	spent := cpu() - from
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(spent.Nanoseconds())/float64(n), "cpu-ns/record")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(n), "allocs/record")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(n), "B/record")
}
