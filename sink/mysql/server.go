package mysql

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"

	"cdc/internal/dial"
	"cdc/internal/tlsfiles"
)

// TLS is how to verify the server and how to identify to it. The zero value
// verifies by the system's authorities.
type TLS struct {
	CAFile, CertFile, KeyFile string // PEM files
	ServerName                string // name to verify in place of the host's
	Insecure                  bool   // verify nothing; for tests only
}

func (t *TLS) load(addr string) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.Insecure} //nolint:gosec // the user's choice
	if conf.ServerName == "" {
		if host, _, err := net.SplitHostPort(addr); err == nil {
			conf.ServerName = host
		}
	}
	if err := tlsfiles.Add(conf, t.CAFile, t.CertFile, t.KeyFile); err != nil {
		return nil, err
	}
	return conf, nil
}

// unverified encrypts and believes the server whoever it is. It also takes the
// key exchange of servers that know no newer one than RSA's (MySQL 8.0.15).
func unverified() *tls.Config {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} //nolint:gosec // as clients of MySQL do by default
	for _, s := range tls.CipherSuites() {
		conf.CipherSuites = append(conf.CipherSuites, s.ID)
	}
	conf.CipherSuites = append(conf.CipherSuites, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_AES_128_GCM_SHA256)
	return conf
}

// parseURL reads mysql://user:password@host:port/database?tls=…&socket=…, or
// the same with mariadb://. tls is preferred (the default: encrypted without
// verification when the server can), false, true (verified) or skip-verify;
// socket is the path of a unix socket in place of host and port. Errors never
// hold the password.
func parseURL(text string) (*mysql.Config, error) {
	u, err := url.Parse(text)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL
		}
		if strings.ContainsAny(err.Error(), `"`) {
			err = errors.New("a character needs escaping; put the password into password or password_file")
		}
		return nil, err
	}
	if u.Scheme != "mysql" && u.Scheme != "mariadb" {
		return nil, errors.New("it does not begin with mysql:// or mariadb://")
	}
	m := mysql.NewConfig()
	m.Logger = &mysql.NopLogger{}
	m.DialFunc = dial.New().DialContext
	m.MultiStatements, m.ClientFoundRows = true, true
	m.MaxAllowedPacket = 0 // as the server has it
	m.ConnectionAttributes = "program_name:cdc sink"
	m.User = u.User.Username()
	m.Passwd, _ = u.User.Password()
	m.DBName = strings.TrimPrefix(u.Path, "/")
	m.Net, m.Addr = "tcp", net.JoinHostPort(u.Hostname(), "3306")
	if u.Port() != "" {
		m.Addr = u.Host
	}
	m.TLS, m.AllowFallbackToPlaintext = unverified(), true
	for k, v := range u.Query() {
		switch k {
		case "tls":
			switch v[0] {
			case "preferred":
			case "skip-verify":
				m.AllowFallbackToPlaintext = false
			case "false", "true":
				m.TLS, m.AllowFallbackToPlaintext = nil, false
				m.TLSConfig = v[0]
			default:
				return nil, fmt.Errorf("tls=%s is none of preferred, false, true, skip-verify", v[0])
			}
		case "socket":
			m.Net, m.Addr = "unix", v[0]
		default:
			return nil, fmt.Errorf("the parameter %s is not known", k)
		}
	}
	if m.Net == "unix" {
		m.TLS, m.TLSConfig, m.AllowFallbackToPlaintext = nil, "false", false
	} else if u.Hostname() == "" {
		return nil, errors.New("it names no host")
	}
	return m, nil
}

// server is what differs between servers.
type server struct {
	text      string // its version as it says it
	mariadb   bool
	version   [3]int
	maxPacket int // of one statement, in bytes
	readOnly  bool
}

func readServer(row []cell) (s server, err error) {
	s.text = row[0].text
	s.mariadb = strings.Contains(s.text, "MariaDB")
	text := strings.TrimPrefix(s.text, "5.5.5-") // MariaDB's prefix for old replicas
	if n, _ := fmt.Sscanf(text, "%d.%d.%d", &s.version[0], &s.version[1], &s.version[2]); n < 2 {
		return s, fmt.Errorf("read the server's version %q", s.text)
	}
	if s.maxPacket, err = strconv.Atoi(row[1].text); err != nil {
		return s, fmt.Errorf("read the server's max_allowed_packet: %w", err)
	}
	s.readOnly = row[3].text != "0" && row[3].text != "OFF"
	return s, nil
}

func (s *server) family() string {
	if s.mariadb {
		return "MariaDB"
	}
	return "MySQL"
}

func (s *server) atLeast(major, minor, patch int) bool {
	v := s.version
	switch {
	case v[0] != major:
		return v[0] > major
	case v[1] != minor:
		return v[1] > minor
	}
	return v[2] >= patch
}

// rowAlias reports whether an upsert names the new row by an alias; others
// know VALUES(column), which newer MySQL deprecates.
func (s *server) rowAlias() bool { return !s.mariadb && s.atLeast(8, 0, 19) }

// exact is the collation of utf8mb4 that tells any two texts apart, trailing
// spaces included; before MySQL 8.0.17 there is none, and the next best
// ignores those.
func (s *server) exact() string {
	switch {
	case s.mariadb:
		return "utf8mb4_nopad_bin"
	case s.atLeast(8, 0, 17):
		return "utf8mb4_0900_bin"
	}
	return "utf8mb4_bin"
}

// parsesDoubles reports whether JSON's numbers become the doubles next to them:
// 9.7 does, 8.0 may be off by a digit in the seventeenth place. What lies
// between was not to be had for a trial.
func (s *server) parsesDoubles() bool { return s.mariadb || s.atLeast(9, 0, 0) }

// vectors reports whether there is a type of that name.
func (s *server) vectors() bool {
	return s.mariadb && s.atLeast(11, 7, 0) || !s.mariadb && s.atLeast(9, 0, 0)
}
