package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"

	"cdc/replication"
)

// plan is how the rows of one version of a table are read.
type plan struct {
	table    *replication.Table
	key      []int     // of the rows: the table's, or the configured one
	decoders []decoder // one a column of the log; those that skip have none in table
	json     int       // columns that hold MySQL's JSON
	toast    Toast     // the table's
	added    bool      // it has columns that the statements added: see columnHistory
	inserts  bool      // nothing but inserts matters: what they lack is not to be done without
}

// hint is what the catalog says of a column and the binlog does not.
type hint struct {
	special   string
	generated bool
	// preset and digits are a column's.
	preset, digits string
}

// shapes makes plans of table maps and of the catalog, and keeps the pointer of
// a table that did not change. Safe for concurrent use.
type shapes struct {
	cfg      *Config
	session  *session
	charsets *charsets
	server   *serverInfo

	mu     sync.Mutex
	latest map[string]*plan // by tableKey
	// special holds, by tableKey and column, the types that the binlog does not
	// tell, as the catalog told them last.
	special map[string]hints
	// histories are what the statements of the log have said, up to where it has
	// been read.
	histories histories
	seen      map[string]columnNames // by tableKey
	warned    map[string]bool        // see warnAdded
}

func newShapes(cfg *Config, s *session, server *serverInfo) *shapes {
	return &shapes{cfg: cfg, session: s, charsets: newCharsets(s), server: server, latest: map[string]*plan{}, special: map[string]hints{}, histories: histories{}, seen: map[string]columnNames{}, warned: map[string]bool{}}
}

// use takes what is known of the server from another one, or from the same one
// later. It returns true when plans that were made before may be wrong.
func (s *shapes) use(server *serverInfo) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	const image = "binlog_row_image"
	other := server.number != s.server.number || server.vars[image] != s.server.vars[image]
	s.server = server
	return other
}

// fromLog makes the plan of a table map.
func (s *shapes) fromLog(ctx context.Context, m *tableMap) (*plan, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	schema, name := string(m.schema), string(m.name)
	columns, key, err := m.describe(ctx, s.charsets, s.cfg.Flavor, s.yearHasSign())
	if errors.Is(err, errNoNames) {
		return nil, refuse(fmt.Sprintf("the log describes table %s.%s without its column names: binlog_row_metadata was not FULL when it was written", schema, name),
			"SET GLOBAL binlog_row_metadata = FULL (and in the server's configuration file), then begin again with a new snapshot: cdc drop", nil)
	}
	if err != nil {
		return nil, err
	}
	seen := columnNames{}
	for i := range columns {
		seen[strings.ToLower(columns[i].name)] = true
	}
	s.seen[tableKey(schema, name)] = seen
	if s.cfg.Describe || s.cfg.Flavor == MariaDB && (s.leavesOutGenerated() || ambiguous(columns)) {
		if err := s.specialise(ctx, schema, name, columns); err != nil {
			return nil, err
		}
	}
	if s.uncertainSigns(columns) {
		if err := s.mendSigns(ctx, schema, name, columns); err != nil {
			return nil, err
		}
	}
	return s.plan(schema, name, columns, key)
}

// yearHasSign reports whether the signs of a table map have a bit for YEAR, too.
// It came in the course of MySQL 8.0: 8.0.15 has none, 8.0.29 has one.
func (s *shapes) yearHasSign() bool { return s.server.mariadb || s.server.number >= 80022 }

// uncertainSigns reports whether signs may be those of other columns.
func (s *shapes) uncertainSigns(columns []column) bool {
	return !s.server.mariadb && s.server.number < 80029 &&
		slices.ContainsFunc(columns, func(c column) bool { return c.typ == gomysql.MYSQL_TYPE_YEAR })
}

// mendSigns takes the signs from the catalog, where it has such columns.
func (s *shapes) mendSigns(ctx context.Context, schema, name string, columns []column) error {
	t, err := s.charsets.readTable(ctx, s.session, s.cfg.Flavor, schema, name)
	if err != nil || t == nil {
		return err
	}
	for i := range columns {
		if k := t.column(columns[i].name); k >= 0 && t.columns[k].typ == columns[i].typ {
			columns[i].unsigned = t.columns[k].unsigned
		}
	}
	return nil
}

// ambiguous reports whether a column may be of a type that only the catalog
// knows.
func ambiguous(columns []column) bool {
	return slices.ContainsFunc(columns, func(c column) bool { return c.mayBe() != "" })
}

// mayBe names the types that MariaDB stores like this column's.
func (c *column) mayBe() string {
	switch {
	case c.typ == gomysql.MYSQL_TYPE_STRING && c.binary() && c.size == 16:
		return "uuid inet6"
	case c.typ == gomysql.MYSQL_TYPE_STRING && c.binary() && c.size == 4:
		return "inet4"
	case c.typ == gomysql.MYSQL_TYPE_VARCHAR && c.binary() && c.size%4 == 0:
		return "vector"
	case c.typ == gomysql.MYSQL_TYPE_BLOB && !c.binary() && c.size == 4:
		return "json"
	}
	return ""
}

