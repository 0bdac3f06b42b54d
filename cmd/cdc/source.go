package main

import (
	"cmp"
	"context"
	"slices"
	"time"

	"cdc/config"
	"cdc/replication"
	"cdc/replication/mysql"
	"cdc/replication/postgres"
)

// database is the one that is captured, whatever its family.
type database struct {
	// open opens the source at a saved position; reload loads that once more.
	open func(ctx context.Context, from replication.Position, reload func(context.Context) (replication.Position, error)) (source, error)
	// transient reports whether an error of open may go away by itself.
	transient func(error) bool
	// check compares with the saved position, which may not be known.
	check func(ctx context.Context, from replication.Position, known bool) []replication.Finding
	// drop removes what the capture has made in the database, and says what, and
	// what it left.
	drop func(ctx context.Context) (dropped, left []string, err error)
}

// source is an open one that can say how it is.
type source interface {
	replication.Source
	status() sourceStatus
}

// sourceStatus is what health and metrics want to know of a source.
type sourceStatus struct {
	connected, snapshot bool
	lag                 int64 // bytes of log; -1 when it is not known
}

func (s *setup) database() database {
	if s.config.Source.Postgres != nil {
		return postgresDatabase(s.source())
	}
	return mysqlDatabase(s.mysqlSource())
}

type postgresSource struct{ *postgres.Source }

func (s postgresSource) status() sourceStatus {
	st := s.Stats()
	return sourceStatus{connected: st.Connected, snapshot: st.Snapshot, lag: st.LagBytes}
}

func postgresDatabase(c postgres.Config) database {
	return database{
		open: func(ctx context.Context, from replication.Position, reload func(context.Context) (replication.Position, error)) (source, error) {
			c.From, c.Reload = from, reload
			s, err := postgres.Open(ctx, c)
			return postgresSource{s}, err
		},
		transient: postgres.Transient,
		check: func(ctx context.Context, from replication.Position, known bool) []replication.Finding {
			c.From, c.FromUnknown = from, !known
			return postgres.Check(ctx, c)
		},
		drop: func(ctx context.Context) (dropped, left []string, err error) { return postgres.Drop(ctx, c) },
	}
}

type mysqlSource struct{ *mysql.Source }

func (s mysqlSource) status() sourceStatus {
	st := s.Stats()
	return sourceStatus{connected: st.Connected, snapshot: st.Snapshot, lag: st.LagBytes}
}

func mysqlDatabase(c mysql.Config) database {
	return database{
		open: func(ctx context.Context, from replication.Position, _ func(context.Context) (replication.Position, error)) (source, error) {
			c.From = from
			s, err := mysql.Open(ctx, c)
			return mysqlSource{s}, err
		},
		transient: mysql.Transient,
		check: func(ctx context.Context, from replication.Position, _ bool) []replication.Finding {
			c.From = from
			return mysql.Check(ctx, c)
		},
		drop: func(context.Context) (dropped, left []string, err error) { return nil, nil, nil }, // the source leaves nothing there
	}
}

// mysqlSource is the source of MySQL's family.
func (s *setup) mysqlSource() mysql.Config {
	c := s.config
	flavor := mysql.MySQL
	if c.Source.MariaDB != nil {
		flavor = mysql.MariaDB
	}
	m := cmp.Or(c.Source.MySQL, c.Source.MariaDB)
	p := mysql.Config{
		Name: c.Name, Flavor: flavor, URL: m.URL, Password: m.Password, ServerID: uint32(m.ServerID), IDWait: m.IDWait,
		ZeroDates: mysql.ZeroDates(m.ZeroDates), OnPurged: mysql.OnPurged(m.OnPurged), StartAt: m.StartAt,
		OnDropPartition: mysql.OnDropPartition(m.OnDropPartition), OnRename: mysql.OnRename(m.OnRename),
		Logger: s.log, Registerer: s.registerer, Progress: logProgress(s.log),
	}
	if c.Map.Format == "debezium" {
		p.Describe = true
		if m.ZeroDates == "epoch" { // the mapper's
			p.ZeroDates = mysql.ZeroDatesError
		}
	}
	if t := m.TLS; t != nil {
		p.TLS = &mysql.TLS{CAFile: t.CA, CertFile: t.Cert, KeyFile: t.Key, ServerName: t.ServerName, Insecure: t.Insecure}
	}
	for _, t := range c.Tables {
		p.Tables = append(p.Tables, mysql.TableConfig{
			Schema: t.Schema, Name: t.Name, Snapshot: mysql.SnapshotMode(t.Snapshot), Key: keyColumns(t.Key), Keyless: t.Key.Mode == config.KeyNone,
			Toast: mysql.Toast(t.Toast),
		})
	}
	for _, b := range c.Outbox {
		if b.Table != "" {
			p.Tables = append(p.Tables, mysql.TableConfig{Schema: b.Schema, Name: b.Table, Snapshot: mysql.SnapshotMode(b.Snapshot), Keyless: true, Ordered: true, InsertsOnly: true})
		}
	}
	if slices.ContainsFunc(c.Outbox, func(b config.Outbox) bool { return b.Cleanup != nil && b.Cleanup.DropPartitions }) {
		p.IdleInterval = 250 * time.Millisecond // the clean-up locks the table until the checkpoint has come so far
	}
	verify := s.verify()
	for i := range p.Tables {
		p.Tables[i].Verify = verify(p.Tables[i].Schema, p.Tables[i].Name)
	}
	return p
}
