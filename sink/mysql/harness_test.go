package mysql

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"cdc/internal/services"
	"cdc/internal/servicetest"
	"cdc/secret"
	"cdc/sink/sinktest"
)

// target is a fresh database, a Writer into it and a second connection, of
// another client library.
type target struct {
	*sinktest.Target
	url     string
	version string
	db      *client.Conn
	w       *Writer
	logs    *logs
}

// logs is what the Writer has logged so far.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// patience is how long anything may take on a machine that is busy.
const patience = 2 * time.Minute

// await waits until something is logged.
func (l *logs) await(t testing.TB, text string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !strings.Contains(l.String(), text) {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%q is not in the log: %s", text, l)
		}
	}
}

// newest are the servers that every test of this package runs on.
var newest = []string{services.MySQL9, services.MariaDB118}

// each runs a test on servers of several versions.
func each(t *testing.T, versions []string, f func(t *testing.T, version string)) {
	for _, v := range versions {
		t.Run(v, func(t *testing.T) { f(t, v) })
	}
}

func newTarget(t testing.TB, version string, cfg Config) *target {
	t.Helper()
	tg := &target{Target: &sinktest.Target{TB: t, Next: -1}, url: servicetest.MySQL(t, version), version: version, logs: &logs{}}
	cfg.URL = secret.New(tg.url)
	cfg.Logger = slog.New(slog.NewTextHandler(tg.logs, nil))
	var err error
	tg.db, err = servicetest.MySQLConn(t.Context(), tg.url)
	tg.Must(err)
	tg.exec("SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES'")
	tg.w, err = Open(t.Context(), cfg)
	tg.Must(err)
	tg.Writer, tg.Dump, tg.Logs = tg.w, tg.dump, tg.logs.String
	tg.Exec = func(sql string) { tg.exec(sql) }
	t.Cleanup(func() { tg.w.Close(context.Background()); tg.db.Close() })
	return tg
}

func (t *target) mariadb() bool { return strings.HasPrefix(t.version, "mariadb") }

// exec runs statements, one after another.
func (t *target) exec(statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := t.db.Execute(sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// dump returns what a query says, a line a row, fields separated by |.
func (t *target) dump(sql string) string {
	t.Helper()
	res, err := t.db.Execute(sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var lines []string
	for i := range res.RowNumber() {
		var f []string
		for j := range res.ColumnNumber() {
			if null, _ := res.IsNull(i, j); null {
				f = append(f, "NULL")
				continue
			}
			s, err := res.GetString(i, j)
			t.Must(err)
			f = append(f, s)
		}
		lines = append(lines, strings.Join(f, "|"))
	}
	return strings.Join(lines, "\n")
}

// The words of sinktest that nearly every test uses.
var (
	shape, field, keyed, id, note = sinktest.Shape, sinktest.Field, sinktest.Keyed, sinktest.ID, sinktest.Note
	row, num, str                 = sinktest.Row, sinktest.Num, sinktest.Str
)
