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

// publicationInfo is a publication as it stands on the server.
type publicationInfo struct {
	OID       uint32
	Owner     string
	Owned     bool // the role is the owner, or a member of it
	AllTables bool
	ViaRoot   bool
	Insert    bool
	Update    bool
	Delete    bool
	Truncate  bool
	Generated bool // also the stored generated columns
	Ours      bool // it carries publicationMark
	Tables    []publishedTable
}

// publishedTable is one row of pg_publication_tables.
type publishedTable struct {
	Schema, Name string
	Columns      []string // nil where the server does not tell (PostgreSQL 14)
	Filter       string
}

func readPublication(ctx context.Context, conn *pgx.Conn, name string) (*publicationInfo, error) {
	p := &publicationInfo{}
	err := conn.QueryRow(ctx, `
SELECT oid, pg_catalog.pg_get_userbyid(pubowner)::text, pg_catalog.pg_has_role(pubowner, 'USAGE'),
       puballtables, pubviaroot, pubinsert, pubupdate, pubdelete, pubtruncate, coalesce(to_jsonb(p) ->> 'pubgencols' = 's', false),
       coalesce(pg_catalog.obj_description(oid, 'pg_publication') = $2::text, false)
  FROM pg_catalog.pg_publication p WHERE pubname = $1::text`, name, publicationMark).
		Scan(&p.OID, &p.Owner, &p.Owned, &p.AllTables, &p.ViaRoot, &p.Insert, &p.Update, &p.Delete, &p.Truncate, &p.Generated, &p.Ours)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up publication %q: %w", name, err)
	}
	// attnames and rowfilter came with PostgreSQL 15.
	rows, err := conn.Query(ctx, `
SELECT t.schemaname::text, t.tablename::text,
       CASE WHEN to_jsonb(t) ? 'attnames'
            THEN ARRAY(SELECT jsonb_array_elements_text(to_jsonb(t) -> 'attnames')) END,
       coalesce(to_jsonb(t) ->> 'rowfilter', '')
  FROM pg_catalog.pg_publication_tables t WHERE t.pubname = $1::text`, name)
	if err != nil {
		return nil, fmt.Errorf("look up the tables of publication %q: %w", name, err)
	}
	p.Tables, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (t publishedTable, err error) {
		err = row.Scan(&t.Schema, &t.Name, &t.Columns, &t.Filter)
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("look up the tables of publication %q: %w", name, err)
	}
	return p, nil
}

func (p *publicationInfo) table(schema, name string) *publishedTable {
	for i := range p.Tables {
		if p.Tables[i].Schema == schema && p.Tables[i].Name == name {
			return &p.Tables[i]
		}
	}
	return nil
}

// unpublished returns the configured tables that the publication lacks: all,
// when there is no publication.
func (i *inspection) unpublished() (missing []*tableState) {
	for n := range i.tables {
		t := &i.tables[n]
		if t.found && (i.pub == nil || i.pub.table(t.Schema, t.Name) == nil) {
			missing = append(missing, t)
		}
	}
	return missing
}

// generatedVersion is the first that can publish generated columns.
const generatedVersion = 180000

// publicationMark is the comment of a publication that this program has made.
const publicationMark = "made by cdc; cdc drop removes it"

const allOperations = "insert, update, delete, truncate"

// createSQL is the statement that makes the publication. ONLY keeps the tables
// that inherit from a configured one out. For messages alone it has none.
func (i *inspection) createSQL() string {
	tables := ""
	if missing := i.unpublished(); len(missing) > 0 {
		tables = "FOR TABLE " + tableList(missing)
	}
	generated := ""
	if i.server.Version >= generatedVersion {
		generated = ", publish_generated_columns = stored"
	}
	return fmt.Sprintf("CREATE PUBLICATION %s %s WITH (publish = '%s', publish_via_partition_root = true%s)",
		replication.QuoteIdentifier(i.cfg.Publication), tables, allOperations, generated)
}

func (i *inspection) addSQL() string {
	return fmt.Sprintf("ALTER PUBLICATION %s ADD TABLE %s", replication.QuoteIdentifier(i.cfg.Publication), tableList(i.unpublished()))
}

func tableList(tables []*tableState) string {
	list := make([]string, len(tables))
	for n, t := range tables {
		list[n] = "ONLY " + t.sql()
	}
	return strings.Join(list, ", ")
}

func names(tables []*tableState) string {
	list := make([]string, len(tables))
	for n, t := range tables {
		list[n] = t.String()
	}
	return strings.Join(list, ", ")
}

