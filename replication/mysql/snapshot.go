package mysql

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"cdc/replication"
	"cdc/replication/arena"
	"cdc/replication/pace"
)

// snapshot is a transaction that sees the database as it was at one place of
// the log, with the tables that are to be read from it. Whoever reads it owns
// its connection.
//
// It keeps others from altering a table until that has been read. The locks are
// let go of table by table, by going back to savepoints.
type snapshot struct {
	conn   *conn
	before place // of a moment before: what was prepared before it is decided, and point shows how
	point  place
	file   string // where point is in the server's own log
	offset uint64
	taken  int64 // microseconds since 1970-01-01 UTC, the server's clock
	tables []snapshotTable
}

// snapshotTable is one table of a snapshot.
type snapshotTable struct {
	plan     *plan
	sql      string
	estimate int64 // rows, or -1
	upto     bound
}

func (s *snapshot) close() { s.conn.end() }

// errTableChanged says that a table was altered while its snapshot was
// prepared: another one has to be taken.
var errTableChanged = errors.New("a table was altered, or is about to be, while its snapshot was prepared")

const (
	maxSnapshotAttempts = 10
	// lockPatience bounds how long the snapshot waits for the transactions that
	// change its tables, in seconds: new ones wait behind it meanwhile.
	lockPatience = 2
	tableLock    = 25 // seconds to wait for an ALTER TABLE that is running; less than queryTimeout
)

// openSnapshot begins the transaction and notes its place in the log.
func openSnapshot(ctx context.Context, cfg *Config, sh *shapes, tables []TableConfig) (*snapshot, error) {
	for attempt := 1; ; attempt++ {
		s, err := openSnapshotOnce(ctx, cfg, sh, tables)
		if !errors.Is(err, errTableChanged) || attempt == maxSnapshotAttempts {
			return s, err
		}
		cfg.Logger.Warn("the snapshot could not be prepared, trying again", "reason", err, "attempt", attempt)
	}
}

func openSnapshotOnce(ctx context.Context, cfg *Config, sh *shapes, tables []TableConfig) (_ *snapshot, err error) {
	conn, err := cfg.connect(ctx)
	if err != nil {
		return nil, err
	}
	s := &snapshot{conn: conn}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	if err := cfg.waitForID(ctx, conn); err != nil {
		return nil, err
	}
	for _, sql := range []string{
		fmt.Sprintf("SET SESSION lock_wait_timeout = %d", lockPatience),
		"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
	} {
		if _, err := conn.query(ctx, sql); err != nil {
			return nil, fmt.Errorf("begin snapshot: %w", err)
		}
	}
	holder, err := holdTables(ctx, cfg, conn.host, tables)
	if err != nil {
		return nil, err
	}
	defer holder.end()
	info, err := readServer(ctx, conn)
	if err != nil {
		return nil, err
	}
	seen, err := cfg.witnessNow(ctx, conn, &info)
	if err != nil {
		return nil, err
	}
	s.before = info.end
	s.before.seen = seen
	if cfg.Flavor == MariaDB {
		if err = s.awaitPrepared(ctx, cfg); err == nil {
			err = s.beginMaria(ctx)
		}
	} else {
		err = s.beginMySQL(ctx, cfg, tables)
	}
	if err != nil {
		return nil, err
	}
	rows, err := conn.query(ctx, "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)")
	if err != nil {
		return nil, fmt.Errorf("begin snapshot: %w", err)
	}
	if s.taken, err = strconv.ParseInt(rows[0][0].text, 10, 64); err != nil {
		return nil, fmt.Errorf("begin snapshot: %w", err)
	}
	// The last table is locked first, so that going back to the newest savepoint
	// lets go of the first.
	for i := len(tables) - 1; i >= 0; i-- {
		if _, err := conn.query(ctx, "SAVEPOINT cdc"+strconv.Itoa(i)); err != nil {
			return nil, fmt.Errorf("begin snapshot: %w", err)
		}
		if err := openTable(ctx, conn, &tables[i]); errorCode(err) == codeLockTimeout {
			// Whoever wants to alter it waits for the holder, and we wait behind.
			return nil, fmt.Errorf("%w: %w", errTableChanged, err)
		} else if err != nil {
			return nil, err
		}
	}
	for _, t := range tables {
		st, err := s.prepareTable(ctx, cfg, sh, t)
		if err != nil {
			return nil, err
		}
		s.tables = append(s.tables, st)
	}
	return s, nil
}

