package pipeline

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"cdc/replication"
)

// TestHealth: live by progress, ready by the run and the connection.
func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		connected := true
		var r *rig
		is := func(when string, live, ready bool) {
			t.Helper()
			synctest.Wait()
			if h := r.Health(); h.Live != live || h.Ready != ready {
				t.Errorf("%s: live %t, ready %t, want %t, %t", when, h.Live, h.Ready, live, ready)
			}
		}
		r = start(t, numbered(3), func(r *rig, c *Config) {
			c.Connected = func() bool { return connected }
			c.StuckAfter = time.Minute
			r.src.more = make(chan struct{})
		})
		is("at the start", true, true)
		time.Sleep(time.Hour)
		is("idle for an hour", true, true)
		r.src.more <- struct{}{}
		is("a batch in flight", true, true)
		time.Sleep(11 * time.Second)
		is("a batch in flight for 11 s", true, false)
		time.Sleep(50 * time.Second)
		is("a batch in flight for a minute", false, false)
		connected = false
		r.prod.settle(0, nil)
		is("it landed", true, false)
		if h := r.Health(); h.Position != "1" || h.SavedAt != time.Now() || h.LastProgress != time.Now() {
			t.Errorf("after the save %+v, want position 1 at %v", h, time.Now())
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
		is("after the end", true, false)
	})
	t.Run("mapper waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, numbered(1), func(r *rig, c *Config) { r.mapper.wait = true })
			time.Sleep(11 * time.Second)
			if h := r.Health(); !h.Live || h.Ready {
				t.Errorf("a mapper has waited for 11 s, for a registry, say: %+v", h)
			}
			time.Sleep(3 * time.Minute)
			if r.Health().Live {
				t.Error("a mapper that has waited for three minutes counts as live")
			}
			if err := r.end(); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("save hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, numbered(1), func(r *rig, c *Config) {
				r.prod.auto = true
				r.points.gate = make(chan struct{}, 1)
			})
			time.Sleep(3 * time.Minute)
			if r.Health().Live {
				t.Error("a save that has hung for three minutes counts as live")
			}
			r.points.gate <- struct{}{}
			if err := r.end(); err != nil {
				t.Error(err)
			}
		})
	})
}

