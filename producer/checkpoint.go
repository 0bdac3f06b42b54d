package producer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cdc/replication"
)

// Checkpoints keeps one connector's newest safe position in a compacted topic:
// key is the connector's name, value is JSON (see checkpoint), always in
// partition 0. Many connectors may share a topic.
//
// Positions are saved after the records they cover are acknowledged, so a crash
// between the two publishes some records again. To have records and position in
// one Kafka transaction instead, give New's client a kgo.TransactionalID made
// of the connector's name, begin a transaction before a Records is produced,
// produce the value of Save into the same transaction and commit it: Load
// already reads committed records only, and skips the marks of transactions.
type Checkpoints struct {
	p                *Producer
	topic, connector string
	ready            bool
}

// Checkpoints returns the store of a connector's position in a topic. Its
// methods are for one goroutine at a time.
func (p *Producer) Checkpoints(topic, connector string) *Checkpoints {
	return &Checkpoints{p: p, topic: topic, connector: connector}
}

// checkpoint is the value of a record.
type checkpoint struct {
	Position replication.Position `json:"position"`
	SavedAt  time.Time            `json:"saved_at"`
	Host     string               `json:"host,omitempty"`
	Version  string               `json:"version,omitempty"` // of this program
}

// Load returns the saved position, or "" when there is none. It waits for
// brokers that cannot be reached until ctx ends.
func (c *Checkpoints) Load(ctx context.Context) (replication.Position, error) {
	if err := c.require(ctx); err != nil {
		return "", err
	}
	var value []byte
	err := c.p.retry(ctx, "load the checkpoint", func(ctx context.Context) (err error) {
		value, err = c.last(ctx)
		return err
	})
	if err != nil {
		return "", explain(err, "load checkpoint of "+c.connector+" from topic "+c.topic, "Read on topic "+c.topic)
	}
	if value == nil {
		return "", nil
	}
	var saved checkpoint
	if err := json.Unmarshal(value, &saved); err != nil {
		return "", fmt.Errorf("load checkpoint of %s from topic %s: %w", c.connector, c.topic, err)
	}
	return saved.Position, nil
}

// Peek is Load that makes no topic: without one there is no position.
func (c *Checkpoints) Peek(ctx context.Context) (replication.Position, error) {
	found, err := c.p.describe(ctx, c.topic)
	if err != nil || !found.exists {
		return "", err
	}
	return c.Load(ctx)
}

// Save makes p durable: every in-sync replica has it when Save returns.
func (c *Checkpoints) Save(ctx context.Context, p replication.Position) error {
	host, _ := os.Hostname()
	value, err := json.Marshal(checkpoint{Position: p, SavedAt: time.Now().UTC(), Host: host, Version: version()})
	if err != nil {
		return fmt.Errorf("save checkpoint: %w", err)
	}
	return c.put(ctx, value)
}

// Delete forgets the position.
func (c *Checkpoints) Delete(ctx context.Context) error { return c.put(ctx, nil) }

func (c *Checkpoints) put(ctx context.Context, value []byte) error {
	if err := c.require(ctx); err != nil {
		return err
	}
	r := &kgo.Record{Topic: c.topic, Key: []byte(c.connector), Value: value, Timestamp: time.Now(), Partition: 0}
	if err := c.p.send(ctx, r); err != nil {
		return explain(err, "save checkpoint of "+c.connector+" to topic "+c.topic, "Write on topic "+c.topic)
	}
	return nil
}

// require sees to it once that the topic is there and compacted.
func (c *Checkpoints) require(ctx context.Context) error {
	if c.ready {
		return nil
	}
	found, err := c.p.require(ctx, c.topic, 1, checkpointSettings())
	if err != nil {
		return err
	}
	if r := checkpointPolicy(c.topic, found.policy); r != nil {
		return r
	}
	c.p.remember(c.topic, found)
	c.ready = true
	return nil
}

func checkpointPolicy(topic, policy string) *replication.Refusal {
	if policy == "" || policy == "compact" {
		return nil
	}
	return &replication.Refusal{
		Problem: fmt.Sprintf("topic %s has cleanup.policy=%s: the saved positions in it would vanish with its retention", topic, policy),
		Remedy:  fmt.Sprintf("kafka-configs.sh --alter --entity-type topics --entity-name %s --add-config cleanup.policy=compact", topic),
	}
}

// last reads the partition from its start to its end as of now, and returns
// the connector's newest value, nil when there is none. It asks for batches
// rather than consuming records because the end is known by offset only:
// compaction and transaction marks leave offsets without a record.
func (c *Checkpoints) last(ctx context.Context) (value []byte, err error) {
	ends, err := c.p.admin.ListCommittedOffsets(ctx, c.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, err
	}
	starts, err := c.p.admin.ListStartOffsets(ctx, c.topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, err
	}
	end, _ := ends.Lookup(c.topic, 0)
	at, _ := starts.Lookup(c.topic, 0)
	details, err := c.p.admin.ListTopics(ctx, c.topic)
	if err == nil {
		err = details[c.topic].Err
	}
	if err != nil {
		return nil, err
	}
	leader := details[c.topic].Partitions[0].Leader
	if leader < 0 {
		return nil, kerr.LeaderNotAvailable
	}
	for offset := at.Offset; offset < end.Offset; {
		part, next, err := c.fetch(ctx, details[c.topic], leader, offset)
		if err != nil {
			return nil, err
		}
		for _, r := range part.Records {
			if string(r.Key) == c.connector {
				value = r.Value
			}
		}
		if next <= offset {
			return nil, fmt.Errorf("read topic %s: no batch at offset %d of %d", c.topic, offset, end.Offset)
		}
		offset = next
	}
	return value, nil
}

// fetch reads what the leader has from offset on, and returns the offset after it.
func (c *Checkpoints) fetch(ctx context.Context, t kadm.TopicDetail, leader int32, offset int64) (kgo.FetchPartition, int64, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 500, 1, 8<<20
	req.IsolationLevel = 1 // read committed
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = t.Topic, t.ID
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = 0, offset, 8<<20
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, c.p.client.Broker(int(leader)))
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return kgo.FetchPartition{}, 0, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return kgo.FetchPartition{}, 0, errors.New("fetch: the broker answered for other partitions")
	}
	opts := kgo.ProcessFetchPartitionOpts{Topic: t.Topic, Offset: offset, IsolationLevel: kgo.ReadCommitted()}
	got, next := kgo.ProcessFetchPartition(opts, &resp.Topics[0].Partitions[0], kgo.DefaultDecompressor(), nil)
	return got, next, got.Err
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return strings.TrimSpace(info.Main.Version)
}
