package postgres

import (
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"cdc/replication"
)

// The SQLSTATEs that decide something (manual, appendix A).
const (
	uniqueViolation    = "23505"
	notNullViolation   = "23502"
	undefinedColumn    = "42703"
	undefinedTable     = "42P01"
	duplicateTable     = "42P07"
	duplicateObject    = "42710"
	duplicateColumn    = "42701"
	featureUnsupported = "0A000"
	noPrivilege        = "42501"
	readOnly           = "25006"
	ambiguousConflict  = "42P10" // no unique constraint matches ON CONFLICT
)

func sqlState(err error) string {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pe.Code
	}
	return ""
}

// transient reports whether trying again may help without anybody's doing:
// the connection broke, the server restarts or is full for now, or the
// transaction lost against another one.
func transient(err error) bool {
	if replication.IsRefusal(err) {
		return false
	}
	if code := sqlState(err); code != "" {
		switch code[:2] {
		case "08", "40", "53", "58": // connection, rollback, resources, system
			return true
		}
		switch code {
		case "57P01", "57P02", "57P03", "57014", "57P05", // shutdown, crash, starting, statement timeout, idle timeout
			"55P03", "55006", // lock not available, object in use
			readOnly: // a standby, before it is promoted
			return true
		}
		return false
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		pgconn.SafeToRetry(err) || strings.Contains(err.Error(), "conn closed")
}

// rowFault reports whether the error lies in the rows' data, so that the same
// statement without the guilty row would succeed.
func rowFault(err error) bool {
	code := sqlState(err)
	if code == "" {
		return false
	}
	switch code[:2] {
	case "22", "23", "54", "44", "P0": // data, constraint, limit, check option, raised by a trigger
		return true
	}
	return code == "21000" // ON CONFLICT would touch a row twice: keys equal for the target though not in the topic
}

// crosses reports whether the row is refused because of another one, which may
// yet change.
func crosses(err error) bool {
	switch sqlState(err) {
	case uniqueViolation, "23503", "23P01": // foreign key, exclusion
		return true
	}
	return false
}

// staleShape reports whether the target's table is not as it was when its plan
// was made.
func staleShape(err error) bool {
	switch sqlState(err) {
	case undefinedColumn, undefinedTable, ambiguousConflict, "0A000", "428C9", "42804":
		return true
	}
	return false
}

// madeMeanwhile reports whether a CREATE TABLE IF NOT EXISTS lost against another
// session's at the same moment: over the table, its row type, or their place in
// the catalog.
func madeMeanwhile(err error) bool {
	switch sqlState(err) {
	case uniqueViolation, duplicateTable, duplicateObject:
		return true
	}
	return false
}