// holdTables keeps others from altering or renaming the tables, not from changing
// their rows, until the connection ends. Else the table that is read later could
// be another one than that of the transaction's begin, of which the transaction
// does not see the newest rows: what swaps tables (gh-ost, pt-osc) fills the
// other one up to that moment.
func holdTables(ctx context.Context, cfg *Config, host string, tables []TableConfig) (*conn, error) {
	conn, err := cfg.connectTo(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, sql := range []string{fmt.Sprintf("SET SESSION lock_wait_timeout = %d", tableLock), "START TRANSACTION READ ONLY"} {
		if _, err := conn.query(ctx, sql); err != nil {
			conn.Close()
			return nil, fmt.Errorf("begin snapshot: %w", err)
		}
	}
	for i := range tables {
		if err := openTable(ctx, conn, &tables[i]); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

// openTable makes a transaction keep others from altering a table.
func openTable(ctx context.Context, conn *conn, t *TableConfig) error {
	if _, err := conn.query(ctx, "SELECT * FROM "+quoteTable(t.Schema, t.Name)+" LIMIT 0"); err != nil {
		return explainRead(t, err)
	}
	return nil
}

// waitForID waits for a server id in use: the connection of a process that died
// lingers for a while.
func (c *Config) waitForID(ctx context.Context, conn *conn) error {
	deadline := time.Now().Add(c.IDWait)
	for told := false; ; told = true {
		err := c.takeID(ctx, conn)
		if !errors.Is(err, errInUse) {
			return err
		}
		if time.Now().After(deadline) {
			return c.explain(err, nil)
		}
		if !told {
			c.Logger.Warn("the server id is in use, waiting for it", "server_id", c.ServerID, "at_most", c.IDWait)
		}
		select { // the question itself waits, too
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

const beginSnapshot = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"

// beginMaria: the server notes for the transaction where in the log it stands.
// MariaDB's documentation, "START TRANSACTION, WITH CONSISTENT SNAPSHOT".
func (s *snapshot) beginMaria(ctx context.Context) error {
	// MariaDB takes one option only.
	if _, err := s.conn.query(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT"); err != nil {
		return fmt.Errorf("begin snapshot: %w", err)
	}
	rows, err := s.conn.query(ctx, "SHOW STATUS WHERE Variable_name IN ('Binlog_snapshot_file', 'Binlog_snapshot_position')")
	if err != nil {
		return fmt.Errorf("begin snapshot: %w", err)
	}
	at := map[string]string{}
	for _, r := range rows {
		at[strings.ToLower(r[0].text)] = r[1].text
	}
	rows, err = s.conn.query(ctx, "SELECT BINLOG_GTID_POS("+sqlString(at["binlog_snapshot_file"])+", "+sqlString(at["binlog_snapshot_position"])+")")
	if err != nil {
		return fmt.Errorf("find the snapshot's place in the log: %w", err)
	}
	if rows[0][0].null {
		return fmt.Errorf("find the snapshot's place in the log: the server knows none for %s:%s", at["binlog_snapshot_file"], at["binlog_snapshot_position"])
	}
	if s.point, err = parsePlace(placeMaria, rows[0][0].text); err != nil {
		return fmt.Errorf("find the snapshot's place in the log: %w", err)
	}
	s.file = at["binlog_snapshot_file"]
	s.offset, _ = strconv.ParseUint(at["binlog_snapshot_position"], 10, 64)
	return nil
}

// beginMySQL: a short lock on the tables alone makes that what is visible and
// what is in the log are the same. Where it is not to be had in time, the place
// is that of a moment before: what commits in between is read twice, and with
// GTIDs nothing is left out, for the server notes them once a transaction is
// visible.
func (s *snapshot) beginMySQL(ctx context.Context, cfg *Config, tables []TableConfig) error {
	locker, lockErr := lockTables(ctx, cfg, s.conn.host, tables)
	if locker != nil {
		defer locker.end()
	} else if err := s.awaitPrepared(ctx, cfg); err != nil { // with the lock none of them has changed the tables
		return err
	}
	info, err := readServer(ctx, s.conn)
	if err != nil {
		return err
	}
	if locker == nil && info.form == placeFile {
		err := error(refuse("without GTIDs a snapshot needs a short lock on its tables, and did not get it",
			"GRANT LOCK TABLES ON *.* TO "+cfg.userSQL()+", or end the transactions that hold the tables, or set gtid_mode = ON", lockErr))
		if errorCode(lockErr) == codeLockTimeout { // it may pass
			err = fmt.Errorf("%w: %w", errTableChanged, err)
		}
		return err
	}
	if locker == nil {
		cfg.Logger.Info("the snapshot's tables could not be locked for a moment: changes of that moment are read twice", "reason", lockErr)
	}
	s.point, s.file, s.offset = info.end, info.file, info.offset
	if _, err := s.conn.query(ctx, beginSnapshot); err != nil {
		return fmt.Errorf("begin snapshot: %w", err)
	}
	return nil
}

// awaitPrepared lets the distributed transactions be decided that are prepared.
func (s *snapshot) awaitPrepared(ctx context.Context, cfg *Config) error {
	unknown, err := cfg.awaitPrepared(ctx, s.conn)
	if unknown {
		s.before.prepared = []prepared{{xid: unknownXA}}
	}
	return err
}

// lockTables keeps others from changing the tables until the connection ends.
func lockTables(ctx context.Context, cfg *Config, host string, tables []TableConfig) (*conn, error) {
	conn, err := cfg.connectTo(ctx, host)
	if err != nil {
		return nil, err
	}
	var sql strings.Builder
	for i, t := range tables {
		if i > 0 {
			sql.WriteString(", ")
		}
		sql.WriteString(quoteTable(t.Schema, t.Name) + " READ")
	}
	for _, statement := range []string{
		fmt.Sprintf("SET SESSION lock_wait_timeout = %d", lockPatience),
		"LOCK TABLES " + sql.String(),
	} {
		if _, err := conn.query(ctx, statement); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

// prepareTable compiles how one table is read. It is locked already.
func (s *snapshot) prepareTable(ctx context.Context, cfg *Config, sh *shapes, t TableConfig) (st snapshotTable, err error) {
	info, err := sh.charsets.readTable(ctx, sh.session, cfg.Flavor, t.Schema, t.Name)
	if err != nil {
		return st, err
	}
	if info == nil {
		return st, errTableChanged
	}
	if st.plan, err = sh.fromCatalog(info); err != nil {
		return st, err
	}
	if err := t.missingKey(st.plan.table); err != nil {
		return st, err
	}
	var list []string
	for _, c := range st.plan.table.Columns {
		list = append(list, quoteName(c.Name))
	}
	st.sql = "SELECT " + strings.Join(list, ", ") + " FROM " + quoteTable(t.Schema, t.Name)
	if key := st.plan.table.Key; t.Ordered && len(key) > 0 {
		if err := s.order(ctx, &st, t.upto); err != nil {
			return st, fmt.Errorf("look up the greatest key of %s: %w", t, err)
		}
	}
	st.estimate = info.estimate
	return st, nil
}

// order makes that the table is read in the order of its key, up to upto. Where
// that is not known, or is of another key than the table has now, it is noted, if
// the key is of numbers: others, random ones among them, say nothing of when a row
// came.
func (s *snapshot) order(ctx context.Context, st *snapshotTable, upto bound) error {
	t := st.plan.table
	shape := shapeOfKey(t)
	var names, down []string
	numbers := true
	for _, i := range t.Key {
		c := &t.Columns[i]
		names = append(names, quoteName(c.Name))
		down = append(down, quoteName(c.Name)+" DESC")
		numbers = numbers && (c.Kind == replication.KindInt || c.Kind == replication.KindUint)
	}
	switch {
	case upto.key == nothingYet:
		st.sql += " WHERE 1 = 0"
		st.upto = upto
	case !numbers:
	case upto.holds(shape):
		st.sql += " WHERE (" + strings.Join(names, ", ") + ") <= (" + upto.key + ")"
		st.upto = upto
	default:
		rows, err := s.conn.query(ctx, "SELECT CONCAT_WS(',', "+strings.Join(names, ", ")+") FROM "+quoteTable(t.Schema, t.Name)+" ORDER BY "+strings.Join(down, ", ")+" LIMIT 1")
		if err != nil {
			return err
		}
		if st.upto.key = nothingYet; len(rows) > 0 {
			st.upto = bound{key: rows[0][0].text, of: shape}
		}
	}
	st.sql += " ORDER BY " + strings.Join(names, ", ")
	return nil
}

// shapeOfKey tells keys of other columns or types apart. The columns have no
// number that stays with them, and names may be exchanged: so all of the table's
// count, in their order.
func shapeOfKey(t *replication.Table) string {
	h := fnv.New64a()
	for i := range t.Columns {
		fmt.Fprintf(h, "%q %q, ", t.Columns[i].Name, t.Columns[i].TypeName)
	}
	fmt.Fprint(h, t.Key)
	return strconv.FormatUint(h.Sum64(), 16)
}

// read reads all tables into batches and hands them to out. It returns the last
// batch, not yet handed over, so that the caller gives it the Position.
func (s *snapshot) read(ctx context.Context, cfg *Config, pool *batchPool, out chan<- *batch, rows *atomic.Int64) (*batch, error) {
	w := &snapshotWriter{pool: pool, out: out, commit: s.point.String(), taken: s.taken, describe: cfg.Describe, file: s.file, offset: s.offset, tally: pace.NewTally(cfg.Progress, rows)}
	if s.point.form == placeGTID && len(w.commit) > 200 {
		w.commit = "snapshot" // a set of many servers is no name
	}
	for i := range s.tables {
		st := &s.tables[i]
		w.begin(st)
		if err := s.readTable(ctx, w); err != nil {
			w.drop()
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, explainRead(&TableConfig{Schema: st.plan.table.Schema, Name: st.plan.table.Name}, err)
		}
		done := w.tally.Done()
		cfg.Logger.Info("read all rows of table", "table", st.plan.table.String(), "rows", done.Rows, "bytes", done.Bytes,
			"elapsed", done.Elapsed.Round(time.Millisecond))
		if _, err := s.conn.query(ctx, "ROLLBACK TO SAVEPOINT cdc"+strconv.Itoa(i)); err != nil {
			w.drop()
			return nil, err
		}
	}
	if w.b == nil {
		return pool.Get(ctx)
	}
	return w.b, nil
}

// readTable runs the table's query and writes its rows.
func (s *snapshot) readTable(ctx context.Context, w *snapshotWriter) error {
	return s.conn.within(ctx, 0, func() error {
		p := newPackets(s.conn, silenceOfQuery)
		defer s.conn.raw.SetReadDeadline(time.Time{})
		columns, err := execute(s.conn, p, w.st.sql)
		if err != nil {
			return err
		}
		if want := len(w.st.plan.table.Columns); columns != want {
			return fmt.Errorf("the server sends %d columns of %d", columns, want)
		}
		for {
			b, err := p.next()
			if err != nil {
				return err
			}
			if len(b) == 0 {
				return errShort
			}
			switch b[0] {
			case 0x00:
				if err := w.row(ctx, b[1:]); err != nil {
					return err
				}
			case 0xfe:
				return nil
			case 0xff:
				return serverError(b)
			default:
				return fmt.Errorf("a row begins with %#x", b[0])
			}
		}
	})
}

// silenceOfQuery is how long the server may think before the next row.
const silenceOfQuery = 10 * time.Minute

// snapshotWriter makes batches of rows.
type snapshotWriter struct {
	pool     *batchPool
	out      chan<- *batch
	commit   string
	taken    int64
	describe bool // rows tell where in the log the snapshot stands, at file and offset
	file     string
	offset   uint64
	tally    pace.Tally

	st    *snapshotTable
	b     *batch
	tx    *replication.Transaction
	at    *replication.LogEvent
	index uint64 // of the next change in the snapshot
}

func (w *snapshotWriter) begin(st *snapshotTable) {
	w.st = st
	w.tally.Begin(st.plan.table.Schema, st.plan.table.Name, st.estimate)
}

func (w *snapshotWriter) row(ctx context.Context, row []byte) error {
	if w.b == nil {
		b, err := w.pool.Get(ctx)
		if err != nil {
			return err
		}
		w.b = b
		w.tx = b.Transaction()
		w.tx.Commit, w.tx.CommitTime = b.Copy([]byte(w.commit)), w.taken
		w.at = w.logEvent()
	}
	wire := len(row)
	after, err := w.st.plan.resultRow(w.b.Copy(row), &w.b.Arena)
	if err != nil {
		return fmt.Errorf("row %d: %w", w.tally.Rows()+1, err)
	}
	w.b.Add(replication.Change{Op: replication.OpRead, Table: w.st.plan.table, After: after, Tx: w.tx, Index: w.index, Log: w.at}, wire)
	w.index++
	w.tally.Row(wire)
	if w.b.Full() {
		select {
		case w.out <- w.b:
			w.b = nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// resultRow reads a row of the binary protocol: a bitmap of the NULLs, which
// begins at its third bit, then the values. They alias row.
func (p *plan) resultRow(row []byte, a *arena.Arena) ([]replication.Value, error) {
	c := cursor{B: row}
	values := a.Values(len(p.table.Columns))
	nulls := c.Bytes(uint64(len(values)+9) / 8)
	j := 0
	for i := range p.decoders {
		if p.decoders[i].skip {
			continue
		}
		if values[j] = replication.Null; !bit(nulls, j+2) && c.Err == nil {
			if values[j] = p.decoders[i].result(&c, a); c.Err != nil {
				return nil, fmt.Errorf("column %s: %w", p.table.Columns[j].Name, c.Err)
			}
		}
		j++
	}
	return values, c.Finish()
}

// drop gives back the batch in work.
func (w *snapshotWriter) drop() {
	if w.b != nil {
		w.b.Release()
		w.b = nil
	}
}

// explainRead tells a table that cannot be read from one that was altered.
func explainRead(t *TableConfig, err error) error {
	switch {
	case slices.Contains([]uint16{codeTableDenied, codeColumnDenied}, errorCode(err)):
		return refuse(fmt.Sprintf("table %s cannot be read", t), "GRANT SELECT ON "+quoteTable(t.Schema, t.Name)+" TO …", err)
	case errorCode(err) == codeTableChanged, errorCode(err) == codeNoSuchTable:
		return fmt.Errorf("%w: %w", errTableChanged, err)
	}
	return fmt.Errorf("snapshot table %s: %w", t, err)
}
