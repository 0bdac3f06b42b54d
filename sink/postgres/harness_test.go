package postgres

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"cdc/internal/servicetest"
	"cdc/secret"
	"cdc/sink/sinktest"
)

// target is a fresh database, a Writer into it and a second connection.
type target struct {
	*sinktest.Target
	url  string
	db   *pgx.Conn
	w    *Writer
	logs *strings.Builder
}

func newTarget(t testing.TB, cfg Config) *target {
	t.Helper()
	tg := &target{Target: &sinktest.Target{TB: t, Next: -1}, url: servicetest.Postgres(t), logs: &strings.Builder{}}
	cfg.URL = secret.New(tg.url)
	cfg.Logger = slog.New(slog.NewTextHandler(tg.logs, nil))
	var err error
	tg.db, err = pgx.Connect(t.Context(), tg.url)
	tg.Must(err)
	tg.w, err = Open(t.Context(), cfg)
	tg.Must(err)
	tg.Writer, tg.Dump, tg.Logs = tg.w, tg.dump, tg.logs.String
	tg.Exec = func(sql string) { tg.exec(sql) }
	t.Cleanup(func() { tg.w.Close(context.Background()); tg.db.Close(context.Background()) })
	return tg
}

func (t *target) exec(sql string, args ...any) {
	t.Helper()
	_, err := t.db.Exec(context.Background(), sql, args...)
	t.Must(err)
}

// dump returns what a query says, a line a row, fields separated by |.
func (t *target) dump(sql string) string {
	t.Helper()
	res, err := t.db.PgConn().Exec(t.Context(), sql).ReadAll()
	t.Must(err)
	var lines []string
	for _, row := range res[len(res)-1].Rows {
		var f []string
		for _, c := range row {
			if c == nil {
				f = append(f, "NULL")
			} else {
				f = append(f, string(c))
			}
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
