package producer

import (
	"testing"

	"cdc/mapping"
)

// The vectors of Apache Kafka's own test, UtilsTest.testMurmur2.
func TestMurmur2(t *testing.T) {
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(mapping.Murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestPartitionWithoutKey(t *testing.T) {
	tp := &topicPartitioner{}
	seen := map[int]int{}
	r := kgoRecord(nil, make([]byte, 1000))
	last := -1
	turns := 0
	for range 1000 {
		got := tp.Partition(r, 3)
		if got != last {
			turns++
			last = got
		}
		seen[got]++
	}
	if len(seen) != 3 || turns > 20 {
		t.Errorf("1,000 records of 1 kB went to %v with %d turns", seen, turns)
	}
}

// What the message of an outbox chooses comes before its key.
func TestChosenPartition(t *testing.T) {
	const n = 7
	for _, tt := range []struct {
		name string
		p    mapping.Partition
		want int
	}{
		{"key", mapping.Partition{}, int(479470107 % n)},
		{"number", mapping.PartitionNumber(5), 5},
		// 0xCBF43926 is the CRC-32 of "123456789", the check value of its definition.
		{"hash", mapping.PartitionHash(0xCBF43926), int(uint32(0xCBF43926) % n)},
	} {
		r := kgoRecord([]byte("abc"), nil)
		place(r, tt.p)
		tp := &topicPartitioner{}
		if got := tp.Partition(r, n); got != tt.want || !tp.RequiresConsistency(r) {
			t.Errorf("%s: partition %d, want %d", tt.name, got, tt.want)
		}
	}
}
