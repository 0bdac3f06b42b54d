package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cdc/internal/services"
	"cdc/internal/servicetest"
)

// TestTakeOverBinlog moves a table of MySQL from a real Debezium to ours while
// rows come in, as docs/migrate-from-debezium.md says: nothing is missing, keys
// and schemas stay, and at most the last transaction comes twice.
func TestTakeOverBinlog(t *testing.T) {
	source := newSide(t, services.MySQL9)
	w := emptyWorld(t, source.url)
	source.exec(t, `CREATE TABLE orders (id int AUTO_INCREMENT PRIMARY KEY, note varchar(40) DEFAULT 'none', amount decimal(12,2) NOT NULL DEFAULT 0, placed timestamp(6) DEFAULT CURRENT_TIMESTAMP(6))`,
		`INSERT INTO orders (note) VALUES ('s'), ('s'), ('s'), ('s'), ('s'), ('s'), ('s'), ('s'), ('s'), ('s')`)
	prefix := servicetest.Name(t, "dbz")
	old := binlogByDebezium(t, source, prefix, nil)
	topic := prefix + "." + w.database() + ".orders"
	readEvents(t, w, topic, 10)

	// Rows come in all the time.
	writing, stop := context.WithCancel(t.Context())
	defer stop()
	wrote := make(chan int, 1)
	go func() {
		n := 0
		writer, err := dialSession(writing, w.source)
		for err == nil && writing.Err() == nil {
			if _, err = writer.do(fmt.Sprintf(`INSERT INTO orders (note) VALUES ('row %d')`, n)); err == nil {
				n++
			}
		}
		if writer != nil {
			writer.close()
		}
		wrote <- n
	}()
	readEvents(t, w, topic, 100)

	// 1. Stop the connector, and ask where it stopped.
	old.ask(t, http.MethodPut, "/stop", nil)
	var gtids string
	eventually(t, 30*time.Second, "the connector has stopped", func() error {
		var status struct{ Connector struct{ State string } }
		if err := json.Unmarshal(old.ask(t, http.MethodGet, "/status", nil), &status); err != nil {
			return err
		}
		if status.Connector.State != "STOPPED" {
			return fmt.Errorf("it is %s", status.Connector.State)
		}
		var offsets struct {
			Offsets []struct{ Offset struct{ GTIDs string } }
		}
		if err := json.Unmarshal(old.ask(t, http.MethodGet, "/offsets", nil), &offsets); err != nil {
			return err
		}
		if len(offsets.Offsets) != 1 || offsets.Offsets[0].Offset.GTIDs == "" {
			return fmt.Errorf("offsets: %+v", offsets)
		}
		gtids = offsets.Offsets[0].Offset.GTIDs
		return nil
	})
	// 2. Ours goes on from there.
	file := filepath.Join(w.dir, "takeover.yaml")
	text := fmt.Sprintf("name: %s\nsource:\n  mysql:\n    url: %s\n    start_at: %q\ntables:\n  - table: %s.orders\n    snapshot: never\nmap:\n  format: debezium\n  debezium: {name: %s}\nkafka:\n  brokers: [%s]\n  checkpoint_topic: %s_checkpoints\nregistry:\n  url: %s\nadmin: {listen: off}\n",
		w.name, w.source, gtids, w.database(), prefix, strings.Join(w.brokers, ", "), w.name, w.registry)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, binary, "run", "--config", file)
	readEvents(t, w, topic, 200, p)
	stop()
	n := 10 + <-wrote
	source.exec(t, `INSERT INTO orders (note) VALUES ('the last')`)
	last := int32(n + 1)
	seen, keys, values, both, order := map[int32]int{}, map[int]bool{}, map[int]bool{}, map[bool]int{}, int32(0)
	for want := n + 1; seen[last] == 0; want++ {
		clear(seen)
		clear(both)
		order = 0
		for _, e := range readEvents(t, w, topic, want, p) {
			id := e.Key.(map[string]any)["id"].(int32)
			if seen[id]++; seen[id] == 1 && id != order+1 {
				t.Fatalf("row %d comes after row %d", id, order)
			}
			order = max(order, id)
			keys[e.KeyID], values[e.ValueID] = true, true
			both[e.Headers["cdc.position"] != ""]++
		}
	}
	twice := 0
	for id := range seen {
		if seen[id] > 1 {
			twice++
		}
	}
	t.Logf("%d rows: %d records of Debezium's, %d of ours, %d rows twice", len(seen), both[false], both[true], twice)
	if len(seen) != n+1 || twice > 1 {
		t.Errorf("%d rows of %d are in the topic, %d of them twice", len(seen), n+1, twice)
	}
	if len(keys) != 1 || len(values) != 1 {
		t.Errorf("%d key schemas and %d value schemas, want one of each", len(keys), len(values))
	}
	if both[true] == 0 || both[false] == 0 {
		t.Errorf("both should have written: %v", both)
	}
}
