package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sys/unix"
)

// demoResult is the last line of `cdc demo --json`.
type demoResult struct {
	RowsCommitted    int64   `json:"rows_committed"`
	RecordsPublished int64   `json:"records_published"`
	RowsApplied      int64   `json:"rows_applied"`
	Missing          int64   `json:"missing"`
	Different        int64   `json:"different"`
	Extra            int64   `json:"extra"`
	LatencyP50       float64 `json:"latency_ms_p50"`
	LatencyP99       float64 `json:"latency_ms_p99"`
}

// The metrics that the demo shows.
const (
	metricPublished = "cdc_capture_rows_total"
	metricApplied   = "cdc_sink_records_total"
	metricSinkLag   = "cdc_sink_lag_records"
	metricSourceLag = "cdc_source_lag_bytes"
)

func (r *demoResult) fill(l *load, w *watch, registry prometheus.Gatherer, c *comparison) {
	sums := gather(registry)
	r.RowsCommitted, r.RecordsPublished, r.RowsApplied = l.rows.Load(), int64(sums[metricPublished]), int64(sums[metricApplied])
	r.Missing, r.Different, r.Extra = c.Missing, c.Different, c.Extra
	r.LatencyP50, r.LatencyP99 = w.percentile(50), w.percentile(99)
}

// gather sums each metric over its labels.
func gather(registry prometheus.Gatherer) map[string]float64 {
	families, err := registry.Gather()
	if err != nil {
		return nil // what could be gathered is not worth a stop
	}
	sums := make(map[string]float64, len(families))
	for _, f := range families {
		for _, m := range f.Metric {
			switch f.GetType() {
			case dto.MetricType_COUNTER:
				sums[f.GetName()] += m.GetCounter().GetValue()
			case dto.MetricType_GAUGE:
				sums[f.GetName()] += m.GetGauge().GetValue()
			}
		}
	}
	return sums
}

// screen shows how the demo goes: one line that renews itself on a terminal,
// else a line every two seconds.
type screen struct {
	out      io.Writer
	width    int // of the terminal; 0: it is none
	load     *load
	watch    *watch
	registry prometheus.Gatherer
}

func newScreen(out io.Writer, l *load, w *watch, registry prometheus.Gatherer) *screen {
	s := &screen{out: out, load: l, watch: w, registry: registry}
	if f, ok := out.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
			s.width = max(int(size.Col), 40)
		}
	}
	return s
}

// during runs f and shows the counters meanwhile.
func (s *screen) during(f func() error) error {
	every := 2 * time.Second
	if s.width > 0 {
		every = 250 * time.Millisecond
	}
	done := make(chan error, 1)
	go func() { done <- f() }()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if s.width > 0 {
				fmt.Fprint(s.out, "\r\x1b[K")
			}
			return err
		case <-tick.C:
			s.show()
		}
	}
}

func (s *screen) show() {
	text := s.text()
	if s.width == 0 {
		fmt.Fprintln(s.out, text)
		return
	}
	if runes := []rune(text); len(runes) >= s.width {
		text = string(runes[:s.width-1])
	}
	fmt.Fprint(s.out, "\r\x1b[K"+text)
}

// line shows the counters as a line that stays.
func (s *screen) line() { fmt.Fprintln(s.out, s.text()) }

func (s *screen) text() string {
	sums := gather(s.registry)
	elapsed := time.Since(s.load.started)
	rows := s.load.rows.Load()
	return fmt.Sprintf("%3.0fs  committed %s (%s commits)  published %s  applied %s  behind: %s B of log, %s records  latency p50 %.1f ms p99 %.1f ms",
		elapsed.Seconds(), group(float64(rows)), group(float64(s.load.commits.Load())), group(sums[metricPublished]), group(sums[metricApplied]),
		group(sums[metricSourceLag]), group(sums[metricSinkLag]), s.watch.percentile(50), s.watch.percentile(99))
}

// group writes a number with commas between its thousands.
func group(f float64) string {
	text := strconv.FormatInt(int64(f), 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// verdict prints what the comparison found.
func (d *demo) verdict(r *demoResult, c *comparison) {
	fmt.Fprintf(d.out, "%s rows committed, %s records published, %s applied; commit to consumer: p50 %.1f ms, p99 %.1f ms\n",
		group(float64(r.RowsCommitted)), group(float64(r.RecordsPublished)), group(float64(r.RowsApplied)), r.LatencyP50, r.LatencyP99)
	if c.Missing+c.Different+c.Extra == 0 {
		fmt.Fprintf(d.out, "The target equals the source: %d tables, %s rows, every column.\n", len(demoTables), group(float64(c.Rows)))
		return
	}
	fmt.Fprintf(d.out, "THE TARGET DIFFERS: of %s rows %s are missing, %s are different, and %s are too many.\n",
		group(float64(c.Rows)), group(float64(c.Missing)), group(float64(c.Different)), group(float64(c.Extra)))
	for _, e := range c.Examples {
		fmt.Fprintln(d.out, "  "+e)
	}
}
