package mysql

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"cdc/replication"
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
