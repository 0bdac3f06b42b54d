package postgres

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"cdc/replication"
	"cdc/replication/pace"
)

// snapshot is a transaction that sees the database as it was at one point of
// the log, with the tables that are to be read from it. Whoever reads it owns
// its connection.
//
// It holds ACCESS SHARE on every table until its end: no DDL comes in between.
type snapshot struct {
	conn   *pgx.Conn
	lsn    pglogrepl.LSN // S: it has what transactions did whose commit record begins before S
	taken  int64         // microseconds since 1970-01-01 UTC, the server's clock
	tables []snapshotTable
}

// snapshotTable is one table of a snapshot.
type snapshotTable struct {
	table    *replication.Table
	decoders []columnDecoder
	copySQL  string
	estimate int64  // rows, or -1
	truncate bool   // rows of another table of that name were published: they are gone
	upto     *bound // of one that is read in order; nil otherwise
}

func (s *snapshot) close(ctx context.Context) { closeSoon(ctx, s.conn) }

// errTableChanged says that a table was altered or truncated between the point
// of the snapshot and the lock on it: neither is visible to the snapshot as it
// should be, so another one has to be taken.
var errTableChanged = errors.New("a table was altered while its snapshot was prepared")

// openSnapshot begins the transaction of the exported snapshot and locks the
// tables. The connection that exported it may be closed afterwards. Column
// lists are read under the lock.
func openSnapshot(ctx context.Context, cfg *Config, cat *catalog, exported string, lsn pglogrepl.LSN, tables []*tableState) (_ *snapshot, err error) {
	cc, err := cfg.connConfig(false)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, cc)
	if err != nil {
		return nil, refuseConnect(cc, err)
	}
	s := &snapshot{conn: conn, lsn: lsn}
	defer func() {
		if err != nil {
			s.close(context.WithoutCancel(ctx))
		}
	}()
	for _, sql := range []string{
		"BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
		"SET TRANSACTION SNAPSHOT " + replication.QuoteLiteral(exported),
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return nil, fmt.Errorf("begin snapshot: %w", err)
		}
	}
	for _, t := range tables {
		only := "ONLY "
		if t.info.Kind == relPartitioned {
			only = ""
		}
		if _, err := conn.Exec(ctx, "LOCK TABLE "+only+t.sql()+" IN ACCESS SHARE MODE"); err != nil {
			return nil, fmt.Errorf("lock table %s for its snapshot: %w", t, err)
		}
	}
	if err := conn.QueryRow(ctx, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").Scan(&s.taken); err != nil {
		return nil, fmt.Errorf("begin snapshot: %w", err)
	}
	for _, t := range tables {
		st, err := s.prepare(ctx, cat, t)
		if err != nil {
			return nil, err
		}
		s.tables = append(s.tables, st)
	}
	return s, nil
}