// gather returns the lines of the named metrics in Prometheus's text format.
func gather(t *testing.T, g prometheus.Gatherer, names ...string) string {
	t.Helper()
	families, err := g.Gather() // sorted by name
	if err != nil {
		t.Fatal(err)
	}
	var text, lines strings.Builder
	for _, f := range families {
		if slices.Contains(names, f.GetName()) {
			if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
				t.Fatal(err)
			}
		}
	}
	for line := range strings.Lines(text.String()) {
		if !strings.HasPrefix(line, "#") {
			lines.WriteString(line)
		}
	}
	return lines.String()
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		other := &replication.Table{Schema: "public", Name: "other", Columns: items.Columns}
		commit := time.Now().Add(-3 * time.Second).UnixMicro()
		mixed := batch("1", commit, 10, 11, 12, 13, 99)
		mixed.Changes[1].Table = other
		mixed.Changes[3].Table = other
		mixed.Changes[2].Op = replication.OpDelete
		snapshot := batch("2", commit, 20)
		snapshot.Changes[0].Op = replication.OpRead
		connected := true
		r := start(t, []*replication.Batch{mixed, snapshot}, func(r *rig, c *Config) {
			c.Registerer = reg
			c.OnError, c.DeadLetters = OnErrorDeadLetter, &letters{}
			c.Connected = func() bool { return connected }
			r.mapper.bad = map[int64]bool{99: true}
		})
		synctest.Wait()
		time.Sleep(2 * time.Second)
		gauges := func(when, records, lag, saved string) {
			t.Helper()
			equal(t, when, gather(t, reg, "cdc_capture_lag_seconds", "cdc_capture_in_flight_records", "cdc_capture_checkpoint_timestamp_seconds"),
				"cdc_capture_checkpoint_timestamp_seconds "+saved+"\ncdc_capture_in_flight_records "+records+"\ncdc_capture_lag_seconds "+lag+"\n")
		}
		gauges("in flight", "5", "5", "0")
		r.prod.settle(0, nil)
		synctest.Wait() // one after the other, or one save may be of both
		r.prod.settle(0, nil)
		synctest.Wait()
		gauges("landed", "0", "0", "9.46684802e+08") // the bubble's clock starts at 2000-01-01
		connected = false
		time.Sleep(time.Minute)
		gauges("not connected", "0", "59.75", "9.4668480225e+08") // the second save waited for SaveInterval
		equal(t, "counters", gather(t, reg, "cdc_capture_rows_total", "cdc_capture_bytes_total", "cdc_capture_row_errors_total"), `cdc_capture_bytes_total{op="delete",table="public.items",topic="t"} 4
cdc_capture_bytes_total{op="insert",table="public.items",topic="t"} 4
cdc_capture_bytes_total{op="insert",table="public.other",topic="t"} 8
cdc_capture_bytes_total{op="read",table="public.items",topic="t"} 4
cdc_capture_row_errors_total{action="dead-letter",table="public.items"} 1
cdc_capture_rows_total{op="delete",table="public.items",topic="t"} 1
cdc_capture_rows_total{op="insert",table="public.items",topic="t"} 1
cdc_capture_rows_total{op="insert",table="public.other",topic="t"} 2
cdc_capture_rows_total{op="read",table="public.items",topic="t"} 1
`)
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "cdc_capture_commit_to_acknowledged_seconds" {
				h := f.GetMetric()[0].GetHistogram()
				if h.GetSampleCount() != 1 || h.GetSampleSum() != 5 {
					t.Errorf("latency: %d observations, sum %v s; want one of 5 s: none for a snapshot's row", h.GetSampleCount(), h.GetSampleSum())
				}
			}
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
		if left, _ := reg.Gather(); len(left) > 0 {
			t.Errorf("%d metrics are left after the run", len(left))
		}
	})
}

// TestOutboxMetrics: the age is that of the oldest message that no broker has
// acknowledged, whatever came after it.
func TestOutboxMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		ago := func(d time.Duration) int64 { return time.Now().Add(-d).UnixMicro() }
		r := start(t, []*replication.Batch{batch("1", ago(7*time.Second), 10, 11), batch("2", ago(3*time.Second), 12), batch("3", ago(time.Second), 13)}, func(r *rig, c *Config) {
			c.Registerer = reg
			r.mapper.outbox = true
		})
		synctest.Wait()
		time.Sleep(2 * time.Second)
		look := func(when, want string) {
			t.Helper()
			synctest.Wait()
			equal(t, when, gather(t, reg, "cdc_outbox_oldest_unpublished_seconds", "cdc_outbox_published_total"), want)
		}
		look("all in flight", "cdc_outbox_oldest_unpublished_seconds 9\n")
		r.prod.settle(1, nil) // the second before the first
		look("the first in flight", "cdc_outbox_oldest_unpublished_seconds 9\ncdc_outbox_published_total{topic=\"t\"} 1\n")
		r.prod.settle(0, nil)
		look("the last in flight", "cdc_outbox_oldest_unpublished_seconds 3\ncdc_outbox_published_total{topic=\"t\"} 3\n")
		r.prod.settle(0, nil)
		look("none in flight", "cdc_outbox_oldest_unpublished_seconds 0\ncdc_outbox_published_total{topic=\"t\"} 4\n")
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}

// TestRegisterTwice: a second pipeline on the same registry is an error, not a
// panic.
func TestRegisterTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		with := func(_ *rig, c *Config) { c.Registerer = reg }
		a := start(t, nil, with)
		synctest.Wait()
		b := start(t, nil, with)
		if err := <-b.result; err == nil || b.src.closed != 1 || !strings.HasPrefix(err.Error(), "register metrics: ") {
			t.Errorf("got %v", err)
		}
		if err := a.end(); err != nil {
			t.Error(err)
		}
	})
}
