package cleanup

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"cdc/replication"
)

const (
	// What PostgreSQL says when a lock is not to be had in time, or not without a
	// deadlock.
	codeLockTimeout, codeDeadlock = "55P03", "40P01"
	codeNoPrivilege               = "42501"
)

// partitionKeySQL finds the table, and its key if that is one column.
const partitionKeySQL = `
SELECT c.oid, coalesce(p.partstrat::text, ''), coalesce(pg_catalog.format_type(a.atttypid, a.atttypmod), ''),
       coalesce(p.partnatts, 0)
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = c.oid
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0] AND a.attnum > 0
 WHERE n.nspname = $1 AND c.relname = $2`

// postgresPartition is a partition, and the oldest transaction that was in
// progress when it was noted: all that older ones did was there to be seen.
type postgresPartition struct {
	store *postgresStore
	table Table
	oid   uint32 // of the table

	Schema, Name string
	Bound        string // FOR VALUES …
	older        int64
}

func (p *postgresPartition) String() string { return p.Schema + "." + p.Name }

func (p *postgresPartition) sql() string {
	return replication.QuoteIdentifier(p.Schema) + "." + replication.QuoteIdentifier(p.Name)
}

// upper is the upper bound as text, "" when there is none above it. Bounds are
// FOR VALUES FROM (1) TO (100), or FROM ('2026-01-01') TO (MAXVALUE).
func (p *postgresPartition) upper() (text string, ok bool) {
	_, to, found := strings.Cut(p.Bound, ") TO (")
	to, closed := strings.CutSuffix(to, ")")
	if !found || !closed {
		return "", false
	}
	if to == "MAXVALUE" {
		return "", true
	}
	if _, err := strconv.ParseFloat(to, 64); err == nil {
		return to, true
	}
	if n := len(to); n >= 2 && to[0] == '\'' && to[n-1] == '\'' {
		return strings.ReplaceAll(to[1:n-1], "''", "'"), true
	}
	return "", false
}

// partitions lists the table's partitions by range in ascending order.
func (s *postgresStore) partitions(ctx context.Context, t Table) ([]*postgresPartition, error) {
	var oid uint32
	var strategy, keyType string
	var columns int
	err := s.conn.QueryRow(ctx, partitionKeySQL, t.Schema, t.Name).Scan(&oid, &strategy, &keyType, &columns)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("look up the partitions of %s: %w", t, err)
	}
	if strategy != "r" || columns != 1 || keyType == "" {
		return nil, refusePartitions(t)
	}
	rows, err := s.conn.Query(ctx, `
SELECT n.nspname::text, c.relname::text, pg_catalog.pg_get_expr(c.relpartbound, c.oid)
  FROM pg_catalog.pg_inherits i
  JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE i.inhparent = $1 AND NOT i.inhdetachpending AND pg_catalog.pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT'`, oid)
	if err != nil {
		return nil, fmt.Errorf("look up the partitions of %s: %w", t, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*postgresPartition, error) {
		p := &postgresPartition{store: s, table: t, oid: oid}
		return p, row.Scan(&p.Schema, &p.Name, &p.Bound)
	})
	if err != nil {
		return nil, fmt.Errorf("look up the partitions of %s: %w", t, err)
	}
	uppers := make([]*string, len(list))
	for i, p := range list {
		text, ok := p.upper()
		if !ok {
			return nil, fmt.Errorf("partition %s of %s has bounds that are not understood: %s", p, t, p.Bound)
		}
		if text != "" {
			uppers[i] = &text
		}
	}
	rows, err = s.conn.Query(ctx, "SELECT place::int FROM unnest($1::text[]) WITH ORDINALITY u(bound, place) ORDER BY bound::"+keyType+" NULLS LAST", uppers)
	if err != nil {
		return nil, fmt.Errorf("sort the partitions of %s: %w", t, err)
	}
	places, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return nil, fmt.Errorf("sort the partitions of %s: %w", t, err)
	}
	sorted := make([]*postgresPartition, len(list))
	for i, place := range places {
		sorted[i] = list[place-1]
	}
	return sorted, nil
}

