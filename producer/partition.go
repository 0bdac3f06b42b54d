package producer

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/mapping"
)

// partitioner places records as Java's default partitioner does: by murmur2 of
// the key, and those without a key in runs of sticky bytes, partition after
// partition. A record that comes with a Partition of 0 or more keeps it.
type partitioner struct{ p *Producer }

// sticky is how many bytes without a key go to one partition before the next
// has its turn, so that they share requests; as Java's batch.size times four.
const sticky = 64 << 10

func (p partitioner) ForTopic(name string) kgo.TopicPartitioner {
	t, _ := p.p.topics.Load(name)
	topic, _ := t.(*topic)
	return &topicPartitioner{topic: topic}
}

// topicPartitioner is used by one record at a time.
type topicPartitioner struct {
	topic *topic
	on    int // partition of the current run
	bytes int // in it
}

func (*topicPartitioner) RequiresConsistency(r *kgo.Record) bool {
	return r.Key != nil || r.Partition != hashed
}

func (t *topicPartitioner) Partition(r *kgo.Record, n int) int {
	if t.topic != nil && r.Partition >= 0 {
		t.topic.partitions.Store(int32(n))
	}
	switch {
	case r.Partition >= 0:
		return int(r.Partition)
	case r.Partition == prehashed:
		return int(uint64(r.Offset) % uint64(n))
	case r.Key != nil:
		return int(mapping.Murmur2(r.Key)&0x7fffffff) % n
	}
	if t.bytes >= sticky || t.on >= n {
		t.on, t.bytes = (t.on+1)%n, 0
	}
	t.bytes += len(r.Value)
	return t.on
}
