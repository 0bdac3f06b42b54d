package config

import (
	"strings"
	"testing"
	"time"
)

const mysqlRest = "tables: [shop.orders]\nkafka: {brokers: [localhost:9092]}\nregistry: {url: http://localhost:8081}\n"

func TestMySQLSource(t *testing.T) {
	t.Parallel()
	c, err := Parse("cdc.yml", []byte("name: shop\nsource:\n  mariadb:\n    url: mariadb://cdc@db1:3306,db2:3307/\n    password: p@ss\n    server_id: 4294967295\n    zero_dates: text\n    tls: {ca: /ca.pem}\n"+mysqlRest), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	m := c.Source.MariaDB
	if !c.Source.Given() || c.Source.MySQL != nil || m.URL.Reveal() != "mariadb://cdc@db1:3306,db2:3307/" || m.Password.Reveal() != "p@ss" ||
		m.ServerID != 1<<32-1 || m.ZeroDates != "text" || m.OnPurged != "refuse" || m.OnRename != "refuse" || m.IDWait != 30*time.Second || m.TLS.CA != "/ca.pem" {
		t.Errorf("%+v", m)
	}
	for file, want := range map[string]string{
		"name: shop\nsource:\n  mysql:\n    url: postgres://db/\n" + mysqlRest:                                                                                                                                   "must be mysql://",
		"name: shop\nsource: {}\n" + mysqlRest:                                                                                                                                                                   "postgres, mysql or mariadb is missing",
		"name: shop\nsource:\n  mysql: {url: \"mysql://db/\"}\n  postgres: {url: \"postgres://db/x\"}\n" + mysqlRest:                                                                                             "a capture reads one database",
		"name: shop\nsource:\n  mysql: {url: \"mysql://db/\", zero_dates: zero}\n" + mysqlRest:                                                                                                                   "zero_dates",
		"name: shop\nsource:\n  mysql: {url: \"mysql://db/\"}\noutbox:\n  - prefix: outbox\nkafka: {brokers: [localhost:9092]}\nregistry: {url: http://localhost:8081}\n":                                        "the log of MySQL and MariaDB has no messages",
		"name: shop\nsource:\n  mysql: {url: \"mysql://db/\"}\nmap: {format: debezium, debezium: {time: adaptive}}\ntables: [a.b]\nkafka: {brokers: [localhost:9092]}\nregistry: {url: http://localhost:8081}\n": "goes with source.postgres alone",
		"name: shop\nsource:\n  mysql: {url: \"mysql://db/\"}\nmap: {format: debezium, debezium: {hstore: map}}\ntables: [a.b]\nkafka: {brokers: [localhost:9092]}\nregistry: {url: http://localhost:8081}\n":    "map.debezium.hstore",
		"name: shop\nsource:\n  mysql: {url: \"mysql://db/\", zero_dates: epoch}\ntables: [a.b]\nkafka: {brokers: [localhost:9092]}\nregistry: {url: http://localhost:8081}\n":                                   "epoch is for format debezium",
	} {
		if _, err := Parse("cdc.yml", []byte(file), noEnv); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", file, err, want)
		}
	}
}
