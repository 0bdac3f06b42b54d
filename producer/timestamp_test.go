package producer

import (
	"strings"
	"testing"
	"time"

	"cdc/internal/servicetest"
	"cdc/replication"
)

// TestTimestampRefused produces a record whose commit is further in the future, by
// the database's clock, than the topic allows.
func TestTimestampRefused(t *testing.T) {
	p := open(t, func(c *Config) { c.Topics.Extra = map[string]string{"message.timestamp.after.max.ms": "60000"} })
	topic := servicetest.Name(t, "time")
	dropTopics(t, p, topic)
	r := record(topic, "k", "v")
	r.Time = time.Now().Add(time.Hour).UnixMicro()
	err := produce(t, p, r)
	if !replication.IsRefusal(err) || !strings.Contains(err.Error(), "produce to topic "+topic) || !strings.Contains(err.Error(), "the database's clock") {
		t.Errorf("%v", err)
	}
}
