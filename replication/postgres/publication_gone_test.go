package postgres

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"cdc/replication"
)

// TestPublicationGone drops the publication and makes it anew while a source
// reads. The server looks for it where the log is, so there is no going on: up to
// PostgreSQL 17 it says so; later ones leave the changes out without a word, and
// it is the monitor that tells.
func TestPublicationGone(t *testing.T) {
	d := newTestDB(t)
	d.exec(`CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)`)
	cfg := d.config("public.t")
	s := mustOpen(t, cfg)
	r := readFrom(t, s)
	r.changes(1)
	cfg.From = r.position()
	var log bytes.Buffer
	watched := cfg
	watched.Logger = slog.New(slog.NewTextHandler(&log, nil))
	m := newMonitor(&watched)
	look := func() {
		t.Helper()
		if err := m.look(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	look()
	if log.Len() > 0 {
		t.Errorf("before anything has happened: %s", log.String())
	}
	d.exec(`DROP PUBLICATION ` + cfg.Publication)
	d.exec(`INSERT INTO t VALUES (2)`)
	d.exec(`CREATE PUBLICATION ` + cfg.Publication + ` FOR TABLE t`)
	look()
	look()
	if got := log.String(); strings.Count(got, "the publication was dropped and made anew") != 1 {
		t.Errorf("the monitor tells %q", got)
	}
	for _, start := range []string{"running", "the next start"} {
		if serverMajor(d.text(`SHOW server_version`)) >= 18 {
			break
		}
		b, err := s.Next(testContext(t))
		for ; err == nil; b, err = s.Next(testContext(t)) {
			b.Release()
		}
		if !replication.IsRefusal(err) || !strings.Contains(err.Error(), "even if there is one of its name again") || !strings.Contains(err.Error(), "run cdc drop") {
			t.Errorf("%s: %v", start, err)
		}
		mustClose(t, s)
		if start == "running" {
			s = mustOpen(t, cfg)
		}
	}
}
