package cleanup

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"cdc/internal/services"
	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/replication/mysql"
	"cdc/secret"
)

// finds checks what Check says of a table: problem and remedy, or that it is fine.
func finds(t *testing.T, c Config, table Table, problem, remedy string) {
	t.Helper()
	c.Tables = []Table{table}
	list := Check(t.Context(), c)
	if len(list) != 1 {
		t.Fatalf("%d findings: %v", len(list), list)
	}
	f := list[0]
	if problem == "" && f.Level != replication.LevelOK || problem != "" && (f.Level != replication.LevelError || !strings.Contains(f.Problem, problem) || !strings.Contains(f.Remedy, remedy)) {
		t.Errorf("%s: %s: %q, to mend it: %q; want %q, %q", f.Subject, f.Level, f.Problem, f.Remedy, problem, remedy)
	}
}

// TestPostgresCheck asks for the rights that a clean-up needs, and they suffice.
func TestPostgresCheck(t *testing.T) {
	t.Parallel()
	r := newPostgresRig(t)
	role := servicetest.Name(t, "r")
	r.exec(r.conn, `CREATE ROLE `+role+` LOGIN PASSWORD 'p'; CREATE TABLE o (id int PRIMARY KEY); INSERT INTO o VALUES (1), (2); GRANT SELECT, DELETE ON o TO `+role)
	t.Cleanup(func() {
		r.exec(r.connect(), `DROP OWNED BY `+role+`; DROP ROLE `+role)
	})
	u, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "p")
	c := Config{Open: func(ctx context.Context) (Store, error) { return OpenPostgres(ctx, secret.New(u.String()), "pub") }}
	o := Table{Schema: "public", Name: "o"}
	finds(t, c, o, "it lacks UPDATE", `GRANT SELECT, UPDATE, DELETE ON "public"."o"`)
	r.exec(r.conn, `GRANT UPDATE ON o TO `+role)
	finds(t, c, o, "", "") // the publication is made at the first start
	r.exec(r.conn, `CREATE PUBLICATION pub FOR TABLE o WHERE (id > 1)`)
	finds(t, c, o, "has a row filter", "remove the row filter")
	r.exec(r.conn, `ALTER PUBLICATION pub SET TABLE o; ALTER PUBLICATION pub SET (publish = 'update')`)
	finds(t, c, o, "does not publish the inserts", "")
	r.exec(r.conn, `ALTER PUBLICATION pub SET (publish = 'insert')`)
	finds(t, c, o, "", "")
	store, err := c.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close(t.Context())
	rows, _, err := store.Find(t.Context(), o, 10)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := rows.Delete(t.Context(), 0, 2); n != 2 || err != nil {
		t.Errorf("deleted %d, %v", n, err)
	}

	o.DropPartitions = true
	finds(t, c, o, "is not partitioned by ranges", "partition it by range")
	r.exec(r.conn, `DROP TABLE o; CREATE TABLE o (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE a PARTITION OF o FOR VALUES FROM (1) TO (2);
		CREATE TABLE b PARTITION OF o FOR VALUES FROM (2) TO (3); CREATE TABLE d PARTITION OF o FOR VALUES FROM (3) TO (4); INSERT INTO o VALUES (1), (2), (3);
		DROP PUBLICATION pub; CREATE PUBLICATION pub FOR TABLE o WITH (publish_via_partition_root = true); GRANT SELECT ON o, a, b, d TO `+role)
	finds(t, c, o, "may not drop partition", "GRANT owner TO role")
	again(t, "the drop is refused", func() bool {
		p := find(t, store, o)
		if p == nil {
			t.Fatal("there is no partition to drop")
		}
		dropped, err := p.Drop(t.Context(), noWait)
		if refused := errors.As(err, new(*replication.Refusal)); dropped || err != nil && !refused {
			t.Fatalf("%v, %v, want a refusal", dropped, err)
		}
		return err != nil
	})
	r.exec(r.conn, `ALTER TABLE o OWNER TO `+role+`; ALTER TABLE a OWNER TO `+role+`; ALTER TABLE b OWNER TO `+role+`; ALTER TABLE d OWNER TO `+role)
	finds(t, c, o, "", "")
	drops(t, store, o, "public.a")
}

