package main

import (
	"context"
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
	warmUp  = 2 * time.Second
)

// measureLatency commits single-row transactions by the clock, whether or not
// earlier ones have arrived, and takes the time from each commit until a
// consumer has its record.
//
// The commit's time is the one in the commit record (header cdc.commit_time),
// which the server notes before it flushes the log: the flush counts in.
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
	topic := b.env.id + "_latency"
	p, err := b.env.capture(captureConfig{name: "lat", url: url, table: "r", topic: topic, snapshot: "initial"})
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

	total := int((warmUp + b.latency).Seconds()) * rate
	var arrivals []float64 // ms
	received := make(chan error, 1)
	ctx, cancel := context.WithTimeout(ctx, warmUp+b.latency+30*time.Second)
	defer cancel()
	go func() {
		var err error
		arrivals, err = b.receive(ctx, topic, total)
		received <- err
	}()
	if err := write(ctx, url, total); err != nil {
		return err
	}
	if err := <-received; err != nil {
		return err
	}
	if _, err := p.stop(); err != nil {
		return err
	}
	slices.Sort(arrivals)
	at := func(q float64) float64 { return arrivals[int(q*float64(len(arrivals)-1))] }
	b.add("latency_ms_p50", at(0.5))
	b.add("latency_ms_p99", at(0.99))
	fmt.Printf("  %-28s %s  %s\n", "p99.9, max ms", number(at(0.999)), number(at(1)))
	return b.env.remove(ctx, "latency")
}

// write commits total rows, each at its time.
func write(ctx context.Context, url string, total int) error {
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
					if _, err := conn.Exec(ctx, `INSERT INTO r `+rowOf+`($1::bigint, $1::bigint) g`, i+1); err != nil {
						return err
					}
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

// receive takes total records after the first and returns how long each of
// them was on its way, the first of them (the warm-up) left out.
func (b *bench) receive(ctx context.Context, topic string, total int) ([]float64, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.env.brokers...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(1)}}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var ms []float64
	for n := 0; n < total; {
		fetches := client.PollFetches(ctx)
		now := time.Now()
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("after %d of %d records: %w", n, total, err)
		}
		for iter := fetches.RecordIter(); !iter.Done(); {
			r := iter.Next()
			if n++; n <= int(warmUp.Seconds())*rate {
				continue
			}
			for _, h := range r.Headers {
				if h.Key == "cdc.commit_time" {
					us, err := strconv.ParseInt(string(h.Value), 10, 64)
					if err != nil {
						return nil, err
					}
					ms = append(ms, float64(now.UnixMicro()-us)/1000)
				}
			}
		}
	}
	if want := total - int(warmUp.Seconds())*rate; len(ms) != want {
		return nil, fmt.Errorf("%d of %d records carry cdc.commit_time", len(ms), want)
	}
	return ms, nil
}
