package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"cdc/replication"
)

// errNoTable says that the catalog has no relation of that OID or name (any
// more).
var errNoTable = errors.New("no such table")

// catalog answers from pg_catalog what the log does not tell: primary keys,
// NOT NULL, and what a type's OID means. It knows the present only; whoever
// reads an old piece of the log checks it against the relation message. Types
// are remembered, tables are not. The goroutine that owns the session owns it.
type catalog struct {
	s      *session
	types  map[uint32]typeInfo
	names  map[typeMod]string
	newest map[string]*replication.Table // by tableKey: what intern handed out last
	// asText holds, by tableKey, the columns that travel as their text, and
	// textIDs those that were seen, by Column.ID: they stay text when they, or
	// their table, are renamed.
	asText  map[string][]string
	textIDs map[string]bool
}

func newCatalog(s *session) *catalog {
	c := &catalog{s: s, types: map[uint32]typeInfo{}, names: map[typeMod]string{}, newest: map[string]*replication.Table{}, asText: map[string][]string{}, textIDs: map[string]bool{}}
	for _, t := range s.config.Tables {
		c.asText[tableKey(t.Schema, t.Name)] = t.AsText
	}
	return c
}

// Kinds of relations, replica identities and persistences, as they stand in pg_class.
const (
	relTable       = 'r'
	relPartitioned = 'p'

	identityDefault = 'd' // the primary key
	identityIndex   = 'i' // the columns of one unique index
	identityFull    = 'f' // all columns
	identityNothing = 'n'

	persistent = 'p'
)

// tableInfo is what the catalog knows of one table.
type tableInfo struct {
	OID          uint32
	Schema, Name string
	Kind         byte // pg_class.relkind
	Persistence  byte // pg_class.relpersistence
	Identity     byte // pg_class.relreplident
	Rows         int64
	Natts        int16 // the highest number that a column ever had
	Listed       bool  // some publication has only some columns of it
	// Columns are those that are not dropped, in their order; generated ones
	// too, which the log leaves out.
	Columns []columnInfo
	// Key names the columns of the primary key, in the key's order. A
	// deferrable one is none: PostgreSQL does not take it as an identity.
	Key []string
	// Index names the columns of the index of REPLICA IDENTITY USING INDEX, in
	// the index's order.
	Index []string
}

func (t *tableInfo) name() replication.TableName {
	return replication.TableName{Schema: t.Schema, Name: t.Name}
}

// columnInfo is one column of a tableInfo.
type columnInfo struct {
	Name    string
	TypeOID uint32
	Typmod  int32
	Dims    int32 // that an array is declared with
	Number  int16 // for life
	// HasMissing and Missing are as in replication.Column.
	HasMissing bool
	Missing    string
	NotNull    bool
	Generated  bool
	Stored     bool   // generated and stored: PostgreSQL 18 can publish it
	Default    string // the expression, as the server prints it
}

// column returns the column of that name, or nil.
func (t *tableInfo) column(name string) *columnInfo {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}

// identity returns the names of the columns whose old values the log has.
func (t *tableInfo) identity() []string {
	switch t.Identity {
	case identityDefault:
		return t.Key
	case identityIndex:
		return t.Index
	case identityFull:
		var all []string
		for _, c := range t.Columns {
			if !c.Generated {
				all = append(all, c.Name)
			}
		}
		return all
	}
	return nil
}

// table returns the table of that OID as it is now, or errNoTable.
func (c *catalog) table(ctx context.Context, oid uint32) (info tableInfo, err error) {
	err = c.s.do(ctx, func(conn *pgx.Conn) error {
		info, err = readTable(ctx, conn, `c.oid = $1::oid`, oid)
		return err
	})
	return info, err
}

// named is table by name.
func (c *catalog) named(ctx context.Context, schema, name string) (info tableInfo, err error) {
	err = c.s.do(ctx, func(conn *pgx.Conn) error {
		info, err = readTable(ctx, conn, `n.nspname = $1::text AND c.relname = $2::text`, schema, name)
		return err
	})
	return info, err
}

const tableSQL = `
SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.relpersistence::text, c.relreplident::text, c.reltuples::bigint, c.relnatts,
       EXISTS (SELECT FROM pg_catalog.pg_publication_rel r WHERE r.prrelid = c.oid AND pg_catalog.to_jsonb(r)->>'prattrs' IS NOT NULL),
       ARRAY(SELECT a.attname::text
               FROM pg_catalog.pg_index i, unnest(i.indkey) WITH ORDINALITY k(num, pos), pg_catalog.pg_attribute a
              WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid AND i.indimmediate
                AND a.attrelid = c.oid AND a.attnum = k.num AND k.pos <= i.indnkeyatts ORDER BY k.pos),
       ARRAY(SELECT a.attname::text
               FROM pg_catalog.pg_index i, unnest(i.indkey) WITH ORDINALITY k(num, pos), pg_catalog.pg_attribute a
              WHERE i.indrelid = c.oid AND i.indisreplident AND i.indisvalid AND i.indimmediate
                AND a.attrelid = c.oid AND a.attnum = k.num AND k.pos <= i.indnkeyatts ORDER BY k.pos)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind NOT IN ('i', 'I', 't') AND `

const columnsSQL = `
SELECT a.attname, a.atttypid, a.atttypmod, a.attndims::int4, a.attnotnull, a.attgenerated <> '', a.attgenerated = 's',
       a.attnum, a.atthasmissing, coalesce((a.attmissingval::text::text[])[1], ''),
       CASE WHEN a.attgenerated = '' THEN coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '') ELSE '' END
  FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum`

