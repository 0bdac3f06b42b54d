package servicetest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"cdc/internal/services"
)

// mysqlVariables name the servers of the MySQL families: superusers' URLs. One
// that is not set is started by the first test that asks for it, and stays until
// `make services-stop` or the end of `make test`.
var mysqlVariables = map[string]string{
	services.MySQL9:      "CDC_TEST_MYSQL_URL",
	services.MySQL80:     "CDC_TEST_MYSQL80_URL",
	services.MariaDB118:  "CDC_TEST_MARIADB_URL",
	services.MariaDB1011: "CDC_TEST_MARIADB1011_URL",
}

// MySQLServer returns a superuser's URL of a real server of a version
// (services.MySQL9 and the others), without a database: mysql://user:password@host:port/
// or mariadb://…. Its binlog has format ROW, full metadata and GTIDs; the user
// cdc, password cdc, has what a capture needs.
func MySQLServer(t testing.TB, version string) string {
	t.Helper()
	variable, ok := mysqlVariables[version]
	if !ok {
		t.Fatalf("there is no server %q", version)
	}
	if v := os.Getenv(variable); v != "" {
		return v
	}
	return startLate(t, variable, version, func(h *services.Home, name string) *services.Server {
		return h.MySQL(name, services.MySQL{Version: version})
	})
}

// MySQLProgram returns the path of the server program of a version, with which
// code under test may start servers of its own.
func MySQLProgram(t testing.TB, version string) string {
	t.Helper()
	path, err := find(t).MySQLProgram(t.Context(), version)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// MySQL makes an empty database on a real server of a version and returns a
// superuser's URL of it. The database is dropped when the test ends.
func MySQL(t testing.TB, version string) string {
	t.Helper()
	u, err := url.Parse(MySQLServer(t, version))
	if err != nil {
		t.Fatalf("parse %s: %v", mysqlVariables[version], err)
	}
	name := Name(t, "t")
	server := u.String()
	MySQLExec(t, server, "CREATE DATABASE "+name+" CHARACTER SET utf8mb4")
	t.Cleanup(func() { MySQLExec(t, server, "DROP DATABASE "+name) })
	u.Path = "/" + name
	return u.String()
}

// MySQLExec runs statements, one after another on one connection.
func MySQLExec(t testing.TB, url string, statements ...string) {
	t.Helper()
	conn, err := MySQLConn(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, sql := range statements {
		if _, err := conn.Execute(sql); err != nil {
			t.Fatalf("%s: %v", clip(sql), err)
		}
	}
}

func clip(sql string) string {
	if len(sql) > 300 {
		return sql[:300] + "…"
	}
	return sql
}

// MySQLConn connects to the database of a URL as MySQL returns it. A cleanup
// may call it: it looks at no end of ctx but during the connecting.
func MySQLConn(ctx context.Context, address string) (*client.Conn, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	password, _ := u.User.Password()
	conn, err := client.ConnectWithContext(context.WithoutCancel(ctx), u.Host, u.User.Username(), password, strings.TrimPrefix(u.Path, "/"), time.Minute)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", u.Host, err)
	}
	// The library asks for a collation that not every MariaDB has.
	if _, err := conn.Execute("SET NAMES utf8mb4"); err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect to %s: %w", u.Host, err)
	}
	return conn, nil
}
