package main

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"cdc/embedded"
	"cdc/internal/services"
	"cdc/internal/servicetest"
)

// buffer may be written to and read from at once.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestDemo runs the command as the README says it, only shorter.
func TestDemo(t *testing.T) {
	for _, c := range []struct{ source, variable, version, look, tail string }{
		{"postgres", "", "", "psql 'postgres://", "tail public.orders"},
		{"mysql", embedded.EnvMySQLServer, services.MySQL9, "  mysql --host=127.0.0.1", "tail shop.orders"},
		{"mariadb", embedded.EnvMariaDBServer, services.MariaDB118, "  mariadb --host=127.0.0.1", "tail shop.orders"},
	} {
		t.Run(c.source, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			args := []string{"demo", "--duration", "3s", "--json"}
			if c.variable != "" {
				t.Setenv(c.variable, servicetest.MySQLProgram(t, c.version))
				args = append(args, "--source", c.source)
			}
			var stdout, stderr buffer
			if code := execute(&app{ctx: t.Context(), stdout: &stdout, stderr: &stderr}, args); code != exitOK {
				t.Fatalf("exit code %d\n%s\n%s", code, &stdout, &stderr)
			}
			lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
			if len(lines) != 1 {
				t.Errorf("standard output has %d lines, want the JSON alone:\n%s", len(lines), &stdout)
			}
			var fields map[string]float64
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), &fields); err != nil {
				t.Fatal(err)
			}
			names := slices.Sorted(maps.Keys(fields))
			want := []string{"different", "extra", "latency_ms_p50", "latency_ms_p99", "missing", "records_published", "rows_applied", "rows_committed"}
			if diff := cmp.Diff(want, names); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
			if fields["missing"]+fields["different"]+fields["extra"] != 0 {
				t.Errorf("the target differs: %v", fields)
			}
			if fields["rows_committed"] < 5810 || fields["records_published"] < fields["rows_committed"] || fields["rows_applied"] != fields["records_published"] {
				t.Errorf("counts do not fit together: %v", fields)
			}
			if p50, p99 := fields["latency_ms_p50"], fields["latency_ms_p99"]; p50 <= 0 || p99 < p50 {
				t.Errorf("latency %v, %v", p50, p99)
			}
			for _, part := range []string{c.look, c.tail, "committed", "The target equals the source"} {
				if !strings.Contains(stderr.String(), part) {
					t.Errorf("standard error lacks %q:\n%s", part, &stderr)
				}
			}
		})
	}
}

// TestDemoWithoutServer: what is missing is said, with the way out.
func TestDemoWithoutServer(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv(embedded.EnvMySQLServer, filepath.Join(t.TempDir(), "mysqld"))
	var stdout, stderr buffer
	if code := execute(&app{ctx: t.Context(), stdout: &stdout, stderr: &stderr}, []string{"demo", "--source", "mysql"}); code == exitOK {
		t.Error("exit code 0")
	}
	for _, part := range []string{"find the server program of MySQL", embedded.EnvMySQLServer, "without --source"} {
		if !strings.Contains(stderr.String(), part) {
			t.Errorf("standard error lacks %q:\n%s", part, &stderr)
		}
	}
}

// TestDemoInterrupted stops the load early, as Ctrl-C does: the comparison is
// made all the same.
func TestDemoInterrupted(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var stdout, stderr buffer
	code := make(chan int, 1)
	go func() {
		code <- execute(&app{ctx: ctx, stdout: &stdout, stderr: &stderr}, []string{"demo", "--duration", "10m"})
	}()
	within(t, 3*time.Minute, func() bool { return strings.Contains(stdout.String(), "  committed ") })
	stop()
	if got := <-code; got != exitOK {
		t.Errorf("exit code %d", got)
	}
	for _, part := range []string{"Stopping the load", "The target equals the source"} {
		if !strings.Contains(stdout.String(), part) {
			t.Errorf("the output lacks %q:\n%s\n%s", part, &stdout, &stderr)
		}
	}
}

