package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"cdc/replication"
)

// SQLSTATEs by which the package decides, from PostgreSQL's errcodes.txt.
const (
	codeInvalidPassword    = "28P01"
	codeInvalidAuth        = "28000"
	codeNoDatabase         = "3D000"
	codeNoPrivilege        = "42501"
	codeUndefinedObject    = "42704"
	codeTooManyConnections = "53300"
	codeLimitExceeded      = "53400" // configuration_limit_exceeded: all slots or senders in use
	codeNotInState         = "55000" // object_not_in_prerequisite_state: wal_level, slot lost
	codeInUse              = "55006" // object_in_use: the slot is active for another
	codeLockTimeout        = "55P03"
	codeCanceled           = "57014"
	codeUndefinedFile      = "58P01"
	classData              = "22" // data exception
	classConstraint        = "23" // integrity constraint violation
	classInternal          = "XX"
)

// sqlState returns the SQLSTATE of the server's error in err, or "".
func sqlState(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// asRefusal returns the *Refusal that err is or wraps.
func asRefusal(err error) (*replication.Refusal, bool) {
	return errors.AsType[*replication.Refusal](err)
}

// Transient reports whether an error of Open may go away by itself, so that
// opening again makes sense: nobody answers, or the server starts or stops.
func Transient(err error) bool { return transient(err) }

// transient reports whether err may go away by itself, so that trying again
// makes sense: a connection cut or refused, a server that starts, stops or has
// no room, a lock or a serialization lost. Whatever it does not know is
// permanent, and so are the ends of contexts: those are the caller's wish.
func transient(err error) bool {
	switch {
	case err == nil, replication.IsRefusal(err):
		return false
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code {
		case codeInUse, codeLockTimeout, codeCanceled,
			"57P01", "57P02", "57P03", "57P05": // shutdown, crash, starting up, idle timeout
			return true
		case codeUndefinedFile: // WAL or a file of the slot is gone
			return false
		}
		switch e.Code[:min(2, len(e.Code))] {
		case "08", "40", "53", "58": // connection, rollback, resources, system
			return true
		}
		return false
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return false
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return false
	}
	// No server of the URL is what target_session_attrs asks for: none yet.
	for _, standby := range []error{errStandby, pgconn.ErrReadOnlyConnection, pgconn.ErrReadWriteConnection, pgconn.ErrPrimaryConnection, pgconn.ErrStandbyConnection} {
		if errors.Is(err, standby) {
			return true
		}
	}
	if errors.Is(err, context.Canceled) {
		return false
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, pgconn.ErrConnClosed) || pgconn.Timeout(err) || pgconn.SafeToRetry(err)
}

// refuseConnect turns the errors of connecting that a person must mend into a
// *Refusal, and leaves the others as they are.
func refuseConnect(cc *pgx.ConnConfig, err error) error {
	role := replication.QuoteIdentifier(cc.User)
	refuse := func(problem, remedy string) error {
		return &replication.Refusal{Problem: problem, Remedy: remedy, Err: err}
	}
	forReplication := cc.RuntimeParams["replication"] != ""
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
		_, host := errors.AsType[x509.HostnameError](err)
		_, tlsErr := errors.AsType[*tls.CertificateVerificationError](err)
		if unknown || host || tlsErr {
			return refuse("the certificate of the postgres server was not accepted",
				"name the certificate authority with sslrootcert in the URL, and the host as it stands in the certificate")
		}
		return fmt.Errorf("connect to postgres: %w", err)
	}
	switch {
	case e.Code == codeInvalidPassword:
		return refuse(fmt.Sprintf("role %q cannot log in to postgres", cc.User),
			"mend the password in the URL or the passfile, or set it: ALTER ROLE "+role+" PASSWORD '…'")
	case e.Code == codeInvalidAuth && strings.Contains(e.Message, "pg_hba.conf"):
		what := cc.Database
		if forReplication {
			what = cc.Database + " (a logical replication connection needs the line of its database, not of \"replication\")"
		}
		return refuse("pg_hba.conf of the server lets role \""+cc.User+"\" not in",
			fmt.Sprintf("add a line to pg_hba.conf for database %s and role %s, then SELECT pg_reload_conf()", what, cc.User))
	case e.Code == codeInvalidAuth:
		return refuse(fmt.Sprintf("role %q cannot log in to postgres", cc.User), "CREATE ROLE "+role+" LOGIN REPLICATION PASSWORD '…'")
	case e.Code == codeNoDatabase:
		return refuse(fmt.Sprintf("database %q does not exist", cc.Database), "mend the database's name in the URL")
	case e.Code == codeNoPrivilege && forReplication:
		return refuse(fmt.Sprintf("role %q lacks the attribute REPLICATION", cc.User), "ALTER ROLE "+role+" REPLICATION")
	case e.Code == codeNoPrivilege:
		return refuse(fmt.Sprintf("role %q may not connect to database %q", cc.User, cc.Database),
			"GRANT CONNECT ON DATABASE "+replication.QuoteIdentifier(cc.Database)+" TO "+role)
	}
	return fmt.Errorf("connect to postgres: %w", err)
}
