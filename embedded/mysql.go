package embedded

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
)

// MySQLConfig says which server to start and where.
type MySQLConfig struct {
	Program MySQLProgram // from FindMySQL
	// Dir holds the data, the log (mysql.log) and the password. It must be new
	// or empty.
	Dir    string
	Logger *slog.Logger
}

// MySQL is a running server of MySQL or MariaDB with a binary log as a capture
// wants it (ROW, full metadata and images, GTIDs) and one user, root, at
// loopback. It ends with this process, however that ends.
type MySQL struct {
	cfg      MySQLConfig
	data     string
	password string
	port     int
	lock     *os.File
	proc     *process
	once     sync.Once // guards the end
}

// StartMySQL makes the data folder, starts the server on a free port of
// 127.0.0.1 and returns once it answers a query.
func StartMySQL(ctx context.Context, cfg MySQLConfig) (*MySQL, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cfg.Program.family(), err)
	}
	cfg.Dir = dir
	lock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cfg.Program.family(), err)
	}
	m := &MySQL{cfg: cfg, data: filepath.Join(dir, "data"), password: strings.ToLower(rand.Text()), lock: lock}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err = m.initialise(ctx); err == nil {
		err = m.start(ctx)
	}
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("start %s: %w", cfg.Program.family(), err)
	}
	return m, nil
}

// family is the name of the family, as URLs and configurations have it.
func (p MySQLProgram) family() string {
	if p.MariaDB {
		return "mariadb"
	}
	return "mysql"
}

// URL returns a URL of the database for root.
func (m *MySQL) URL(database string) string {
	u := url.URL{
		Scheme: m.cfg.Program.family(), User: url.UserPassword("root", m.password),
		Host: loopback + ":" + strconv.Itoa(m.port), Path: "/" + database,
	}
	return u.String()
}

// Log returns the path of the server's log.
func (m *MySQL) Log() string { return filepath.Join(m.cfg.Dir, "mysql.log") }

// Stop ends the server cleanly, or at once when ctx or 30 s end before, and gives
// the folder free. A second call does nothing.
func (m *MySQL) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	var err error
	m.once.Do(func() {
		m.proc.signal(syscall.SIGTERM)
		select {
		case <-m.proc.done:
		case <-ctx.Done():
			err = fmt.Errorf("stop %s: it did not end by itself: %w", m.cfg.Program.family(), ctx.Err())
			m.proc.signal(syscall.SIGKILL)
			<-m.proc.done
		}
		m.lock.Close()
	})
	return err
}

// Discard ends the server at once and gives the folder free: for data that
// nobody wants any more.
func (m *MySQL) Discard() {
	m.once.Do(func() {
		m.proc.signal(syscall.SIGKILL)
		<-m.proc.done
		m.lock.Close()
	})
}

// command returns the server's command with what every run of it wants. No
// file of the machine's settings counts.
func (m *MySQL) command(ctx context.Context, args ...string) *exec.Cmd {
	all := []string{"--no-defaults", "--datadir=" + m.data, "--tmpdir=" + m.cfg.Dir}
	if os.Geteuid() == 0 {
		all = append(all, "--user=root") // it refuses root who does not ask for it
	}
	cmd := exec.CommandContext(ctx, m.cfg.Program.Path, append(all, args...)...)
	cmd.Dir = m.cfg.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C in the terminal ends ctx, and that ends it
	return cmd
}

// initialise makes the system tables.
func (m *MySQL) initialise(ctx context.Context) error {
	if err := os.Mkdir(m.data, 0o700); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	args, input := []string{"--initialize-insecure"}, ""
	if m.cfg.Program.MariaDB {
		args = []string{"--bootstrap", "--skip-log-bin", "--max-allowed-packet=8M"}
		var err error
		if input, err = m.cfg.Program.systemTables(ctx); err != nil {
			return err
		}
	}
	cmd := m.command(ctx, args...)
	cmd.Stdin = strings.NewReader(input)
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		text := bytes.TrimSpace(out.Bytes())
		return fmt.Errorf("make the system tables: %w\n%s", err, text[max(0, len(text)-2000):])
	}
	return nil
}

// start runs the server until it answers.
func (m *MySQL) start(ctx context.Context) (err error) {
	if m.port, err = freePort(); err != nil {
		return err
	}
	// Run before the first connection; one statement a line.
	with := "IDENTIFIED WITH caching_sha2_password BY"
	if m.cfg.Program.MariaDB {
		with = "IDENTIFIED BY"
	}
	init := filepath.Join(m.cfg.Dir, "init.sql")
	user := "'root'@'127.0.0.1'" // MariaDB has it already, without a password
	if err := os.WriteFile(init, []byte("SET sql_log_bin=0;\nCREATE USER IF NOT EXISTS "+user+";\nALTER USER "+user+" "+with+" '"+m.password+"';\n"+
		"GRANT ALL ON *.* TO "+user+" WITH GRANT OPTION;\n"), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", init, err)
	}
	pidPath := filepath.Join(m.cfg.Dir, "server.pid")
	args := []string{
		"--port=" + strconv.Itoa(m.port), "--bind-address=" + loopback, "--socket=sock", // relative to the data: a socket's name must be short
		"--pid-file=" + pidPath, "--init-file=" + init, "--skip-name-resolve", "--secure-file-priv=", "--server-id=1",
		"--log-bin=binlog", "--binlog-format=ROW", "--binlog-row-image=FULL", "--binlog-row-metadata=FULL",
		"--sync-binlog=0", "--innodb-flush-log-at-trx-commit=2",
	}
	if m.cfg.Program.MariaDB {
		args = append(args, "--gtid-strict-mode=ON")
	} else {
		args = append(args, "--mysqlx=OFF", "--gtid-mode=ON", "--enforce-gtid-consistency=ON")
	}
	log, err := os.OpenFile(m.Log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	cmd := m.command(context.WithoutCancel(ctx), args...)
	cmd.Stdout, cmd.Stderr = log, log
	if m.proc, err = startProcess(cmd, syscall.SIGTERM, func() int {
		text, _ := os.ReadFile(pidPath)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		return pid
	}); err != nil {
		return fmt.Errorf("run %s: %w", m.cfg.Program.Path, err)
	}
	for {
		err := m.ping(ctx)
		if err == nil {
			m.cfg.Logger.Debug("server started", "family", m.cfg.Program.family(), "version", m.cfg.Program.Version, "port", m.port, "dir", m.cfg.Dir)
			return nil
		}
		select {
		case <-m.proc.done:
			return fmt.Errorf("the server ended at once (%w); %s:\n%s", m.proc.err, m.Log(), m.said())
		default:
		}
		if e := pause(ctx, 20*time.Millisecond); e != nil {
			m.proc.signal(syscall.SIGKILL)
			<-m.proc.done
			return fmt.Errorf("wait for the server: %w; %s:\n%s", errors.Join(e, err), m.Log(), m.said())
		}
	}
}

// ping asks the server a question.
func (m *MySQL) ping(ctx context.Context) error {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr = "root", m.password, "tcp", loopback+":"+strconv.Itoa(m.port)
	c.Logger = &mysql.NopLogger{} // that there is no answer yet is no news
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	var one int
	return db.QueryRowContext(ctx, "SELECT 1").Scan(&one)
}

// said returns the end of the log.
func (m *MySQL) said() string {
	text, err := os.ReadFile(m.Log())
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(text[max(0, len(text)-2000):]))
}
