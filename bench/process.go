package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one run of cdc under measurement.
type process struct {
	cmd   *exec.Cmd
	begin time.Time
	log   string
	ended chan struct{}
	err   error // once ended
}

// capture configures and starts cdc capture.
type captureConfig struct{ name, url, table, topic, snapshot string }

func (e *environment) capture(c captureConfig) (*process, error) {
	return e.start("capture", c.name, fmt.Sprintf(`name: %s
source:
  postgres:
    url: %s
tables:
  - table: public.%s
    snapshot: %s
    topic: %s
kafka:
  brokers: [%q]
  checkpoint_topic: %s_checkpoints
registry:
  url: %s
admin:
  listen: 127.0.0.1:0
`, c.name, c.url, c.table, c.snapshot, c.topic, strings.Join(e.brokers, `", "`), e.id, e.registry))
}

// captureOutbox starts a capture of an outbox alone.
func (e *environment) captureOutbox(name, url, payload string) (*process, error) {
	return e.start("capture", name, fmt.Sprintf(`name: %s
source:
  postgres:
    url: %s
outbox:
  - table: public.outbox
    payload: %s
    snapshot: never
kafka:
  brokers: [%q]
  checkpoint_topic: %s_checkpoints
registry:
  url: %s
admin:
  listen: 127.0.0.1:0
`, name, url, payload, strings.Join(e.brokers, `", "`), e.id, e.registry))
}

func (e *environment) sinkInto(name, url, topic, table string) (*process, error) {
	return e.start("sink", name, fmt.Sprintf(`name: %s
kafka:
  brokers: [%q]
registry:
  url: %s
sinks:
  - name: %s
    postgres:
      url: %s
    topics: [%s]
    tables:
      - topic: %s
        table: %s
admin:
  listen: 127.0.0.1:0
`, name, strings.Join(e.brokers, `", "`), e.registry, name, url, topic, topic, table))
}

func (e *environment) start(command, name, config string) (*process, error) {
	file := filepath.Join(e.dir, name+".yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	p := &process{log: filepath.Join(e.logs, name+".log"), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(e.binary, command, "--config", file)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.begin = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// stop ends the process as an operator would and returns the CPU it used in
// its whole life. It must end well.
func (p *process) stop() (cpu time.Duration, err error) {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, err
	}
	select {
	case <-p.ended:
	case <-time.After(60 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return 0, fmt.Errorf("cdc did not end within 60 s of SIGTERM\n%s", p.tail())
	}
	if p.err != nil {
		return 0, fmt.Errorf("cdc ended badly: %w\n%s", p.err, p.tail())
	}
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime(), nil
}

// abandon kills a process that an error left behind.
func (p *process) abandon() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// peak is the most memory the process has held so far, in MB of 1,000,000 bytes.
func (p *process) peak() (float64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kib * 1024 / 1e6, err
		}
	}
	return 0, errors.New("no VmHWM in /proc/PID/status")
}

func (p *process) tail() string {
	b, _ := os.ReadFile(p.log)
	return string(b[max(0, len(b)-2000):])
}

// measured is a finished run.
type measured struct {
	elapsed time.Duration
	cpu     time.Duration
	peakMB  float64
}

// await measures p from its start until done says so, then ends it.
func (p *process) await(ctx context.Context, every time.Duration, done func() (bool, error)) (m measured, err error) {
	if err := until(ctx, p, every, done); err != nil {
		p.abandon()
		return m, err
	}
	m.elapsed = time.Since(p.begin)
	if m.peakMB, err = p.peak(); err != nil {
		p.abandon()
		return m, err
	}
	m.cpu, err = p.stop()
	return m, err
}
