package mysql

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
	absent  bool // there is no table, and a KeysOnly shape makes none
	// guard is a column of the key that is NOT NULL: an upsert would take a
	// conflict on another unique index, which may be made at any time, for the
	// row's own. "" when there is none, and no other unique index either.
	guard string

	insert, update string // an upsert's parts before and after the rows

	apply.Split       // scratch, reused for each batch
	fields      []int // of cols
}

// plan returns the shape's compiled plan, making the table or its columns
// where that is allowed. It is called outside a transaction: DDL would commit
// it. Both are done before the batch, so that a crash in between leaves a table
// or a column that the batch, which comes again, finds.
func (w *Writer) plan(ctx context.Context, s *sink.Shape) (*plan, error) {
	old := w.plans[s]
	if old != nil && !(old.missing && time.Since(old.made) > apply.RecheckMissing) {
		return old, nil
	}
	schema := s.Schema
	if schema == "" {
		schema = w.cfg.Schema
	}
	p := &plan{shape: s, table: tableName(schema, s.Table), made: time.Now()}
	catalog, err := w.catalog(ctx, schema, p)
	if err != nil {
		return nil, err
	}
	if len(catalog) == 0 && s.KeysOnly {
		p.absent = true // and may come any moment: not kept
		return p, nil
	}
	if len(catalog) == 0 {
		if catalog, err = w.createTable(ctx, schema, p); err != nil {
			return nil, err
		}
	}
	if err := w.readRenames(ctx, p, catalog); err != nil {
		return nil, err
	}
	for range 2 { // what got another name may have become wider, too
		changed, err := w.follow(ctx, p, catalog)
		if err != nil {
			return nil, err
		}
		if !changed {
			break
		}
		if catalog, err = w.catalog(ctx, schema, p); err != nil {
			return nil, err
		}
	}
	if catalog, err = w.addColumns(ctx, schema, p, catalog); err != nil {
		return nil, err
	}
	ignored, err := w.match(p, catalog)
	if err != nil {
		return nil, err
	}
	if err := w.inspectTable(ctx, schema, p); err != nil {
		return nil, err
	}
	p.missing = len(ignored) > 0
	if p.missing && (old == nil || !old.missing) {
		w.log.Warn("fields without a column in the target are ignored", "topic", s.Topic, "table", p.table, "fields", ignored)
	}
	if old != nil && old.guard == p.guard && slices.EqualFunc(old.cols, p.cols, func(a, b column) bool { return a.field == b.field && a.name == b.name && a.def == b.def }) {
		old.made = p.made
		return old, nil
	}
	p.insert, p.update = p.upsert(&w.server)
	w.plans[s] = p
	return p, nil
}

// catalog reads the table's columns; none when there is no table.
func (w *Writer) catalog(ctx context.Context, schema string, p *plan) ([]described, error) {
	rows, err := w.query(ctx, fmt.Sprintf(catalogSQL, quoteText(schema), quoteText(p.shape.Table)))
	if err != nil {
		return nil, fmt.Errorf("inspect table %s: %w", p.table, err)
	}
	list := make([]described, len(rows))
	for i, r := range rows {
		list[i] = describe(r)
	}
	return list, nil
}

// find returns the column of a field. Case makes no name another one in MySQL.
func find(catalog []described, name string) *described {
	i := slices.IndexFunc(catalog, func(d described) bool { return d.name == name })
	if i < 0 {
		i = slices.IndexFunc(catalog, func(d described) bool { return strings.EqualFold(d.name, name) })
	}
	if i < 0 {
		return nil
	}
	return &catalog[i]
}

