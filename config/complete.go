package config

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"cdc/secret"
)

var (
	nameForm   = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,49}$`)
	slotForm   = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)
	topicForm  = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)
	prefixForm = regexp.MustCompile(`^[a-zA-Z0-9._-]*$`)

	namespaceForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)
)

const (
	topicRule     = "letters, digits, '.', '_' and '-' beside {schema} and {table}"
	namespaceRule = "names of letters, digits and '_', not starting with a digit, with dots between, beside {schema} and {table}"
)

const nameRule = "lower case letters, digits, - and _, at most 50, not - or _ first"

// complete fills in what depends on other fields, and checks fields against
// each other. It also runs when problems are known already, to report all.
func (c *Config) complete(d *decoder) {
	if _, given := d.nodes["name"]; given && !nameForm.MatchString(c.Name) && !d.hasProblem("name") {
		d.at("name", "%q must be %s", c.Name, nameRule)
	}
	if _, given := d.nodes["source"]; !given && !d.given("sinks") {
		d.at("", "there is nothing to do: neither source nor sinks is there")
	}
	c.completeSource(d)
	c.completeTables(d)
	c.completeOutbox(d)
	c.Map.complete(d, c.Name)
	c.Source.MySQL.completeDebezium(d, "source.mysql", &c.Map)
	c.Source.MariaDB.completeDebezium(d, "source.mariadb", &c.Map)
	c.Kafka.complete(d)
	c.Registry.complete(d)
	c.completeSinks(d)
	c.Admin.Chosen = d.given("admin.listen")
	if !d.given("data_dir") {
		c.DataDir = d.relative(c.DataDir)
	}
	if !topicForm.MatchString(c.DeadLetterTopic) {
		d.at("dead_letter_topic", "%q is not a topic's name", c.DeadLetterTopic)
	}
}

// consumes reports whether a topic is one of names and patterns that are valid.
func consumes(topics []string, topic string) bool {
	return slices.ContainsFunc(topics, func(t string) bool {
		if len(t) < 2 || t[0] != '/' || t[len(t)-1] != '/' {
			return t == topic
		}
		re, err := regexp.Compile("^(?:" + t[1:len(t)-1] + ")$")
		return err == nil && re.MatchString(topic)
	})
}

func (d *decoder) given(path string) bool { _, ok := d.nodes[path]; return ok }

func (c *Config) completeSource(d *decoder) {
	var families []string
	for _, name := range []string{"postgres", "mysql", "mariadb"} {
		if d.given("source." + name) {
			families = append(families, name)
		}
	}
	switch {
	case d.given("source") && len(families) == 0 && !d.hasProblem("source"):
		d.at("source", "postgres, mysql or mariadb is missing: which database to capture from")
	case len(families) > 1:
		d.at("source."+families[1], "cannot stand beside %s: a capture reads one database", families[0])
	}
	if c.Source.Given() && !d.given("tables") && !d.given("outbox") {
		d.at("source", "tables is missing: which tables to capture")
	}
	for name, m := range map[string]*MySQLSource{"mysql": c.Source.MySQL, "mariadb": c.Source.MariaDB} {
		if m == nil {
			continue
		}
		m.complete(d, "source."+name)
		for i := range c.Tables {
			if len(c.Tables[i].AsText) > 0 {
				d.at(fmt.Sprintf("tables[%d].as_text", i), "goes with source.postgres alone")
			}
		}
		if e := c.Map.Debezium; e != nil && len(e.Messages) > 0 {
			d.at("map.debezium.messages", "the log of MySQL and MariaDB has no messages")
		}
		for i, b := range c.Outbox {
			if b.Prefix != "" {
				d.at(fmt.Sprintf("outbox[%d].prefix", i), "the log of MySQL and MariaDB has no messages: name a table")
			}
		}
	}
	p := c.Source.Postgres
	if p == nil {
		return
	}
	own := "cdc_" + strings.ReplaceAll(c.Name, "-", "_")
	if p.Slot == "" {
		p.Slot = own
	}
	if p.Publication == "" {
		p.Publication = own
	}
	if !slotForm.MatchString(p.Slot) && d.given("source.postgres.slot") {
		d.at("source.postgres.slot", "%q must be lower case letters, digits and _, at most 63", p.Slot)
	}
	if n := len(p.Publication); n > 63 {
		d.at("source.postgres.publication", "must be at most 63 bytes long")
	}
	p.URL = d.withPassword("source.postgres", p.URL, p.Password)
}

// completeDebezium fits the options of the format debezium to the family.
func (m *MySQLSource) completeDebezium(d *decoder, path string, to *Map) {
	if m == nil {
		return
	}
	if to.Format != "debezium" {
		if m.ZeroDates == "epoch" {
			d.at(path+".zero_dates", "epoch is for format debezium")
		}
		return
	}
	if !d.given(path + ".zero_dates") {
		m.ZeroDates = "epoch"
	}
	e := to.Debezium
	if !d.given("map.debezium.time") {
		e.Time = "adaptive_time_microseconds"
	}
	if e.Time == "adaptive" || e.Time == "structured" {
		d.at("map.debezium.time", "%s goes with source.postgres alone", e.Time)
	}
	for _, option := range []string{"hstore", "interval", "messages"} {
		if d.given("map.debezium." + option) {
			d.at("map.debezium."+option, "goes with source.postgres alone")
		}
	}
}

// complete looks at the URL's form alone: several hosts may stand in it.
func (m *MySQLSource) complete(d *decoder, path string) {
	m.TLS.complete(d, path+".tls")
	field := path + ".url"
	if !d.given(field) {
		field += "_file"
	}
	if !d.given(field) || d.hasProblem(field) {
		return
	}
	switch u := m.URL.Reveal(); {
	case u == "":
		d.at(field, "has no value")
	case !strings.HasPrefix(u, "mysql://") && !strings.HasPrefix(u, "mariadb://"):
		d.at(field, "must be mysql://user@host:3306/ or mariadb://user@host:3306/")
	}
}

// withPassword puts a password into a connection URL or a keyword string.
func (d *decoder) withPassword(path string, conn, password secret.String) secret.String {
	s := conn.Reveal()
	field := path + ".url"
	if !d.given(field) {
		field += "_file"
	}
	if s == "" {
		if d.given(field) && !slices.ContainsFunc(d.problems, func(p Problem) bool { return p.Path == field }) {
			d.at(field, "has no value")
		}
		return conn
	}
	if strings.HasPrefix(s, "postgres://") || strings.HasPrefix(s, "postgresql://") {
		u, err := url.Parse(s)
		if err != nil {
			// url.Error quotes the URL; only its cause may be shown.
			if e, ok := errors.AsType[*url.Error](err); ok {
				err = e.Err
			}
			if strings.ContainsAny(err.Error(), `"`) {
				err = errors.New("a character needs escaping; put the password into password or password_file")
			}
			d.at(field, "not a URL: %v", err)
			return conn
		}
		if !password.IsZero() {
			if u.User == nil { // the user comes from PGUSER or the system
				if u.RawQuery != "" {
					u.RawQuery += "&"
				}
				u.RawQuery += "password=" + strings.ReplaceAll(url.QueryEscape(password.Reveal()), "+", "%20") // to libpq a + is a +
				return secret.New(u.String())
			}
			u.User = url.UserPassword(u.User.Username(), password.Reveal())
			return secret.New(u.String())
		}
		return conn
	}
	if !strings.Contains(s, "=") {
		d.at(field, "must be postgres://user@host:5432/database, or keywords: host=… user=… dbname=…")
		return conn
	}
	if !password.IsZero() {
		quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password.Reveal())
		return secret.New(s + " password='" + quoted + "'")
	}
	return conn
}

