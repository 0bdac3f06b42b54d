package mysql

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cdc/internal/services"
	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/secret"
	"cdc/sink"
	"cdc/sink/sinktest"
)

func TestLostCommitAcknowledgementAppliesOnce(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{CreateTables: true})
		u, err := url.Parse(tg.url)
		tg.Must(err)
		p := sinktest.NewProxy(t, u.Host,
			func(b []byte) bool { return bytes.HasSuffix(b, []byte("\x03COMMIT")) },
			func([]byte) bool { return true })
		u.RawQuery = "tls=false" // logging in by caching_sha2_password then takes the server's key
		w, err := Open(t.Context(), Config{URL: p.URL(u.String()), CreateTables: true})
		tg.Must(err)
		defer w.Close(t.Context())
		sinktest.LostCommit(t, tg.Target, p, w)
	})
}

// session is the Writer's connection id.
func (t *target) session() string {
	t.Helper()
	rows, err := t.w.query(t.Context(), "SELECT connection_id()")
	t.Must(err)
	return rows[0][0].text
}

func TestKilledSessionIsRetried(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{CreateTables: true})
		s := shape(id(), note())
		for i := range 3 {
			tg.Apply(s, row(num(int64(i)), str("a")), row(num(100), str("b")))
			tg.exec("KILL " + tg.session())
			tg.Apply(s, sink.Row{Delete: true, Values: []replication.Value{num(100), replication.Null}})
		}
		if got := tg.dump("SELECT count(*) FROM t"); got != "3" {
			t.Errorf("rows: %s", got)
		}
	})
}

// TestReadOnlyServerIsLeft: the connection leads to what is a replica by now; a
// new one finds the primary. A session that may only read stands for it.
func TestReadOnlyServerIsLeft(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{CreateTables: true})
		s := shape(id(), note())
		tg.Apply(s, row(num(1), str("a")))
		_, err := tg.w.exec(t.Context(), "SET SESSION TRANSACTION READ ONLY")
		tg.Must(err)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		tg.Must(tg.w.Apply(ctx, "g", tg.Batch(s, row(num(2), str("b")))))
		if got := tg.dump("SELECT count(*) FROM t"); got != "2" {
			t.Errorf("%s rows", got)
		}
	})
}

// blocked waits until a session waits for a lock.
func (t *target) blocked(session string) {
	t.Helper()
	// What InnoDB shows it makes anew when nobody has looked for a tenth of a second.
	tick := time.NewTicker(110 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for t.dump("SELECT count(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT' AND trx_mysql_thread_id = "+session) == "0" {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it does not wait for a lock")
		}
	}
}

func TestDeadlockIsRetried(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{CreateTables: true})
		s, s2 := shape(id(), note()), shape(id(), note())
		s2.Table = "t2"
		tg.Apply(s, row(num(1), str("a")))
		var rows []sink.Row
		for i := range 100 {
			rows = append(rows, row(num(int64(i)), str("a")))
		}
		tg.Apply(s2, rows...)
		// Another session holds t2 and then wants t; the Writer holds t and wants t2.
		// It has changed more, so that the Writer is the one to lose.
		tg.exec("SET innodb_lock_wait_timeout = 30", "START TRANSACTION", "UPDATE t2 SET note = 'other'")
		done := make(chan error, 1)
		b := tg.Batch(s, row(num(1), str("b")))
		b.Tables = append(b.Tables, sink.Rows{Shape: s2, Rows: []sink.Row{row(num(1), str("b"))}})
		session := tg.session()
		go func() { done <- tg.w.Apply(t.Context(), "g", b) }()
		tg.blocked(session)
		tg.exec("UPDATE t SET note = 'other'", "COMMIT")
		tg.Must(<-done)
		if got := tg.dump("SELECT t.note, t2.note FROM t JOIN t2 ON t.id = t2.id"); got != "b|b" {
			t.Errorf("got %s", got)
		}
		if !strings.Contains(tg.logs.String(), "Deadlock") {
			t.Errorf("there was no deadlock: %s", tg.logs)
		}
	})
}

func TestLockWaitIsRetried(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{CreateTables: true})
		s := shape(id(), note())
		tg.Apply(s, row(num(1), str("a")))
		_, err := tg.w.exec(t.Context(), "SET SESSION innodb_lock_wait_timeout = 1")
		tg.Must(err)
		tg.exec("START TRANSACTION", "UPDATE t SET note = 'other'")
		done := make(chan error, 1)
		go func() { done <- tg.w.Apply(t.Context(), "g", tg.Batch(s, row(num(1), str("b")))) }()
		tg.logs.await(t, "Lock wait timeout")
		tg.exec("COMMIT")
		tg.Must(<-done)
		if got := tg.dump("SELECT note FROM t"); got != "b" {
			t.Errorf("got %s", got)
		}
	})
}

func TestApplyEndsWithItsContext(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{CreateTables: true})
		s := shape(id(), note())
		tg.Apply(s, row(num(1), str("a")))
		tg.exec("START TRANSACTION", "UPDATE t SET note = 'other'")
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if err := tg.w.Apply(ctx, "g", tg.Batch(s, row(num(1), str("b")))); err != context.DeadlineExceeded {
			t.Errorf("got %v, want the context's error", err)
		}
		tg.exec("ROLLBACK")
		tg.Apply(s, row(num(1), str("c")))
		if got := tg.dump("SELECT note FROM t"); got != "c" {
			t.Errorf("got %s", got)
		}
	})
}

