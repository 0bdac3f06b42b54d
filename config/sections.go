package config

// The declarations of every field of the file. The texts are the manual: they
// go into the JSON Schema and into docs/configuration.md.

func (c *Config) declare(o *object) {
	o.text("name", &c.Name, "Name of the connector: names slot, publication, client id and checkpoint. Lower case letters, digits, - and _; at most 50. Do not change it later: under another name cdc starts from nothing.").required()
	o.section("source", "The database to capture from. Leave it out where only sinks run.", c.Source.declare)
	list(o, "tables", "The tables to capture. An item may be the table's name alone.", &c.Tables, (*Table).declare).textForFirst()
	list(o, "outbox", "Outboxes: tables, or messages in the log, whose rows are events for topics. An item may be the table's name alone.", &c.Outbox, (*Outbox).declare).textForFirst()
	o.section("map", "How rows become records.", c.Map.declare)
	o.section("kafka", "The Kafka cluster. The word embedded, in place of the mapping, starts a broker inside this process: for development on one machine, without replication, reachable from this machine only.", c.Kafka.declare).
		or(func(string) { c.Kafka.Embedded = true }, "embedded").required()
	o.section("registry", "The schema registry: Confluent's API, which Apicurio (ccompat/v7), Karapace and Redpanda speak too. The word embedded, in place of the mapping, starts a registry inside this process: for development on one machine.", c.Registry.declare).
		or(func(string) { c.Registry.Embedded = true }, "embedded").required()
	o.choice("on_error", &c.OnError, "What becomes of a row that cannot be published: stop ends the capture with table, key, transaction and position in the error; dead-letter puts it whole into dead_letter_topic and goes on.", "stop", "dead-letter").defaults("stop")
	o.text("dead_letter_topic", &c.DeadLetterTopic, "The topic for on_error: dead-letter, here and in sinks.").defaults("cdc_dead_letters")
	list(o, "sinks", "Target databases.", &c.Sinks, (*Sink).declare)
	o.section("admin", "HTTP server for /livez, /readyz and /metrics.", c.Admin.declare)
	o.section("log", "Logging, to standard error.", c.Log.declare)
	o.duration("drain_timeout", &c.DrainTimeout, "How long a stop (SIGTERM, Ctrl-C) may take to finish what is in flight. What is not finished then is done again after the next start.").defaults("20s")
	o.file("data_dir", &c.DataDir, "Folder of the embedded broker and registry, relative to this file.").defaults("cdc-data")
}

func (s *Source) declare(o *object) {
	optional(o, "postgres", "PostgreSQL 14 or later with wal_level = logical.", &s.Postgres, (*PostgresSource).declare)
	optional(o, "mysql", "MySQL 8.0 or later with log_bin, binlog_format = ROW and binlog_row_metadata = FULL.", &s.MySQL, (*MySQLSource).declare)
	optional(o, "mariadb", "MariaDB 10.6 or later with log_bin, binlog_format = ROW and binlog_row_metadata = FULL.", &s.MariaDB, (*MySQLSource).declare)
}

