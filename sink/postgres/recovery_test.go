package postgres

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"cdc/replication"
	"cdc/secret"
	"cdc/sink"
	"cdc/sink/sinktest"
)

func TestLostCommitAcknowledgementAppliesOnce(t *testing.T) {
	tg := newTarget(t, Config{CreateTables: true})
	u, err := url.Parse(tg.url)
	tg.Must(err)
	commit := func(b []byte) bool { return bytes.Contains(b, []byte("COMMIT\x00")) } // the query, and its tag
	p := sinktest.NewProxy(t, u.Host, commit, commit)
	w, err := Open(t.Context(), Config{URL: p.URL(tg.url), CreateTables: true})
	tg.Must(err)
	defer w.Close(t.Context())
	sinktest.LostCommit(t, tg.Target, p, w)
}

func TestKilledBackendIsRetried(t *testing.T) {
	tg := newTarget(t, Config{CreateTables: true})
	s := shape(id(), note())
	var rows []sink.Row
	for i := range copyThreshold {
		rows = append(rows, row(num(int64(i)), str("a")))
	}
	for i := range 3 { // with prepared statements and temp tables made before
		tg.Apply(s, rows...)
		tg.Apply(s, rows[:10]...)
		tg.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cdc sink' AND datname = current_database()")
		tg.Apply(s, sink.Row{Delete: true, Values: []replication.Value{num(int64(i)), replication.Null}})
	}
	if got := tg.dump("SELECT count(*) FROM t"); got != fmt.Sprint(copyThreshold-1) {
		t.Errorf("rows: %s", got)
	}
}

// TestReadOnlyServerIsLeft: the connection leads to what is a standby by now;
// a new one finds the primary.
func TestReadOnlyServerIsLeft(t *testing.T) {
	tg := newTarget(t, Config{CreateTables: true})
	s := shape(id(), note())
	tg.Apply(s, row(num(1), str("a")))
	tg.Must(tg.w.exec(t.Context(), "SET default_transaction_read_only = on"))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tg.Must(tg.w.Apply(ctx, "g", tg.Batch(s, row(num(2), str("b")))))
	if got := tg.dump("SELECT count(*) FROM t"); got != "2" {
		t.Errorf("%s rows", got)
	}
}

func TestDeadlockIsRetried(t *testing.T) {
	tg := newTarget(t, Config{CreateTables: true})
	s, s2 := shape(id(), note()), shape(id(), note())
	s2.Table = "t2"
	tg.Apply(s, row(num(1), str("a")))
	tg.Apply(s2, row(num(1), str("a")))
	// Another session holds t2 and then wants t; the Writer holds t and wants t2.
	// A session looks for a deadlock once, when it has waited for that long: the
	// Writer is to be the one that finds it.
	tg.Must(tg.w.exec(t.Context(), "SET deadlock_timeout = '3s'"))
	tx, err := tg.db.Begin(t.Context())
	tg.Must(err)
	_, err = tx.Exec(t.Context(), "SET LOCAL deadlock_timeout = '2min'; UPDATE t2 SET note = 'other'")
	tg.Must(err)
	done := make(chan error, 1)
	b := tg.Batch(s, row(num(1), str("b")))
	b.Tables = append(b.Tables, sink.Rows{Shape: s2, Rows: []sink.Row{row(num(1), str("b"))}})
	go func() { done <- tg.w.Apply(t.Context(), "g", b) }()
	_, err = tx.Exec(t.Context(), `DO $$ BEGIN
		WHILE NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'cdc sink' AND datname = current_database() AND wait_event_type = 'Lock') LOOP
			PERFORM pg_stat_clear_snapshot(); PERFORM pg_sleep(0.005);
		END LOOP; END $$`)
	tg.Must(err)
	_, err = tx.Exec(t.Context(), "UPDATE t SET note = 'other'")
	tg.Must(err)
	tg.Must(tx.Commit(t.Context()))
	tg.Must(<-done)
	if got := tg.dump("SELECT t.note, t2.note FROM t, t2"); got != "b|b" {
		t.Errorf("got %s", got)
	}
	if !bytes.Contains([]byte(tg.logs.String()), []byte("deadlock")) {
		t.Errorf("there was no deadlock: %s", tg.logs)
	}
}

