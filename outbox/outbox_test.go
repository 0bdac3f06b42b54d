package outbox

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	_ "github.com/lib/pq"

	"cdc/internal/servicetest"
)

// TestWrite writes by both libraries into the table that DDL makes, and reads
// what PostgreSQL has of it.
func TestWrite(t *testing.T) {
	url := servicetest.Postgres(t)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	ddl, err := DDL{Table: `odd "name.events`, Publication: "pub"}.SQL()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `CREATE SCHEMA "odd ""name"; `+ddl); err != nil {
		t.Fatal(err)
	}
	w := Writer{Table: `odd "name.events`}
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	type order struct {
		ID int `json:"id"`
	}
	if err := w.Write(t.Context(), tx, Message{Topic: "a", Key: "k", Payload: order{7}, Headers: map[string]string{"h": "ü"}, TraceParent: "tp"}, Message{Topic: "b", PartitionKey: "p"}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("postgres", url+"?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, commit := range []bool{true, false} {
		stx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(t.Context(), stx, Message{Topic: "c", Payload: json.RawMessage(`[1, null]`)}); err != nil {
			t.Fatal(err)
		}
		if commit {
			err = stx.Commit()
		} else {
			err = stx.Rollback()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Exec(t.Context(), `SELECT "odd ""name".outbox_publish('d', 'k', '{"x": 1}', '{"h": "v"}'), "odd ""name".outbox_publish('d', NULL, NULL)`); err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(t.Context(), `SELECT concat_ws(' ', topic, coalesce(key, '-'), coalesce(payload::text, '-'), coalesce(headers::text, '-'), coalesce(partition_key, '-'), coalesce(traceparent, '-')) FROM "odd ""name".events ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`a k {"id": 7} {"h": "ü"} - tp`, `b - - - p -`, `c - [1, null] - - -`, `d k {"x": 1} {"h": "v"} - -`, `d - - - - -`}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if err := w.Write(t.Context(), tx, Message{Topic: "late"}); err == nil {
		t.Error("a transaction that is over takes a message")
	}
}

func TestWriteRefuses(t *testing.T) {
	for want, err := range map[string]error{
		"message 1 has no topic":            Write(t.Context(), nil, Message{Topic: "a"}, Message{}),
		"payload of message 0: json":        Write(t.Context(), nil, Message{Topic: "a", Payload: func() {}}),
		"the json.RawMessage is no JSON":    Write(t.Context(), nil, Message{Topic: "a", Payload: json.RawMessage("{")}),
		"int is no transaction":             Write(t.Context(), 7, Message{Topic: "a"}),
		`unknown dialect "x"`:               Writer{Dialect: "x"}.Write(t.Context(), nil, Message{Topic: "a"}),
		`"a..b" is no table's name`:         Writer{Table: "a..b"}.Write(t.Context(), nil, Message{Topic: "a"}),
		`"a.b.c" is no table's name: table`: Writer{Table: "a.b.c"}.Write(t.Context(), nil, Message{Topic: "a"}),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := Write(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// TestMySQL: placeholders and quotes of the other dialect, and a table for each
// engine. That a server takes them is integration's to show.
func TestMySQL(t *testing.T) {
	query, args, err := Writer{Dialect: MySQL, Table: "a`b"}.insert([]Message{{Topic: "t"}, {Topic: "u", Key: "k"}})
	want := "INSERT INTO `a``b` (`topic`, `key`, `payload`, `headers`, `partition_key`, `traceparent`, `tracestate`) VALUES (?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?)"
	if err != nil || query != want || len(args) != 14 {
		t.Errorf("%s with %d arguments, %v", query, len(args), err)
	}
	for _, d := range []DDL{{Dialect: MySQL, Publication: "p"}, {Blackhole: true}, {Table: "."}} {
		if s, err := d.SQL(); err == nil {
			t.Errorf("%+v: %s", d, s)
		}
	}
	s, err := DDL{Dialect: MySQL, Blackhole: true}.SQL()
	if err != nil || !strings.Contains(s, "ENGINE = BLACKHOLE") || strings.Contains(s, "AUTO_INCREMENT") {
		t.Errorf("%s, %v", s, err)
	}
}
