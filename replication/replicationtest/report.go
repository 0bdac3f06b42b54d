package replicationtest

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// EnvReport names a file to which Run appends its table.
const EnvReport = "CDC_CONFORMANCE"

// report is the table of all scenarios.
type report struct {
	servers []Server
	mu      sync.Mutex
	cells   [][]string // by scenario, by server
}

func newReport(servers []Server) *report {
	r := &report{servers: servers, cells: make([][]string, len(scenarios))}
	for i := range r.cells {
		r.cells[i] = make([]string, len(servers))
	}
	return r
}

// run runs one scenario, and notes how it went.
func (r *report) run(t *testing.T, row, column int, d Driver) {
	t.Helper()
	begin := time.Now()
	defer func() {
		cell := "FAIL"
		if !t.Failed() {
			cell = fmt.Sprintf("ok %.1f s", time.Since(begin).Seconds())
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.cells[row][column] = cell
	}()
	scenarios[row].run(newWorld(t, d))
}

// String renders the table. A cell without a result reads "-": its server did
// not start, or -run left it out.
func (r *report) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	width := 0
	for _, s := range scenarios {
		width = max(width, len(s.name))
	}
	fmt.Fprintf(&b, "%-*s", width, "")
	for _, s := range r.servers {
		fmt.Fprintf(&b, "  %-*s", len(s.Name), s.Name)
	}
	b.WriteByte('\n')
	good := 0
	for i, s := range scenarios {
		fmt.Fprintf(&b, "%-*s", width, s.name)
		for j, server := range r.servers {
			cell := r.cells[i][j]
			if strings.HasPrefix(cell, "ok") {
				good++
			}
			if cell == "" {
				cell = "-"
			}
			fmt.Fprintf(&b, "  %-*s", len(server.Name), cell)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%d of %d passed\n", good, len(scenarios)*len(r.servers))
	return b.String()
}

// publish shows the table with the test's output, and appends it to the file
// that EnvReport names.
func (r *report) publish(t *testing.T) {
	t.Helper()
	table := r.String()
	t.Log("\n" + table)
	name := os.Getenv(EnvReport)
	if name == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	if _, err := f.WriteString(table + "\n"); err != nil {
		t.Error(err)
	}
}