func (c *Config) completeTables(d *decoder) {
	if len(c.Tables) > 0 && !d.given("source") {
		d.at("tables", "source is missing: which database has these tables")
	}
	if d.given("tables") && len(c.Tables) == 0 && !slices.ContainsFunc(d.problems, func(p Problem) bool { return p.Path == "tables" }) {
		d.at("tables", "must name at least one table")
	}
	first := map[[2]string]int{}
	for i := range c.Tables {
		t := &c.Tables[i]
		path := fmt.Sprintf("tables[%d]", i)
		if t.Name != "" {
			id := [2]string{t.Schema, t.Name}
			if j, twice := first[id]; twice {
				d.at(path, "table %s.%s stands in tables[%d] already", t.Schema, t.Name, j)
			} else {
				first[id] = i
			}
		}
		checkTemplate(d, path+".topic", t.Topic, topicForm, topicRule)
		if len(t.Include) > 0 && len(t.Exclude) > 0 {
			d.at(path+".exclude", "cannot stand beside include: name the columns to publish, or those to leave out")
		}
		for _, list := range []struct {
			name    string
			columns []string
		}{{"include", t.Include}, {"exclude", t.Exclude}, {"as_text", t.AsText}, {"key.field", t.Key.Fields}} {
			if twice := duplicate(list.columns); twice != "" {
				d.at(path+"."+list.name, "column %q is named twice", twice)
			}
		}
		for _, column := range slices.Concat(t.Key.Fields, nonEmpty(t.Key.Field)) {
			if slices.Contains(t.Exclude, column) || len(t.Include) > 0 && !slices.Contains(t.Include, column) {
				d.at(path+".key", "column %q is part of the key but not published", column)
			}
		}
		fields := map[string]string{}
		for column, name := range t.Rename {
			if name == "" {
				d.at(path+".rename."+column, "has no value")
			}
			if other, twice := fields[name]; twice {
				d.at(path+".rename", "columns %q and %q cannot both be %q", min(column, other), max(column, other), name)
			}
			fields[name] = column
			if slices.Contains(t.Exclude, column) {
				d.at(path+".rename."+column, "column %q is excluded", column)
			}
		}
		switch {
		case !d.given(path + ".key"):
		case t.Key.Mode == "" && !d.hasProblem(path+".key"):
			d.at(path+".key", "must be primary, none, or have one of field, schema and plain")
		case t.Key.Mode == KeyField && len(t.Key.Fields) == 0 && !d.hasProblem(path+".key"):
			d.at(path+".key.field", "must name at least one column")
		case t.Key.Mode == KeyPlain && t.Key.Field == "" && !d.hasProblem(path+".key"):
			d.at(path+".key.plain", "must name a column")
		}
	}
}