func (m *MySQLSource) declare(o *object) {
	o.secret("url", &m.URL, "mysql://user@host:3306/, or mariadb://…; several hosts with commas between are tried in turn. Parameters: tls (preferred, the default: encrypted but not verified where the server can; false, true, skip-verify, verify-ca) and socket (path of a unix socket).").required()
	o.secret("password", &m.Password, docPassword)
	tlsField(o, &m.TLS)
	o.number("server_id", &m.ServerID, 0, 1<<32-1, "The id of this capture among the server's replicas: nobody else may have it. 0 makes one of the name.").defaults("0")
	o.choice("zero_dates", &m.ZeroDates, "What becomes of dates that the calendar does not have (0000-00-00, 2026-00-00): error makes an error of the row; null makes them NULL; text makes every DATE, DATETIME and TIMESTAMP a text; epoch, with format debezium, makes them NULL where the column may be that, else its default or 1970-01-01, as Debezium does.", "error", "null", "text", "epoch").defaults("error").note("error; epoch with format debezium")
	o.text("start_at", &m.StartAt, "Where in the log a capture without a checkpoint begins: a set of GTIDs that others have read already, with MariaDB a GTID position, or a file and an offset (binlog.000007:4711). For tables with snapshot: never; a table that is read first has only what comes after its snapshot.").note("the end of the log, or where the snapshot stands")
	o.choice("on_purged", &m.OnPurged, "What to do at the start when the server has purged log that is still to be read: refuse says what is missing; snapshot reads all tables again. Rows that were deleted meanwhile then stay where they were published.", "refuse", "snapshot").defaults("refuse")
	o.choice("on_drop_partition", &m.OnDropPartition, "What to do when a partition of a captured table is dropped or truncated: the rows that go with it are not in the log. refuse stops; warn goes on, and the rows stay where they were published.", "refuse", "warn").defaults("refuse")
	o.choice("on_rename", &m.OnRename, "What a statement does that gives a captured table a name which is not captured, when no other table takes its own: refuse stops the capture, since what is written to the table from there on would not be published; warn goes on, and the capture's log says so. A table that another one takes the place of in the same statement is followed by name in any case.", "refuse", "warn").defaults("refuse")
	o.duration("server_id_wait", &m.IDWait, "How long to wait for a server id that another process still uses.").defaults("30s")
}

const docURL = "libpq connection URL (postgres://user@host:5432/db?sslmode=verify-full) or keywords (host=… dbname=…). As with libpq, sslmode, sslrootcert, passfile, service and unix sockets work."

const docPassword = "Password, in place of one in the URL. Unlike there, no character of it needs escaping."

func (p *PostgresSource) declare(o *object) {
	o.secret("url", &p.URL, docURL).required()
	o.secret("password", &p.Password, docPassword)
	o.text("slot", &p.Slot, "Replication slot; created when absent. Lower case letters, digits and _; at most 63.").note("cdc_ and the name")
	o.text("publication", &p.Publication, "Publication of the tables; created when absent, and tables are added to it.").note("cdc_ and the name")
	o.duration("slot_wait", &p.SlotWait, "How long to wait for a slot that another process still holds.").defaults("30s")
	o.choice("failover", &p.Failover, "Whether the slot is a failover slot (PostgreSQL 17 and later), which standbys with sync_replication_slots copy so that reading goes on at the promoted one: auto makes a new slot one where the server can; required refuses where it cannot, and makes a slot that is there one; never.", "auto", "required", "never").defaults("auto")
	o.flag("streaming", &p.Streaming, "Receive transactions that are larger than the server's logical_decoding_work_mem while they are in progress, and keep them until they commit: they are published sooner. With false they wait on the server's disk.").defaults("true")
	o.size("spill_memory", &p.SpillMemory, "Memory for transactions in progress, all together. What is more goes to files.").defaults("16MiB")
	o.file("spill_dir", &p.SpillDir, "Folder of these files, relative to this file. They have no names and are gone when the process ends. It should have room for the largest transactions, and not be one in memory.").note("the system's folder for temporary files")
}

func (t *Table) declare(o *object) {
	o.scalar("table", "text", "The table: schema.table. A part with a dot or a quote stands in double quotes, as in SQL.", func(s string) (err error) {
		t.Schema, t.Name, err = splitTable(s)
		return err
	}).required()
	o.choice("snapshot", &t.Snapshot, "initial publishes the rows that are there at the first start, then the changes; never publishes only changes.", "initial", "never").defaults("initial")
	o.text("topic", &t.Topic, "Topic of this table: a name or a template, as map.topic.").note("map.topic")
	keyField(o, &t.Key)
	o.texts("include", &t.Include, "The only columns to publish. Not together with exclude.")
	o.texts("exclude", &t.Exclude, "Columns not to publish.")
	o.pairs("rename", &t.Rename, "Names of fields that differ from the column's: column: field.")
	o.choice("toast", &t.Toast, "What becomes of a large value that an UPDATE left alone, which the log leaves out unless the table has REPLICA IDENTITY FULL, and of any value that MySQL's log leaves out unless binlog_row_image = FULL: refetch reads the row again and names the field in the header cdc.refetched; omit publishes null, names the field in the header cdc.unchanged and in the value's field cdc_omitted, and sinks leave the column alone; fail makes an error of the row.", "refetch", "omit", "fail").defaults("refetch")
	o.texts("as_text", &t.AsText, "Columns whose values travel as the text that PostgreSQL prints, whatever their type: for numeric(p,s) with NaN, arrays that have more dimensions than declared, timestamps beyond the year 294246. Sinks write the text back into a column of the same type.")
}

