package sink_test

import (
	"strings"
	"testing"

	"cdc/replication"
	"cdc/sink"
)

func TestCheckFindsTopics(t *testing.T) {
	w := newWorld(t)
	topic := w.topic("here", 3)
	cfg := w.config(topic, "/public\\."+w.prefix+"_.*/", w.prefix+"_absent", "/"+w.prefix+"_none.*/")
	got := sink.Check(t.Context(), cfg)
	want := []replication.Finding{
		{Level: replication.LevelOK, Problem: topic + ": 1 topics with 3 partitions"},
		{Level: replication.LevelOK, Problem: "/public\\." + w.prefix + "_.*/: 1 topics with 3 partitions"},
		{Level: replication.LevelWarning, Problem: "topic " + w.prefix + "_absent does not exist yet", Remedy: "start the capture, or correct the name"},
		{Level: replication.LevelWarning, Problem: "no topic matches /" + w.prefix + "_none.*/ yet", Remedy: "start the capture, or correct the pattern"},
	}
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i := range want {
		want[i].Subject = "sink " + cfg.Name + ": topics"
		if got[i] != want[i] {
			t.Errorf("got %+v, want %+v", got[i], want[i])
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	w := newWorld(t)
	for want, change := range map[string]func(*sink.Config){
		"no name":                              func(c *sink.Config) { c.Name = "" },
		"no topics":                            func(c *sink.Config) { c.Topics = nil },
		"topic pattern /(/":                    func(c *sink.Config) { c.Topics = []string{"/(/"} },
		"needs a dead-letter topic":            func(c *sink.Config) { c.OnError = sink.OnErrorDeadLetter },
		"it reads its own dead-letter topic t": func(c *sink.Config) { c.OnError, c.DeadLetterTopic = sink.OnErrorDeadLetter, "t" },
		`on_error "maybe" is none of`:          func(c *sink.Config) { c.OnError = "maybe" },
	} {
		cfg := w.config("t")
		change(&cfg)
		if _, err := sink.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
