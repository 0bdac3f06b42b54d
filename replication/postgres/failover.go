package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"cdc/replication"
)

// Failover says whether the slot is a failover slot: one that standbys with
// sync_replication_slots copy, so that reading goes on at the one that is
// promoted. PostgreSQL 17 and later have them.
type Failover string

// The choices. The empty one is FailoverAuto.
const (
	FailoverAuto     Failover = "auto"     // a new slot is one where the server can make it
	FailoverRequired Failover = "required" // also the slot that there is; refuse where the server cannot
	FailoverNever    Failover = "never"
)

// failoverVersion is the first that has failover slots.
const failoverVersion = 170000

// failoverSlot reports whether a new slot is to be a failover slot.
func (i *inspection) failoverSlot() bool {
	return i.cfg.Failover != FailoverNever && i.server.Version >= failoverVersion && !i.server.Recovery
}

// judgeFailover looks at whether the slot is what the configuration says.
func (i *inspection) judgeFailover(subject string) {
	s := i.slot
	if i.cfg.Failover == FailoverRequired && !i.failoverSlot() {
		problem := "PostgreSQL " + i.server.VersionText + " has no failover slots"
		if i.server.Recovery {
			problem = "the server is a standby, where no failover slot can be made"
		}
		i.add(replication.LevelError, subject, "failover is required, but "+problem,
			"upgrade to PostgreSQL 17 or newer, point the URL at the primary, or configure failover: auto")
		return
	}
	switch {
	case s == nil || i.server.Version < failoverVersion:
	case s.Failover:
		i.ok(subject, "slot %q is a failover slot: standbys with sync_replication_slots = on have it", s.Name)
	case i.cfg.Failover == FailoverRequired:
		i.ok(subject, "slot %q is no failover slot: it will be made one", s.Name)
	case i.cfg.Failover == FailoverAuto:
		i.ok(subject, "slot %q is no failover slot: a standby that takes over will not have it (failover: required in the configuration mends that)", s.Name)
	}
}

// makeFailover makes the slot that there is a failover slot, if it must be one.
// Nobody may be reading from it.
func (i *inspection) makeFailover(ctx context.Context, repl *pgconn.PgConn) error {
	if i.slot == nil || i.slot.Failover || i.cfg.Failover != FailoverRequired || !i.failoverSlot() {
		return nil
	}
	err := repl.Exec(ctx, "ALTER_REPLICATION_SLOT "+replication.QuoteIdentifier(i.slot.Name)+" (FAILOVER true)").Close()
	if err != nil {
		return fmt.Errorf("make slot %q a failover slot: %w", i.slot.Name, err)
	}
	i.cfg.Logger.Info("made the slot a failover slot", "slot", i.slot.Name)
	return nil
}

// timeline names one server's part of the log: its cluster (the system
// identifier that initdb gave it, which its standbys share) and the number that
// every promotion raises. A standby begins its own at a place that it may reach
// before it had all that its primary wrote. What was read beyond that place
// happened on no server that is left, and the new server has other changes
// there, which would be skipped: PostgreSQL manual, "Timelines" in "Continuous
// Archiving and Point-in-Time Recovery". The zero timeline is unknown.
type timeline struct {
	System string
	Number int32
}

func (t timeline) String() string { return t.System + "/" + strconv.Itoa(int(t.Number)) }

func parseTimeline(s string) (timeline, error) {
	if s == "" {
		return timeline{}, nil
	}
	system, number, _ := strings.Cut(s, "/")
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil || n <= 0 || system == "" {
		return timeline{}, fmt.Errorf("timeline %q has no form that is known", s)
	}
	return timeline{system, int32(n)}, nil
}

// identify learns the server's timeline, and refuses a checkpoint of another
// cluster, or of a timeline that this one does not go on from.
func (i *inspection) identify(ctx context.Context, repl *pgconn.PgConn) (err error) {
	var from position
	if i.from != nil {
		from = *i.from
	}
	i.timeline, err = followTimeline(ctx, repl, from.Timeline, from.LSN)
	return err
}

// explain returns, in place of refusal, that the server is of another cluster
// than the checkpoint, if it is: then slot and positions mean nothing.
func (i *inspection) explain(ctx context.Context, refusal error) error {
	if i.from == nil || i.from.Timeline.System == "" {
		return refusal
	}
	repl, err := i.cfg.connectReplication(ctx, nil)
	if err != nil {
		return refusal
	}
	defer closeSoon(context.WithoutCancel(ctx), repl)
	if err := i.identify(ctx, repl); errors.Is(err, errAnotherCluster) {
		return err
	}
	return refusal
}

// at is a position on the server's timeline.
func (i *inspection) at(lsn pglogrepl.LSN) position {
	return position{LSN: lsn, Timeline: i.timeline}
}