// hasProblem reports whether something at or below path is wrong already.
func (d *decoder) hasProblem(path string) bool {
	return slices.ContainsFunc(d.problems, func(p Problem) bool {
		return p.Path == path || strings.HasPrefix(p.Path, path+".") || strings.HasPrefix(p.Path, path+"[")
	})
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func duplicate(list []string) string {
	for i, s := range list {
		if slices.Contains(list[:i], s) {
			return s
		}
	}
	return ""
}

var placeholder = regexp.MustCompile(`\{[^}]*\}`)

// checkTemplate checks a template whose placeholders have been filled in by a
// letter against form.
func checkTemplate(d *decoder, path, template string, form *regexp.Regexp, rule string) {
	if template == "" {
		return
	}
	for _, p := range placeholder.FindAllString(template, -1) {
		if p != "{schema}" && p != "{table}" {
			d.at(path, "unknown placeholder %s: {schema} and {table} are known", p)
			return
		}
	}
	if !form.MatchString(placeholder.ReplaceAllString(template, "x")) {
		d.at(path, "%q is not made of %s", template, rule)
	}
}

func (m *Map) complete(d *decoder, name string) {
	checkTemplate(d, "map.topic", m.Topic, topicForm, topicRule)
	checkTemplate(d, "map.namespace", m.Namespace, namespaceForm, namespaceRule)
	if !prefixForm.MatchString(m.Prefix) {
		d.at("map.prefix", "%q is not made of letters, digits, '.', '_' and '-'", m.Prefix)
	}
	if m.Format != "debezium" {
		if d.given("map.debezium") {
			d.at("map.debezium", "is for format debezium")
		}
		return
	}
	if !d.given("map.truncate") {
		m.Truncate = "skip"
	}
	if m.Debezium == nil {
		m.Debezium = new(Debezium)
		m.Debezium.declare(&object{}) // fills in the defaults
	}
	if m.Debezium.Name == "" {
		m.Debezium.Name = name
	}
	if !prefixForm.MatchString(m.Debezium.Name) {
		d.at("map.debezium.name", "%q is not made of letters, digits, '.', '_' and '-'", m.Debezium.Name)
	}
	if !topicForm.MatchString(m.Debezium.TransactionTopic) {
		d.at("map.debezium.transaction_topic", "%q is not a topic's name", m.Debezium.TransactionTopic)
	}
	for i, prefix := range m.Debezium.Messages {
		if path := fmt.Sprintf("map.debezium.messages[%d]", i); prefix == "" {
			d.at(path, "is empty: '*' is all")
		} else if strings.Contains(strings.TrimSuffix(prefix, "*"), "*") {
			d.at(path, "may have one * only, at its end")
		}
	}
	if d.given("map.namespace") {
		d.at("map.namespace", "is not for format debezium, which names its schemas after map.debezium.name and the table")
	}
}

func (k *Kafka) complete(d *decoder) {
	var brokers []string
	for _, text := range k.Brokers {
		for b := range strings.SplitSeq(text, ",") {
			if b = strings.TrimSpace(b); b != "" {
				brokers = append(brokers, b)
			}
		}
	}
	if k.Brokers = brokers; len(brokers) == 0 && d.given("kafka.brokers") && !d.hasProblem("kafka.brokers") {
		d.at("kafka.brokers", "must name at least one broker")
	}
	k.TLS.complete(d, "kafka.tls")
	if k.SASL != nil {
		k.SASL.complete(d)
	}
	if d.given("kafka.buffer") && k.Buffer < 1<<20 && !d.hasProblem("kafka.buffer") {
		d.at("kafka.buffer", "must be at least 1MiB")
	}
	if k.MaxRecord != 0 && k.MaxRecord < 1<<10 {
		d.at("kafka.max_record", "must be 0 or at least 1KiB")
	}
	if k.MaxRecord > 1<<30 {
		d.at("kafka.max_record", "must be at most 1GiB")
	}
	if !topicForm.MatchString(k.CheckpointTopic) {
		d.at("kafka.checkpoint_topic", "%q is not a topic's name", k.CheckpointTopic)
	}
	if k.MaxRecord > 0 && k.Topics.Config["max.message.bytes"] != "" {
		d.at("kafka.topics.config.max.message.bytes", "cannot stand beside kafka.max_record, which sets it")
	}
}

func (t *TLS) complete(d *decoder, path string) {
	if t == nil {
		return
	}
	switch {
	case t.Cert != "" && t.Key == "":
		d.at(path+".cert", "needs key beside it")
	case t.Key != "" && t.Cert == "":
		d.at(path+".key", "needs cert beside it")
	}
}

func (s *SASL) complete(d *decoder) {
	const path = "kafka.sasl"
	switch s.Mechanism {
	case "plain", "scram-sha-256", "scram-sha-512":
		if s.Username == "" && !d.hasProblem(path+".username") {
			d.at(path, "username is missing: mechanism %s needs it", s.Mechanism)
		}
		if s.Password.IsZero() && !d.hasProblem(path+".password_file") && !d.hasProblem(path+".password") {
			d.at(path, "password (or password_file) is missing: mechanism %s needs it", s.Mechanism)
		}
		for _, f := range []string{"token", "token_file", "token_url"} {
			if d.given(path + "." + f) {
				d.at(path+"."+f, "is for mechanism oauthbearer")
			}
		}
	case "oauthbearer":
		var ways []string
		for _, f := range []string{"token", "token_file", "token_url"} {
			if d.given(path + "." + f) {
				ways = append(ways, f)
			}
		}
		switch {
		case len(ways) == 0:
			d.at(path, "one of token, token_file and token_url is missing: mechanism oauthbearer needs it")
		case len(ways) > 1:
			d.at(path+"."+ways[1], "cannot stand beside %s", ways[0])
		case ways[0] == "token_url" && s.ClientID == "":
			d.at(path, "client_id is missing: token_url needs it")
		}
		if s.TokenURL != "" {
			checkURL(d, path+".token_url", s.TokenURL)
		}
	}
}

func checkURL(d *decoder, path, text string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		d.at(path, "must be http://host or https://host")
	case u.User != nil:
		d.at(path, "must not hold a password: use username and password")
	}
}