// prepare compiles how one table is read.
func (s *snapshot) prepare(ctx context.Context, cat *catalog, t *tableState) (st snapshotTable, err error) {
	// This connection's pg_class and pg_attribute are as old as the snapshot,
	// the session's are of now. TRUNCATE and ALTER TABLE that rewrite the table
	// give it a new file, in which the snapshot sees no old rows.
	then, err := readTable(ctx, s.conn, `c.oid = $1::oid`, t.info.OID)
	if errors.Is(err, errNoTable) {
		return st, errTableChanged // made since
	}
	if err != nil {
		return st, err
	}
	now, err := cat.table(ctx, t.info.OID)
	if errors.Is(err, errNoTable) {
		return st, errTableChanged
	}
	if err != nil {
		return st, err
	}
	st.estimate, then.Rows = now.Rows, now.Rows
	var sameFile bool
	err = s.conn.QueryRow(ctx, `
SELECT coalesce(bool_and(c.relfilenode = pg_catalog.pg_relation_filenode(c.oid)), true)
  FROM pg_catalog.pg_class c
 WHERE c.relkind = 'r' AND (c.oid = $1::oid OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree($1::oid::regclass)))`, t.info.OID).Scan(&sameFile)
	if err != nil {
		return st, fmt.Errorf("look up table %s: %w", t, err)
	}
	if !sameFile || !reflect.DeepEqual(then, now) {
		return st, errTableChanged
	}
	if t.Schema != now.Schema || t.Name != now.Name {
		return st, errTableChanged // renamed since it was inspected
	}

	identity := now.identity()
	var cols []wireColumn
	var list []string
	computed := false // COPY does not take a generated column by its name
	for _, c := range now.Columns {
		// A column that was added since the inspection is published if no list forbids it.
		published := slices.Contains(t.columns, c.Name) || t.info.column(c.Name) == nil && !c.Generated
		if !published {
			continue
		}
		cols = append(cols, wireColumn{Name: c.Name, TypeOID: c.TypeOID, Typmod: c.Typmod, Number: c.Number, Identity: now.Identity == identityFull || slices.Contains(identity, c.Name)})
		list = append(list, c.Name)
		computed = computed || c.Generated
	}
	st.table, err = cat.shape(ctx, now.name(), now.name(), now.Identity, cols, now)
	if err != nil {
		return st, err
	}
	for _, c := range st.table.Columns {
		st.decoders = append(st.decoders, newColumnDecoder(c))
	}
	if st.upto = t.upto; st.upto == nil && t.Ordered && len(t.info.Key) > 0 {
		if st.upto, err = s.bound(ctx, t); err != nil {
			return st, err
		}
	}
	st.copySQL = copySQL(t, quoteAll(list), computed)
	if now.Kind == relPartitioned {
		var sum int64
		err = s.conn.QueryRow(ctx, `
SELECT coalesce(sum(greatest(l.reltuples, 0)), 0)::bigint FROM pg_catalog.pg_partition_tree($1::oid::regclass) p
  JOIN pg_catalog.pg_class l ON l.oid = p.relid WHERE p.isleaf`, now.OID).Scan(&sum)
		if err != nil {
			return st, fmt.Errorf("look up table %s: %w", t, err)
		}
		st.estimate = sum
	}
	return st, nil
}

// bound returns the greatest key of the table.
func (s *snapshot) bound(ctx context.Context, t *tableState) (*bound, error) {
	var texts, order []string
	for _, name := range t.info.Key {
		texts = append(texts, replication.QuoteIdentifier(name)+"::text")
		order = append(order, replication.QuoteIdentifier(name)+" DESC")
	}
	key := []string{}
	err := s.conn.QueryRow(ctx, "SELECT ARRAY["+strings.Join(texts, ", ")+"] FROM "+t.from()+" ORDER BY "+strings.Join(order, ", ")+" LIMIT 1").Scan(&key)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("look up the greatest key of %s: %w", t, err)
	}
	return &bound{OID: t.info.OID, Key: key, Columns: t.info.keyShape()}, nil
}

// keyShape tells keys of other columns or types apart: number:type of each column.
func (t *tableInfo) keyShape() string {
	var b strings.Builder
	for _, name := range t.Key {
		if c := t.column(name); c != nil {
			fmt.Fprintf(&b, "%d:%d ", c.Number, c.TypeOID)
		}
	}
	return strings.TrimSuffix(b.String(), " ")
}

// from is the table with all that belongs to it, and nothing else.
func (t *tableState) from() string {
	if t.info.Kind == relTable {
		return "ONLY " + t.sql()
	}
	return t.sql()
}

// condition is what the table's rows must meet to be read, "" for all.
func (t *tableState) condition() string {
	var all []string
	if t.filter != "" {
		all = append(all, "("+t.filter+")")
	}
	if t.upto != nil {
		var key []string
		for _, v := range t.upto.Key {
			key = append(key, replication.QuoteLiteral(v))
		}
		if len(key) == 0 {
			return "false"
		}
		all = append(all, "("+quoteAll(t.info.Key)+") <= ("+strings.Join(key, ", ")+")")
	}
	return strings.Join(all, " AND ")
}

// copySQL reads the published columns and rows of the table. The direct form is
// quicker and reads the table alone, without those that inherit from it.
func copySQL(t *tableState, columns string, computed bool) string {
	order := ""
	if t.Ordered && len(t.info.Key) > 0 {
		order = " ORDER BY " + quoteAll(t.info.Key)
	}
	if t.info.Kind == relTable && t.filter == "" && columns != "" && order == "" && !computed {
		return "COPY " + t.sql() + " (" + columns + ") TO STDOUT"
	}
	var b strings.Builder
	b.WriteString("COPY (SELECT " + columns + " FROM " + t.from())
	if c := t.condition(); c != "" {
		b.WriteString(" WHERE " + c)
	}
	b.WriteString(order + ") TO STDOUT")
	return b.String()
}

