package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/internal/services"
)

// environment is what all parts share.
type environment struct {
	home     *services.Home
	brokers  []string
	registry string
	client   *kgo.Client
	admin    *kadm.Client
	binary   string // cdc, built for this run
	dir      string // its folder, with configurations and logs
	logs     string
	id       string // of this run, part of every topic's name
	clusters map[string]*services.Server
}

func open(ctx context.Context, logs, binary string) (_ *environment, err error) {
	e := &environment{
		brokers: strings.Split(os.Getenv("CDC_TEST_KAFKA_BROKERS"), ","), registry: os.Getenv("CDC_TEST_REGISTRY_URL"),
		id: "bench_" + strings.ToLower(rand.Text()[:6]), clusters: map[string]*services.Server{},
	}
	if e.brokers[0] == "" || e.registry == "" {
		return nil, errors.New("CDC_TEST_KAFKA_BROKERS or CDC_TEST_REGISTRY_URL is not set: run `make bench`")
	}
	if e.home, err = services.Find(os.Stderr); err != nil {
		return nil, err
	}
	if e.dir, err = os.MkdirTemp("", "cdc-bench-"); err != nil {
		return nil, err
	}
	if e.logs = logs; logs == "" {
		e.logs = e.dir
	} else if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, err
	}
	if e.binary, err = filepath.Abs(binary); binary == "" {
		err = e.build(ctx)
	}
	if err != nil {
		return nil, err
	}
	// A topic that is not there yet must not stay so for the client's usual 5 s.
	if e.client, err = kgo.NewClient(kgo.SeedBrokers(e.brokers...), kgo.MetadataMinAge(10*time.Millisecond)); err != nil {
		return nil, err
	}
	e.admin = kadm.NewClient(e.client)
	return e, nil
}

func (e *environment) build(ctx context.Context) error {
	root, err := services.Root()
	if err != nil {
		return err
	}
	e.binary = filepath.Join(e.dir, "cdc")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", e.binary, "./cmd/cdc")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build cdc: %w\n%s", err, out)
	}
	return nil
}

func (e *environment) close(ctx context.Context) error {
	var errs []error
	for _, s := range e.clusters {
		errs = append(errs, s.Remove(ctx))
	}
	if e.admin != nil {
		if topics, err := e.admin.ListTopics(ctx); err == nil {
			var ours []string
			for name := range topics {
				if strings.HasPrefix(name, e.id) {
					ours = append(ours, name)
				}
			}
			if len(ours) > 0 {
				_, err = e.admin.DeleteTopics(ctx, ours...)
				errs = append(errs, err)
			}
		}
		e.client.Close()
	}
	return errors.Join(append(errs, os.RemoveAll(e.dir))...)
}

// postgres starts a private cluster, or returns the one of that name, and a
// superuser's URL of it. A measured backlog has a cluster of its own: WAL that
// others write after it would distort the drain.
func (e *environment) postgres(ctx context.Context, name string) (string, error) {
	s := e.clusters[name]
	if s == nil {
		s = e.home.Postgres("bench-"+name+"-"+e.id, services.Postgres{Settings: map[string]string{
			"shared_buffers": "512MB", "max_wal_size": "16GB", "checkpoint_timeout": "1h", "autovacuum": "off",
		}})
		e.clusters[name] = s
		if _, err := s.Start(ctx); err != nil {
			return "", err
		}
	}
	return s.Address(), nil
}

// remove ends a cluster and frees its disk.
func (e *environment) remove(ctx context.Context, name string) error {
	s := e.clusters[name]
	delete(e.clusters, name)
	if s == nil {
		return nil
	}
	return s.Remove(ctx)
}

// The measured table: 10 columns, about 160 bytes a row.
const tableColumns = `(
	id bigint PRIMARY KEY, n integer, name text, note text, amount numeric(12,2),
	at timestamptz, ok boolean, ratio double precision, day date, digest bytea)`

const rowOf = `SELECT g, (g % 1000)::int, 'customer ' || g, 'note ' || md5(g::text), (g % 1000000) / 100.0,
	timestamptz '2026-01-01 00:00Z' + g * interval '1 ms', g % 2 = 0, g / 7.0::double precision, date '2026-01-01' + (g % 365)::int,
	sha256(int8send(g)) FROM generate_series`

// makeTable makes table r and a procedure that fills it on the server.
func makeTable(ctx context.Context, conn *pgx.Conn) error {
	return execAll(ctx, conn,
		`CREATE TABLE r `+tableColumns,
		`CREATE PROCEDURE fill(n bigint, per bigint) LANGUAGE plpgsql AS $$
		BEGIN
			FOR i IN 0 .. (n - 1) / per LOOP
				INSERT INTO r `+rowOf+`(1 + i * per, least((i + 1) * per, n)) g;
				COMMIT;
			END LOOP;
		END $$`)
}

// fill writes rows 1 to n by transactions of per rows.
func fill(ctx context.Context, conn *pgx.Conn, n, per int) error {
	return execAll(ctx, conn, `SET synchronous_commit = off`, fmt.Sprintf(`CALL fill(%d, %d)`, n, per), `RESET synchronous_commit`)
}

func execAll(ctx context.Context, conn *pgx.Conn, statements ...string) error {
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			first, _, _ := strings.Cut(s, "\n")
			return fmt.Errorf("%s: %w", first, err)
		}
	}
	return nil
}

// until asks done every few milliseconds until it says so, an error ends it, or
// p ends before that.
func until(ctx context.Context, p *process, every time.Duration, done func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ended:
			return fmt.Errorf("cdc ended: %w\n%s", p.err, p.tail())
		case <-tick.C:
		}
	}
}

// published reports whether the topic's end offsets add up to n.
func (e *environment) published(ctx context.Context, topic string, n int) func() (bool, error) {
	return func() (bool, error) {
		sum, err := e.records(ctx, topic)
		if err != nil {
			return false, err
		}
		if sum > int64(n) {
			return false, fmt.Errorf("topic %s holds %d records instead of %d", topic, sum, n)
		}
		return sum == int64(n), nil
	}
}

// some reports whether topic holds a record.
func (e *environment) some(ctx context.Context, topic string) func() (bool, error) {
	return func() (bool, error) {
		n, err := e.records(ctx, topic)
		return n > 0, err
	}
}

// records returns how many records topic holds, 0 while there is none.
func (e *environment) records(ctx context.Context, topic string) (n int64, err error) {
	offsets, err := e.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	offsets.Each(func(o kadm.ListedOffset) {
		if o.Err == nil {
			n += o.Offset
		}
	})
	return n, nil
}
