package main

import (
	"context"
	"errors"
	"fmt"

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
	log := newLogger(c.Log, a.stderr)
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
	err = runParts(a.ctx, parts, adm, log)
	if a.ctx.Err() == nil && isDrain(err) && !isUsage(err) && !replication.IsRefusal(err) {
		return errors.New(err.Error()) // it failed; that it then could not finish is not the point
	}
	if err == nil {
		log.Info("cdc stopped cleanly", "reason", context.Cause(a.ctx))
	}
	return err
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