// TestMySQLCheck does the same.
func TestMySQLCheck(t *testing.T) {
	for _, version := range []string{services.MySQL9, services.MariaDB118} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			_, database, run := openMySQL(t, version)
			run("CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION a VALUES LESS THAN (1), PARTITION b VALUES LESS THAN (2), PARTITION c VALUES LESS THAN (3))")
			run("INSERT INTO t VALUES (0), (1), (2)")
			user := servicetest.Name(t, "u")
			run("CREATE USER " + user + " IDENTIFIED BY 'p'")
			t.Cleanup(func() { run("DROP USER " + user) })
			run("GRANT REPLICATION CLIENT ON *.* TO " + user)
			run("GRANT SELECT, LOCK TABLES ON " + database + ".* TO " + user)
			u, err := url.Parse(servicetest.MySQLServer(t, version))
			if err != nil {
				t.Fatal(err)
			}
			u.User, u.Path = url.UserPassword(user, "p"), "/"
			source := mysql.Config{Name: "test", Flavor: mysql.Flavor(u.Scheme), URL: secret.New(u.String()), Tables: []mysql.TableConfig{{Schema: database, Name: "t"}}}
			c := Config{Open: func(ctx context.Context) (Store, error) { return OpenMySQL(ctx, source) }}
			table := Table{Schema: database, Name: "t"}
			finds(t, c, table, "may not delete rows", "GRANT SELECT, DELETE ON")
			run("GRANT DELETE ON " + database + ".t TO " + user)
			finds(t, c, table, "", "")

			table.DropPartitions = true
			store, err := c.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close(t.Context())
			p := find(t, store, table)
			if p == nil {
				t.Fatal("there is no partition to drop")
			}
			again(t, "the drop is refused", func() bool {
				dropped, err := p.Drop(t.Context(), noWait)
				if r, ok := errors.AsType[*replication.Refusal](err); dropped || err != nil && (!ok || !strings.Contains(r.Remedy, "GRANT SELECT, INSERT, CREATE, ALTER, DROP, LOCK TABLES ON")) {
					t.Fatalf("%v, %v, want a refusal", dropped, err)
				}
				return err != nil
			})
			const remedy = "GRANT SELECT, INSERT, CREATE, ALTER, DROP, LOCK TABLES ON"
			finds(t, c, table, "may not drop partitions", remedy)
			run("GRANT ALTER ON " + database + ".t TO " + user)
			finds(t, c, table, "may not drop partitions", remedy)
			run("REVOKE ALTER ON " + database + ".t FROM " + user)
			run("GRANT DROP ON " + database + ".t TO " + user)
			if version == services.MySQL9 { // MariaDB is content with DROP
				finds(t, c, table, "may not drop partitions", remedy)
			}
			run("GRANT SELECT, INSERT, CREATE, ALTER, DROP ON " + database + ".t TO " + user)
			finds(t, c, table, "", "")
			again(t, "the partition goes", func() bool { return drop(t, p) })
			run("CREATE TABLE n (id int)")
			finds(t, c, Table{Schema: database, Name: "n"}, "has no primary key", "add a primary key")
			finds(t, c, Table{Schema: database, Name: "n", DropPartitions: true}, "is not partitioned by ranges", "")
		})
	}
}

// broken is a Store that refuses one table as long as it is told to.
type broken struct{ refuses *atomic.Bool }

func (b broken) Find(_ context.Context, t Table, _ int) (Rows, Mark, error) {
	if t.Name == "b" && b.refuses.Load() {
		return nil, "", refuse(t)
	}
	return noRows{}, "", nil
}
func (broken) FindPartition(context.Context, Table) (Partition, Mark, error) { return nil, "", nil }
func (broken) Check(context.Context, Table) error                            { return nil }
func (broken) Close(context.Context) error                                   { return nil }

type noRows struct{}

func (noRows) Len() int                                        { return 0 }
func (noRows) Delete(context.Context, int, int) (int64, error) { return 0, nil }

// TestProblems: what keeps a table from being cleaned up shows until it is
// mended.
func TestProblems(t *testing.T) {
	t.Parallel()
	var refuses atomic.Bool
	refuses.Store(true)
	metrics := prometheus.NewRegistry()
	c, err := New(Config{
		Tables:     []Table{{Schema: "s", Name: "a", Every: time.Millisecond}, {Schema: "s", Name: "b", Every: time.Millisecond}},
		Open:       func(context.Context) (Store, error) { return broken{&refuses}, nil },
		Registerer: metrics, Retry: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }()
	defer func() { stop(); <-done }()
	until := func(want int) []string {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); ; runtime.Gosched() {
			if list := c.Problems(); len(list) == want {
				return list
			} else if time.Now().After(deadline) {
				t.Fatalf("problems: %q, want %d", list, want)
			}
		}
	}
	if list := until(1); !strings.HasPrefix(list[0], "clean-up of s.b: outbox table s.b has no primary key") {
		t.Errorf("%q", list)
	}
	failing := func() string {
		t.Helper()
		families, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for _, f := range families {
			if f.GetName() == "cdc_outbox_cleanup_failing" {
				for _, m := range f.GetMetric() {
					fmt.Fprintf(&text, "%s %v, ", m.GetLabel()[0].GetValue(), m.GetGauge().GetValue())
				}
			}
		}
		return text.String()
	}
	if got := failing(); got != "s.a 0, s.b 1, " {
		t.Errorf("metric: %s", got)
	}
	refuses.Store(false)
	if d := cmp.Diff([]string(nil), until(0)); d != "" {
		t.Error(d)
	}
	if got := failing(); got != "s.a 0, s.b 0, " {
		t.Errorf("metric: %s", got)
	}
}
