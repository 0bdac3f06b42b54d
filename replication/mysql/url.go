package mysql

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"cdc/internal/tlsfiles"
)

// address is a parsed URL.
type address struct {
	hosts    []string // host:port, or the path of a socket
	user     string
	password string
	database string
	tls      *tls.Config // nil: none
	tlsMode  string
}

// parseURL reads
//
//	mysql://user:password@host:port,host2:port2/?tls=MODE&socket=PATH
//
// where MODE is preferred (the default: encrypted where the server can, the
// certificate unseen), false, skip-verify (encrypted, unseen), verify-ca or true
// (verified in full). Several hosts are tried in turn; the scheme mariadb means
// the same. An error names no password.
func parseURL(text string, t *TLS) (*address, error) {
	// url.Parse takes no list of hosts with ports: it gets the first.
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || scheme != "mysql" && scheme != "mariadb" {
		return nil, errors.New("it does not begin with mysql:// or mariadb://")
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	userinfo, hostlist := "", authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		userinfo, hostlist = authority[:i+1], authority[i+1:]
	}
	u, err := url.Parse(scheme + "://" + userinfo + "host" + tail)
	if err != nil {
		return nil, errors.New("it cannot be parsed (special characters in user and password must be %-encoded)")
	}
	a := &address{database: strings.TrimPrefix(u.Path, "/"), tlsMode: "preferred"}
	if u.User != nil {
		a.user = u.User.Username()
		a.password, _ = u.User.Password()
	}
	for host := range strings.SplitSeq(hostlist, ",") {
		if host == "" {
			host = "localhost"
		}
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), "3306")
		}
		a.hosts = append(a.hosts, host)
	}
	for option, values := range u.Query() {
		value := values[len(values)-1]
		switch option {
		case "tls":
			a.tlsMode = value
		case "socket":
			a.hosts = []string{value}
		default:
			return nil, fmt.Errorf("it has the unknown option %q", option)
		}
	}
	if t == nil {
		t = &TLS{}
	} else if a.tlsMode = "true"; t.Insecure {
		a.tlsMode = "skip-verify"
	}
	if err := a.secure(t); err != nil {
		return nil, err
	}
	return a, nil
}

// secure makes the TLS configuration.
func (a *address) secure(t *TLS) error {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	switch a.tlsMode {
	case "false":
		return nil
	case "preferred", "skip-verify":
		c.InsecureSkipVerify = true // what the mode is for
		// MySQL 8.0 of before 2020 offers no other key exchange that Go has.
		for _, suite := range tls.CipherSuites() {
			c.CipherSuites = append(c.CipherSuites, suite.ID)
		}
		c.CipherSuites = append(c.CipherSuites, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_CBC_SHA, tls.TLS_RSA_WITH_AES_128_CBC_SHA)
	case "true":
	case "verify-ca":
		c.InsecureSkipVerify = true // the chain is verified below, the name is not
		c.VerifyConnection = func(s tls.ConnectionState) error {
			o := x509.VerifyOptions{Roots: c.RootCAs, Intermediates: x509.NewCertPool()}
			for _, i := range s.PeerCertificates[1:] {
				o.Intermediates.AddCert(i)
			}
			_, err := s.PeerCertificates[0].Verify(o)
			return err
		}
	default:
		return fmt.Errorf("tls=%s does not exist; choose preferred, false, skip-verify, verify-ca or true", a.tlsMode)
	}
	if err := tlsfiles.Add(c, t.CAFile, t.CertFile, t.KeyFile); err != nil {
		return err
	}
	a.tls = c
	return nil
}

// tlsFor is the TLS configuration for one host.
func (a *address) tlsFor(host string) *tls.Config {
	if a.tls == nil || strings.HasPrefix(host, "/") {
		return nil
	}
	c := a.tls.Clone()
	if c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(host)
	}
	return c
}
