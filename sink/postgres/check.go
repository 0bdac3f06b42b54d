package postgres

import (
	"context"
	"errors"
	"fmt"

	"cdc/replication"
)

// Check looks at what a sink into this database needs, and changes nothing.
func Check(ctx context.Context, cfg Config) []replication.Finding {
	cfg.defaults()
	w := &Writer{cfg: cfg, log: cfg.Logger, offsets: tableName(cfg.Schema, cfg.OffsetsTable)}
	found := func(level replication.Level, problem, remedy string) replication.Finding {
		return replication.Finding{Level: level, Subject: "sink: database", Problem: problem, Remedy: remedy}
	}
	if err := w.connect(ctx); err != nil {
		remedy := "start the server, or correct the sink's postgres url"
		if r, ok := errors.AsType[*replication.Refusal](err); ok {
			remedy, err = r.Remedy, fmt.Errorf("%s: %w", r.Problem, r.Err)
		}
		return []replication.Finding{found(replication.LevelError, err.Error(), remedy)}
	}
	defer w.Close(ctx)
	schema, role := replication.QuoteIdentifier(cfg.Schema), ""
	rows, err := w.query(ctx, `SELECT current_user, current_setting('server_version'), pg_is_in_recovery(), current_setting('transaction_read_only'),
		n.oid IS NOT NULL, coalesce(has_schema_privilege(n.oid, 'USAGE'), false), coalesce(has_schema_privilege(n.oid, 'CREATE'), false),
		has_database_privilege(current_database(), 'TEMPORARY'), quote_ident(current_user), quote_ident(current_database()),
		c.oid IS NOT NULL, coalesce(has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE'), false)
		FROM (SELECT 1) one LEFT JOIN pg_namespace n ON n.nspname = $1 LEFT JOIN pg_class c ON c.oid = to_regclass($2)`, cfg.Schema, w.offsets)
	if err != nil {
		return []replication.Finding{found(replication.LevelError, "look at the sink's database: "+err.Error(), "")}
	}
	is := func(i int) bool { return string(rows[0][i]) == "t" }
	role = string(rows[0][8])
	list := []replication.Finding{found(replication.LevelOK, fmt.Sprintf("PostgreSQL %s, connected as %s", rows[0][1], rows[0][0]), "")}
	add := func(problem, remedy string) { list = append(list, found(replication.LevelError, problem, remedy)) }
	if is(2) || string(rows[0][3]) == "on" {
		add("the server is read-only (a standby?)", "use the primary's address, or target_session_attrs=read-write in the url")
	}
	switch {
	case !is(4):
		add("schema "+schema+" does not exist", "CREATE SCHEMA "+schema)
	case !is(5):
		add(fmt.Sprintf("role %s may not use schema %s", role, schema), fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s", schema, role))
	case (!is(10) || cfg.CreateTables) && !is(6):
		add(fmt.Sprintf("role %s may not create tables in schema %s", role, schema), fmt.Sprintf("GRANT CREATE ON SCHEMA %s TO %s", schema, role))
	}
	if !is(7) {
		add(fmt.Sprintf("role %s may not make temporary tables, through which large batches go", role), fmt.Sprintf("GRANT TEMPORARY ON DATABASE %s TO %s", rows[0][9], role))
	}
	if is(10) && !is(11) {
		add(fmt.Sprintf("role %s may not read and write the offsets table %s", role, w.offsets), fmt.Sprintf("GRANT SELECT, INSERT, UPDATE ON %s TO %s", w.offsets, role))
	}
	return list
}