func (m *Map) declare(o *object) {
	o.choice("format", &m.Format, "row: the record's value is the row, a delete is a tombstone; operation, position, transaction and commit time are in headers. debezium: as Debezium's connectors write records, see docs/debezium.md.", "row", "debezium").defaults("row")
	o.text("topic", &m.Topic, "Template of topic names. {schema} and {table} stand for the table's.").defaults("{schema}.{table}")
	o.text("prefix", &m.Prefix, "Put before every topic's name.")
	o.text("namespace", &m.Namespace, "Template of the namespace of Avro schemas.").defaults("cdc.{schema}")
	o.choice("truncate", &m.Truncate, "What TRUNCATE becomes: record, a record with the header cdc.op=truncate in every partition, which sinks apply; skip, nothing; stop, an error.", "record", "skip", "stop").defaults("record").note("skip with format debezium")
	optional(o, "debezium", "The format debezium: the options of Debezium's connectors on which consumers depend, with its values.", &m.Debezium, (*Debezium).declare)
}

func (e *Debezium) declare(o *object) {
	o.text("name", &e.Name, "topic.prefix: the first part of topics and schemas. Letters, digits, '.', '_' and '-'.").note("name of the file")
	o.choice("decimal", &e.Decimal, "decimal.handling.mode.", "precise", "double", "string").defaults("precise")
	o.choice("time", &e.Time, "time.precision.mode. adaptive and structured go with PostgreSQL alone.", "adaptive", "adaptive_time_microseconds", "connect", "isostring", "microseconds", "nanoseconds", "structured").defaults("adaptive").note("adaptive; adaptive_time_microseconds with MySQL and MariaDB")
	o.choice("binary", &e.Binary, "binary.handling.mode.", "bytes", "base64", "base64-url-safe", "hex").defaults("bytes")
	o.choice("bigint_unsigned", &e.BigintUnsigned, "bigint.unsigned.handling.mode, of MySQL and MariaDB. Under long a number that a long cannot hold is an error.", "long", "precise").defaults("long")
	o.choice("hstore", &e.HStore, "hstore.handling.mode.", "json", "map").defaults("json")
	o.choice("interval", &e.Interval, "interval.handling.mode.", "numeric", "string").defaults("numeric")
	o.choice("names", &e.Names, "schema.name.adjustment.mode and field.name.adjustment.mode: avro makes an underscore of what Avro does not allow in names, avro_unicode _u and the character's number, of underscores, too.", "avro", "avro_unicode").defaults("avro")
	o.text("unavailable", &e.Unavailable, "unavailable.value.placeholder, for large values that the log left out and that could not be read again.").defaults("__debezium_unavailable_value")
	o.flag("tombstones", &e.Tombstones, "tombstones.on.delete.").defaults("true")
	o.flag("transactions", &e.Transactions, "provide.transaction.metadata: events tell their place in their transaction, and a topic of its own tells of each where it begins and ends, and how many events it has.").defaults("false")
	o.text("transaction_topic", &e.TransactionTopic, "topic.transaction: the name of that topic behind the prefix.").defaults("transaction")
	o.texts("messages", &e.Messages, "Prefixes of messages written with pg_logical_emit_message that go to the topic message behind the prefix, as message.prefix.include.list has them; one may end in *, and '*' alone is all. Those of an outbox go there only. Without this none is published.")
}

