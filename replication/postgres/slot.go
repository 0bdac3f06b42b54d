package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"

	"cdc/replication"
)

// slotInfo is a replication slot as it stands on the server.
type slotInfo struct {
	Name      string
	Plugin    string // "" of a physical slot
	Database  string
	Temporary bool
	ActivePID int32         // 0 when nobody uses it
	Confirmed pglogrepl.LSN // confirmed_flush_lsn: START_REPLICATION never begins before it
	Retained  int64         // bytes of log that the server keeps because of it
	WALStatus string        // reserved, extended, unreserved, lost
	Invalid   string        // why it is invalidated, if it is and the server tells
	Failover  bool          // standbys copy it
	Synced    bool          // it is such a copy
	TwoPhase  bool          // prepared transactions are sent when they are prepared
	// Sent is how many transactions were decoded for readers of the slot. The
	// server forgets it in a crash.
	Sent int64
}

// readSlot returns the slot of that name, or nil.
func readSlot(ctx context.Context, conn *pgx.Conn, name string) (*slotInfo, error) {
	s := &slotInfo{Name: name}
	var confirmed string
	// conflicting came with PostgreSQL 16, invalidation_reason, failover and
	// synced with 17.
	err := conn.QueryRow(ctx, `
SELECT coalesce(s.plugin::text, ''), coalesce(s.database::text, ''), s.temporary, coalesce(s.active_pid, 0),
       coalesce(s.confirmed_flush_lsn::text, '0/0'), coalesce(s.wal_status, ''),
       coalesce(to_jsonb(s) ->> 'invalidation_reason',
                CASE WHEN to_jsonb(s) ->> 'conflicting' = 'true' THEN 'conflict with recovery' END, ''),
       coalesce(pg_catalog.pg_wal_lsn_diff(
         CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
              ELSE pg_catalog.pg_current_wal_lsn() END, s.restart_lsn), 0)::bigint,
       coalesce((SELECT n.total_txns FROM pg_catalog.pg_stat_replication_slots n WHERE n.slot_name = s.slot_name), 0),
       coalesce(to_jsonb(s) ->> 'failover' = 'true', false), coalesce(to_jsonb(s) ->> 'synced' = 'true', false), s.two_phase
  FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = $1::text`, name).
		Scan(&s.Plugin, &s.Database, &s.Temporary, &s.ActivePID, &confirmed, &s.WALStatus, &s.Invalid, &s.Retained, &s.Sent,
			&s.Failover, &s.Synced, &s.TwoPhase)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up slot %q: %w", name, err)
	}
	s.Confirmed, err = pglogrepl.ParseLSN(confirmed)
	return s, err
}

const pgoutput = "pgoutput"

// again is the remedy where changes are missing.
const again = "run cdc drop, then start again: a new snapshot repairs what is missing " +
	"(rows that were deleted meanwhile are not noticed by a snapshot)"

// refuseSlot returns what forbids to stream from the slot in that database,
// from a checkpoint at from (0 when there is none), or nil. That the slot is in
// use is not looked at.
func refuseSlot(s *slotInfo, name, database string, from pglogrepl.LSN) *replication.Refusal {
	drop := "SELECT pg_drop_replication_slot(" + replication.QuoteLiteral(name) + ")"
	switch {
	case s == nil && from != 0:
		return &replication.Refusal{
			Problem: fmt.Sprintf("slot %q does not exist, but there is a checkpoint at %s: the changes since then are missing", name, from),
			Remedy:  again,
		}
	case s == nil:
		return nil
	case s.Plugin == "":
		return &replication.Refusal{
			Problem: fmt.Sprintf("slot %q is a physical one, of a standby or a backup", name),
			Remedy:  "configure another slot name",
		}
	case s.Plugin != pgoutput:
		return &replication.Refusal{
			Problem: fmt.Sprintf("slot %q is one of the plugin %s, not of pgoutput", name, s.Plugin),
			Remedy:  "configure another slot name, or drop it when nobody needs it: " + drop,
		}
	case s.Database != database:
		return &replication.Refusal{
			Problem: fmt.Sprintf("slot %q belongs to database %q, not to %q", name, s.Database, database),
			Remedy:  "configure another slot name, or drop it when nobody needs it: " + drop,
		}
	case s.TwoPhase:
		return &replication.Refusal{
			Problem: fmt.Sprintf("slot %q was made with two_phase: it sends transactions when they are prepared, which may still be rolled back", name),
			Remedy:  "configure another slot name, or drop it when nobody needs it: " + drop,
		}
	case s.WALStatus == "lost" || s.Invalid != "":
		why := s.Invalid
		if why == "" {
			why = "the server removed log that it needed (max_slot_wal_keep_size)"
		}
		return &replication.Refusal{
			Problem: fmt.Sprintf("slot %q is lost: %s; the changes since %s are missing", name, why, s.Confirmed),
			Remedy:  again + "; raise max_slot_wal_keep_size so that it does not happen again",
		}
	case from != 0 && s.Confirmed > from:
		return &replication.Refusal{
			Problem: fmt.Sprintf("slot %q is ahead of the checkpoint: the slot begins at %s, the checkpoint is at %s; %d bytes of log are missing",
				name, s.Confirmed, from, uint64(s.Confirmed-from)),
			Remedy: again + "; find out who else read from the slot",
		}
	}
	return nil
}

