package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// The walsender writes each row with a send() of its own, and waking a sleeping
// reader for each costs both sides more than decoding. So while much arrives
// (fast) rows are made to gather, in one of two ways; while little arrives
// (slow) every byte is read at once.
//
// On loopback the receive buffer is kept as small as a segment of that
// interface, and the reader pauses for gatherPause before each read. The server
// fills the window within the first part of the pause; further rows it appends
// to its send queue, at the price of a copy instead of a packet, and the kernel
// moves them in large segments when the reader comes. Measured on two cores: 3.7
// to 4 s of CPU a million rows in the walsender instead of 6 to 7.5, and 1.7
// times the rows a second. A shorter pause ends before the window is full, and
// gains nothing.
//
// Elsewhere a small window would bound the throughput by the round trip. There
// the socket is told (SO_RCVLOWAT) to report itself readable only from lowWater
// bytes on; a deadline bounds the wait, so that the tail of a burst comes at
// most a few milliseconds late.
//
//	slow → fast  when lowWaterEnter bytes arrived within lowWaterWindow
//	fast → slow  when lowWaterCalm or more have brought less than half that rate
//
// A single wait in vain says little: the server, or we, may have been off the
// CPU for that long. Turning slow for it costs a wake-up a row until it is fast
// again, and these wake-ups are what keeps a busy machine slow.
const (
	lowWater       = 128 << 10
	lowWaterEnter  = 64 << 10
	lowWaterWindow = 10 * time.Millisecond
	lowWaterWait   = 5 * time.Millisecond
	lowWaterCalm   = 40 * time.Millisecond
	lowWaterStay   = lowWaterEnter / 2 * int(lowWaterCalm/lowWaterWindow) // in lowWaterCalm

	gatherWindow = 64 << 10 // SO_RCVBUF of a loopback connection, in bytes; the kernel doubles it
	gatherPause  = 5 * time.Millisecond
	// gatherLong is the pause where nobody waits for what comes. The longer it
	// is, the fewer rows travel in packets of their own: those that still fit into
	// the window. What gathers in it is less than the server's send buffer.
	gatherLong = 20 * time.Millisecond

	receiveBuffer = 4 << 20   // wanted for SO_RCVBUF, in bytes
	readBuffer    = 512 << 10 // of the readers in this package, in bytes
)

// withLowWater makes config's connections lowWaterConns.
func withLowWater(config *pgconn.Config) {
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return newLowWaterConn(conn), nil
	}
}

// lowWaterOf returns the lowWaterConn that conn is, or that conn's TLS is on,
// or nil.
func lowWaterOf(conn net.Conn) *lowWaterConn {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	c, _ := conn.(*lowWaterConn)
	return c
}

// lowWaterConn is a net.Conn that adapts SO_RCVLOWAT to the rate at which it is
// read, once enable was called. One goroutine reads it; the deadlines it sets
// for its own purpose do not show. On anything but TCP on Linux it only buffers.
type lowWaterConn struct {
	net.Conn
	raw syscall.RawConn // nil where there is no SO_RCVLOWAT
	// gather says that fast reads pause instead, because the receive buffer is
	// small enough for the server's rows to gather on its side.
	gather bool

	woken atomic.Bool

	mu       sync.Mutex // guards deadline, and setting it
	deadline time.Time  // the caller's
	// inner is the earlier deadline that is set instead of the caller's, or zero.
	inner time.Time

	// Of the reading goroutine:
	patient     bool // see expect
	enabled     bool
	fast        bool
	low         int // SO_RCVLOWAT as it was set last
	windowStart time.Time
	windowBytes int
	full        bool   // the last gathering read filled its buffer
	buf         []byte // for reads of less than its size, as TLS does them
	r, w        int
}

func newLowWaterConn(conn net.Conn) *lowWaterConn {
	c := &lowWaterConn{Conn: conn, low: 1}
	if tcp, ok := conn.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil && lowWaterWorks {
			c.raw = raw
			if a, ok := tcp.RemoteAddr().(*net.TCPAddr); ok && a.IP.IsLoopback() {
				c.gather = setReceiveBuffer(raw, gatherWindow) == nil
			} else {
				growReceiveBuffer(raw)
			}
		}
	}
	return c
}

// enable begins to adapt and to buffer. The reading goroutine calls it.
func (c *lowWaterConn) enable() { c.enabled = true }

// expect says that much comes now, for which nobody waits, or no more. The
// reading goroutine calls it.
func (c *lowWaterConn) expect(much bool) {
	if much && !c.patient && c.gather {
		c.fast, c.windowStart, c.windowBytes = true, time.Now(), 0
	}
	c.patient = much
}

// wake makes a Read that waits, or the next one, return
// os.ErrDeadlineExceeded. Any goroutine may call it.
func (c *lowWaterConn) wake() {
	c.woken.Store(true)
	c.mu.Lock()
	c.Conn.SetReadDeadline(time.Unix(1, 0))
	c.inner = time.Unix(1, 0)
	c.mu.Unlock()
}

// SetDeadline implements net.Conn.
func (c *lowWaterConn) SetDeadline(t time.Time) error {
	if err := c.Conn.SetWriteDeadline(t); err != nil {
		return err
	}
	return c.SetReadDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *lowWaterConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	if !c.inner.IsZero() && (t.IsZero() || c.inner.Before(t)) {
		return nil
	}
	c.inner = time.Time{}
	return c.Conn.SetReadDeadline(t)
}

