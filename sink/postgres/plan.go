package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"cdc/replication"
	"cdc/sink"
	"cdc/sink/apply"
)

// plan is one Shape compiled against the target's table as it is.
type plan struct {
	shape *sink.Shape
	table string   // quoted, qualified
	cols  []column // the columns that both have, in the Shape's order
	key   []int    // indexes into cols
	// missing says that the record has fields for which the target has no
	// column; the plan then is made anew now and then, in case it got one.
	missing bool
	made    time.Time
	hints   []string // what ALTER TABLE would have to do for columns that may not hold their field's values
	absent  bool     // there is no table, and a KeysOnly shape makes none
	copied  bool     // some column's type has no array type, or unnest takes it apart, or it has another delimiter there: only COPY loads it
	stage   string   // the temp table of this connection, if it is made

	// Optimistic COPY of new rows: after a unique violation it pauses for some
	// batches, twice as many after each further one.
	pause, penalty int

	apply.Split       // scratch, reused for each batch
	fields      []int // of cols
}

// column is one column to write.
type column struct {
	field    int    // index into Shape.Fields
	name     string // quoted
	typ      string // the target's type without modifiers, for casts: input functions then assign with the modifiers and refuse, where a cast would cut silently
	bits     uint8
	key      bool
	identity bool // GENERATED ALWAYS AS IDENTITY: can be inserted, not updated
	// alike says of a column of the key that it takes texts for the same which are
	// not, as citext does.
	alike bool
}

const inspectSQL = `SELECT a.attname, format_type(a.atttypid, -1), t.typarray = 0 OR t.typcategory IN ('A', 'C') OR t.typdelim <> ',', a.attgenerated <> '', a.attidentity = 'a', format_type(a.atttypid, a.atttypmod), col_description(a.attrelid, a.attnum),
  EXISTS (SELECT FROM pg_collation c WHERE c.oid = a.attcollation AND NOT c.collisdeterministic) OR EXISTS (SELECT FROM pg_type b WHERE b.oid IN (t.oid, t.typbasetype) AND b.typname = 'citext')
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped`

const uniqueSQL = `SELECT array_to_string(ARRAY(SELECT quote_ident(a.attname) FROM pg_attribute a
  WHERE a.attrelid = i.indrelid AND a.attnum = ANY((i.indkey::int2[])[0:i.indnkeyatts-1]) ORDER BY a.attname), ','),
  i.indimmediate, (SELECT quote_ident(conname) || ' ' || CASE contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END FROM pg_constraint WHERE conindid = i.indexrelid AND contype IN ('p', 'u'))
FROM pg_index i
WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL`

