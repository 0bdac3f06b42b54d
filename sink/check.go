package sink

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/kafka"
	"cdc/replication"
)

// checkTimeout is how long Check tries to reach the brokers.
const checkTimeout = 10 * time.Second

// Check looks for the sink's topics, and changes nothing. The target has a
// check of its own.
func Check(ctx context.Context, cfg Config) []replication.Finding {
	found := func(level replication.Level, problem, remedy string) []replication.Finding {
		return []replication.Finding{{Level: level, Subject: "sink " + cfg.Name + ": topics", Problem: problem, Remedy: remedy}}
	}
	if err := cfg.defaults(); err != nil {
		return found(replication.LevelError, err.Error(), "correct the sink's settings")
	}
	opts, err := cfg.Kafka.Opts()
	if err != nil {
		return found(replication.LevelError, err.Error(), "correct the kafka settings")
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return found(replication.LevelError, err.Error(), "correct the kafka settings")
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	topics, err := kadm.NewClient(cl).ListTopics(ctx)
	if err != nil {
		remedy, ok := kafka.Remedy(err, "Describe on the sink's topics")
		if !ok {
			remedy = "start the brokers " + strings.Join(cfg.Kafka.Brokers, ", ") + ", or correct kafka.brokers"
		}
		return found(replication.LevelError, fmt.Sprintf("list topics: %v", err), remedy)
	}
	var list []replication.Finding
	for _, t := range cfg.Topics {
		p, ok := pattern(t)
		if !ok {
			p = regexp.QuoteMeta(t)
		}
		re := regexp.MustCompile("^(?:" + p + ")$") // compiled once already by defaults
		n, parts := 0, 0
		for name, d := range topics {
			if re.MatchString(name) && cfg.consumes(name) {
				n++
				parts += len(d.Partitions)
			}
		}
		switch {
		case n > 0:
			list = append(list, found(replication.LevelOK, fmt.Sprintf("%s: %d topics with %d partitions", t, n, parts), "")...)
		case ok:
			list = append(list, found(replication.LevelWarning, "no topic matches "+t+" yet", "start the capture, or correct the pattern")...)
		default:
			list = append(list, found(replication.LevelWarning, "topic "+t+" does not exist yet", "start the capture, or correct the name")...)
		}
	}
	var names []string
	for name, d := range topics {
		if !d.IsInternal && cfg.consumes(name) {
			names = append(names, name)
		}
	}
	if r, ok := errors.AsType[*replication.Refusal](cfg.collisions(names)); ok {
		list = append(list, found(replication.LevelError, r.Problem, r.Remedy)...)
	}
	return list
}
