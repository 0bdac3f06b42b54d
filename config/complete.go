package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
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
	d.positive("drain_timeout", int(c.DrainTimeout))
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

// positive refuses a 0 in whose place there would be the default.
func (d *decoder) positive(path string, n int) {
	if n == 0 && d.given(path) && !d.hasProblem(path) {
		d.at(path, "must be more than 0")
	}
}

func (d *decoder) given(path string) bool { _, ok := d.nodes[path]; return ok }

// givenOf returns those of the fields of path that are given.
func (d *decoder) givenOf(path string, fields ...string) (given []string) {
	for _, f := range fields {
		if d.given(path + "." + f) {
			given = append(given, f)
		}
	}
	return given
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