// Read implements net.Conn.
func (c *lowWaterConn) Read(p []byte) (int, error) {
	if c.r < c.w {
		n := copy(p, c.buf[c.r:c.w])
		c.r += n
		return n, nil
	}
	if !c.enabled {
		return c.Conn.Read(p)
	}
	if len(p) >= lowWater {
		return c.read(p)
	}
	if c.buf == nil {
		c.buf = make([]byte, readBuffer)
	}
	n, err := c.read(c.buf)
	c.r, c.w = 0, n
	if n == 0 {
		return 0, err
	}
	c.r = copy(p, c.buf[:n])
	return c.r, nil // the error, if there is one, comes again
}

// read reads the socket once, as fast or as slow as the traffic is.
func (c *lowWaterConn) read(p []byte) (int, error) {
	for c.fast && c.gather && !c.woken.Load() {
		c.mark(lowWater) // nobody waits, but the network poller would be woken for every packet
		if n, err := c.gathered(p); n > 0 || err != nil {
			return n, err
		}
	}
	for got := 0; ; {
		now := time.Now()
		if err := c.arm(now); err != nil {
			return got, err
		}
		if c.woken.Load() {
			if got > 0 {
				return got, nil // the next read returns at once
			}
			c.rest()
			c.woken.Store(false)
			return 0, os.ErrDeadlineExceeded
		}
		n, err := c.Conn.Read(p[got:])
		if n > 0 {
			c.count(n)
			// Go reads before it waits, so a quick reader gets what arrived while
			// it worked on the last bytes, a message or two: they wait for more.
			if got += n; c.waits() && err == nil && got < lowWater && got < len(p) {
				continue
			}
			return got, err
		}
		if got > 0 {
			c.expire(err)
			return got, nil // an error comes again
		}
		if c.expire(err) {
			continue
		}
		return n, err
	}
}

// expire reports whether err is the end of a fast wait, and turns slow if little
// has come for some time.
func (c *lowWaterConn) expire(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || c.woken.Load() || !c.rest() {
		return false
	}
	c.review(time.Now())
	return true
}

// review turns slow if little has come for some time.
func (c *lowWaterConn) review(now time.Time) {
	if past := now.Sub(c.windowStart); past >= lowWaterCalm {
		calm := int64(c.windowBytes)*int64(lowWaterCalm) < int64(lowWaterStay)*int64(past)
		c.fast, c.windowStart, c.windowBytes = !calm, now, 0
	}
}

// gathered pauses, and then reads what there is. It returns 0 and no error when
// that is nothing, or when the connection has ended, which slow reads tell.
func (c *lowWaterConn) gathered(p []byte) (got int, err error) {
	if pause := gatherPause; !c.full {
		if c.patient {
			pause = gatherLong
		}
		time.Sleep(pause) //nolint:forbidigo // no event tells that rows have gathered
	}
	err = c.raw.Read(func(fd uintptr) bool {
		for got < len(p) {
			n, err := syscall.Read(int(fd), p[got:])
			if n == 0 && err == nil { // the end
				c.fast = false
			}
			if n <= 0 {
				break
			}
			got += n
		}
		return true
	})
	c.full = got == len(p)
	if got > 0 {
		c.count(got)
		err = nil // it comes again
	}
	c.review(time.Now()) // also of a trickle, which has something in every pause
	return got, err
}

// waits reports whether a read waits for lowWater bytes.
func (c *lowWaterConn) waits() bool { return c.fast && !c.gather }

// arm sets the low-water mark and the deadline for the next read.
func (c *lowWaterConn) arm(now time.Time) error {
	if c.raw == nil {
		return nil
	}
	if !c.waits() {
		c.mark(1)
		c.rest()
		return nil
	}
	c.mark(lowWater)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner.Sub(now) > lowWaterWait/2 || c.woken.Load() {
		return nil // set a moment ago: it will do, and setting it costs
	}
	if t := now.Add(lowWaterWait); c.deadline.IsZero() || t.Before(c.deadline) {
		c.inner = t
		return c.Conn.SetReadDeadline(t)
	}
	return nil
}

// mark sets the low-water mark.
func (c *lowWaterConn) mark(n int) {
	if n == c.low || c.raw == nil {
		return
	}
	c.low = n
	if err := setLowWater(c.raw, n); err != nil {
		// Not every kernel or sandbox has it: then never again.
		c.raw, c.gather, c.fast, c.low = nil, false, false, 1
	}
}

// rest sets the caller's deadline again if an inner one was set, and reports
// whether one was and the caller's has not passed.
func (c *lowWaterConn) rest() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner.IsZero() {
		return false
	}
	c.inner = time.Time{}
	c.Conn.SetReadDeadline(c.deadline)
	return c.deadline.IsZero() || time.Now().Before(c.deadline)
}

// count is told of n bytes that arrived.
func (c *lowWaterConn) count(n int) {
	if c.raw == nil {
		return
	}
	if !c.fast {
		if now := time.Now(); now.Sub(c.windowStart) > lowWaterWindow {
			c.windowStart, c.windowBytes = now, 0
		}
	}
	if c.windowBytes += n; !c.fast && c.windowBytes >= lowWaterEnter {
		c.fast = true
	}
}
