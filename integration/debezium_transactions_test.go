package integration

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const debeziumTransactionTables = `
CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text); CREATE TABLE keyless (v int); ALTER TABLE keyless REPLICA IDENTITY FULL;
CREATE TABLE other (v int);
INSERT INTO a VALUES (1, 'there before');
`

// Each is one transaction.
var debeziumTransactionWork = []string{
	`INSERT INTO a VALUES (2, 'y'); INSERT INTO b VALUES (1, 'z'); UPDATE a SET v = 'q' WHERE id = 2; UPDATE a SET id = 3 WHERE id = 2; DELETE FROM a WHERE id = 3; INSERT INTO keyless VALUES (1)`,
	`INSERT INTO other VALUES (1)`,
	`INSERT INTO other VALUES (2); SELECT pg_logical_emit_message(true, 'p.one', 'in a transaction')`,
	`SELECT pg_logical_emit_message(false, 'p.two', 'in none')`,
	`SELECT pg_logical_emit_message(true, 'q', 'not wanted')`,
	`SELECT pg_logical_emit_message(true, 'p.', '\x00ff80'::bytea)`,
	`BEGIN; INSERT INTO a VALUES (7, 'y'); SAVEPOINT s; INSERT INTO a VALUES (8, 'back'); ROLLBACK TO s; SELECT pg_logical_emit_message(true, 'p.three', ''); SELECT pg_logical_emit_message(true, 'q', ''); INSERT INTO b VALUES (9, 'r'); COMMIT`,
	`TRUNCATE b; INSERT INTO b VALUES (10, 's')`,
	`INSERT INTO b SELECT g, repeat('x', 2500) FROM generate_series(100, 1099) g; INSERT INTO a VALUES (99, 'behind a large one'); DELETE FROM b WHERE id < 105`,
	`UPDATE a SET v = v || '!'`,
}

