// Package kafka turns connection settings into options of a franz-go client:
// brokers, TLS, SASL, logging. The producer, the sink and the tools share it.
package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/internal/tlsfiles"
	"cdc/secret"
)

// Config says how to reach a Kafka cluster.
type Config struct {
	// Brokers are host:port addresses to start from; the port defaults to 9092.
	// At least one is needed.
	Brokers []string
	// ClientID names this client in the brokers' logs and quotas. Defaults to
	// "cdc".
	ClientID string
	// TLS turns TLS on when not nil.
	TLS *TLSConfig
	// SASL turns authentication on when not nil.
	SASL *SASLConfig
	// Logger gets the client's warnings and errors, and its informative lines
	// at debug level. nil discards them.
	Logger *slog.Logger
}

// TLSConfig says how to verify the brokers and how to identify to them. The
// zero value verifies against the system's certificate authorities.
type TLSConfig struct {
	CAFile     string // PEM certificates of authorities, instead of the system's
	CertFile   string // PEM certificate chain of this client; needs KeyFile
	KeyFile    string // PEM private key of this client; needs CertFile
	ServerName string // name to verify instead of each broker's host name
	Insecure   bool   // verify nothing; for tests only
}

// The SASL mechanisms.
const (
	Plain       = "plain"
	ScramSHA256 = "scram-sha-256"
	ScramSHA512 = "scram-sha-512"
	OAuthBearer = "oauthbearer"
)

// SASLConfig says how to authenticate.
type SASLConfig struct {
	Mechanism string // plain, scram-sha-256, scram-sha-512 or oauthbearer

	// Username and Password are for plain and scram.
	Username string
	Password secret.String

	// oauthbearer takes exactly one of Token, TokenFile and TokenURL.

	// Token is a fixed token.
	Token secret.String
	// TokenFile is read anew for every authentication, so that another process
	// (a sidecar, Kubernetes) may renew it.
	TokenFile string
	// TokenURL is asked for a token by the client credentials grant (RFC 6749,
	// section 4.4) with ClientID, ClientSecret and Scope. A token is kept until
	// four fifths of its lifetime are over.
	TokenURL     string
	ClientID     string
	ClientSecret secret.String
	Scope        string
	// Extensions are sent beside the token (KIP-342), e.g. logicalCluster.
	Extensions map[string]string
}

// Opts returns the options for kgo.NewClient. Files are read now, apart from
// SASLConfig.TokenFile.
func (c Config) Opts() ([]kgo.Opt, error) {
	if len(c.Brokers) == 0 {
		return nil, errors.New("configure kafka: no brokers")
	}
	id := c.ClientID
	if id == "" {
		id = "cdc"
	}
	opts := []kgo.Opt{kgo.SeedBrokers(c.Brokers...), kgo.ClientID(id), kgo.SoftwareNameAndVersion("cdc", "v0")}
	if c.Logger != nil {
		opts = append(opts, kgo.WithLogger(newLogger(c.Logger)))
	}
	if c.TLS != nil {
		t, err := c.TLS.Load()
		if err != nil {
			return nil, fmt.Errorf("configure kafka: %w", err)
		}
		opts = append(opts, kgo.DialTLSConfig(t))
	}
	if c.SASL != nil {
		m, err := c.SASL.mechanism()
		if err != nil {
			return nil, fmt.Errorf("configure kafka: %w", err)
		}
		opts = append(opts, kgo.SASL(m))
	}
	return opts, nil
}

// Load reads the files and returns the settings for crypto/tls.
func (t *TLSConfig) Load() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.Insecure}
	if err := tlsfiles.Add(conf, t.CAFile, t.CertFile, t.KeyFile); err != nil {
		return nil, err
	}
	return conf, nil
}
