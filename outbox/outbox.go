// Package outbox writes messages for Kafka into an outbox table within the
// application's own transaction: they are published exactly when it commits.
//
//	tx, err := db.BeginTx(ctx, nil)
//	…
//	err = outbox.Write(ctx, tx, outbox.Message{Topic: "orders", Key: "42", Payload: order})
//	…
//	err = tx.Commit()
//
// The table is the one that `cdc outbox ddl` prints; cdc reads the inserts from
// the database's log.
package outbox

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Dialect is a family of databases.
type Dialect string

// The dialects.
const (
	Postgres Dialect = "postgres"
	MySQL    Dialect = "mysql" // and MariaDB
)

// DefaultTable is the table that messages are written to.
const DefaultTable = "outbox"

// Message is one record to be.
type Message struct {
	Topic string // required
	// Key is the record's key, as text; "" is none. All messages of a key are
	// published in the order in which they were committed.
	Key string
	// Payload becomes JSON by encoding/json, unless it is JSON already
	// (json.RawMessage). nil makes a tombstone.
	Payload any
	Headers map[string]string
	// PartitionKey chooses the partition in place of the key; "" leaves it to
	// the key.
	PartitionKey string
	// TraceParent and TraceState are the W3C's trace context of the caller.
	TraceParent, TraceState string
}

// Writer writes to one outbox table. The zero Writer writes to the table outbox
// of a PostgreSQL database.
type Writer struct {
	Dialect Dialect // "" is Postgres
	Table   string  // table or schema.table, unquoted; "" is DefaultTable
}

// Write is that of the zero Writer.
func Write(ctx context.Context, tx any, messages ...Message) error {
	return Writer{}.Write(ctx, tx, messages...)
}

// sqlTx is what *sql.Tx and *sql.Conn have.
type sqlTx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// pgxTx is what pgx.Tx and *pgx.Conn have.
type pgxTx interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Write inserts messages, in their order, by one statement. tx is a transaction
// of database/sql (*sql.Tx) or of pgx (pgx.Tx): whatever has their ExecContext
// or Exec. It neither commits nor rolls back.
func (w Writer) Write(ctx context.Context, tx any, messages ...Message) error {
	if len(messages) == 0 {
		return nil
	}
	query, args, err := w.insert(messages)
	if err != nil {
		return fmt.Errorf("write outbox: %w", err)
	}
	switch tx := tx.(type) {
	case sqlTx:
		_, err = tx.ExecContext(ctx, query, args...)
	case pgxTx:
		_, err = tx.Exec(ctx, query, args...)
	default:
		err = fmt.Errorf("%T is no transaction of database/sql or pgx", tx)
	}
	if err != nil {
		return fmt.Errorf("write outbox: %w", err)
	}
	return nil
}

var columns = [...]string{"topic", "key", "payload", "headers", "partition_key", "traceparent", "tracestate"}

// insert returns the statement and its arguments.
func (w Writer) insert(messages []Message) (string, []any, error) {
	table, err := w.Dialect.quoteTable(w.Table)
	if err != nil {
		return "", nil, err
	}
	var b strings.Builder
	b.WriteString("INSERT INTO " + table + " (")
	for i, c := range columns {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(w.Dialect.quote(c))
	}
	b.WriteString(") VALUES ")
	args := make([]any, 0, len(messages)*len(columns))
	for i := range messages {
		m := &messages[i]
		if m.Topic == "" {
			return "", nil, fmt.Errorf("message %d has no topic", i)
		}
		payload, err := asJSON(m.Payload)
		if err != nil {
			return "", nil, fmt.Errorf("payload of message %d: %w", i, err)
		}
		var headers any
		if len(m.Headers) > 0 {
			if headers, err = asJSON(m.Headers); err != nil {
				return "", nil, fmt.Errorf("headers of message %d: %w", i, err)
			}
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('(')
		for j, arg := range [len(columns)]any{m.Topic, orNull(m.Key), payload, headers, orNull(m.PartitionKey), orNull(m.TraceParent), orNull(m.TraceState)} {
			if j > 0 {
				b.WriteString(", ")
			}
			args = append(args, arg)
			if w.Dialect == MySQL {
				b.WriteByte('?')
			} else {
				b.WriteString("$" + strconv.Itoa(len(args)))
			}
		}
		b.WriteByte(')')
	}
	return b.String(), args, nil
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// asJSON returns v as JSON text, nil for nil.
func asJSON(v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	if raw, ok := v.(json.RawMessage); ok {
		if !json.Valid(raw) {
			return nil, errors.New("the json.RawMessage is no JSON")
		}
		return string(raw), nil
	}
	text, err := json.Marshal(v)
	return string(text), err
}

func (d Dialect) quote(name string) string {
	if d == MySQL {
		return "`" + strings.ReplaceAll(name, "`", "``") + "`"
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// quoteTable quotes table or schema.table.
func (d Dialect) quoteTable(table string) (string, error) {
	if d != "" && d != Postgres && d != MySQL {
		return "", fmt.Errorf("unknown dialect %q: postgres or mysql", d)
	}
	if table == "" {
		table = DefaultTable
	}
	var quoted []string
	for part := range strings.SplitSeq(table, ".") {
		if part == "" {
			return "", fmt.Errorf("%q is no table's name", table)
		}
		quoted = append(quoted, d.quote(part))
	}
	if len(quoted) > 2 {
		return "", fmt.Errorf("%q is no table's name: table or schema.table", table)
	}
	return strings.Join(quoted, "."), nil
}
