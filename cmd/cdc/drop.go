package main

import (
	"context"
	"fmt"
	"time"

	"cdc/producer"
)

type dropCmd struct {
	configFlag
	KeepCheckpoint bool `help:"Leave the saved position in the checkpoint topic. The next start then refuses, because the slot is gone."`
}

func (dropCmd) Help() string {
	return "Removes the replication slot and, where cdc has made it, the publication of a PostgreSQL source, and the saved\n" +
		"position of any source, and says what it removed. A publication that somebody else has made is left. Topics, schemas\n" +
		"and tables stay. Afterwards the database keeps no log for this capture; a new start begins with a snapshot, which\n" +
		"does not tell the sink of rows that were deleted meanwhile: empty the target table first if it must be exact.\n\n" +
		"Example:\n\n  cdc drop --config cdc.yml"
}

func (c *dropCmd) Run(a *app) error {
	conf, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	if !conf.Source.Given() {
		return usageError{fmt.Errorf("%s: no source, so there is nothing to drop", c.Config)}
	}
	s, stop, err := borrowSetup(a, conf)
	if err != nil {
		return err
	}
	defer stop()
	dropped, left, err := s.database().drop(a.ctx)
	for _, what := range dropped {
		fmt.Fprintln(a.stdout, "dropped", what)
	}
	for _, what := range left {
		fmt.Fprintln(a.stdout, "left", what)
	}
	if err != nil {
		return err
	}
	if len(dropped)+len(left) == 0 {
		fmt.Fprintln(a.stdout, "nothing to drop in the database")
	}
	if c.KeepCheckpoint {
		return nil
	}
	return c.forget(a, s)
}

// forget deletes the saved position, which belongs to the slot that is gone.
func (c *dropCmd) forget(a *app, s *setup) error {
	ctx, cancel := context.WithTimeout(a.ctx, time.Minute)
	defer cancel()
	prod, err := producer.New(ctx, s.producer())
	if err != nil {
		return usageError{err}
	}
	defer closeWithin(s.config.DrainTimeout, prod.Close) //nolint:errcheck // nothing is in flight
	checkpoints := prod.Checkpoints(s.config.Kafka.CheckpointTopic, s.config.Name)
	saved, err := checkpoints.Load(ctx)
	if err != nil {
		return fmt.Errorf("load the checkpoint: %w", err)
	}
	if saved == "" {
		return nil
	}
	if err := checkpoints.Delete(ctx); err != nil {
		return fmt.Errorf("delete the checkpoint: %w", err)
	}
	fmt.Fprintf(a.stdout, "dropped the checkpoint of %q in topic %s\n", s.config.Name, s.config.Kafka.CheckpointTopic)
	return nil
}
