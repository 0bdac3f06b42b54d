package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// message is one record as a consumer that is none of ours sees it: decoded by
// hamba/avro with the registry's schema.
type message struct {
	key, value map[string]any // value nil: a tombstone
	headers    map[string]string
	partition  int32
	offset     int64
	raw        *kgo.Record
}

// read returns everything that a topic holds, partition by partition, in order.
func (w *world) read(t *testing.T, topic string) []message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(w.brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	var left int64
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	byPartition := make([][]message, len(ends[topic]))
	schemas := &registrySchemas{url: w.registry, byID: map[int]avro.Schema{}}
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read topic %s, %d records before its end: %v", topic, left, err)
		}
		for iter := fetches.RecordIter(); !iter.Done(); {
			r := iter.Next()
			m := message{headers: map[string]string{}, partition: r.Partition, offset: r.Offset, raw: r}
			for _, h := range r.Headers {
				m.headers[h.Key] = string(h.Value)
			}
			if m.key, err = schemas.decode(r.Key); err == nil {
				m.value, err = schemas.decode(r.Value)
			}
			if err != nil {
				t.Fatalf("%s[%d]@%d: %v", topic, r.Partition, r.Offset, err)
			}
			byPartition[r.Partition] = append(byPartition[r.Partition], m)
			left--
		}
	}
	var all []message
	for _, p := range byPartition {
		all = append(all, p...)
	}
	return all
}

// registrySchemas fetches schemas by id.
type registrySchemas struct {
	url  string
	byID map[int]avro.Schema
}

func (s *registrySchemas) decode(wire []byte) (map[string]any, error) {
	if wire == nil {
		return nil, nil
	}
	if len(wire) < 5 || wire[0] != 0 {
		return nil, fmt.Errorf("% x is not in the Confluent wire format", wire)
	}
	schema, err := s.schema(int(wire[1])<<24 | int(wire[2])<<16 | int(wire[3])<<8 | int(wire[4]))
	if err != nil {
		return nil, err
	}
	var v map[string]any
	err = avro.Unmarshal(schema, wire[5:], &v)
	return v, err
}

func (s *registrySchemas) schema(id int) (avro.Schema, error) {
	if known := s.byID[id]; known != nil {
		return known, nil
	}
	resp, err := http.Get(fmt.Sprintf("%s/schemas/ids/%d", s.url, id))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("schema %d: %s %s: %w", id, resp.Status, body, err)
	}
	var answer struct{ Schema string }
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	// A cache of its own: records of one name occur in many versions.
	schema, err := avro.ParseWithCache(answer.Schema, "", &avro.SchemaCache{})
	s.byID[id] = schema
	return schema, err
}

// ends is the sum of the topic's end offsets.
func (w *world) ends(ctx context.Context, admin *kadm.Client, topic string) (sum int64, err error) {
	offsets, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	offsets.Each(func(o kadm.ListedOffset) {
		if o.Err == nil {
			sum += o.Offset
		}
	})
	return sum, nil
}

func (w *world) admin(t *testing.T) *kadm.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(w.brokers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return kadm.NewClient(client)
}
