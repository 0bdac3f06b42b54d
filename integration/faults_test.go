package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"cdc/integration/servers"
	"cdc/internal/servicetest"
)

// TestRestarts crashes and restarts PostgreSQL (source and target), Kafka and
// the registry under load: capture and sink go on by themselves.
func TestRestarts(t *testing.T) {
	t.Parallel()
	provider, _, err := servers.Open(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	name := servicetest.Name(t, "restart")
	postgres, kafka, registry := provider.Postgres(name+"-postgres", 0, nil), provider.Kafka(name+"-kafka"), provider.Registry(name+"-registry")
	targetServer := provider.Postgres(name+"-target", 0, nil)
	all := []servers.Server{postgres, targetServer, kafka, registry}
	for _, s := range all {
		servicetest.Start(t, s)
	}
	w := &world{
		name: servicetest.Name(t, "it"), source: postgres.Address(), target: targetServer.Address(),
		brokers: strings.Split(kafka.Address(), ","), registry: registry.Address(), dir: t.TempDir(),
	}
	l := &load{url: w.source, writers: 2, keys: 50, pause: 10 * time.Millisecond}
	l.seed(t)
	capture := start(t, binary, "capture", "--config", w.config(t, []string{"kv"}, ""))
	sink := start(t, binary, "sink", "--config", w.config(t, []string{"kv"}, ""))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	loaded := make(chan error, 1)
	go func() { loaded <- l.run(ctx) }()

	// goesOn waits until so many more transactions have been committed and the
	// last of them is in the target.
	goesOn := func(after string) {
		t.Helper()
		base := l.history.begun.Load()
		eventually(t, time.Minute, "the load goes on after "+after, func() error {
			if n := l.history.begun.Load() - base; n < 20 {
				return fmt.Errorf("%d transactions", n)
			}
			return nil
		}, capture, sink)
		version := l.version.Load()
		eventually(t, 2*time.Minute, "later rows are in the target after "+after, func() error {
			c, err := dial(t.Context(), w.target)
			if err != nil {
				return err
			}
			defer c.Close(context.Background())
			var newest int64
			if err := c.QueryRow(t.Context(), `SELECT coalesce(max(v), 0) FROM kv`).Scan(&newest); err != nil {
				return err
			}
			if newest < version {
				return fmt.Errorf("version %d of %d", newest, version)
			}
			return nil
		}, capture, sink)
	}
	goesOn("the start")
	for _, c := range []struct {
		name   string
		server servers.Server
		end    func(servers.Server, context.Context) error
	}{
		{"a restart of PostgreSQL", postgres, servers.Server.Stop},
		{"a crash of PostgreSQL", postgres, servers.Server.Kill},
		{"a restart of the target", targetServer, servers.Server.Stop},
		{"a crash of the target", targetServer, servers.Server.Kill},
		{"a restart of Kafka", kafka, servers.Server.Stop},
		{"a crash of Kafka", kafka, servers.Server.Kill},
		{"a restart of the registry", registry, servers.Server.Stop},
	} {
		if err := c.end(c.server, t.Context()); err != nil {
			t.Fatal(err)
		}
		if c.server == registry {
			// A new schema, while nobody can register it.
			c, err := dial(t.Context(), w.source)
			if err != nil {
				t.Fatal(err)
			}
			exec1(t, c, `ALTER TABLE kv ADD COLUMN late text DEFAULT 'later'`)
			c.Close(context.Background())
		}
		if _, err := c.server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		goesOn(c.name)
	}
	stop()
	if err := <-loaded; err != nil {
		t.Fatal(err)
	}
	source, target := connect(t, w.source), connect(t, w.target)
	eventually(t, time.Minute, "the target equals the source", func() error {
		// A column's default fills the source's old rows without any change of them.
		exec1(t, source, `ALTER TABLE kv ALTER late DROP DEFAULT`)
		exec1(t, source, `UPDATE kv SET late = 'touched' WHERE late IS DISTINCT FROM 'touched'`)
		return same(t.Context(), source, target, "kv")
	}, capture, sink)
	if replays, err := l.history.check(withoutTouch(w.read(t, w.topic("kv")))); err != nil {
		t.Error("the order in the topic: ", err)
	} else {
		t.Logf("%d transactions, %d replays", l.history.begun.Load(), replays)
	}
	capture.stop(t)

	// A start waits for a database that is down, as a run does.
	source.Close(context.Background())
	if err := postgres.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	capture = start(t, binary, "capture", "--config", w.config(t, []string{"kv"}, ""))
	eventually(t, time.Minute, "the capture waits for the database", func() error {
		if !strings.Contains(capture.output(), "the database cannot be captured yet, trying again") {
			return errors.New("it does not say so")
		}
		return nil
	}, capture)
	if _, err := postgres.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	source = connect(t, w.source)
	exec1(t, source, `UPDATE kv SET late = 'touched'`)
	eventually(t, time.Minute, "the capture goes on", func() error { return same(t.Context(), source, target, "kv") }, capture, sink)
	sink.stop(t)
	capture.stop(t)
}

// withoutTouch leaves out the records of this test's own last update, which the
// load did not make.
func withoutTouch(all []message) (rest []message) {
	for _, m := range all {
		if m.value == nil || text(m.value["late"]) != "touched" {
			rest = append(rest, m)
		}
	}
	return rest
}

// TestCutConnections ends the server's side of capture's and sink's connections
// under load.
func TestCutConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, target := connect(t, w.source), connect(t, w.target)
	l := &load{url: w.source, writers: 2, keys: 50, pause: 10 * time.Millisecond}
	l.seed(t)
	p := start(t, binary, "run", "--config", w.config(t, []string{"kv"}, ""))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	loaded := make(chan error, 1)
	go func() { loaded <- l.run(ctx) }()
	for i := range 5 {
		newest := l.version.Load()
		eventually(t, time.Minute, "rows arrive", func() error {
			var v int64
			if err := target.QueryRow(t.Context(), `SELECT coalesce(max(v), 0) FROM kv`).Scan(&v); err != nil || v <= newest {
				return fmt.Errorf("version %d of %d, %v", v, newest, err)
			}
			return nil
		}, p)
		// Every walsender of the source database, every other session of the target.
		cut := func() error {
			var walsenders, sessions int
			if err := source.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
				WHERE datname = current_database() AND backend_type = 'walsender'`).Scan(&walsenders); err != nil {
				return err
			}
			if err := target.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&sessions); err != nil {
				return err
			}
			if walsenders == 0 || sessions == 0 {
				return fmt.Errorf("%d walsenders, %d sessions", walsenders, sessions)
			}
			return nil
		}
		eventually(t, time.Minute, fmt.Sprintf("cut %d", i+1), cut, p)
	}
	stop()
	if err := <-loaded; err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "the target equals the source", func() error { return same(t.Context(), source, target, "kv") }, p)
	p.stop(t)
	if _, err := l.history.check(w.read(t, w.topic("kv"))); err != nil {
		t.Error("the order in the topic: ", err)
	}
}

// TestBigTransaction: one transaction of a million rows, and the memory of
// capture and sink stays flat.
func TestBigTransaction(t *testing.T) {
	const million = 1_000_000
	// The sink has up to three batches of 16 MiB of Avro in hand, as Values some
	// times that, and what the collector has not come to yet.
	limits := map[string]int{"capture": 150, "sink": 300}
	w := newWorld(t)
	source, target := connect(t, w.source), connect(t, w.target)
	exec1(t, source, `CREATE TABLE big (id bigint PRIMARY KEY, a text, b int, c timestamptz); INSERT INTO big VALUES (0)`)
	capture := start(t, shippedBinary, "capture", "--config", w.config(t, []string{"big"}, ""))
	sink := start(t, shippedBinary, "sink", "--config", w.config(t, []string{"big"}, ""))
	eventually(t, time.Minute, "the first row is in the target", func() error { return same(t.Context(), source, target, "big") }, capture, sink)
	exec1(t, source, `INSERT INTO big SELECT g, md5(g::text) || md5((-g)::text), g % 1000, now() FROM generate_series(1, $1::int) g`, million)
	eventually(t, 5*time.Minute, "all rows are in the target", func() error {
		var n int
		if err := target.QueryRow(t.Context(), `SELECT count(*) FROM big`).Scan(&n); err != nil || n != million+1 {
			return fmt.Errorf("%d rows, %v", n, err)
		}
		return nil
	}, capture, sink)
	for _, p := range []*process{capture, sink} {
		if mb, limit := peakMB(t, p), limits[p.cmd.Args[1]]; mb > limit {
			t.Errorf("cdc %s held up to %d MB, want at most %d", p.cmd.Args[1], mb, limit)
		} else {
			t.Logf("cdc %s held up to %d MB", p.cmd.Args[1], mb)
		}
	}
	const sum = `SELECT md5(string_agg(md5(id || ' ' || a || ' ' || b || ' ' || c), '' ORDER BY id)) FROM big WHERE id > 0`
	var want, got string
	if err := source.QueryRow(t.Context(), sum).Scan(&want); err != nil {
		t.Fatal(err)
	}
	if err := target.QueryRow(t.Context(), sum).Scan(&got); err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Error("the rows of the target differ from the source's")
	}
	sink.stop(t)
	capture.stop(t)
}

// peakMB is the most memory a process has held, in MB.
func peakMB(t *testing.T, p *process) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]), " kB"))
	if err != nil {
		t.Fatal(err)
	}
	return kib * 1024 / 1_000_000
}

// TestIdleSlot: a slot whose tables are quiet holds no WAL, though others write.
func TestIdleSlot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, target := connect(t, w.source), connect(t, w.target)
	exec1(t, source, `CREATE TABLE quiet (id int PRIMARY KEY); CREATE TABLE busy (id int); INSERT INTO quiet VALUES (1)`)
	p := start(t, binary, "run", "--config", w.config(t, []string{"quiet"}, ""))
	eventually(t, time.Minute, "the row is in the target", func() error { return same(t.Context(), source, target, "quiet") }, p)
	exec1(t, source, `INSERT INTO busy SELECT generate_series(1, 100000)`)
	var end string
	if err := source.QueryRow(t.Context(), `SELECT pg_current_wal_flush_lsn()::text`).Scan(&end); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "the slot is confirmed up to "+end, func() error {
		var at string
		var done bool
		err := source.QueryRow(t.Context(), `SELECT confirmed_flush_lsn::text, confirmed_flush_lsn >= $1::text::pg_lsn FROM pg_replication_slots WHERE slot_name = $2`, end, "cdc_"+w.name).Scan(&at, &done)
		if err != nil || !done {
			return fmt.Errorf("at %s: %v", at, err)
		}
		return nil
	}, p)
	p.stop(t)
}