func (k *Kafka) declare(o *object) {
	o.texts("brokers", &k.Brokers, "Addresses (host:port) to start from. One text may hold several, separated by commas.").required()
	tlsField(o, &k.TLS)
	optional(o, "sasl", "Authentication.", &k.SASL, (*SASL).declare)
	o.section("topics", "How topics come to be.", k.Topics.declare)
	o.choice("compression", &k.Compression, "Compression of records. snappy costs the least time; zstd saves the most space.", "none", "gzip", "snappy", "lz4", "zstd").defaults("snappy")
	o.duration("linger", &k.Linger, "How long records may wait for others to share their request with while much is coming in. With little load they are sent at once whatever it is; 0 never waits.").defaults("5ms")
	o.size("buffer", &k.Buffer, "Memory for records that the brokers have not acknowledged yet. When it is full the capture waits.").defaults("64MiB")
	o.size("max_record", &k.MaxRecord, "Largest record, before compression. A larger one is an error that names its row, or a dead letter. New topics get it as their max.message.bytes. 0 leaves it to each topic's own max.message.bytes.").defaults("0")
	o.text("checkpoint_topic", &k.CheckpointTopic, "Compacted topic of the saved positions; connectors may share it. Created when absent, if topics.create allows.").defaults("cdc_checkpoints")
}

func (t *Topics) declare(o *object) {
	o.flag("create", &t.Create, "Create missing topics. With false a missing topic is an error that says how to create it.").defaults("true")
	o.number("partitions", &t.Partitions, 1, 100_000, "Partitions of a new topic. All changes of a row go to one partition; changing the number later breaks that.").defaults("1")
	o.number("replication", &t.Replication, 0, 32_767, "Replication factor of a new topic. 0 is the cluster's default.replication.factor.").defaults("0")
	o.flag("compact", &t.Compact, "Give new topics with keys cleanup.policy=compact, so that a topic holds at least the last state of every row.").defaults("true")
	o.pairs("config", &t.Config, "Further settings of new topics: retention.ms, min.insync.replicas, …")
}

func (s *SASL) declare(o *object) {
	o.choice("mechanism", &s.Mechanism, "The mechanism. plain and scram take username and password; oauthbearer takes one of token, token_file and token_url.", "plain", "scram-sha-256", "scram-sha-512", "oauthbearer").required()
	o.text("username", &s.Username, "User name, for plain and scram.")
	o.secret("password", &s.Password, "Password, for plain and scram.")
	o.secretText("token", &s.Token, "A fixed token, for oauthbearer.")
	o.file("token_file", &s.TokenFile, "File with a token, for oauthbearer; it is read anew for every authentication.")
	o.text("token_url", &s.TokenURL, "Token endpoint of an authorization server, for oauthbearer by the client credentials grant with client_id, client_secret and scope.")
	o.text("client_id", &s.ClientID, "Client id for token_url.")
	o.secret("client_secret", &s.ClientSecret, "Client secret for token_url.")
	o.text("scope", &s.Scope, "Scope for token_url.")
	o.pairs("extensions", &s.Extensions, "SASL extensions for oauthbearer, such as logicalCluster.")
}

func (t *TLS) declare(o *object) {
	o.file("ca", &t.CA, "PEM file of the authorities to trust, in place of the system's.")
	o.file("cert", &t.Cert, "PEM file of this client's certificate. Needs key.")
	o.file("key", &t.Key, "PEM file of this client's private key. Needs cert.")
	o.text("server_name", &t.ServerName, "Name to verify in place of the host's.")
	o.flag("insecure", &t.Insecure, "Verify nothing. For tests only.").defaults("false")
}

func (r *Registry) declare(o *object) {
	o.text("url", &r.URL, "Base URL: https://registry:8081, http://apicurio:8080/apis/ccompat/v7.").required()
	o.text("username", &r.Username, "User name for basic authentication.")
	o.secret("password", &r.Password, "Password for basic authentication.")
	o.secret("token", &r.Token, "Bearer token. Not together with username.")
	tlsField(o, &r.TLS)
	o.choice("mode", &r.Mode, "register registers schemas as tables change; lookup only uses schemas that somebody registered before.", "register", "lookup").defaults("register")
}