func readTable(ctx context.Context, conn *pgx.Conn, where string, args ...any) (tableInfo, error) {
	var t tableInfo
	var kind, persistence, identity string
	err := conn.QueryRow(ctx, tableSQL+where, args...).
		Scan(&t.OID, &t.Schema, &t.Name, &kind, &persistence, &identity, &t.Rows, &t.Natts, &t.Listed, &t.Key, &t.Index)
	if errors.Is(err, pgx.ErrNoRows) {
		return t, errNoTable
	}
	if err != nil {
		return t, fmt.Errorf("look up table: %w", err)
	}
	t.Kind, t.Persistence, t.Identity = kind[0], persistence[0], identity[0]
	rows, err := conn.Query(ctx, columnsSQL, t.OID)
	if err != nil {
		return t, fmt.Errorf("look up columns of table %s.%s: %w", t.Schema, t.Name, err)
	}
	t.Columns, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c columnInfo, err error) {
		err = row.Scan(&c.Name, &c.TypeOID, &c.Typmod, &c.Dims, &c.NotNull, &c.Generated, &c.Stored, &c.Number, &c.HasMissing, &c.Missing, &c.Default)
		return c, err
	})
	if err != nil {
		return t, fmt.Errorf("look up columns of table %s.%s: %w", t.Schema, t.Name, err)
	}
	return t, nil
}

// wireColumn is one column as the tuples of a relation have it.
type wireColumn struct {
	Name     string
	TypeOID  uint32
	Typmod   int32
	Identity bool
	Number   int16 // in the catalog; 0 when it is not known
}

// shape returns the Table whose rows consist of cols. Names, types and the
// identity come from cols (a relation message, or the snapshot's select list),
// NOT NULL and the order of the key from info, as far as they fit: info may be
// younger than cols, or zero for a table that is gone. It returns the pointer
// it returned before when the shape is the same. home is the table's name in the
// configuration, or again name.
func (c *catalog) shape(ctx context.Context, name, home replication.TableName, identity byte, cols []wireColumn, info tableInfo) (*replication.Table, error) {
	t := &replication.Table{Schema: name.Schema, Name: name.Name, Columns: make([]replication.Column, len(cols))}
	if home != name {
		t.Home = home
	}
	asText := c.asText[tableKey(home.Schema, home.Name)]
	for i, w := range cols {
		known := info.column(w.Name)
		if known != nil && known.TypeOID != w.TypeOID {
			known = nil
		}
		var dims int32
		if known != nil {
			dims = known.Dims
		}
		col, err := c.column(ctx, w.TypeOID, w.Typmod, dims)
		if err != nil {
			return nil, fmt.Errorf("table %s: column %q: %w", t, w.Name, err)
		}
		id := ""
		if w.Number != 0 {
			id = fmt.Sprintf("%d.%d", info.OID, w.Number)
		}
		if slices.Contains(asText, w.Name) && id != "" {
			c.textIDs[id] = true
		}
		if slices.Contains(asText, w.Name) || c.textIDs[id] || known == nil && c.wasText(t, w.Name, col.TypeName) {
			if col.Kind == replication.KindArray && col.BaseType != "" {
				col.BaseType += "[]"
			}
			col = replication.Column{Kind: replication.KindString, AsText: true, TypeName: col.TypeName, BaseType: col.BaseType}
		}
		col.Name, col.Identity, col.ID = w.Name, w.Identity, id
		if known != nil {
			col.NotNull, col.HasMissing, col.Missing = known.NotNull, known.HasMissing, known.Missing
			col.Default = known.Default
		}
		t.Columns[i] = col
	}
	t.Key = key(cols, identity, info.Key)
	return c.intern(t), nil
}

// wasText reports whether the column, which the catalog has no more, was text
// in the table's last version: the log does not tell the declared dimensions.
func (c *catalog) wasText(t *replication.Table, column, typeName string) bool {
	last := c.newest[tableKey(t.Schema, t.Name)]
	if last == nil {
		return false
	}
	i := last.Column(column)
	return i >= 0 && last.Columns[i].TypeName == typeName && last.Columns[i].AsText
}

// key returns the indexes of the primary key's columns. Under REPLICA IDENTITY
// DEFAULT the columns that the log flags are the key, at that place of the log;
// the catalog only knows their order, and whether there is another one now.
func key(cols []wireColumn, identity byte, catalogKey []string) []int {
	var fromCatalog []int
	for _, name := range catalogKey {
		i := slices.IndexFunc(cols, func(w wireColumn) bool { return w.Name == name })
		if i < 0 {
			fromCatalog = nil
			break
		}
		fromCatalog = append(fromCatalog, i)
	}
	if identity != identityDefault {
		return fromCatalog
	}
	var flagged []int
	for i, w := range cols {
		if w.Identity {
			flagged = append(flagged, i)
		}
	}
	if slices.Equal(slices.Sorted(slices.Values(fromCatalog)), flagged) {
		return fromCatalog
	}
	return flagged
}

// intern returns the Table handed out last for that name when it has t's shape,
// else t.
func (c *catalog) intern(t *replication.Table) *replication.Table {
	name := tableKey(t.Schema, t.Name)
	if old := c.newest[name]; old != nil && old.Equal(t) {
		return old
	}
	c.newest[name] = t
	return t
}
