package producer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"

	"cdc/kafka"
	"cdc/replication"
)

// Topic is a topic to publish to.
type Topic struct {
	Name  string
	Keyed bool // its records have keys, so that it can be compacted
}

// TopicConfig says how topics come to be.
type TopicConfig struct {
	// Create makes missing topics. Otherwise they must be there.
	Create bool
	// Partitions of a new topic. 0 is 1.
	Partitions int
	// Replication factor of a new topic. 0 is the cluster's own default
	// (default.replication.factor).
	Replication int
	// Compact gives new topics with keys cleanup.policy=compact.
	Compact bool
	// Extra are further settings of a new topic, such as retention.ms; they win
	// over what this package would set.
	Extra map[string]string
}

const (
	cleanupPolicy   = "cleanup.policy"
	maxMessageBytes = "max.message.bytes"

	// defaultMaxMessage is Kafka's default of max.message.bytes, assumed when
	// the topic's settings may not be read.
	defaultMaxMessage = 1048588
	// deadLetterMax is the max.message.bytes of a dead-letter topic that this
	// package creates.
	deadLetterMax = 64 << 20
)

// topic is a topic that is known to exist.
type topic struct {
	name                   string
	limit                  int          // of a record, in bytes as recordBatchSize counts
	partitions             atomic.Int32 // that kgo knows of; 0 until it was asked
	beyond                 time.Time    // when a partition was last missing for good; see await
	records, bytes, errors prometheus.Counter
}