// TestDebeziumTransactions compares the metadata of transactions, and messages of
// the log, with a real Debezium's. Then ours is killed in a large transaction:
// what is published again has the same numbers, and each END the right ones.
func TestDebeziumTransactions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source := connect(t, w.source)
	exec1(t, source, debeziumTransactionTables)
	debezium, p := w.captureBoth(t, []string{"a", "b", "keyless"}, map[string]string{
		"provide.transaction.metadata": "true", "message.prefix.include.list": `p\..*`, "publication.autocreate.mode": "filtered",
	}, `  debezium: {transactions: true, messages: ["p.*"]}`+"\n")
	for _, statement := range debeziumTransactionWork {
		exec1(t, source, statement)
	}
	c := newComparison()
	for _, topic := range []struct {
		name         string
		theirs, ours int // records
	}{{"public.a", 13, 13}, {"public.b", 1015, 1015}, {"public.keyless", 1, 1}, {"message", 4, 4}, {"transaction", 16, 14}} {
		theirs := readEvents(t, w, debezium+"."+topic.name, topic.theirs)
		ours := readEvents(t, w, w.name+"."+topic.name, topic.ours, p)
		c.topic(t, topic.name, nameTransactions(theirs), nameTransactions(ours), debezium, w.name)
	}
	c.report(t)

	client, err := kgo.NewClient(kgo.SeedBrokers(w.brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topic := w.name + ".public.b"
	admin := kadm.NewClient(client)
	if _, err := admin.ListEndOffsets(t.Context(), topic); err != nil { // which connects
		t.Fatal(err)
	}
	exec1(t, source, `INSERT INTO b SELECT g, repeat('x', 300) FROM generate_series(10000, 24999) g`)
	for deadline := time.Now().Add(patience); ; { // as fast as the broker answers: the kill is to hit the middle
		ends, err := admin.ListEndOffsets(t.Context(), topic)
		if end, _ := ends.Lookup(topic, 0); err == nil && end.Offset > 1015 {
			break
		}
		if time.Now().After(deadline) || !p.running() {
			t.Fatalf("nothing more arrives: %v\n%s", err, p.output())
		}
	}
	p.kill()
	p = start(t, binary, "run", "--config", filepath.Join(w.dir, "debezium.yaml"))
	var xid string
	if err := source.QueryRow(t.Context(), `WITH w AS (INSERT INTO a VALUES (1000, 'the last') RETURNING id) SELECT pg_current_xact_id()::xid::text FROM w`).Scan(&xid); err != nil {
		t.Fatal(err)
	}
	w.transactionsAgree(t, xid, p)
}

// nameTransactions makes what two connectors tell of transactions comparable.
// Where docs/debezium.md says that they differ, only what is the same remains: the
// transaction's own id without a position, tables in an order, no transactions
// without events, no time of a message of no transaction.
func nameTransactions(list []event) []event {
	xid := func(v any) string {
		id, _, _ := strings.Cut(fmt.Sprint(v), ":")
		return id
	}
	var out []event
	for _, e := range list {
		v, _ := e.Value.(map[string]any)
		if place, ok := v["transaction"].(map[string]any); ok {
			place["id"] = xid(place["id"])
		}
		if source, ok := v["source"].(map[string]any); ok && v["op"] == "m" && source["txId"] == nil {
			delete(source, "ts_ms")
			delete(source, "ts_us")
			delete(source, "ts_ns")
		}
		if v["status"] == nil {
			out = append(out, e)
			continue
		}
		key := e.Key.(map[string]any)
		v["id"], key["id"] = xid(v["id"]), xid(key["id"])
		v["commit_ms"] = v["ts_ms"] // which for events is when they were read
		delete(v, "ts_ms")
		if v["event_count"] == int64(0) { // and its BEGIN
			out = out[:len(out)-1]
			continue
		}
		if tables, ok := v["data_collections"].([]any); ok {
			counts := map[string]any{}
			for _, c := range tables {
				c := c.(map[string]any)
				name := c["data_collection"].(string)
				if strings.Contains(name, "LogicalDecodingMessageId@") {
					name = "message"
				}
				counts[name] = c["event_count"]
			}
			v["data_collections"] = counts
		}
		out = append(out, e)
	}
	return out
}

// transactionsAgree waits until all that ours has published of transactions, up
// to the END of the last, fits together.
func (w *world) transactionsAgree(t *testing.T, last string, p *process) {
	t.Helper()
	topics := []string{w.name + ".transaction", w.name + ".message", w.name + ".public.a", w.name + ".public.b", w.name + ".public.keyless"}
	client, err := kgo.NewClient(kgo.SeedBrokers(w.brokers...), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	type number struct{ id, total any }
	schemas := map[uint32]string{}
	rows := map[number]string{}          // what has which number in its transaction
	counts := map[any]map[string]int64{} // by transaction and table, each number once
	ends := map[any]map[string]int64{}   // as END says
	begun, twice := map[any]int{}, 0
	agree := func() error {
		if len(ends) == 0 {
			return fmt.Errorf("no END")
		}
		ended := false
		for id, counts := range counts {
			if !maps.Equal(counts, ends[id]) {
				return fmt.Errorf("transaction %v: events %v, END %v", id, counts, ends[id])
			}
			if begun[id] == 0 {
				return fmt.Errorf("transaction %v has no BEGIN", id)
			}
			ended = ended || strings.HasPrefix(id.(string), last+":")
		}
		if !ended {
			return fmt.Errorf("transaction %s is not there", last)
		}
		return nil
	}
	eventually(t, 3*time.Minute, "events and transactions agree", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		fetches := client.PollFetches(ctx)
		for iter := fetches.RecordIter(); !iter.Done(); {
			r := iter.Next()
			value, _, _ := decodeEvent(t, w, schemas, r.Value)
			v, ok := value.(map[string]any)
			if !ok {
				continue
			}
			switch id := v["id"]; v["status"] {
			case "BEGIN":
				begun[id]++
				continue
			case "END":
				end := map[string]int64{}
				sum := int64(0)
				for _, c := range v["data_collections"].([]any) {
					c := c.(map[string]any)
					end[c["data_collection"].(string)] = c["event_count"].(int64)
					sum += c["event_count"].(int64)
				}
				if v["event_count"] != sum || ends[id] != nil && !maps.Equal(ends[id], end) {
					t.Fatalf("END %v, another said %v", v, ends[id])
				}
				ends[id] = end
				continue
			}
			place, ok := v["transaction"].(map[string]any)
			if !ok {
				continue
			}
			what := fmt.Sprint(r.Topic, string(r.Key), place["data_collection_order"], v["op"])
			n := number{place["id"], place["total_order"]}
			if rows[n] != "" && rows[n] != what {
				t.Fatalf("event %v of transaction %v is %s and %s", n.total, n.id, rows[n], what)
			}
			if rows[n] != "" {
				twice++
				continue
			}
			rows[n] = what
			if counts[n.id] == nil {
				counts[n.id] = map[string]int64{}
			}
			counts[n.id][strings.TrimPrefix(r.Topic, w.name+".")]++
		}
		return agree()
	}, p)
	t.Logf("%d transactions with %d events, %d published twice, %d BEGIN twice", len(counts), len(rows), twice, len(slices.DeleteFunc(slices.Collect(maps.Values(begun)), func(n int) bool { return n < 2 })))
}
