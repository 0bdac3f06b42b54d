package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestStringNeverPrints(t *testing.T) {
	const hidden = "hunter2"
	s := New(hidden)
	type config struct{ Password String }
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("connect", "password", s, "config", config{s})
	slog.New(slog.NewJSONHandler(&log, nil)).Info("connect", "password", s, "config", config{s})
	marshalled, err := json.Marshal(config{s})
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{
		fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x", s, s, s, s, s, s), fmt.Sprintf("%+v %#v", config{s}, &config{s}),
		string(marshalled), log.String(),
	} {
		if strings.Contains(out, hidden) || strings.Contains(out, fmt.Sprintf("%x", hidden)) {
			t.Errorf("the secret stands in %q", out)
		}
	}
	if s.Reveal() != hidden || s.IsZero() || !(String{}).IsZero() {
		t.Error("Reveal or IsZero is wrong")
	}
}
