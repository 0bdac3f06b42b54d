package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cdc/replication"
	"cdc/replication/arena"
)

// Toast says what becomes of values that an UPDATE leaves out of the log:
// binlog_row_image = MINIMAL or NOBLOB.
type Toast string

// The policies. The empty one is ToastRefetch.
const (
	// ToastRefetch reads the row again, and lists what it read in
	// Change.Refetched. The values of a row that is gone, or whose table is another
	// one by now, stay Unchanged.
	ToastRefetch Toast = "refetch"
	// ToastOmit leaves what may be large Unchanged, unless the row is new or was
	// given another key: then it is read again as by ToastRefetch.
	ToastOmit Toast = "omit"
	// ToastFail leaves everything Unchanged.
	ToastFail Toast = "fail"
)

// lack says what the log leaves out of a row.
type lack uint8

const (
	lacksNothing lack = iota
	lacksOld          // what an update did not touch
	lacksNew          // values of a row under a key that it did not have before
)

// missing reports whether what the log leaves out of a row is to be read again.
func (p *plan) missing(l lack, row []replication.Value) bool {
	switch {
	case l == lacksNothing || p.toast == ToastFail:
		return false
	case l == lacksNew || p.toast != ToastOmit:
		return true
	}
	for i := range row {
		if c := &p.table.Columns[i]; row[i].IsUnchanged() && c.NotNull && !mayBeLarge(c.Kind) {
			return true
		}
	}
	return false
}

// mayBeLarge reports whether a value has no fixed size: records have a place for
// one that is left out.
func mayBeLarge(k replication.Kind) bool {
	switch k {
	case replication.KindString, replication.KindBytes, replication.KindJSON, replication.KindDecimal, replication.KindArray:
		return true
	default:
		return false
	}
}

// refuseRefetch refuses a row that cannot be found in its table. Of an update
// under the same key what is left out can stay Unchanged.
func (p *plan) refuseRefetch(l lack, row []replication.Value) error {
	if l != lacksNew || p.canFind(row) {
		return nil
	}
	for i := range row {
		if row[i].IsUnchanged() {
			return refuse(fmt.Sprintf("table %s: the log leaves column %s out of a row that is new or has another key, and without a primary key it cannot be read from the table", p.table, p.table.Columns[i].Name), fullImage, nil)
		}
	}
	return nil
}

// refuseLost refuses a new row of a table of which nothing but inserts matters,
// when what the log left out of it is gone.
func (p *plan) refuseLost(c *replication.Change) error {
	if !p.inserts || c.Op != replication.OpInsert {
		return nil
	}
	for i := range c.After {
		if c.After[i].IsUnchanged() {
			return refuse(fmt.Sprintf("table %s: the log leaves column %s out of a new row, and the row is gone", p.table, p.table.Columns[i].Name), fullImage, nil)
		}
	}
	return nil
}

// fullImage is the remedy for rows that are not in the log as a whole.
const fullImage = "SET GLOBAL binlog_row_image = FULL (and in the server's configuration file; open sessions keep theirs until they reconnect); then begin again with a new snapshot: cdc drop"

// canFind reports whether a row's key can be written in SQL.
func (p *plan) canFind(row []replication.Value) bool {
	_, ok := p.condition(nil, row)
	return ok
}

// condition appends the SQL that is true of a row, by its primary key.
func (p *plan) condition(out []byte, row []replication.Value) ([]byte, bool) {
	for n, i := range p.table.Key {
		if n > 0 {
			out = append(out, " AND "...)
		}
		out = append(append(out, quoteName(p.table.Columns[i].Name)...), '=')
		var ok bool
		if out, ok = appendConstant(out, row[i]); !ok {
			return out, false
		}
	}
	return out, len(p.table.Key) > 0
}

// appendConstant appends a value as a constant of a session in UTC.
func appendConstant(out []byte, v replication.Value) ([]byte, bool) {
	switch v.Kind() {
	case replication.KindBool:
		if v.Bool() {
			return append(out, '1'), true
		}
		return append(out, '0'), true
	case replication.KindInt:
		return strconv.AppendInt(out, v.Int(), 10), true
	case replication.KindUint:
		return strconv.AppendUint(out, v.Uint(), 10), true
	case replication.KindDecimal:
		return append(out, v.Bytes()...), true
	case replication.KindString:
		return append(out, sqlString(string(v.Bytes()))...), true
	case replication.KindBytes:
		return fmt.Appendf(out, "x'%x'", v.Bytes()), true
	case replication.KindUUID:
		b := v.Bytes()
		return fmt.Appendf(out, "'%x-%x-%x-%x-%x'", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), true
	case replication.KindDate:
		return time.Unix(v.Int()*86400, 0).UTC().AppendFormat(out, "'2006-01-02'"), true
	case replication.KindTimestamp, replication.KindTimestampTZ:
		return time.UnixMicro(v.Int()).UTC().AppendFormat(out, "'2006-01-02 15:04:05.000000'"), true
	default:
		return out, false
	}
}

