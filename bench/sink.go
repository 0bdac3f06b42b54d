package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// sink applies a topic of all rows to an empty table, and once more with all
// keys there, in turn with a raw COPY of the same rows.
func (b *bench) sink(ctx context.Context) error {
	source, conn, err := b.cluster(ctx, "source")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	fmt.Printf("sink: a topic of %d rows\n", b.rows)
	if err := errors.Join(makeTable(ctx, conn), fill(ctx, conn, b.rows, 10_000)); err != nil {
		return err
	}
	// The rows as COPY's text, in memory: the raw COPY is bound by the server.
	var text bytes.Buffer
	if _, err := conn.PgConn().CopyTo(ctx, &text, `COPY r TO STDOUT`); err != nil {
		return err
	}
	topic := b.env.id + "_sink"
	p, err := b.env.capture(captureConfig{name: "feed", url: source, table: "r", topic: topic, snapshot: "initial"})
	if err != nil {
		return err
	}
	if _, err := p.await(ctx, 100*time.Millisecond, b.env.published(ctx, topic, b.rows)); err != nil {
		return err
	}
	if err := b.env.remove(ctx, "source"); err != nil {
		return err
	}

	url, target, err := b.cluster(ctx, "target")
	if err != nil {
		return err
	}
	defer target.Close(ctx)
	for i := range b.rounds {
		if err := execAll(ctx, target, `CREATE TABLE raw `+tableColumns, `CHECKPOINT`); err != nil {
			return err
		}
		begin := time.Now()
		if _, err := target.PgConn().CopyFrom(ctx, bytes.NewReader(text.Bytes()), `COPY raw FROM STDIN`); err != nil {
			return err
		}
		b.add("copy_rows_per_s", float64(b.rows)/time.Since(begin).Seconds())
		table := fmt.Sprintf("t%d", i)
		empty, err := b.applyTopic(ctx, target, url, fmt.Sprintf("empty%d", i), topic, table)
		if err != nil {
			return err
		}
		b.add("sink_rows_per_s", float64(b.rows)/empty.elapsed.Seconds())
		b.add("sink_cpu_s_per_million", empty.cpu.Seconds()/float64(b.rows)*1e6)
		// Another group reads the topic from its beginning.
		again, err := b.applyTopic(ctx, target, url, fmt.Sprintf("again%d", i), topic, table)
		if err != nil {
			return err
		}
		b.add("sink_upsert_rows_per_s", float64(b.rows)/again.elapsed.Seconds())
		fmt.Printf("  %-28s %s\n", "upsert CPU s/million", number(again.cpu.Seconds()/float64(b.rows)*1e6))
		fmt.Printf("  %-28s %s  %s\n", "peak MB", number(empty.peakMB), number(again.peakMB))
		// What arrived is what COPY wrote.
		var differ int
		err = target.QueryRow(ctx, fmt.Sprintf(`SELECT count(*) FROM raw FULL JOIN %s t USING (id)
			WHERE (raw.n, raw.name, raw.note, raw.amount, raw.at, raw.ok, raw.ratio, raw.day, raw.digest)
			IS DISTINCT FROM (t.n, t.name, t.note, t.amount, t.at, t.ok, t.ratio, t.day, t.digest)`, table)).Scan(&differ)
		if err != nil {
			return err
		}
		if differ != 0 {
			return fmt.Errorf("%d rows of the sink's table differ", differ)
		}
		if err := execAll(ctx, target, `DROP TABLE raw, `+table); err != nil {
			return err
		}
	}
	return b.env.remove(ctx, "target")
}

// applyTopic runs the sink until the last row of the topic has been written by
// it. The topic has one partition, and a sink applies it in order.
func (b *bench) applyTopic(ctx context.Context, target *pgx.Conn, url, name, topic, table string) (measured, error) {
	// A row version names the transaction that wrote it: the last row written
	// after this one is this run's.
	var before string
	if err := target.QueryRow(ctx, `SELECT pg_current_xact_id()::text`).Scan(&before); err != nil {
		return measured{}, err
	}
	if err := execAll(ctx, target, `CHECKPOINT`); err != nil {
		return measured{}, err
	}
	p, err := b.env.sinkInto(name, url, topic, table)
	if err != nil {
		return measured{}, err
	}
	return p.await(ctx, poll, func() (done bool, err error) {
		var there bool
		if err := target.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, table).Scan(&there); err != nil || !there {
			return false, err
		}
		err = target.QueryRow(ctx, fmt.Sprintf(`SELECT count(*) = 1 FROM %s WHERE id = $1 AND xmin::text::bigint > $2::text::bigint`, table), b.rows, before).Scan(&done)
		return done, err
	})
}
