package cleanup

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"cdc/replication"
)

// Check says for each table whether it can be cleaned up. It changes nothing.
func Check(ctx context.Context, cfg Config) []replication.Finding {
	var list []replication.Finding
	if len(cfg.Tables) == 0 {
		return nil
	}
	store, err := cfg.Open(ctx)
	if err != nil {
		return []replication.Finding{finding("outbox clean-up", err)}
	}
	defer store.Close(context.WithoutCancel(ctx))
	for _, t := range cfg.Tables {
		list = append(list, finding("outbox "+t.String(), store.Check(ctx, t)))
	}
	return list
}

func finding(subject string, err error) replication.Finding {
	if err == nil {
		return replication.Finding{Level: replication.LevelOK, Subject: subject, Problem: "published rows can be cleaned up"}
	}
	f := replication.Finding{Level: replication.LevelError, Subject: subject, Problem: err.Error()}
	if r, ok := errors.AsType[*replication.Refusal](err); ok {
		f.Problem, f.Remedy = r.Problem, r.Remedy
	}
	return f
}

// Check implements Store. What the publication lacks altogether is not looked
// at: before the first start that is all of it.
func (s *postgresStore) Check(ctx context.Context, t Table) error {
	if t.DropPartitions {
		list, err := s.partitions(ctx, t)
		if err != nil {
			return err
		}
		for _, p := range list {
			var owned bool
			if err := s.conn.QueryRow(ctx, "SELECT pg_catalog.pg_has_role(relowner, 'USAGE') FROM pg_catalog.pg_class WHERE oid = $1::text::regclass", p.sql()).Scan(&owned); err != nil {
				return fmt.Errorf("look up the owner of partition %s: %w", p, err)
			}
			if !owned {
				return refuseOwner(p, nil)
			}
		}
	} else if _, err := s.plan(ctx, t); err != nil {
		return err
	}
	var missing *string
	var filtered, withoutInserts bool
	err := s.conn.QueryRow(ctx, carriedSQL+`SELECT
  (SELECT string_agg(r, ', ') FROM unnest(ARRAY['SELECT', 'UPDATE', 'DELETE']) r WHERE NOT pg_catalog.has_table_privilege(w.oid, r)),
  w.filtered, EXISTS (SELECT FROM pg_catalog.pg_publication p WHERE p.pubname = $3 AND NOT p.pubinsert) FROM w`, t.Schema, t.Name, s.publication).
		Scan(&missing, &filtered, &withoutInserts)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil // the source's own findings tell of a table that does not exist
	case err != nil:
		return fmt.Errorf("look up the rights on %s: %w", t, err)
	case missing != nil && !t.DropPartitions:
		return &replication.Refusal{
			Problem: fmt.Sprintf("the role may not delete rows of outbox table %s: it lacks %s", t, *missing),
			Remedy:  fmt.Sprintf("GRANT SELECT, UPDATE, DELETE ON %s TO the role of the URL (rows are locked before they are deleted, which takes UPDATE), or remove cleanup from the outbox in the configuration", quoted(t)),
		}
	}
	return s.judge(t, !withoutInserts, filtered)
}

// Check implements Store.
func (s *mysqlStore) Check(ctx context.Context, t Table) error {
	if t.DropPartitions {
		if _, err := s.partitions(ctx, t); err != nil {
			return err
		}
		return s.mayDrop(ctx, t)
	}
	if _, _, err := s.key(ctx, t); err != nil {
		return err
	}
	if _, err := s.conn.Query(ctx, "EXPLAIN DELETE FROM "+t.mysql()+" WHERE 1 = 0"); err != nil {
		return &replication.Refusal{
			Problem: fmt.Sprintf("the user may not delete rows of outbox table %s", t),
			Remedy:  fmt.Sprintf("GRANT SELECT, DELETE ON %s TO the user of the URL, or remove cleanup from the outbox in the configuration", t.mysql()),
			Err:     err,
		}
	}
	return nil
}
