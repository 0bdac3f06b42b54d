package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"cdc/replication"
)

// judgePublishedTables looks at keys, once it is known which columns are
// published.
func (i *inspection) judgePublishedTables() {
	for n := range i.tables {
		t := &i.tables[n]
		if t.found && (t.info.Kind == relTable || t.info.Kind == relPartitioned) && t.info.Persistence == persistent && !t.system {
			i.judgeKey(t)
		}
	}
}

// judgeKey makes sure that every update and delete tells whose it is. It runs
// before the table is published: with no usable identity PostgreSQL would
// reject the application's UPDATE and DELETE from then on.
func (i *inspection) judgeKey(t *tableState) {
	bad := func(problem, remedy string) {
		i.add(replication.LevelError, "table "+t.String(), fmt.Sprintf("table %s %s", t, problem), remedy)
	}
	alter := "ALTER TABLE " + t.sql() + " "
	identity := t.info.identity()
	full := alter + "REPLICA IDENTITY FULL"

	if len(identity) == 0 {
		const so = ": the log would not tell which row an UPDATE or DELETE meant, and once it is published PostgreSQL would reject them"
		switch {
		case len(t.info.Key) > 0:
			bad("has REPLICA IDENTITY "+t.identityName()+so, alter+"REPLICA IDENTITY DEFAULT")
		default:
			index := `"a_unique_index"`
			if len(t.unique) > 0 {
				index = t.unique[0]
			}
			bad("has no primary key and REPLICA IDENTITY "+t.identityName()+so,
				alter+"ADD PRIMARY KEY (…); or "+alter+"REPLICA IDENTITY USING INDEX "+index+"; or "+full+
					"; the latter two with the key's columns configured for the table (key: {field: […]}, or key: none)")
		}
		return
	}
	if t.info.Kind == relPartitioned && t.leaves != "" && t.leaves != string(t.info.Identity) {
		bad("has partitions with another replica identity than its own", t.evenOut())
		return
	}
	if t.info.Kind == relPartitioned && t.info.Identity == identityIndex {
		bad("is partitioned and has REPLICA IDENTITY USING INDEX, which holds for each partition by itself",
			alter+"REPLICA IDENTITY DEFAULT (or FULL), and the same for every partition")
		return
	}

	key, what := t.info.Key, "primary key"
	switch {
	case t.Keyless:
		key = nil
	case len(t.Key) > 0:
		key, what = t.Key, "configured key"
		for _, name := range t.Key {
			if t.info.column(name) == nil {
				bad(fmt.Sprintf("has no column %q, which its configured key names", name),
					"mend the key in the configuration; the table's columns are "+strings.Join(t.columns, ", "))
				return
			}
		}
	case len(key) == 0:
		bad("has no primary key, so its records have no key by themselves",
			"configure the columns of its key for the table (key: {field: […]}; its replica identity has "+
				strings.Join(identity, ", ")+"), or key: none, or "+alter+"ADD PRIMARY KEY (…)")
		return
	}
	for _, name := range key {
		if c := t.info.column(name); c != nil && !slices.Contains(t.columns, name) {
			if c.Generated {
				bad(fmt.Sprintf("has the generated column %q in its %s, which the log leaves out", name, what),
					"configure a key of columns that are not generated")
			} else {
				bad(fmt.Sprintf("has the column %q in its %s, which publication %q leaves out", name, what, i.cfg.Publication),
					"ALTER PUBLICATION "+replication.QuoteIdentifier(i.cfg.Publication)+" SET TABLE … with that column in the table's list")
			}
			return
		}
		if !slices.Contains(identity, name) {
			remedy := full
			if len(t.Key) == 0 {
				remedy = alter + "REPLICA IDENTITY DEFAULT"
			}
			bad(fmt.Sprintf("has the column %q of its %s outside its replica identity (%s: %s): a delete would not tell its value",
				name, what, t.identityName(), strings.Join(identity, ", ")), remedy)
			return
		}
	}
	if problem, remedy := i.uncovered(t); problem != "" {
		bad(problem, remedy)
		return
	}

	if t.usage && t.sel && !t.hidden {
		i.ok("table "+t.String(), "%s", t.gives(identity))
	}
}

