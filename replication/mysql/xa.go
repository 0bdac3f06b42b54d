package mysql

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	gorepl "github.com/go-mysql-org/go-mysql/replication"

	"cdc/replication"
)

// prepared is a distributed (XA) transaction that has changed captured tables
// and is not decided yet. The log has its rows when it is prepared; they are
// published when it commits, as changes of the transaction that says so, which
// may be much later. They stay in the log meanwhile, and are read there again:
// what a position carries is where they are. MySQL manual, "XA Transactions";
// MariaDB's documentation, "XA Transactions".
type prepared struct {
	xid  string // see xidText
	tx   string // the transaction that prepares it, see txID.append
	from string // MariaDB: the place before that
}

// unknownXA stands among the prepared ones where it could not be seen whether
// there were some when the capture began.
const unknownXA = "?"

// preparedText renders a list for a position.
func preparedText(list []prepared) string {
	var texts []string
	for _, x := range list {
		texts = append(texts, strings.TrimRight(x.xid+" "+x.tx+" "+x.from, " "))
	}
	return strings.Join(texts, ";")
}

// parsePrepared is the inverse of preparedText.
func parsePrepared(text string) (list []prepared, err error) {
	for one := range strings.SplitSeq(text, ";") {
		f := append(strings.SplitN(one, " ", 3), "", "")
		if _, ok := xidText(f[0]); !ok && f[0] != unknownXA {
			return nil, fmt.Errorf("read prepared transactions: %q is none", one)
		}
		list = append(list, prepared{xid: f[0], tx: f[1], from: f[2]})
	}
	return list, nil
}

// xidText returns what names a distributed transaction, of the text that the
// servers log: X'gtrid',X'bqual',format.
func xidText(text string) (string, bool) {
	f := strings.Split(strings.TrimSpace(text), ",")
	if len(f) != 3 {
		return "", false
	}
	for _, part := range f[:2] {
		digits, ok := strings.CutPrefix(strings.ToUpper(part), "X'")
		digits, closed := strings.CutSuffix(digits, "'")
		if _, err := hex.DecodeString(digits); !ok || !closed || err != nil {
			return "", false
		}
	}
	if _, err := strconv.ParseInt(f[2], 10, 64); err != nil {
		return "", false
	}
	return strings.ToLower(f[0] + "," + f[1] + "," + f[2]), true
}

// readPrepare reads an XA_PREPARE event: MySQL source, "XA_prepare_event".
func readPrepare(body []byte) (xid string, onePhase bool, err error) {
	c := cursor{B: body}
	onePhase = c.U8() != 0
	format, global, branch := int32(c.LE32()), c.LE32(), c.LE32()
	gtrid, bqual := c.Bytes(uint64(global)), c.Bytes(uint64(branch))
	return fmt.Sprintf("x'%x',x'%x',%d", gtrid, bqual, format), onePhase, c.Err
}

// What is kept of prepared transactions in memory, so that most need not be read
// again: bytes of one, and of all.
const (
	maxKeptGroup = 1 << 20
	maxKept      = 16 << 20
)

// keptEvent is an event of a prepared transaction: a table map or rows.
type keptEvent struct {
	kind gorepl.EventType
	body []byte
}

// group is what a prepared transaction did to captured tables.
type group struct {
	events []keptEvent
	bytes  int
	cut    bool // it is larger than what is kept
}

// xaRows keeps an event of a transaction that is going to be prepared, if it is
// of a captured table. It reports whether the event was of this kind.
func (r *reader) xaRows(ctx context.Context, h header, body []byte) (done bool, err error) {
	switch {
	case h.kind == gorepl.TABLE_MAP_EVENT:
		if err := r.tableMap(ctx, body); err != nil {
			return true, err
		}
	case !isRows(h.kind):
		return false, nil
	}
	c := cursor{B: body}
	t := r.tables[c.LE(6)]
	if t == nil || t.plan == nil {
		return true, c.Err
	}
	if h.kind != gorepl.TABLE_MAP_EVENT {
		r.tx.captured = t.plan.table
	}
	g := &r.group
	if g.bytes += len(body); g.bytes > maxKeptGroup {
		*g = group{cut: true, bytes: g.bytes}
	}
	if !g.cut {
		g.events = append(g.events, keptEvent{h.kind, slices.Clone(body)})
	}
	return true, nil
}

// isRows reports whether events of a kind hold rows.
func isRows(kind gorepl.EventType) bool {
	switch kind {
	case gorepl.WRITE_ROWS_EVENTv1, gorepl.UPDATE_ROWS_EVENTv1, gorepl.DELETE_ROWS_EVENTv1,
		gorepl.WRITE_ROWS_EVENTv2, gorepl.UPDATE_ROWS_EVENTv2, gorepl.DELETE_ROWS_EVENTv2, gorepl.PARTIAL_UPDATE_ROWS_EVENT,
		gorepl.MARIADB_WRITE_ROWS_COMPRESSED_EVENT_V1, gorepl.MARIADB_UPDATE_ROWS_COMPRESSED_EVENT_V1, gorepl.MARIADB_DELETE_ROWS_COMPRESSED_EVENT_V1:
		return true
	default:
		return false
	}
}

