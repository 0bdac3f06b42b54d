package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"

	"cdc/internal/services"
	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/secret"
)

// majors runs f on every version of the server from first to last, in a
// database of its own.
func majors(t *testing.T, first, last int, f func(t *testing.T, d *testDB, major int)) {
	t.Helper()
	for _, major := range services.PostgresMajors() {
		if major < first || major > last {
			continue
		}
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			f(t, openTestDB(t, servicetest.PostgresMajor(t, major)), major)
		})
	}
}

// pair is a primary and its standby.
type pair struct {
	t                *testing.T
	primary, standby *services.Server
	rows             int // inserted
}

const standbySlot = "standby1"

// newPair starts both, with table t (id, s) in the database postgres.
func newPair(t *testing.T, major int) *pair {
	t.Helper()
	p := &pair{t: t, primary: servicetest.OwnPostgres(t, services.Postgres{Major: major})}
	d := openTestDB(t, p.primary.Address())
	d.exec(`CREATE TABLE t (id int PRIMARY KEY, s text)`)
	d.exec(`SELECT pg_create_physical_replication_slot('` + standbySlot + `', true)`)
	u, err := url.Parse(p.primary.Address())
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{ // the copy has them, the primary does not mind
		"primary_conninfo":            "host=127.0.0.1 port=" + u.Port() + " user=postgres password=postgres dbname=postgres",
		"primary_slot_name":           standbySlot,
		"hot_standby_feedback":        "on",
		"wal_retrieve_retry_interval": "100ms",
		"wal_sender_timeout":          "4s", // the source confirms four times as often
	} {
		d.exec(`ALTER SYSTEM SET ` + name + ` = ` + replication.QuoteLiteral(value))
	}
	d.conn.Close(t.Context())
	if err := p.primary.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.standby = servicetest.OwnPostgres(t, services.Postgres{Major: major, StandbyOf: p.primary})
	if _, err := p.primary.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.await(p.primary, `SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'`)
	if major >= 17 {
		// A worker that finds no primary is started again ten seconds later: not before there is one.
		standby := openTestDB(t, p.standby.Address())
		standby.exec(`ALTER SYSTEM SET sync_replication_slots = on`)
		standby.exec(`SELECT pg_reload_conf()`)
	}
	return p
}

// url names both.
func (p *pair) url(first, second *services.Server, target string) string {
	host := func(s *services.Server) string { return hostOf(p.t, s.Address()) }
	return "postgres://postgres:postgres@" + host(first) + "," + host(second) + "/postgres?connect_timeout=5&target_session_attrs=" + target
}

// await asks a server until it answers with true.
func (p *pair) await(s *services.Server, sql string) {
	p.t.Helper()
	ctx := testContext(p.t)
	for {
		var yes bool
		conn, err := pgx.Connect(ctx, s.Address())
		if err == nil {
			err = conn.QueryRow(ctx, sql).Scan(&yes)
			conn.Close(ctx)
		}
		if yes {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			log, _ := os.ReadFile(s.LogFile())
			p.t.Fatalf("%s: %v\n%s", sql, err, log[max(0, len(log)-3000):])
		}
	}
}

// promote promotes the standby.
func (p *pair) promote() *testDB {
	p.t.Helper()
	p.await(p.standby, `SELECT pg_promote()`)
	return openTestDB(p.t, p.standby.Address())
}

func (p *pair) config() Config {
	name := servicetest.Name(p.t, "s")
	return Config{
		Name: name, URL: secret.New(p.url(p.standby, p.primary, "read-write")), Slot: name, Publication: name, SlotWait: 30 * time.Second,
		Tables: []TableConfig{{Schema: "public", Name: "t", Snapshot: SnapshotNever}},
	}
}

// insert inserts the next row, and reads it.
func (p *pair) insert(d *testDB, r *tape) {
	p.t.Helper()
	p.rows++
	d.exec(`INSERT INTO t VALUES ($1, 'x')`, p.rows)
	r.want(fmt.Sprintf(`0 insert t after id=%d s="x"`, p.rows))
}

// awaitCopy waits until the standby has a copy of the slot that lasts. The slot
// has to move on for that, to a record that the server writes now and then.
func (p *pair) awaitCopy(slot string, primary *testDB, r *tape) {
	p.t.Helper()
	standby := openTestDB(p.t, p.standby.Address())
	for deadline := time.Now().Add(patience); ; {
		primary.exec(`SELECT pg_log_standby_snapshot()`)
		p.insert(primary, r)
		if standby.text(`SELECT count(*)::text FROM pg_replication_slots WHERE slot_name = $1 AND synced AND failover AND NOT temporary`, slot) == "1" {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatal("the standby has no lasting copy of the slot")
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-p.t.Context().Done():
		}
	}
}

