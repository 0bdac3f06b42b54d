// Command bench measures the whole program: the built binary, a private
// PostgreSQL, a real Kafka and a real registry, each run beside what it is
// compared with, in turn, on the same data:
//
//	capture    a backlog behind a slot (rows in 100-row transactions), drained by
//	           pg_recvlogical to /dev/null and by cdc capture into Kafka, both
//	           over TCP; the clock runs from the start of the process until
//	           pg_recvlogical ends, and until the topic's end offset in Kafka is
//	           the number of rows
//	bigtx      one transaction of twice the rows: its first row in Kafka after the
//	           commit, with cdc at work meanwhile, and its commit at a client that
//	           discards everything
//	snapshot   cdc capture's first snapshot against COPY … TO STDOUT
//	sink       cdc sink into an empty table, and again with all keys there,
//	           against a raw COPY … FROM STDIN into a table with a primary key
//	mysql      a backlog in MySQL's binlog, received by a client that decodes nothing
//	           and by cdc capture; then one transaction of as many rows
//	mariadb    the same of MariaDB
//	latency    commit → consumer at 1,000 single-row transactions a second; its
//	           rounds, and those of outbox-latency, lie between the other parts,
//	           because a machine is busy with other things for minutes at a time
//
// It prints a table and writes the medians as JSON. Addresses of Kafka and the
// registry come from the environment (make bench); PostgreSQL's programs must
// be on this machine, pg_recvlogical too.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// keys are the results, in the order of the table.
var keys = []string{
	"capture_rows_per_s", "recvlogical_rows_per_s", "capture_ratio", "capture_cpu_s_per_million", "capture_rss_mb",
	"bigtx_rss_mb", "bigtx_first_ms", "bigtx_server_ms", "bigtx_app_rss_mb", "bigtx_app_first_ms",
	"snapshot_rows_per_s", "copyout_rows_per_s", "snapshot_ratio",
	"sink_rows_per_s", "sink_upsert_rows_per_s", "copy_rows_per_s", "sink_ratio", "sink_cpu_s_per_million",
	"latency_ms_p50", "latency_ms_p99",
	"mysql_rows_per_s", "mysql_rawdrain_rows_per_s", "mysql_cpu_s_per_million", "mysql_rss_mb", "mysql_bigtx_rss_mb",
	"mariadb_rows_per_s", "mariadb_rawdrain_rows_per_s", "mariadb_cpu_s_per_million", "mariadb_rss_mb", "mariadb_bigtx_rss_mb",
	"outbox_raw_per_s", "outbox_avro_per_s", "outbox_latency_ms_p50", "outbox_latency_ms_p99",
}

func main() {
	rows := flag.Int("rows", 1_000_000, "rows of the backlog, the table and the topic")
	rounds := flag.Int("rounds", 3, "rounds of each comparison, in turn")
	only := flag.String("only", "", "parts to run, separated by commas: capture, bigtx, snapshot, sink, latency, outbox, outbox-latency, mysql, mariadb")
	out := flag.String("out", "bench/results.json", "file for the medians")
	short := flag.Bool("short", false, "a run of seconds that shows that the benchmark works; its numbers mean nothing")
	logs := flag.String("logs", "", "folder that keeps the logs of the measured processes")
	binary := flag.String("binary", "", "the cdc to measure, instead of one built from this checkout")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	b := &bench{rows: *rows, rounds: *rounds, warmUp: 30 * time.Second, latency: 8 * time.Second, logs: *logs, binary: *binary, samples: map[string][]float64{}}
	if *short {
		b.rows, b.rounds, b.warmUp, b.latency = 20_000, 1, 6*time.Second, 3*time.Second
	}
	err := b.run(ctx, *only, *out)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	rows, rounds int
	bigRows      int           // of the one transaction
	warmUp       time.Duration // of the broker
	latency      time.Duration // of a round
	logs, binary string
	samples      map[string][]float64
	env          *environment
}

func (b *bench) run(ctx context.Context, only, out string) (err error) {
	type part struct {
		name string
		run  func(context.Context) error
	}
	latency, outboxLatency := part{"latency", b.measureLatency}, part{"outbox-latency", b.outboxLatency} // a round each
	parts := []part{
		latency, outboxLatency,
		{"capture", b.capture},
		{"bigtx", b.bigTransaction},
		latency, outboxLatency,
		{"snapshot", b.snapshot},
		{"sink", b.sink},
		{"outbox", b.outbox},
		latency, outboxLatency,
		{"mysql", b.mysql},
		{"mariadb", b.mariadb},
	}
	chosen := map[string]bool{}
	for p := range strings.SplitSeq(only, ",") {
		if known := func(k part) bool { return k.name == p }; p != "" && !slices.ContainsFunc(parts, known) {
			return fmt.Errorf("-only names no part: %s", p)
		}
		chosen[p] = true
	}
	if b.env, err = open(ctx, b.logs, b.binary); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.env.close(context.WithoutCancel(ctx))) }()
	if err := b.env.warm(ctx, b.warmUp); err != nil {
		return err
	}
	runs := map[string]int{}
	for _, p := range parts {
		if only != "" && !chosen[p.name] || runs[p.name] == b.rounds {
			continue
		}
		runs[p.name]++
		if err := p.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return b.report(out, only != "")
}

// add notes one round's result and shows it.
func (b *bench) add(key string, value float64) {
	b.samples[key] = append(b.samples[key], value)
	fmt.Printf("  %-28s %s\n", key, number(value))
}

func (b *bench) median(key string) (float64, bool) {
	s := slices.Sorted(slices.Values(b.samples[key]))
	if len(s) == 0 {
		return 0, false
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2, true
}

// report prints the table and writes the medians. A partial run keeps what the
// file held of the other parts.
func (b *bench) report(out string, partial bool) error {
	results := map[string]float64{}
	if partial {
		if old, err := os.ReadFile(out); err == nil {
			if err := json.Unmarshal(old, &results); err != nil {
				return fmt.Errorf("read %s: %w", out, err)
			}
		}
	}
	for _, r := range []struct{ ratio, of, to string }{
		{"capture_ratio", "capture_rows_per_s", "recvlogical_rows_per_s"},
		{"snapshot_ratio", "snapshot_rows_per_s", "copyout_rows_per_s"},
		{"sink_ratio", "sink_rows_per_s", "copy_rows_per_s"},
	} {
		of, ok1 := b.median(r.of)
		to, ok2 := b.median(r.to)
		if ok1 && ok2 {
			b.samples[r.ratio] = []float64{of / to}
		}
	}
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "result\tmedian\trounds")
	for _, k := range keys {
		m, ok := b.median(k)
		if !ok {
			continue
		}
		results[k] = round(m)
		var each []string
		for _, s := range b.samples[k] {
			each = append(each, number(s))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", k, number(m), strings.Join(each, "  "))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	var text strings.Builder
	text.WriteString("{\n")
	n := 0
	for _, k := range keys {
		if v, ok := results[k]; ok {
			if n++; n > 1 {
				text.WriteString(",\n")
			}
			fmt.Fprintf(&text, "  %q: %v", k, json.Number(fmt.Sprintf("%g", v)))
		}
	}
	text.WriteString("\n}\n")
	return os.WriteFile(out, []byte(text.String()), 0o644)
}

// round keeps three decimals of a small number and none of a large one.
func round(v float64) float64 {
	if v >= 1000 {
		return float64(int64(v + 0.5))
	}
	return float64(int64(v*1000+0.5)) / 1000
}

func number(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}
