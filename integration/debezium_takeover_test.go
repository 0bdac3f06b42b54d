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

	"cdc/internal/servicetest"
)

// TestTakeOver moves a table from a real Debezium to ours while rows come in, as
// docs/migrate-from-debezium.md says: the topic then holds each row once, under
// one key schema and one value schema, and nothing is missing.
func TestTakeOver(t *testing.T) {
	w := newWorld(t)
	source := connect(t, w.source)
	exec1(t, source, `CREATE TABLE orders (id serial PRIMARY KEY, note text DEFAULT 'none', amount numeric(12,2) NOT NULL DEFAULT 0, placed timestamptz DEFAULT now());
		INSERT INTO orders (note) SELECT 'snapshot ' || g FROM generate_series(1, 10) g`)
	prefix := servicetest.Name(t, "dbz")
	old := w.captureByDebezium(t, prefix, map[string]string{"table.include.list": "public.orders"})
	topic := prefix + ".public.orders"
	readEvents(t, w, topic, 10)

	// Rows come in all the time.
	writing, stop := context.WithCancel(t.Context())
	wrote := make(chan int, 1)
	go func() {
		n := 0
		conn, err := dial(writing, w.source)
		for err == nil && writing.Err() == nil {
			if _, err = conn.Exec(context.WithoutCancel(writing), fmt.Sprintf(`INSERT INTO orders (note) VALUES ('row %d')`, n)); err == nil {
				n++
			}
		}
		if conn != nil {
			conn.Close(context.WithoutCancel(writing))
		}
		wrote <- n
	}()
	readEvents(t, w, topic, 100)

	// 1. Stop the connector, and ask where it stopped.
	old.ask(t, http.MethodPut, "/stop", nil)
	var at, last int64
	eventually(t, 30*time.Second, "the connector has stopped", func() error {
		var status struct{ Connector struct{ State string } }
		if err := json.Unmarshal(old.ask(t, http.MethodGet, "/status", nil), &status); err != nil {
			return err
		}
		if status.Connector.State != "STOPPED" {
			return fmt.Errorf("it is %s", status.Connector.State)
		}
		var offsets struct {
			Offsets []struct {
				Offset struct {
					Commit int64 `json:"lsn_commit"` // of the last transaction that it read to its end
					Last   int64 `json:"lsn"`        // of the last row that it published
				}
			}
		}
		if err := json.Unmarshal(old.ask(t, http.MethodGet, "/offsets", nil), &offsets); err != nil {
			return err
		}
		if len(offsets.Offsets) != 1 || offsets.Offsets[0].Offset.Commit == 0 {
			return fmt.Errorf("offsets: %+v", offsets)
		}
		at, last = offsets.Offsets[0].Offset.Commit, offsets.Offsets[0].Offset.Last
		return nil
	})
	// 2. Bring its slot to that place. The transaction behind it may be published,
	// but for its end.
	eventually(t, 30*time.Second, "the slot moves", func() error {
		_, err := source.Exec(t.Context(), fmt.Sprintf(`SELECT pg_replication_slot_advance('%s', '%X/%X')`, prefix, at>>32, uint32(at)))
		return err
	})
	changes := fmt.Sprintf(`binary_changes('%[1]s', NULL, 1, 'proto_version', '1', 'publication_names', '%[1]s')`, prefix)
	var published bool
	err := source.QueryRow(t.Context(), `SELECT max(lsn) FILTER (WHERE get_byte(data, 0) IN (68, 73, 84, 85)) <= $1::text::pg_lsn FROM pg_logical_slot_peek_`+changes,
		fmt.Sprintf("%X/%X", last>>32, uint32(last))).Scan(&published)
	if err != nil {
		t.Fatal(err)
	}
	if published {
		exec1(t, source, `SELECT count(*) FROM pg_logical_slot_get_`+changes)
	}
	// A slot for ours, at the same place of the log.
	exec1(t, source, fmt.Sprintf(`SELECT pg_copy_logical_replication_slot('%s', 'cdc_%s')`, prefix, w.name))
	// 3. Ours goes on from there.
	file := filepath.Join(w.dir, "takeover.yaml")
	text := fmt.Sprintf("name: %s\nsource:\n  postgres:\n    url: %s\n    publication: %s\ntables:\n  - table: public.orders\n    snapshot: never\nmap:\n  format: debezium\n  debezium: {name: %s}\nkafka:\n  brokers: [%s]\n  checkpoint_topic: %s_checkpoints\nregistry:\n  url: %s\nadmin:\n  listen: 127.0.0.1:%d\n",
		w.name, w.source, prefix, prefix, strings.Join(w.brokers, ", "), w.name, w.registry, freePort(t))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, binary, "run", "--config", file)
	eventually(t, 30*time.Second, "ours streams", func() error {
		var active bool
		err := source.QueryRow(t.Context(), `SELECT active FROM pg_replication_slots WHERE slot_name = 'cdc_`+w.name+`'`).Scan(&active)
		if err == nil && !active {
			err = fmt.Errorf("it does not")
		}
		return err
	}, p)
	stop()
	n := 10 + <-wrote
	seen, keys, values := map[any]int{}, map[int]bool{}, map[int]bool{}
	both := map[bool]int{}
	for _, e := range readEvents(t, w, topic, n, p) {
		seen[e.Key.(map[string]any)["id"]]++
		keys[e.KeyID], values[e.ValueID] = true, true
		both[e.Headers["cdc.position"] != ""]++
	}
	twice := 0
	for id := range seen {
		if seen[id] > 1 {
			twice++
		}
	}
	t.Logf("%d rows: %d records of Debezium's, %d of ours, %d rows twice", n, both[false], both[true], twice)
	if len(seen) != n || twice > 0 {
		t.Errorf("%d rows of %d are in the topic, %d of them twice", len(seen), n, twice)
	}
	if len(keys) != 1 || len(values) != 1 {
		t.Errorf("%d key schemas and %d value schemas, want one of each", len(keys), len(values))
	}
	if both[true] == 0 || both[false] == 0 {
		t.Errorf("both should have written: %v", both)
	}
}
