package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func (c *SASLConfig) mechanism() (sasl.Mechanism, error) {
	switch c.Mechanism {
	case Plain, ScramSHA256, ScramSHA512:
		if c.Username == "" || c.Password.IsZero() {
			return nil, fmt.Errorf("sasl %s: username and password are needed", c.Mechanism)
		}
	}
	switch c.Mechanism {
	case Plain:
		return plain.Auth{User: c.Username, Pass: c.Password.Reveal()}.AsMechanism(), nil
	case ScramSHA256:
		return scram.Auth{User: c.Username, Pass: c.Password.Reveal()}.AsSha256Mechanism(), nil
	case ScramSHA512:
		return scram.Auth{User: c.Username, Pass: c.Password.Reveal()}.AsSha512Mechanism(), nil
	case OAuthBearer:
		token, err := c.tokens()
		if err != nil {
			return nil, err
		}
		return oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
			t, err := token(ctx)
			if err != nil {
				return oauth.Auth{}, err
			}
			return oauth.Auth{Token: t, Extensions: c.Extensions}, nil
		}), nil
	}
	return nil, fmt.Errorf("sasl: unknown mechanism %q: plain, scram-sha-256, scram-sha-512 or oauthbearer", c.Mechanism)
}

// tokens returns a function that has a valid token each time it is called.
func (c *SASLConfig) tokens() (func(context.Context) (string, error), error) {
	given := 0
	for _, set := range []bool{!c.Token.IsZero(), c.TokenFile != "", c.TokenURL != ""} {
		if set {
			given++
		}
	}
	if given != 1 {
		return nil, errors.New("sasl oauthbearer: exactly one of token, token file and token url is needed")
	}
	switch {
	case !c.Token.IsZero():
		return func(context.Context) (string, error) { return c.Token.Reveal(), nil }, nil
	case c.TokenFile != "":
		return func(context.Context) (string, error) {
			b, err := os.ReadFile(c.TokenFile)
			if err != nil {
				return "", fmt.Errorf("read oauth token: %w", err)
			}
			return strings.TrimSpace(string(b)), nil
		}, nil
	default:
		return (&tokenClient{conf: *c, http: &http.Client{Timeout: 30 * time.Second}, now: time.Now}).token, nil
	}
}

// tokenClient gets tokens from an authorization server by the client
// credentials grant and keeps each for four fifths of its lifetime.
type tokenClient struct {
	conf SASLConfig
	http *http.Client
	now  func() time.Time

	mu    sync.Mutex
	last  string
	renew time.Time
}

func (c *tokenClient) token(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != "" && c.now().Before(c.renew) {
		return c.last, nil
	}
	token, lifetime, err := c.fetch(ctx)
	if err != nil {
		return "", fmt.Errorf("fetch oauth token: %w", err)
	}
	c.last, c.renew = token, c.now().Add(lifetime*4/5)
	return token, nil
}

// fetch does one exchange (RFC 6749, sections 4.4.2, 5.1 and 5.2). A lifetime
// of 0, when the server names none, makes the next call fetch again.
func (c *tokenClient) fetch(ctx context.Context) (token string, lifetime time.Duration, err error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if c.conf.Scope != "" {
		form.Set("scope", c.conf.Scope)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.conf.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// Section 2.3.1 wants both parts form-encoded before basic authentication.
	req.SetBasicAuth(url.QueryEscape(c.conf.ClientID), url.QueryEscape(c.conf.ClientSecret.Reveal()))
	resp, err := c.http.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	var answer struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"` // seconds
		Error       string  `json:"error"`
		Description string  `json:"error_description"`
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer)
	switch {
	case resp.StatusCode != http.StatusOK:
		return "", 0, fmt.Errorf("%s answered %s: %s %s", req.URL.Redacted(), resp.Status, answer.Error, answer.Description)
	case err != nil:
		return "", 0, fmt.Errorf("decode answer of %s: %w", req.URL.Redacted(), err)
	case answer.AccessToken == "":
		return "", 0, fmt.Errorf("%s answered without an access_token", req.URL.Redacted())
	}
	const day = 24 * time.Hour
	lifetime = time.Duration(min(max(answer.ExpiresIn, 0), day.Seconds()) * float64(time.Second))
	return answer.AccessToken, lifetime, nil
}
