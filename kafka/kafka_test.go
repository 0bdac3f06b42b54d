package kafka

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/secret"
)

func TestOptsRefuses(t *testing.T) {
	broker := []string{"localhost:9092"}
	pass := secret.New("hush")
	garbage := filepath.Join(t.TempDir(), "garbage.pem")
	if err := os.WriteFile(garbage, []byte("not PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]Config{
		"no brokers": {},
		`sasl: unknown mechanism "gssapi": plain, scram-sha-256, scram-sha-512 or oauthbearer`: {Brokers: broker, SASL: &SASLConfig{Mechanism: "gssapi"}},
		"sasl plain: username and password are needed":                                         {Brokers: broker, SASL: &SASLConfig{Mechanism: Plain, Username: "a"}},
		"sasl scram-sha-512: username and password are needed":                                 {Brokers: broker, SASL: &SASLConfig{Mechanism: ScramSHA512, Password: pass}},
		"sasl oauthbearer: exactly one of token, token file and token url is needed":           {Brokers: broker, SASL: &SASLConfig{Mechanism: OAuthBearer, Token: pass, TokenFile: "a"}},
		"no PEM certificate in " + garbage:                                                     {Brokers: broker, TLS: &TLSConfig{CAFile: garbage}},
		"certificate and key are needed both or neither":                                       {Brokers: broker, TLS: &TLSConfig{CertFile: garbage}},
		"read tls ca: open none.pem":                                                           {Brokers: broker, TLS: &TLSConfig{CAFile: "none.pem"}},
	} {
		_, err := c.Opts()
		if err == nil || !strings.HasPrefix(err.Error(), "configure kafka: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	opts, err := Config{Brokers: broker, TLS: &TLSConfig{}, SASL: &SASLConfig{Mechanism: Plain, Username: "a", Password: pass}, Logger: slog.New(slog.DiscardHandler)}.Opts()
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	cl.Close()
}

// bearer returns the token that a first SASL message carries (RFC 7628, 3.1).
func bearer(t *testing.T, c SASLConfig) (string, error) {
	t.Helper()
	m, err := c.mechanism()
	if err != nil {
		t.Fatal(err)
	}
	_, first, err := m.Authenticate(t.Context(), "broker")
	if err != nil {
		return "", err
	}
	_, rest, _ := bytes.Cut(first, []byte("auth=Bearer "))
	token, _, _ := bytes.Cut(rest, []byte{1})
	return string(token), nil
}

func TestOAuthTokenAndFile(t *testing.T) {
	if got, err := bearer(t, SASLConfig{Mechanism: OAuthBearer, Token: secret.New("fixed")}); err != nil || got != "fixed" {
		t.Errorf("token: %q, %v", got, err)
	}
	file := filepath.Join(t.TempDir(), "token")
	c := SASLConfig{Mechanism: OAuthBearer, TokenFile: file}
	if _, err := bearer(t, c); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, want := range []string{"first", "second"} { // renewed by somebody else
		if err := os.WriteFile(file, []byte(want+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := bearer(t, c); err != nil || got != want {
			t.Errorf("file: %q, %v", got, err)
		}
	}
}

func TestOAuthClientCredentials(t *testing.T) {
	asked, answer := 0, http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		user, pass, ok := r.BasicAuth()
		if !ok || user != "cdc%2Fa" || pass != "s%3Ac" || r.Method != http.MethodPost || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "kafka" {
			t.Errorf("asked by %s with %q %q and %v", r.Method, user, pass, r.Form)
		}
		if answer != http.StatusOK {
			w.WriteHeader(answer)
			fmt.Fprint(w, `{"error":"invalid_client","error_description":"who are you"}`)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": fmt.Sprint("token", asked), "token_type": "bearer", "expires_in": 100})
	}))
	defer server.Close()
	now := time.Unix(0, 0)
	c := &tokenClient{
		conf: SASLConfig{TokenURL: server.URL, ClientID: "cdc/a", ClientSecret: secret.New("s:c"), Scope: "kafka"},
		http: server.Client(), now: func() time.Time { return now },
	}
	get := func(want string) {
		t.Helper()
		if got, err := c.token(t.Context()); err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	get("token1")
	now = now.Add(79 * time.Second)
	get("token1") // four fifths of 100 s are not over
	now = now.Add(2 * time.Second)
	get("token2")
	now = now.Add(time.Hour)
	answer = http.StatusUnauthorized
	if _, err := c.token(t.Context()); err == nil || !strings.Contains(err.Error(), "401 Unauthorized: invalid_client who are you") || strings.Contains(err.Error(), "s:c") {
		t.Errorf("refused: %v", err)
	}
	answer = http.StatusOK
	get("token4")
}

func TestRemedy(t *testing.T) {
	for err, want := range map[error]string{
		kerr.SaslAuthenticationFailed:                            "kafka.sasl",
		fmt.Errorf("produce: %w", kerr.TopicAuthorizationFailed): "grant the Kafka user Write on topic a",
		kerr.InvalidReplicationFactor:                            "kafka.topics",
		kerr.InvalidTopicException:                               "topic template",
		kerr.NotLeaderForPartition:                               "",
		context.DeadlineExceeded:                                 "",
	} {
		got, ok := Remedy(err, "Write on topic a")
		if ok != (want != "") || !strings.Contains(got, want) {
			t.Errorf("%v: %q, %v", err, got, ok)
		}
	}
}

// kgo's informative lines are for debugging.
func TestLoggerLevels(t *testing.T) {
	var out bytes.Buffer
	say := func(at slog.Level) string {
		out.Reset()
		l := newLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: at})))
		for _, level := range []kgo.LogLevel{kgo.LogLevelError, kgo.LogLevelWarn, kgo.LogLevelInfo, kgo.LogLevelDebug} {
			if level <= l.Level() {
				l.Log(level, level.String(), "k", "v")
			}
		}
		var lines []string
		for line := range strings.Lines(out.String()) {
			_, rest, _ := strings.Cut(line, "level=")
			lines = append(lines, strings.TrimSpace(rest))
		}
		return strings.Join(lines, "; ")
	}
	for at, want := range map[slog.Level]string{
		slog.LevelInfo:  `ERROR msg="kafka: ERROR" k=v; WARN msg="kafka: WARN" k=v`,
		slog.LevelDebug: `ERROR msg="kafka: ERROR" k=v; WARN msg="kafka: WARN" k=v; DEBUG msg="kafka: INFO" k=v`,
		slog.LevelError: `ERROR msg="kafka: ERROR" k=v`,
		slog.Level(20):  "",
	} {
		if got := say(at); got != want {
			t.Errorf("%v: %s", at, got)
		}
	}
}

// TestRetryIsToldOnce: of a broker that is not there the client tells, and
// whoever tries again does not.
func TestRetryIsToldOnce(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	opts, err := Config{Brokers: []string{gone.Addr().String()}, Logger: log}.Opts()
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, err = kadm.NewClient(client).Metadata(t.Context())
	if err == nil {
		t.Fatal("an address without a broker answers")
	}
	client.Close()
	attempts := strings.Count(out.String(), "connection refused")
	log.Log(t.Context(), RetryLevel(err), "trying again", "error", err)
	if n := strings.Count(out.String(), "connection refused"); attempts == 0 || n != attempts {
		t.Errorf("told %d times, and %d times with the one who tries again:\n%s", attempts, n, &out)
	}
	if RetryLevel(errors.New("x")) != slog.LevelWarn {
		t.Error("of another error nobody tells")
	}
}
