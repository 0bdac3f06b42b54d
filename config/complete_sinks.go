package config

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"cdc/secret"
)

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
		d.positive(path+".batch.bytes", s.Batch.Bytes)
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
	targets := d.givenOf(path, "postgres", "mysql", "mariadb")
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