// gives says what the log has under the table's replica identity, what it has
// not, and the statement that gives more, or costs less.
func (t *tableState) gives(identity []string) string {
	alter := "ALTER TABLE " + t.sql() + " REPLICA IDENTITY "
	if t.info.Identity == identityFull {
		s := "replica identity FULL: updates and deletes have the whole old row, with large values that an update left alone"
		if len(t.info.Key) > 0 {
			s += "; each also costs the log that old row (" + alter + "DEFAULT has the key alone)"
		}
		return s
	}
	s := fmt.Sprintf("replica identity %s (%s): deletes have the key, updates the old key when it changes, and no more of the old row; ",
		t.identityName(), strings.Join(identity, ", "))
	if large := t.maybeLeftOut(identity); len(large) == 0 {
		s += "no column of it is large"
	} else {
		s += "large values of " + strings.Join(large, ", ") + " that an update leaves alone are " + map[Toast]string{
			ToastRefetch: "read from the table again",
			ToastOmit:    "left out of the record (toast: omit)",
			ToastFail:    "an error of the row (toast: fail)",
		}[t.Toast]
	}
	return s + " (" + alter + "FULL has the whole old row)"
}

// maybeLeftOut returns the published columns whose values the log may leave out,
// the first few.
func (t *tableState) maybeLeftOut(identity []string) (names []string) {
	for _, name := range t.large {
		if !slices.Contains(t.columns, name) || slices.Contains(identity, name) {
			continue
		}
		if len(names) == 8 {
			return append(names, "…")
		}
		names = append(names, name)
	}
	return names
}

// evenOut gives every partition the replica identity of the table.
func (t *tableState) evenOut() string {
	list := make([]string, len(t.uneven))
	for n, name := range t.uneven {
		list[n] = "ALTER TABLE " + name + " REPLICA IDENTITY " + t.identityName()
	}
	return strings.Join(list, "; ")
}

// Columns that may be stored out of line; unique indexes that are immediate and
// whole, over columns that are NOT NULL (manual, ALTER TABLE, "REPLICA
// IDENTITY"); partitions that differ.
const identitySQL = `
SELECT ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attlen < 0 AND a.attstorage <> 'p' ORDER BY a.attnum),
       ARRAY(SELECT pg_catalog.quote_ident(x.relname) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
              WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
                AND NOT EXISTS (SELECT FROM pg_catalog.unnest(i.indkey) WITH ORDINALITY k(num, pos), pg_catalog.pg_attribute a
                                 WHERE k.pos <= i.indnkeyatts AND a.attrelid = c.oid AND a.attnum = k.num AND NOT a.attnotnull)
              ORDER BY i.indnkeyatts, x.relname),
       ARRAY(SELECT p.relid::regclass::text FROM pg_catalog.pg_partition_tree(c.oid) p JOIN pg_catalog.pg_class l ON l.oid = p.relid
              WHERE p.isleaf AND c.relkind = 'p' AND l.relreplident <> c.relreplident ORDER BY 1)
  FROM pg_catalog.pg_class c WHERE c.oid = $1::oid`

func (t *tableState) readIdentity(ctx context.Context, conn *pgx.Conn) error {
	return conn.QueryRow(ctx, identitySQL, t.info.OID).Scan(&t.large, &t.unique, &t.uneven)
}

func (t *tableState) identityName() string {
	switch t.info.Identity {
	case identityDefault:
		return "DEFAULT"
	case identityIndex:
		if len(t.info.Index) == 0 {
			return "USING INDEX whose index is gone"
		}
		return "USING INDEX"
	case identityFull:
		return "FULL"
	}
	return "NOTHING"
}