// match finds the columns of the shape's fields, and returns the fields that
// have none.
func (w *Writer) match(p *plan, catalog []described) (ignored []string, err error) {
	s := p.shape
	taken := map[string]string{}
	for i := range s.Fields {
		f := &s.Fields[i]
		d := w.column(p, catalog, f.Name)
		if d == nil {
			if f.Key {
				return nil, &replication.Refusal{
					Problem: fmt.Sprintf("table %s has no column for the key field %q of topic %s", p.table, f.Name, s.Topic),
					Remedy:  addColumn(&w.server, p.table, s, f) + ", or add_columns: true",
				}
			}
			ignored = append(ignored, f.Name)
			continue
		}
		if other, twice := taken[d.name]; twice {
			return nil, sameName(other, f.Name, s)
		}
		taken[d.name] = f.Name
		if d.generated() {
			if f.Key {
				return nil, &replication.Refusal{
					Problem: fmt.Sprintf("the key field %q of topic %s is a generated column of table %s, which cannot be written", f.Name, s.Topic, p.table),
					Remedy:  fmt.Sprintf("ALTER TABLE %s MODIFY %s %s NOT NULL", p.table, quoteName(d.name), d.typ),
				}
			}
			continue
		}
		c := newColumn(i, f, d)
		c.rounds = !w.server.parsesDoubles()
		if f.Key {
			if !c.exactly() {
				return nil, &replication.Refusal{
					Problem: fmt.Sprintf("the key column %s of table %s has the collation %s, for which different keys of topic %s are the same", c.name, p.table, d.collation, s.Topic),
					Remedy:  fmt.Sprintf("ALTER TABLE %s MODIFY %s %s NOT NULL", p.table, c.name, c.exactDDL(&w.server)),
				}
			}
			p.key = append(p.key, len(p.cols))
		}
		p.cols, p.fields = append(p.cols, c), append(p.fields, c.field)
	}
	if len(p.cols) == 0 && !s.KeysOnly {
		return nil, &replication.Refusal{
			Problem: fmt.Sprintf("table %s has none of the columns of topic %s", p.table, s.Topic),
			Remedy:  "add columns to it (" + addColumn(&w.server, p.table, s, &s.Fields[0]) + "), or set add_columns: true",
		}
	}
	if s.KeysOnly {
		return ignored, nil
	}
	for i := range catalog {
		if d := &catalog[i]; d.needed() && taken[d.name] == "" {
			return nil, &replication.Refusal{
				Problem: fmt.Sprintf("column %s of table %s is NOT NULL and has no default, and the records of topic %s do not have it", quoteName(d.name), p.table, s.Topic),
				Remedy:  fmt.Sprintf("ALTER TABLE %s MODIFY %s %s NULL, or give it a default", p.table, quoteName(d.name), d.typ),
			}
		}
	}
	return ignored, nil
}

func sameName(a, b string, s *sink.Shape) error {
	return &replication.Refusal{
		Problem: fmt.Sprintf("the fields %q and %q of topic %s are the same column's name for MySQL", a, b, s.Topic),
		Remedy:  "rename one where it is published (tables[].rename)",
	}
}

func (w *Writer) createTable(ctx context.Context, schema string, p *plan) ([]described, error) {
	ddl := createTable(&w.server, p.table, p.shape)
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
	if err := w.forgetRenames(ctx, p); err != nil {
		return nil, err
	}
	_, err := w.exec(ctx, ddl)
	switch {
	case err == nil:
		w.log.Info("created table", "table", p.table, "topic", p.shape.Topic)
	case number(err) == duplicateColumn:
		return nil, twiceNamed(p.shape, err)
	case number(err) == tableExists: // another sink made it at the same moment
	case denied(err) || number(err) == unknownDatabase:
		return nil, refuse(err)
	case transient(err):
		return nil, fmt.Errorf("create table %s for topic %s: %w", p.table, p.shape.Topic, err)
	default:
		return nil, &replication.Refusal{
			Problem: fmt.Sprintf("table %s for topic %s cannot be created", p.table, p.shape.Topic),
			Remedy:  "create it by hand, along the lines of " + ddl, Err: err,
		}
	}
	return w.catalog(ctx, schema, p)
}

// twiceNamed names the fields that are one column's name for the server.
func twiceNamed(s *sink.Shape, err error) error {
	for i, f := range s.Fields {
		for _, g := range s.Fields[:i] {
			if strings.EqualFold(f.Name, g.Name) {
				return sameName(g.Name, f.Name, s)
			}
		}
	}
	return &replication.Refusal{
		Problem: fmt.Sprintf("two fields of topic %s are the same column's name for MySQL", s.Topic),
		Remedy:  "rename one where it is published (tables[].rename)", Err: err,
	}
}