func (i *inspection) inspectPublication(ctx context.Context, cat *catalog) error {
	err := cat.s.do(ctx, func(conn *pgx.Conn) (err error) {
		i.pub, err = readPublication(ctx, conn, i.cfg.Publication)
		return err
	})
	if err != nil {
		return err
	}
	subject := fmt.Sprintf("publication %q", i.cfg.Publication)
	pub := replication.QuoteIdentifier(i.cfg.Publication)
	missing := i.unpublished()
	for _, t := range missing {
		i.judgeUnpublished(t)
		if i.server.Version >= generatedVersion && (i.pub == nil || i.pub.Generated) {
			t.columns = nil
			for _, c := range t.info.Columns {
				if !c.Generated || c.Stored {
					t.columns = append(t.columns, c.Name)
				}
			}
		}
	}
	if i.pub == nil {
		switch lacks := i.lacksToPublish(missing); {
		case len(missing) < len(i.tables): // an error of its own, and the statement would be wrong
		case lacks == "" && len(missing) == 0:
			i.ok(subject, "does not exist yet: it will be made, for messages alone")
		case lacks == "":
			i.ok(subject, "does not exist yet: it will be made for %s", names(missing))
		default:
			i.add(replication.LevelError, subject, fmt.Sprintf("publication %q does not exist, and role %q cannot make it: it lacks %s",
				i.cfg.Publication, i.server.Role, lacks), "let the owner of the tables or a superuser run: "+i.createSQL())
		}
		return nil
	}

	p := i.pub
	if !p.Insert || !p.Update || !p.Delete {
		i.add(replication.LevelError, subject, fmt.Sprintf("publication %q does not publish %s", i.cfg.Publication, p.lacking()),
			"ALTER PUBLICATION "+pub+" SET (publish = '"+allOperations+"')")
	} else if !p.Truncate {
		i.add(replication.LevelWarning, subject, fmt.Sprintf("publication %q does not publish truncate: a TRUNCATE goes unnoticed", i.cfg.Publication),
			"ALTER PUBLICATION "+pub+" SET (publish = '"+allOperations+"')")
	}
	if !p.ViaRoot {
		for n := range i.tables {
			if t := &i.tables[n]; t.found && t.info.Kind == relPartitioned {
				i.add(replication.LevelError, subject, fmt.Sprintf("publication %q publishes the partitions of table %s, not the table itself", i.cfg.Publication, t),
					"ALTER PUBLICATION "+pub+" SET (publish_via_partition_root = true)")
				missing = slices.DeleteFunc(missing, func(m *tableState) bool { return m == t })
			}
		}
	}
	if len(missing) > 0 {
		lacks := i.lacksToAdd(missing)
		if lacks == "" {
			i.ok(subject, "lacks %s: it will be added", names(missing))
		} else {
			i.add(replication.LevelError, subject, fmt.Sprintf("publication %q lacks %s, and role %q cannot add it: it lacks %s",
				i.cfg.Publication, names(missing), i.server.Role, lacks),
				"let the owner of the publication and the tables or a superuser run: ALTER PUBLICATION "+pub+" ADD TABLE "+tableList(missing))
		}
	}
	i.takePublished(subject)
	if len(missing) == 0 {
		i.ok(subject, "covers all configured tables")
	}
	return nil
}

// judgeUnpublished refuses a table that was captured up to the checkpoint and is
// not published any more: nobody knows since when its changes are missing. DROP
// TABLE takes a table out of the publication; the one made anew is another.
func (i *inspection) judgeUnpublished(t *tableState) {
	if i.from == nil {
		return
	}
	if _, captured := i.from.Tables[tableKey(t.Schema, t.Name)]; !captured || i.madeAnew(t) {
		return
	}
	i.add(replication.LevelError, "table "+t.String(),
		fmt.Sprintf("table %s was captured so far, but publication %q does not have it any more (it was dropped and made anew, or taken out): changes of it are missing", t, i.cfg.Publication),
		"run cdc drop, then start again: everything is read again; or take the table out of the configuration, start and stop, and add it again: "+
			"its rows are read again (either way, rows that are gone are not noticed by a snapshot)")
}

// takePublished notes which columns and rows of the tables are published, and
// which tables beyond the configured ones.
func (i *inspection) takePublished(subject string) {
	var extra []string
	for _, pt := range i.pub.Tables {
		n := slices.IndexFunc(i.tables, func(t tableState) bool { return t.found && t.Schema == pt.Schema && t.Name == pt.Name })
		if n < 0 {
			extra = append(extra, quoteTable(pt.Schema, pt.Name))
			continue
		}
		t := &i.tables[n]
		if pt.Filter != "" {
			t.filter = pt.Filter
			i.add(replication.LevelWarning, "table "+t.String(), fmt.Sprintf("table %s: publication %q publishes only the rows with %s", t, i.cfg.Publication, pt.Filter), "")
		}
		if pt.Columns == nil {
			continue
		}
		all := t.columns
		t.columns = nil
		for _, c := range t.info.Columns {
			// Before PostgreSQL 18 a generated column is never published.
			if slices.Contains(pt.Columns, c.Name) && (!c.Generated || i.server.Version >= generatedVersion) {
				t.columns = append(t.columns, c.Name)
			}
		}
		if len(t.columns) < len(all) {
			i.add(replication.LevelWarning, "table "+t.String(), fmt.Sprintf("table %s: publication %q publishes only the columns %s", t, i.cfg.Publication, strings.Join(t.columns, ", ")), "")
		}
	}
	if len(extra) == 0 {
		return
	}
	slices.Sort(extra)
	shown := strings.Join(extra[:min(len(extra), 10)], ", ")
	if len(extra) > 10 {
		shown += fmt.Sprintf(" and %d more", len(extra)-10)
	}
	remedy := "ALTER PUBLICATION " + replication.QuoteIdentifier(i.cfg.Publication) + " DROP TABLE " + shown
	if i.pub.AllTables {
		remedy = "let " + i.createSQLFor() + " replace it"
	}
	i.add(replication.LevelWarning, subject, fmt.Sprintf("publication %q has tables that are not configured (%s): their changes are sent and then thrown away", i.cfg.Publication, shown), remedy)
}

