package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHelp: every command explains itself with an example.
func TestHelp(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := command(t, "--help")
	if code != 0 || stderr != "" || !strings.Contains(stdout, "Exit codes") {
		t.Errorf("cdc --help: exit code %d, %s%s", code, stdout, stderr)
	}
	for _, name := range []string{"run", "capture", "sink", "demo", "check", "tail", "drop", "version", "config schema"} {
		first, _, _ := strings.Cut(name, " ")
		if !strings.Contains(stdout, first) {
			t.Errorf("cdc --help does not name %s:\n%s", first, stdout)
		}
		help, stderr, code := command(t, append(strings.Fields(name), "--help")...)
		if code != 0 || stderr != "" || !strings.Contains(help, "Example") || !strings.Contains(help, "cdc "+first) {
			t.Errorf("cdc %s --help: exit code %d\n%s%s", name, code, help, stderr)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	stdout, _, code := command(t, "version")
	if code != 0 || !regexp.MustCompile(`^cdc \S+ \(go1\.\d+\S*, linux/\w+\)\n$`).MatchString(stdout) {
		t.Errorf("exit code %d, %q", code, stdout)
	}
}

// TestConfigSchema: the schema is one, and knows the file's sections.
func TestConfigSchema(t *testing.T) {
	t.Parallel()
	stdout, _, code := command(t, "config", "schema")
	var schema struct {
		Schema     string         `json:"$schema"`
		Properties map[string]any `json:"properties"`
	}
	if err := json.Unmarshal([]byte(stdout), &schema); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v", code, err)
	}
	for _, section := range []string{"name", "source", "tables", "map", "kafka", "registry", "sinks", "admin", "log", "on_error"} {
		if schema.Properties[section] == nil {
			t.Errorf("the schema has no property %s", section)
		}
	}
	if !strings.HasPrefix(schema.Schema, "http") {
		t.Errorf("$schema is %q", schema.Schema)
	}
}

// TestUsage: mistakes of the command line and of the file end with code 2, and
// all those of the file are told at once, with their lines.
func TestUsage(t *testing.T) {
	t.Parallel()
	bad := filepath.Join(t.TempDir(), "bad.yml")
	err := os.WriteFile(bad, []byte("name: shop\nsource:\n  postgres:\n    url: postgres://localhost/shop\n    slott: typo\ntables:\n"+
		"  - table: public.orders\n    snapshot: sometimes\nkafka:\n  brokers: [localhost:9092]\n  linger: soon\nregistry:\n  url: http://localhost:8081\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"frobnicate"}, []string{"frobnicate"}},
		{[]string{"run", "--no-such-flag"}, []string{"--no-such-flag"}},
		{[]string{"run", "--config", "no/such/file.yml"}, []string{"no/such/file.yml"}},
		{[]string{"run", "--config", bad}, []string{"bad.yml:5", "slott", "bad.yml:8", "sometimes", "bad.yml:11", "linger"}},
		{[]string{"check", "--config", bad}, []string{"bad.yml:5", "bad.yml:8", "bad.yml:11"}},
	} {
		stdout, stderr, code := command(t, c.args...)
		if code != 2 || stdout != "" {
			t.Errorf("cdc %s: exit code %d, stdout %q", strings.Join(c.args, " "), code, stdout)
		}
		for _, w := range c.want {
			if !strings.Contains(stderr, w) {
				t.Errorf("cdc %s: %q is not in:\n%s", strings.Join(c.args, " "), w, stderr)
			}
		}
	}
}

// TestCheck: a configuration that works, and ones that do not, each with the
// statement that mends it.
func TestCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source := connect(t, w.source)
	exec1(t, source, `CREATE TABLE orders (id int PRIMARY KEY); CREATE TABLE keyless (v text)`)
	good := w.config(t, []string{"orders"}, "")
	stdout, stderr, code := command(t, "check", "--config", good)
	if code != 0 || strings.Contains(stdout, "error") {
		t.Errorf("good: exit code %d\n%s%s", code, stdout, stderr)
	}
	// It changes nothing.
	var slots, publications int
	if err := source.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM pg_replication_slots WHERE database = current_database()), (SELECT count(*) FROM pg_publication)`).Scan(&slots, &publications); err != nil || slots+publications != 0 {
		t.Errorf("check left %d slots and %d publications, %v", slots, publications, err)
	}
	findings, _, _ := command(t, "check", "--json", "--config", good)
	for line := range strings.SplitSeq(strings.TrimSpace(findings), "\n") {
		if f := lastObject(t, line); f["level"] != "ok" && f["level"] != "warning" || f["subject"] == "" {
			t.Errorf("finding %s", line)
		}
	}

	exec1(t, source, `CREATE ROLE `+w.name+` LOGIN PASSWORD 'weak'`)
	t.Cleanup(func() {
		ctx := context.Background() // the test's own has ended
		c, err := dial(ctx, w.source)
		if err == nil {
			defer c.Close(ctx)
			_, err = c.Exec(ctx, `DROP ROLE `+w.name)
		}
		if err != nil {
			t.Error(err)
		}
	})
	weak := *w
	weak.source = strings.Replace(w.source, "postgres:postgres@", w.name+":weak@", 1)
	nowhere := *w
	nowhere.brokers = []string{fmt.Sprintf("127.0.0.1:%d", freePort(t))}
	noRegistry := *w
	noRegistry.registry = fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	wrongPassword := *w
	wrongPassword.target = strings.Replace(w.target, ":postgres@", ":wrong@", 1)
	for _, c := range []struct {
		name, file string
		want       []string
	}{
		{"a table that is not there", w.config(t, []string{"orders", "missing"}, ""), []string{"public.missing"}},
		{"a table without a key", w.config(t, []string{"keyless"}, ""), []string{"keyless", "to mend it"}},
		{"a slip of the pen in exclude", w.config(t, []string{"orders\nexclude: [cardnumber]"}, ""), []string{`no column "cardnumber", which its setting exclude names`, "name one of its columns: id"}},
		{"an outbox without its columns", w.config(t, []string{"orders"}, "outbox:\n  - table: public.keyless\n"), []string{"outbox table public.keyless has no column", "choose the preset that fits the table"}},
		{"a weak user", weak.config(t, []string{"orders"}, ""), []string{"REPLICATION", "GRANT SELECT"}},
		{"no Kafka", nowhere.config(t, []string{"orders"}, ""), []string{nowhere.brokers[0]}},
		{"no registry", noRegistry.config(t, []string{"orders"}, ""), []string{noRegistry.registry}},
		{"a wrong password of the target", wrongPassword.config(t, []string{"orders"}, ""), []string{"sink " + w.name, "password"}},
	} {
		args := []string{"check", "--config", c.file}
		if strings.HasPrefix(c.name, "no ") {
			args = append(args, "--timeout", "5s") // which passes
		}
		stdout, stderr, code := command(t, args...)
		if code != 1 || !strings.Contains(stdout, "error") {
			t.Errorf("%s: exit code %d\n%s%s", c.name, code, stdout, stderr)
		}
		for _, want := range c.want {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s: %q is not in:\n%s", c.name, want, stdout)
			}
		}
		if strings.Contains(stdout+stderr, "postgres:postgres") || strings.Contains(stdout+stderr, ":weak@") {
			t.Errorf("%s: a password is shown:\n%s%s", c.name, stdout, stderr)
		}
	}
}

// TestRefusal: what a person must mend ends a start with code 3.
func TestRefusal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stdout, stderr, code := command(t, "run", "--config", w.config(t, []string{"missing"}, ""))
	if code != 3 || stdout != "" || !strings.Contains(stderr, "public.missing") || !strings.Contains(stderr, "to mend it") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// TestTailAndDrop runs a capture, reads its topic by cdc tail, resumes, and
// removes what it left in the database.
func TestTailAndDrop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, target := connect(t, w.source), connect(t, w.target)
	exec1(t, source, `CREATE TABLE orders (id int PRIMARY KEY, total numeric(8,2), placed timestamptz); INSERT INTO orders VALUES (1, 17.50, '2026-11-21 12:00:00.5Z')`)
	file := w.config(t, []string{"orders"}, "")
	equal := func() error { return same(t.Context(), source, target, "orders") }
	p := start(t, binary, "run", "--config", file)
	eventually(t, time.Minute, "the row is in the target", equal, p)
	exec1(t, source, `UPDATE orders SET total = 18 WHERE id = 1; DELETE FROM orders WHERE id = 1`)
	eventually(t, time.Minute, "it is gone", equal, p)
	p.stop(t)

	stdout, stderr, code := command(t, "tail", "--config", file, w.topic("orders"))
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if code != 0 || len(lines) != 3 {
		t.Fatalf("tail: exit code %d, %d lines\n%s%s", code, len(lines), stdout, stderr)
	}
	ops := []string{"read", "update", "delete"}
	for i, line := range lines {
		o := lastObject(t, line)
		if key, _ := o["key"].(map[string]any); key["id"] != 1.0 {
			t.Errorf("record %d: key %v", i, o["key"])
		}
		if h, _ := o["headers"].(map[string]any); h["cdc.op"] != ops[i] {
			t.Errorf("record %d: headers %v, want cdc.op %s", i, o["headers"], ops[i])
		}
		if (o["value"] == nil) != (i == 2) {
			t.Errorf("record %d: value %v", i, o["value"])
		}
	}
	if !strings.Contains(lines[0], "17.50") || !strings.Contains(lines[1], "18.00") {
		t.Errorf("amounts: %s", stdout)
	}

	// A second start goes on where the first stopped: no row twice.
	exec1(t, source, `INSERT INTO orders VALUES (2, 1, now())`)
	p = start(t, binary, "run", "--config", file)
	eventually(t, time.Minute, "the row of the time between is in the target", equal, p)
	p.stop(t)
	if all := w.read(t, w.topic("orders")); len(all) != 4 {
		t.Errorf("%d records after the second start, want 4", len(all))
	}

	stdout, stderr, code = command(t, "drop", "--config", file)
	if code != 0 || !strings.Contains(stdout, `slot`) || !strings.Contains(stdout, "publication") || !strings.Contains(stdout, "cdc_"+w.name) {
		t.Errorf("drop: exit code %d\n%s%s", code, stdout, stderr)
	}
	var slots, publications int
	if err := source.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM pg_replication_slots WHERE database = current_database()), (SELECT count(*) FROM pg_publication)`).Scan(&slots, &publications); err != nil || slots+publications != 0 {
		t.Errorf("%d slots and %d publications are left, %v", slots, publications, err)
	}
	if stdout, stderr, code = command(t, "drop", "--config", file); code != 0 || !strings.Contains(stdout, "nothing to drop") {
		t.Errorf("second drop: exit code %d\n%s%s", code, stdout, stderr)
	}
}

