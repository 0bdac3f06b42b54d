package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"cdc/replication"
)

// start says where the source begins: with a snapshot, if there is one, then
// the stream from pos.
type start struct {
	pos  position  // to stream from, as it holds once snap is read
	snap *snapshot // nil when no table has to be read; owned by who gets the start
	// announce says that pos is new and should be saved before anything happens.
	announce bool
	// opening is what holds before the first row of a first snapshot, nil of
	// others: a position without its tables, so that from then on a slot without a
	// checkpoint is somebody else's. One that says up to where tables are read must
	// be saved before any row is handed out.
	opening  *position
	captured map[uint32]replication.TableName // the configured tables by OID
}

// maxSnapshotAttempts bounds how often a snapshot is taken anew because
// somebody alters its tables.
const maxSnapshotAttempts = 10

// setUp verifies everything, makes or mends publication and slot, and prepares
// the snapshot of the tables that need one. It may be called again after a
// snapshot that broke off: it then takes a new one.
func setUp(ctx context.Context, cfg *Config, cat *catalog) (*start, error) {
	for attempt := 1; ; attempt++ {
		st, err := setUpOnce(ctx, cfg, cat)
		if !errors.Is(err, errTableChanged) || attempt == maxSnapshotAttempts {
			return st, err
		}
		cfg.Logger.Warn("a table changed while its snapshot was prepared, taking another one", "attempt", attempt)
	}
}