// Ensure creates the topics that are missing, or requires them to be there,
// and learns their limits. It waits for brokers that cannot be reached until
// ctx ends; a *replication.Refusal says what a person must do.
func (p *Producer) Ensure(ctx context.Context, topics []Topic) error {
	for _, t := range topics {
		if _, err := p.topic(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// topic returns the state of a topic, from memory but for the first time.
func (p *Producer) topic(ctx context.Context, t Topic) (*topic, error) {
	if known, ok := p.topics.Load(t.Name); ok {
		return known.(*topic), nil
	}
	found, err := p.require(ctx, t.Name, max(p.conf.Topics.Partitions, 1), p.topicSettings(t))
	if err != nil {
		return nil, err
	}
	if p.conf.Topics.Compact && t.Keyed && found.policy != "" && !strings.Contains(found.policy, "compact") {
		p.log.Warn("topic is not compacted: rows that do not change will vanish from it with its retention", "topic", t.Name, "cleanup_policy", found.policy)
	}
	if err := p.mayProduce(ctx, t.Name); err != nil {
		return nil, err
	}
	return p.remember(t.Name, found), nil
}

// mayProduce returns a Refusal when the brokers give this client no producer id,
// which needs the right to write to some topic. Were that left to the first
// record, kgo (1.22.2) could lose sight of it: its promise now and then stays
// open when the id is refused while the topic's partitions become known.
func (p *Producer) mayProduce(ctx context.Context, topic string) error {
	_, _, err := p.client.ProducerID(ctx)
	if err = explain(err, "produce to topic "+topic, "Write on topic "+topic); replication.IsRefusal(err) {
		return err
	}
	return nil // transient: kgo goes on asking
}

// topicSettings are the settings of a new topic.
func (p *Producer) topicSettings(t Topic) map[string]string {
	s := map[string]string{}
	if p.conf.Topics.Compact && t.Keyed {
		s[cleanupPolicy] = "compact"
	}
	if p.conf.MaxRecordBytes > 0 {
		s[maxMessageBytes] = strconv.Itoa(p.conf.MaxRecordBytes)
	}
	maps.Copy(s, p.conf.Topics.Extra)
	return s
}

// checkpointSettings are the settings of a new topic of checkpoints. Segments
// are small because the newest is never compacted, and Load reads them all.
func checkpointSettings() map[string]string {
	return map[string]string{cleanupPolicy: "compact", "segment.bytes": strconv.Itoa(16 << 20), "segment.ms": "3600000"}
}

// deadLetterSettings are the settings of a new topic of dead letters: they wait
// there for a person, and may be larger than other topics allow.
func deadLetterSettings() map[string]string {
	return map[string]string{cleanupPolicy: "delete", "retention.ms": "-1", maxMessageBytes: strconv.Itoa(deadLetterMax)}
}

// deadLetterTopic returns the state of the dead-letter topic.
func (p *Producer) deadLetterTopic(ctx context.Context) (*topic, error) {
	name := p.conf.DeadLetterTopic
	if known, ok := p.topics.Load(name); ok {
		return known.(*topic), nil
	}
	found, err := p.require(ctx, name, 1, deadLetterSettings())
	if err != nil {
		return nil, err
	}
	t := p.remember(name, found)
	return t, nil
}

func (p *Producer) remember(name string, found topicState) *topic {
	t := &topic{
		name:    name,
		limit:   found.maxMessage,
		records: p.metrics.records.WithLabelValues(name),
		bytes:   p.metrics.bytes.WithLabelValues(name),
		errors:  p.metrics.errors.WithLabelValues(name),
	}
	if m := p.conf.MaxRecordBytes; m > 0 && m < t.limit && name != p.conf.DeadLetterTopic {
		t.limit = m
	}
	p.topics.Store(name, t)
	return t
}

// batchBytes is kgo's bound of a batch: what the topic takes.
func (p *Producer) batchBytes(name string) int32 {
	limit := defaultMaxMessage
	if t, ok := p.topics.Load(name); ok {
		limit = t.(*topic).limit
	}
	return int32(min(max(limit+kgoOverhead, 512), 1<<30))
}

// topicState is what the cluster says about a topic.
type topicState struct {
	exists     bool
	partitions int
	policy     string // cleanup.policy; "" when it may not be read
	maxMessage int
}

// require returns the state of a topic, creating it if that is allowed.
func (p *Producer) require(ctx context.Context, name string, partitions int, settings map[string]string) (topicState, error) {
	found, err := p.describe(ctx, name)
	if err != nil || found.exists {
		return found, err
	}
	copies := p.conf.Topics.Replication
	if copies == 0 {
		copies = -1
	}
	if !p.conf.Topics.Create {
		return found, missingTopic(name, partitions, copies, settings)
	}
	err = p.retry(ctx, "create topic "+name, func(ctx context.Context) error {
		values := map[string]*string{}
		for k, v := range settings {
			values[k] = &v
		}
		answer, err := p.admin.CreateTopics(ctx, int32(partitions), int16(copies), values, name)
		if err != nil {
			return err
		}
		r := answer[name]
		if r.Err == nil || errors.Is(r.Err, kerr.TopicAlreadyExists) {
			return nil
		}
		if r.ErrMessage != "" {
			return fmt.Errorf("%w (%s)", r.Err, r.ErrMessage)
		}
		return r.Err
	})
	if err != nil {
		return found, explain(err, "create topic "+name, "Create on topic "+name)
	}
	p.log.Info("topic created", "topic", name, "partitions", partitions, "settings", settings)
	// The broker that answers may not have heard of the topic yet.
	err = p.retry(ctx, "describe topic "+name, func(ctx context.Context) error {
		if found, err = p.describe(ctx, name); err == nil && !found.exists {
			err = kerr.UnknownTopicOrPartition
		}
		return err
	})
	return found, err
}

func missingTopic(name string, partitions, copies int, settings map[string]string) *replication.Refusal {
	var cmd strings.Builder
	fmt.Fprintf(&cmd, "kafka-topics.sh --create --topic %s --partitions %d", name, partitions)
	if copies > 0 {
		fmt.Fprintf(&cmd, " --replication-factor %d", copies)
	}
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		cmd.WriteString(" --config " + k + "=" + settings[k])
	}
	return &replication.Refusal{
		Problem: fmt.Sprintf("topic %s does not exist and kafka.topics.create is false", name),
		Remedy:  cmd.String(),
	}
}

// describe asks for a topic's partitions and settings, waiting for brokers.
func (p *Producer) describe(ctx context.Context, name string) (topicState, error) {
	s := topicState{maxMessage: defaultMaxMessage}
	err := p.retry(ctx, "describe topic "+name, func(ctx context.Context) error {
		details, err := p.admin.ListTopics(ctx, name)
		if err != nil {
			return err
		}
		d := details[name]
		if errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
			return nil
		}
		if d.Err != nil {
			return d.Err
		}
		s.exists, s.partitions = true, len(d.Partitions)
		return nil
	})
	if err != nil || !s.exists {
		return s, explain(err, "describe topic "+name, "Describe on topic "+name)
	}
	settings, err := p.settings(ctx, name)
	if err != nil {
		p.log.Debug("cannot read the settings of a topic, assuming the defaults", "topic", name, "error", err)
		return s, nil
	}
	s.policy = settings[cleanupPolicy]
	if n, err := strconv.Atoi(settings[maxMessageBytes]); err == nil {
		s.maxMessage = n
	}
	return s, nil
}

// settings returns the settings of one topic.
func (p *Producer) settings(ctx context.Context, name string) (map[string]string, error) {
	all, err := p.admin.DescribeTopicConfigs(ctx, name)
	if err != nil {
		return nil, err
	}
	r, err := all.On(name, nil)
	if err == nil {
		err = r.Err
	}
	if err != nil {
		return nil, err
	}
	m := make(map[string]string, len(r.Configs))
	for _, c := range r.Configs {
		m[c.Key] = c.MaybeValue()
	}
	return m, nil
}

// retry calls f until it succeeds, fails for good, or ctx ends.
func (p *Producer) retry(ctx context.Context, what string, f func(context.Context) error) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w, last error: %w", context.Cause(ctx), err)
		}
		if _, permanent := kafka.Remedy(err, ""); permanent || replication.IsRefusal(err) {
			return err
		}
		if kerr.TypedErrorForCode(kerrCode(err)) != nil && !kerr.IsRetriable(err) {
			return err
		}
		if wait > time.Second {
			p.log.Log(ctx, kafka.RetryLevel(err), "kafka does not answer, trying again", "doing", what, "error", err, "wait", wait)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w, last error: %w", context.Cause(ctx), err)
		case <-p.closed:
			return errClosed
		case <-time.After(wait):
		}
	}
}

// kerrCode returns the code of a Kafka error inside err, or 0.
func kerrCode(err error) int16 {
	if e, ok := errors.AsType[*kerr.Error](err); ok {
		return e.Code
	}
	return 0
}
