package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"cdc/replication"
	"cdc/secret"
)

func TestTransient(t *testing.T) {
	pg := func(code string) error { return &pgconn.PgError{Code: code} }
	for _, test := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("unknown"), false},
		{context.Canceled, false},
		{&replication.Refusal{Err: io.EOF}, false},
		{io.EOF, true},
		{fmt.Errorf("read: %w", io.ErrUnexpectedEOF), true},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, true},
		{&net.DNSError{Name: "db", IsNotFound: true}, true},
		{&net.OpError{Op: "read", Err: &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}}, false},
		{x509.HostnameError{Certificate: &x509.Certificate{}, Host: "db"}, false},
		{pg("57P01"), true},  // admin_shutdown
		{pg("57P03"), true},  // cannot_connect_now
		{pg("53300"), true},  // too_many_connections
		{pg("08006"), true},  // connection_failure
		{pg("40001"), true},  // serialization_failure
		{pg("55006"), true},  // object_in_use
		{pg("55P03"), true},  // lock_not_available
		{pg("58P01"), false}, // undefined_file: a WAL segment is gone
		{pg("42501"), false}, // insufficient_privilege
		{pg("42P01"), false}, // undefined_table
		{pg("28P01"), false}, // invalid_password
		{pg("55000"), false}, // object_not_in_prerequisite_state
		{pg("XX000"), false}, // internal_error
		{pg(""), false},
		{fmt.Errorf("connect: %w", pg("57P03")), true},
	} {
		if got := transient(test.err); got != test.want {
			t.Errorf("transient(%v) = %v", test.err, got)
		}
	}
}

func TestServerMajor(t *testing.T) {
	for version, want := range map[string]int{"15.18 (Debian 15.18-0+deb12u1)": 15, "18beta1": 18, "9.6.24": 9, "": 0} {
		if got := serverMajor(version); got != want {
			t.Errorf("serverMajor(%q) = %d", version, got)
		}
	}
}

// TestURLErrorsKeepTheSecret has URLs that cannot be used, in all the forms that
// a password can have in them.
func TestURLErrorsKeepTheSecret(t *testing.T) {
	for _, url := range []string{
		"postgres://u:hunter2/x@h/db", "postgres://u:hunter2%ZZ@h/db", "postgres://u:hunter2@h:port/db",
		"postgres://h/db?password=hunter2&sslmode=bogus", "postgres://u:hunter2 x@h/db", "postgres://u:hunter2@h/db?sslmode=bogus",
		"host=h password=hunter2 sslmode=bogus", "host=h password='hunter2' sslmode=bogus", "host=h password = hunter2 sslmode=bogus",
		"host=h password = 'hunter2' sslmode=bogus", "host=h password='hunter2 sslmode=bogus", `host=h password='a\'hunter2' sslmode=bogus`,
	} {
		c := Config{URL: secret.New(url)}
		_, err := c.connConfig(false)
		if !replication.IsRefusal(err) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