// TestRestart: the server goes down for a while and comes again; then it is
// killed.
func TestRestart(t *testing.T) {
	t.Parallel() // mostly it waits for servers
	each(t, newest, func(t *testing.T, version string) {
		server := servicetest.OwnMySQL(t, version, map[string]string{"skip-log-bin": ""})
		tg := &target{Target: &sinktest.Target{TB: t, Next: -1}, version: version, logs: &logs{}, url: server.Address() + "app"}
		servicetest.MySQLExec(t, server.Address(), "CREATE DATABASE app")
		var err error
		tg.w, err = Open(t.Context(), Config{URL: secret.New(tg.url), CreateTables: true})
		tg.Must(err)
		tg.Writer = tg.w
		defer tg.w.Close(t.Context())
		s := shape(id(), note())
		tg.Apply(s, row(num(1), str("a")))
		for i, down := range []func(context.Context) error{server.Stop, server.Kill} {
			tg.Must(down(t.Context()))
			done := make(chan error, 1)
			b := tg.Batch(s, row(num(int64(i+2)), str("b")))
			go func() { done <- tg.w.Apply(t.Context(), "g", b) }()
			_, err := server.Start(t.Context())
			tg.Must(err)
			tg.Must(<-done)
			tg.Next = b.Offsets[0].Next
		}
		tg.db, err = servicetest.MySQLConn(t.Context(), tg.url)
		tg.Must(err)
		defer tg.db.Close()
		if got := tg.dump("SELECT id FROM t ORDER BY id"); got != "1\n2\n3" {
			t.Errorf("got %s", got)
		}
	})
}

// TestTLS verifies the server by its authority, and refuses another's.
func TestTLS(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{})
		if got := tg.cipher(tg.w); got == "" {
			t.Error("by default the connection is not encrypted")
		}
		home, err := services.Find(nil)
		tg.Must(err)
		ca := filepath.Join(home.Dir, "run", version, "ca.pem")
		if _, err := os.Stat(ca); err != nil {
			t.Fatalf("the server of %s is not ours: %v", version, err)
		}
		w, err := Open(t.Context(), Config{URL: secret.New(tg.url), TLS: &TLS{CAFile: ca}})
		tg.Must(err)
		defer w.Close(t.Context())
		if tg.cipher(w) == "" {
			t.Error("the connection is not encrypted")
		}
		for _, tls := range []*TLS{{}, {CAFile: ca, ServerName: "elsewhere"}} {
			_, err := Open(t.Context(), Config{URL: secret.New(tg.url), TLS: tls})
			if !replication.IsRefusal(err) {
				t.Errorf("%+v: got %v, want a refusal", tls, err)
			}
		}
	})
}

func (t *target) cipher(w *Writer) string {
	t.Helper()
	rows, err := w.query(t.Context(), "SHOW SESSION STATUS LIKE 'Ssl_cipher'")
	t.Must(err)
	return rows[0][1].text
}

func TestTruncate(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		sinktest.Truncate(t, newTarget(t, version, Config{CreateTables: true}).Target, nil)
	})
}

// TestTruncateKeys asserts that partial truncates see each kind of key as the
// batch had it.
func TestTruncateKeys(t *testing.T) {
	k := func(name string, kind replication.Kind, bits uint8, typ string) sink.Field {
		return keyed(field(name, kind, bits, typ))
	}
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{CreateTables: true})
		dec := k("i", kDec, 0, "numeric(9,2)")
		dec.Precision, dec.Scale = 9, 2
		s := shape(k("a", kBool, 0, "boolean"), k("b", kStr, 0, "character(5)"), k("c", kBytes, 0, "bytea"), k("d", kDate, 0, "date"), k("e", kTime, 0, "time without time zone"),
			k("f", kStamp, 0, "timestamp without time zone"), k("g", kStampTZ, 0, "timestamp with time zone"), k("h", kUUID, 0, "uuid"), dec,
			k("j", kFloat, 64, "double precision"), k("k", kUint, 64, "bigint unsigned"), k("l", kFloat, 32, "real"))
		keys := [][]replication.Value{
			{
				replication.BoolValue(true), str("ab   "), bytesOf(kBytes, "\x00\xff"), micros(kDate, -719162), micros(kTime, 86_400_000_000), micros(kStamp, -1),
				micros(kStampTZ, 1_234_567_890_123_456), bytesOf(kUUID, "0123456789abcdef"), bytesOf(kDec, "1.50"), replication.FloatValue(0.30000000000000004), replication.UintValue(1 << 63),
				replication.FloatValue(float64(float32(0.1))),
			},
			{
				replication.BoolValue(false), str("'\"\\{ "), bytesOf(kBytes, ""), micros(kDate, 2932896), micros(kTime, 1), micros(kStamp, 253402300799999999),
				micros(kStampTZ, -62135596800000000), bytesOf(kUUID, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"), bytesOf(kDec, "-0.01"), replication.FloatValue(1e300), replication.UintValue(0),
				replication.FloatValue(math32),
			},
		}
		tg.Apply(s, row(keys[0]...), row(keys[1]...))
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
		if got := tg.dump("SELECT a, hex(c) FROM t"); seen != 2 || got != `1|00FF` {
			t.Errorf("saw %d keys, left %s", seen, got)
		}
	})
}

// math32 is a float32 of many digits.
const math32 = float64(float32(16777215.0))
