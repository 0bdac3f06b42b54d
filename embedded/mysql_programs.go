package embedded

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// MySQLProgram is the server program of one MySQL or MariaDB.
type MySQLProgram struct {
	Path    string // of mysqld or mariadbd
	MariaDB bool
	Version string // as the server says it: "9.7.0", "11.8.3"
}

// The environment variables that FindMySQL follows.
const (
	EnvMySQLServer   = "CDC_MYSQL_SERVER"   // path of mysqld
	EnvMariaDBServer = "CDC_MARIADB_SERVER" // path of mariadbd
)

// mysqlFolders are the folders, after PATH, that packages install servers to:
// Debian, Red Hat, MySQL's own archive, Homebrew, FreeBSD.
var mysqlFolders = []string{
	"/usr/sbin", "/usr/libexec", "/usr/bin", "/usr/local/mysql/bin", "/usr/local/libexec", "/usr/local/sbin", "/usr/local/bin",
	"/opt/homebrew/opt/mysql*/bin", "/opt/homebrew/opt/mariadb*/bin", "/usr/local/opt/mysql*/bin", "/usr/local/opt/mariadb*/bin",
}

// FindMySQL returns the server program of the family on this machine: the one
// that the environment variable names, else the first in PATH and in the folders
// that packages install to. It wants MySQL 8.0 or MariaDB 10.6, or later. None is
// fetched.
func FindMySQL(ctx context.Context, mariadb bool) (MySQLProgram, error) {
	family, variable, names := "MySQL", EnvMySQLServer, []string{"mysqld"}
	if mariadb {
		family, variable, names = "MariaDB", EnvMariaDBServer, []string{"mariadbd", "mysqld"}
	}
	if path := os.Getenv(variable); path != "" {
		p, err := probeMySQL(ctx, path, mariadb)
		if err != nil {
			return p, fmt.Errorf("find the server program of %s: %s: %w", family, variable, err)
		}
		return p, nil
	}
	folders := filepath.SplitList(os.Getenv("PATH"))
	for _, pattern := range mysqlFolders {
		found, _ := filepath.Glob(pattern) // the patterns are good
		folders = append(folders, found...)
	}
	var seen []error
	for _, name := range names {
		for _, folder := range folders {
			path := filepath.Join(folder, name)
			if _, err := os.Stat(path); err != nil {
				continue
			}
			p, err := probeMySQL(ctx, path, mariadb)
			if err == nil {
				return p, nil
			}
			seen = append(seen, err)
		}
	}
	return MySQLProgram{}, errors.Join(fmt.Errorf("find the server program of %s: there is no %s on this machine, in PATH or where packages install it; "+
		"install a server (it need not run), or name its program in %s", family, names[0], variable), errors.Join(seen...))
}

// "/usr/sbin/mysqld  Ver 8.4.6 for Linux on x86_64 (MySQL Community Server - GPL)",
// "mariadbd  Ver 11.8.3-MariaDB-1 from Debian for debian-linux-gnu on x86_64 (Debian n/a)".
var mysqlVersion = regexp.MustCompile(`Ver ((\d+)\.(\d+)\.\d+)`)

func probeMySQL(ctx context.Context, path string, mariadb bool) (MySQLProgram, error) {
	out, err := exec.CommandContext(ctx, path, "--no-defaults", "--version").Output()
	if err != nil {
		return MySQLProgram{}, fmt.Errorf("run %s --version: %w", path, err)
	}
	p := MySQLProgram{Path: path, MariaDB: bytes.Contains(out, []byte("MariaDB"))}
	m := mysqlVersion.FindSubmatch(out)
	if m == nil {
		return p, fmt.Errorf("run %s --version: it says %q", path, bytes.TrimSpace(out))
	}
	p.Version = string(m[1])
	major, _ := strconv.Atoi(string(m[2])) // digits
	minor, _ := strconv.Atoi(string(m[3]))
	oldMajor, oldMinor := 8, 0
	if mariadb {
		oldMajor, oldMinor = 10, 6
	}
	switch {
	case p.MariaDB != mariadb:
		return p, fmt.Errorf("%s is the server of the other family, version %s", path, p.Version)
	case cmp.Or(cmp.Compare(major, oldMajor), cmp.Compare(minor, oldMinor)) < 0:
		return p, fmt.Errorf("%s is version %s, and %d.%d or later is wanted", path, p.Version, oldMajor, oldMinor)
	}
	return p, nil
}

// systemTables returns what makes the system tables of a MariaDB, as
// mariadb-install-db feeds it to the server. The files are where the server has its
// messages.
func (p MySQLProgram) systemTables(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, p.Path, "--no-defaults", "--verbose", "--help").Output()
	if err != nil {
		return "", fmt.Errorf("run %s --verbose --help: %w", p.Path, err)
	}
	var folders []string
	for line := range strings.Lines(string(out)) {
		switch f := strings.Fields(line); {
		case len(f) != 2:
		case f[0] == "lc-messages-dir":
			folders = append(folders, f[1])
		case f[0] == "character-sets-dir":
			folders = append(folders, filepath.Dir(filepath.Clean(f[1])))
		}
	}
	folders = append(folders, filepath.Join(filepath.Dir(p.Path), "../share/mariadb"), filepath.Join(filepath.Dir(p.Path), "../share/mysql"), "/usr/share/mariadb", "/usr/share/mysql")
	for _, folder := range folders {
		if _, err := os.Stat(filepath.Join(folder, "fill_help_tables.sql")); err == nil {
			return mariadbSystemTables(folder)
		}
	}
	return "", fmt.Errorf("find MariaDB's fill_help_tables.sql: it is in none of %s", strings.Join(folders, ", "))
}

// mariadbSystemTables joins the files of a MariaDB's share folder that
// make the system tables, for mariadbd --bootstrap.
func mariadbSystemTables(share string) (string, error) {
	var b strings.Builder
	b.WriteString("CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\nSET @skip_auth_anonymous=1;\n")
	for _, names := range [][]string{
		{"mariadb_system_tables.sql", "mysql_system_tables.sql"},
		{"mariadb_performance_tables.sql", "mysql_performance_tables.sql"},
		{"mariadb_system_tables_data.sql", "mysql_system_tables_data.sql"},
		{"fill_help_tables.sql"},
		{"maria_add_gis_sp_bootstrap.sql"},
	} {
		var text []byte
		var err error
		for _, name := range names {
			if text, err = os.ReadFile(filepath.Join(share, name)); err == nil {
				break
			}
		}
		if err != nil {
			return "", fmt.Errorf("read MariaDB's system tables: %w", err)
		}
		b.Write(text)
	}
	return b.String(), nil
}
