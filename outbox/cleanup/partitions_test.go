package cleanup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cdc/internal/services"
	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/secret"
)

func noWait(context.Context, Mark) error { return nil }

// postgresRig is a database with a Store on it.
type postgresRig struct {
	t     *testing.T
	url   string
	store Store
	conn  *pgx.Conn
}

func newPostgresRig(t *testing.T) *postgresRig {
	t.Helper()
	r := &postgresRig{t: t, url: servicetest.Postgres(t)}
	r.conn = r.connect()
	store, err := OpenPostgres(t.Context(), secret.New(r.url), "pub")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close(context.Background()) })
	r.store = store
	return r
}

func (r *postgresRig) connect() *pgx.Conn {
	r.t.Helper()
	conn, err := pgx.Connect(context.Background(), r.url) // of cleanups, too
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (r *postgresRig) exec(conn *pgx.Conn, sql string) {
	r.t.Helper()
	if _, err := conn.Exec(context.Background(), sql); err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
}

// left lists the table's partitions.
func (r *postgresRig) left(table string) (list string) {
	r.t.Helper()
	if err := r.conn.QueryRow(r.t.Context(), `SELECT coalesce(string_agg(inhrelid::regclass::text, ' ' ORDER BY inhrelid::regclass::text), '') FROM pg_inherits WHERE inhparent = $1::text::regclass`, table).Scan(&list); err != nil {
		r.t.Fatal(err)
	}
	return list
}

// find returns the partition that may go, nil when there is none.
func find(t *testing.T, store Store, table Table) Partition {
	t.Helper()
	p, mark, err := store.FindPartition(t.Context(), table)
	if err != nil {
		t.Fatal(err)
	}
	if p == nil {
		return nil
	}
	if mark == "" {
		t.Fatalf("partition %s without a mark", p)
	}
	return p
}

// again calls f until it returns true: other tests use the server, and a
// transaction or a lock of theirs may keep a partition for a while.
func again(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !f(); {
		if time.Now().After(deadline) {
			t.Fatalf("not yet: %s", what)
		}
	}
}

// drop tries to drop it.
func drop(t *testing.T, p Partition) bool {
	t.Helper()
	if p == nil {
		t.Fatal("there is no partition to drop")
	}
	dropped, err := p.Drop(t.Context(), noWait)
	if err != nil {
		t.Fatal(err)
	}
	return dropped
}

// drops drops the oldest partition.
func drops(t *testing.T, store Store, table Table, want string) {
	t.Helper()
	again(t, "partition "+want+" goes", func() bool {
		p := find(t, store, table)
		if p == nil || p.String() != want {
			t.Fatalf("%v may be dropped, want %s", p, want)
		}
		return drop(t, p)
	})
}

// TestPostgresPartitions: partitions go from the oldest on, and two stay below
// none; one that somebody writes to, or has written to since it was looked at,
// stays.
func TestPostgresPartitions(t *testing.T) {
	t.Parallel()
	r := newPostgresRig(t)
	r.exec(r.conn, `CREATE TABLE o (id bigint, payload text) PARTITION BY RANGE (id);
		CREATE TABLE o9 PARTITION OF o FOR VALUES FROM (9) TO (10);
		CREATE TABLE o10 PARTITION OF o FOR VALUES FROM (10) TO (100);
		CREATE TABLE "o 1" PARTITION OF o FOR VALUES FROM (MINVALUE) TO (9);
		CREATE TABLE o1000 PARTITION OF o FOR VALUES FROM (100) TO (MAXVALUE);
		CREATE TABLE rest PARTITION OF o DEFAULT;
		CREATE PUBLICATION pub FOR TABLE o WITH (publish_via_partition_root = true)`)
	o := Table{Schema: "public", Name: "o", DropPartitions: true}
	none := func(why string) {
		t.Helper()
		if p := find(t, r.store, o); p != nil {
			t.Errorf("%s: %s may be dropped", why, p)
		}
	}
	none("no rows")
	r.exec(r.conn, `INSERT INTO o VALUES (1), (9), (NULL)`)
	none("the newest with rows is the second")

	// A transaction that is open elsewhere is none of the table's.
	other := r.connect()
	r.exec(other, `BEGIN; CREATE TABLE other ()`)
	r.exec(r.conn, `INSERT INTO o VALUES (3), (10)`)
	p := find(t, r.store, o)
	if p.String() != "public.o 1" {
		t.Fatalf("%s is the oldest", p)
	}
	if drop(t, p) {
		t.Error("a partition went whose rows may be younger than a transaction in progress")
	}
	r.exec(other, `ROLLBACK`)

	// Somebody is about to insert into it, or has since.
	p = find(t, r.store, o)
	r.exec(other, `BEGIN; SAVEPOINT s; INSERT INTO o VALUES (2)`)
	if drop(t, p) {
		t.Error("a partition went that a transaction in progress has inserted into")
	}
	r.exec(other, `COMMIT`)
	if drop(t, p) {
		t.Error("a partition went with a row that came after it was noted")
	}
	// A reader of the whole table, which a drop would wait for.
	p = find(t, r.store, o)
	r.exec(other, `BEGIN; SELECT FROM o`)
	began := time.Now()
	if drop(t, p) || time.Since(began) > 30*time.Second {
		t.Errorf("a partition went that is being read, or others waited %s", time.Since(began))
	}
	r.exec(other, `COMMIT`)
	if got := r.left("o"); got != `"o 1" o10 o1000 o9 rest` {
		t.Errorf("left: %s", got)
	}

	drops(t, r.store, o, "public.o 1")
	if got := r.left("o"); got != `o10 o1000 o9 rest` {
		t.Errorf("left: %s", got)
	}
	none("the newest with rows is the second again")
	r.exec(r.conn, `INSERT INTO o VALUES (100)`)
	p = find(t, r.store, o)
	// Detached meanwhile, it is a table like others.
	r.exec(r.conn, `ALTER TABLE o DETACH PARTITION o9`)
	if drop(t, p) {
		t.Error("a table went that is no partition any more")
	}
	r.exec(r.conn, `SELECT FROM o9`)

	// What is not carried is not dropped, and what is not partitioned by range.
	r.exec(r.conn, `ALTER TABLE o ATTACH PARTITION o9 FOR VALUES FROM (9) TO (10); ALTER PUBLICATION pub SET (publish_via_partition_root = false)`)
	for table, want := range map[string]string{"o": "does not publish", "o9": "is not partitioned by ranges", "none": "is not partitioned by ranges"} {
		_, _, err := r.store.FindPartition(t.Context(), Table{Schema: "public", Name: table})
		if f, ok := errors.AsType[*replication.Refusal](err); !ok || !strings.Contains(f.Problem, want) || f.Remedy == "" {
			t.Errorf("%s: %v, want a refusal: %s", table, err, want)
		}
	}
}

// TestPostgresPartitionsByTime sorts bounds as their type does, not as text.
func TestPostgresPartitionsByTime(t *testing.T) {
	t.Parallel()
	r := newPostgresRig(t)
	r.exec(r.conn, `CREATE TABLE o (id bigint, at date) PARTITION BY RANGE (at)`)
	for _, from := range []string{"9999-01-01", "10000-01-01", "10001-01-01"} {
		year, _, _ := strings.Cut(from, "-")
		var n int
		if _, err := fmt.Sscan(year, &n); err != nil {
			t.Fatal(err)
		}
		r.exec(r.conn, fmt.Sprintf(`CREATE TABLE o%d PARTITION OF o FOR VALUES FROM ('%s') TO ('%d-01-01'); INSERT INTO o VALUES (1, '%s')`, n, from, n+1, from))
	}
	r.exec(r.conn, `CREATE PUBLICATION pub FOR TABLE o WITH (publish_via_partition_root = true)`)
	drops(t, r.store, Table{Schema: "public", Name: "o"}, "public.o9999")
}

// TestMySQLPartitions: partitions go from the oldest on, and only when the
// checkpoint has passed all that is in the table, which is locked meanwhile.
func TestMySQLPartitions(t *testing.T) {
	for _, version := range services.MySQLVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			store, database, run := openMySQL(t, version)
			run("CREATE TABLE t (id bigint PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION `a b` VALUES LESS THAN (10), PARTITION b VALUES LESS THAN (20), PARTITION c VALUES LESS THAN (30), PARTITION d VALUES LESS THAN MAXVALUE)")
			table := Table{Schema: database, Name: "t"}
			left := func() string {
				return run("SELECT group_concat(partition_name ORDER BY partition_ordinal_position) FROM information_schema.partitions WHERE table_schema = database() AND table_name = 't'")
			}
			run("INSERT INTO t VALUES (1), (11)")
			if p := find(t, store, table); p != nil {
				t.Errorf("%s may be dropped", p)
			}
			run("INSERT INTO t VALUES (21)")
			p := find(t, store, table)

			// Somebody is at work.
			run("BEGIN")
			run("INSERT INTO t VALUES (2)")
			if drop(t, p) {
				t.Error("a partition went that a transaction in progress has inserted into")
			}
			run("COMMIT")
			// The capture is behind.
			if dropped, err := p.Drop(t.Context(), func(ctx context.Context, _ Mark) error { <-ctx.Done(); return ctx.Err() }); dropped || err != nil {
				t.Errorf("dropped before the checkpoint was there: %v, %v", dropped, err)
			}
			run("INSERT INTO t VALUES (3)") // the lock is gone

			// The end of the log that is waited for has the row that came last, and
			// no other can come.
			before, err := store.(*mysqlStore).conn.End(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			run("INSERT INTO t VALUES (4)")
			again(t, "the partition goes", func() bool {
				dropped, err := p.Drop(t.Context(), func(_ context.Context, m Mark) error {
					if string(m) == before {
						t.Errorf("waits for %s only", m)
					}
					other, err := servicetest.MySQLConn(t.Context(), servicetest.MySQLServer(t, version))
					if err != nil {
						return err
					}
					defer other.Close()
					if _, err := other.Execute("SET SESSION lock_wait_timeout = 1"); err != nil {
						return err
					}
					if _, err := other.Execute("INSERT INTO " + database + ".t VALUES (5)"); err == nil {
						t.Error("a row came while the table was locked")
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				return dropped
			})
			if got := left(); got != "b,c,d" {
				t.Errorf("left: %s", got)
			}
			if got := run("SELECT group_concat(id ORDER BY id) FROM t"); got != "11,21" {
				t.Errorf("rows left: %s", got)
			}
			run("INSERT INTO t VALUES (31)")

			run("CREATE TABLE h (id int PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 4")
			for _, name := range []string{"h", "none"} {
				_, _, err := store.FindPartition(t.Context(), Table{Schema: database, Name: name})
				if f, ok := errors.AsType[*replication.Refusal](err); !ok || !strings.Contains(f.Problem, "is not partitioned by ranges") {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}
