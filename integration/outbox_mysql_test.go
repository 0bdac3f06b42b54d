package integration

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/internal/services"
	"cdc/internal/servicetest"
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
					if h.Key == "h" {
						header = string(h.Value)
					}
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