// refetcher reads what the log left out of rows, from the server that sends the
// log. One goroutine owns it.
type refetcher struct {
	cfg     *Config
	host    string
	conn    *conn // nil until it is needed, and after an error
	packets *packets
	visible txID            // a transaction that is known to be visible
	warned  map[string]bool // tables
}

// maxRefetch is how many rows one query asks for.
const maxRefetch = 64

// use prepares for the log of another connection.
func (r *refetcher) use(host string) {
	r.close()
	r.host, r.visible = host, txID{}
}

func (r *refetcher) close() {
	if r.conn != nil {
		r.conn.end()
		r.conn = nil
	}
}

// fill reads the values of rows, all of the plan's table and of one transaction,
// that are Unchanged: as they are when the transaction is visible, or later. A
// change that set them since is still to come in the log.
func (r *refetcher) fill(ctx context.Context, sh *shapes, p *plan, id *txID, rows []*replication.Change, a *arena.Arena) error {
	err := r.tryFill(ctx, sh, p, id, rows, a)
	if err == nil || errorCode(err) != 0 && (r.conn == nil || !slices.Contains([]uint16{codeUnknownColumn, codeNoSuchTable}, errorCode(err))) {
		return err
	}
	switch {
	case errors.Is(err, errTableChanged), errorCode(err) != 0:
		if name := p.table.String(); !r.warned[name] {
			r.warned[name] = true
			r.cfg.Logger.Warn("values that the log left out stay unknown: the table has changed since", "table", name, "error", err)
		}
		return nil
	}
	return err
}

func (r *refetcher) tryFill(ctx context.Context, sh *shapes, p *plan, id *txID, rows []*replication.Change, a *arena.Arena) (err error) {
	if r.conn == nil {
		if r.conn, err = r.cfg.connectTo(ctx, r.host); err != nil {
			return err
		}
		r.packets = newPackets(r.conn, queryTimeout)
		if _, err := r.conn.query(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"); err != nil {
			return err
		}
	}
	defer func() {
		if err != nil && errorCode(err) == 0 && !errors.Is(err, errTableChanged) {
			r.conn.Close()
			r.conn = nil
		}
	}()
	if err := r.await(ctx, id); err != nil {
		return fmt.Errorf("wait until a transaction is visible: %w", err)
	}
	var holes []int
	for i := range p.table.Columns {
		if slices.ContainsFunc(rows, func(c *replication.Change) bool { return c.After[i].IsUnchanged() }) {
			holes = append(holes, i)
		}
	}
	sql := r.sql(p, holes, rows, id.form == placeFile)
	err = r.conn.within(ctx, queryTimeout, func() error { return r.read(ctx, sh, p, sql, holes, rows, a) })
	if err != nil {
		return fmt.Errorf("read values of table %s that the log left out: %w", p.table, err)
	}
	return nil
}

// sql is the query for rows: their numbers among rows, then the holes. Where the
// server cannot say what is visible, locks wait for what is about to be.
func (r *refetcher) sql(p *plan, holes []int, rows []*replication.Change, lock bool) string {
	var numbers, where, one []byte
	for n, c := range rows {
		one, _ = p.condition(one[:0], c.After)
		numbers = fmt.Appendf(numbers, " WHEN %s THEN '%d'", one, n)
		if n > 0 {
			where = append(where, " OR "...)
		}
		where = append(append(append(where, '('), one...), ')')
	}
	var b strings.Builder
	fmt.Fprintf(&b, "SELECT CASE%s END", numbers)
	for _, i := range holes {
		b.WriteString(", " + quoteName(p.table.Columns[i].Name))
	}
	fmt.Fprintf(&b, " FROM %s WHERE %s", quoteTable(p.table.Schema, p.table.Name), where)
	if lock {
		b.WriteString(" LOCK IN SHARE MODE")
	}
	return b.String()
}