// read copies all tables into batches and hands them to out. It returns the
// last batch, not yet handed over, so that the caller gives it the Position.
func (s *snapshot) read(ctx context.Context, cfg *Config, pool *batchPool, out chan<- *batch, rows *atomic.Int64) (*batch, error) {
	w := &copyWriter{ctx: ctx, pool: pool, out: out, commit: s.lsn.String(), taken: s.taken, tally: pace.NewTally(cfg.Progress, rows)}
	for i := range s.tables {
		w.begin(&s.tables[i])
		if err := w.truncate(); err != nil {
			return nil, err
		}
		_, err := s.conn.PgConn().CopyTo(ctx, w, s.tables[i].copySQL)
		if err != nil {
			w.drop()
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, w.explain(err)
		}
		done := w.tally.Done()
		cfg.Logger.Info("read all rows of table", "table", s.tables[i].table.String(), "rows", done.Rows, "bytes", done.Bytes,
			"elapsed", done.Elapsed.Round(time.Millisecond))
	}
	if w.b == nil {
		return pool.Get(ctx)
	}
	return w.b, nil
}

// copyWriter is the io.Writer of CopyTo: it gets one row a call.
type copyWriter struct {
	ctx    context.Context //nolint:containedctx // an io.Writer is given none
	pool   *batchPool
	out    chan<- *batch
	commit string
	taken  int64
	tally  pace.Tally

	st    *snapshotTable
	b     *batch
	tx    *replication.Transaction
	index uint64 // of the next change in the snapshot
}

func (w *copyWriter) begin(st *snapshotTable) {
	w.st = st
	w.tally.Begin(st.table.Schema, st.table.Name, st.estimate)
}

// rowError is a row that could not be read, as against a connection that broke.
type rowError struct{ err error }

func (e *rowError) Error() string { return e.err.Error() }
func (e *rowError) Unwrap() error { return e.err }

// open makes sure that there is a batch to write to.
func (w *copyWriter) open() error {
	if w.b != nil {
		return nil
	}
	b, err := w.pool.Get(w.ctx)
	if err != nil {
		return err
	}
	w.b = b
	w.tx = b.Transaction()
	commit := b.Alloc(len(w.commit))
	copy(commit, w.commit)
	w.tx.Commit, w.tx.CommitTime = commit, w.taken
	return nil
}

// truncate ends the rows of a table that had the name before.
func (w *copyWriter) truncate() error {
	if !w.st.truncate {
		return nil
	}
	if err := w.open(); err != nil {
		return err
	}
	w.b.Add(replication.Change{Op: replication.OpTruncate, Table: w.st.table, Tx: w.tx, Index: w.index}, 4)
	w.index++
	return nil
}

func (w *copyWriter) Write(row []byte) (int, error) {
	if err := w.open(); err != nil {
		return 0, err
	}
	after, column, err := copyRow(row, w.st.decoders, &w.b.Arena)
	if err != nil {
		return 0, &rowError{copyError(w.st.table, w.tally.Rows()+1, column, err)}
	}
	w.b.Add(replication.Change{Op: replication.OpRead, Table: w.st.table, After: after, Tx: w.tx, Index: w.index}, len(row))
	w.index++
	w.tally.Row(len(row))
	if w.b.Full() {
		select {
		case w.out <- w.b:
			w.b = nil
		case <-w.ctx.Done():
			return 0, w.ctx.Err()
		}
	}
	return len(row), nil
}

// drop gives back the batch in work.
func (w *copyWriter) drop() {
	if w.b != nil {
		w.b.Release()
		w.b = nil
	}
}

func (w *copyWriter) explain(err error) error {
	if _, ok := errors.AsType[*rowError](err); ok {
		return err
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == codeNoPrivilege {
		t := w.st.table
		return &replication.Refusal{
			Problem: fmt.Sprintf("table %s cannot be read", t),
			Remedy:  "grant SELECT on it to the role of the URL: GRANT SELECT ON " + quoteTable(t.Schema, t.Name) + " TO …",
			Err:     err,
		}
	}
	return fmt.Errorf("snapshot table %s: %w", w.st.table, err)
}
