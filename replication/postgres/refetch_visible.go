package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// refusedPatience is how long a transaction may need to become visible when the
// stream was refused meanwhile, which may have to do with a later change.
const refusedPatience = time.Second

// awaitVisible waits until queries see the transactions of the changes. The log
// has a commit a moment before other sessions see it, with synchronous standbys
// a long one; read then, the row would be one version too old. A standby that
// took over without the transaction will never see it: then the stream refuses
// that server, and that refusal ends the waiting.
func (r *refetcher) awaitVisible(ctx context.Context, b *batch, todo []hole) error {
	xids := transactionIDs(b, todo)
	began := time.Now()
	for pause, told := time.Millisecond, false; ; pause = min(2*pause, 100*time.Millisecond) {
		visible, err := r.session.sees(ctx, xids)
		if err != nil {
			return fmt.Errorf("read unchanged values: %w", err)
		}
		if visible {
			return nil
		}
		if r.refused != nil && time.Since(began) > refusedPatience {
			if err := r.refused(); err != nil {
				return err
			}
		}
		if !told && time.Since(began) > 10*time.Second {
			told = true
			r.cfg.Logger.Warn("waiting for a transaction that is in the log but not yet visible: does it wait for a synchronous standby?")
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sees reports whether queries see the transactions, which are sorted.
func (s *session) sees(ctx context.Context, xids []uint32) (bool, error) {
	var snapshot string
	err := s.do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT pg_catalog.pg_current_snapshot()::text`).Scan(&snapshot)
	})
	if err != nil {
		return false, err
	}
	return allVisible(snapshot, xids)
}

// transactionIDs returns the transactions of the changes, sorted, each once.
func transactionIDs(b *batch, todo []hole) []uint32 {
	var xids []uint32
	for _, h := range todo {
		xid, err := strconv.ParseUint(string(b.Changes[h.at].Tx.ID), 10, 32)
		if err == nil && (len(xids) == 0 || xids[len(xids)-1] != uint32(xid)) {
			xids = append(xids, uint32(xid))
		}
	}
	slices.Sort(xids)
	return slices.Compact(xids)
}

// allVisible reports whether a snapshot sees the transactions, which are sorted.
// Its text is xmin:xmax:xip_list with 64-bit ids (PostgreSQL manual, "Transaction
// ID and Snapshot Information Functions"); the log has their lower halves.
func allVisible(snapshot string, xids []uint32) (bool, error) {
	parts := strings.Split(snapshot, ":")
	if len(parts) != 3 {
		return false, fmt.Errorf("read snapshot %q: not of the form xmin:xmax:xip_list", snapshot)
	}
	xmax, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return false, fmt.Errorf("read snapshot %q: %w", snapshot, err)
	}
	for _, xid := range xids {
		if int32(uint32(xmax)-xid) <= 0 {
			return false, nil
		}
	}
	for text := range strings.SplitSeq(parts[2], ",") {
		if text == "" {
			continue
		}
		running, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return false, fmt.Errorf("read snapshot %q: %w", snapshot, err)
		}
		if _, found := slices.BinarySearch(xids, uint32(running)); found {
			return false, nil
		}
	}
	return true, nil
}
