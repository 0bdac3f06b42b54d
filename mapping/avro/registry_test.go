package avro

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/secret"
)

// The judge is a real registry; what only a broken one does is done by a proxy
// before it.

func registry(t testing.TB, cfg RegistryConfig) *Registry {
	t.Helper()
	if cfg.URL == "" {
		cfg.URL = servicetest.Registry(t)
	}
	r, err := NewRegistry(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// subject returns a subject of its own, which is deleted after the test.
func subject(t testing.TB) string {
	t.Helper()
	name := servicetest.Name(t, "avro") + "-value"
	base := servicetest.Registry(t)
	t.Cleanup(func() { request(t, http.MethodDelete, base+"/subjects/"+name, "") })
	return name
}

// request sends a request as a person would with curl, and returns the status.
func request(t testing.TB, method, url, body string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// proxy stands before the real registry; before may answer itself and say so.
func proxy(t testing.TB, before func(w http.ResponseWriter, r *http.Request) (answered bool)) *httptest.Server {
	t.Helper()
	target, err := url.Parse(servicetest.Registry(t))
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !before(w, r) {
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// unlike returns a schema that no other test registered, so that its id is new.
func unlike(t testing.TB, typ string) string {
	t.Helper()
	return `{"type":"record","name":"` + servicetest.Name(t, "r") + `","namespace":"cdc","fields":[{"name":"a","type":` + typ + `,"cdc.type":"x"}]}`
}

func refusal(t testing.TB, err error) *replication.Refusal {
	t.Helper()
	r, ok := errors.AsType[*replication.Refusal](err)
	if !ok {
		t.Fatalf("error %v, want a refusal", err)
	}
	return r
}

func TestRegisterAndRead(t *testing.T) {
	var requests atomic.Int32
	server := proxy(t, func(http.ResponseWriter, *http.Request) bool { requests.Add(1); return false })
	r := registry(t, RegistryConfig{URL: server.URL})
	sub, schema := subject(t), unlike(t, `"int"`)
	ids := make([]int, 20)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			id, err := r.ID(t.Context(), sub, schema)
			if err != nil {
				t.Error(err)
			}
			ids[i] = id
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] || id <= 0 {
			t.Fatalf("ids %v", ids)
		}
	}
	for range 3 {
		s, err := r.Schema(t.Context(), ids[0])
		if err != nil {
			t.Fatal(err)
		}
		if s.String() != schema {
			t.Errorf("got %s, want %s", s, schema)
		}
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests for one schema registered and read, want 2", n)
	}
	// Another client finds the same id, and lookup finds it too.
	for _, mode := range []Mode{Register, Lookup} {
		id, err := registry(t, RegistryConfig{Mode: mode}).ID(t.Context(), sub, schema)
		if err != nil || id != ids[0] {
			t.Errorf("%s: id %d, %v; want %d", mode, id, err, ids[0])
		}
	}
}

func TestIncompatibleSchemaIsRefused(t *testing.T) {
	r := registry(t, RegistryConfig{})
	base, sub := servicetest.Registry(t), subject(t)
	first := unlike(t, `"int"`)
	if _, err := r.ID(t.Context(), sub, first); err != nil {
		t.Fatal(err)
	}
	if code := request(t, http.MethodPut, base+"/config/"+sub, `{"compatibility":"BACKWARD"}`); code != http.StatusOK {
		t.Fatalf("set compatibility: %d", code)
	}
	second := strings.Replace(first, `"int"`, `"string"`, 1)
	_, err := r.ID(t.Context(), sub, second)
	got := refusal(t, err)
	if !strings.Contains(got.Problem, "subject "+sub) || !strings.Contains(got.Problem, "not compatible with writer type: INT") {
		t.Errorf("problem lacks the subject or the registry's words: %s", got.Problem)
	}
	way := `curl -X PUT -H 'Content-Type: application/vnd.schemaregistry.v1+json' --data '{"compatibility":"NONE"}' ` + base + "/config/" + sub
	for _, want := range []string{way, "another topic"} {
		if !strings.Contains(got.Remedy, want) {
			t.Errorf("remedy lacks %q: %s", want, got.Remedy)
		}
	}
	// The remedy mends it, and the refusal was not remembered.
	if code := request(t, http.MethodPut, base+"/config/"+sub, `{"compatibility":"NONE"}`); code != http.StatusOK {
		t.Fatalf("set compatibility: %d", code)
	}
	if _, err := r.ID(t.Context(), sub, second); err != nil {
		t.Errorf("after the remedy: %v", err)
	}
}

func TestInvalidSchemaIsRefused(t *testing.T) {
	sub := subject(t)
	_, err := registry(t, RegistryConfig{}).ID(t.Context(), sub, `{"type":"nosuch"}`)
	got := refusal(t, err)
	if !strings.Contains(got.Problem, "subject "+sub) || !strings.Contains(got.Problem, "invalid: Failed to discover") {
		t.Errorf("problem: %s", got.Problem)
	}
	if !strings.Contains(got.Remedy, servicetest.Registry(t)+"/config/"+sub) {
		t.Errorf("remedy: %s", got.Remedy)
	}
}

func TestLookupNeverRegisters(t *testing.T) {
	r := registry(t, RegistryConfig{Mode: Lookup})
	sub, schema := subject(t), unlike(t, `"int"`)
	for range 2 { // an absent subject; then an absent schema of a subject that is there
		_, err := r.ID(t.Context(), sub, schema)
		got := refusal(t, err)
		if !strings.Contains(got.Problem, "subject "+sub) || !strings.Contains(got.Problem, "registry.mode is lookup") {
			t.Errorf("problem: %s", got.Problem)
		}
		if !strings.Contains(got.Remedy, "/subjects/"+sub+"/versions") || !strings.Contains(got.Remedy, "registry.mode: register") {
			t.Errorf("remedy: %s", got.Remedy)
		}
		if _, err := registry(t, RegistryConfig{}).ID(t.Context(), sub, unlike(t, `"long"`)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUnusableSchemas(t *testing.T) {
	r := registry(t, RegistryConfig{})
	_, err := r.Schema(t.Context(), 987654321)
	if !errors.Is(err, ErrUnusableSchema) || !strings.Contains(err.Error(), "schema id 987654321") {
		t.Errorf("an unknown id: error %v", err)
	}
	if len(r.schemas) != 0 {
		t.Errorf("%d entries are kept for ids that do not exist", len(r.schemas))
	}
	sub := subject(t)
	body, _ := json.Marshal(map[string]string{"schema": `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","title":"` + sub + `"}`, "schemaType": "JSON"})
	if code := request(t, http.MethodPost, servicetest.Registry(t)+"/subjects/"+sub+"/versions", string(body)); code != http.StatusOK {
		t.Fatalf("register a JSON schema: %d", code)
	}
	found, err := r.client.SchemaByVersion(t.Context(), sub, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Schema(t.Context(), found.ID); !errors.Is(err, ErrUnusableSchema) || !strings.Contains(err.Error(), "not Avro") {
		t.Errorf("a JSON schema: error %v", err)
	}
}

func TestSchemaWithReferences(t *testing.T) {
	base, inner, outer := servicetest.Registry(t), subject(t), subject(t)
	name := servicetest.Name(t, "money")
	post := func(sub string, body any) {
		t.Helper()
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		if code := request(t, http.MethodPost, base+"/subjects/"+sub+"/versions", string(b)); code != http.StatusOK {
			t.Fatalf("register %s: %d", sub, code)
		}
	}
	post(inner, map[string]any{"schema": `{"type":"record","name":"` + name + `","namespace":"cdc","fields":[{"name":"cents","type":"long"}]}`})
	post(outer, map[string]any{
		"schema":     `{"type":"record","name":"o` + name + `","namespace":"cdc","fields":[{"name":"price","type":"cdc.` + name + `"}]}`,
		"references": []map[string]any{{"name": "cdc." + name, "subject": inner, "version": 1}},
	})
	r := registry(t, RegistryConfig{})
	found, err := r.client.SchemaByVersion(t.Context(), outer, -1)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Schema(t.Context(), found.ID)
	if err != nil {
		t.Fatal(err)
	}
	got, err := JSON(s, []byte{0x0e})
	if err != nil || string(got) != `{"price":{"cents":7}}` {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestTransientErrorsAreWaitedOut(t *testing.T) {
	var requests atomic.Int32
	server := proxy(t, func(w http.ResponseWriter, _ *http.Request) bool {
		switch requests.Add(1) {
		case 1:
			http.Error(w, `{"error_code":50001,"message":"store"}`, http.StatusServiceUnavailable)
		case 2:
			http.Error(w, "slow down", http.StatusTooManyRequests)
		case 3:
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return true
			}
			conn.Close() // a cut connection
		default:
			return false
		}
		return true
	})
	var log bytes.Buffer
	r := registry(t, RegistryConfig{URL: server.URL, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if _, err := r.ID(t.Context(), subject(t), unlike(t, `"int"`)); err != nil {
		t.Fatal(err)
	}
	if n := requests.Load(); n != 4 {
		t.Errorf("%d requests, want 4", n)
	}
	if n := strings.Count(log.String(), "does not answer"); n != 1 {
		t.Errorf("logged %d times that the registry does not answer, want once:\n%s", n, &log)
	}
	if n := strings.Count(log.String(), "answers again"); n != 1 {
		t.Errorf("logged %d times that it answers again, want once:\n%s", n, &log)
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	asked := make(chan struct{}, 100)
	server := proxy(t, func(w http.ResponseWriter, _ *http.Request) bool {
		asked <- struct{}{}
		http.Error(w, "no", http.StatusBadGateway)
		return true
	})
	r := registry(t, RegistryConfig{URL: server.URL})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := make(chan error, 1)
	go func() { _, err := r.ID(ctx, "s", "{}"); first <- err }()
	<-asked
	// A second caller waits for the first, no longer than its own context.
	short, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if _, err := r.ID(short, "s", "{}"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second caller: error %v", err)
	}
	<-asked
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) || replication.IsRefusal(err) {
		t.Errorf("first caller: error %v", err)
	}
}

func TestCredentials(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg  RegistryConfig
		in   string // user and password in the URL
		want string
	}{
		"basic":         {RegistryConfig{Username: "u", Password: secret.New("p")}, "", "Basic dTpw"},
		"basic in URL":  {RegistryConfig{}, "u:p@", "Basic dTpw"},
		"the file wins": {RegistryConfig{Username: "u", Password: secret.New("p")}, "x:y@", "Basic dTpw"},
		"bearer":        {RegistryConfig{Token: secret.New("tok")}, "", "Bearer tok"},
	} {
		t.Run(name, func(t *testing.T) {
			server := proxy(t, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Authorization") == tt.want {
					return false
				}
				http.Error(w, `{"error_code":40101,"message":"who are you"}`, http.StatusUnauthorized)
				return true
			})
			cfg := tt.cfg
			cfg.URL = strings.Replace(server.URL, "http://", "http://"+tt.in, 1)
			r := registry(t, cfg)
			if _, err := r.ID(t.Context(), subject(t), unlike(t, `"int"`)); err != nil {
				t.Errorf("with credentials: %v", err)
			}
			if strings.Contains(r.url, "@") {
				t.Errorf("messages would say %s", r.url)
			}
			_, err := registry(t, RegistryConfig{URL: server.URL}).ID(t.Context(), "s", "{}")
			got := refusal(t, err)
			if !strings.Contains(got.Problem, "who are you") || !strings.Contains(got.Remedy, "registry.username") {
				t.Errorf("without: %v", got)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	target, err := url.Parse(servicetest.Registry(t))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }})
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	good := registry(t, RegistryConfig{URL: server.URL, TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}})
	if _, err := good.ID(t.Context(), subject(t), unlike(t, `"int"`)); err != nil {
		t.Errorf("with the authority: %v", err)
	}
	// Without it there is nothing to wait for.
	_, err = registry(t, RegistryConfig{URL: server.URL}).ID(t.Context(), "s", "{}")
	if got := refusal(t, err); !strings.Contains(got.Problem, "certificate is not trusted") || !strings.Contains(got.Remedy, "registry.tls.ca") {
		t.Errorf("without: %v", got)
	}
}

func TestCheck(t *testing.T) {
	good := registry(t, RegistryConfig{}).Check(t.Context())
	if len(good) != 1 || good[0].Level != replication.LevelOK || good[0].Remedy != "" {
		t.Errorf("a registry that answers: %+v", good)
	}
	server := httptest.NewServer(http.NotFoundHandler())
	wrong := registry(t, RegistryConfig{URL: server.URL + "/wrong"}).Check(t.Context())
	if len(wrong) != 1 || wrong[0].Level != replication.LevelError || !strings.Contains(wrong[0].Remedy, "registry.url") {
		t.Errorf("a server that is no registry: %+v", wrong)
	}
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	defer page.Close()
	for _, url := range []string{page.URL, strings.Replace(page.URL, "http:", "https:", 1)} {
		// Nothing to wait for, neither here nor in ID.
		web := registry(t, RegistryConfig{URL: url})
		if got := web.Check(t.Context()); len(got) != 1 || got[0].Level != replication.LevelError || !strings.Contains(got[0].Problem, "is no schema registry") {
			t.Errorf("%s, a web page: %+v", url, got)
		}
		_, err := web.ID(t.Context(), "s", "{}")
		if got := refusal(t, err); !strings.Contains(got.Remedy, "https:// if it speaks TLS") {
			t.Errorf("%s, a web page: %v", url, got)
		}
	}
	server.Close()
	gone := registry(t, RegistryConfig{URL: server.URL}).Check(t.Context())
	if len(gone) != 1 || gone[0].Level != replication.LevelError || !strings.Contains(gone[0].Remedy, "curl "+server.URL+"/subjects") {
		t.Errorf("no server: %+v", gone)
	}
}

func TestNewRegistryRefuses(t *testing.T) {
	for _, tt := range []struct {
		cfg  RegistryConfig
		want string
	}{
		{RegistryConfig{URL: ""}, "want http"},
		{RegistryConfig{URL: "localhost:8081"}, "want http"},
		{RegistryConfig{URL: "ftp://u:hidden@h"}, "want http"},
		{RegistryConfig{URL: "http://u:hidden@h\x00"}, "it is not one"},
		{RegistryConfig{URL: "http://h", Mode: "guess"}, `registry mode "guess"`},
	} {
		_, err := NewRegistry(tt.cfg)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: error %v, want %q", tt.cfg.URL, err, tt.want)
		}
		if strings.Contains(fmt.Sprint(err), "hidden") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

// TestLatest: the newest version counts, each time that it is asked for.
func TestLatest(t *testing.T) {
	r := registry(t, RegistryConfig{})
	sub := subject(t)
	if _, _, err := r.Latest(t.Context(), sub); !errors.Is(err, ErrUnusableSchema) {
		t.Errorf("a subject that does not exist: %v", err)
	}
	name := servicetest.Name(t, "r")
	first := `{"type":"record","name":"` + name + `","fields":[{"name":"a","type":"int"}]}`
	second := `{"type":"record","name":"` + name + `","fields":[{"name":"a","type":"int"},{"name":"b","type":["null","int"],"default":null}]}`
	for _, schema := range []string{first, second} {
		want, err := r.ID(t.Context(), sub, schema)
		if err != nil {
			t.Fatal(err)
		}
		id, got, err := r.Latest(t.Context(), sub)
		if err != nil || id != want || got.Name() != name {
			t.Errorf("latest: id %d, %v, %v; want %d", id, got, err, want)
		}
	}
}
