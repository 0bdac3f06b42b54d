package postgres

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cdc/replication"
)

func TestSnapshotThenStream(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE orders (id int PRIMARY KEY, note text)`)
	d.exec(`INSERT INTO orders VALUES (1, E'a\tb\\c\nd'), (2, NULL)`)
	cfg := d.config("public.orders")
	s := mustOpen(t, cfg)
	r := readFrom(t, s)
	d.exec(`INSERT INTO orders VALUES (3, 'new')`)
	want := []string{
		`read public.orders (1, "a\tb\\c\nd")`,
		`read public.orders (2, null)`,
		`insert public.orders (3, "new")`,
	}
	if diff := cmp.Diff(want, r.changes(3)); diff != "" {
		t.Fatal(diff)
	}
	pos := r.position()
	s.Ack(pos)
	mustClose(t, s)

	d.exec(`DELETE FROM orders WHERE id = 1`)
	cfg.From = pos
	s = mustOpen(t, cfg)
	r = readFrom(t, s)
	if diff := cmp.Diff([]string{`delete public.orders before (1, unchanged)`}, r.changes(1)); diff != "" {
		t.Fatal(diff)
	}
}

// TestForeignTables has a publication with more tables than are configured, and
// a configured table that is renamed while it is captured.
func TestForeignTables(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE mine (id int PRIMARY KEY)`)
	d.exec(`CREATE TABLE other (id int PRIMARY KEY)`)
	cfg := d.config("public.mine")
	d.exec(`CREATE PUBLICATION ` + cfg.Publication + ` FOR ALL TABLES`)
	s := mustOpen(t, cfg)
	d.exec(`BEGIN; INSERT INTO other VALUES (1); INSERT INTO mine VALUES (1); UPDATE other SET id = 2; DELETE FROM other; COMMIT`)
	d.exec(`TRUNCATE other`)
	d.exec(`ALTER TABLE mine RENAME TO ours`)
	d.exec(`INSERT INTO ours VALUES (2)`)
	want := []string{`insert public.mine (1)`, `insert public.ours (2)`}
	r := readFrom(t, s)
	if diff := cmp.Diff(want, r.changes(2)); diff != "" {
		t.Error(diff)
	}
	cfg.From = r.position()
	// Another table gets the configured name: it may have rows that were never
	// captured.
	d.exec(`CREATE TABLE later (id int PRIMARY KEY, n int)`)
	d.exec(`INSERT INTO later VALUES (3, 0)`)
	d.exec(`ALTER TABLE later RENAME TO mine`)
	d.exec(`INSERT INTO mine VALUES (4, 0)`)
	for {
		b, err := s.Next(r.ctx)
		if err == nil {
			b.Release()
			continue
		}
		if !replication.IsRefusal(err) || !strings.Contains(err.Error(), "start cdc again") {
			t.Fatal(err)
		}
		break
	}
	mustClose(t, s)
	want = []string{`truncate public.mine`, `read public.mine (3, 0)`, `read public.mine (4, 0)`}
	if diff := cmp.Diff(want, readFrom(t, mustOpen(t, cfg)).changes(3)); diff != "" {
		t.Error(diff)
	}
}

// TestTableTakenOut takes a captured table out of the publication while nobody
// looks: changes of it may be missing.
func TestTableTakenOut(t *testing.T) {
	d := newTestDB(t)
	d.fill("t", 1)
	d.fill("u", 1)
	cfg := d.config("public.t", "public.u")
	s := mustOpen(t, cfg)
	_, cfg.From = readAll(t, s)
	mustClose(t, s)
	const remedy = "run cdc drop, then start again: everything is read again; or take the table out of the configuration"
	d.exec(`ALTER PUBLICATION ` + cfg.Publication + ` DROP TABLE t`)
	wantRefusal(t, cfg, `table public.t was captured so far, but publication "`+cfg.Publication+`" does not have it any more`, remedy)
	d.exec(`DROP PUBLICATION ` + cfg.Publication)
	wantRefusal(t, cfg, `table public.u was captured so far, but publication "`+cfg.Publication+`" does not have it any more`, remedy)
}

// TestMonitorTellsOfUnpublishedTables lets a table leave the publication while
// it is captured.
func TestMonitorTellsOfUnpublishedTables(t *testing.T) {
	d := newTestDB(t)
	d.fill("t", 1)
	d.fill("u", 1)
	cfg := d.config("public.t", "public.u")
	s := mustOpen(t, cfg)
	readAll(t, s)
	var log bytes.Buffer
	own := s.cfg
	own.Logger = slog.New(slog.NewTextHandler(&log, nil))
	m := newMonitor(&own)
	look := func() string {
		t.Helper()
		log.Reset()
		if err := m.look(testContext(t)); err != nil {
			t.Fatal(err)
		}
		return log.String()
	}
	if said := look(); said != "" {
		t.Errorf("said %s", said)
	}
	d.exec(`DROP TABLE t`)
	d.fill("t", 1)
	if said := look(); !strings.Contains(said, "level=ERROR") || !strings.Contains(said, "tables=public.t\n") {
		t.Errorf("said %s", said)
	}
	if said := look(); said != "" {
		t.Errorf("said again %s", said)
	}
}

// lineWatcher closes seen when a line with text is written to it.
type lineWatcher struct {
	text string
	once sync.Once
	seen chan struct{}
}

func (w *lineWatcher) Write(b []byte) (int, error) {
	if strings.Contains(string(b), w.text) {
		w.once.Do(func() { close(w.seen) })
	}
	return len(b), nil
}

// TestTakeOver is a rolling deployment: the second process loads the checkpoint
// and waits for the slot, the first goes on, saves a newer checkpoint, and stops.
func TestTakeOver(t *testing.T) {
	d := newTestDB(t)
	d.fill("t", 1)
	cfg := d.config("public.t")
	first := mustOpen(t, cfg)
	_, saved := readAll(t, first)
	first.Ack(saved)
	d.exec(`INSERT INTO t VALUES (2, 'a')`)
	r := readFrom(t, first)
	r.changes(1)

	next := cfg
	next.From, next.SlotWait = saved, 30*time.Second
	next.Reload = func(context.Context) (replication.Position, error) { return r.position(), nil }
	waits := &lineWatcher{text: "slot is in use, waiting", seen: make(chan struct{})}
	next.Logger = slog.New(slog.NewTextHandler(waits, nil))
	opened := make(chan error, 1)
	var second *Source
	go func() {
		var err error
		second, err = Open(testContext(t), next)
		opened <- err
	}()
	<-waits.seen
	r.pos = "" // the one to save is that after the next row
	d.exec(`INSERT INTO t VALUES (3, 'b')`)
	r.changes(1)
	first.Ack(r.position())
	mustClose(t, first)
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, second)
	d.exec(`INSERT INTO t VALUES (4, 'c')`)
	if diff := cmp.Diff([]string{`insert public.t (4, "c")`}, readFrom(t, second).changes(1)); diff != "" {
		t.Error(diff)
	}
}
