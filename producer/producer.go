// Package producer publishes records to Kafka, in order, exactly as often as
// the idempotent protocol allows, and within a bounded number of bytes. It also
// owns the topics it writes to, the topic of checkpoints and the topic of dead
// letters.
package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/kafka"
	"cdc/mapping"
)

// The ways to deal with a record that cannot be published.
const (
	OnErrorStop       = "stop"
	OnErrorDeadLetter = "dead-letter"
)

// Config says where and how records are published.
type Config struct {
	Kafka kafka.Config
	// BufferBytes bounds the records handed over and not yet acknowledged, in
	// bytes of keys, values and headers plus their bookkeeping; Produce blocks
	// when it is full. One call of Produce larger than it goes alone. Defaults
	// to 64 MiB.
	BufferBytes int
	// MaxRecordBytes is the largest record, in bytes before compression. 0 is
	// each topic's own max.message.bytes. When it is set, topics that Ensure
	// creates get it as their max.message.bytes.
	MaxRecordBytes int
	// Compression is none, gzip, snappy, lz4 or zstd. Defaults to snappy.
	Compression string
	// Linger is how long records may wait for others to share their request
	// with while much is coming in (see gathering); with little load they are
	// sent at once whatever it is. 0 never waits. 5 ms is a good value.
	Linger time.Duration
	// Topics says how topics come to be.
	Topics TopicConfig
	// OnError is what becomes of a record that its topic does not take: OnErrorStop (the
	// default) or OnErrorDeadLetter.
	OnError string
	// Unfit is told of every message of an outbox that its topic does not take (too
	// large, or for a partition that there is none of), whatever becomes of it. It
	// must not block. May be nil.
	Unfit func(m *mapping.Record)
	// DeadLetterTopic is needed for OnErrorDeadLetter. It is created with a
	// larger max.message.bytes when Topics.Create is set.
	DeadLetterTopic string
	// CheckpointTopic is looked at by Check only.
	CheckpointTopic string
	Logger          *slog.Logger
	Registerer      prometheus.Registerer // nil registers nothing
}

// Producer publishes to one Kafka cluster.
type Producer struct {
	conf     Config
	log      *slog.Logger
	client   *kgo.Client
	admin    *kadm.Client
	metrics  *metrics
	patience time.Duration // see await

	mu     sync.Mutex // held by Produce: calls go on in the order they came
	gather gathering
	free   calls
	buffer buffer
	topics sync.Map // name → *topic
	failed atomic.Pointer[error]
	closed chan struct{}
	once   sync.Once
	open   sync.WaitGroup // calls whose done is still to come
}

// New makes a Producer. It does not wait for the brokers.
func New(_ context.Context, conf Config) (*Producer, error) {
	p := &Producer{conf: conf, log: conf.Logger, closed: make(chan struct{}), patience: patience}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if conf.OnError == OnErrorDeadLetter && conf.DeadLetterTopic == "" {
		return nil, errors.New("configure producer: a dead-letter topic is needed")
	}
	if p.conf.BufferBytes <= 0 {
		p.conf.BufferBytes = 64 << 20
	}
	p.buffer.init(p.conf.BufferBytes)
	codec, err := compression(conf.Compression)
	if err != nil {
		return nil, err
	}
	opts, err := conf.Kafka.Opts()
	if err != nil {
		return nil, err
	}
	opts = append(opts,
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(codec...),
		kgo.ProducerLinger(0), // gathering does that
		kgo.ProducerBatchMaxBytesFn(p.batchBytes),
		kgo.RecordPartitioner(partitioner{p}),
		// The broker saying that it lost what it had acknowledged must stop us;
		// kgo would by default go on with a new producer id, in silence.
		kgo.StopProducerOnDataLossDetected(),
		// kadm answers from metadata of up to this age: a topic just created must
		// not stay unknown for kgo's five seconds.
		kgo.MetadataMinAge(100*time.Millisecond),
		// A broker that has just restarted may not know its topics yet: this is
		// about 30 seconds. A topic that was deleted is an error after that.
		kgo.UnknownTopicRetries(300),
		// Our own buffer bounds what kgo holds: see buffer.
		kgo.MaxBufferedRecords(1<<40),
	)
	if p.client, err = kgo.NewClient(opts...); err != nil {
		return nil, fmt.Errorf("configure producer: %w", err)
	}
	p.admin = kadm.NewClient(p.client)
	if p.metrics, err = newMetrics(conf.Registerer, &p.buffer); err != nil {
		p.client.Close()
		return nil, fmt.Errorf("producer: %w", err)
	}
	p.gather.init(p)
	return p, nil
}

func compression(name string) ([]kgo.CompressionCodec, error) {
	switch name {
	case "", "snappy":
		return []kgo.CompressionCodec{kgo.SnappyCompression()}, nil
	case "none":
		return []kgo.CompressionCodec{kgo.NoCompression()}, nil
	case "gzip":
		return []kgo.CompressionCodec{kgo.GzipCompression()}, nil
	case "lz4":
		return []kgo.CompressionCodec{kgo.Lz4Compression()}, nil
	case "zstd":
		return []kgo.CompressionCodec{kgo.ZstdCompression()}, nil
	}
	return nil, fmt.Errorf("configure producer: unknown compression %q: none, gzip, snappy, lz4 or zstd", name)
}

// Close waits for the records under way until ctx ends, fails those that are
// left, and returns when every done has run. A second call does nothing. Nobody
// may be in Produce.
func (p *Producer) Close(ctx context.Context) error {
	var err error
	p.once.Do(func() {
		close(p.closed)
		p.gather.stop()
		err = p.client.Flush(ctx)
		p.client.Close()
		p.open.Wait()
		p.metrics.unregister()
	})
	if err != nil {
		return fmt.Errorf("flush producer: %w", err)
	}
	return nil
}

var errClosed = errors.New("the producer is closed")

// broken returns the error that ended this Producer, if there is one.
func (p *Producer) broken() error {
	select {
	case <-p.closed:
		return errClosed
	default:
	}
	if err := p.failed.Load(); err != nil {
		return *err
	}
	return nil
}
