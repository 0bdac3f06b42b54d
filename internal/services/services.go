// Package services runs real servers for tests and benchmarks on this machine,
// without a container engine: PostgreSQL, Apache Kafka (KRaft, one broker) and
// Apicurio, a schema registry that speaks Confluent's API. Programs come from
// the machine or from package registries by exact version, and everything lives
// below one folder that git ignores:
//
//	.services/soft/<what>   unpacked programs
//	.services/run/<name>    one server: data/, log, state.json
//
// A server outlives the process that started it, until Stop. It is found again
// by its state file, and only ever signalled when the process of that id also
// has the start time that was noted. Linux only; root and ordinary users.
package services

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Home is the folder that programs and servers live in.
type Home struct {
	Dir string
	Log io.Writer // progress for people; nil is none
}

// Find returns the Home of this checkout: $CDC_SERVICES_DIR, else .services
// beside the go.mod of module cdc, looked for from the working folder upwards.
func Find(log io.Writer) (*Home, error) {
	if dir := os.Getenv("CDC_SERVICES_DIR"); dir != "" {
		abs, err := filepath.Abs(dir)
		return &Home{Dir: abs, Log: log}, err
	}
	root, err := Root()
	if err != nil {
		return nil, err
	}
	return &Home{Dir: filepath.Join(root, ".services"), Log: log}, nil
}

// Root returns the root folder of this checkout, looked for from the working
// folder upwards.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(mod), "module cdc\n") {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("find the checkout: no go.mod of module cdc above the working folder")
		}
		dir = up
	}
}

func (h *Home) logf(format string, args ...any) {
	if h.Log != nil {
		fmt.Fprintf(h.Log, "services: "+format+"\n", args...)
	}
}

// Server is one server of a Home. Its name is its folder; two Servers of the
// same name are the same server.
type Server struct {
	home *Home
	name string
	kind kind
}

// kind is what differs between the three.
type kind interface {
	// ports is how many ports the server listens on.
	ports() int
	// install fetches the programs, if they are not there.
	install(ctx context.Context, h *Home) error
	// prepare makes the data folder ready and returns the command.
	prepare(ctx context.Context, s *Server, ports []int) (*exec.Cmd, error)
	// answers asks the server a real question.
	answers(ctx context.Context, ports []int) error
	// signal ends it cleanly.
	signal() syscall.Signal
	// address is what clients are given.
	address(ports []int) string
}

// state is what a server leaves for later processes.
type state struct {
	Pid   int    `json:"pid"`
	Born  uint64 `json:"born"` // start time of the process, in clock ticks since boot
	Ports []int  `json:"ports"`
}

// Dir is the server's folder.
func (s *Server) Dir() string { return filepath.Join(s.home.Dir, "run", s.name) }

// LogFile is the file with the server's output.
func (s *Server) LogFile() string { return filepath.Join(s.Dir(), "log") }

func (s *Server) load() state {
	var st state
	b, err := os.ReadFile(filepath.Join(s.Dir(), "state.json"))
	if err == nil {
		err = json.Unmarshal(b, &st)
	}
	if err != nil {
		return state{}
	}
	return st
}

func (s *Server) save(st state) error {
	b, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.Dir(), "state.json"), b, 0o644)
}

// Address is what clients connect to, once Start has settled it: a superuser's
// URL, host:port, the URL of the registry's Confluent API.
func (s *Server) Address() string { return s.kind.address(s.load().Ports) }

// Pid is the server's process, or 0 when it does not run.
func (s *Server) Pid() int {
	if st := s.load(); st.Pid != 0 && born(st.Pid) == st.Born {
		return st.Pid
	}
	return 0
}

