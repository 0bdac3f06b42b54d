package postgres

import (
	"context"
	"fmt"

	"cdc/replication"
)

// Check connects and looks at everything that Open would, and returns what it
// found: what is in order, what will be a problem, and what keeps the source
// from starting, with the statement that mends it. It changes nothing. Errors
// come as findings.
func Check(ctx context.Context, cfg Config) []replication.Finding {
	var findings []replication.Finding
	err := withSession(ctx, cfg, func(cfg *Config, s *session) error {
		findings = check(ctx, cfg, newCatalog(s))
		return nil
	})
	if err != nil {
		return failed("configuration", err)
	}
	return findings
}

// withSession completes cfg and lends f a session with it.
func withSession(ctx context.Context, cfg Config, f func(*Config, *session) error) error {
	cfg, err := cfg.complete()
	if err != nil {
		return err
	}
	s := newSession(&cfg)
	defer s.close(context.WithoutCancel(ctx))
	return f(&cfg, s)
}

func check(ctx context.Context, cfg *Config, cat *catalog) []replication.Finding {
	insp, err := inspect(ctx, cfg, cat)
	if err != nil {
		return failed("server", err)
	}
	findings := insp.findings
	repl, err := cfg.connectReplication(ctx, nil)
	if err != nil {
		return append(findings, failed("replication connection", err)...)
	}
	defer closeSoon(ctx, repl)
	if err := insp.identify(ctx, repl); err != nil {
		findings = append(findings, failed("checkpoint", err)...)
	}
	return append(findings, replication.Finding{
		Level: replication.LevelOK, Subject: "source: replication connection",
		Problem: fmt.Sprintf("role %q may replicate", insp.server.Role),
	})
}

// failed makes findings of an error.
func failed(subject string, err error) []replication.Finding {
	f := replication.Finding{Level: replication.LevelError, Subject: "source: " + subject, Problem: err.Error()}
	if r, ok := asRefusal(err); ok {
		f.Problem, f.Remedy = r.Problem, r.Remedy
		if r.Err != nil {
			f.Problem += ": " + r.Err.Error()
		}
	}
	return []replication.Finding{f}
}
