package embedded

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// query runs one statement on a connection of its own and returns its first
// column of its only row, as text.
func query(t *testing.T, url, sql string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	defer rows.Close()
	text := ""
	for rows.Next() {
		if raw := rows.RawValues(); len(raw) > 0 {
			text = string(raw[0])
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return text
}

func programs(t *testing.T) Programs {
	t.Helper()
	p, err := FindPostgres(t.Context(), FetchConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func startPostgres(t *testing.T, dir string) *Postgres {
	t.Helper()
	p, err := StartPostgres(t.Context(), PostgresConfig{Programs: programs(t), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// exercise is what every user that a server runs as must be able to do.
func exercise(t *testing.T, dir string) {
	p := startPostgres(t, dir)
	if got := query(t, p.URL("postgres"), `SHOW wal_level`); got != "logical" {
		t.Errorf("wal_level is %q, want logical", got)
	}
	if got := query(t, p.SocketURL("postgres"), `SELECT inet_server_addr() IS NULL`); got != "t" {
		t.Errorf("SocketURL does not lead over the socket")
	}
	if got := query(t, p.URL("postgres"), `SELECT lsn IS NOT NULL FROM pg_create_logical_replication_slot('s', 'pgoutput')`); got != "t" {
		t.Error("no slot with pgoutput")
	}
	query(t, p.URL("postgres"), `CREATE TABLE kept AS SELECT 42 AS n`)

	url := p.URL("postgres")
	p.Kill()
	if err := p.Restart(t.Context()); err != nil {
		t.Fatalf("restart after kill: %v", err)
	}
	if p.URL("postgres") != url {
		t.Errorf("the URL changed over a restart")
	}
	if got := query(t, url, `SELECT n FROM kept`); got != "42" {
		t.Errorf("after a crash the table holds %q", got)
	}
	if _, err := StartPostgres(t.Context(), PostgresConfig{Programs: p.cfg.Programs, Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second server in the folder: error %v", err)
	}
	pid := p.PID()
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("second stop: %v", err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the stopped server %d is still there: %v", pid, err)
	}
	discarded := startPostgres(t, dir)
	query(t, url, `UPDATE kept SET n = 43`)
	discarded.Discard()
	discarded.Discard()
	again := startPostgres(t, dir)
	if again.URL("postgres") != url {
		t.Errorf("the URL changed over a new start in the folder")
	}
	if got := query(t, url, `SELECT n FROM kept`); got != "43" {
		t.Errorf("after a stop the table holds %q", got)
	}
}

// socketDir returns an empty folder whose path is short enough for a socket's
// name, and that every user may pass through.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cdc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPostgres(t *testing.T) { exercise(t, filepath.Join(socketDir(t), "pg")) }

// helper runs a test of this binary in a process of its own, as the user, and
// returns it started. Its standard output is for the test.
func helper(t *testing.T, uid uint32, run string, env ...string) (*exec.Cmd, io.ReadCloser) {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir := socketDir(t)
	binary := filepath.Join(dir, "embedded.test")
	if err := os.WriteFile(binary, self, 0o755); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-test.run=^"+run+"$", "-test.v")
	cmd.Dir = home
	cmd.Env = append(os.Environ(), append(env, "EMBEDDED_HELPER="+home, "HOME="+home, "TMPDIR="+home)...)
	if os.Geteuid() == 0 && uid != 0 {
		if err := os.Chown(home, int(uid), int(uid)); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// TestWatchdog runs a server under the shell that other systems than Linux
// need, and closes the pipe, as the end of this program does.
func TestWatchdog(t *testing.T) {
	p := startPostgres(t, filepath.Join(socketDir(t), "pg"))
	if err := p.halt(t.Context()); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(p.cfg.Programs.Bin, "postgres"), "-D", p.data, "-p", strconv.Itoa(p.port),
		"-c", "unix_socket_directories=", "-c", "listen_addresses="+loopback)
	p.command(cmd)
	log, err := os.Create(p.Log())
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	release, err := bindByPipe(cmd, syscall.SIGINT)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for status := ""; status != "ready"; _, status = pidFile(p.data) {
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			t.Fatal(err, p.said(0))
		}
	}
	if pid, _ := pidFile(p.data); pid == cmd.Process.Pid {
		t.Error("the server is no child of the shell")
	}
	release()
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if said := p.said(0); !strings.Contains(said, "received fast shutdown request") || !strings.Contains(said, "database system is shut down") {
		t.Errorf("no fast shutdown: %s", said)
	}
}
