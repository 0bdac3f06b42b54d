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
	c := cursor{B: body}
	thread := c.LE32()
	c.LE32() // seconds
	schemaLen := c.U8()
	c.LE16() // error
	statusLen := c.LE16()
	if h.kind == gorepl.EXECUTE_LOAD_QUERY_EVENT {
		c.Bytes(13)
	}
	vars := readStatusVars(c.Bytes(uint64(statusLen)))
	database := c.Bytes(uint64(schemaLen))
	c.U8()
	if c.Err != nil {
		return c.Err
	}
	text := c.B
	if h.kind == gorepl.MARIADB_QUERY_COMPRESSED_EVENT {
		var err error
		if text, err = inflateText(text); err != nil {
			return err
		}
	}
	// BEGIN and COMMIT are by far the most frequent.
	switch string(text) {
	case "BEGIN":
		r.tx.begun, r.tx.thread = true, int64(thread)+1
		return nil
	case "COMMIT":
		return r.commit()
	}
	if r.tx.void {
		return r.commit()
	}
	sql, err := r.inUTF8(ctx, text, vars)
	if err != nil {
		return err
	}
	sql = plain(sql, vars.mode, r.cfg.Flavor)
	kind, schema, name := classify(sql, string(database))
	def := defines(sql, string(database), vars.mode)
	switch kind {
	case beginStatement:
		r.tx.begun = true
		return nil
	case commitStatement:
		return r.commit()
	case rollbackStatement:
		if r.tx.rows {
			return r.refuseRollback("rolled back")
		}
		return r.commit()
	case xaStartStatement:
		r.tx.begun, r.tx.xa = true, true
		return nil
	case xaCommitStatement, xaRollbackStatement:
		return r.xaDecided(ctx, behindXA(sql), kind == xaCommitStatement)
	case xaPrepareStatement:
		return r.commit()
	case rollbackToStatement:
		if r.tx.rows {
			return r.refuseRollback("rolled back to a savepoint")
		}
	case rowStatement:
		if t := r.mentioned(sql, string(database)); t != "" {
			return refuseStatement(t, sql)
		}
	case truncateStatement:
		if err := r.truncate(ctx, schema, name); err != nil {
			return err
		}
	case dropRowsStatement:
		if err := r.rowsGone(schema, name, sql); err != nil {
			return err
		}
	case renameStatement:
		if def != nil {
			if err := r.renamed(def); err != nil {
				return err
			}
		}
	case alterRowsStatement:
		err := r.refuseMoved(schema, name, sql)
		if err == nil {
			schema, name = otherTable(sql, string(database))
			err = r.refuseMoved(schema, name, sql)
		}
		if err != nil {
			return err
		}
	case otherStatement:
		if def != nil {
			if t := r.configured(def.fills()); t != nil && !r.marks.skip(tableKey(t.Schema, t.Name), &r.tx.id) {
				return refuseStatement(t.String(), sql)
			}
		}
	case xaStatement, dropStatement:
	}
	if kind >= dropStatement || kind == otherStatement {
		// The bytes of its table map may be the same and mean something else.
		if r.mentioned(sql, string(database)) != "" {
			clear(r.plans)
		}
	}
	if def != nil {
		r.follow(def)
	}
	if !r.tx.begun {
		return r.commit()
	}
	return nil
}

func refuseStatement(table, sql string) error {
	return refuse(fmt.Sprintf("the log holds a statement instead of the rows that it changed in table %s: %s", table, clip(sql, 200)),
		"SET GLOBAL binlog_format = ROW, and let no session set another one; then begin again with a new snapshot: cdc drop", nil)
}

func inflateText(b []byte) ([]byte, error) {
	c := cursor{B: b}
	n := c.BE(int(c.U8() & 7))
	if c.Err != nil {
		return nil, c.Err
	}
	z, err := zlib.NewReader(bytes.NewReader(c.B))
	if err != nil {
		return nil, corruptError{err}
	}
	// The beginning says what the statement is.
	text, err := io.ReadAll(io.LimitReader(z, int64(min(n, 64<<10))))
	if err != nil {
		return nil, corruptError{err}
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
	r.at.log, r.at.first = nil, r.tx.index
	b.Add(replication.Change{Op: replication.OpTruncate, Table: p.table, Tx: r.transaction(b), Index: r.tx.index, Log: r.logEvent(b)}, 0)
	r.tx.index++
	return nil
}

// refuseRollback: rows of the transaction are in batches already.
func (r *reader) refuseRollback(how string) error {
	return refuse("a transaction "+how+" after it had changed a table that cannot roll back: its changes to captured tables are not to be told apart",
		"convert all tables to InnoDB, then begin again with a new snapshot: cdc drop", nil)
}

// rowsGone refuses a statement that takes rows of a captured table away with a
// partition or a tablespace, unless nothing but inserts matters there, or it was
// chosen that they stay where they were published.
func (r *reader) rowsGone(schema, name, sql string) error {
	t := r.configured(schema, name)
	switch {
	case t == nil || t.InsertsOnly:
		return nil
	case r.cfg.OnDropPartition == OnDropPartitionWarn:
		r.cfg.Logger.Warn("rows of a captured table went with a partition; they stay where they were published", "table", t.String(), "statement", clip(sql, 200))
		return nil
	}
	return r.refuseMoved(schema, name, sql)
}

// refuseMoved refuses what takes rows of a captured table away, or brings some,
// with a partition or a tablespace.
func (r *reader) refuseMoved(schema, name, sql string) error {
	t := r.configured(schema, name)
	if t == nil || r.marks.skip(tableKey(t.Schema, t.Name), &r.tx.id) {
		return nil
	}
	return refuse(fmt.Sprintf("rows of table %s came or went with a partition or a tablespace, and the log does not say which: %s", t, clip(sql, 200)),
		"begin again with a new snapshot: cdc drop; from then on DELETE the rows of a partition of a captured table first, and drop it with SET sql_log_bin = 0; or let rows that go with a partition stay where they were published: on_drop_partition: warn", nil)
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