// uncovered tells of a column of the replica identity that is not published:
// PostgreSQL rejects the application's UPDATE and DELETE then ("Logical
// Replication", Column Lists; from 18 on also for generated columns).
func (i *inspection) uncovered(t *tableState) (problem, remedy string) {
	pub := replication.QuoteIdentifier(i.cfg.Publication)
	identity := t.info.identity()
	for _, c := range t.info.Columns {
		full := t.info.Identity == identityFull && i.server.Version >= generatedVersion
		if slices.Contains(t.columns, c.Name) || !slices.Contains(identity, c.Name) && !full {
			continue
		}
		problem = fmt.Sprintf("has the column %q in its replica identity (%s), which publication %q leaves out: PostgreSQL rejects UPDATE and DELETE of it",
			c.Name, t.identityName(), i.cfg.Publication)
		switch {
		case c.Stored:
			return problem, "ALTER PUBLICATION " + pub + " SET (publish_generated_columns = stored)"
		case c.Generated:
			return problem, "ALTER TABLE " + t.sql() + " REPLICA IDENTITY DEFAULT: a virtual column cannot be published"
		}
		return problem, "ALTER PUBLICATION " + pub + " SET TABLE … with that column in the table's list"
	}
	return "", ""
}

// createSQLFor is createSQL for all configured tables.
func (i *inspection) createSQLFor() string {
	var all []*tableState
	for n := range i.tables {
		all = append(all, &i.tables[n])
	}
	return fmt.Sprintf("CREATE PUBLICATION … FOR TABLE %s", tableList(all))
}

func (p *publicationInfo) lacking() string {
	var l []string
	for _, op := range []struct {
		on   bool
		name string
	}{{p.Insert, "insert"}, {p.Update, "update"}, {p.Delete, "delete"}} {
		if !op.on {
			l = append(l, op.name)
		}
	}
	return strings.Join(l, ", ")
}

// lacksToPublish says what the role lacks to make a publication of the tables.
func (i *inspection) lacksToPublish(tables []*tableState) string {
	if i.server.Superuser {
		return ""
	}
	var l []string
	if !i.server.CanCreate {
		l = append(l, fmt.Sprintf("CREATE on database %q", i.server.Database))
	}
	return strings.Join(append(l, i.notOwned(tables)...), ", ")
}

// lacksToAdd says what the role lacks to add the tables to the publication.
func (i *inspection) lacksToAdd(tables []*tableState) string {
	if i.server.Superuser {
		return ""
	}
	var l []string
	if !i.pub.Owned {
		l = append(l, fmt.Sprintf("ownership of the publication (it is %q's)", i.pub.Owner))
	}
	return strings.Join(append(l, i.notOwned(tables)...), ", ")
}

func (i *inspection) notOwned(tables []*tableState) (l []string) {
	for _, t := range tables {
		if !t.owned {
			l = append(l, fmt.Sprintf("ownership of table %s (it is %q's)", t, t.owner))
		}
	}
	return l
}

// publish makes the publication, or adds the tables that it lacks.
func (i *inspection) publish(ctx context.Context, conn *pgx.Conn) error {
	missing := i.unpublished()
	if len(missing) == 0 && i.pub != nil {
		return nil
	}
	sql := i.createSQL()
	if i.pub != nil {
		sql = i.addSQL()
	}
	if _, err := conn.Exec(ctx, sql); err != nil {
		if sqlState(err) == codeNoPrivilege {
			return &replication.Refusal{
				Problem: fmt.Sprintf("role %q cannot publish %s", i.server.Role, names(missing)),
				Remedy:  "let the owner of the tables or a superuser run: " + sql,
				Err:     err,
			}
		}
		return fmt.Errorf("publish %s: %w", names(missing), err)
	}
	if i.pub == nil {
		// What carries the mark may be dropped by Drop; one that somebody else
		// has made stays theirs.
		if _, err := conn.Exec(ctx, "COMMENT ON PUBLICATION "+replication.QuoteIdentifier(i.cfg.Publication)+" IS "+replication.QuoteLiteral(publicationMark)); err != nil {
			return fmt.Errorf("mark publication %q as made by cdc: %w", i.cfg.Publication, err)
		}
	}
	i.cfg.Logger.Info("published tables", "publication", i.cfg.Publication, "tables", names(missing))
	return nil
}
