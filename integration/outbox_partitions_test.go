package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cdc/internal/services"
	"cdc/internal/servicetest"
)

// TestOutboxPartitions drops the partitions of an outbox that is partitioned by
// range while it is captured, the log says so, the capture goes on, and a
// restart begins behind it.
func TestOutboxPartitions(t *testing.T) {
	for _, server := range []string{"postgres", services.MySQL9, services.MariaDB118} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			source := newSide(t, server)
			w := &world{
				name: servicetest.Name(t, "it"), source: source.url, brokers: servicetest.Kafka(t), registry: servicetest.Registry(t), dir: t.TempDir(),
			}
			admin, topic, table := w.admin(t), w.name+"_events", source.database(t)+".outbox"
			partitions := func() string {
				t.Helper()
				query := "SELECT partition_name FROM information_schema.partitions WHERE table_schema = database() AND table_name = 'outbox' ORDER BY partition_ordinal_position"
				if server == "postgres" {
					query = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'outbox'::regclass ORDER BY 1"
				}
				rows, err := source.query(t.Context(), query)
				if err != nil {
					t.Fatal(err)
				}
				var list []string
				for _, r := range rows {
					list = append(list, r[0])
				}
				return strings.Join(list, " ")
			}
			if server == "postgres" {
				table = "public.outbox"
				source.exec(t, "CREATE TABLE outbox (id bigint PRIMARY KEY, topic text, key text, payload jsonb) PARTITION BY RANGE (id)")
				for i := range 5 {
					source.exec(t, fmt.Sprintf("CREATE TABLE p%d PARTITION OF outbox FOR VALUES FROM (%d) TO (%d)", i, 10*i, 10*i+10))
				}
			} else {
				source.exec(t, "CREATE TABLE outbox (id bigint PRIMARY KEY, topic varchar(200), `key` varchar(20), payload json) PARTITION BY RANGE (id) "+
					"(PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20), PARTITION p2 VALUES LESS THAN (30), PARTITION p3 VALUES LESS THAN (40), PARTITION p4 VALUES LESS THAN MAXVALUE)")
			}
			config := w.outboxConfig(t, "outbox:\n  - table: "+table+"\n    cleanup: {every: 100ms, drop_partitions: true}", "")
			// Together: a partition that may go for the first may not be there for the next.
			insert := func(ids ...int) {
				t.Helper()
				var rows []string
				for _, id := range ids {
					rows = append(rows, fmt.Sprintf("(%d, '%s', 'k', '{\"n\": %d}')", id, topic, id))
				}
				source.exec(t, "INSERT INTO outbox VALUES "+strings.Join(rows, ", "))
			}
			left := func(want string, p *process) {
				t.Helper()
				eventually(t, time.Minute, "the partitions left are "+want, func() error {
					if got := partitions(); got != want {
						return fmt.Errorf("they are %s", got)
					}
					return nil
				}, p)
			}
			insert(1, 2) // before the first start
			capture := start(t, binary, "capture", "--config", config)
			w.arrived(t, admin, 2, []string{topic}, capture)
			insert(11, 12)
			w.arrived(t, admin, 4, []string{topic}, capture)
			insert(21)
			left("p1 p2 p3 p4", capture)
			capture.stop(t)
			insert(31, 32) // p1 may go, but nobody has published these
			if got := partitions(); got != "p1 p2 p3 p4" {
				t.Errorf("left: %s", got)
			}
			capture = start(t, binary, "capture", "--config", config)
			left("p2 p3 p4", capture)
			insert(41, 22)
			left("p3 p4", capture)
			w.arrived(t, admin, 9, []string{topic}, capture)

			if out, stderr, code := command(t, "check", "--config", config); !strings.Contains(out, "outbox "+table+": published rows can be cleaned up") {
				t.Errorf("check ends with %d and does not tell of the clean-up: %s%s", code, out, stderr)
			}
			// What keeps it from going on is told.
			refusal := "publication cdc_" + w.name + " does not publish the inserts of outbox table " + table
			if server == "postgres" {
				source.exec(t, "ALTER PUBLICATION cdc_"+w.name+" SET (publish = 'update')", "CREATE TABLE p5 PARTITION OF outbox FOR VALUES FROM (50) TO (60)")
				insert(51)
			} else {
				refusal = "outbox table " + table + " is not partitioned by ranges"
				source.exec(t, "ALTER TABLE outbox REMOVE PARTITIONING")
			}
			listen := regexp.MustCompile(`listen: (\S+)`).FindStringSubmatch(readFile(t, config))[1]
			eventually(t, time.Minute, "the clean-up's refusal shows", func() error {
				ready, err := get(t, "http://"+listen+"/readyz")
				if err != nil {
					return err
				}
				metrics, err := get(t, "http://"+listen+"/metrics")
				if err != nil {
					return err
				}
				if !strings.Contains(ready, "clean-up of "+table+": "+refusal) || !strings.Contains(metrics, `cdc_outbox_cleanup_failing{table="`+table+`"} 1`) {
					return fmt.Errorf("not yet: %s", ready)
				}
				if !strings.Contains(metrics, `cdc_outbox_partitions_dropped_total{table="`+table+`"} 2`) { // by this process
					return fmt.Errorf("partitions: %s", metrics)
				}
				return nil
			}, capture)
			capture.stop(t)

			var got []string
			for _, r := range w.consume(t, topic) {
				got = append(got, string(r.Value))
			}
			var want []string
			for _, id := range []int{1, 2, 11, 12, 21, 31, 32, 41, 22} {
				want = append(want, fmt.Sprintf(`{"n": %d}`, id))
			}
			if d := cmp.Diff(want, slices.DeleteFunc(got, func(s string) bool { return s == "" })); d != "" {
				t.Errorf("(-written +published):\n%s", d)
			}
		})
	}
}

// get returns what a URL answers, whatever its status.
func get(t *testing.T, url string) (string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, url, nil) // of cleanups, too
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	return string(b), err
}
