package cdctest

import (
	"database/sql"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"cdc/internal/services"
	"cdc/internal/servicetest"
	"cdc/outbox"
	"cdc/outbox/route"
)

// TestHaveSentMySQL asserts what transactions of MySQL and MariaDB publish, and
// that each assertion takes milliseconds.
func TestHaveSentMySQL(t *testing.T) {
	cluster := Start(t)
	for _, version := range []string{services.MySQL9, services.MariaDB118} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			address := servicetest.MySQL(t, version)
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			password, _ := u.User.Password()
			db, err := sql.Open("mysql", fmt.Sprintf("%s:%s@tcp(%s)%s", u.User.Username(), password, u.Host, u.Path))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			ddl, err := outbox.DDL{Dialect: outbox.MySQL}.SQL()
			if err != nil {
				t.Fatal(err)
			}
			for statement := range strings.SplitSeq(ddl+"CREATE TABLE customers (id int PRIMARY KEY, name text)", ";\n") {
				if _, err := db.ExecContext(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			database, topic := strings.TrimPrefix(u.Path, "/"), "events-"+version
			capture := cluster.Capture(t, Source{MySQL: address, Tables: []string{database + ".customers"}, Outboxes: []route.Outbox{{Schema: database, Table: "outbox"}}})
			place := func(id int, end func(*sql.Tx) error) {
				t.Helper()
				tx, err := db.BeginTx(t.Context(), nil)
				if err == nil {
					err = outbox.Writer{Dialect: outbox.MySQL}.Write(t.Context(), tx, outbox.Message{Topic: topic, Key: "k", Payload: map[string]any{"id": id}})
				}
				if err == nil {
					err = end(tx)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			place(1, (*sql.Tx).Commit)
			capture.HaveSent(t, topic, map[string]any{"id": 1}, Key("k"))
			place(2, (*sql.Tx).Rollback)
			capture.HaveNotSent(t, topic, map[string]any{"id": 2})
			if _, err := db.ExecContext(t.Context(), "INSERT INTO customers VALUES (1, 'Ada')"); err != nil {
				t.Fatal(err)
			}
			capture.HaveSent(t, database+".customers", map[string]any{"id": 1, "name": "Ada"}, Key(map[string]any{"id": 1}))
			began := time.Now()
			const rounds = 20
			for id := 10; id < 10+rounds; id++ {
				place(id, (*sql.Tx).Commit)
				capture.HaveSent(t, topic, map[string]any{"id": id})
			}
			t.Logf("%s a round of a transaction and an assertion", time.Since(began)/rounds)
		})
	}
}
