// Package dial makes connections to databases that notice when the other side has
// gone.
package dial

import (
	"net"
	"strings"
	"syscall"
	"time"
)

// deadAfter is about how long a server may be silent on the level of TCP until
// the connection counts as lost. By default the operating system waits for a
// quarter of an hour for an answer to what was sent, and a firewall that has
// forgotten an idle connection gives none.
const deadAfter = 60 * time.Second

// New returns a Dialer whose connections end about a minute after the other side
// has gone.
func New() *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: deadAfter / 2, Interval: deadAfter / 6, Count: 3},
		Control: func(network, _ string, c syscall.RawConn) error {
			if !strings.HasPrefix(network, "tcp") {
				return nil
			}
			var err error
			if e := c.Control(func(fd uintptr) { err = setUserTimeout(fd, deadAfter) }); e != nil {
				return e
			}
			return err
		},
	}
}
