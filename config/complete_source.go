package config

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"cdc/secret"
)

func (c *Config) completeSource(d *decoder) {
	families := d.givenOf("source", "postgres", "mysql", "mariadb")
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
	d.positive("source.postgres.slot_wait", int(p.SlotWait))
	d.positive("source.postgres.spill_memory", p.SpillMemory)
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
	d.positive(path+".server_id_wait", int(m.IDWait))
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