// follow makes sure that what was read is part of the log of the server behind
// conn, and goes on with its timeline.
func (s *stream) follow(ctx context.Context, conn *pgconn.PgConn) error {
	reach := s.dec.end
	if p := s.dec.partCommit; p != 0 {
		reach = max(reach, p+1) // a part of the transaction that this record commits was handed out
	}
	now, err := followTimeline(ctx, conn, s.timeline, reach)
	if err != nil || now == s.timeline {
		return err
	}
	s.log.Info("the server is on another timeline", "was", s.timeline.String(), "is", now.String())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timeline = now
	s.positions = newPositionText(now, s.snapshots, s.oids, nil)
	return nil
}

// errStandby says that the server is a standby which may be promoted.
var errStandby = errors.New("is on a standby, which copies it from the primary: nobody can read from it until the standby is promoted")

// awaitsPromotion reports whether a standby is where the log will go on, if it
// is promoted: it has a copy of the slot, or the URL names other servers too.
func (c *Config) awaitsPromotion(slot *slotInfo) bool {
	if slot != nil {
		return slot.Synced
	}
	cc, err := c.connConfig(true)
	return err == nil && slices.ContainsFunc(cc.Fallbacks, func(f *pgconn.FallbackConfig) bool {
		return f.Host != cc.Host || f.Port != cc.Port
	})
}

// errAnotherCluster is in the refusal of a server with another system identifier.
var errAnotherCluster = errors.New("it is another cluster")

// followTimeline returns the server's timeline. It refuses when the log up to
// lsn, which was read on the timeline from, is not all part of it. Of a cluster
// with another identifier nothing can be said, not even after pg_upgrade, which
// makes one: its log begins behind the old one's, and so does a slot that was
// carried over (17 and later). What was written in between nobody knows.
func followTimeline(ctx context.Context, repl *pgconn.PgConn, from timeline, lsn pglogrepl.LSN) (timeline, error) {
	system, err := pglogrepl.IdentifySystem(ctx, repl)
	if err != nil {
		return timeline{}, fmt.Errorf("identify the server: %w", err)
	}
	now := timeline{system.SystemID, system.Timeline}
	switch {
	case from.System == "" || now == from:
		return now, nil
	case now.System != from.System:
		return now, &replication.Refusal{
			Problem: fmt.Sprintf("the server is of another cluster than the one that was read: its system identifier is %s, that one's %s; what happened on it up to %s would be missing", now.System, from.System, lsn),
			Remedy: "point the URL back at the cluster that was read; or, if this one takes its place (pg_upgrade, a restored dump), run cdc drop and start again with a new snapshot " +
				"(docs/postgres.md, \"Another cluster\", says how to do without it)",
			Err: errAnotherCluster,
		}
	}
	if now.Number < from.Number {
		return now, &replication.Refusal{
			Problem: fmt.Sprintf("the checkpoint %s is of timeline %d, and this server is still on timeline %d: it is a primary that was replaced, or one restored to an earlier time", lsn, from.Number, now.Number),
			Remedy:  "point the URL at the server that took over, and stop this one; or run cdc drop and start again with a new snapshot",
		}
	}
	history, err := pglogrepl.TimelineHistory(ctx, repl, now.Number)
	if err != nil {
		return now, fmt.Errorf("read the history of timeline %d: %w", now.Number, err)
	}
	end, err := timelineEnd(history.Content, from.Number)
	if err != nil {
		return now, fmt.Errorf("read the history of timeline %d: %w", now.Number, err)
	}
	switch {
	case end == 0:
		return now, &replication.Refusal{
			Problem: fmt.Sprintf("the checkpoint %s is of timeline %d, which is not in the history of this server's timeline %d: this is another server, or one restored to an earlier time", lsn, from.Number, now.Number),
			Remedy:  "point the URL at the right server, or run cdc drop and start again with a new snapshot",
		}
	case lsn > end:
		return now, &replication.Refusal{
			Problem: fmt.Sprintf("the server that took over left timeline %d at %s, before the checkpoint %s: %d bytes of log were read that it never had, and its own changes at their place would be missing",
				from.Number, end, lsn, uint64(lsn-end)),
			Remedy: "run cdc drop, then start again: a new snapshot repairs what is missing (rows that were deleted meanwhile are not noticed by a snapshot); " +
				"name the standbys' physical slots in synchronized_standby_slots so that it does not happen again",
		}
	}
	return now, nil
}

// timelineEnd returns where a timeline of a history file ended, 0 when it does
// not stand there: lines of the timeline's number, that place and a reason,
// separated by tabs (PostgreSQL's timeline.c).
func timelineEnd(history []byte, timeline int32) (pglogrepl.LSN, error) {
	for line := range strings.Lines(string(history)) {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		n, err := strconv.ParseInt(f[0], 10, 32)
		if err != nil || len(f) < 2 {
			return 0, fmt.Errorf("unexpected line %q", line)
		}
		if int32(n) != timeline {
			continue
		}
		lsn, err := pglogrepl.ParseLSN(f[1])
		if err != nil {
			return 0, fmt.Errorf("unexpected line %q: %w", line, err)
		}
		return lsn, nil
	}
	return 0, nil
}
