package main

import (
	"fmt"

	"cdc/outbox"
)

type outboxCmd struct {
	DDL outboxDDLCmd `cmd:"" name:"ddl" help:"Print the SQL that makes an outbox: table, index, publication, function."`
}

type outboxDDLCmd struct {
	Dialect     string `default:"postgres" enum:"postgres,mysql,mariadb" help:"postgres, mysql or mariadb (${default})."`
	Table       string `default:"outbox" help:"Table, or schema.table (${default})."`
	Publication string `help:"Make this publication, too (PostgreSQL). Without it cdc makes its own, if it may."`
	Blackhole   bool   `help:"Make a table that keeps no rows (MySQL, MariaDB)."`
}

func (outboxDDLCmd) Help() string {
	return "Prints the statements that set an outbox up; it connects to nothing. In the configuration two lines are enough for it:\n\n" +
		"  outbox:\n    - table: public.outbox\n\n" +
		"Examples:\n\n  cdc outbox ddl | psql\n  cdc outbox ddl --table app.events --publication cdc_shop\n  cdc outbox ddl --dialect mysql --blackhole"
}

func (c *outboxDDLCmd) Run(a *app) error {
	d := outbox.DDL{Dialect: outbox.Dialect(c.Dialect), Table: c.Table, Publication: c.Publication, Blackhole: c.Blackhole}
	if c.Dialect == "mariadb" {
		d.Dialect = outbox.MySQL
	}
	sql, err := d.SQL()
	if err != nil {
		return usageError{err}
	}
	_, err = fmt.Fprint(a.stdout, sql)
	return err
}
