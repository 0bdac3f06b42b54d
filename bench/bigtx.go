package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// bigTransaction captures one transaction of twice as many rows as the other
// parts have, with cdc at work while it runs: how long after its commit the
// first row is in Kafka, and the most memory that cdc takes.
func (b *bench) bigTransaction(ctx context.Context) error {
	url, conn, err := b.cluster(ctx, "bigtx")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rows := 2 * b.rows
	fmt.Printf("bigtx: one transaction of %d rows\n", rows)
	err = errors.Join(makeTable(ctx, conn), execAll(ctx, conn, `CREATE PUBLICATION cdc_big FOR TABLE r`,
		`SELECT pg_create_logical_replication_slot('cdc_big', 'pgoutput')`))
	if err != nil {
		return err
	}
	topic := b.env.id + "_bigtx"
	p, err := b.env.capture(captureConfig{name: "big", url: url, table: "r", topic: topic, snapshot: "never"})
	if err != nil {
		return err
	}
	streams := func() (active bool, err error) {
		err = conn.QueryRow(ctx, `SELECT active FROM pg_replication_slots WHERE slot_name = 'cdc_big'`).Scan(&active)
		return active, err
	}
	err = until(ctx, p, poll, streams)
	began := time.Now()
	if err == nil {
		err = execAll(ctx, conn, `BEGIN`, fmt.Sprintf(`INSERT INTO r %s(1, %d) g`, rowOf, rows), `COMMIT`)
	}
	committed := time.Now()
	if err == nil {
		err = until(ctx, p, poll, b.env.some(ctx, topic))
	}
	if err != nil {
		p.abandon()
		return err
	}
	b.add("bigtx_first_ms", float64(time.Since(committed).Microseconds())/1e3)
	m, err := p.await(ctx, poll, b.env.published(ctx, topic, rows))
	if err != nil {
		return err
	}
	all := time.Since(committed)
	b.add("bigtx_rss_mb", m.peakMB)
	fmt.Printf("  %-28s %s (the transaction took %s)\n", "last row, ms after commit", number(float64(all.Milliseconds())), committed.Sub(began).Round(time.Millisecond))
	return b.env.remove(ctx, "bigtx")
}