func (s *Sink) declare(o *object) {
	o.text("name", &s.Name, "Name of the sink in logs and metrics. Lower case letters, digits, - and _; at most 50.").required()
	o.text("group", &s.Group, "Consumer group; its offsets stand in the target too. Sinks of one group share the partitions.").note("cdc_ and the name")
	o.texts("topics", &s.Topics, `Topics: names, or regular expressions between slashes that match whole names: '/public\..*/'.`).required()
	optional(o, "postgres", "A PostgreSQL target. A sink has this, or mysql, or mariadb.", &s.Postgres, (*PostgresSink).declare)
	optional(o, "mysql", "A MySQL target.", &s.MySQL, (*MySQLSink).declare)
	optional(o, "mariadb", "A MariaDB target.", &s.MariaDB, (*MySQLSink).declare)
	o.text("schema", &s.Schema, "Schema of tables for which nothing else is said, and of the table of offsets; with MySQL and MariaDB the database.").note("public; with MySQL and MariaDB the URL's database")
	o.flag("create_tables", &s.CreateTables, "Create tables that are missing.").defaults("true")
	o.flag("alter_columns", &s.AlterColumns, "Let columns of the target follow the source's: rename those that were renamed there, make types wider (integer to bigint, a longer varchar, more digits), drop NOT NULL where NULL comes, give enums of the source's name the labels that come. With false the error of a row that does not fit says what to run.").defaults("true")
	o.flag("add_columns", &s.AddColumns, "Add columns that are missing. With false, fields without a column are left out.").defaults("true")
	o.text("offsets_table", &s.OffsetsTable, "Table of the offsets, in schema; created when absent.").defaults("cdc_offsets")
	o.choice("on_error", &s.OnError, "What becomes of a record that cannot be applied: stop ends the sink; dead-letter puts it into the dead-letter topic; skip leaves it out, with a line in the log.", "stop", "dead-letter", "skip").defaults("stop")
	o.text("dead_letter_topic", &s.DeadLetterTopic, "Topic for on_error: dead-letter.").note("dead_letter_topic of the file")
	list(o, "tables", "Topics that do not go to the table of their name.", &s.Tables, (*SinkTable).declare)
	o.section("batch", "Bounds of one transaction of the target.", s.Batch.declare)
}

func (p *PostgresSink) declare(o *object) {
	o.secret("url", &p.URL, docURL).required()
	o.secret("password", &p.Password, docPassword)
}

func (m *MySQLSink) declare(o *object) {
	o.secret("url", &m.URL, "mysql://user@host:3306/database, or mariadb://…. Parameters: tls (preferred, the default: encrypted but not verified where the server can; false, true, skip-verify) and socket (path of a unix socket).").required()
	o.secret("password", &m.Password, docPassword)
	tlsField(o, &m.TLS)
}

func (t *SinkTable) declare(o *object) {
	o.text("topic", &t.Topic, "The topic.").required()
	o.text("table", &t.Table, "Table in the target.").note("the last part of the topic's name")
	o.text("schema", &t.Schema, "Schema in the target.").note("schema of the sink")
	o.texts("key", &t.Key, "Columns that identify a row, for topics whose record keys do not.")
}

func (b *Batch) declare(o *object) {
	o.number("rows", &b.Rows, 1, 10_000_000, "Records, at most.").defaults("20000")
	o.size("bytes", &b.Bytes, "Bytes of keys and values, about.").defaults("16MiB")
	o.duration("wait", &b.Wait, "How long a batch may wait for more records while the target is idle. At 0 what is there is applied at once; batches grow by themselves while the target is busy.").defaults("0s")
}

func (a *Admin) declare(o *object) {
	o.scalar("listen", "text", "Address (host:port) to listen on, or off. On a loopback address it serves /debug/pprof/, too.", parseListen(&a.Listen)).defaults("127.0.0.1:9187")
}

func (l *Log) declare(o *object) {
	o.choice("level", &l.Level, "The least severe lines to print.", "debug", "info", "warn", "error").defaults("info")
	o.choice("format", &l.Format, "text is for people, json for machines.", "text", "json").defaults("text")
}
