package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"cdc/replication"
)

// Drop drops the slot and the publication of cfg. It returns in words what it
// dropped, and what it left because somebody else has made it, or may alone
// drop it: that is a publication without our mark, or one of another owner.
// What does not exist is no error. It ends no connection: a slot in use is a
// *replication.Refusal that names the process, and so is one that is not ours.
// What was dropped before an error is returned with it.
func Drop(ctx context.Context, cfg Config) (dropped, left []string, err error) {
	if len(cfg.Tables) == 0 { // they do not matter here
		cfg.Tables = []TableConfig{{}}
	}
	err = withSession(ctx, cfg, func(cfg *Config, s *session) error {
		conn, err := s.open(ctx)
		if err != nil {
			return err
		}
		did, err := dropOurSlot(ctx, conn, cfg)
		if did != "" {
			dropped = append(dropped, did)
		}
		if err != nil {
			return err
		}
		did, kept, err := dropPublication(ctx, conn, cfg.Publication)
		if did != "" {
			dropped = append(dropped, did)
		}
		if kept != "" {
			left = append(left, kept)
		}
		return err
	})
	return dropped, left, err
}

func dropOurSlot(ctx context.Context, conn *pgx.Conn, cfg *Config) (string, error) {
	slot, err := readSlot(ctx, conn, cfg.Slot)
	if err != nil || slot == nil {
		return "", err
	}
	var database string
	if err := conn.QueryRow(ctx, `SELECT current_database()::text`).Scan(&database); err != nil {
		return "", fmt.Errorf("drop slot %q: %w", cfg.Slot, err)
	}
	switch {
	case slot.Plugin != pgoutput || slot.Database != database:
		what := fmt.Sprintf("of plugin %s in database %q", slot.Plugin, slot.Database)
		if slot.Plugin == "" {
			what = "a physical one"
		}
		return "", &replication.Refusal{
			Problem: fmt.Sprintf("slot %q is %s, not one of pgoutput in database %q: it is left alone", cfg.Slot, what, database),
			Remedy:  "drop it by hand when nobody needs it: SELECT pg_drop_replication_slot(" + replication.QuoteLiteral(cfg.Slot) + ")",
		}
	case slot.ActivePID != 0:
		return "", refuseActive(slot)
	}
	if _, err := conn.Exec(ctx, `SELECT pg_catalog.pg_drop_replication_slot($1::name)`, cfg.Slot); err != nil {
		switch sqlState(err) {
		case codeUndefinedObject:
			return "", nil // somebody was quicker
		case codeInUse:
			if again, readErr := readSlot(ctx, conn, cfg.Slot); readErr == nil && again != nil {
				return "", refuseActive(again)
			}
		}
		return "", fmt.Errorf("drop slot %q: %w", cfg.Slot, err)
	}
	return fmt.Sprintf("slot %q, which kept %s of log", cfg.Slot, bytesText(slot.Retained)), nil
}

func dropPublication(ctx context.Context, conn *pgx.Conn, name string) (dropped, left string, err error) {
	pub, err := readPublication(ctx, conn, name)
	if err != nil || pub == nil {
		return "", "", err
	}
	sql := "DROP PUBLICATION " + replication.QuoteIdentifier(name)
	byHand := "; when nobody needs it any more, its owner or a superuser runs: " + sql + ";"
	if !pub.Ours {
		return "", fmt.Sprintf("publication %q, which cdc has not made (it belongs to role %q)", name, pub.Owner) + byHand, nil
	}
	if _, err := conn.Exec(ctx, sql); err != nil {
		switch sqlState(err) {
		case codeUndefinedObject:
			return "", "", nil
		case codeNoPrivilege:
			return "", fmt.Sprintf("publication %q, which belongs to role %q", name, pub.Owner) + byHand, nil
		}
		return "", "", fmt.Errorf("drop publication %q: %w", name, err)
	}
	return fmt.Sprintf("publication %q of %d tables", name, len(pub.Tables)), "", nil
}