// refuseBeyond says that the server's log ends at end, before from.
func refuseBeyond(from, end pglogrepl.LSN) *replication.Refusal {
	return &replication.Refusal{
		Problem: fmt.Sprintf("the checkpoint %s lies beyond the end of the server's log %s: this is another server, or a standby that took over without the end of the log, or one restored from a backup", from, end),
		Remedy:  "point the URL at the right server, or run cdc drop and start again with a new snapshot",
	}
}

// refuseActive says that the slot is in use.
func refuseActive(s *slotInfo) *replication.Refusal {
	return &replication.Refusal{
		Problem: fmt.Sprintf("slot %q is in use by the server process with pid %d", s.Name, s.ActivePID),
		Remedy: fmt.Sprintf("stop the other reader (SELECT application_name, client_addr, backend_start FROM pg_stat_replication WHERE pid = %d), "+
			"or end its connection: SELECT pg_terminate_backend(%d); or configure another slot name", s.ActivePID, s.ActivePID),
	}
}

func (i *inspection) inspectSlot(ctx context.Context, cat *catalog) error {
	err := cat.s.do(ctx, func(conn *pgx.Conn) (err error) {
		i.slot, err = readSlot(ctx, conn, i.cfg.Slot)
		return err
	})
	if err != nil {
		return err
	}
	subject := fmt.Sprintf("slot %q", i.cfg.Slot)
	i.judgeFailover(subject)
	var from pglogrepl.LSN
	if i.from != nil {
		from = i.from.LSN
		if end := i.server.End; end != 0 && from > end {
			r := refuseBeyond(from, end)
			i.add(replication.LevelError, subject, r.Problem, r.Remedy)
			return nil
		}
	}
	if r := refuseSlot(i.slot, i.cfg.Slot, i.server.Database, from); r != nil {
		i.add(replication.LevelError, subject, r.Problem, r.Remedy)
		return nil //nolint:nilerr // a refusal is a finding
	}
	s := i.slot
	if s != nil && s.Synced && i.server.Recovery {
		i.add(replication.LevelError, subject, fmt.Sprintf("slot %q %v", s.Name, errStandby),
			"promote the server, or name several hosts and target_session_attrs=read-write in the URL so that the primary is found")
		return nil
	}
	if s == nil {
		i.ok(subject, "does not exist yet: it will be made")
		return nil
	}
	if s.ActivePID != 0 {
		r := refuseActive(s)
		i.add(replication.LevelError, subject, r.Problem, r.Remedy)
		return nil
	}
	if i.from == nil && i.cfg.FromUnknown {
		i.add(replication.LevelWarning, subject, fmt.Sprintf("slot %q keeps %s of log; whether that is what the checkpoint of %q needs is not known, because the checkpoint could not be read", s.Name, bytesText(s.Retained), i.cfg.Name), "mend what Kafka's findings say, and check again")
		return nil
	}
	if i.from == nil && s.Sent > 0 {
		// Whoever read from it has a checkpoint somewhere, and would miss what we
		// acknowledge. Our own first start saves one before it reads anything.
		i.add(replication.LevelError, subject, fmt.Sprintf("slot %q was read from before (%d transactions), but there is no checkpoint of %q: it serves another capture, or its checkpoint is in another Kafka cluster or topic, or is lost",
			s.Name, s.Sent, i.cfg.Name),
			"point the configuration at the Kafka cluster and topic with the checkpoint, or choose another slot name; "+
				"if nobody needs the slot any more, run cdc drop, then start again: everything is read again (rows that were deleted meanwhile are not noticed by a snapshot)")
		return nil
	}
	state := fmt.Sprintf("slot %q keeps %s of log", s.Name, bytesText(s.Retained))
	if i.server.MaxSlotKeep == "-1" || i.server.MaxSlotKeep == "" {
		state += ", without a limit (max_slot_wal_keep_size = -1)"
	} else {
		state += ", at most max_slot_wal_keep_size = " + i.server.MaxSlotKeep
	}
	state += "; wal_sender_timeout = " + i.server.SenderTimeout
	if s.WALStatus == "unreserved" {
		i.add(replication.LevelWarning, subject, state+": it is about to be lost", "ALTER SYSTEM SET max_slot_wal_keep_size = -1, then SELECT pg_reload_conf(), and let the capture catch up")
		return nil
	}
	i.ok(subject, "%s", state)
	return nil
}

// bytesText prints a size for people: 3.2 GiB.
func bytesText(n int64) string {
	const units = "KMGTP"
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	f, u := float64(n)/1024, 0
	for f >= 1024 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[u])
}
