package servicetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// MakeTopic makes a topic, also one whose name is just being deleted, and
// returns when the broker serves it: the controller answers before the broker
// has heard of the topic, and a client gives up on an unknown one.
func MakeTopic(t testing.TB, admin *kadm.Client, partitions int32, settings map[string]*string, name string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(2 * time.Minute)
	await := func(done func() error) {
		t.Helper()
		for {
			err := done()
			if err == nil {
				return
			}
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("make topic %s: %v", name, err)
			case <-t.Context().Done():
				t.Fatalf("make topic %s: %v, %v", name, t.Context().Err(), err)
			}
		}
	}
	var id kadm.TopicID
	await(func() error {
		made, err := admin.CreateTopic(t.Context(), partitions, 1, settings, name)
		id = made.ID
		return err
	})
	await(func() error {
		topics, err := admin.ListTopics(t.Context(), name)
		if err == nil {
			err = topics[name].Err
		}
		if err == nil && topics[name].ID != id {
			err = fmt.Errorf("the broker has the topic of id %s, not %s", topics[name].ID, id)
		}
		if err != nil {
			return err
		}
		ends, err := admin.ListEndOffsets(t.Context(), name) // of the partitions' leaders
		if err == nil {
			err = ends.Error()
		}
		return err
	})
}