// TestFailover reads from a primary that dies: its standby is promoted, and the
// source goes on there by itself, with nothing lost and nothing twice.
func TestFailover(t *testing.T) {
	for _, major := range []int{17, 18} {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			p := newPair(t, major)
			d := openTestDB(t, p.primary.Address())
			d.exec(`ALTER SYSTEM SET synchronized_standby_slots = '` + standbySlot + `'`)
			d.exec(`SELECT pg_reload_conf()`)
			cfg := p.config()
			if major == 17 { // then it may come to the standby before that is promoted
				cfg.URL = secret.New(p.url(p.primary, p.standby, "any"))
			}
			lost := &lineWatcher{text: "replication connection is lost", seen: make(chan struct{})}
			cfg.Logger = slog.New(slog.NewTextHandler(lost, nil))
			cfg.Failover = FailoverRequired
			s := mustOpen(t, cfg)
			if got := d.text(`SELECT failover::text FROM pg_replication_slots WHERE slot_name = $1`, cfg.Slot); got != "true" {
				t.Fatalf("failover of the slot is %s", got)
			}
			r := &tape{t: t, s: s, ack: true}
			p.awaitCopy(cfg.Slot, d, r)
			p.insert(d, r)
			if err := p.primary.Kill(t.Context()); err != nil {
				t.Fatal(err)
			}
			onStandby := cfg
			onStandby.URL = secret.New(p.standby.Address())
			wantRefusal(t, onStandby, `slot "`+cfg.Slot+`" is on a standby`, "promote the server")
			<-lost.seen
			d = p.promote()
			p.insert(d, r)
			if n := len(r.rows); n != p.rows {
				t.Errorf("%d rows came, want %d: %q", n, p.rows, r.rows)
			}
			if !strings.Contains(string(r.last), `/2"`) {
				t.Errorf("the position is %s", r.last)
			}
			mustClose(t, s)
			d.exec(`INSERT INTO t VALUES (0, 'later')`)
			cfg.From = r.last
			r = &tape{t: t, s: mustOpen(t, cfg)}
			// The last Position may lie before the last row.
			r.until(func() bool { return strings.Contains(strings.Join(r.rows, "\n"), `0 insert t after id=0 s="later"`) })
			if major == 17 { // the old primary comes back, and does not know that it was replaced
				if _, err := p.primary.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				openTestDB(t, p.primary.Address()).exec(`INSERT INTO t SELECT g, repeat('more log', 100) FROM generate_series(1000, 2000) g`)
				cfg.URL = secret.New(p.primary.Address())
				wantRefusal(t, cfg, "is of timeline 2, and this server is still on timeline 1: it is a primary that was replaced", "point the URL at the server that took over")
			}
		})
	}
}

// TestFailoverBehind promotes a standby that lacks the end of the log: what was
// read beyond cannot be squared with what happens there.
func TestFailoverBehind(t *testing.T) {
	t.Parallel()
	p := newPair(t, 17)
	d := openTestDB(t, p.primary.Address())
	cfg := p.config()
	s := mustOpen(t, cfg)
	r := &tape{t: t, s: s, ack: true}
	p.awaitCopy(cfg.Slot, d, r)
	standby := openTestDB(t, p.standby.Address())
	standby.exec(`ALTER SYSTEM RESET primary_conninfo`)
	standby.exec(`SELECT pg_reload_conf()`)
	p.await(p.primary, `SELECT count(*) = 0 FROM pg_stat_replication WHERE application_name = 'walreceiver'`)
	p.insert(d, r) // the primary alone has it

	if err := p.primary.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	d = p.promote()
	d.exec(`INSERT INTO t SELECT g, repeat('more log than the primary had', 10) FROM generate_series(1000, 2000) g`)
	ctx := testContext(t)
	var err error
	for err == nil {
		var b *replication.Batch
		if b, err = s.Next(ctx); err == nil {
			if len(b.Changes) > 0 {
				t.Fatalf("%s came", describe(&b.Changes[0]))
			}
			b.Release()
		}
	}
	// Which of the reasons depends on how soon it was there.
	if !replication.IsRefusal(err) || !strings.Contains(err.Error(), "took over") {
		t.Errorf("next: %v", err)
	}
	cfg.From = r.last
	if _, err = Open(ctx, cfg); !replication.IsRefusal(err) || !strings.Contains(err.Error(), "the server that took over left timeline 1 at ") {
		t.Errorf("open: %v", err)
	}
}