// TestSignals: SIGTERM finishes what is in flight within drain_timeout, and a
// second one ends at once.
func TestSignals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, target := connect(t, w.source), connect(t, w.target)
	exec1(t, source, `CREATE TABLE orders (id int PRIMARY KEY, v text); INSERT INTO orders VALUES (1, 'first')`)
	equal := func() error { return same(t.Context(), source, target, "orders") }
	capture := start(t, binary, "capture", "--config", w.config(t, []string{"orders"}, ""))

	// blocked starts a sink and holds the target's table while a row is on its
	// way into it.
	row := 1
	blocked := func(drain string) (p *process, release func()) {
		t.Helper()
		p = start(t, binary, "sink", "--config", w.config(t, []string{"orders"}, "drain_timeout: "+drain+"\n"))
		eventually(t, 2*time.Minute, "the target equals the source", equal, capture, p)
		holder := connect(t, w.target)
		exec1(t, holder, `BEGIN`)
		exec1(t, holder, `LOCK TABLE orders IN ACCESS EXCLUSIVE MODE`)
		row++
		exec1(t, source, `INSERT INTO orders VALUES ($1, 'held')`, row)
		eventually(t, time.Minute, "the sink waits for the table", func() error {
			var waiting int
			err := target.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting)
			if err != nil || waiting == 0 {
				return fmt.Errorf("%d sessions wait, %v", waiting, err)
			}
			return nil
		}, p)
		return p, func() { exec1(t, holder, `ROLLBACK`) }
	}

	p, release := blocked("30s")
	p.signal(syscall.SIGTERM)
	release()
	if code := p.exit(t, patience); code != 0 {
		t.Errorf("a stop with a row in flight: exit code %d", code)
	}
	if err := equal(); err != nil {
		t.Errorf("the row in flight is not in the target: %v", err)
	}

	p, release = blocked("1s")
	p.signal(syscall.SIGTERM)
	begin := time.Now()
	if code := p.exit(t, patience); code != 4 || time.Since(begin) > 18*time.Second { // without the setting it would be 20 s
		t.Errorf("a stop that cannot finish in time took %s: exit code %d, want 4", time.Since(begin), code)
	}
	release()
	// What it left unfinished, the next one does: blocked waits for that.

	p, release = blocked("60s")
	p.signal(syscall.SIGTERM)
	// Until it has ended: two signals of one kind that are pending are one.
	eventually(t, patience, "the second signal ends it", func() error {
		p.signal(syscall.SIGTERM)
		if p.running() {
			return fmt.Errorf("it runs")
		}
		return nil
	})
	if code := p.exit(t, patience); code != 130 {
		t.Errorf("the second signal: exit code %d, want 130", code)
	}
	release()
	capture.stop(t)
}