// specialise asks the catalog for what the binlog leaves out. Columns are known
// by their names: one that was dropped since keeps the type that it was last
// seen with.
func (s *shapes) specialise(ctx context.Context, schema, name string, columns []column) error {
	known := s.hints(schema, name)
	t, err := s.charsets.readTable(ctx, s.session, s.cfg.Flavor, schema, name)
	if err != nil {
		return err
	}
	if t != nil {
		known.learn(t.columns)
	}
	for i := range columns {
		col := &columns[i]
		h := known[col.name]
		col.generated, col.preset, col.digits = h.generated, h.preset, h.digits
		if h.special != "" && slices.Contains(strings.Fields(col.mayBe()), h.special) {
			col.special = h.special
		}
	}
	return nil
}

// hints are those of a table's columns, by name.
type hints map[string]hint

func (h hints) learn(columns []column) {
	for i := range columns {
		h[columns[i].name] = hint{columns[i].special, columns[i].generated, columns[i].preset, columns[i].digits}
	}
}

func (s *shapes) hints(schema, name string) hints {
	known := s.special[tableKey(schema, name)]
	if known == nil {
		known = hints{}
		s.special[tableKey(schema, name)] = known
	}
	return known
}

// leavesOutGenerated reports whether the server leaves generated columns out of
// the log of updates and deletes, whatever binlog_row_image says.
func (s *shapes) leavesOutGenerated() bool { return s.server.mariadb && s.server.number >= 110000 }

// fromCatalog makes the plan of a table as it is now.
func (s *shapes) fromCatalog(t *tableInfo) (*plan, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hints(t.schema, t.name).learn(t.columns)
	return s.plan(t.schema, t.name, t.columns, t.key)
}

// last returns the plan that a table had last, or has now; nil when it does not
// exist.
func (s *shapes) last(ctx context.Context, schema, name string) (*plan, error) {
	s.mu.Lock()
	p := s.latest[tableKey(schema, name)]
	s.mu.Unlock()
	if p != nil {
		return p, nil
	}
	s.mu.Lock()
	t, err := s.charsets.readTable(ctx, s.session, s.cfg.Flavor, schema, name)
	s.mu.Unlock()
	if err != nil || t == nil {
		return nil, err
	}
	return s.fromCatalog(t)
}

// plan compiles columns. The table is the one that was made last for that name
// if its shape is the same.
func (s *shapes) plan(schema, name string, columns []column, key []int) (*plan, error) {
	p := policy{zeroDates: s.cfg.ZeroDates}
	t := &replication.Table{Schema: schema, Name: name}
	out := &plan{table: t}
	place := make([]int, len(columns)) // in the table
	for i := range columns {
		col := &columns[i]
		if !s.cfg.Describe {
			col.preset, col.digits = "", ""
		}
		d := newDecoder(col, p)
		inKey := slices.Contains(key, i)
		if d.op == opJSON {
			out.json++
		}
		d.skip = col.generated && !inKey && s.leavesOutGenerated()
		out.decoders = append(out.decoders, d)
		if d.skip {
			continue
		}
		described, err := col.describe(p)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", t, err)
		}
		described.Identity = s.logged(col, inKey, len(key) == 0)
		place[i] = len(t.Columns)
		t.Columns = append(t.Columns, described)
	}
	for _, i := range key {
		t.Key = append(t.Key, place[i])
	}
	s.identify(out, columns, place, p)
	out.key = t.Key
	for _, c := range s.cfg.Tables {
		if c.Schema != schema || c.Name != name {
			continue
		}
		out.toast, out.inserts = c.Toast, c.InsertsOnly
		if len(c.Key) > 0 {
			out.key = nil
			for _, name := range c.Key {
				if i := t.Column(name); i >= 0 {
					out.key = append(out.key, i)
				}
			}
		}
	}
	if last := s.latest[tableKey(schema, name)]; last != nil && last.table.Equal(t) {
		out.table = last.table
	}
	s.latest[tableKey(schema, name)] = out
	return out, nil
}

// describe describes the columns of a table as it is now.
func (s *shapes) describe(t *tableInfo) (*replication.Table, error) {
	out := &replication.Table{Schema: t.schema, Name: t.name}
	for i := range t.columns {
		c, err := t.columns[i].describe(policy{zeroDates: s.cfg.ZeroDates})
		if err != nil {
			return nil, err
		}
		out.Columns = append(out.Columns, c)
	}
	return out, nil
}

// logged reports whether the server logs a column's old value:
// binlog_row_image, MySQL manual.
func (s *shapes) logged(c *column, inKey, noKey bool) bool {
	switch s.server.vars["binlog_row_image"] {
	case "MINIMAL":
		return inKey || noKey
	case "NOBLOB":
		return inKey || noKey || c.typ != gomysql.MYSQL_TYPE_BLOB && c.typ != gomysql.MYSQL_TYPE_JSON &&
			c.typ != gomysql.MYSQL_TYPE_GEOMETRY && c.typ != gomysql.MYSQL_TYPE_VECTOR
	}
	return true
}

// missingKey checks that the columns of a key are logged.
func (t TableConfig) missingKey(table *replication.Table) error {
	for _, name := range t.Key {
		i := table.Column(name)
		if i < 0 {
			return refuse(fmt.Sprintf("table %s has no column %q, which its key names", t, name), "mend the key in the configuration", nil)
		}
		if !table.Columns[i].Identity {
			return refuse(fmt.Sprintf("table %s: column %q of the key is not logged when a row changes or goes", t, name),
				"SET GLOBAL binlog_row_image = FULL (and in the server's configuration file; sessions that are open keep their own until they reconnect)", nil)
		}
	}
	return nil
}
