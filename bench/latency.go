package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	rate    = 1000 // single-row transactions a second
	writers = 8
	settle  = 4 * time.Second // at the beginning of a round, not counted
)

// measureLatency commits single-row transactions by the clock, whether or not
// earlier ones have arrived, and takes the time from each commit until a
// consumer has its record.
//
// A commit is taken at the moment COMMIT returns to the application, from which
// on it may rely on it. A record that was there before that counts as 0. The
// time of the commit record (header cdc.commit_time), which the server notes
// before it flushes the log to disk, is printed beside it.
func (b *bench) measureLatency(ctx context.Context) error {
	url, conn, err := b.cluster(ctx, "latency")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	fmt.Printf("latency: %d single-row transactions a second for %s\n", rate, b.latency)
	if err := makeTable(ctx, conn); err != nil {
		return err
	}
	round := len(b.samples["latency_ms_p50"])
	topic := fmt.Sprintf("%s_latency%d", b.env.id, round)
	p, err := b.env.capture(captureConfig{name: fmt.Sprintf("lat%d", round), url: url, table: "r", topic: topic, snapshot: "initial"})
	if err != nil {
		return err
	}
	defer p.abandon()
	// The first row shows that the way is open.
	if err := execAll(ctx, conn, `INSERT INTO r `+rowOf+`(0, 0) g`); err != nil {
		return err
	}
	if err := until(ctx, p, poll, func() (bool, error) {
		topics, err := b.env.admin.ListTopics(ctx, topic)
		if err != nil || topics[topic].Err != nil {
			return false, err
		}
		return b.env.published(ctx, topic, 1)()
	}); err != nil {
		return err
	}

	known, logged, err := b.commits(ctx, url, p, topic, `INSERT INTO r `+rowOf+`($1::bigint, $1::bigint) g`, idOfAvroKey)
	if err != nil {
		return err
	}
	slices.Sort(known)
	slices.Sort(logged)
	at := func(ms []float64, q float64) float64 { return ms[int(q*float64(len(ms)-1))] }
	b.add("latency_ms_p50", at(known, 0.5))
	b.add("latency_ms_p99", at(known, 0.99))
	fmt.Printf("  %-28s %s  %s\n", "p99.9, max ms", number(at(known, 0.999)), number(at(known, 1)))
	fmt.Printf("  %-28s %s  %s\n", "with the flush: p50, p99 ms", number(at(logged, 0.5)), number(at(logged, 0.99)))
	return b.env.remove(ctx, "latency")
}

// commits runs the insert, by the clock, as a transaction of its own for each of
// the numbers from 1 on, and returns for each that counts how many milliseconds
// after its commit, and after its commit record's time, its record came. id
// finds the number in a record.
func (b *bench) commits(ctx context.Context, url string, p *process, topic, insert string, id func(*kgo.Record) (int64, error)) (known, logged []float64, err error) {
	total := int((settle + b.latency).Seconds()) * rate
	var arrivals []arrival // by id
	received := make(chan error, 1)
	ctx, cancel := context.WithTimeout(ctx, settle+b.latency+30*time.Second)
	defer cancel()
	go func() {
		var err error
		arrivals, err = b.receive(ctx, topic, total, id)
		received <- err
	}()
	committed := make([]time.Time, total+1) // by id
	if err := write(ctx, url, insert, committed); err != nil {
		return nil, nil, err
	}
	if err := <-received; err != nil {
		return nil, nil, err
	}
	if _, err := p.stop(); err != nil {
		return nil, nil, err
	}
	for i := int(settle.Seconds())*rate + 1; i <= total; i++ {
		a := arrivals[i]
		if a.at.IsZero() {
			return nil, nil, fmt.Errorf("row %d did not arrive", i)
		}
		known = append(known, max(0, a.at.Sub(committed[i]).Seconds()*1000))
		logged = append(logged, a.at.Sub(a.logged).Seconds()*1000)
	}
	return known, logged, nil
}

// write commits the rows 1 to len(committed)-1, each at its time, and notes when
// the commit returned.
func write(ctx context.Context, url, insert string, committed []time.Time) error {
	total := len(committed) - 1
	var wg sync.WaitGroup
	errs := make([]error, writers)
	begin := time.Now()
	for w := range writers {
		wg.Go(func() {
			errs[w] = func() error {
				conn, err := pgx.Connect(ctx, url)
				if err != nil {
					return err
				}
				defer conn.Close(ctx)
				timer := time.NewTimer(0)
				defer timer.Stop()
				for i := w; i < total; i += writers {
					timer.Reset(time.Until(begin.Add(time.Duration(i) * time.Second / rate)))
					select {
					case <-ctx.Done():
						return ctx.Err()
					case <-timer.C:
					}
					if _, err := conn.Exec(ctx, insert, i+1); err != nil {
						return err
					}
					committed[i+1] = time.Now()
				}
				return nil
			}()
		})
	}
	wg.Wait()
	err := errors.Join(errs...)
	if late := time.Since(begin) - time.Duration(total)*time.Second/rate; late > time.Second {
		err = errors.Join(err, fmt.Errorf("the writers fell %s behind: this machine does not do %d commits a second", late, rate))
	}
	return err
}

// arrival is when a record came, and the time of its commit record.
type arrival struct{ at, logged time.Time }

// receive takes total records after the first and returns, by id, when each
// came.
func (b *bench) receive(ctx context.Context, topic string, total int, idOf func(*kgo.Record) (int64, error)) ([]arrival, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.env.brokers...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(1)}}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	arrivals := make([]arrival, total+1)
	for n := 0; n < total; {
		fetches := client.PollFetches(ctx)
		now := time.Now()
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("after %d of %d records: %w", n, total, err)
		}
		for iter := fetches.RecordIter(); !iter.Done(); n++ {
			r := iter.Next()
			id, err := idOf(r)
			if err == nil && (id < 1 || id > int64(total)) {
				err = fmt.Errorf("%d is not one of 1 to %d", id, total)
			}
			if err != nil {
				return nil, fmt.Errorf("key %x: %w", r.Key, err)
			}
			arrivals[id].logged = r.Timestamp // in milliseconds, unless there is a header
			arrivals[id].at = now
			for _, h := range r.Headers {
				if h.Key == "cdc.commit_time" {
					us, err := strconv.ParseInt(string(h.Value), 10, 64)
					if err != nil {
						return nil, err
					}
					arrivals[id].logged = time.UnixMicro(us)
				}
			}
		}
	}
	return arrivals, nil
}

// idOfAvroKey reads a key in Confluent's wire format: five bytes, then the Avro
// record {id: long}.
func idOfAvroKey(r *kgo.Record) (int64, error) {
	if len(r.Key) < 6 {
		return 0, errors.New("too short")
	}
	id, size := binary.Varint(r.Key[5:])
	if size <= 0 {
		return 0, errors.New("no number")
	}
	return id, nil
}