// TestAdmin: probes and metrics of a running pipeline.
func TestAdmin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, target := connect(t, w.source), connect(t, w.target)
	exec1(t, source, `CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders SELECT generate_series(1, 10)`)
	p := start(t, binary, "run", "--config", w.config(t, []string{"orders"}, ""))
	eventually(t, time.Minute, "the rows are in the target", func() error { return same(t.Context(), source, target, "orders") }, p)
	address := regexp.MustCompile(`address=(127\.0\.0\.1:\d+)`).FindStringSubmatch(p.output())
	if address == nil {
		t.Fatal("the log names no address of the admin server")
	}
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + address[1] + path)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return 0, err.Error()
		}
		return resp.StatusCode, string(b)
	}
	for _, path := range []string{"/livez", "/readyz"} {
		eventually(t, 20*time.Second, path, func() error {
			if code, body := get(path); code != http.StatusOK {
				return fmt.Errorf("%d %s", code, body)
			}
			return nil
		}, p)
	}
	_, metrics := get("/metrics")
	for _, topic := range []string{w.topic("orders"), "public.orders"} {
		if !regexp.MustCompile(`(?m)^cdc_\S+\{.*` + regexp.QuoteMeta(topic) + `.*\} 10$`).MatchString(metrics) {
			t.Errorf("no metric counts 10 rows of %s:\n%s", topic, cdcLines(metrics))
		}
	}
	for _, word := range []string{"lag", "bytes", "retained", "in_flight", "_bucket"} {
		if !regexp.MustCompile(`(?m)^cdc_\w*` + word).MatchString(metrics) {
			t.Errorf("no metric's name holds %q:\n%s", word, cdcLines(metrics))
		}
	}
	p.stop(t)
}

func cdcLines(metrics string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(metrics, "\n") {
		if strings.HasPrefix(line, "cdc_") && !strings.Contains(line, "_bucket") {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}
