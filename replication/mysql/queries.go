package mysql

import (
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"strings"

	gorepl "github.com/go-mysql-org/go-mysql/replication"

	"cdc/replication"
)

// query reads a QUERY event: what the log holds as a statement. Statements are
// looked at for what they mean to the transaction and to captured tables;
// everything else passes, whatever it is.
func (r *reader) query(ctx context.Context, h header, body []byte) error {
	c := cursor{b: body}
	c.u32() // thread
	c.u32() // seconds
	schemaLen := c.u8()
	c.u16() // error
	statusLen := c.u16()
	if h.kind == gorepl.EXECUTE_LOAD_QUERY_EVENT {
		c.bytes(13)
	}
	c.bytes(uint64(statusLen))
	database := c.bytes(uint64(schemaLen))
	c.u8()
	if c.err != nil {
		return c.err
	}
	text := c.b
	if h.kind == gorepl.MARIADB_QUERY_COMPRESSED_EVENT {
		var err error
		if text, err = inflateText(text); err != nil {
			return err
		}
	}
	// BEGIN and COMMIT are by far the most frequent.
	switch string(text) {
	case "BEGIN":
		r.tx.begun = true
		return nil
	case "COMMIT":
		return r.commit()
	}
	kind, schema, name := classify(string(text), string(database))
	switch kind {
	case beginStatement:
		r.tx.begun = true
		return nil
	case commitStatement, rollbackStatement:
		return r.commit()
	case xaStartStatement:
		r.tx.begun, r.tx.xa = true, true
		return nil
	case xaPrepareStatement, xaCommitStatement, xaRollbackStatement:
		return r.commit()
	case rollbackToStatement:
		if r.tx.rows {
			return refuse("a transaction rolled back to a savepoint after it had changed a table that cannot roll back: its changes to captured tables are not to be told apart",
				"convert all tables to InnoDB, then begin again with a new snapshot: cdc drop", nil)
		}
	case rowStatement:
		if t := r.mentioned(string(text), string(database)); t != "" {
			return refuse(fmt.Sprintf("the log holds a statement instead of the rows that it changed in table %s: %s", t, clip(string(text), 200)),
				"SET GLOBAL binlog_format = ROW, and let no session set another one; then begin again with a new snapshot: cdc drop", nil)
		}
	case truncateStatement:
		if err := r.truncate(ctx, schema, name); err != nil {
			return err
		}
	case dropStatement:
		if t := r.configured(schema, name); t != nil {
			r.cfg.Logger.Warn("a captured table was dropped; one made anew under its name is captured from then on", "table", t.String())
		}
	case xaStatement, otherStatement:
	}
	if !r.tx.begun {
		return r.commit()
	}
	return nil
}

func inflateText(b []byte) ([]byte, error) {
	c := cursor{b: b}
	n := c.big(int(c.u8() & 7))
	if c.err != nil {
		return nil, c.err
	}
	z, err := zlib.NewReader(bytes.NewReader(c.b))
	if err != nil {
		return nil, fmt.Errorf("inflate: %w", err)
	}
	// The beginning says what the statement is.
	text, err := io.ReadAll(io.LimitReader(z, int64(min(n, 64<<10))))
	if err != nil {
		return nil, fmt.Errorf("inflate: %w", err)
	}
	return text, nil
}

// configured returns the captured table of that name, or nil.
func (r *reader) configured(schema, name string) *TableConfig {
	for i := range r.cfg.Tables {
		t := &r.cfg.Tables[i]
		if t.Schema == schema && t.Name == name || r.fold && strings.EqualFold(t.Schema, schema) && strings.EqualFold(t.Name, name) {
			return t
		}
	}
	return nil
}

// mentioned returns a captured table that a statement names.
func (r *reader) mentioned(sql, database string) string {
	for _, t := range r.cfg.Tables {
		if mentions(sql, t.Name) && (t.Schema == database || mentions(sql, t.Schema)) {
			return t.String()
		}
	}
	return ""
}

// truncate emits the emptying of a captured table.
func (r *reader) truncate(ctx context.Context, schema, name string) error {
	t := r.configured(schema, name)
	if t == nil || r.marks.skip(tableKey(t.Schema, t.Name), &r.tx.id) {
		return nil
	}
	var p *plan
	err := r.aside(func() (err error) {
		ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
		defer cancel()
		p, err = r.shapes.last(ctx, t.Schema, t.Name)
		return err
	})
	if err != nil {
		return err
	}
	if p == nil { // it is gone, and no row of it was ever seen
		r.cfg.Logger.Warn("a captured table was truncated whose shape is not known any more; this goes unsaid", "table", t.String())
		return nil
	}
	if r.tx.pass > 0 {
		r.tx.pass--
		r.tx.index++
		return nil
	}
	b, err := r.room(ctx)
	if err != nil {
		return err
	}
	b.add(replication.Change{Op: replication.OpTruncate, Table: p.table, Tx: r.transaction(b), Index: r.tx.index}, 0)
	r.tx.index++
	return nil
}

// refuseXA: the log has the rows when the transaction is prepared, before it is
// known whether it commits.
func (r *reader) refuseXA(t *replication.Table) error {
	return refuse(fmt.Sprintf("table %s was changed by a distributed (XA) transaction: the log has its rows before it is known whether it commits", t),
		"let no application use XA on captured tables (one-phase commits among them), then begin again with a new snapshot: cdc drop", nil)
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
