// Package servicetest hands real services to tests. Their addresses stand in
// the environment, where `make test` puts them; a test that needs a service
// which is not there fails, it is never skipped.
package servicetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cdc/internal/services"
)

// The environment variables that name the services.
const (
	EnvPostgres = "CDC_TEST_POSTGRES_URL"  // superuser's URL of a server with wal_level=logical
	EnvKafka    = "CDC_TEST_KAFKA_BROKERS" // host:port, separated by commas
	EnvRegistry = "CDC_TEST_REGISTRY_URL"  // Confluent API
)

func need(t testing.TB, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: run `make test`, or `eval \"$(make -s services)\"` once and then go test", name)
	}
	return v
}

// Kafka returns the addresses of a real Kafka.
func Kafka(t testing.TB) []string { t.Helper(); return strings.Split(need(t, EnvKafka), ",") }

// Registry returns the URL of a real schema registry.
func Registry(t testing.TB) string { t.Helper(); return need(t, EnvRegistry) }

// Name returns a name of its own for topics, slots and connectors: lower case
// letters, digits and underscores.
func Name(t testing.TB, prefix string) string {
	t.Helper()
	return prefix + "_" + strings.ToLower(rand.Text()[:10])
}

// Postgres makes an empty database on the real server and returns a
// superuser's URL of it. When the test ends the database's slots and then the
// database are dropped.
func Postgres(t testing.TB) string {
	t.Helper()
	return PostgresOn(t, need(t, EnvPostgres))
}

// PostgresMajor is Postgres on the real server of that major version, one of
// services.PostgresMajors: its superuser's URL stands in
// CDC_TEST_POSTGRES_14_URL and so on.
func PostgresMajor(t testing.TB, major int) string {
	t.Helper()
	return PostgresOn(t, need(t, fmt.Sprintf("CDC_TEST_POSTGRES_%d_URL", major)))
}

// PostgresExtensions returns a superuser's URL of a real server with pgvector
// and PostGIS, for PostgresOn: CDC_TEST_POSTGRES_EXTENSIONS_URL or, where that is
// not set, one that the first test starts and that stays until `make
// services-stop` or the end of `make test`.
func PostgresExtensions(t testing.TB) string {
	t.Helper()
	const variable = "CDC_TEST_POSTGRES_EXTENSIONS_URL"
	if v := os.Getenv(variable); v != "" {
		return v
	}
	return startLate(t, variable, "postgres-extensions", func(h *services.Home, name string) *services.Server {
		return h.Postgres(name, services.Postgres{Extensions: true})
	})
}

// EnvStarted names a file into which tests write the names of the servers that
// they started and left running, a line each: `make test` stops them.
const EnvStarted = "CDC_SERVICES_STARTED"

// startLate starts a server that few tests need, unless it runs, and returns its
// address. variable is what may name another one.
func startLate(t testing.TB, variable, name string, server func(h *services.Home, name string) *services.Server) string {
	t.Helper()
	home, err := services.Find(nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute) // its installation, too
	defer cancel()
	s := server(home, name)
	started, err := s.Start(ctx)
	if err != nil {
		t.Fatalf("%v (or set %s)", err, variable)
	}
	if list := os.Getenv(EnvStarted); started && list != "" {
		f, err := os.OpenFile(list, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
		if err == nil {
			_, err = f.WriteString(name + "\n")
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatalf("note that %s was started: %v", name, err)
		}
	}
	return s.Address()
}

// PostgresOn is Postgres on the server behind admin, a superuser's URL.
func PostgresOn(t testing.TB, admin string) string {
	t.Helper()
	u, err := url.Parse(admin)
	if err != nil {
		t.Fatalf("parse the server's URL: %v", err)
	}
	name := Name(t, "t")
	exec(t, admin, `CREATE DATABASE `+name)
	t.Cleanup(func() {
		exec(t, admin, `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = '`+name+`' AND active`)
		// An ended walsender lets go of its slot a moment later: drop with retries.
		for deadline := time.Now().Add(2 * time.Minute); ; {
			err := try(admin, `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '`+name+`'`)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("drop the slots of %s: %v", name, err)
				return
			}
		}
		exec(t, admin, `DROP DATABASE `+name+` WITH (FORCE)`)
	})
	u.Path = "/" + name
	return u.String()
}

func exec(t testing.TB, url, sql string) {
	t.Helper()
	if err := try(url, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func try(url, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}
