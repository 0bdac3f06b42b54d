package mysql

import (
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/go-sql-driver/mysql"

	"cdc/replication"
)

// The server's error numbers that decide something (manual, "Server Error
// Message Reference"; MariaDB's are the same up to 1999).
const (
	dbDenied         = 1044
	accessDenied     = 1045
	columnNull       = 1048
	unknownDatabase  = 1049
	tableExists      = 1050
	unknownColumn    = 1054
	duplicateColumn  = 1060
	duplicateEntry   = 1062
	packetTooLarge   = 1153
	unknownTable     = 1146
	tableDenied      = 1142
	columnDenied     = 1143
	privilegeMissing = 1227
	noDefault        = 1364
	fkParent         = 1451
	fkChild          = 1452
)

func number(err error) uint16 {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return e.Number
	}
	return 0
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// cellError is a value that a column cannot hold, found before the server saw
// it.
type cellError struct {
	plan   *plan
	column string // quoted; "" is the row as a whole
	err    error
}

func (e *cellError) Error() string {
	if e.column == "" {
		return e.err.Error()
	}
	return fmt.Sprintf("column %s: %v", e.column, e.err)
}

func (e *cellError) Unwrap() error { return e.err }

// transient reports whether trying again may help without anybody's doing: the
// connection broke, the server restarts or is full for now, or the transaction
// lost against another one.
func transient(err error) bool {
	if replication.IsRefusal(err) {
		return false
	}
	if n := number(err); n != 0 {
		switch n {
		case 1205, 1213, 1020, 1412, 1615, 3101, 3572, 4031, // lock wait, deadlock, changed since read, definition changed, re-prepare, lost at commit, no wait, idle for too long
			1040, 1203, 1226, 1021, 1030, 1037, 1038, 1041, 1114, 1129, 1135, // too many, resources, disk, memory, table full
			1053, 1077, 1079, 1152, 1158, 1159, 1160, 1161, 1184, 1317, 1927, 1969, 3024, 3168, 3169, // shutdown, network, killed, timed out
			1047, 1180, 3100: // cluster not ready, error during commit
			return true
		}
		return readOnly(err)
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	for _, e := range []error{
		driver.ErrBadConn, mysql.ErrInvalidConn, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE, mysql.ErrMalformPkt, mysql.ErrPktSync,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// readOnly reports whether the server is one to which nothing can be written:
// a replica, before it is promoted.
func readOnly(err error) bool {
	switch number(err) {
	case 1290, 1792, 1836:
		return true
	}
	return false
}

// rowFault reports whether the error lies in the rows' data, so that the same
// statement without the guilty row would succeed.
func rowFault(err error) bool {
	if _, ok := errors.AsType[*cellError](err); ok {
		return true
	}
	e, ok := errors.AsType[*mysql.MySQLError](err)
	if !ok {
		return errors.Is(err, mysql.ErrPktTooLarge)
	}
	switch string(e.SQLState[:2]) {
	case "22", "23", "44", "45": // data, constraint, check option, raised by a trigger
		return true
	}
	switch e.Number {
	case 1265, 1300, 1366, 1367, 1390, 1411, 1416, 1525, 1526, 1644, 1690, 1748, 1118, 3819, 3903, 3904, 4025, 4078, packetTooLarge:
		return true
	}
	return false
}

// crosses reports whether the row is refused because of another one, which may
// yet change.
func crosses(err error) bool {
	switch number(err) {
	case duplicateEntry, fkParent, fkChild, 1216, 1217, 1557, 1586:
		return true
	}
	return false
}

// staleShape reports whether the target's table is not as it was when its plan
// was made.
func staleShape(err error) bool {
	switch number(err) {
	case unknownColumn, unknownTable, noDefault, 1051, 1136, 3105, 1906:
		return true
	}
	return false
}

// denied reports whether the user lacks a privilege.
func denied(err error) bool {
	switch number(err) {
	case dbDenied, tableDenied, columnDenied, privilegeMissing, 1370:
		return true
	}
	return false
}

// connectRemedy says what a person must do about a connection that will not
// come to be by itself, "" when it may.
func connectRemedy(err error, database string) string {
	switch number(err) {
	case accessDenied, 1698, 1130, 1251, 1275, 1862, 1820, 3118, 3159, 4151:
		return "check user, password and host of the sink's mysql url, and what the server allows that user"
	case dbDenied:
		return fmt.Sprintf("GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER ON %s.* TO the sink's user", quoteName(database))
	case unknownDatabase:
		return fmt.Sprintf("CREATE DATABASE %s CHARACTER SET utf8mb4", quoteName(database))
	case privilegeMissing:
		return "let the sink's user set its session's variables"
	}
	for _, e := range []error{mysql.ErrNoTLS, mysql.ErrCleartextPassword, mysql.ErrNativePassword, mysql.ErrOldPassword, mysql.ErrUnknownPlugin, mysql.ErrOldProtocol} {
		if errors.Is(err, e) {
			return "check tls of the sink, and how the server authenticates its user"
		}
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "correct the sink's tls (ca, server_name), or the server's certificate"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "correct the sink's tls (ca), or the server's certificate"
	}
	return ""
}
