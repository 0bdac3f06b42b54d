package outbox

import (
	"errors"
	"fmt"
	"strings"
)

// DDL describes the statements that set an outbox up.
type DDL struct {
	Dialect Dialect // "" is Postgres
	Table   string  // table or schema.table, unquoted; "" is DefaultTable
	// Publication to make for the table; "" leaves that to cdc, which makes its
	// own. PostgreSQL only.
	Publication string
	// Blackhole makes a table that keeps no row: the log alone has them. MySQL
	// and MariaDB only.
	Blackhole bool
}

// SQL returns the statements: the table, the function or procedure
// outbox_publish(topic, key, payload, headers), and the publication.
func (d DDL) SQL() (string, error) {
	table, err := d.Dialect.quoteTable(d.Table)
	if err != nil {
		return "", err
	}
	if d.Dialect == MySQL {
		if d.Publication != "" {
			return "", errors.New("a publication is PostgreSQL's")
		}
		return d.mysql(table), nil
	}
	if d.Blackhole {
		return "", errors.New("blackhole tables are MySQL's and MariaDB's")
	}
	return d.postgres(table), nil
}

func (d DDL) postgres(table string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `-- One row is one message. cdc publishes rows when they are inserted, and takes no
-- notice of what becomes of them: they may be deleted at any time, even in the
-- transaction that made them.
CREATE TABLE %s (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic         text NOT NULL,
    key           text,
    payload       jsonb,            -- NULL: a tombstone
    headers       jsonb,            -- an object: {"name": "value"}
    partition_key text,             -- chooses the partition in place of the key
    traceparent   text,             -- W3C trace context
    tracestate    text,
    created_at    timestamptz NOT NULL DEFAULT now()
);

-- For people who look for messages of a topic, and for clean-up by age.
CREATE INDEX ON %s (topic, id);

-- Rows come and go: vacuum early.
ALTER TABLE %s SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

CREATE FUNCTION %s(topic text, key text, payload jsonb, headers jsonb DEFAULT NULL) RETURNS bigint
LANGUAGE sql AS $$
    INSERT INTO %s (topic, key, payload, headers) VALUES ($1, $2, $3, $4) RETURNING id
$$;
`, table, table, table, d.function(), table)
	if d.Publication != "" {
		fmt.Fprintf(&b, "\nCREATE PUBLICATION %s FOR TABLE ONLY %s WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true);\n",
			d.Dialect.quote(d.Publication), table)
	}
	return b.String()
}

// function is outbox_publish in the schema of the table.
func (d DDL) function() string { return d.named("outbox_publish") }

// named puts a name into the schema of the table.
func (d DDL) named(name string) string {
	name = d.Dialect.quote(name)
	if schema, _, found := strings.Cut(d.Table, "."); found {
		return d.Dialect.quote(schema) + "." + name
	}
	return name
}

func (d DDL) mysql(table string) string {
	engine, id, index := "InnoDB", "BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY", ",\n    INDEX (topic, id)"
	note := "they may be deleted at any time, even in the\n-- transaction that made them."
	trigger := ""
	if d.Blackhole {
		// The engine does not count, knows no default expressions, and has short keys.
		engine, id, index = "BLACKHOLE", "CHAR(36)", ""
		note = "a BLACKHOLE table keeps\n-- none of them, and only the binary log has them (which must be in row format).\n-- Not every server has that engine: SHOW ENGINES."
		trigger = fmt.Sprintf("\nCREATE TRIGGER %s BEFORE INSERT ON %s FOR EACH ROW SET NEW.id = coalesce(NEW.id, uuid());\n", d.named("outbox_id"), table)
	}
	return fmt.Sprintf(`-- One row is one message. cdc publishes rows when they are inserted, and takes no
-- notice of what becomes of them: %s
CREATE TABLE %s (
    id            %s,
    topic         VARCHAR(249) NOT NULL,
    `+"`key`"+`         VARCHAR(1024),
    payload       JSON,             -- NULL: a tombstone
    headers       JSON,             -- an object: {"name": "value"}
    partition_key VARCHAR(1024),    -- chooses the partition in place of the key
    traceparent   VARCHAR(255),     -- W3C trace context
    tracestate    VARCHAR(1024),
    created_at    TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)%s
) ENGINE = %s DEFAULT CHARSET = utf8mb4;

CREATE PROCEDURE %s(IN topic VARCHAR(249), IN message_key VARCHAR(1024), IN payload JSON, IN headers JSON)
    INSERT INTO %s (topic, `+"`key`"+`, payload, headers) VALUES (topic, message_key, payload, headers);
`, note, table, id, index, engine, d.function(), table) + trigger
}
