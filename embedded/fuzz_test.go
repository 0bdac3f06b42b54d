package embedded

import (
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzRegistry sends a body to every request that takes one. Whatever it is,
// the answer is JSON, never an error of the registry's own, and what was
// acknowledged is there after a restart.
func FuzzRegistry(f *testing.F) {
	f.Add([]byte(`{"schema":"\"string\""}`))
	f.Add([]byte(`{"schema":"{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"a\",\"type\":[\"null\",\"A\"]}]}"}`))
	f.Add([]byte(`{"compatibility":"FULL_TRANSITIVE","mode":"READWRITE"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		path := filepath.Join(t.TempDir(), "log")
		logger := slog.New(slog.DiscardHandler)
		s, err := openStore(path, logger)
		if err != nil {
			t.Fatal(err)
		}
		routes := (&registryAPI{store: s, logger: logger}).routes()
		for _, request := range []string{
			"PUT /config/s", "POST /subjects/s/versions", "POST /subjects/s", "POST /subjects/t/versions",
			"POST /compatibility/subjects/s/versions/latest?verbose=true", "PUT /mode", "DELETE /subjects/t",
		} {
			method, target, _ := strings.Cut(request, " ")
			w := httptest.NewRecorder()
			routes.ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader(string(body))))
			if w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
				t.Fatalf("%s: status %d: %s", request, w.Code, w.Body)
			}
		}
		before := len(s.texts)
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		again, err := openStore(path, logger)
		if err != nil {
			t.Fatal(err)
		}
		if len(again.texts) != before {
			t.Errorf("%d schemas before a restart, %d after", before, len(again.texts))
		}
		if err := again.close(); err != nil {
			t.Fatal(err)
		}
	})
}
