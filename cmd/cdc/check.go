package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"cdc/mapping"
	"cdc/outbox/cleanup"
	"cdc/outbox/route"
	"cdc/producer"
	"cdc/replication"
	cdcsink "cdc/sink"
)

type checkCmd struct {
	configFlag
	JSON    bool          `help:"Print the findings as JSON lines."`
	Timeout time.Duration `default:"30s" help:"How long each system may take to answer (${default})."`
}

func (checkCmd) Help() string {
	return "Connects to the database, Kafka, the registry and every sink of the file, changes nothing, and prints a line for each\n" +
		"finding: what was looked at, what is wrong, and the statement that mends it. Ends with 0 when nothing is wrong (warnings\n" +
		"may be), 1 when there is an error, 2 when the file itself is wrong.\n\n" +
		"Example:\n\n  cdc check --config cdc.yml"
}

func (c *checkCmd) Run(a *app) error {
	conf, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	s, stop, err := borrowSetup(a, conf)
	if err != nil {
		return err
	}
	defer stop()
	worst := replication.LevelOK
	look := func(what func(context.Context) []replication.Finding) {
		ctx, cancel := context.WithTimeout(a.ctx, c.Timeout)
		defer cancel()
		for _, f := range what(ctx) {
			worst = max(worst, f.Level)
			c.print(a, f)
		}
	}
	if conf.Source.Given() {
		look(func(ctx context.Context) []replication.Finding { return checkSource(ctx, s) })
		look(func(ctx context.Context) []replication.Finding { return checkTopics(ctx, s) })
		look(func(ctx context.Context) []replication.Finding { return cleanup.Check(ctx, s.cleanup()) })
	}
	look(s.registry.Check)
	for _, sink := range conf.Sinks {
		look(func(ctx context.Context) []replication.Finding {
			return append(under("sink "+sink.Name, s.sinkTarget(sink).check(ctx)), cdcsink.Check(ctx, s.sink(sink))...)
		})
	}
	if a.ctx.Err() != nil {
		return context.Cause(a.ctx)
	}
	if worst == replication.LevelError {
		return errSilent
	}
	return nil
}

// checkSource looks at the database, and compares its log with the saved
// position where that can be had.
func checkSource(ctx context.Context, s *setup) []replication.Finding {
	saved, err := savedPosition(ctx, s)
	// Kafka's own findings tell why it cannot be read.
	return s.database().check(ctx, saved, err == nil)
}

// savedPosition reads the checkpoint without making its topic.
func savedPosition(ctx context.Context, s *setup) (replication.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c := s.producer()
	c.Registerer = nil
	c.Logger, c.Kafka.Logger = nil, nil
	p, err := producer.New(ctx, c)
	if err != nil {
		return "", err
	}
	defer closeWithin(time.Second, p.Close) //nolint:errcheck // nothing is in flight
	return p.Checkpoints(s.config.Kafka.CheckpointTopic, s.config.Name).Peek(ctx)
}

func checkTopics(ctx context.Context, s *setup) []replication.Finding {
	topics, err := mapping.Topics(s.mapping())
	if err != nil {
		return []replication.Finding{{Level: replication.LevelError, Subject: "tables", Problem: err.Error(), Remedy: "correct the sections map and tables of the configuration"}}
	}
	topics = append(topics, route.Topics(s.outbox())...)
	return producer.Check(ctx, s.producer(), producerTopics(topics))
}

// under puts the name of what they belong to before the findings' subjects.
func under(name string, findings []replication.Finding) []replication.Finding {
	for i := range findings {
		findings[i].Subject = name + ": " + strings.TrimPrefix(findings[i].Subject, "sink: ")
	}
	return findings
}

func (c *checkCmd) print(a *app, f replication.Finding) {
	if c.JSON {
		line, err := json.Marshal(struct {
			Level   string `json:"level"`
			Subject string `json:"subject"`
			Finding string `json:"finding"`
			Remedy  string `json:"remedy,omitempty"`
		}{f.Level.String(), f.Subject, f.Problem, f.Remedy})
		if err == nil {
			fmt.Fprintln(a.stdout, string(line))
		}
		return
	}
	fmt.Fprintf(a.stdout, "%-7s %s: %s\n", f.Level, f.Subject, f.Problem)
	if f.Remedy != "" {
		fmt.Fprintf(a.stdout, "        to mend it: %s\n", strings.ReplaceAll(f.Remedy, "\n", "\n                    "))
	}
}
