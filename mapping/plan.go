package mapping

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"cdc/internal/metrics"
	"cdc/mapping/avro"
	"cdc/replication"
)

// plan is all that is decided about one version of a table before its first
// row. It is immutable.
type plan struct {
	table    *replication.Table
	topic    string
	key      keyPlan
	value    *avro.Encoder
	fields   []string // per column of the table the field's name, "" when it is left out
	describe func(key []byte) string
	// complete says that a row with an Unchanged value is an error.
	complete bool
	debezium debeziumPlan // of the format debezium, in place of value and key.enc
}

// maxVersions is how many versions of one table keep their plans: the newest
// few, between which rows may alternate while the log crosses a DDL.
const maxVersions = 16

// planner compiles plans and keeps them. One goroutine uses it.
type planner struct {
	router   *router
	registry SchemaRegistry
	plans    map[*replication.Table]*plan
	versions map[tableID][]*replication.Table // those in plans by home, oldest first
	// hidden holds, by home, what excluded columns were renamed to while running.
	hidden map[tableID][]string
	// shown holds the identities of columns that include has named: they go on being
	// published when they are renamed while running.
	shown map[string]bool
	log   *slog.Logger
	// compiled counts the plans.
	compiled prometheus.Counter
	// debezium is the format's configuration, nil for the format row.
	debezium *Debezium
}

// newPlanner checks what both formats need.
func newPlanner(cfg *Config, r *router, truncate string) (*planner, error) {
	switch truncate {
	case TruncateRecord, TruncateSkip, TruncateStop:
	default:
		return nil, fmt.Errorf("truncate: %q is none of record, skip, stop", truncate)
	}
	if cfg.Registry == nil {
		return nil, errors.New("no schema registry is given")
	}
	pl := &planner{
		router: r, registry: cfg.Registry, plans: map[*replication.Table]*plan{},
		versions: map[tableID][]*replication.Table{}, hidden: map[tableID][]string{}, shown: map[string]bool{},
		log: cfg.Logger,
		compiled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cdc_mapping_plans_total", Help: "Versions of tables that plans were compiled for.",
		}),
	}
	if pl.log == nil {
		pl.log = slog.New(slog.DiscardHandler)
	}
	_, err := metrics.Register(cfg.Registerer, pl.compiled)
	return pl, err
}

// home returns the name under which t is configured: its own or, where that has
// no configuration, the one that it has otherwise.
func (pl *planner) home(t *replication.Table) tableID {
	id, home := tableID{t.Schema, t.Name}, tableID{t.Home.Schema, t.Home.Name}
	if pl.router.tables[id] == nil && pl.router.tables[home] != nil {
		return home
	}
	return id
}

// tableIdentity returns what all columns' identities begin with and those of no
// other table, "" where the source does not tell it.
func tableIdentity(t *replication.Table) string {
	for i := range t.Columns {
		if table, _, ok := strings.Cut(t.Columns[i].ID, "."); ok {
			return table
		}
	}
	return ""
}

// follow notes the excluded columns that t has under another name than the
// version before: what must not be published must not be so after a RENAME
// COLUMN either. A column keeps its place for life.
func (pl *planner) follow(home tableID, t *replication.Table, cfg *TableConfig) {
	known := pl.versions[home]
	if len(known) == 0 {
		return
	}
	before := known[len(known)-1]
	if oid := tableIdentity(t); oid != "" { // another table may have the name by now
		for _, v := range slices.Backward(known) {
			if tableIdentity(v) == oid {
				before = v
				break
			}
		}
	}
	for i := range t.Columns {
		is := &t.Columns[i]
		was := formerly(before, t, i)
		if was == nil || was.Name == is.Name {
			continue
		}
		if !slices.Contains(cfg.Exclude, was.Name) && !slices.Contains(pl.hidden[home], was.Name) || slices.Contains(pl.hidden[home], is.Name) {
			continue
		}
		pl.hidden[home] = append(pl.hidden[home], is.Name)
		pl.log.Warn("an excluded column was renamed: it stays excluded; rename it in the configuration, too", "table", t.String(), "from", was.Name, "to", is.Name)
	}
}

// include notes the columns that cfg includes by name, and tells of those that
// have another name by now, or are gone.
func (pl *planner) include(home tableID, t *replication.Table, cfg *TableConfig) {
	var renamed, gone []string
	for i := range t.Columns {
		c := &t.Columns[i]
		if slices.Contains(cfg.Include, c.Name) {
			if c.ID != "" {
				pl.shown[c.ID] = true
			}
		} else if pl.shown[c.ID] {
			renamed = append(renamed, c.Name)
		}
	}
	for _, name := range cfg.Include {
		if t.Column(name) < 0 {
			gone = append(gone, name)
		}
	}
	if len(renamed)+len(gone) > 0 && len(pl.versions[home]) > 0 { // else it is refused
		pl.log.Warn("columns that are included by name were renamed or dropped: those that were renamed go on being published; name them in the configuration, too",
			"table", t.String(), "gone", gone, "renamed", renamed)
	}
}

// formerly returns the column of before that t's column i was, nil if there is
// none: by its identity or, where a source does not tell that, by its place, if
// both names are in one version only.
func formerly(before, t *replication.Table, i int) *replication.Column {
	is := &t.Columns[i]
	if is.ID != "" {
		if j := slices.IndexFunc(before.Columns, func(c replication.Column) bool { return c.ID == is.ID }); j >= 0 {
			return &before.Columns[j]
		}
	}
	if i >= len(before.Columns) {
		return nil
	}
	was := &before.Columns[i]
	if was.TypeName != is.TypeName || t.Column(was.Name) >= 0 || before.Column(is.Name) >= 0 || was.ID != "" && is.ID != "" {
		return nil
	}
	return was
}

