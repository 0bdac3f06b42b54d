package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"cdc/replication"
)

// tableState is one configured table as it stands on the server.
type tableState struct {
	TableConfig
	info  tableInfo
	found bool

	usage, sel bool // USAGE of the schema, SELECT on the table
	hidden     bool // row security hides rows from the role
	owned      bool // the role is the owner, or a member of it
	owner      string
	system     bool
	ancestors  []uint32 // the partitioned tables above it
	leaves     string   // distinct replica identities of the partitions below it

	large   []string // columns whose values may be stored out of line
	unique  []string // quoted names of indexes that could be the replica identity
	uneven  []string // quoted names of partitions with another replica identity
	columns []string // what is published of it, filled by inspectPublication
	filter  string   // the publication's row filter for it
	upto    *bound   // up to where its rows are read; nil: to the end
}

// sql returns the quoted name.
func (t *tableState) sql() string { return quoteTable(t.Schema, t.Name) }

func quoteTable(schema, name string) string {
	return replication.QuoteIdentifier(schema) + "." + replication.QuoteIdentifier(name)
}

func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = replication.QuoteIdentifier(n)
	}
	return strings.Join(quoted, ", ")
}

const tableStateSQL = `
SELECT pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE'), pg_catalog.has_table_privilege(c.oid, 'SELECT'),
       pg_catalog.row_security_active(c.oid), pg_catalog.pg_has_role(c.relowner, 'USAGE'),
       pg_catalog.pg_get_userbyid(c.relowner)::text, c.oid < 16384,
       ARRAY(SELECT a.relid::oid::bigint FROM pg_catalog.pg_partition_ancestors(c.oid) a WHERE a.relid <> c.oid),
       coalesce((SELECT string_agg(DISTINCT l.relreplident::text, '' ORDER BY l.relreplident::text)
          FROM pg_catalog.pg_partition_tree(c.oid) p JOIN pg_catalog.pg_class l ON l.oid = p.relid
         WHERE p.isleaf AND c.relkind = 'p'), '')
  FROM pg_catalog.pg_class c WHERE c.oid = $1::oid`

func (i *inspection) inspectTables(ctx context.Context, cat *catalog) error {
	i.tables = make([]tableState, len(i.cfg.Tables))
	for n, cfg := range i.cfg.Tables {
		t := &i.tables[n]
		t.TableConfig = cfg
		info, err := cat.named(ctx, cfg.Schema, cfg.Name)
		if errors.Is(err, errNoTable) {
			i.add(replication.LevelError, "table "+cfg.String(), fmt.Sprintf("table %s does not exist in database %q", cfg, i.server.Database),
				"create it, or mend its name in the configuration (names are as in the catalog: "+
					"SELECT schemaname, tablename FROM pg_tables WHERE tablename ILIKE "+replication.QuoteLiteral(cfg.Name)+")")
			continue
		}
		if err != nil {
			return err
		}
		t.info, t.found = info, true
		err = cat.s.do(ctx, func(conn *pgx.Conn) error {
			var ancestors []int64
			t.ancestors = nil
			err := conn.QueryRow(ctx, tableStateSQL, info.OID).
				Scan(&t.usage, &t.sel, &t.hidden, &t.owned, &t.owner, &t.system, &ancestors, &t.leaves)
			for _, oid := range ancestors {
				t.ancestors = append(t.ancestors, uint32(oid))
			}
			if err != nil {
				return err
			}
			return t.readIdentity(ctx, conn)
		})
		if err != nil {
			return fmt.Errorf("look up table %s: %w", cfg, err)
		}
		for _, c := range info.Columns {
			if !c.Generated {
				t.columns = append(t.columns, c.Name)
			}
		}
		i.judgeTable(t)
	}
	for n := range i.tables {
		for m := range i.tables {
			if i.tables[m].found && slices.Contains(i.tables[n].ancestors, i.tables[m].info.OID) {
				i.add(replication.LevelError, "table "+i.tables[n].String(),
					fmt.Sprintf("table %s is a partition of %s, and both are configured: its rows would be captured as those of %s",
						i.tables[n], i.tables[m], i.tables[m]),
					fmt.Sprintf("remove %s or %s from the configuration", i.tables[n], i.tables[m]))
			}
		}
	}
	return nil
}

// verifyTable asks what the rest of the configuration has to say of what is
// published of a table.
func (i *inspection) verifyTable(ctx context.Context, cat *catalog, t *tableState) error {
	if t.Verify == nil || !t.found {
		return nil
	}
	now := &replication.Table{Schema: t.Schema, Name: t.Name}
	for _, c := range t.info.Columns {
		if !slices.Contains(t.columns, c.Name) {
			continue
		}
		col, err := cat.column(ctx, c.TypeOID, c.Typmod, c.Dims)
		if err != nil {
			return fmt.Errorf("look up table %s: column %q: %w", t, c.Name, err)
		}
		col.Name = c.Name
		now.Columns = append(now.Columns, col)
	}
	err := t.Verify(now)
	r, refused := errors.AsType[*replication.Refusal](err)
	if !refused {
		return err
	}
	level := replication.LevelError
	if i.from != nil || i.cfg.FromUnknown || i.slot != nil { // rows of before, which still had the column, may be read again
		level = replication.LevelWarning
	}
	i.add(level, "table "+t.String(), r.Problem, r.Remedy)
	return nil
}

// judgeTable looks at what does not depend on the publication.
func (i *inspection) judgeTable(t *tableState) {
	bad := func(problem, remedy string) {
		i.add(replication.LevelError, "table "+t.String(), fmt.Sprintf("table %s %s", t, problem), remedy)
	}
	unlist := "remove it from the configuration"
	role := replication.QuoteIdentifier(i.server.Role)
	switch {
	case t.system:
		bad("is a system table: it cannot be published", unlist)
		return
	case t.info.Kind == 'v':
		bad("is a view: the log holds changes of tables only", "configure the tables that the view reads")
		return
	case t.info.Kind == 'm':
		bad("is a materialized view: the log holds changes of tables only", "configure the tables that the view reads")
		return
	case t.info.Kind == 'f':
		bad("is a foreign table: its changes happen on another server", "capture it on the server that owns it")
		return
	case t.info.Kind != relTable && t.info.Kind != relPartitioned:
		bad(fmt.Sprintf("is not a table (relkind %q): it has no rows that could be captured", t.info.Kind), unlist)
		return
	case t.info.Persistence == 't':
		bad("is a temporary table: its changes are not logged", unlist)
		return
	case t.info.Persistence != persistent:
		bad("is an unlogged table: its changes are not logged", "ALTER TABLE "+t.sql()+" SET LOGGED")
		return
	}
	for _, name := range t.AsText {
		if t.info.column(name) == nil {
			bad(fmt.Sprintf("has no column %q, which its setting as_text names", name),
				"mend as_text in the configuration; the table's columns are "+strings.Join(t.columns, ", "))
		}
	}
	if !t.usage {
		bad(fmt.Sprintf("cannot be read: role %q lacks USAGE on schema %q", i.server.Role, t.Schema),
			"GRANT USAGE ON SCHEMA "+replication.QuoteIdentifier(t.Schema)+" TO "+role)
	}
	if !t.sel {
		bad(fmt.Sprintf("cannot be read: role %q lacks SELECT on it", i.server.Role), "GRANT SELECT ON "+t.sql()+" TO "+role)
	}
	if t.hidden {
		bad(fmt.Sprintf("has row security whose policies hide rows from role %q: the snapshot would miss them", i.server.Role),
			"ALTER ROLE "+role+" BYPASSRLS")
	}
}