func (r *Registry) complete(d *decoder) {
	if r.URL != "" {
		checkURL(d, "registry.url", r.URL)
	}
	r.TLS.complete(d, "registry.tls")
	if !r.Token.IsZero() && r.Username != "" {
		d.at("registry.username", "cannot stand beside token")
	}
	if !r.Password.IsZero() && r.Username == "" {
		d.at("registry", "username is missing: password needs it")
	}
}

func (c *Config) completeSinks(d *decoder) {
	names, groups := map[string]int{}, map[string]int{}
	for i := range c.Sinks {
		s := &c.Sinks[i]
		path := fmt.Sprintf("sinks[%d]", i)
		if d.given(path+".name") && !d.hasProblem(path+".name") && !nameForm.MatchString(s.Name) {
			d.at(path+".name", "%q must be %s", s.Name, nameRule)
		}
		if j, twice := names[s.Name]; twice && s.Name != "" {
			d.at(path+".name", "sinks[%d] has the name %q already", j, s.Name)
		}
		names[s.Name] = i
		if s.Group == "" {
			s.Group = "cdc_" + s.Name
		}
		if j, twice := groups[s.Group]; twice && s.Name != "" && c.Sinks[j].Name != s.Name {
			d.at(path+".group", "sinks[%d] has the group %q already: two sinks of a file would take each other's partitions", j, s.Group)
		}
		groups[s.Group] = i
		if d.given(path+".topics") && len(s.Topics) == 0 && !d.hasProblem(path+".topics") {
			d.at(path+".topics", "must name at least one topic")
		}
		for j, topic := range s.Topics {
			at := fmt.Sprintf("%s.topics[%d]", path, j)
			if len(topic) > 1 && topic[0] == '/' && topic[len(topic)-1] == '/' {
				if _, err := regexp.Compile(topic[1 : len(topic)-1]); err != nil {
					d.at(at, "%v", err)
				}
			} else if !topicForm.MatchString(topic) {
				d.at(at, "%q is neither a topic's name nor a regular expression between slashes", topic)
			}
		}
		s.completeTarget(d, path)
		if s.DeadLetterTopic == "" {
			s.DeadLetterTopic = c.DeadLetterTopic
		} else if !topicForm.MatchString(s.DeadLetterTopic) {
			d.at(path+".dead_letter_topic", "%q is not a topic's name", s.DeadLetterTopic)
		}
		topics := map[string]int{}
		for j, t := range s.Tables {
			if k, twice := topics[t.Topic]; twice && t.Topic != "" {
				d.at(fmt.Sprintf("%s.tables[%d].topic", path, j), "topic %s stands in tables[%d] already", t.Topic, k)
			}
			topics[t.Topic] = j
			if t.Topic != "" && len(s.Topics) > 0 && !d.hasProblem(path+".topics") && !consumes(s.Topics, t.Topic) {
				d.at(fmt.Sprintf("%s.tables[%d].topic", path, j), "%s is none of the sink's topics", t.Topic)
			}
		}
	}
}