// read runs the query and fills the rows that it finds. Rows of one key come
// once, for the first.
func (r *refetcher) read(ctx context.Context, sh *shapes, p *plan, sql string, holes []int, rows []*replication.Change, a *arena.Arena) error {
	st, err := executeStatement(r.conn, r.packets, sql)
	if err != nil {
		return err
	}
	decoders := p.decodersOf(holes)
	found := make([][]replication.Value, len(rows))
	for {
		b, err := answer(r.packets)
		if err != nil {
			return err
		}
		if b[0] == 0xfe {
			break
		}
		c := cursor{B: a.Copy(b[1:])}
		nulls := c.Bytes(uint64(1+len(holes)+9) / 8)
		n, err := strconv.Atoi(string(c.PackedBytes()))
		if err != nil || n >= len(rows) {
			return fmt.Errorf("a row says that it is number %d of %d", n, len(rows))
		}
		found[n] = a.Values(len(holes))
		for k, d := range decoders {
			if found[n][k] = replication.Null; !bit(nulls, 2+1+k) && c.Err == nil {
				found[n][k] = d.result(&c, a)
			}
		}
		if err := c.Finish(); err != nil {
			return err
		}
	}
	if err := closeStatement(r.conn, st.id); err != nil {
		return err
	}
	if err := r.verify(ctx, sh, p, holes); err != nil {
		return err
	}
	for n, c := range rows {
		values := found[n]
		if first := slices.IndexFunc(rows[:n], func(o *replication.Change) bool { return sameKey(p, c, o) }); first >= 0 {
			values = found[first]
		}
		if values == nil {
			continue // it is gone, which the log says later
		}
		for k, i := range holes {
			if c.After[i].IsUnchanged() {
				c.After[i] = values[k]
				c.Refetched = append(c.Refetched, int32(i))
			}
		}
	}
	return nil
}

func sameKey(p *plan, a, b *replication.Change) bool {
	return !slices.ContainsFunc(p.table.Key, func(i int) bool { return !a.After[i].Equal(b.After[i]) })
}

// decodersOf returns the decoders of some of the table's columns.
func (p *plan) decodersOf(columns []int) (out []*decoder) {
	j := 0
	for i := range p.decoders {
		if p.decoders[i].skip {
			continue
		}
		if slices.Contains(columns, j) {
			out = append(out, &p.decoders[i])
		}
		j++
	}
	return out
}

// verify looks, after each answer, whether the columns are those that the log
// had: a table that was altered since has others, or the same names in another
// order where they were swapped.
func (r *refetcher) verify(ctx context.Context, sh *shapes, p *plan, columns []int) error {
	t, err := sh.charsets.readTable(ctx, r.conn, r.cfg.Flavor, p.table.Schema, p.table.Name)
	if err != nil {
		return err
	}
	if t == nil {
		return errTableChanged
	}
	now, err := sh.describe(t)
	if err != nil {
		return err
	}
	last := -1
	for i, then := range p.table.Columns {
		k := now.Column(then.Name)
		if k <= last || slices.Contains(columns, i) && (now.Columns[k].Kind != then.Kind || now.Columns[k].TypeName != then.TypeName) {
			return fmt.Errorf("%w: column %s", errTableChanged, then.Name)
		}
		last = k
	}
	return nil
}

// await returns when a transaction of the log is visible: the server sends it a
// moment before. Of a file and an offset it cannot be asked.
func (r *refetcher) await(ctx context.Context, id *txID) error {
	if sameTx(&r.visible, id) || id.form == placeFile {
		return nil
	}
	for deadline := time.Now().Add(queryTimeout); ; {
		there, err := r.seen(ctx, id)
		if err != nil {
			return err
		}
		if there {
			r.visible = *id
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not, after %s: %w", id.append(nil), queryTimeout, context.DeadlineExceeded)
		}
	}
}

// seen asks once, and lets the server wait a little.
func (r *refetcher) seen(ctx context.Context, id *txID) (bool, error) {
	if id.form == placeGTID {
		rows, err := r.conn.query(ctx, "SELECT WAIT_FOR_EXECUTED_GTID_SET("+sqlString(string(id.append(nil)))+", 1)")
		return err == nil && rows[0][0].text == "0", err
	}
	s := snapshot{conn: r.conn}
	if err := s.beginMaria(ctx); err != nil {
		return false, err
	}
	if _, err := r.conn.query(ctx, "COMMIT"); err != nil {
		return false, err
	}
	if s.point.has(id) {
		return true, nil
	}
	select {
	case <-time.After(5 * time.Millisecond):
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}