// TestFailoverWithoutSlot promotes a standby of a version that has no failover
// slots: what is missing is refused, and nothing begins silently.
func TestFailoverWithoutSlot(t *testing.T) {
	t.Parallel()
	p := newPair(t, 16)
	d := openTestDB(t, p.primary.Address())
	s := mustOpen(t, p.config())
	r := &tape{t: t, s: s, ack: true}
	p.insert(d, r)
	if err := p.primary.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.promote()
	ctx := testContext(t)
	for {
		b, err := s.Next(ctx)
		if err == nil {
			b.Release()
			continue
		}
		if want := "does not exist, but there is a checkpoint at"; !replication.IsRefusal(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("next: %v, want %s", err, want)
		}
		return
	}
}

// TestFollowAnotherCluster reconnects to a server with another system identifier:
// nothing says that its log has what was read, however well the positions fit.
func TestFollowAnotherCluster(t *testing.T) {
	d := newTestDB(t)
	cfg, err := d.config("public.t").complete()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := cfg.connectReplication(testContext(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	system := d.text(`SELECT system_identifier::text FROM pg_control_system()`)
	for _, test := range []struct {
		was     timeline
		refused bool
	}{
		{timeline{}, false}, // unknown
		{timeline{system, 1}, false},
		{timeline{"1" + system[1:] + "0", 1}, true},
	} {
		s := &stream{streamConfig: streamConfig{cfg: &cfg, timeline: test.was}, log: cfg.Logger, dec: newDecoder(1)}
		err := s.follow(testContext(t), conn)
		if !test.refused {
			if want := (timeline{system, 1}); err != nil || s.timeline != want {
				t.Errorf("from %q: %v, on %s, want %s", test.was.System, err, s.timeline, want)
			}
			continue
		}
		r, ok := errors.AsType[*replication.Refusal](err)
		if !ok || !strings.Contains(r.Problem, "its system identifier is "+system+", that one's "+test.was.System) || !strings.Contains(r.Remedy, "cdc drop") {
			t.Errorf("from %q: %v", test.was.System, err)
		}
		if s.timeline != test.was {
			t.Errorf("went on with %s", s.timeline)
		}
	}
}

// TestStartAnotherCluster starts from a checkpoint of another cluster, as after
// pg_upgrade or a restored dump: with a slot that fits it, and without one.
func TestStartAnotherCluster(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (id int PRIMARY KEY)`)
	cfg := d.stream("t")
	s := mustOpen(t, cfg)
	cfg.From = firstPosition(t, s)
	mustClose(t, s)
	mustClose(t, mustOpen(t, cfg)) // its own cluster it takes
	system := d.text(`SELECT system_identifier::text FROM pg_control_system()`)
	other := "1" + system[1:] + "0"
	cfg.From = replication.Position(strings.Replace(string(cfg.From), system, other, 1))
	problem, remedy := "its system identifier is "+system+", that one's "+other, "run cdc drop and start again"
	wantRefusal(t, cfg, problem, remedy)
	found := false
	for _, f := range Check(testContext(t), cfg) {
		found = found || f.Level == replication.LevelError && strings.Contains(f.Problem, problem)
	}
	if !found {
		t.Error("check does not find it")
	}
	d.exec(`SELECT pg_drop_replication_slot($1)`, cfg.Slot)
	wantRefusal(t, cfg, problem, remedy)
}

func TestParseTimeline(t *testing.T) {
	for text, want := range map[string]timeline{"": {}, "7406531893456214/3": {"7406531893456214", 3}} {
		if got, err := parseTimeline(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"1", "/1", "x/0", "x/-1", "x/", "x/99999999999"} {
		if _, err := parseTimeline(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

// TestTimelineEnd reads a history file as timeline.c writes it.
func TestTimelineEnd(t *testing.T) {
	history := []byte("1\t0/3000148\tno recovery target specified\n\n2\t0/5000000\tbefore 2000-01-01 00:00:00+00\n")
	for timeline, want := range map[int32]pglogrepl.LSN{1: 0x3000148, 2: 0x5000000, 3: 0} {
		if got, err := timelineEnd(history, timeline); err != nil || got != want {
			t.Errorf("timeline %d: %s, %v; want %s", timeline, got, err, want)
		}
	}
	for _, bad := range []string{"x\t0/1\ty\n", "1\n", "1\t0-1\tz\n"} {
		if _, err := timelineEnd([]byte(bad), 1); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}
