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

// awaitVisible waits until queries see the transactions of the changes. The log
// has a commit a moment before other sessions see it, with synchronous standbys
// a long one; read then, the row would be one version too old.
func (r *refetcher) awaitVisible(ctx context.Context, b *batch, todo []hole) error {
	var xids []uint32
	for _, h := range todo {
		xid, err := strconv.ParseUint(string(b.Changes[h.at].Tx.ID), 10, 32)
		if err == nil && !slices.Contains(xids, uint32(xid)) {
			xids = append(xids, uint32(xid))
		}
	}
	began := time.Now()
	for pause, told := time.Millisecond, false; ; pause = min(2*pause, 100*time.Millisecond) {
		var snapshot string
		err := r.session.do(ctx, func(conn *pgx.Conn) error {
			return conn.QueryRow(ctx, `SELECT pg_catalog.pg_current_snapshot()::text`).Scan(&snapshot)
		})
		if err != nil {
			return fmt.Errorf("read unchanged values: %w", err)
		}
		visible, err := allVisible(snapshot, xids)
		if err != nil || visible {
			return err
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

// allVisible reports whether a snapshot sees the transactions. Its text is
// xmin:xmax:xip_list with 64-bit ids (PostgreSQL manual, "Transaction ID and
// Snapshot Information Functions"); the log has their lower halves.
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
		if slices.Contains(xids, uint32(running)) {
			return false, nil
		}
	}
	return true, nil
}