// xaPrepared ends a transaction that is prepared, or that commits in one phase.
func (r *reader) xaPrepared(ctx context.Context, body []byte) error {
	xid, onePhase, err := readPrepare(body)
	if err != nil {
		return fmt.Errorf("read prepared transaction: %w", err)
	}
	if !r.tx.open || r.tx.captured == nil {
		r.passed(xid)
		return r.commit()
	}
	x := prepared{xid: xid, tx: string(r.tx.id.append(nil))}
	if r.done.form == placeMaria {
		x.from = r.done.String()
	}
	g := r.group
	r.group = group{}
	if onePhase {
		if err := r.replay(ctx, &x, &g); err != nil {
			return err
		}
		return r.commit()
	}
	r.tx.captured = nil
	r.undecided = append(r.undecidedWithout(xid), x)
	if !g.cut && r.keptBytes+g.bytes <= maxKept {
		r.kept[xid] = g
		r.keptBytes += g.bytes
	}
	return r.commit()
}

// passed notes a prepared transaction that changed no captured table, where that
// matters later.
func (r *reader) passed(xid string) {
	if r.isPrepared(unknownXA) != nil {
		r.others[xid] = true
	}
}

// xaDecided publishes the rows of a prepared transaction that commits, and
// forgets those of one that is rolled back. text is what stands behind XA COMMIT
// or XA ROLLBACK.
func (r *reader) xaDecided(ctx context.Context, text string, commits bool) error {
	xid, ok := xidText(text)
	if !ok {
		return fmt.Errorf("read XA statement: %q names no transaction", clip(text, 200))
	}
	if x := r.isPrepared(xid); x != nil && commits {
		g, ok := r.kept[xid]
		if !ok {
			g.cut = true
		}
		if err := r.replay(ctx, x, &g); err != nil {
			return err
		}
	} else if x == nil && commits && !r.others[xid] && r.isPrepared(unknownXA) != nil {
		return refuse("a distributed (XA) transaction commits that was prepared before the capture began; what it changed cannot be told",
			"let the user of the URL see such transactions, GRANT XA_RECOVER_ADMIN ON *.* TO "+r.cfg.userSQL()+", then begin again with a new snapshot: cdc drop", nil)
	}
	r.keptBytes -= r.kept[xid].bytes
	delete(r.kept, xid)
	delete(r.others, xid)
	r.undecided = r.undecidedWithout(xid)
	return r.commit()
}

// isPrepared returns an undecided transaction, or nil.
func (r *reader) isPrepared(xid string) *prepared {
	for i := range r.undecided {
		if r.undecided[i].xid == xid {
			return &r.undecided[i]
		}
	}
	return nil
}

// undecidedWithout returns the list without one, in memory of its own: places
// hold the list, too.
func (r *reader) undecidedWithout(xid string) []prepared {
	return slices.DeleteFunc(slices.Clone(r.undecided), func(x prepared) bool { return x.xid == xid })
}

// replay puts the rows of a prepared transaction into batches, as changes of the
// transaction at hand.
func (r *reader) replay(ctx context.Context, x *prepared, g *group) error {
	r.tx.xa, r.tx.replay, r.tx.captured = false, true, nil
	// What is skipped depends on the transaction that commits.
	r.serial++
	r.tx.serial = r.serial
	clear(r.tables)
	defer clear(r.tables)
	if !g.cut {
		for _, e := range g.events {
			if err := r.dispatch(ctx, header{kind: e.kind}, e.body, 0, true); err != nil {
				return err
			}
		}
		return nil
	}
	if err := r.readAgain(ctx, x); err != nil {
		return fmt.Errorf("read the rows of the prepared transaction %s: %w", x.tx, err)
	}
	return nil
}

// refuseXA: rows that were kept, and nothing that said what becomes of them.
func (r *reader) refuseXA(t *replication.Table) error {
	return refuse(fmt.Sprintf("table %s was changed by a distributed (XA) transaction of a kind that is not known", t),
		"let no application use XA on captured tables, then begin again with a new snapshot: cdc drop", nil)
}

// awaitPrepared waits until all distributed transactions are decided that are
// prepared now: the log that is read has only what they become. unknown says
// that the user may not see them.
func (c *Config) awaitPrepared(ctx context.Context, from asker) (unknown bool, err error) {
	var first []string
	for deadline := time.Now().Add(c.IDWait); ; {
		rows, err := from.query(ctx, "XA RECOVER")
		if errorCode(err) != 0 {
			c.Logger.Warn("prepared distributed (XA) transactions cannot be seen; when one commits that may have been prepared before, the capture stops",
				"error", err, "remedy", "GRANT XA_RECOVER_ADMIN ON *.* TO "+c.userSQL())
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("look for prepared transactions: %w", err)
		}
		var now []string
		for _, r := range rows {
			now = append(now, fmt.Sprintf("%q (format %s, %s and %s bytes)", r[3].text, r[0].text, r[1].text, r[2].text))
		}
		if first == nil {
			first = now
		}
		left := slices.DeleteFunc(slices.Clone(first), func(x string) bool { return !slices.Contains(now, x) })
		if len(left) == 0 {
			return false, nil
		}
		if time.Now().After(deadline) {
			return false, refuse("distributed (XA) transactions are prepared and not decided, whose changes would be missing: "+strings.Join(left, ", "),
				"end each with XA COMMIT or XA ROLLBACK (XA RECOVER lists them)", nil)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

var errNoGroup = errors.New("the log ended before it")
