package mysql

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"cdc/replication"
)

// Error numbers by which the package decides: MySQL manual, "Server Error
// Message Reference". MariaDB has the same.
const (
	codeTooManyConnections = 1040
	codeDatabaseDenied     = 1044
	codeAccessDenied       = 1045
	codeUnknownDatabase    = 1049
	codeShutdown           = 1053
	codeUnknownColumn      = 1054
	codeSyntax             = 1064
	codeHostBlocked        = 1129
	codeHostDenied         = 1130
	codeTableDenied        = 1142
	codeColumnDenied       = 1143
	codeNoSuchTable        = 1146
	codeUnknownVariable    = 1193
	codeLockTimeout        = 1205
	codeDeadlock           = 1213
	codePrivilege          = 1227
	codeBinlogFatal        = 1236
	codeTableChanged       = 1412
)

// Transient reports whether an error of Open may go away by itself, so that
// opening again makes sense: nobody answers, or the server starts or stops.
func Transient(err error) bool { return transient(err) }

// transient reports whether err may go away by itself, so that trying again
// makes sense. Whatever it does not know is permanent, and so are the ends of
// contexts: those are the caller's wish.
func transient(err error) bool {
	if err == nil || replication.IsRefusal(err) || errors.Is(err, context.Canceled) || certificate(err) {
		return false
	}
	switch errorCode(err) {
	case 0:
		return transientNet(err)
	case codeTooManyConnections, codeShutdown, codeLockTimeout, codeDeadlock,
		1152, 1158, 1159, 1160, 1161, 1184, // aborted connections, network errors
		1203, 1226, // a limit of the user's is reached
		1317, 1927, 1969, 3024, 3032, 4031: // interrupted, killed, timed out, offline mode
		return true
	}
	return false
}

// corruptError is of an event that came whole and cannot be inflated. It hides
// what it was made of: the end of a zlib stream is not that of a connection.
type corruptError struct{ cause error }

func (e corruptError) Error() string { return "inflate: " + e.cause.Error() }

// certificate reports whether err is about the server's certificate.
func certificate(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	_, ok := errors.AsType[x509.HostnameError](err)
	return ok
}

// refuseConnect turns the errors of connecting that a person must mend into a
// *Refusal, and leaves the others as they are.
func (c *Config) refuseConnect(host string, err error) error {
	if replication.IsRefusal(err) || errors.Is(err, context.Canceled) {
		return err
	}
	user := c.address.user
	switch {
	case certificate(err):
		return refuse("the certificate of the "+string(c.Flavor)+" server was not accepted",
			"name the certificate authority with tls.ca, and the host as it stands in the certificate (or tls.server_name)", err)
	case strings.Contains(err.Error(), "not support TLS"):
		return refuse("the "+string(c.Flavor)+" server does not speak TLS", "configure a certificate on the server, or set tls=false in the URL", err)
	}
	switch errorCode(err) {
	case codeAccessDenied:
		return refuse(fmt.Sprintf("user %q cannot log in to %s", user, c.Flavor),
			"mend user and password in the URL, or set the password: ALTER USER "+c.userSQL()+" IDENTIFIED BY '…'", err)
	case codeHostDenied, codeHostBlocked:
		return refuse(fmt.Sprintf("the server does not let user %q in from here", user),
			"CREATE USER "+c.userSQL()+" IDENTIFIED BY '…' (after many failures first: FLUSH HOSTS, or TRUNCATE performance_schema.host_cache)", err)
	case codeDatabaseDenied, codeUnknownDatabase:
		return refuse(fmt.Sprintf("user %q cannot use the database of the URL", user), "mend the database's name in the URL", err)
	}
	return fmt.Errorf("connect to %s at %s: %w", c.Flavor, host, err)
}

// userSQL names the user for statements that a person may run.
func (c *Config) userSQL() string { return quoteLiteral(c.address.user) + "@'%'" }
