package cleanup

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"cdc/replication"
	"cdc/secret"
)

// OpenPostgres connects to a PostgreSQL database as a role that may read and
// delete the tables' rows. The publication is the one that the source reads:
// rows of a table that it does not carry whole are never deleted.
func OpenPostgres(ctx context.Context, url secret.String, publication string) (Store, error) {
	cfg, err := pgx.ParseConfig(url.Reveal())
	if err != nil {
		return nil, errors.New("connect to clean up: the URL cannot be parsed") // the cause would quote it
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "cdc outbox cleanup"
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to clean up: %w", err)
	}
	return &postgresStore{conn: conn, publication: publication}, nil
}

type postgresStore struct {
	conn        *pgx.Conn
	publication string
}

// postgresPlan are the statements for one table.
type postgresPlan struct {
	find, delete string
	columns      int // of the key
}

func (s *postgresStore) Close(ctx context.Context) error { return s.conn.Close(ctx) }

const primaryKeySQL = `
SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), c.relkind::text
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place)
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
 WHERE n.nspname = $1 AND c.relname = $2 AND i.indisprimary ORDER BY k.place`

// carriedSQL says, with the rows and so as of the same moment, which table they
// are of, and whether the publication has its inserts, all of them. PostgreSQL
// 14 has no row filters.
const carriedSQL = `WITH w AS MATERIALIZED (
SELECT c.oid, pt.pubname IS NOT NULL AS published, pg_catalog.to_jsonb(pt)->>'rowfilter' IS NOT NULL AS filtered
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN (pg_catalog.pg_publication_tables pt JOIN pg_catalog.pg_publication p ON p.pubname = pt.pubname AND p.pubinsert)
    ON pt.pubname = $3 AND pt.schemaname = n.nspname AND pt.tablename = c.relname
 WHERE n.nspname = $1 AND c.relname = $2)
`

func quoted(t Table) string {
	return replication.QuoteIdentifier(t.Schema) + "." + replication.QuoteIdentifier(t.Name)
}

func (s *postgresStore) plan(ctx context.Context, t Table) (*postgresPlan, error) {
	rows, err := s.conn.Query(ctx, primaryKeySQL, t.Schema, t.Name)
	if err != nil {
		return nil, fmt.Errorf("look up the key of %s: %w", t, err)
	}
	key, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Name, Type, Kind string }])
	if err != nil {
		return nil, fmt.Errorf("look up the key of %s: %w", t, err)
	}
	if len(key) == 0 {
		return nil, refuse(t)
	}
	table := quoted(t)
	if key[0].Kind != "p" { // children by INHERITS are published under their own names, if at all
		table = "ONLY " + table
	}
	var order, texts, arrays, names, match []string
	for i, k := range key {
		name := replication.QuoteIdentifier(k.Name)
		order = append(order, "t."+name)
		texts = append(texts, "t."+name+"::text")
		arrays = append(arrays, fmt.Sprintf("$%d::text[]::%s[]", i+1, k.Type))
		names = append(names, fmt.Sprintf("k%d", i))
		match = append(match, fmt.Sprintf("t.%s = k.k%d", name, i))
	}
	// The version of the row (xmin) is part of the match: what was updated since,
	// or deleted and inserted again under the same key, is another row. A row that
	// somebody has locked is left for the next round.
	list := strings.Join(order, ", ")
	p := &postgresPlan{columns: len(key)}
	p.find = fmt.Sprintf("%sSELECT %s, t.xmin::text, w.oid, w.published, w.filtered FROM %s t CROSS JOIN w ORDER BY %s LIMIT $4",
		carriedSQL, strings.Join(texts, ", "), table, list)
	p.delete = fmt.Sprintf(`WITH k AS MATERIALIZED (SELECT * FROM unnest(%s, $%d::text[]) AS k(%s, version)),
free AS MATERIALIZED (SELECT t.ctid, t.tableoid FROM %s t JOIN k ON %s AND t.xmin::text = k.version
  WHERE $%d::text::regclass::oid = $%d::oid FOR UPDATE OF t SKIP LOCKED)
DELETE FROM %s t USING free WHERE t.ctid = free.ctid AND t.tableoid = free.tableoid`,
		strings.Join(arrays, ", "), len(key)+1, strings.Join(names, ", "), table, strings.Join(match, " AND "), len(key)+2, len(key)+3, table)
	return p, nil
}

