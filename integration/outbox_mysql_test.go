package integration

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"

	"cdc/internal/services"
	"cdc/internal/servicetest"
	"cdc/outbox"
)

// database is the name of a MySQL side's database.
func (s *side) database(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

// makeOutbox runs what cdc outbox ddl prints.
func (s *side) makeOutbox(t *testing.T, args ...string) {
	t.Helper()
	ddl, stderr, code := command(t, append([]string{"outbox", "ddl", "--dialect"}, args...)...)
	if code != 0 {
		t.Fatal(stderr)
	}
	for sql := range strings.SplitSeq(ddl, ";\n") {
		if sql = strings.TrimSpace(sql); sql == "" || slices.Contains(args, "--blackhole") && strings.HasPrefix(sql, "CREATE PROCEDURE") {
			continue // one procedure is enough
		}
		s.exec(t, sql)
	}
}

// TestOutboxMySQL routes tables of MySQL and MariaDB: that of cdc outbox ddl,
// one that keeps no rows where the server has such an engine, and Deimos's.
func TestOutboxMySQL(t *testing.T) {
	for _, version := range []string{services.MySQL9, services.MariaDB118} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			source := newSide(t, version)
			w := &world{
				name: servicetest.Name(t, "it"), source: source.url, brokers: servicetest.Kafka(t), registry: servicetest.Registry(t), dir: t.TempDir(),
			}
			admin, db := w.admin(t), source.database(t)
			source.makeOutbox(t, source.family)
			// As Rails makes it on MySQL.
			source.exec(t, `CREATE TABLE kafka_messages (id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, topic varchar(255) NOT NULL, message mediumblob, `+"`key`"+` blob,
				partition_key varchar(255), created_at datetime(6) NOT NULL, updated_at datetime(6) NOT NULL, INDEX index_kafka_messages_on_topic_and_id (topic, id))`)
			tables := []string{"outbox"}
			engines, err := source.query(t.Context(), "SELECT engine FROM information_schema.engines WHERE support IN ('YES', 'DEFAULT')")
			if err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(engines, func(row []string) bool { return row[0] == "BLACKHOLE" }) {
				source.makeOutbox(t, source.family, "--blackhole", "--table", db+".hole")
				tables = append(tables, "hole")
			}
			events, raw := w.name+"_events", w.name+"_raw"
			insert := func(table, key, payload string) string {
				return fmt.Sprintf("INSERT INTO %s (topic, `key`, payload, headers) VALUES ('%s', '%s', %s, '{\"h\": \"v\"}')", table, events, key, payload)
			}
			source.exec(t, insert("outbox", "first", `'{"n": 0}'`), fmt.Sprintf("INSERT INTO kafka_messages (topic, message, `key`, created_at, updated_at) VALUES ('%s', x'00ff', x'01', now(6), now(6))", raw))
			want := []string{`first {"n": 0} v`}
			var config strings.Builder
			config.WriteString("outbox:\n")
			for _, table := range tables {
				fmt.Fprintf(&config, "  - %s.%s\n", db, table)
			}
			fmt.Fprintf(&config, "  - table: %s.kafka_messages\n    preset: deimos\n", db)
			capture := start(t, binary, "capture", "--config", w.outboxConfig(t, config.String(), ""))
			w.arrived(t, admin, 2, []string{events, raw}, capture)
			for i, table := range tables {
				key := fmt.Sprintf("k%d", i)
				source.exec(t, insert(table, key, `'{"n": 1}'`), "BEGIN", insert(table, key, "NULL"), insert(table, key, `'{"n": 2}'`), "DELETE FROM "+table, "COMMIT",
					"BEGIN", insert(table, key, `'{"n": 3}'`), "ROLLBACK", "UPDATE "+table+" SET topic = 'never'")
				want = append(want, key+` {"n": 1} v`, key+" <null> v", key+` {"n": 2} v`)
			}
			source.exec(t, fmt.Sprintf("CALL outbox_publish('%s', 'procedure', '{\"n\": 4}', '{\"h\": \"ü\"}')", events))
			want = append(want, `procedure {"n": 4} ü`)
			want = append(want, writeByGo(t, source.url, db+".outbox", events)...)
			w.arrived(t, admin, len(want)+1, []string{events, raw}, capture)
			capture.stop(t)

			byKey := func(list []string) map[string][]string {
				m := map[string][]string{}
				for _, s := range list {
					key, _, _ := strings.Cut(s, " ")
					m[key] = append(m[key], s)
				}
				return m
			}
			var got []string
			for _, r := range w.consume(t, events) {
				value, header := string(r.Value), ""
				if r.Value == nil {
					value = "<null>"
				}
				for _, h := range r.Headers {
					switch h.Key {
					case "h":
						header = string(h.Value)
					case "traceparent", "tracestate":
						header += " " + string(h.Value)
					}
				}
				var compact bytes.Buffer // each server has its own spaces
				if string(r.Key) == "go" && json.Compact(&compact, r.Value) == nil {
					value = compact.String()
				}
				got = append(got, fmt.Sprintf("%s %s %s", r.Key, value, header))
			}
			if d := cmp.Diff(byKey(want), byKey(got)); d != "" {
				t.Errorf("events (-written +published):\n%s", d)
			}
			if r := w.consume(t, raw); len(r) != 1 || string(r[0].Value) != "\x00\xff" || string(r[0].Key) != "\x01" {
				t.Errorf("Deimos's table: %v", r)
			}
		})
	}
}

// writeByGo writes messages as an application in Go does, in transactions of
// database/sql by the usual driver, and returns what is to be published.
func writeByGo(t *testing.T, address, table, topic string) []string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	db, err := sql.Open("mysql", fmt.Sprintf("%s:%s@tcp(%s)%s", u.User.Username(), password, u.Host, u.Path))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	w := outbox.Writer{Dialect: outbox.MySQL, Table: table}
	type event struct {
		N    int    `json:"n"`
		Text string `json:"text"`
	}
	for n, end := range []func(*sql.Tx) error{(*sql.Tx).Commit, (*sql.Tx).Rollback, (*sql.Tx).Commit} {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		err = w.Write(t.Context(), tx,
			outbox.Message{Topic: topic, Key: "go", Payload: event{n, "it's \\ \"💶\""}, Headers: map[string]string{"h": "ü'\\"}},
			outbox.Message{Topic: topic, Key: "go", PartitionKey: "go", TraceParent: traceParent, TraceState: "a=b"},
			outbox.Message{Topic: topic, Key: "go", Payload: json.RawMessage(`["raw", null, 1.5]`)})
		if err == nil {
			err = end(tx)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var want []string
	for _, n := range []int{0, 2} {
		want = append(want, fmt.Sprintf(`go {"n":%d,"text":"it's \\ \"💶\""} ü'\`, n), "go <null>  "+traceParent+" a=b", `go ["raw",null,1.5] `)
	}
	return want
}

const traceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

type mysqlSession struct{ *session }

func dialMySQL(ctx context.Context, url string) (outboxSession, error) {
	s, err := dialSession(ctx, url)
	return mysqlSession{s}, err
}

func (s mysqlSession) publish(way int, topic, key, payload string) string {
	if way == 0 {
		return fmt.Sprintf("INSERT INTO outbox (topic, `key`, payload) VALUES ('%s', '%s', '%s')", topic, key, payload)
	}
	return fmt.Sprintf("CALL outbox_publish('%s', '%s', '%s', NULL)", topic, key, payload)
}

// deleteOwn deletes the row that the session has written last.
func (mysqlSession) deleteOwn() string { return "DELETE FROM outbox WHERE id = LAST_INSERT_ID()" }
