package integration

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	"cdc/internal/services"
	"cdc/internal/servicetest"
)

// TestFailoverToTarget kills a primary under load and promotes its standby.
// Capture, sink and the load, which know both by one URL, go on there: all that
// was committed is in the topic, in order, and the target equals the promoted
// server.
func TestFailoverToTarget(t *testing.T) {
	t.Parallel()
	primary, standby := replicated(t)
	both := "postgres://postgres:postgres@" + hostOf(t, primary) + "," + hostOf(t, standby) + "/postgres?connect_timeout=5&target_session_attrs=read-write"
	w := emptyWorld(t, both)
	w.target = servicetest.Postgres(t)
	l := &load{url: both, writers: 2, keys: 50, pause: 10 * time.Millisecond}
	l.seed(t)
	tables := []string{"kv"}
	capture := start(t, binary, "capture", "--config", w.config(t, tables, ""))
	sink := start(t, binary, "sink", "--config", w.config(t, tables, ""))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	loaded := make(chan error, 1)
	go func() { loaded <- l.run(ctx) }()
	target := connect(t, w.target)
	goesOn := func(after string) {
		t.Helper()
		base := l.history.begun.Load()
		eventually(t, time.Minute, "the load goes on after "+after, func() error {
			if n := l.history.begun.Load() - base; n < 50 {
				return fmt.Errorf("%d transactions", n)
			}
			return nil
		}, capture, sink)
		version := l.version.Load()
		eventually(t, time.Minute, "later rows are in the target after "+after, func() error {
			var newest int64
			if err := target.QueryRow(t.Context(), `SELECT coalesce(max(v), 0) FROM kv`).Scan(&newest); err != nil {
				return err
			}
			if newest < version {
				return fmt.Errorf("version %d of %d", newest, version)
			}
			return nil
		}, capture, sink)
	}
	goesOn("the start")
	first, second := connect(t, primary.Address()), connect(t, standby.Address())
	eventually(t, time.Minute, "the standby has a copy of the slot that lasts", func() error {
		exec1(t, first, `SELECT pg_log_standby_snapshot()`) // which the copy waits for
		var n int
		if err := second.QueryRow(t.Context(), `SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1 AND synced AND failover AND NOT temporary`, "cdc_"+w.name).Scan(&n); err != nil {
			return err
		}
		if n != 1 {
			return errors.New("it has none")
		}
		return nil
	}, capture)

	if err := primary.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	exec1(t, second, `SELECT pg_promote()`)
	goesOn("the failover")
	stop()
	if err := <-loaded; err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "the target equals the promoted server", func() error {
		return same(t.Context(), second, target, "kv")
	}, capture, sink)
	capture.stop(t)
	sink.stop(t)
	messages := w.read(t, w.topic("kv"))
	replays, err := l.history.check(messages)
	if err != nil {
		t.Error("the order in the topic: ", err)
	}
	t.Logf("%d transactions committed on both servers, %d records in the topic of which %d begin a replay", l.history.begun.Load(), len(messages), replays)
}

// replicated starts a primary and a standby that has every commit before its
// client is told of it, and everything before a logical slot hands it out.
func replicated(t *testing.T) (primary, standby *services.Server) {
	t.Helper()
	home, err := services.Find(os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	const slot = "standby1"
	set := func(s *services.Server, settings ...string) {
		t.Helper()
		conn := connect(t, s.Address())
		for i := 0; i < len(settings); i += 2 {
			exec1(t, conn, `ALTER SYSTEM SET `+settings[i]+` = '`+settings[i+1]+`'`)
		}
		exec1(t, conn, `SELECT pg_reload_conf()`)
	}
	name := servicetest.Name(t, "failover")
	primary = home.Postgres(name+"-primary", services.Postgres{Major: 17})
	servicetest.Start(t, primary)
	exec1(t, connect(t, primary.Address()), `SELECT pg_create_physical_replication_slot('`+slot+`', true)`)
	host, err := url.Parse(primary.Address())
	if err != nil {
		t.Fatal(err)
	}
	// The copy has them, the primary does not mind.
	set(primary, "primary_conninfo", "host=127.0.0.1 port="+host.Port()+" user=postgres password=postgres dbname=postgres", "primary_slot_name", slot,
		"hot_standby_feedback", "on", "wal_retrieve_retry_interval", "100ms", "wal_sender_timeout", "4s")
	if err := primary.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	standby = home.Postgres(name+"-standby", services.Postgres{Major: 17, StandbyOf: primary})
	servicetest.Start(t, standby)
	if _, err := primary.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	set(primary, "synchronous_standby_names", "*", "synchronized_standby_slots", slot)
	eventually(t, time.Minute, "the standby replicates synchronously", func() error {
		conn, err := dial(t.Context(), primary.Address())
		if err != nil {
			return err
		}
		defer conn.Close(context.Background())
		var n int
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'`).Scan(&n); err != nil {
			return err
		}
		if n != 1 {
			return fmt.Errorf("%d standbys do", n)
		}
		return nil
	})
	// A worker that finds no primary is started again ten seconds later only.
	set(standby, "sync_replication_slots", "on")
	return primary, standby
}

func hostOf(t *testing.T, s *services.Server) string {
	t.Helper()
	u, err := url.Parse(s.Address())
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}