// completeTarget looks for the one target that a sink has.
func (s *Sink) completeTarget(d *decoder, path string) {
	var targets []string
	for _, name := range []string{"postgres", "mysql", "mariadb"} {
		if d.given(path + "." + name) {
			targets = append(targets, name)
		}
	}
	switch {
	case len(targets) == 0:
		d.at(path, "postgres, mysql or mariadb is missing: which database to write to")
	case len(targets) > 1:
		d.at(path+"."+targets[1], "cannot stand beside %s: a sink writes to one database", targets[0])
	}
	if s.Postgres != nil {
		s.Postgres.URL = d.withPassword(path+".postgres", s.Postgres.URL, s.Postgres.Password)
		if s.Schema == "" {
			s.Schema = "public"
		}
	}
	for name, m := range map[string]*MySQLSink{"mysql": s.MySQL, "mariadb": s.MariaDB} {
		if m != nil {
			m.URL = d.mysqlURL(path+"."+name, m.URL, m.Password)
			m.TLS.complete(d, path+"."+name+".tls")
		}
	}
}

// mysqlURL puts a password into a mysql:// or mariadb:// URL.
func (d *decoder) mysqlURL(path string, conn, password secret.String) secret.String {
	field := path + ".url"
	if !d.given(field) {
		field += "_file"
	}
	if !d.given(field) || d.hasProblem(field) {
		return conn
	}
	u, err := url.Parse(conn.Reveal())
	switch e, ok := errors.AsType[*url.Error](err); {
	case conn.Reveal() == "":
		d.at(field, "has no value")
	case ok && strings.ContainsAny(e.Err.Error(), `"`):
		d.at(field, "not a URL: a character needs escaping; put the password into password or password_file")
	case ok:
		d.at(field, "not a URL: %v", e.Err)
	case u.Scheme != "mysql" && u.Scheme != "mariadb":
		d.at(field, "must be mysql://user@host:3306/database or mariadb://user@host:3306/database")
	case !password.IsZero():
		u.User = url.UserPassword(u.User.Username(), password.Reveal())
		return secret.New(u.String())
	}
	return conn
}