func (w *Writer) addColumns(ctx context.Context, schema string, p *plan, catalog []described) ([]described, error) {
	if !w.cfg.AddColumns || p.shape.KeysOnly {
		return catalog, nil
	}
	added := false
	for i := range p.shape.Fields {
		f := &p.shape.Fields[i]
		if w.column(p, catalog, f.Name) != nil {
			continue
		}
		ddl := addColumn(&w.server, p.table, p.shape, f)
		_, err := w.exec(ctx, ddl)
		switch {
		case err == nil:
			w.log.Info("added column", "table", p.table, "column", f.Name)
			if _, ok := defaultClause(f, ""); !ok {
				w.log.Warn("what the source's rows from before have in an added column has no place here as a default: they have NULL", "table", p.table, "column", f.Name, "value", f.Missing)
			}
		case number(err) == duplicateColumn: // another sink did
		case transient(err):
			return nil, fmt.Errorf("add column %q to table %s: %w", f.Name, p.table, err)
		default:
			return nil, &replication.Refusal{
				Problem: fmt.Sprintf("table %s has no column %q for topic %s, and it may not be added", p.table, f.Name, p.shape.Topic),
				Remedy:  ddl + " (with the right to, or add_columns: false to ignore the field)",
				Err:     err,
			}
		}
		added = true
	}
	if !added {
		return catalog, nil
	}
	return w.catalog(ctx, schema, p)
}

// inspectTable refuses a table whose engine knows no transactions, or on which
// an upsert has nothing to hold on to, and looks for unique indexes besides
// the key's.
func (w *Writer) inspectTable(ctx context.Context, schema string, p *plan) error {
	where := "TABLE_SCHEMA = " + quoteText(schema) + " AND TABLE_NAME = " + quoteText(p.shape.Table)
	rows, err := w.query(ctx, "SELECT t.ENGINE, e.TRANSACTIONS FROM information_schema.TABLES t LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE WHERE t."+
		strings.Replace(where, "AND ", "AND t.", 1))
	if err != nil {
		return fmt.Errorf("inspect table %s: %w", p.table, err)
	}
	if len(rows) == 1 && !rows[0][0].null && rows[0][1].text != "YES" {
		return &replication.Refusal{
			Problem: fmt.Sprintf("table %s has the engine %s, which knows no transactions: rows and offsets could part", p.table, rows[0][0].text),
			Remedy:  fmt.Sprintf("ALTER TABLE %s ENGINE=InnoDB", p.table),
		}
	}
	if len(p.key) == 0 {
		return nil
	}
	if rows, err = w.query(ctx, "SELECT INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS WHERE NON_UNIQUE = 0 AND "+where+" ORDER BY INDEX_NAME, SEQ_IN_INDEX"); err != nil {
		return fmt.Errorf("inspect indexes of table %s: %w", p.table, err)
	}
	indexes := map[string][]string{}
	for _, r := range rows {
		part := quoteName(r[1].text)
		if !r[2].null || r[1].null { // the beginning of a column, an expression
			part = ""
		}
		indexes[r[0].text] = append(indexes[r[0].text], part)
	}
	var key, notNull []string
	for _, i := range p.key {
		key = append(key, p.cols[i].name)
		if p.cols[i].notNull {
			notNull = append(notNull, p.cols[i].name)
		}
	}
	slices.Sort(key)
	own, others := false, []string{}
	for name, parts := range indexes {
		if slices.Sort(parts); slices.Equal(parts, key) {
			own = true
		} else {
			others = append(others, name)
		}
	}
	switch {
	case !own:
		return &replication.Refusal{
			Problem: fmt.Sprintf("table %s has no unique index on exactly the key of topic %s (%s)", p.table, p.shape.Topic, strings.Join(p.keyNames(), ", ")),
			Remedy:  fmt.Sprintf("ALTER TABLE %s ADD UNIQUE INDEX (%s)", p.table, p.names(p.keyColumns())),
		}
	case len(notNull) == 0 && len(others) == 0:
		return nil
	case len(notNull) == 0:
		slices.Sort(others)
		return &replication.Refusal{
			Problem: fmt.Sprintf("table %s has other unique indexes (%s) besides the one on the key, of which no column is NOT NULL: rows of one could be taken for the other's", p.table, strings.Join(others, ", ")),
			Remedy:  fmt.Sprintf("ALTER TABLE %s MODIFY %s %s NOT NULL", p.table, p.cols[p.key[0]].name, p.cols[p.key[0]].typ),
		}
	}
	p.guard = notNull[0]
	return nil
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
