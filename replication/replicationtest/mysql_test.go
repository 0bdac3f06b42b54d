package replicationtest_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"cdc/internal/services"
	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/replication/mysql"
	"cdc/replication/replicationtest"
	"cdc/secret"
)

// TestMySQL takes the source of MySQL and MariaDB over every version of the
// servers.
func TestMySQL(t *testing.T) {
	names := map[string]string{
		services.MySQL9: "MySQL 9.7", services.MySQL80: "MySQL 8.0", services.MariaDB118: "MariaDB 11.8", services.MariaDB1011: "MariaDB 10.11",
	}
	var servers []replicationtest.Server
	for _, version := range services.MySQLVersions() {
		servers = append(servers, replicationtest.Server{
			Name: names[version],
			Start: func(t *testing.T) replicationtest.Driver {
				t.Helper()
				return &mysqlDriver{server: servicetest.OwnMySQL(t, version, nil)}
			},
		})
	}
	replicationtest.Run(t, servers)
}

// mysqlDriver is a server of its own.
type mysqlDriver struct{ server *services.Server }

func (mysqlDriver) Dialect() replicationtest.Dialect {
	return replicationtest.Dialect{
		Quote: func(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" },
		RenameColumn: func(table, from, to, definition string) string {
			return "ALTER TABLE " + table + " CHANGE " + from + " " + to + " " + definition
		},
	}
}

func (d *mysqlDriver) Database(t testing.TB) replicationtest.Database {
	t.Helper()
	name := servicetest.Name(t, "t")
	servicetest.MySQLExec(t, d.server.Address(), "CREATE DATABASE "+name+" CHARACTER SET utf8mb4")
	return &mysqlDatabase{t: t, server: d.server.Address(), name: name}
}

func (d *mysqlDriver) Stop(ctx context.Context, crash bool) error {
	if crash {
		return d.server.Kill(ctx)
	}
	return d.server.Stop(ctx)
}

func (d *mysqlDriver) Start(ctx context.Context) error {
	_, err := d.server.Start(ctx)
	return err
}

type mysqlDatabase struct {
	t            testing.TB
	server, name string

	connector string // of the source that was opened last
}

func (d *mysqlDatabase) Open(ctx context.Context, o replicationtest.Options) (replication.Source, error) {
	if o.From == "" {
		d.connector = servicetest.Name(d.t, "c")
	}
	u, err := url.Parse(d.server)
	if err != nil {
		return nil, err
	}
	flavor := mysql.Flavor(u.Scheme)
	u.User = url.UserPassword("cdc", "cdc") // with the rights that the manual asks for
	cfg := mysql.Config{
		Name: d.connector, Flavor: flavor, URL: secret.New(u.String()), From: o.From, BatchBytes: o.BatchBytes, IDWait: 30 * time.Second,
	}
	for _, name := range o.Tables {
		t := mysql.TableConfig{Schema: d.name, Name: name, Snapshot: mysql.SnapshotNever}
		if o.Snapshot {
			t.Snapshot = mysql.SnapshotInitial
		}
		cfg.Tables = append(cfg.Tables, t)
	}
	s, err := mysql.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (d *mysqlDatabase) Connect(ctx context.Context) (replicationtest.Session, error) {
	conn, err := servicetest.MySQLConn(ctx, d.server+d.name)
	if err != nil {
		return nil, err
	}
	return mysqlSession{conn}, nil
}

// Disconnect kills the threads that send the log to sources of this database:
// they call themselves as their connector.
func (d *mysqlDatabase) Disconnect(ctx context.Context) (n int, err error) {
	s, err := d.Connect(ctx)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	rows, err := s.Query(ctx, "SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%' AND ID = IS_USED_LOCK('cdc.server_id."+
		fmt.Sprint(mysql.ServerID(d.connector))+"')")
	if err != nil {
		return 0, err
	}
	for _, r := range rows {
		if err := s.Exec(ctx, "KILL "+r[0]); err != nil && !strings.Contains(err.Error(), "1094") {
			return n, err
		}
		n++
	}
	return n, nil
}

type mysqlSession struct{ conn *client.Conn }

func (c mysqlSession) Exec(_ context.Context, sql string) error {
	_, err := c.conn.Execute(sql)
	return err
}

func (c mysqlSession) Query(_ context.Context, sql string) (rows [][]string, err error) {
	r, err := c.conn.Execute(sql)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for i := range r.RowNumber() {
		row := make([]string, r.ColumnNumber())
		for j := range row {
			if null, err := r.IsNull(i, j); err != nil {
				return nil, err
			} else if null {
				row[j] = "null"
				continue
			}
			text, err := r.GetString(i, j)
			if err != nil {
				return nil, err
			}
			row[j] = strings.Clone(text) // the result is recycled
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (c mysqlSession) Close() { c.conn.Close() }
