package replicationtest_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"cdc/internal/services"
	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/replication/postgres"
	"cdc/replication/replicationtest"
	"cdc/secret"
)

// TestPostgres takes the source of PostgreSQL over every version of the server.
func TestPostgres(t *testing.T) {
	var servers []replicationtest.Server
	for _, major := range services.PostgresMajors() {
		servers = append(servers, replicationtest.Server{
			Name: "PostgreSQL " + strconv.Itoa(major),
			Start: func(t *testing.T) replicationtest.Driver {
				settings := map[string]string{}
				if major%2 == 0 {
					// The least there is, so that what is large comes while it is in
					// progress; at the other servers it comes when it is committed.
					settings["logical_decoding_work_mem"] = "64kB"
				}
				return postgresDriver{servicetest.OwnPostgres(t, services.Postgres{Major: major, Settings: settings})}
			},
		})
	}
	replicationtest.Run(t, servers)
}

// postgresDriver is a server of its own.
type postgresDriver struct{ server *services.Server }

func (postgresDriver) Dialect() replicationtest.Dialect {
	return replicationtest.Dialect{
		Quote: replication.QuoteIdentifier,
		RenameColumn: func(table, from, to, _ string) string {
			return "ALTER TABLE " + table + " RENAME COLUMN " + from + " TO " + to
		},
		DDLInTransaction: true,
	}
}

// Database makes a schema: a database each would cost more than the scenarios.
func (d postgresDriver) Database(t testing.TB) replicationtest.Database {
	t.Helper()
	db := &postgresDatabase{t: t, url: d.server.Address(), schema: servicetest.Name(t, "schema")}
	db.do(`CREATE SCHEMA ` + db.schema)
	t.Cleanup(func() { // they would hold the log of all others
		for _, slot := range db.slots {
			db.do(`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active AND slot_name = '` + slot + `'`)
			for !db.try(`SELECT pg_drop_replication_slot('` + slot + `')`) { // its walsender is about to end
				if t.Failed() {
					return
				}
			}
		}
	})
	return db
}

func (d postgresDriver) Stop(ctx context.Context, crash bool) error {
	if crash {
		return d.server.Kill(ctx)
	}
	return d.server.Stop(ctx)
}

func (d postgresDriver) Start(ctx context.Context) error {
	_, err := d.server.Start(ctx)
	return err
}

type postgresDatabase struct {
	t           testing.TB
	url, schema string
	slots       []string // the newest last
}

func (d *postgresDatabase) try(sql string) bool {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, d.url)
	if err != nil {
		d.t.Errorf("%s: %v", sql, err)
		return false
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	if e, ok := errors.AsType[*pgconn.PgError](err); err != nil && (!ok || e.Code != "55006") { // object_in_use
		d.t.Errorf("%s: %v", sql, err)
	}
	return err == nil
}

func (d *postgresDatabase) do(sql string) {
	d.t.Helper()
	if !d.try(sql) {
		d.t.Errorf("%s failed", sql)
	}
}

func (d *postgresDatabase) Open(ctx context.Context, o replicationtest.Options) (replication.Source, error) {
	if o.From == "" {
		d.slots = append(d.slots, servicetest.Name(d.t, "s"))
	}
	slot := d.slots[len(d.slots)-1]
	cfg := postgres.Config{
		Name: slot, URL: secret.New(d.url), Slot: slot, Publication: slot,
		From: o.From, BatchBytes: o.BatchBytes, SlotWait: 30 * time.Second,
	}
	for _, name := range o.Tables {
		t := postgres.TableConfig{Schema: d.schema, Name: name, Snapshot: postgres.SnapshotNever}
		if o.Snapshot {
			t.Snapshot = postgres.SnapshotInitial
		}
		cfg.Tables = append(cfg.Tables, t)
	}
	s, err := postgres.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (d *postgresDatabase) Connect(ctx context.Context) (replicationtest.Session, error) {
	conn, err := pgx.Connect(ctx, d.url+"?search_path="+d.schema)
	if err != nil {
		return nil, err
	}
	return postgresSession{conn}, nil
}

func (d *postgresDatabase) Disconnect(ctx context.Context) (n int, err error) {
	conn, err := pgx.Connect(ctx, d.url)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, `SELECT count(pg_terminate_backend(active_pid)) FROM pg_replication_slots WHERE active AND slot_name = ANY ($1)`, d.slots).Scan(&n)
	return n, err
}

type postgresSession struct{ conn *pgx.Conn }

func (c postgresSession) Exec(ctx context.Context, sql string) error {
	_, err := c.conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

func (c postgresSession) Query(ctx context.Context, sql string) (rows [][]string, err error) {
	results, err := c.conn.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 {
		return nil, errors.New("query has no one result")
	}
	for _, r := range results[0].Rows {
		row := make([]string, len(r))
		for i, v := range r {
			if row[i] = string(v); v == nil {
				row[i] = "null"
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (c postgresSession) Close() { c.conn.Close(context.Background()) }
