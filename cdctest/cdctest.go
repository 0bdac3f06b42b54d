// Package cdctest lets the Go tests of an application say what its transactions
// publish, and what its tables hold after records have come, with a broker and
// a registry inside the test's process:
//
//	kafka := cdctest.Start(t)
//	outbox := kafka.Capture(t, cdctest.Source{Postgres: url, Outboxes: []route.Outbox{{Schema: "public", Table: "outbox"}}})
//	placeOrder(ctx, db, 42)
//	outbox.HaveSent(t, "orders", map[string]any{"id": 42, "state": "NEW"}, cdctest.Key("42"))
//	outbox.HaveNotSent(t, "refunds", nil, cdctest.Including())
//
//	sink := kafka.Sink(t, cdctest.Target{Postgres: url, Topics: []string{"users"}, Schema: "public"})
//	sink.Consume(t, cdctest.Record{Topic: "users", KeySchema: userKey, Key: map[string]any{"id": 7}, Schema: user, Value: map[string]any{"id": 7, "name": "Ada"}})
//	// … and look at the table users.
//
// The database is real: it is the application's own test database, which needs
// wal_level=logical for Capture, or, on MySQL and MariaDB, a binary log in row
// format. An assertion takes a few milliseconds.
package cdctest

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"cdc/embedded"
	"cdc/kafka"
	"cdc/mapping/avro"
)

// patience is how long anything here may take before the test fails.
const patience = 2 * time.Minute

// Cluster is a broker and a schema registry inside the test's process.
type Cluster struct {
	broker   *embedded.Broker
	registry *embedded.Registry
	schemas  *avro.Registry
}

// Start starts a cluster, which ends with the test.
func Start(t testing.TB) *Cluster {
	t.Helper()
	broker, err := embedded.StartBroker(embedded.BrokerConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	registry, err := embedded.StartRegistry(embedded.RegistryConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := registry.Close(); err != nil {
			t.Error(err)
		}
	})
	schemas, err := avro.NewRegistry(avro.RegistryConfig{URL: registry.URL()})
	if err != nil {
		t.Fatal(err)
	}
	return &Cluster{broker, registry, schemas}
}

// Brokers returns the broker's address, for a client of the application's own.
func (c *Cluster) Brokers() []string { return []string{c.broker.Addr()} }

// RegistryURL returns the base URL of the registry.
func (c *Cluster) RegistryURL() string { return c.registry.URL() }

// Register puts an Avro schema into the registry, as the newest of the topic's
// values.
func (c *Cluster) Register(t testing.TB, topic, schema string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := c.schemas.ID(ctx, topic+"-value", schema); err != nil {
		t.Fatal(err)
	}
}

func (c *Cluster) kafka() kafka.Config { return kafka.Config{Brokers: c.Brokers()} }

// unique returns a name for slots, groups and the like.
func unique() string { return "cdctest_" + strings.ToLower(rand.Text()[:12]) }