// plan returns the plan of t. Its error is a *replication.Refusal, or ctx's.
func (pl *planner) plan(ctx context.Context, t *replication.Table) (*plan, error) {
	if p := pl.plans[t]; p != nil {
		return p, nil
	}
	p, err := pl.compile(ctx, t)
	if err != nil {
		return nil, err
	}
	home := pl.home(t)
	if v := pl.versions[home]; len(v) >= maxVersions {
		delete(pl.plans, v[0])
		pl.versions[home] = slices.Delete(v, 0, 1)
	}
	pl.versions[home] = append(pl.versions[home], t)
	pl.plans[t] = p
	pl.compiled.Inc()
	pl.log.Info("table is published", "table", t.String(), "topic", p.topic, "format", pl.format(), "key", string(p.key.mode), "columns", len(t.Columns))
	return p, nil
}

func (pl *planner) format() string {
	if pl.debezium != nil {
		return "debezium"
	}
	return "row"
}

func (pl *planner) compile(ctx context.Context, t *replication.Table) (*plan, error) {
	id, home := tableID{t.Schema, t.Name}, pl.home(t)
	cfg := pl.router.table(home)
	topic, err := pl.router.topicOf(id, home)
	if err != nil {
		return nil, err
	}
	if err := pl.router.share(topic, home); err != nil { // of a table that is not configured
		return nil, err
	}
	columns, err := keyColumns(t, cfg)
	if err != nil {
		return nil, err
	}
	pl.follow(home, t, cfg)
	pl.include(home, t, cfg)
	specs, err := selectColumns(t, cfg, pl.hidden[home], pl.shown, columns, len(pl.versions[home]) == 0)
	if err != nil {
		return nil, err
	}
	p := &plan{table: t, topic: topic, complete: cfg.Unchanged == UnchangedFail}
	if cfg.Unchanged == UnchangedOmit {
		maybeOmitted(specs, columns)
	}
	if pl.debezium != nil {
		return p, pl.compileDebezium(ctx, p, cfg, columns, specs)
	}
	namespace, name := pl.router.recordName(id, topic)
	p.value, err = pl.valueEncoder(ctx, t, topic+"-value", recordSchema{
		namespace: namespace, name: name, omitted: cfg.Unchanged == UnchangedOmit, specs: specs,
	})
	if err != nil {
		return nil, err
	}
	p.fields = p.value.FieldNames(len(t.Columns))
	if err := pl.compileKey(ctx, p, cfg, columns, specs, namespace, name); err != nil {
		return nil, err
	}
	return p, nil
}

// compileKey fills in p.key and p.describe.
func (pl *planner) compileKey(ctx context.Context, p *plan, cfg *TableConfig, columns []int, specs []avro.FieldSpec, namespace, name string) error {
	k := &p.key
	k.mode, k.columns = cfg.Key.mode(), columns
	switch k.mode {
	case KeyNone:
		p.describe = func([]byte) string { return "(none)" }
		return nil
	case KeyPlain:
		k.zero = []byte{}
		column := p.table.Columns[columns[0]].Name
		p.describe = func(key []byte) string { return fmt.Sprintf("%s=%q", column, key) }
		return nil
	default: // the others are Avro
	}
	// A key's bytes begin with its schema's id, and by its bytes Kafka finds the
	// partition and what to compact. So the key schema holds nothing that may
	// change without the key's type changing: not the source's name of the type
	// (varchar(40) becomes varchar(80)), and no null, since a null in a key is an
	// error of its row in any case.
	fields := make([]avro.FieldSpec, len(columns))
	for i, c := range columns {
		fields[i] = specs[slices.IndexFunc(specs, func(s avro.FieldSpec) bool { return s.Source == c })]
		c := &fields[i].Column
		c.BaseType = ""
		c.NotNull, c.TypeName, c.ID, c.HasMissing, c.Missing = true, "", "", false, ""
	}
	if k.schema = cfg.Key.Schema; k.mode == KeySchema {
		if _, err := avro.NewEncoder(k.schema, 0, fields); err != nil {
			return refuseKeySchema(p.table, err) // before it is registered
		}
	} else {
		var err error
		if k.schema, _, err = avro.KeySchema(namespace, name, "", fields); err != nil {
			return refuseSchema(p.table, err)
		}
	}
	id, err := pl.registry.ID(ctx, p.topic+"-key", k.schema)
	if err != nil {
		return err
	}
	if k.enc, err = avro.NewEncoder(k.schema, id, fields); err != nil {
		return refuseSchema(p.table, err)
	}
	blank := make([]replication.Value, len(p.table.Columns))
	for i := range blank {
		blank[i] = replication.Unchanged // encodes as null, or as the type's zero
	}
	if k.zero, err = k.enc.Append(nil, blank); err != nil {
		return refuseSchema(p.table, err)
	}
	p.describe = describeAvro(k.schema)
	return nil
}

// recordName returns namespace and name of a table's value schema. Tables that
// share a topic share both, named after the topic: otherwise no registry would
// take their schemas for versions of one. For the same reason a table that was
// renamed, and whose topic was not, keeps them.
func (r *router) recordName(id tableID, topic string) (namespace, name string) {
	if owner, ok := r.owners[topic]; ok {
		id = owner
	}
	name = id.name
	if r.shared[topic] {
		name = topic
	}
	return r.namespace.expand(id, func(s string) string {
		if strings.Contains(s, ".") { // which would make two parts of it
			return avro.Name(s)
		}
		return s // RecordSchema makes it valid
	}), name
}

func refuseSchema(t *replication.Table, err error) error {
	return &replication.Refusal{
		Problem: fmt.Sprintf("table %s has no schema", t), Err: err,
		Remedy: "leave the column out, or rename it, in the table's configuration",
	}
}