// within waits until a condition holds.
func within(t *testing.T, limit time.Duration, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(limit); !holds(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("nothing within %s", limit)
		}
	}
}

// TestCompareShops makes each kind of difference once.
func TestCompareShops(t *testing.T) {
	source, target := servicetest.Postgres(t), servicetest.Postgres(t)
	for _, url := range []string{source, target} {
		if _, err := postgresShop.makeShop(t.Context(), url, 1); err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"customers", "products"} {
			if err := postgresShop.execute1(t.Context(), url, "UPDATE "+table+" SET changed_at = '2026-01-01'"); err != nil {
				t.Fatal(err)
			}
		}
	}
	compare := func() *comparison {
		t.Helper()
		c, err := compareShops(t.Context(), &postgresShop, source, target)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	rows := int64(20 + 10 + 30 + 60)
	if diff := cmp.Diff(&comparison{Rows: rows}, compare()); diff != "" {
		t.Fatalf("equal shops (-want +got):\n%s", diff)
	}
	conn, err := pgx.Connect(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, sql := range []string{
		`UPDATE customers SET address = NULL WHERE id = 6`,                                            // different
		`UPDATE products SET notes = '' WHERE sku = 'SKU-00003'`,                                      // different: it was NULL
		`UPDATE products SET sku = 'A' WHERE sku = 'SKU-00010'`,                                       // extra before all, and missing at the end
		`DELETE FROM order_lines WHERE line = 2 AND quantity = 4`,                                     // missing, in the middle
		`INSERT INTO order_lines VALUES ('ffffffff-ffff-ffff-ffff-ffffffffffff', 1, 'x', 1, 1, NULL)`, // extra, behind all
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	var deleted int64
	src, err := pgx.Connect(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close(context.Background())
	if err := src.QueryRow(t.Context(), `SELECT count(*) FROM order_lines WHERE line = 2 AND quantity = 4`).Scan(&deleted); err != nil || deleted == 0 {
		t.Fatal(deleted, err)
	}
	c := compare()
	if c.Rows != rows || c.Missing != 1+deleted || c.Different != 2 || c.Extra != 2 {
		t.Errorf("rows %d missing %d different %d extra %d, want %d %d 2 2", c.Rows, c.Missing, c.Different, c.Extra, rows, 1+deleted)
	}
	text := strings.Join(c.Examples, "\n")
	for _, part := range []string{
		"customers: id=6: address is", "in the source, NULL in the target", `notes is NULL in the source, "" in the target`,
		"only the target has sku=A", "the target lacks sku=SKU-00010",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("the examples lack %q:\n%s", part, text)
		}
	}
}

// TestHistogram compares with the exact percentiles.
func TestHistogram(t *testing.T) {
	var h histogram
	if h.percentile(50) != 0 {
		t.Error("an empty one has a median")
	}
	var exact []int64
	for i := range int64(10_000) {
		v := i * i % 1_000_003 * (1 + i%7)
		exact = append(exact, v)
		h.add(v)
	}
	slices.Sort(exact)
	for _, p := range []float64{1, 50, 90, 99, 99.9, 100} {
		want := float64(exact[int(math.Ceil(p/100*float64(len(exact))))-1])
		if got := h.percentile(p); math.Abs(got-want) > want*0.03+1 {
			t.Errorf("p%g is %g, exactly it is %g", p, got, want)
		}
	}
	h.add(-5)            // clocks differ
	h.add(math.MaxInt64) // nothing panics
	if got := h.percentile(100); got < 1e18 {
		t.Errorf("the largest is %g", got)
	}
}

func TestGroup(t *testing.T) {
	for in, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1: "-1", -123456: "-123,456"} {
		if got := group(in); got != want {
			t.Errorf("group(%g) = %s, want %s", in, got, want)
		}
	}
}