// Start installs what is missing and starts the server unless it runs, and
// returns when it has answered a query. It reports whether it started it.
func (s *Server) Start(ctx context.Context) (started bool, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("start %s: %w", s.name, err)
		}
	}()
	if err := os.MkdirAll(s.Dir(), 0o755); err != nil {
		return false, err
	}
	unlock, err := lock(filepath.Join(s.Dir(), "lock"))
	if err != nil {
		return false, err
	}
	defer unlock()
	if err := s.kind.install(ctx, s.home); err != nil {
		return false, fmt.Errorf("install: %w", err)
	}
	if s.Pid() != 0 {
		return false, s.await(ctx)
	}
	st := s.load()
	// A server keeps its ports: clients know them. A killed one lets go of them a
	// moment later.
	for range 100 {
		if len(st.Ports) != s.kind.ports() || free(st.Ports) {
			break
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	if len(st.Ports) != s.kind.ports() || !free(st.Ports) {
		// Noted before the choice of anybody else.
		err := s.home.choose(s.kind.ports(), func(ports []int) error {
			st = state{Ports: ports}
			return s.save(st)
		})
		if err != nil {
			return false, err
		}
	}
	for deadline := time.Now().Add(time.Minute); ; {
		started, err = s.launch(ctx, st)
		if !errors.Is(err, errStillEnding) || time.Now().After(deadline) {
			return started, err
		}
		select {
		case <-ctx.Done():
			return started, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// errStillEnding says that children of a killed server are there still: they
// leave a moment later than it.
var errStillEnding = errors.New("processes of the former server have not ended yet")

// launch starts the process, and returns when it has answered.
func (s *Server) launch(ctx context.Context, st state) (started bool, err error) {
	cmd, err := s.kind.prepare(ctx, s, st.Ports)
	if err != nil {
		return false, err
	}
	log, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return false, err
	}
	defer log.Close()
	before, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir(), log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return false, err
	}
	go func() { _ = cmd.Wait() }() // collects it, should it end before this process does
	st.Pid, st.Born = cmd.Process.Pid, born(cmd.Process.Pid)
	if err := s.save(st); err != nil {
		return true, err
	}
	if err := s.await(ctx); err != nil {
		said, _ := os.ReadFile(s.LogFile())
		if s.Pid() == 0 && strings.Contains(string(said[min(int(before), len(said)):]), "pre-existing shared memory block") {
			err = fmt.Errorf("%w: %w", errStillEnding, err)
		}
		return true, errors.Join(err, s.stop(ctx, syscall.SIGKILL))
	}
	s.home.logf("%s: %s (pid %d, %.1f s)", s.name, s.Address(), st.Pid, time.Since(begin).Seconds())
	return true, nil
}

// await asks until the server answers, for four minutes at most: the machine may
// be busy.
func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	ports := s.load().Ports
	for {
		try, done := context.WithTimeout(ctx, 20*time.Second)
		err := s.kind.answers(try, ports)
		done()
		if err == nil {
			return nil
		}
		if s.Pid() == 0 {
			return fmt.Errorf("the server ended at once; the end of %s:\n%s", s.LogFile(), tail(s.LogFile()))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer: %w; the end of %s:\n%s", err, s.LogFile(), tail(s.LogFile()))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Stop ends the server cleanly, if it runs, and keeps its data.
func (s *Server) Stop(ctx context.Context) error { return s.stop(ctx, s.kind.signal()) }

// Kill ends it at once, as a crash would, and waits until it is gone.
func (s *Server) Kill(ctx context.Context) error { return s.stop(ctx, syscall.SIGKILL) }

func (s *Server) stop(ctx context.Context, signal syscall.Signal) error {
	pid := s.Pid()
	if pid == 0 {
		return nil
	}
	if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop %s: %w", s.name, err)
	}
	patience := time.After(30 * time.Second)
	for s.Pid() != 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-patience:
			s.home.logf("%s: does not end, killing it", s.name)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// Remove kills the server and deletes its folder.
func (s *Server) Remove(ctx context.Context) error {
	if err := s.Kill(ctx); err != nil {
		return err
	}
	// The children of a killed postgres leave a moment later than it.
	var err error
	for range 50 {
		if err = os.RemoveAll(s.Dir()); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return err
}

// StopAll stops every server of the Home, whoever started it.
func (h *Home) StopAll(ctx context.Context) error {
	entries, err := os.ReadDir(filepath.Join(h.Dir, "run"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var errs []error
	for _, e := range entries {
		errs = append(errs, h.StopNamed(ctx, e.Name()))
	}
	return errors.Join(errs...)
}

// StopNamed stops the server of that name, if it runs, whatever it is.
func (h *Home) StopNamed(ctx context.Context, name string) error {
	s := &Server{home: h, name: name, kind: &Kafka{}}
	if _, err := os.Stat(filepath.Join(s.Dir(), "data", "PG_VERSION")); err == nil {
		s.kind = &Postgres{}
	}
	if s.Pid() == 0 {
		return nil
	}
	err := s.Stop(ctx)
	h.logf("%s: stopped", s.name)
	return err
}

// born is the start time of a process, 0 when there is none or when it has
// ended and merely waits to be collected. One of which threads are left has not:
// it still holds its files and ports.
func born(pid int) uint64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if len(f) < 20 || f[0] == "X" {
		return 0
	}
	if f[0] == "Z" {
		if threads, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task"); err != nil || len(threads) <= 1 {
			return 0
		}
	}
	n, _ := strconv.ParseUint(f[19], 10, 64)
	return n
}

// Ports picks n free ports.
func (h *Home) Ports(n int) (ports []int, err error) {
	err = h.choose(n, func(picked []int) error {
		ports = picked
		return nil
	})
	return ports, err
}

// choose picks free ports below those that the kernel hands out by itself, and
// that no other server of this Home has. Until note returns nobody else picks any.
func (h *Home) choose(n int, note func(ports []int) error) error {
	unlock, err := lock(filepath.Join(h.Dir, "run", ".ports"))
	if err != nil {
		return err
	}
	defer unlock()
	taken := map[int]bool{}
	entries, _ := os.ReadDir(filepath.Join(h.Dir, "run"))
	for _, e := range entries {
		for _, p := range (&Server{home: h, name: e.Name()}).load().Ports {
			taken[p] = true
		}
	}
	var ports []int
	for range 1000 {
		p := 20000 + rand.IntN(10000)
		if taken[p] || !free([]int{p}) {
			continue
		}
		taken[p] = true
		if ports = append(ports, p); len(ports) == n {
			return note(ports)
		}
	}
	return errors.New("choose ports: none is free")
}

func free(ports []int) bool {
	for _, p := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(p))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

// lock holds a file's lock until the function it returns is called.
func lock(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// tail returns the last 2,000 bytes of a file.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}
