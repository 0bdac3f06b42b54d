package cdctest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"cdc/internal/servicetest"
	"cdc/outbox"
	"cdc/outbox/route"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func exec(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// failing is a test whose failure is looked at.
type failing struct {
	testing.TB
	text string
}

type failed struct{}

func (f *failing) Fatal(args ...any) { f.text = fmt.Sprint(args...); panic(failed{}) }
func (f *failing) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
	panic(failed{})
}

// failure returns what the assertion says when it fails, "" when it does not.
func failure(t *testing.T, assert func(t testing.TB)) (text string) {
	t.Helper()
	f := &failing{TB: t}
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(failed); !ok {
				panic(r)
			}
			text = f.text
		}
	}()
	assert(f)
	return ""
}

const orderSchema = `{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"state","type":"string"},{"name":"note","type":["null","string"],"default":null}]}`

func TestHaveSent(t *testing.T) {
	url := servicetest.Postgres(t)
	db := connect(t, url)
	ddl, err := outbox.DDL{}.SQL()
	if err != nil {
		t.Fatal(err)
	}
	exec(t, db, ddl+`; CREATE TABLE encoded (LIKE outbox INCLUDING ALL); CREATE TABLE customers (id int PRIMARY KEY, name text)`)
	cluster := Start(t)
	cluster.Register(t, "orders", orderSchema)
	capture := cluster.Capture(t, Source{
		Postgres: url, Tables: []string{"public.customers"},
		Outboxes: []route.Outbox{{Schema: "public", Table: "outbox"}, {Schema: "public", Table: "encoded", Payload: route.PayloadAvro}, {Prefix: "events"}},
	})

	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	type event struct {
		ID   int      `json:"id"`
		Tags []string `json:"tags"`
	}
	err = outbox.Write(t.Context(), tx, outbox.Message{Topic: "events", Key: "7", Payload: event{7, []string{"new"}}, Headers: map[string]string{"source": "shop"}}, outbox.Message{Topic: "gone", Key: "7"})
	if err != nil {
		t.Fatal(err)
	}
	capture.HaveNotSent(t, "events", nil, Including()) // not yet committed
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	capture.HaveSent(t, "events", event{7, []string{"new"}})
	capture.HaveSent(t, "events", map[string]any{"id": 7, "tags": []string{"new"}}, Key("7"), Header("source", "shop"))
	capture.HaveSent(t, "events", map[string]any{"id": 7}, Including())
	capture.HaveSent(t, "gone", nil, Key("7"))
	capture.HaveNotSent(t, "events", map[string]any{"id": 7})
	capture.HaveNotSent(t, "events", map[string]any{"id": 7}, Including(), Key("8"))
	capture.HaveNotSent(t, "events", map[string]any{"id": 7}, Including(), Header("source", "mars"))

	exec(t, db, `INSERT INTO encoded (topic, key, payload) VALUES ('orders', 'k', '{"id": "9223372036854775807", "state": "NEW"}')`)
	exec(t, db, `SELECT pg_logical_emit_message(true, 'events', '{"topic": "logged", "payload": "text"}')`)
	exec(t, db, `INSERT INTO customers VALUES (1, 'Ada')`)
	capture.HaveSent(t, "orders", map[string]any{"id": int64(9223372036854775807), "state": "NEW", "note": nil})
	capture.HaveSent(t, "logged", "text")
	capture.HaveSent(t, "public.customers", map[string]any{"id": 1, "name": "Ada"}, Key(map[string]any{"id": 1}))

	t.Run("parallel", func(t *testing.T) { // the capture ends with the outer test
		for i := range 4 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				for range 5 {
					capture.HaveSent(t, "logged", "text")
				}
			})
		}
	})

	got := failure(t, func(t testing.TB) { capture.HaveSent(t, "events", map[string]any{"id": 8, "tags": []string{"new"}}) })
	for _, want := range []string{`topic events: no record of {"id":8,"tags":["new"]}`, "closest (-want +sent)", "all 1 records", `key "7": {"id":7,"tags":["new"]} id="1" source="shop"`} {
		if !strings.Contains(got, want) {
			t.Errorf("the failure does not say %q:\n%s", want, got)
		}
	}
	got = failure(t, func(t testing.TB) { capture.HaveNotSent(t, "gone", nil) })
	if !strings.Contains(got, `topic gone: a record of null was sent: key "7": null`) {
		t.Errorf("the failure says %s", got)
	}
}

func TestConsume(t *testing.T) {
	url := servicetest.Postgres(t)
	db := connect(t, url)
	exec(t, db, `CREATE TABLE orders (id bigint PRIMARY KEY, state text, note text)`)
	cluster := Start(t)
	sink := cluster.Sink(t, Target{Postgres: url, Topics: []string{"orders"}})
	const keySchema = `{"type":"record","name":"Order_key","fields":[{"name":"id","type":"long"}]}`
	order := func(id int, value any) Record {
		return Record{Topic: "orders", KeySchema: keySchema, Key: map[string]any{"id": id}, Schema: orderSchema, Value: value}
	}
	sink.Consume(t, order(1, map[string]any{"id": 1, "state": "NEW"}), order(2, map[string]any{"id": 2, "state": "NEW", "note": "x"}))
	sink.Consume(t, order(1, map[string]any{"id": 1, "state": "DONE"}), order(2, nil))
	rows, err := db.Query(t.Context(), `SELECT id || ' ' || state || ' ' || coalesce(note, '-') FROM orders ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"1 DONE -"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	truncate := order(0, nil)
	truncate.Headers = map[string]string{"cdc.op": "truncate"}
	sink.Consume(t, truncate)
	var left int
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM orders`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d rows after a truncate, %v", left, err)
	}
}
