package pipeline

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"cdc/replication"
)

// TestTrackerScenarios runs the stories in testdata/tracker. A batch is begun
// with or without a position, acked or failed by its number; each command
// answers with the batches still held and the position that became safe.
func TestTrackerScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/tracker", func(t *testing.T, path string) {
		var tr tracker
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var out strings.Builder
			for line := range strings.Lines(d.Input) {
				words := strings.Fields(line)
				switch words[0] {
				case "begin":
					var p replication.Position
					if len(words) > 1 {
						p = replication.Position(words[1])
					}
					fmt.Fprintf(&out, "batch %d\n", tr.add(p, 0))
					continue
				case "ack", "fail":
					s := acked
					if words[0] == "fail" {
						s = failed
					}
					for _, w := range words[1:] {
						n, err := strconv.ParseUint(w, 10, 64)
						if err != nil {
							d.Fatalf(t, "%v", err)
						}
						tr.settle(n, s)
					}
				default:
					d.Fatalf(t, "unknown command %q", words[0])
				}
				safe := tr.pass()
				if safe == "" {
					safe = "nothing new"
				}
				fmt.Fprintf(&out, "safe: %s, held: %d\n", safe, tr.held())
			}
			return out.String()
		})
	})
}

// TestTrackerAgainstModel settles batches in random order, some of them as
// failed, and compares each answer with a search through the whole history.
func TestTrackerAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var tr tracker
		var history []entry
		var unsettled []uint64
		var saved replication.Position
		for range 300 {
			if r.IntN(2) == 0 || len(unsettled) == 0 {
				var p replication.Position
				if r.IntN(3) > 0 {
					p = replication.Position(strconv.Itoa(len(history)))
				}
				unsettled = append(unsettled, tr.add(p, 0))
				history = append(history, entry{position: p})
			} else {
				i := r.IntN(len(unsettled))
				n := unsettled[i]
				unsettled[i] = unsettled[len(unsettled)-1]
				unsettled = unsettled[:len(unsettled)-1]
				s := acked
				if r.IntN(100) == 0 {
					s = failed
				}
				tr.settle(n, s)
				history[n].state = s
			}
			if p := tr.pass(); p != "" {
				saved = p
			}
			want := replication.Position("")
			for _, e := range history {
				if e.state != acked {
					break
				}
				if e.position != "" {
					want = e.position
				}
			}
			if saved != want {
				t.Fatalf("seed %d: safe position %q, want %q", seed, saved, want)
			}
		}
	}
}