// Find implements Store. The rows are read before the end of the log: whatever
// a query sees was committed before it, and so lies before an end that is read
// afterwards.
func (s *postgresStore) Find(ctx context.Context, t Table, n int) (Rows, Mark, error) {
	p, err := s.plan(ctx, t)
	if err != nil {
		return nil, "", err
	}
	found, err := s.conn.Query(ctx, p.find, t.Schema, t.Name, s.publication, n)
	if err != nil {
		return nil, "", fmt.Errorf("look for rows of %s: %w", t, err)
	}
	r := &postgresRows{store: s, plan: p, table: t, columns: make([][]string, p.columns+1)}
	cells := make([]any, len(r.columns), len(r.columns)+3)
	values := make([]string, len(r.columns))
	for i := range values {
		cells[i] = &values[i]
	}
	var published, filtered bool
	cells = append(cells, &r.oid, &published, &filtered)
	_, err = pgx.ForEachRow(found, cells, func() error {
		for i, v := range values {
			r.columns[i] = append(r.columns[i], v)
		}
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("look for rows of %s: %w", t, err)
	}
	if r.Len() == 0 {
		return r, "", nil
	}
	if err := s.judge(t, published, filtered); err != nil {
		return nil, "", err
	}
	mark, err := s.mark(ctx, r.oid)
	return r, mark, err
}

// mark is the end of the log, for rows of the table of that OID.
func (s *postgresStore) mark(ctx context.Context, oid uint32) (Mark, error) {
	var end string
	if err := s.conn.QueryRow(ctx, "SELECT pg_catalog.pg_current_wal_insert_lsn()::text").Scan(&end); err != nil {
		return "", fmt.Errorf("look for the end of the log: %w", err)
	}
	return Mark(fmt.Sprintf("%s %d", end, oid)), nil
}

// judge refuses a table that the publication does not carry whole.
func (s *postgresStore) judge(t Table, published, filtered bool) error {
	switch {
	case !published:
		return &replication.Refusal{
			Problem: fmt.Sprintf("publication %s does not publish the inserts of outbox table %s: rows that nobody has published would be deleted", s.publication, t),
			Remedy:  fmt.Sprintf("start cdc again, which adds the table to its publication or says what is amiss, or remove cleanup from outbox %s in the configuration", t),
		}
	case filtered:
		return &replication.Refusal{
			Problem: fmt.Sprintf("publication %s has a row filter on outbox table %s: rows that it leaves out would be deleted unpublished", s.publication, t),
			Remedy:  fmt.Sprintf("remove the row filter (ALTER PUBLICATION … SET TABLE), or remove cleanup from outbox %s in the configuration", t),
		}
	}
	return nil
}

// carried refuses a table that the publication does not carry whole.
func (s *postgresStore) carried(ctx context.Context, t Table) error {
	var oid uint32
	var published, filtered bool
	err := s.conn.QueryRow(ctx, carriedSQL+"SELECT oid, published, filtered FROM w", t.Schema, t.Name, s.publication).Scan(&oid, &published, &filtered)
	if err != nil {
		return fmt.Errorf("look for table %s in publication %s: %w", t, s.publication, err)
	}
	return s.judge(t, published, filtered)
}

// postgresRows are rows by their key's columns, and the version of each.
type postgresRows struct {
	store   *postgresStore
	plan    *postgresPlan
	table   Table
	oid     uint32 // of the table
	columns [][]string
}

func (r *postgresRows) Len() int { return len(r.columns[0]) }

func (r *postgresRows) Delete(ctx context.Context, first, last int) (int64, error) {
	args := make([]any, len(r.columns), len(r.columns)+2)
	for i, c := range r.columns {
		args[i] = c[first:last]
	}
	args = append(args, quoted(r.table), r.oid) // for a table renamed since
	tag, err := r.store.conn.Exec(ctx, r.plan.delete, args...)
	if err != nil {
		return 0, fmt.Errorf("delete published rows of %s: %w", r.table, err)
	}
	return tag.RowsAffected(), nil
}