// plan returns the shape's compiled plan, making the table or its columns
// where that is allowed. It is called outside a transaction.
func (w *Writer) plan(ctx context.Context, s *sink.Shape) (*plan, error) {
	old := w.plans[s]
	if old != nil && !(old.missing && time.Since(old.made) > apply.RecheckMissing) {
		return old, nil
	}
	schema := s.Schema
	if schema == "" {
		schema = w.cfg.Schema
	}
	if err := tooLong(schema, s); err != nil {
		return nil, err
	}
	p := &plan{shape: s, table: tableName(schema, s.Table), made: time.Now()}
	cols, err := w.query(ctx, inspectSQL, p.table)
	if err != nil {
		return nil, fmt.Errorf("inspect table %s: %w", p.table, err)
	}
	if len(cols) == 0 && s.KeysOnly {
		p.absent = true // and may come any moment: not kept
		return p, nil
	}
	target := make(map[string][][]byte, len(s.Fields))
	for _, c := range cols {
		target[string(c[0])] = c
	}
	if err := w.learnTypes(ctx, s); err != nil {
		return nil, err
	}
	if len(cols) == 0 {
		if cols, err = w.createTable(ctx, p); err != nil {
			return nil, err
		}
	}
	for _, c := range cols {
		target[string(c[0])] = c
	}
	for _, follow := range []func(context.Context, *plan, map[string][][]byte) (bool, error){w.rename, w.addColumns, w.widen} {
		changed, err := follow(ctx, p, target)
		if err != nil {
			return nil, err
		}
		if !changed {
			continue
		}
		if cols, err = w.query(ctx, inspectSQL, p.table); err != nil {
			return nil, fmt.Errorf("inspect table %s: %w", p.table, err)
		}
		for _, c := range cols {
			target[string(c[0])] = c
		}
	}
	var ignored []string
	keyed := 0
	for i, f := range s.Fields {
		name := w.columnName(p, f.Name, target)
		c, ok := target[name]
		if f.Key {
			keyed++
		}
		if !ok {
			if f.Key {
				return nil, &replication.Refusal{
					Problem: fmt.Sprintf("table %s has no column for the key field %q of topic %s", p.table, f.Name, s.Topic),
					Remedy:  w.types.addColumn(p.table, f) + ", or add_columns: true",
				}
			}
			ignored = append(ignored, f.Name)
			continue
		}
		if string(c[3]) == "t" { // GENERATED ALWAYS AS (…) STORED computes itself
			if f.Key {
				return nil, &replication.Refusal{
					Problem: fmt.Sprintf("the key field %q of topic %s is a generated column of table %s, which cannot be written", f.Name, s.Topic, p.table),
					Remedy:  fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s DROP EXPRESSION", p.table, replication.QuoteIdentifier(f.Name)),
				}
			}
			continue
		}
		if string(c[2]) == "t" {
			p.copied = true
		}
		col := column{field: i, name: replication.QuoteIdentifier(name), typ: string(c[1]), bits: f.Bits, key: f.Key, identity: string(c[4]) == "t", alike: f.Key && string(c[7]) == "t"}
		if f.Key {
			p.key = append(p.key, len(p.cols))
		} else if col.identity && !w.planned[s] {
			w.log.Warn("an identity column of the target takes values of new rows only: updates of it are not applied",
				"table", p.table, "column", name, "remedy", "ALTER TABLE "+p.table+" ALTER COLUMN "+col.name+" SET GENERATED BY DEFAULT")
		}
		p.cols, p.fields = append(p.cols, col), append(p.fields, i)
	}
	if len(p.cols) == 0 && !s.KeysOnly {
		return nil, &replication.Refusal{
			Problem: fmt.Sprintf("table %s has none of the columns of topic %s", p.table, s.Topic),
			Remedy:  "add columns to it (" + w.types.addColumn(p.table, s.Fields[0]) + "), or set add_columns: true",
		}
	}
	if keyed > 0 {
		if err := w.requireUnique(ctx, p); err != nil {
			return nil, err
		}
	}
	p.missing = len(ignored) > 0
	if p.missing && (old == nil || !old.missing) {
		w.log.Warn("fields without a column in the target are ignored", "topic", s.Topic, "table", p.table, "fields", ignored)
	}
	if old != nil {
		if slices.Equal(old.cols, p.cols) {
			old.made = p.made
			return old, nil
		}
		if old.stage != "" {
			if err := w.exec(ctx, "DROP TABLE IF EXISTS "+old.stage); err != nil {
				return nil, fmt.Errorf("drop temp table %s: %w", old.stage, err)
			}
		}
		p.pause, p.penalty = old.pause, old.penalty
	}
	w.plans[s] = p
	if !s.KeysOnly {
		w.last[p.table] = s
	}
	w.planned[s] = true
	return p, nil
}

// maxName is how many bytes of a name PostgreSQL keeps (NAMEDATALEN - 1). It
// cuts longer ones without an error, so that two of them may become one.
const maxName = 63

// tooLong refuses names that the target would cut.
func tooLong(schema string, s *sink.Shape) error {
	if len(schema) > maxName || len(s.Table) > maxName {
		return &replication.Refusal{
			Problem: fmt.Sprintf("the table's name for topic %s, %s, is longer than the %d bytes that PostgreSQL keeps of a name", s.Topic, tableName(schema, s.Table), maxName),
			Remedy:  "give the topic a table with a shorter name in sinks[].tables",
		}
	}
	for _, f := range s.Fields {
		if len(f.Name) > maxName {
			return &replication.Refusal{
				Problem: fmt.Sprintf("the field %q of topic %s is longer than the %d bytes that PostgreSQL keeps of a column's name", f.Name, s.Topic, maxName),
				Remedy:  "rename the field where it is published (tables[].rename)",
			}
		}
	}
	return nil
}

