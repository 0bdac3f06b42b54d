package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
)

const poll = 10 * time.Millisecond

// capture drains the same backlog by pg_recvlogical and by cdc, in turn: one
// slot a drain, all made before the rows were written.
func (b *bench) capture(ctx context.Context) error {
	url, conn, err := b.cluster(ctx, "capture")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rows := 2 * b.rows // so that the start of the process counts for little
	fmt.Printf("capture: a backlog of %d rows in 100-row transactions\n", rows)
	if err := makeTable(ctx, conn); err != nil {
		return err
	}
	for i := range b.rounds {
		err := execAll(ctx, conn,
			fmt.Sprintf(`CREATE PUBLICATION cdc_b%d FOR TABLE r`, i),
			fmt.Sprintf(`SELECT pg_create_logical_replication_slot('cdc_b%d', 'pgoutput')`, i),
			fmt.Sprintf(`SELECT pg_create_logical_replication_slot('recv%d', 'pgoutput')`, i))
		if err != nil {
			return err
		}
	}
	if err := fill(ctx, conn, rows, 100); err != nil {
		return err
	}
	end, err := walEnd(ctx, conn)
	if err != nil {
		return err
	}
	for i := range b.rounds {
		if err := b.recvlogical(ctx, url, fmt.Sprintf("recv%d", i), fmt.Sprintf("cdc_b%d", i), end, rows); err != nil {
			return err
		}
		topic := fmt.Sprintf("%s_capture%d", b.env.id, i)
		p, err := b.env.capture(captureConfig{name: fmt.Sprintf("b%d", i), url: url, table: "r", topic: topic, snapshot: "never"})
		if err != nil {
			return err
		}
		m, err := p.await(ctx, poll, b.env.published(ctx, topic, rows))
		if err != nil {
			return err
		}
		b.add("capture_rows_per_s", float64(rows)/m.elapsed.Seconds())
		b.add("capture_cpu_s_per_million", m.cpu.Seconds()/float64(rows)*1e6)
		b.add("capture_rss_mb", m.peakMB)
	}
	return b.env.remove(ctx, "capture")
}

// cluster returns the private cluster of that name, and a connection.
func (b *bench) cluster(ctx context.Context, name string) (url string, conn *pgx.Conn, err error) {
	if url, err = b.env.postgres(ctx, name); err != nil {
		return "", nil, err
	}
	conn, err = pgx.Connect(ctx, url)
	return url, conn, err
}

// walEnd flushes the log and returns its end.
func walEnd(ctx context.Context, conn *pgx.Conn) (lsn string, err error) {
	// A commit that waits for the disk carries those before it that did not.
	if err := execAll(ctx, conn, `CREATE TABLE IF NOT EXISTS flushed()`, `DROP TABLE flushed`, `CHECKPOINT`); err != nil {
		return "", err
	}
	err = conn.QueryRow(ctx, `SELECT pg_current_wal_flush_lsn()::text`).Scan(&lsn)
	return lsn, err
}

// recvlogical drains a slot with PostgreSQL's own client. Where that is not to
// be had there is nothing to compare with, and the result says so by absence.
func (b *bench) recvlogical(ctx context.Context, url, slot, publication, end string, rows int) error {
	program, err := b.env.program(ctx, "pg_recvlogical")
	if err != nil {
		fmt.Println("  recvlogical_rows_per_s       none:", err)
		return nil
	}
	begin := time.Now()
	cmd := exec.CommandContext(ctx, program, "-d", url, "--slot", slot, "--start", "--no-loop", "--endpos", end, "-F", "0", "-f", os.DevNull,
		"-o", "proto_version=1", "-o", "publication_names="+publication)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_recvlogical: %w\n%s", err, out)
	}
	b.add("recvlogical_rows_per_s", float64(rows)/time.Since(begin).Seconds())
	return nil
}

// program finds a client program of PostgreSQL.
func (e *environment) program(ctx context.Context, name string) (string, error) {
	bin, err := e.home.PostgresBin(ctx, 0)
	if err != nil {
		return "", err
	}
	if file := filepath.Join(bin, name); exists(file) {
		return file, nil
	}
	if file, err := exec.LookPath(name); err == nil {
		return file, nil
	}
	return "", errors.New(name + " is neither beside the server in " + bin + " nor in PATH (npm's PostgreSQL has no clients): install postgresql-client")
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// snapshot copies a table by cdc's first snapshot and by COPY, in turn.
func (b *bench) snapshot(ctx context.Context) error {
	url, conn, err := b.cluster(ctx, "snapshot")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	fmt.Printf("snapshot: a table of %d rows\n", b.rows)
	// Frozen, so that no reader has to write hint bits for those after it.
	if err := errors.Join(makeTable(ctx, conn), fill(ctx, conn, b.rows, 10_000), execAll(ctx, conn, `VACUUM (FREEZE, ANALYZE) r`, `CHECKPOINT`)); err != nil {
		return err
	}
	for i := range b.rounds {
		begin := time.Now()
		tag, err := conn.PgConn().CopyTo(ctx, io.Discard, `COPY r TO STDOUT`)
		if err != nil {
			return err
		}
		b.add("copyout_rows_per_s", float64(tag.RowsAffected())/time.Since(begin).Seconds())
		topic := fmt.Sprintf("%s_snapshot%d", b.env.id, i)
		p, err := b.env.capture(captureConfig{name: fmt.Sprintf("s%d", i), url: url, table: "r", topic: topic, snapshot: "initial"})
		if err != nil {
			return err
		}
		m, err := p.await(ctx, poll, b.env.published(ctx, topic, b.rows))
		if err != nil {
			return err
		}
		b.add("snapshot_rows_per_s", float64(b.rows)/m.elapsed.Seconds())
		fmt.Printf("  %-28s %s\n", "CPU s/million, peak MB", number(m.cpu.Seconds()/float64(b.rows)*1e6)+"  "+number(m.peakMB))
		if err := execAll(ctx, conn, fmt.Sprintf(`SELECT pg_drop_replication_slot('cdc_s%d')`, i)); err != nil {
			return err
		}
	}
	return b.env.remove(ctx, "snapshot")
}
