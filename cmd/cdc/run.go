package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"cdc/config"
	"cdc/replication"
)

// configFlag is the flag that most commands share.
type configFlag struct {
	Config string `short:"c" default:"cdc.yml" placeholder:"FILE" help:"The configuration file (${default})."`
}

type runCmd struct{ configFlag }

func (runCmd) Help() string {
	return "Runs the capture, if the file has a source, and every sink of the file in one process.\n" +
		"SIGTERM or Ctrl-C stops reading and finishes what is in flight within drain_timeout; a second one stops at once.\n\n" +
		"Example:\n\n  cdc run --config cdc.yml"
}

func (c *runCmd) Run(a *app) error { return runFile(a, c.Config, true, nil) }

type captureCmd struct{ configFlag }

func (captureCmd) Help() string {
	return "Reads the database's log and publishes it; the sinks of the file are left alone.\n\n" +
		"Example:\n\n  cdc capture --config cdc.yml"
}

func (c *captureCmd) Run(a *app) error { return runFile(a, c.Config, true, []string{}) }

type sinkCmd struct {
	configFlag
	Names []string `arg:"" optional:"" name:"sink" help:"Names of sinks of the file; all when none is given."`
}

func (sinkCmd) Help() string {
	return "Applies topics to tables; the capture of the file is left alone. Several processes with one file share the partitions.\n\n" +
		"Examples:\n\n  cdc sink --config cdc.yml\n  cdc sink --config cdc.yml warehouse"
}

func (c *sinkCmd) Run(a *app) error { return runFile(a, c.Config, false, c.Names) }

// runFile runs the capture of a file, if wanted, and its sinks: those named,
// all of them when names is nil.
func runFile(a *app, path string, capture bool, names []string) error {
	c, err := loadConfig(path)
	if err != nil {
		return err
	}
	sinks, err := chooseSinks(c, names)
	if err != nil {
		return usageError{fmt.Errorf("%s: %w", path, err)}
	}
	capture = capture && c.Source.Given()
	switch {
	case !capture && names != nil && len(names) == 0:
		return usageError{fmt.Errorf("%s: no source, so there is nothing to capture; add a section source", path)}
	case !capture && len(sinks) == 0:
		return usageError{fmt.Errorf("%s: nothing to run: add a source, or sinks", path)}
	}
	stderr := &lockedWriter{w: a.stderr}
	log := newLogger(c.Log, stderr)
	log.Info("cdc starts", "version", version(), "config", path, "name", c.Name)
	adm, err := startAdmin(c.Admin, log)
	if err != nil {
		return err
	}
	defer adm.close()
	stopServices, err := startEmbedded(c, log)
	if err != nil {
		return err
	}
	defer stopServices()
	s, err := newSetup(c, log, adm.registry)
	if err != nil {
		return err
	}
	var parts []part
	if capture {
		parts = append(parts, part{"capture", func(ctx context.Context, watch func(func() health)) error {
			return runCapture(ctx, s.capture(), watch)
		}})
	}
	for _, sc := range sinks {
		parts = append(parts, part{"sink " + sc.Name, func(ctx context.Context, watch func(func() health)) error {
			return runSink(ctx, s.sink(sc), watch)
		}})
	}
	err = runParts(a.ctx, parts, adm, failures(log, c.Log.Format, stderr))
	if err == nil {
		log.Info("cdc stopped cleanly", "reason", context.Cause(a.ctx))
		return nil
	}
	if a.ctx.Err() == nil && isDrain(err) && !isUsage(err) && !replication.IsRefusal(err) {
		err = errors.New(err.Error()) // it failed; that it then could not finish is not the point
	}
	return toldError{err}
}

// failures returns what tells of a part's error: the log, when programs read it,
// else w behind a line of the log, as it is. People copy statements out of it.
func failures(log *slog.Logger, format string, w io.Writer) func(part string, err error) {
	return func(part string, err error) {
		if format == "json" {
			log.Error("part failed, stopping", "part", part, "error", err)
			return
		}
		log.Error("part failed, stopping", "part", part)
		fmt.Fprintln(w, "cdc:", printable(err.Error()))
	}
}

// lockedWriter is for the log and for whoever writes beside it.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func chooseSinks(c *config.Config, names []string) ([]config.Sink, error) {
	if names == nil {
		return c.Sinks, nil
	}
	var chosen []config.Sink
	var unknown error
	for _, name := range names {
		found := false
		for _, s := range c.Sinks {
			if s.Name == name {
				chosen, found = append(chosen, s), true
			}
		}
		if !found {
			unknown = errors.Join(unknown, fmt.Errorf("there is no sink %q", name))
		}
	}
	return chosen, unknown
}
