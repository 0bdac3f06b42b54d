package mysql

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
)

const (
	packetBuffer = 256 << 10
	maxPayload   = 1<<24 - 1 // a packet of this length goes on in the next one
)

// packets reads the packets of a connection on which the server alone speaks:
// a binlog dump, or a large result. One goroutine owns it.
type packets struct {
	conn net.Conn
	buf  []byte
	r, w int    // buf[r:w] has been received and not been handed out
	long []byte // of a packet that does not fit into buf, or goes on in another
	// silence is how long the server may say nothing before the connection
	// counts as lost; 0 is for ever.
	silence time.Duration
	// isCut says that reading shall fail from now on; nil never does.
	isCut func() bool
}

func newPackets(c *conn, silence time.Duration) *packets {
	return &packets{conn: c.Conn.Conn, buf: make([]byte, packetBuffer), silence: silence, isCut: c.isCut.Load}
}

// arrived reports whether next would return at once.
func (p *packets) arrived() bool {
	have := p.w - p.r
	if have < 4 {
		return false
	}
	n := p.length()
	return n < maxPayload && have >= 4+n
}

func (p *packets) length() int {
	h := p.buf[p.r:]
	return int(h[0]) | int(h[1])<<8 | int(h[2])<<16
}

// next returns the payload of the next packet, which is valid until the next
// call.
func (p *packets) next() ([]byte, error) {
	if err := p.fill(4); err != nil {
		return nil, err
	}
	n := p.length()
	if 4+n <= len(p.buf) && n < maxPayload {
		if err := p.fill(4 + n); err != nil {
			return nil, err
		}
		b := p.buf[p.r+4 : p.r+4+n]
		p.r += 4 + n
		if len(p.long) > 0 || cap(p.long) > 0 {
			p.long = nil // a rare giant: its memory is not kept
		}
		return b, nil
	}
	p.long = p.long[:0]
	for {
		if err := p.fill(4); err != nil {
			return nil, err
		}
		n := p.length()
		p.r += 4
		at := len(p.long)
		p.long = append(p.long, make([]byte, n)...)
		have := copy(p.long[at:], p.buf[p.r:p.w])
		p.r += have
		if err := p.readFull(p.long[at+have:]); err != nil {
			return nil, err
		}
		if n < maxPayload {
			return p.long, nil
		}
	}
}

// fill reads until n bytes are there to be taken; n fits into buf.
func (p *packets) fill(n int) error {
	if p.w-p.r >= n {
		return nil
	}
	if p.r+n > len(p.buf) || p.r == p.w {
		p.w = copy(p.buf, p.buf[p.r:p.w])
		p.r = 0
	}
	for p.w-p.r < n {
		p.patience()
		got, err := p.conn.Read(p.buf[p.w:])
		p.w += got
		if err != nil && p.w-p.r < n {
			return lost(err)
		}
	}
	return nil
}

func (p *packets) readFull(b []byte) error {
	for len(b) > 0 {
		p.patience()
		got, err := p.conn.Read(b)
		b = b[got:]
		if err != nil && len(b) > 0 {
			return lost(err)
		}
	}
	return nil
}

func (p *packets) patience() {
	if p.silence > 0 {
		p.conn.SetReadDeadline(time.Now().Add(p.silence))
	}
	if p.isCut != nil && p.isCut() { // it may have been just before
		p.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// lost says that a connection broke.
func lost(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("connection lost: %w", err)
}

// serverError reads an error packet: MySQL internals manual, "ERR_Packet".
func serverError(body []byte) error {
	c := cursor{B: body}
	c.U8() // 0xff
	e := &gomysql.MyError{Code: c.LE16()}
	if len(c.B) > 0 && c.B[0] == '#' {
		c.U8()
		e.State = string(c.Bytes(5))
	}
	e.Message = string(c.B)
	return e
}
