package mysql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	gomysql "github.com/go-mysql-org/go-mysql/mysql"

	"cdc/internal/dial"
)

const (
	connectTimeout = 10 * time.Second
	queryTimeout   = 30 * time.Second
)

// conn is one connection. One goroutine owns it; cut may be called by others.
type conn struct {
	*client.Conn
	raw   net.Conn // beneath TLS
	host  string
	isCut atomic.Bool
}

// cut makes every read and write of the connection fail.
func (c *conn) cut() {
	c.isCut.Store(true)
	c.raw.SetDeadline(time.Unix(1, 0))
}

// connect opens a connection to the first host that answers. Texts come as they
// are stored, times in UTC; the time limits that an administrator may have set
// for interactive users would cut a snapshot.
func (c *Config) connect(ctx context.Context) (*conn, error) {
	var errs []error
	for _, host := range c.address.hosts {
		made, err := c.connectTo(ctx, host)
		if err == nil {
			return made, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		errs = append(errs, err)
	}
	if len(errs) == 1 {
		return nil, errs[0]
	}
	return nil, errors.Join(errs...)
}

func (c *Config) connectTo(ctx context.Context, host string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	made := &conn{host: host}
	network := "tcp"
	if strings.HasPrefix(host, "/") {
		network = "unix"
	}
	stop := func() bool { return true }
	connect := func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := dial.New().DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		made.raw = raw
		// The handshake looks at no context.
		stop = context.AfterFunc(ctx, made.cut)
		return raw, nil
	}
	open := func(secure bool) (err error) {
		made.Conn, err = client.ConnectWithDialer(ctx, network, host, c.address.user, c.address.password, "", connect, func(o *client.Conn) error {
			if secure {
				o.SetTLSConfig(c.address.tlsFor(host))
			}
			o.SetAttributes(map[string]string{"program_name": "cdc", "connector": c.Name})
			return nil
		})
		return err
	}
	secure := c.address.tlsFor(host) != nil
	err := open(secure)
	if err != nil && secure && c.address.tlsMode == "preferred" && strings.Contains(err.Error(), "not support TLS") {
		stop()
		err = open(false)
	}
	inTime := stop()
	if err == nil && !inTime {
		err = ctx.Err()
		made.raw.Close()
	}
	if err != nil {
		return nil, c.refuseConnect(host, unwrapConnect(ctx, err))
	}
	made.raw.SetDeadline(time.Now().Add(queryTimeout))
	defer made.raw.SetDeadline(time.Time{})
	for _, sql := range []string{
		"SET NAMES utf8mb4",
		"SET SESSION time_zone = '+00:00', character_set_results = NULL, sql_mode = '', net_read_timeout = 600, net_write_timeout = 600, wait_timeout = 86400",
	} {
		if _, err := made.Execute(sql); err != nil {
			made.Close()
			return nil, fmt.Errorf("prepare the session: %w", err)
		}
	}
	return made, nil
}

// unwrapConnect prefers the end of ctx over what it did to the connection; what is
// wrong with a certificate is no doing of it.
func unwrapConnect(ctx context.Context, err error) error {
	if certificate(err) {
		return err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s: %w", connectTimeout, os.ErrDeadlineExceeded)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// within runs f, which uses the connection, until ctx ends or the time is up.
func (c *conn) within(ctx context.Context, limit time.Duration, f func() error) error {
	if limit > 0 {
		c.raw.SetDeadline(time.Now().Add(limit))
		defer c.raw.SetDeadline(time.Time{})
	}
	stop := context.AfterFunc(ctx, c.cut)
	err := f()
	if !stop() && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// cell is a value of a result: its text, or NULL.
type cell struct {
	text string
	null bool
}

// query runs one statement and returns its rows.
func (c *conn) query(ctx context.Context, sql string) (rows [][]cell, err error) {
	var r *gomysql.Result
	err = c.within(ctx, queryTimeout, func() (err error) {
		r, err = c.Execute(sql)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Resultset == nil {
		return nil, nil
	}
	for i := range r.RowNumber() {
		row := make([]cell, r.ColumnNumber())
		for j := range row {
			null, err := r.IsNull(i, j)
			if err != nil {
				return nil, err
			}
			text, err := r.GetString(i, j)
			if err != nil {
				return nil, err
			}
			row[j] = cell{strings.Clone(text), null} // the result is recycled
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// end closes the connection, saying so to the server if that takes no time.
func (c *conn) end() {
	c.raw.SetDeadline(time.Now().Add(time.Second))
	_ = c.Quit()
	c.Close()
}

// session is one ordinary connection that is made when it is first needed, and
// again when it broke. Safe for concurrent use: one question at a time.
type session struct {
	config *Config

	mu   sync.Mutex
	conn *conn
}

func newSession(c *Config) *session { return &session{config: c} }

// query runs one statement that only reads. When the connection turns out to be
// broken it runs once more on a new one.
func (s *session) query(ctx context.Context, sql string) ([][]cell, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for attempt := 0; ; attempt++ {
		fresh := s.conn == nil
		if fresh {
			made, err := s.config.connect(ctx)
			if err != nil {
				return nil, err
			}
			s.conn = made
		}
		rows, err := s.conn.query(ctx, sql)
		if err == nil || errorCode(err) != 0 {
			return rows, err
		}
		s.conn.Close()
		s.conn = nil
		if fresh || attempt > 0 || ctx.Err() != nil {
			return nil, err
		}
	}
}

// close ends the connection, if there is one.
func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		s.conn.end()
		s.conn = nil
	}
}

// errorCode returns the number of the server's error in err, or 0.
func errorCode(err error) uint16 {
	if e, ok := errors.AsType[*gomysql.MyError](err); ok {
		return e.Code
	}
	return 0
}

// transientNet reports whether err is of a connection and may go away.
func transientNet(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, gomysql.ErrBadConn) || errors.Is(err, os.ErrDeadlineExceeded)
}
