package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cdc/internal/servicetest"
)

// world is one source database, one target database, and names for what lies
// between them. Every test has its own.
type world struct {
	name           string // of the connector, and prefix of its topics
	source, target string // URLs
	brokers        []string
	registry       string
	dir            string
	sink           []string // further lines of the sink's entry in the configuration
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := emptyWorld(t, servicetest.Postgres(t))
	w.target = servicetest.Postgres(t)
	return w
}

// emptyWorld has a source of any family, and no target.
func emptyWorld(t *testing.T, source string) *world {
	t.Helper()
	return &world{
		name: servicetest.Name(t, "it"), source: source, brokers: servicetest.Kafka(t), registry: servicetest.Registry(t), dir: t.TempDir(),
	}
}

// topic is the topic of a table.
func (w *world) topic(table string) string { return w.name + "." + schema(w.source) + "." + table }

// schema is what stands before a table's name in the database of a URL.
func schema(address string) string {
	if family(address) == "postgres" {
		return "public"
	}
	return address[strings.LastIndexByte(address, '/')+1:]
}

// config writes a configuration file that captures tables and sinks them, and
// returns its path. A table is its name, and may be followed by further lines
// of its entry. more is put at the end.
func (w *world) config(t *testing.T, tables []string, more string) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nsource:\n  %s:\n    url: %s\ntables:\n", w.name, family(w.source), w.source)
	for _, table := range tables {
		fmt.Fprintf(&b, "  - table: %s.%s\n", schema(w.source), strings.ReplaceAll(strings.TrimSpace(table), "\n", "\n    "))
	}
	fmt.Fprintf(&b, "map:\n  prefix: %s.\n", w.name)
	fmt.Fprintf(&b, "kafka:\n  brokers: [%s]\n  checkpoint_topic: %s_checkpoints\n", strings.Join(w.brokers, ", "), w.name)
	fmt.Fprintf(&b, "registry:\n  url: %s\n", w.registry)
	fmt.Fprintf(&b, "sinks:\n  - name: %s\n    %s:\n      url: %s\n    topics:\n", w.name, family(w.target), w.target)
	for _, table := range tables {
		name, _, _ := strings.Cut(table, "\n")
		fmt.Fprintf(&b, "      - %s\n", w.topic(name))
	}
	for _, line := range w.sink {
		fmt.Fprintf(&b, "    %s\n", line)
	}
	fmt.Fprintf(&b, "admin:\n  listen: 127.0.0.1:%d\n", freePort(t))
	b.WriteString(more)
	file := filepath.Join(w.dir, fmt.Sprintf("cdc-%d.yaml", configs.Add(1)))
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

var configs atomic.Int64

// freePort returns a port that nobody listens on just now.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// process is one run of the binary. It is killed when the test ends, and shows
// its log when the test fails.
type process struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
}

func start(t *testing.T, program string, args ...string) *process {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), args[0]+"-*.log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p := &process{cmd: exec.Command(program, args...), log: log.Name(), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if out := p.output(); strings.Contains(out, "WARNING: DATA RACE") {
			t.Errorf("%s: %s", args[0], out)
		} else if t.Failed() {
			t.Logf("%s:\n%s", strings.Join(args, " "), out[max(0, len(out)-4000):])
		}
	})
	return p
}

func (p *process) output() string {
	b, _ := os.ReadFile(p.log)
	return string(b)
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// patience is the least that anything is waited for: the machine may be busy
// with other tests. What is to be quick is asserted by how it ends.
const patience = 3 * time.Minute

// exit waits for the end of the process, for within or patience, and returns its
// exit code, -1 when a signal ended it.
func (p *process) exit(t *testing.T, within time.Duration) int {
	t.Helper()
	within = max(within, patience)
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		p.signal(syscall.SIGQUIT) // its goroutines
		<-p.ended
		t.Fatalf("%s did not end within %s", p.cmd.Args[1], within)
		return 0
	}
}

// stop ends the process as an operator would: it must drain and end well.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.exit(t, patience); code != 0 {
		t.Fatalf("%s: exit code %d after SIGTERM:\n%s", p.cmd.Args[1], code, p.output())
	}
}

// command runs the binary to its end.
func command(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, errout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errout
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return out.String(), errout.String(), cmd.ProcessState.ExitCode()
}

// eventually asks done until it returns nil, for within or patience at most. A
// process that is named must not end before that.
func eventually(t *testing.T, within time.Duration, what string, done func() error, processes ...*process) {
	t.Helper()
	within = max(within, patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(within)
	for {
		err := done()
		if err == nil {
			return
		}
		for _, p := range processes {
			if !p.running() {
				t.Fatalf("%s ended by itself, exit code %d, before: %s", p.cmd.Args[1], p.cmd.ProcessState.ExitCode(), what)
			}
		}
		select {
		case <-deadline:
			t.Fatalf("after %s not yet: %s: %v", within, what, err)
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-tick.C:
		}
	}
}

// connect returns a connection that is closed with the test.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func exec1(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// rows returns every row of a table as "column=text column=text …", in any order. All
// values are PostgreSQL's own text of them.
func rows(ctx context.Context, conn *pgx.Conn, table string) ([]string, error) {
	var columns []string
	err := conn.QueryRow(ctx, `SELECT array_agg(attname::text ORDER BY attname::text COLLATE "C") FROM pg_attribute
		WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped`, table).Scan(&columns)
	if err != nil {
		return nil, err
	}
	if len(columns) == 0 {
		return nil, fmt.Errorf("there is no table %s", table)
	}
	var list []string
	for _, c := range columns {
		q := pgx.Identifier{c}.Sanitize()
		name := strings.ReplaceAll(c, "'", "''")
		list = append(list, fmt.Sprintf(`'%s=' || coalesce(%s::text, '<null>')`, name, q))
	}
	r, err := conn.Query(ctx, `SELECT concat_ws(' ', `+strings.Join(list, ", ")+`) FROM `+table)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(r, pgx.RowTo[string])
}

// same reports how two databases differ in a table.
func same(ctx context.Context, source, target *pgx.Conn, table string) error {
	want, err := rows(ctx, source, table)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	got, err := rows(ctx, target, table)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	if d := difference(want, got); d != "" {
		return fmt.Errorf("table %s: %s", table, d)
	}
	return nil
}

// difference shows the first lines that are in only one of two lists.
func difference(want, got []string) string {
	in := map[string]int{}
	for _, w := range want {
		in[w]++
	}
	for _, g := range got {
		in[g]--
	}
	var b strings.Builder
	n := 0
	for _, list := range [][]string{want, got} {
		for _, line := range list {
			if c := in[line]; c != 0 {
				if n++; n <= 4 {
					fmt.Fprintf(&b, "\n  %s: %s", map[bool]string{true: "missing", false: "extra"}[c > 0], line)
				}
				in[line] = 0
			}
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d rows instead of %d, %d lines differ:%s", len(got), len(want), n, b.String())
}

// lastObject parses the last line of text as JSON.
func lastObject(t *testing.T, text string) map[string]any {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(text), "\n")
	var o map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &o); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return o
}

// dial connects to a server that may just be on its way up or down.
func dial(ctx context.Context, url string) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return pgx.Connect(ctx, url)
}