func TestApplyEndsWithItsContext(t *testing.T) {
	tg := newTarget(t, Config{CreateTables: true})
	s := shape(id(), note())
	tg.Apply(s, row(num(1), str("a")))
	tx, err := tg.db.Begin(t.Context())
	tg.Must(err)
	_, err = tx.Exec(t.Context(), "LOCK TABLE t")
	tg.Must(err)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := tg.w.Apply(ctx, "g", tg.Batch(s, row(num(1), str("b")))); err != context.DeadlineExceeded {
		t.Errorf("got %v, want the context's error", err)
	}
	tg.Must(tx.Rollback(t.Context()))
	tg.Apply(s, row(num(1), str("c")))
	if got := tg.dump("SELECT note FROM t"); got != "c" {
		t.Errorf("got %s", got)
	}
}

func TestTruncate(t *testing.T) {
	tg := newTarget(t, Config{CreateTables: true})
	sinktest.Truncate(t, tg.Target, func() {
		tg.exec("CREATE TABLE child (id bigint REFERENCES t)") // TRUNCATE is not possible any more
	})
}

// TestTruncateKeys asserts that partial truncates see each kind of key as the
// batch had it.
func TestTruncateKeys(t *testing.T) {
	k := func(name string, kind replication.Kind, typ string) sink.Field {
		return keyed(field(name, kind, 0, typ))
	}
	tg := newTarget(t, Config{CreateTables: true})
	s := shape(k("a", replication.KindBool, "boolean"), k("b", replication.KindString, "character(5)"), k("c", replication.KindBytes, "bytea"),
		k("d", replication.KindDate, "date"), k("e", replication.KindTime, "time"), k("f", replication.KindTimestamp, "timestamp"),
		k("g", replication.KindTimestampTZ, "timestamptz"), k("h", replication.KindUUID, "uuid"), k("i", replication.KindDecimal, "numeric"),
		k("j", replication.KindFloat, "double precision"), k("k", replication.KindUint, "numeric(20,0)"))
	s.Fields[5].TypeName, s.Fields[6].TypeName = "timestamp without time zone", "timestamp with time zone"
	keys := [][]replication.Value{
		{
			replication.BoolValue(true), str("ab   "), replication.StringValue(replication.KindBytes, "\x00\xff"),
			replication.NumValue(replication.KindDate, -719163), replication.NumValue(replication.KindTime, 86_400_000_000), replication.NumValue(replication.KindTimestamp, -1),
			replication.NumValue(replication.KindTimestampTZ, 1_234_567_890_123_456), replication.StringValue(replication.KindUUID, "0123456789abcdef"), replication.StringValue(replication.KindDecimal, "1.50"),
			replication.FloatValue(0.30000000000000004), replication.UintValue(1 << 63),
		},
		{
			replication.BoolValue(false), str("'\"\\{ "), replication.StringValue(replication.KindBytes, ""),
			replication.NumValue(replication.KindDate, replication.Infinity), replication.NumValue(replication.KindTime, 1), replication.NumValue(replication.KindTimestamp, replication.NegInfinity),
			replication.NumValue(replication.KindTimestampTZ, -62_167_219_200_000_000), replication.StringValue(replication.KindUUID, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"), replication.StringValue(replication.KindDecimal, "NaN"),
			replication.FloatValue(1e300), replication.UintValue(0),
		},
	}
	tg.Apply(s, row(keys[0]...), row(keys[1]...))
	tg.Must(tg.w.exec(t.Context(), "SET extra_float_digits = 0")) // as a role or a database may have it
	var seen int
	o := tg.Offset(1)
	tg.Must(tg.w.Truncate(t.Context(), "g", s, func(got []replication.Value) bool {
		want := keys[1]
		if got[0].Bool() {
			want = keys[0]
		}
		for i := range want {
			if !got[i].Equal(want[i]) {
				t.Errorf("key %s: got %v, want %v", s.Fields[i].Name, got[i], want[i])
			}
		}
		seen++
		return got[0].Bool()
	}, o))
	if got := tg.dump("SELECT a, c FROM t"); seen != 2 || got != `t|\x00ff` {
		t.Errorf("saw %d keys, left %s", seen, got)
	}
}

// TestOpenTogether: sinks of a group that start at the same moment all find the
// offsets table, whoever of them makes it.
func TestOpenTogether(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Config{})
	for range 10 {
		tg.exec(`DROP TABLE cdc_offsets`)
		var g errgroup.Group
		for range 6 {
			g.Go(func() error {
				w, err := Open(t.Context(), Config{URL: secret.New(tg.url)})
				if err != nil {
					return err
				}
				w.Close(context.Background())
				return nil
			})
		}
		tg.Must(g.Wait())
	}
}
