package sink

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/kafka"
	"cdc/replication"
)

// identify compares what the target's offsets belong to with the topics as they
// are, and returns the topics' ids. A topic that was deleted and made anew has
// other records at the same offsets: going on there would skip some in silence.
func (ss *session) identify(details kadm.TopicDetails, topics []string, had map[string]string) (map[string]string, error) {
	if err := ss.cfg.collisions(details.Names()); err != nil {
		return nil, err
	}
	ids := make(map[string]string, len(topics))
	for _, name := range topics {
		d := details[name]
		if d.ID == (kadm.TopicID{}) {
			continue // brokers before 2.8 have none
		}
		ids[name] = d.ID.String()
		if id, ok := had[name]; ok && id != ids[name] {
			return nil, ss.offsetsRefusal(name, fmt.Sprintf(
				"topic %s was made anew since: the offsets in the target belong to another topic of that name (id %s, now %s)", name, id, ids[name]), nil)
		}
	}
	return ids, nil
}

// offsetsRefusal says how to begin a topic anew.
func (ss *session) offsetsRefusal(topic, problem string, err error) error {
	return &replication.Refusal{
		Problem: problem,
		Remedy: fmt.Sprintf("compare the target with the source or empty it, then DELETE FROM %s WHERE group_name = %s AND topic = %s; to read the topic from its start",
			cmp.Or(ss.cfg.OffsetsTable, "the offsets table"), replication.QuoteLiteral(ss.cfg.Group), replication.QuoteLiteral(topic)),
		Err: err,
	}
}

// describe returns those topics, and with patterns all others that they match,
// too; it waits until the brokers answer.
func (ss *session) describe(ctx context.Context, topics []string) (kadm.TopicDetails, error) {
	_, patterns, err := ss.cfg.topics()
	if err != nil {
		return nil, err
	}
	ask := topics
	if patterns {
		ask = nil // all
	}
	wait := 100 * time.Millisecond
	for {
		all, err := kadm.NewClient(ss.cl).ListTopics(ctx, ask...)
		missing := ""
		if err == nil {
			for _, t := range topics {
				if d, ok := all[t]; !ok || d.Err != nil {
					missing, err = t, d.Err
				}
			}
		}
		if err == nil && missing == "" {
			for name, d := range all {
				if !slices.Contains(topics, name) && (d.IsInternal || !ss.cfg.consumes(name)) {
					delete(all, name)
				}
			}
			return all, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if remedy, ok := kafka.Remedy(err, "Describe on the sink's topics"); ok {
			return nil, &replication.Refusal{Problem: "describe the sink's topics", Remedy: remedy, Err: err}
		}
		ss.log.Log(ctx, kafka.RetryLevel(err), "cannot describe topics: will try again", "topic", missing, "error", err, "wait", wait)
		if !pause(ctx, wait) {
			return nil, ctx.Err()
		}
		wait = min(2*wait, 10*time.Second)
	}
}

// consumes reports whether the sink reads a topic of that name.
func (c *Config) consumes(topic string) bool {
	if topic == c.DeadLetterTopic && c.DeadLetterTopic != "" {
		return slices.Contains(c.Topics, topic)
	}
	if slices.Contains(c.NotTables, topic) && !c.names(topic) {
		return false
	}
	return slices.ContainsFunc(c.Topics, func(t string) bool {
		p, ok := pattern(t)
		if !ok {
			return t == topic
		}
		re, err := regexp.Compile("^(?:" + p + ")$")
		return err == nil && re.MatchString(topic)
	})
}

// collisions refuses topics that would go to one table only because their
// names end alike: rows of one would overwrite those of the other. Whoever
// wants that says so in Tables, for each of them.
func (c *Config) collisions(topics []string) error {
	said := func(topic string) bool {
		return slices.ContainsFunc(c.Tables, func(t TableConfig) bool { return t.Topic == topic && t.Table != "" })
	}
	slices.Sort(topics)
	first := map[[2]string]string{}
	for _, topic := range topics {
		t := c.table(topic)
		at := [2]string{t.Schema, t.Table}
		other, taken := first[at]
		if !taken {
			first[at] = topic
			continue
		}
		if other != topic && !(said(other) && said(topic)) {
			return &replication.Refusal{
				Problem: fmt.Sprintf("topics %s and %s would both go to table %s of the target", other, topic, t.Table),
				Remedy:  "name the table (or the schema) of each in sinks[].tables; if the two are to be mixed, name the same table for both",
			}
		}
	}
	return nil
}

// balancer is kgo's cooperative-sticky one under a name that only sinks into
// the same target share: the group's coordinator takes no member whose
// protocols differ from the others'. So two sinks of one group that write to
// different databases do not take each other's partitions in silence.
type balancer struct {
	kgo.GroupBalancer
	name string
}

func newBalancer(identity string) kgo.GroupBalancer {
	b := balancer{GroupBalancer: kgo.CooperativeStickyBalancer()}
	if b.name = b.GroupBalancer.ProtocolName(); identity != "" {
		b.name += "-" + identity
	}
	return b
}

func (b balancer) ProtocolName() string { return b.name }
