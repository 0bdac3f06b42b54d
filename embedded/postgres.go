package embedded

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// PostgresConfig says which server to start and where.
type PostgresConfig struct {
	Programs Programs // from FindPostgres
	// Dir holds the data, the log (postgres.log), the password and, when its
	// path is short enough, the unix socket. It is made when it is not there;
	// data in it are used again.
	Dir string
	// Port is the port on 127.0.0.1. 0 takes a free one, and the same again at
	// the next start in Dir while it is free.
	Port int
	// Settings go to the server as -c name=value, over the package's own:
	// wal_level=logical, max_wal_senders=20, max_replication_slots=20.
	Settings map[string]string
	Logger   *slog.Logger
}

// Postgres is a running server with one superuser, postgres. It runs as another
// user when this process is root, because PostgreSQL refuses root. It ends with
// this process, however that ends.
type Postgres struct {
	cfg      PostgresConfig
	data     string
	password string
	port     int
	socket   bool
	launch   launcher
	lock     *os.File

	mu   sync.Mutex // guards proc
	proc *process   // nil while stopped
}

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 30 * time.Second
	superuser    = "postgres"
)

// StartPostgres makes the data folder if there is none (initdb, UTF-8, locale
// C), starts the server and returns once it takes connections. What a killed
// process left behind, a running server or its postmaster.pid, is cleared away
// first.
func StartPostgres(ctx context.Context, cfg PostgresConfig) (*Postgres, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	cfg.Dir = dir
	lock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	p := &Postgres{cfg: cfg, data: filepath.Join(dir, "data"), lock: lock}
	// A socket's name has 104 bytes on macOS, 108 on Linux.
	p.socket = len(dir)+len("/.s.PGSQL.65535.lock") < 104
	if err := p.prepare(ctx); err != nil {
		lock.Close()
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	if err := p.start(ctx); err != nil {
		lock.Close()
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	return p, nil
}

// URL returns a libpq URL of the database for the superuser, over TCP.
func (p *Postgres) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, p.password),
		Host: loopback + ":" + strconv.Itoa(p.port), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// SocketURL returns a libpq URL of the database for the superuser over the unix
// socket, or over TCP where Dir's path is too long for a socket's name.
func (p *Postgres) SocketURL(database string) string {
	if !p.socket {
		return p.URL(database)
	}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, p.password), Path: "/" + database,
		RawQuery: url.Values{"host": {p.cfg.Dir}, "port": {strconv.Itoa(p.port)}}.Encode(),
	}
	return u.String()
}

// Log returns the path of the server's log.
func (p *Postgres) Log() string { return filepath.Join(p.cfg.Dir, "postgres.log") }

// PID returns the server's process id, or 0 while it is stopped.
func (p *Postgres) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc == nil {
		return 0
	}
	return p.proc.server()
}

// Stop ends the server in the fast way (connections are closed, all is
// written), in the immediate way when ctx or 30 s end before, and gives the
// folder free. A second call does nothing.
func (p *Postgres) Stop(ctx context.Context) error {
	err := p.halt(ctx)
	p.lock.Close()
	return err
}

// Discard ends the server at once, writes nothing more and gives the folder
// free: for data that nobody wants any more. A later start would recover them
// from the log.
func (p *Postgres) Discard() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc != nil {
		p.proc.signal(syscall.SIGQUIT)
		<-p.proc.done
		p.proc = nil
	}
	p.lock.Close()
}

// Kill ends the server as a crash would, and returns once it is gone. Start it
// again with Restart, or give the folder free with Stop.
func (p *Postgres) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc == nil {
		return
	}
	p.proc.signal(syscall.SIGKILL)
	<-p.proc.done
	p.proc = nil
}

// Restart stops the server if it runs, and starts it on the same port and data.
func (p *Postgres) Restart(ctx context.Context) error {
	if err := p.halt(ctx); err != nil {
		return fmt.Errorf("restart postgres: %w", err)
	}
	if err := p.start(ctx); err != nil {
		return fmt.Errorf("restart postgres: %w", err)
	}
	return nil
}

func (p *Postgres) halt(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	p.proc.signal(syscall.SIGINT)
	var err error
	select {
	case <-p.proc.done:
	case <-ctx.Done():
		err = fmt.Errorf("stop postgres: it did not end in the fast way: %w", ctx.Err())
		p.proc.signal(syscall.SIGQUIT)
		<-p.proc.done // the server itself kills what does not end, after 5 s
	}
	p.proc = nil
	return err
}

// prepare settles user, leftovers, password and data folder.
func (p *Postgres) prepare(ctx context.Context) (err error) {
	if p.launch, err = newLauncher(ctx, p.cfg.Programs, p.cfg.Dir); err != nil {
		return err
	}
	if err := clearLeftover(ctx, p.data); err != nil {
		return err
	}
	passwordFile := filepath.Join(p.cfg.Dir, "password")
	text, err := os.ReadFile(passwordFile)
	switch {
	case err == nil:
		p.password = strings.TrimSpace(string(text))
	case errors.Is(err, fs.ErrNotExist):
		p.password = strings.ToLower(rand.Text())
		if err := os.WriteFile(passwordFile, []byte(p.password+"\n"), 0o600); err != nil {
			return fmt.Errorf("keep password: %w", err)
		}
		if err := p.launch.own(passwordFile); err != nil {
			return err
		}
	default:
		return fmt.Errorf("read password: %w", err)
	}
	if _, err := os.Stat(filepath.Join(p.data, "PG_VERSION")); err == nil {
		return nil
	}
	return p.initdb(ctx, passwordFile)
}