func (w *Writer) createTable(ctx context.Context, p *plan) ([][][]byte, error) {
	ddl := w.types.createTable(p.table, p.shape)
	refuse := func(err error) error {
		return &replication.Refusal{
			Problem: fmt.Sprintf("table %s for topic %s does not exist", p.table, p.shape.Topic),
			Remedy:  ddl + " (or create_tables: true, with the right to)",
			Err:     err,
		}
	}
	if !w.cfg.CreateTables {
		return nil, refuse(nil)
	}
	err := w.exec(ctx, ddl)
	switch code := sqlState(err); {
	case err == nil:
		w.log.Info("created table", "table", p.table, "topic", p.shape.Topic)
	case madeMeanwhile(err):
	case code == noPrivilege || code == "3F000":
		return nil, refuse(err)
	default:
		return nil, fmt.Errorf("create table %s for topic %s: %w", p.table, p.shape.Topic, err)
	}
	return w.query(ctx, inspectSQL, p.table)
}

func (w *Writer) addColumns(ctx context.Context, p *plan, target map[string][][]byte) (bool, error) {
	if !w.cfg.AddColumns || p.shape.KeysOnly {
		return false, nil
	}
	added := false
	for _, f := range p.shape.Fields {
		if _, ok := target[w.columnName(p, f.Name, target)]; ok {
			continue
		}
		ddl := w.types.addColumn(p.table, f)
		err := w.exec(ctx, ddl)
		switch code := sqlState(err); {
		case err == nil:
			w.log.Info("added column", "table", p.table, "column", f.Name, "type", w.types.sqlType(f.Column))
		case code == duplicateColumn || code == uniqueViolation:
		case code == noPrivilege:
			return false, &replication.Refusal{
				Problem: fmt.Sprintf("table %s has no column %q for topic %s, and it may not be added", p.table, f.Name, p.shape.Topic),
				Remedy:  ddl + " (as the table's owner, or add_columns: false to ignore the field)",
				Err:     err,
			}
		default:
			return false, fmt.Errorf("add column %q to table %s: %w", f.Name, p.table, err)
		}
		added = true
	}
	return added, nil
}

// requireUnique refuses a table on which ON CONFLICT has nothing to hold on to.
func (w *Writer) requireUnique(ctx context.Context, p *plan) error {
	rows, err := w.query(ctx, uniqueSQL, p.table)
	if err != nil {
		return fmt.Errorf("inspect indexes of table %s: %w", p.table, err)
	}
	quoted, err := w.query(ctx, `SELECT array_to_string(ARRAY(SELECT quote_ident(c) FROM unnest($1::name[]) c ORDER BY c), ',')`, textArray(p.keyNames()))
	if err != nil {
		return fmt.Errorf("inspect indexes of table %s: %w", p.table, err)
	}
	want := string(quoted[0][0])
	rows = slices.DeleteFunc(rows, func(r [][]byte) bool { return string(r[0]) != want })
	for _, r := range rows {
		if string(r[1]) == "t" {
			continue
		}
		// PostgreSQL refuses ON CONFLICT even when another index would do.
		name, kind, _ := strings.Cut(string(r[2]), " ")
		return &replication.Refusal{
			Problem: fmt.Sprintf("the key of table %s is a deferrable constraint, with which an upsert is not possible", p.table),
			Remedy:  fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s, ADD %s (%s)", p.table, name, kind, p.names(p.keyColumns())),
		}
	}
	if len(rows) > 0 {
		return nil
	}
	return &replication.Refusal{
		Problem: fmt.Sprintf("table %s has no unique index on exactly the key of topic %s (%s)", p.table, p.shape.Topic, strings.Join(p.keyNames(), ", ")),
		Remedy:  fmt.Sprintf("CREATE UNIQUE INDEX ON %s (%s)", p.table, p.names(p.keyColumns())),
	}
}

func (p *plan) keyNames() []string {
	var names []string
	for _, f := range p.shape.Fields {
		if f.Key {
			names = append(names, f.Name)
		}
	}
	return names
}

// keyColumns returns the columns of the key.
func (p *plan) keyColumns() []column {
	return apply.Pick(p.cols, func(c *column) bool { return c.key })
}

// names lists columns for SQL.
func (p *plan) names(cols []column) string {
	return apply.Join(cols, ", ", func(c *column) string { return c.name })
}
