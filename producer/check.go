package producer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cdc/kafka"
	"cdc/replication"
)

// Check looks at everything that publishing to topics will need, without
// changing anything: the brokers, the rights, the topics and their settings.
// It takes ten seconds at most when nobody answers.
func Check(ctx context.Context, conf Config, topics []Topic) []replication.Finding {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, fmt.Errorf("no broker answered within 10 s"))
	defer cancel()
	conf.Registerer = nil
	c := &checker{ctx: ctx}
	p, err := New(ctx, conf)
	if err != nil {
		c.bad("kafka: settings", err.Error(), "mend the section kafka of the configuration")
		return c.findings
	}
	defer p.client.Close()
	c.p = p
	if s := conf.Kafka.SASL; s != nil && s.Mechanism == kafka.Plain && conf.Kafka.TLS == nil {
		c.warn("kafka: sasl", "the password goes over the network in plain text", "turn on kafka.tls, or use scram-sha-512")
	}
	if !c.cluster() {
		return c.findings
	}
	for _, t := range topics {
		c.topic(t)
	}
	if conf.CheckpointTopic != "" {
		c.checkpoints(conf.CheckpointTopic)
	}
	if conf.OnError == OnErrorDeadLetter {
		c.deadLetters(conf.DeadLetterTopic)
	}
	return c.findings
}

type checker struct {
	ctx      context.Context
	p        *Producer
	meta     kadm.Metadata
	findings []replication.Finding
}

func (c *checker) add(l replication.Level, subject, problem, remedy string) {
	c.findings = append(c.findings, replication.Finding{Level: l, Subject: subject, Problem: problem, Remedy: remedy})
}

func (c *checker) good(subject, found string) { c.add(replication.LevelOK, subject, found, "") }
func (c *checker) warn(subject, problem, remedy string) {
	c.add(replication.LevelWarning, subject, problem, remedy)
}

func (c *checker) bad(subject, problem, remedy string) {
	c.add(replication.LevelError, subject, problem, remedy)
}

// cluster asks the brokers who they are.
func (c *checker) cluster() bool {
	const subject = "kafka: brokers"
	brokers := strings.Join(c.p.conf.Kafka.Brokers, ", ")
	// One try for its error, which tells more than the end of ctx does.
	err := c.p.client.Ping(c.ctx)
	if err == nil {
		c.meta, err = c.p.admin.Metadata(kadm.WithAuthorizedOps(c.ctx))
	}
	if err != nil {
		remedy, known := kafka.Remedy(err, "Describe on the cluster")
		if !known {
			remedy = "check kafka.brokers, that the brokers run, and that this machine reaches them and the addresses they advertise; a listener with TLS or SASL needs kafka.tls or kafka.sasl"
		}
		c.bad(subject, fmt.Sprintf("cannot talk to %s: %v", brokers, err), remedy)
		return false
	}
	c.good(subject, fmt.Sprintf("cluster %s, %d brokers", c.meta.Cluster, len(c.meta.Brokers)))
	if n := len(c.meta.Brokers); c.p.conf.Topics.Create && c.p.conf.Topics.Replication > n {
		c.bad("kafka: replication", fmt.Sprintf("new topics want %d replicas and the cluster has %d brokers", c.p.conf.Topics.Replication, n), fmt.Sprintf("set kafka.topics.replication: %d or less", n))
	}
	return true
}

// lacks returns the operations among those wanted that are not allowed. Nil
// says nothing: brokers without an authorizer need not tell.
func lacks(allowed []kadm.ACLOperation, wanted ...kadm.ACLOperation) []string {
	if len(allowed) == 0 {
		return nil
	}
	var missing []string
	for _, op := range wanted {
		if !slices.Contains(allowed, op) && !slices.Contains(allowed, kmsg.ACLOperationAll) {
			missing = append(missing, op.String())
		}
	}
	return missing
}

