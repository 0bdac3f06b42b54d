package producer

import "github.com/twmb/franz-go/pkg/kgo"

// batchOverhead is the size of a record batch (magic 2) without records, which
// max.message.bytes includes: Kafka's protocol guide, "Record Batch".
const batchOverhead = 8 + 4 + 4 + 1 + 4 + 2 + 4 + 8 + 8 + 8 + 2 + 4 + 4

// kgoOverhead is what kgo counts a batch to be larger than the broker does: the
// length in front of it in the request.
const kgoOverhead = 4

// recordBatchSize is the size of a batch of r alone, before compression, in
// bytes: what a topic's max.message.bytes is compared with.
func recordBatchSize(r *kgo.Record) int {
	n := 3 + // attributes, timestamp delta 0, offset delta 0
		blobSize(r.Key) + blobSize(r.Value) + varintSize(len(r.Headers))
	for _, h := range r.Headers {
		n += varintSize(len(h.Key)) + len(h.Key) + blobSize(h.Value)
	}
	return batchOverhead + varintSize(n) + n
}

func blobSize(b []byte) int {
	if b == nil {
		return 1 // -1
	}
	return varintSize(len(b)) + len(b)
}

// varintSize is the size of a zigzag varint of n, which is not negative.
func varintSize(n int) int {
	size := 1
	for n >= 1<<6 {
		n >>= 7
		size++
	}
	return size
}
