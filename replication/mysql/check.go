package mysql

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"cdc/replication"
)

// Check connects and looks at everything that Open would, and returns what it
// found: what is in order, what will be a problem, and what keeps the source
// from starting, with the statement that mends it. It changes nothing. Errors
// come as findings.
func Check(ctx context.Context, cfg Config) []replication.Finding {
	cfg, err := cfg.complete()
	if err != nil {
		return failed("configuration", err)
	}
	s := newSession(&cfg)
	defer s.close()
	insp, err := inspect(ctx, &cfg, s, false)
	if err != nil {
		return failed("server", err)
	}
	if insp.refusal() != nil {
		return insp.findings
	}
	if err := tryLog(ctx, cfg, insp.server.end); err != nil {
		return append(insp.findings, failed("log", err)...)
	}
	return append(insp.findings, replication.Finding{
		Level: replication.LevelOK, Subject: "source: log", Problem: fmt.Sprintf("user %q may read it", cfg.address.user),
	})
}

// tryLog asks for the log and reads the first packet, under a server id that
// cuts nobody off.
func tryLog(ctx context.Context, cfg Config, from place) error {
	cfg.ServerID = passingID()
	conn, err := cfg.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := cfg.prepareDump(ctx, conn, &from); err != nil {
		return cfg.explain(err, &from)
	}
	return conn.within(ctx, 0, func() error {
		b, err := newPackets(conn, queryTimeout).next()
		if err == nil && len(b) > 0 && b[0] == 0xff {
			err = cfg.explain(serverError(b), &from)
		}
		return err
	})
}

// passingID is a server id that is most likely nobody's, for one look at the log.
func passingID() uint32 { return rand.Uint32() | 1<<31 }

// failed makes findings of an error.
func failed(subject string, err error) []replication.Finding {
	f := replication.Finding{Level: replication.LevelError, Subject: "source: " + subject, Problem: err.Error()}
	if r, ok := errors.AsType[*replication.Refusal](err); ok {
		f.Problem, f.Remedy = r.Problem, r.Remedy
		if r.Err != nil {
			f.Problem += ": " + r.Err.Error()
		}
	}
	return []replication.Finding{f}
}
