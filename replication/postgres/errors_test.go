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
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"cdc/replication"
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
