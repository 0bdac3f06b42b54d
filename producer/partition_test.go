package producer

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cdc/internal/servicetest"
	"cdc/mapping"
	"cdc/replication"
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

// TestPartitionMadeAMomentAgo adds partitions to topics and at once chooses the
// last of them, as the row of an outbox does whose application has just made them:
// in a topic that records went to before, and in one that none did.
func TestPartitionMadeAMomentAgo(t *testing.T) {
	p := open(t, func(c *Config) { c.Topics.Partitions = 2 })
	for _, used := range []bool{true, false} {
		topic := servicetest.Name(t, "grown")
		dropTopics(t, p, topic)
		if err := p.Ensure(t.Context(), []Topic{{Name: topic}}); err != nil {
			t.Fatal(err)
		}
		if used {
			if err := produce(t, p, chosen(topic, "before", 1, mapping.OnErrorSkip)); err != nil {
				t.Fatal(err)
			}
			// What kgo and kadm know of the topic is of now.
			if _, err := p.admin.ListTopics(t.Context(), topic); err != nil {
				t.Fatal(err)
			}
		}
		if answer, err := p.admin.CreatePartitions(t.Context(), 2, topic); err != nil || answer.Error() != nil {
			t.Fatal(err, answer.Error())
		}
		if err := produce(t, p, chosen(topic, "first", 3, mapping.OnErrorSkip), chosen(topic, "second", 3, mapping.OnErrorSkip)); err != nil {
			t.Fatal(err)
		}
		var got []string
		want := []string{"first", "second"}
		n := 2
		if used {
			n = 3
		}
		for _, r := range read(t, p.conf.Kafka.Brokers, topic, n) {
			if r.Partition == 3 {
				got = append(got, string(r.Value))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("used before: %v: partition 3 (-want +got):\n%s", used, diff)
		}
	}
}

// TestPartitionThatTheClientDoesNotLearnOf has brokers that tell kgo nothing more
// after the partition is made: a Refusal, and the message is not taken for one
// whose partition there is not, which here would be skipped.
func TestPartitionThatTheClientDoesNotLearnOf(t *testing.T) {
	c := fake(t, kfake.SeedTopics(2, "a"))
	p := openFake(t, c.ListenAddrs(), nil)
	p.patience = time.Second
	if err := produce(t, p, chosen("a", "before", 1, mapping.OnErrorSkip)); err != nil {
		t.Fatal(err)
	}
	c.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if r.(*kmsg.MetadataRequest).IncludeTopicAuthorizedOperations { // kadm's, fresh
			return nil, nil, false
		}
		return nil, errors.New("no answer"), true
	})
	if answer, err := p.admin.CreatePartitions(t.Context(), 1, "a"); err != nil || answer.Error() != nil {
		t.Fatal(err, answer.Error())
	}
	err := produce(t, p, chosen("a", "after", 2, mapping.OnErrorSkip))
	if !replication.IsRefusal(err) || !strings.Contains(err.Error(), "partition 2 of topic a is chosen, which has 3; the brokers that this client asks know 2 of them") {
		t.Fatalf("got %v", err)
	}
}

// TestChosenPartitionOfADeletedTopic: its topic is gone, which is no fault of the
// message; it is not skipped.
func TestChosenPartitionOfADeletedTopic(t *testing.T) {
	c := fake(t, kfake.SeedTopics(2, "a"))
	p := openFake(t, c.ListenAddrs(), nil)
	if err := produce(t, p, chosen("a", "before", 1, mapping.OnErrorSkip)); err != nil {
		t.Fatal(err)
	}
	if answer, err := p.admin.DeleteTopics(t.Context(), "a"); err != nil || answer.Error() != nil {
		t.Fatal(err, answer.Error())
	}
	err := produce(t, p, chosen("a", "after", 2, mapping.OnErrorSkip))
	if !errors.Is(err, kerr.UnknownTopicOrPartition) || !strings.Contains(err.Error(), "was deleted") {
		t.Fatalf("got %v", err)
	}
}

// chosen is the record of an outbox's message that chooses its partition.
func chosen(topic, value string, partition int32, onError string) mapping.Record {
	r := record(topic, "1", value)
	r.Routing = &mapping.Routing{ID: []byte("m-" + value), Partition: mapping.PartitionNumber(partition), OnError: onError}
	return r
}