// FindPartition implements Store.
func (s *postgresStore) FindPartition(ctx context.Context, t Table) (Partition, Mark, error) {
	list, err := s.partitions(ctx, t)
	if err != nil {
		return nil, "", err
	}
	p, found, err := oldest(list, func(p *postgresPartition) (some bool, err error) {
		err = s.conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+p.sql()+")").Scan(&some)
		return some, err
	})
	if err != nil || !found {
		if err != nil {
			err = fmt.Errorf("look for rows of %s: %w", t, err)
		}
		return nil, "", err
	}
	if err := s.conn.QueryRow(ctx, "SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::bigint").Scan(&p.older); err != nil {
		return nil, "", fmt.Errorf("look for transactions in progress: %w", err)
	}
	if err := s.carried(ctx, t); err != nil {
		return nil, "", err
	}
	mark, err := s.mark(ctx, p.oid)
	return p, mark, err
}

// Drop implements Partition. Under a lock that lets nobody insert into this
// partition, and others into the rest, it looks at the age of every row: those
// of transactions older than all that were in progress were committed before the
// mark. Only then, for a moment, it locks the whole table.
func (p *postgresPartition) Drop(ctx context.Context, _ func(context.Context, Mark) error) (dropped bool, err error) {
	tx, err := p.store.conn.Begin(ctx)
	if err != nil {
		return false, fmt.Errorf("drop partition %s: %w", p, err)
	}
	defer func() {
		if !dropped {
			_ = tx.Rollback(context.WithoutCancel(ctx)) // a connection that is broken is closed by the caller
		}
	}()
	give := func(err error) (bool, error) {
		e, ok := errors.AsType[*pgconn.PgError](err)
		switch {
		case ok && (e.Code == codeLockTimeout || e.Code == codeDeadlock):
			return false, nil // somebody is at work there: another time
		case ok && e.Code == codeNoPrivilege:
			return false, refuseOwner(p, err)
		}
		return false, fmt.Errorf("drop partition %s: %w", p, err)
	}
	for _, sql := range []string{"SET LOCAL lock_timeout = '500ms'", "LOCK TABLE " + p.sql() + " IN SHARE MODE"} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return give(err)
		}
	}
	// It must still be what it was. Transaction ids are counted modulo 2^32, and
	// the three lowest are of rows older than all.
	var still, younger bool
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
  WHERE i.inhparent = $1::oid AND i.inhrelid = $2::text::regclass AND NOT i.inhdetachpending AND pg_catalog.pg_get_expr(c.relpartbound, c.oid) = $3)
  AND $1::oid = $4::text::regclass`, p.oid, p.sql(), p.Bound, quoted(p.table)).Scan(&still)
	if err == nil && still {
		err = tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+p.sql()+" t WHERE t.xmin::text::bigint > 2 AND ($1::bigint - t.xmin::text::bigint) & 4294967295 NOT BETWEEN 1 AND 2147483647)", p.older).Scan(&younger)
	}
	if err != nil {
		return give(err)
	}
	if !still || younger {
		return false, nil
	}
	for _, sql := range []string{"LOCK TABLE ONLY " + quoted(p.table) + " IN ACCESS EXCLUSIVE MODE", "DROP TABLE " + p.sql()} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return give(err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return give(err)
	}
	return true, nil
}

func refuseOwner(p *postgresPartition, err error) error {
	return &replication.Refusal{
		Problem: fmt.Sprintf("the role may not drop partition %s of outbox table %s", p, p.table),
		Remedy:  fmt.Sprintf("make the role of the URL a member of the owner of %s and its partitions: GRANT owner TO role; or remove drop_partitions from its cleanup in the configuration", p.table),
		Err:     err,
	}
}
