package embedded

import (
	"context"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"cdc/internal/services"
	"cdc/internal/servicetest"
)

func TestMySQL(t *testing.T) {
	for version, variable := range map[string]string{services.MySQL9: EnvMySQLServer, services.MariaDB118: EnvMariaDBServer} {
		t.Run(version, func(t *testing.T) {
			t.Setenv(variable, servicetest.MySQLProgram(t, version))
			mariadb := variable == EnvMariaDBServer
			program, err := FindMySQL(t.Context(), mariadb)
			if err != nil {
				t.Fatal(err)
			}
			if want := version[strings.IndexByte(version, '-')+1:]; !strings.HasPrefix(program.Version, want) || program.MariaDB != mariadb {
				t.Errorf("found %+v, want version %s", program, want)
			}
			m, err := StartMySQL(t.Context(), MySQLConfig{Program: program, Dir: filepath.Join(t.TempDir(), "server")})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Discard()
			u, err := url.Parse(m.URL("mysql"))
			if err != nil {
				t.Fatal(err)
			}
			c := mysql.NewConfig()
			c.User, c.Net, c.Addr, c.DBName = u.User.Username(), "tcp", u.Host, "mysql"
			c.Passwd, _ = u.User.Password()
			c.Logger = &mysql.NopLogger{}
			connector, err := mysql.NewConnector(c)
			if err != nil {
				t.Fatal(err)
			}
			db := sql.OpenDB(connector)
			defer db.Close()
			var got string
			if err := db.QueryRowContext(t.Context(), "SELECT CONCAT_WS(' ', @@log_bin + 0, @@binlog_format, @@binlog_row_metadata)").Scan(&got); err != nil {
				t.Fatal(err)
			}
			if got != "1 ROW FULL" {
				t.Errorf("the server says %q", got)
			}
			if err := m.Stop(context.Background()); err != nil {
				t.Error(err)
			}
			if err := db.PingContext(t.Context()); err == nil {
				t.Error("it answers after its end")
			}
		})
	}
}

// TestFindMySQL: what is not fit is refused with what it is, and where nothing
// is there the way out is named.
func TestFindMySQL(t *testing.T) {
	folder := t.TempDir()
	program := func(name, says string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+says+"'\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		says    string
		mariadb bool
		want    string // the version, or part of the error
	}{
		{"mysqld  Ver 8.0.15 for Linux on x86_64 (MySQL Community Server - GPL)", false, "8.0.15"},
		{"mysqld  Ver 8.4.6-0ubuntu0.25.04.2 for Linux on x86_64 ((Ubuntu))", false, "8.4.6"},
		{"mysqld  Ver 5.7.44 for Linux on x86_64 (MySQL Community Server (GPL))", false, "is version 5.7.44, and 8.0 or later is wanted"},
		{"mariadbd  Ver 10.11.14-MariaDB-0+deb12u2 for debian-linux-gnu on x86_64 (Debian 12)", true, "10.11.14"},
		{"mysqld  Ver 10.5.29-MariaDB for Linux on x86_64", true, "is version 10.5.29, and 10.6 or later is wanted"},
		{"mysqld  Ver 10.11.14-MariaDB for Linux on x86_64", false, "is the server of the other family"},
		{"mysqld  Ver 8.4.6 for Linux on x86_64 (Source distribution)", true, "is the server of the other family"},
		{"hello", false, `it says "hello"`},
	} {
		variable := EnvMySQLServer
		if c.mariadb {
			variable = EnvMariaDBServer
		}
		t.Setenv(variable, program("server", c.says))
		got, err := FindMySQL(t.Context(), c.mariadb)
		if err == nil && got.Version != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v, want %s", c.says, got, err, c.want)
		}
		t.Setenv(variable, "")
	}
	t.Setenv("PATH", t.TempDir())
	defer func(f []string) { mysqlFolders = f }(mysqlFolders)
	mysqlFolders = nil
	for variable, mariadb := range map[string]bool{EnvMySQLServer: false, EnvMariaDBServer: true} {
		if _, err := FindMySQL(t.Context(), mariadb); err == nil || !strings.Contains(err.Error(), "name its program in "+variable) {
			t.Errorf("found where there is none, or no way out: %v", err)
		}
	}
	// MariaDB's server goes by the other's name, too.
	t.Setenv("PATH", folder)
	program("mysqld", "mysqld  Ver 10.11.14-MariaDB for Linux on x86_64")
	if got, err := FindMySQL(t.Context(), true); err != nil || !got.MariaDB {
		t.Errorf("%+v, %v", got, err)
	}
}
