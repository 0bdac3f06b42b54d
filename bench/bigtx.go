package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// bigTransaction captures one transaction of twice as many rows as the other
// parts have, with cdc at work while it runs: how long after its commit the
// first row is in Kafka, and the most memory that cdc takes.
//
// Two kinds of it. One statement of the server's own makes rows about as fast as
// the walsender can decode them, on a core each: what the walsender is behind at
// the commit nobody can have sooner, so a client that discards everything reads
// the same first. An application makes the rows itself and sends them, 1,000 a
// statement.
func (b *bench) bigTransaction(ctx context.Context) error {
	url, conn, err := b.cluster(ctx, "bigtx")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	b.bigRows = 2 * b.rows
	fmt.Printf("bigtx: one transaction of %d rows\n", b.bigRows)
	if err := makeTable(ctx, conn); err != nil {
		return err
	}
	for _, name := range []string{"bigtx_raw", "bigtx", "bigtx_app"} {
		slot := "cdc_" + name
		err := execAll(ctx, conn, `TRUNCATE r`, `CHECKPOINT`, `CREATE PUBLICATION `+slot+` FOR TABLE r`,
			`SELECT pg_create_logical_replication_slot('`+slot+`', 'pgoutput')`)
		switch {
		case err != nil:
		case name == "bigtx_raw":
			err = b.bigRaw(ctx, url, conn, slot)
		case name == "bigtx":
			err = b.bigCapture(ctx, url, conn, name, b.oneStatement)
		default:
			err = b.bigCapture(ctx, url, conn, name, b.application)
		}
		if err != nil {
			return err
		}
	}
	return b.env.remove(ctx, "bigtx")
}

// bigRaw takes the time until the transaction's commit is at a client that
// discards everything. What came before COMMIT returned counts as 0.
func (b *bench) bigRaw(ctx context.Context, url string, conn *pgx.Conn, slot string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	r, err := startRawReader(ctx, url, slot, slot)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := inTransaction(ctx, conn, b.oneStatement); err != nil {
		return errors.Join(err, r.close())
	}
	committed := time.Now()
	at, err := r.commit(ctx)
	if err := errors.Join(err, r.close()); err != nil {
		return err
	}
	b.add("bigtx_server_ms", max(0, float64(at.Sub(committed).Microseconds())/1e3))
	fmt.Printf("  %-28s %s\n", "the transaction took", committed.Sub(began).Round(time.Millisecond))
	return nil
}

// bigCapture is one run of cdc, from before the transaction begins until all its
// rows are in Kafka.
func (b *bench) bigCapture(ctx context.Context, url string, conn *pgx.Conn, name string, insert func(context.Context, *pgx.Conn) error) error {
	topic := b.env.id + "_" + name
	p, err := b.env.capture(captureConfig{name: name, url: url, table: "r", topic: topic, snapshot: "never"})
	if err != nil {
		return err
	}
	streams := func() (active bool, err error) {
		err = conn.QueryRow(ctx, `SELECT active FROM pg_replication_slots WHERE slot_name = $1`, "cdc_"+name).Scan(&active)
		return active, err
	}
	err = until(ctx, p, poll, streams)
	began := time.Now()
	if err == nil {
		err = inTransaction(ctx, conn, insert)
	}
	committed := time.Now()
	if err == nil {
		err = until(ctx, p, poll, b.env.some(ctx, topic))
	}
	if err != nil {
		p.abandon()
		return err
	}
	b.add(name+"_first_ms", float64(time.Since(committed).Microseconds())/1e3)
	m, err := p.await(ctx, poll, b.env.published(ctx, topic, b.bigRows))
	if err != nil {
		return err
	}
	all := time.Since(committed)
	b.add(name+"_rss_mb", m.peakMB)
	fmt.Printf("  %-28s %s (the transaction took %s)\n", "last row, ms after commit", number(float64(all.Milliseconds())), committed.Sub(began).Round(time.Millisecond))
	return nil
}

func inTransaction(ctx context.Context, conn *pgx.Conn, do func(context.Context, *pgx.Conn) error) error {
	if err := execAll(ctx, conn, `BEGIN`); err != nil {
		return err
	}
	if err := do(ctx, conn); err != nil {
		return err
	}
	return execAll(ctx, conn, `COMMIT`)
}

// oneStatement inserts the rows that the server makes.
func (b *bench) oneStatement(ctx context.Context, conn *pgx.Conn) error {
	return execAll(ctx, conn, fmt.Sprintf(`INSERT INTO r %s(1, %d) g`, rowOf, b.bigRows))
}

// application inserts rows of its own, 1,000 a statement.
func (b *bench) application(ctx context.Context, conn *pgx.Conn) error {
	const per, columns = 1000, 10
	var sql strings.Builder
	sql.WriteString(`INSERT INTO r VALUES `)
	for i := range per * columns {
		switch {
		case i == 0:
			sql.WriteString("(")
		case i%columns == 0:
			sql.WriteString("), (")
		default:
			sql.WriteString(", ")
		}
		fmt.Fprintf(&sql, "$%d", i+1)
	}
	sql.WriteString(")")
	text := sql.String()
	args := make([]any, 0, per*columns)
	digest := make([]byte, 32)
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for g := 0; g < b.bigRows; g += per {
		args = args[:0]
		for i := g + 1; i <= g+per; i++ {
			args = append(args, i, i%1000, fmt.Sprintf("customer %d", i), fmt.Sprintf("note %032x", i), fmt.Sprintf("%d.%02d", i%10000, i%100),
				begin.Add(time.Duration(i)*time.Millisecond), i%2 == 0, float64(i)/7, begin.AddDate(0, 0, i%365), digest)
		}
		if _, err := conn.Exec(ctx, text, args...); err != nil {
			return fmt.Errorf("insert rows from %d on: %w", g+1, err)
		}
	}
	return nil
}