// look describes one topic and reports what any topic can lack. It returns
// false when there is nothing more to look at.
func (c *checker) look(subject, name string, settings map[string]string, rights ...kadm.ACLOperation) (topicState, bool) {
	detail := func() (kadm.TopicDetail, error) {
		d, err := c.p.admin.ListTopics(kadm.WithAuthorizedOps(c.ctx), name)
		if err != nil {
			return kadm.TopicDetail{}, err
		}
		return d[name], d[name].Err
	}
	d, err := detail()
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition) && !c.p.conf.Topics.Create:
		refusal := missingTopic(name, max(c.p.conf.Topics.Partitions, 1), c.p.conf.Topics.Replication, settings)
		c.bad(subject, "does not exist and kafka.topics.create is false", refusal.Remedy)
		return topicState{}, false
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		if missing := lacks(c.meta.AuthorizedOperations, kmsg.ACLOperationCreate); missing != nil {
			c.warn(subject, "does not exist, and the right to create topics in the cluster is missing", "grant Create on topic "+name+" (kafka-acls.sh --add --operation Create --topic "+name+"), or create it by hand")
			return topicState{}, false
		}
		c.good(subject, "does not exist; will be created")
		return topicState{}, false
	case err != nil:
		remedy, _ := kafka.Remedy(err, "Describe on topic "+name)
		c.bad(subject, fmt.Sprintf("cannot describe: %v", err), remedy)
		return topicState{}, false
	}
	if missing := lacks(d.AuthorizedOperations, rights...); missing != nil {
		c.bad(subject, "missing rights: "+strings.Join(missing, ", "), fmt.Sprintf("kafka-acls.sh --add --allow-principal User:… --operation %s --topic %s", strings.Join(missing, " --operation "), name))
	}
	for _, part := range d.Partitions {
		if part.Leader < 0 {
			c.bad(subject, fmt.Sprintf("partition %d has no leader", part.Partition), "start the brokers that hold it")
			return topicState{}, false
		}
	}
	found, err := c.p.describe(c.ctx, name)
	if err != nil {
		c.bad(subject, err.Error(), "")
		return topicState{}, false
	}
	return found, true
}

func (c *checker) topic(t Topic) {
	subject := "kafka: topic " + t.Name
	found, ok := c.look(subject, t.Name, c.p.topicSettings(t), kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe)
	if !ok {
		return
	}
	said := fmt.Sprintf("%d partitions, cleanup.policy=%s, max.message.bytes=%d", found.partitions, found.policy, found.maxMessage)
	if c.p.conf.Topics.Compact && t.Keyed && found.policy != "" && !strings.Contains(found.policy, "compact") {
		c.warn(subject, said+": rows that do not change will vanish from it with its retention",
			"kafka-configs.sh --alter --entity-type topics --entity-name "+t.Name+" --add-config cleanup.policy=compact, or set kafka.topics.compact: false if that is meant")
		return
	}
	if !t.Keyed && strings.Contains(found.policy, "compact") {
		c.bad(subject, said+": its records have no keys, which a compacted topic refuses",
			"kafka-configs.sh --alter --entity-type topics --entity-name "+t.Name+" --add-config cleanup.policy=delete, or choose a key for the table")
		return
	}
	if m := c.p.conf.MaxRecordBytes; m > found.maxMessage {
		c.warn(subject, fmt.Sprintf("%s, which is less than kafka.max_record (%d): it is what counts", said, m),
			fmt.Sprintf("kafka-configs.sh --alter --entity-type topics --entity-name %s --add-config max.message.bytes=%d", t.Name, m))
		return
	}
	c.good(subject, said)
}

func (c *checker) checkpoints(name string) {
	subject := "kafka: checkpoint topic " + name
	found, ok := c.look(subject, name, checkpointSettings(), kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe)
	if !ok {
		return
	}
	if r := checkpointPolicy(name, found.policy); r != nil {
		c.bad(subject, r.Problem, r.Remedy)
		return
	}
	c.good(subject, fmt.Sprintf("%d partitions, cleanup.policy=%s", found.partitions, found.policy))
}

func (c *checker) deadLetters(name string) {
	subject := "kafka: dead-letter topic " + name
	if found, ok := c.look(subject, name, deadLetterSettings(), kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe); ok {
		c.good(subject, fmt.Sprintf("%d partitions, max.message.bytes=%d", found.partitions, found.maxMessage))
	}
}