// initdb makes the data in a folder beside, which takes its name only when
// complete: a killed initdb leaves nothing that looks like data.
func (p *Postgres) initdb(ctx context.Context, passwordFile string) error {
	fresh := p.data + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("clear %s: %w", fresh, err)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(p.cfg.Programs.Bin, "initdb"), "-D", fresh, "-U", superuser,
		"--pwfile="+passwordFile, "--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync")
	p.command(cmd)
	cmd.SysProcAttr.Setpgid = true // a Ctrl-C in the terminal ends ctx, and that ends initdb
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run initdb: %w\n%s", err, bytes.TrimSpace(out.Bytes()))
	}
	if err := os.Rename(fresh, p.data); err != nil {
		return fmt.Errorf("name data folder: %w", err)
	}
	return nil
}

// command gives a command the server's user, folder and environment.
func (p *Postgres) command(cmd *exec.Cmd) {
	cmd.Dir = p.cfg.Dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PG") && !strings.HasPrefix(v, "LC_") && !strings.HasPrefix(v, "LANG") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C")
	p.launch.apply(cmd)
}

// start runs the server until it is ready. A port taken by another process
// makes it try another one, unless the caller chose it.
func (p *Postgres) start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	portFile := filepath.Join(p.cfg.Dir, "port")
	chosen := p.port != 0 || p.cfg.Port != 0 // also: the URL was handed out already
	if p.port == 0 {
		p.port = p.cfg.Port
	}
	if p.port == 0 {
		kept, err := keptPort(portFile)
		if err != nil {
			return err
		}
		p.port = kept
	}
	for {
		if p.port == 0 {
			free, err := freePort()
			if err != nil {
				return err
			}
			p.port = free
		}
		err := p.run(ctx)
		switch {
		case err == nil:
			return keepPort(portFile, p.port)
		case errors.Is(err, errPortTaken) && !chosen:
			p.port = 0
		case errors.Is(err, errStillEnding):
			if err := pause(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

var (
	errPortTaken   = errors.New("the port is taken")
	errStillEnding = errors.New("processes of the former server have not ended yet")
)

// run starts the server once and waits until it is ready, or has ended.
func (p *Postgres) run(ctx context.Context) error {
	log, err := os.OpenFile(p.Log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	before, err := log.Seek(0, 2)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	settings := map[string]string{
		"listen_addresses": loopback, "port": strconv.Itoa(p.port), "unix_socket_directories": "",
		"wal_level": "logical", "max_wal_senders": "20", "max_replication_slots": "20",
		"log_destination": "stderr", "logging_collector": "off",
	}
	if p.socket {
		settings["unix_socket_directories"] = p.cfg.Dir
	}
	maps.Copy(settings, p.cfg.Settings)
	args := []string{"-D", p.data}
	for _, name := range sortedKeys(settings) {
		args = append(args, "-c", name+"="+settings[name])
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(p.cfg.Programs.Bin, "postgres"), args...)
	p.command(cmd)
	cmd.Stdout, cmd.Stderr = log, log
	proc, err := startProcess(cmd, syscall.SIGINT, func() int { pid, _ := pidFile(p.data); return pid }) // the fast way
	if err != nil {
		return fmt.Errorf("run postgres: %w", err)
	}
	for {
		select {
		case <-proc.done:
			said := p.said(before)
			switch {
			case strings.Contains(said, "could not bind") || strings.Contains(said, "could not create any TCP/IP sockets"):
				return fmt.Errorf("%w: %d\n%s", errPortTaken, p.port, said)
			case strings.Contains(said, "pre-existing shared memory block"):
				return errStillEnding
			}
			return fmt.Errorf("the server ended at once (%w); %s:\n%s", proc.err, p.Log(), said)
		default:
		}
		if pid, status := pidFile(p.data); status == "ready" && (pid == proc.cmd.Process.Pid || !directChild) {
			p.proc = proc
			p.cfg.Logger.Debug("postgres started", "version", p.cfg.Programs.Version, "port", p.port, "dir", p.cfg.Dir)
			return nil
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			proc.signal(syscall.SIGQUIT)
			<-proc.done
			return fmt.Errorf("wait for postgres: %w; %s:\n%s", err, p.Log(), p.said(before))
		}
	}
}

// said returns the end of what the log got since the offset.
func (p *Postgres) said(since int64) string {
	text, err := os.ReadFile(p.Log())
	if err != nil || int64(len(text)) < since {
		return ""
	}
	text = text[since:]
	return string(bytes.TrimSpace(text[max(0, len(text)-2000):]))
}

// pidFile reads a data folder's postmaster.pid: the server's process id and its
// state, in the lines 1 and 8 (miscadmin.h, LOCK_FILE_LINE_*). It returns 0
// when there is none.
func pidFile(data string) (pid int, status string) {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return 0, ""
	}
	lines := strings.Split(string(text), "\n")
	if pid, err = strconv.Atoi(strings.TrimSpace(lines[0])); err != nil {
		return 0, ""
	}
	if len(lines) >= 8 {
		status = strings.TrimSpace(lines[7])
	}
	return pid, status
}

// pause waits for d or until ctx ends, whose error it then returns.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