func setUpOnce(ctx context.Context, cfg *Config, cat *catalog) (*start, error) {
	insp, err := inspectIdle(ctx, cfg, cat)
	if err != nil {
		return nil, err
	}
	if err := insp.refusal(); err != nil {
		return nil, insp.explain(ctx, err)
	}
	for _, f := range insp.findings {
		if f.Level == replication.LevelWarning {
			cfg.Logger.Warn(f.Problem, "remedy", f.Remedy)
		}
	}
	// The role's right to replicate shows here, before anything is made.
	repl, err := cfg.connectReplication(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer closeSoon(context.WithoutCancel(ctx), repl)
	if err := insp.identify(ctx, repl); err != nil {
		return nil, err
	}
	if err := insp.makeFailover(ctx, repl); err != nil {
		return nil, err
	}

	conn, err := cat.s.open(ctx)
	if err != nil {
		return nil, err
	}
	unpublished := insp.unpublished()
	if err := insp.publish(ctx, conn); err != nil {
		return nil, err
	}
	pending := insp.pending()
	todo := make([]*tableState, len(pending))
	for n, i := range pending {
		todo[n] = &insp.tables[i]
	}
	var st *start
	if insp.from != nil {
		st, err = insp.resume(ctx, cat, repl, todo, unpublished)
	} else {
		st, err = insp.begin(ctx, cat, repl, todo)
	}
	if err != nil {
		return nil, err
	}
	st.captured = map[uint32]replication.TableName{}
	for n := range insp.tables {
		t := &insp.tables[n]
		st.captured[t.info.OID] = replication.TableName{Schema: t.Schema, Name: t.Name}
		st.pos.knows(t)
		if st.opening != nil {
			st.opening.knows(t)
		}
	}
	return st, nil
}

// begin starts without a checkpoint.
func (i *inspection) begin(ctx context.Context, cat *catalog, repl *pgconn.PgConn, todo []*tableState) (*start, error) {
	cfg := i.cfg
	if i.slot != nil && len(todo) == 0 {
		return &start{pos: i.at(i.slot.Confirmed), announce: true}, nil
	}
	if i.slot != nil {
		// A snapshot that broke off may have published rows that are gone by now:
		// the slot still has their deletes. So it stays, everything is read again
		// as of now, and the stream begins at the slot with nothing skipped: its
		// changes end, for every row, in the state that the row has.
		cfg.Logger.Warn("the slot exists but no checkpoint does: an earlier snapshot did not come to its end; it starts again, and the changes since the slot was made follow it",
			"slot", cfg.Slot, "since", i.slot.Confirmed.String())
		st, err := i.readAgain(ctx, cat, repl, todo, i.at(i.slot.Confirmed), nil)
		if err == nil {
			st.open(i.at(i.slot.Confirmed))
		}
		return st, err
	}
	lsn, exported, err := createSlot(ctx, repl, cfg.Slot, slotOptions{export: len(todo) > 0, failover: i.failoverSlot(), version: i.server.Version})
	if err != nil {
		return nil, i.refuseCreate(cfg.Slot, err)
	}
	cfg.Logger.Info("made slot", "slot", cfg.Slot, "position", lsn.String())
	if len(todo) == 0 {
		return &start{pos: i.at(lsn), announce: true}, nil
	}
	snap, err := openSnapshot(ctx, cfg, cat, exported, lsn, todo)
	if err != nil {
		// Nobody will read from the slot soon: it must not hold the log back.
		if dropErr := dropSlot(context.WithoutCancel(ctx), repl, cfg.Slot); dropErr != nil {
			cfg.Logger.Warn("a slot that is not needed stays", "slot", cfg.Slot, "error", dropErr)
		}
		return nil, err
	}
	st := &start{pos: snap.completes(i.at(lsn), nil), snap: snap}
	st.open(i.at(lsn))
	return st, nil
}

// knows notes which table t is, if p has it.
func (p *position) knows(t *tableState) {
	name := tableKey(t.Schema, t.Name)
	if _, ok := p.Tables[name]; ok {
		if p.OIDs == nil {
			p.OIDs = map[string]uint32{}
		}
		p.OIDs[name] = t.info.OID
	}
}

// open says what holds before the first row is out: p, which knows nothing of
// the snapshot's tables but up to where those in order are read.
func (s *start) open(p position) {
	p.Upto = map[string]bound{}
	for i := range s.snap.tables {
		if t := &s.snap.tables[i]; t.upto != nil {
			p.Upto[tableKey(t.table.Schema, t.table.Name)] = *t.upto
		}
	}
	s.opening = &p
}

// resume starts from the checkpoint. Newly configured tables are read as of the
// consistent point of a temporary slot, which lies after they were published.
// Of those that were unpublished until now nobody has read anything before, so
// the changes that their snapshot has are skipped; the others may have been
// read by a snapshot that broke off, as in begin.
func (i *inspection) resume(ctx context.Context, cat *catalog, repl *pgconn.PgConn, todo, unpublished []*tableState) (*start, error) {
	cfg := i.cfg
	pos := i.at(i.from.LSN)
	pos.Tables = map[string]pglogrepl.LSN{}
	for _, t := range cfg.Tables { // forget those that are no longer captured
		name := tableKey(t.Schema, t.Name)
		if s, ok := i.from.Tables[name]; ok {
			pos.Tables[name] = s
		}
	}
	fresh := unpublished
	for _, t := range todo {
		if i.madeAnew(t) {
			delete(pos.Tables, tableKey(t.Schema, t.Name))
			fresh = append(fresh, t)
		}
		// All that came after it is in the log from pos on, if it is still the same
		// table, and was published all the while.
		if b, ok := i.from.Upto[tableKey(t.Schema, t.Name)]; ok && t.Ordered && b.OID == t.info.OID && !slices.Contains(fresh, t) &&
			(len(b.Key) == 0 || b.Columns == t.info.keyShape()) {
			t.upto = &b
		}
	}
	if len(todo) == 0 {
		return &start{pos: pos}, nil
	}
	st, err := i.readAgain(ctx, cat, repl, todo, pos, fresh)
	if err == nil {
		for n := range st.snap.tables {
			st.snap.tables[n].truncate = i.madeAnew(todo[n])
		}
		if slices.ContainsFunc(st.snap.tables, func(t snapshotTable) bool { return t.upto != nil }) {
			st.open(pos)
		}
	}
	return st, err
}

// readAgain prepares a snapshot as of now, beside a stream that begins at pos.
// Changes that the snapshot has are skipped for the tables in fresh only.
func (i *inspection) readAgain(ctx context.Context, cat *catalog, repl *pgconn.PgConn, todo []*tableState, pos position, fresh []*tableState) (*start, error) {
	cfg := i.cfg
	name := clip(cfg.Slot, 50) + fmt.Sprintf("_tmp_%d", repl.PID())
	lsn, exported, err := createSlot(ctx, repl, name, slotOptions{temporary: true, export: true, version: i.server.Version})
	if err != nil {
		return nil, i.refuseCreate(name, err)
	}
	snap, err := openSnapshot(ctx, cfg, cat, exported, lsn, todo)
	if err != nil {
		return nil, err
	}
	skipNothing := map[string]bool{}
	for _, t := range todo {
		if !slices.Contains(fresh, t) {
			skipNothing[tableKey(t.Schema, t.Name)] = true
		}
	}
	return &start{pos: snap.completes(pos, skipNothing), snap: snap}, nil
}

// completes returns p with the snapshot's tables in it: with the snapshot's
// point, or with p's own for those of which the stream shall skip nothing.
func (s *snapshot) completes(p position, skipNothing map[string]bool) position {
	tables := make(map[string]pglogrepl.LSN, len(p.Tables)+len(s.tables))
	maps.Copy(tables, p.Tables)
	for i := range s.tables {
		name := tableKey(s.tables[i].table.Schema, s.tables[i].table.Name)
		if tables[name] = s.lsn; skipNothing[name] {
			tables[name] = p.LSN
		}
	}
	return position{LSN: p.LSN, Timeline: p.Timeline, Tables: tables}
}

// slotPoll is how often a slot in use is looked at.
const slotPoll = 250 * time.Millisecond

// inspectIdle inspects, and waits up to SlotWait for a slot that is in use: the
// connection of a process that died lingers for a while.
func inspectIdle(ctx context.Context, cfg *Config, cat *catalog) (*inspection, error) {
	deadline := time.Now().Add(cfg.SlotWait)
	for told := false; ; {
		insp, err := inspect(ctx, cfg, cat)
		if err == nil && insp.slot != nil && insp.slot.ActivePID == 0 && cfg.Reload != nil && (told || len(insp.errors()) > 0) {
			// Whoever read from it is gone, so that what it saved last stands.
			from, err := cfg.Reload(ctx)
			if err != nil {
				return nil, fmt.Errorf("load the checkpoint again: %w", err)
			}
			if from != cfg.From {
				cfg.From = from
				continue
			}
		}
		if err != nil || insp.slot == nil || insp.slot.ActivePID == 0 || time.Now().After(deadline) {
			return insp, err
		}
		if len(insp.errors()) > 1 { // something that waiting does not mend
			return insp, nil
		}
		if !told {
			told = true
			cfg.Logger.Warn("slot is in use, waiting for it", "slot", cfg.Slot, "pid", insp.slot.ActivePID, "at_most", cfg.SlotWait)
		}
		select {
		case <-time.After(slotPoll):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (i *inspection) errors() (all []replication.Finding) {
	for _, f := range i.findings {
		if f.Level == replication.LevelError {
			all = append(all, f)
		}
	}
	return all
}

// slotOptions say what slot to make, on a server of which version.
type slotOptions struct {
	temporary, export, failover bool
	version                     int // server_version_num
}

// createSlot makes a logical slot over the replication protocol and returns its
// consistent point, and the name of the snapshot exported there, which lives
// until the next command on repl unless somebody took it over. The server waits
// for the transactions that are running.
func createSlot(ctx context.Context, repl *pgconn.PgConn, name string, o slotOptions) (pglogrepl.LSN, string, error) {
	sql := "CREATE_REPLICATION_SLOT " + replication.QuoteIdentifier(name)
	if o.temporary {
		sql += " TEMPORARY"
	}
	sql += " LOGICAL " + pgoutput
	switch {
	case o.version < 150000 && o.export:
		sql += " EXPORT_SNAPSHOT"
	case o.version < 150000:
		sql += " NOEXPORT_SNAPSHOT"
	case o.export:
		sql += " (SNAPSHOT 'export'"
	default:
		sql += " (SNAPSHOT 'nothing'"
	}
	if o.failover {
		sql += ", FAILOVER true"
	}
	if o.version >= 150000 {
		sql += ")"
	}
	result, err := pglogrepl.ParseCreateReplicationSlot(repl.Exec(ctx, sql))
	if err != nil {
		return 0, "", err
	}
	lsn, err := pglogrepl.ParseLSN(result.ConsistentPoint)
	if err != nil {
		return 0, "", err
	}
	return lsn, result.SnapshotName, nil
}

func dropSlot(ctx context.Context, repl *pgconn.PgConn, name string) error {
	if err := repl.Exec(ctx, "DROP_REPLICATION_SLOT "+replication.QuoteIdentifier(name)).Close(); err != nil {
		return fmt.Errorf("drop slot %q: %w", name, err)
	}
	return nil
}

// refuseCreate explains why a slot could not be made.
func (i *inspection) refuseCreate(name string, err error) error {
	refuse := func(problem, remedy string) error {
		return &replication.Refusal{Problem: problem, Remedy: remedy, Err: err}
	}
	switch sqlState(err) {
	case codeNoPrivilege:
		return refuse(fmt.Sprintf("role %q lacks the attribute REPLICATION", i.server.Role),
			"ALTER ROLE "+replication.QuoteIdentifier(i.server.Role)+" REPLICATION")
	case codeLimitExceeded:
		return refuse("no replication slot is free",
			fmt.Sprintf("ALTER SYSTEM SET max_replication_slots = %d, then restart the server", i.server.MaxSlots+4))
	}
	return fmt.Errorf("create slot %q: %w", name, err)
}
