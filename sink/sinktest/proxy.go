package sinktest

import (
	"net"
	"net/url"
	"sync/atomic"
	"testing"

	"cdc/secret"
)

// Proxy stands between a Writer and the server, and can lose the answer to a
// COMMIT.
type Proxy struct {
	Armed atomic.Bool // the next COMMIT's answer is lost, with the connection
	Lost  atomic.Int32

	t        *testing.T
	addr     string
	sent     func(request []byte) bool
	answered func(answer []byte) bool
}

// NewProxy starts a proxy of the server's address, until the test ends. sent
// tells whether a request has a COMMIT at its end, answered whether the server's
// bytes after that have the answer.
func NewProxy(t *testing.T, server string, sent, answered func([]byte) bool) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &Proxy{t: t, addr: l.Addr().String(), sent: sent, answered: answered}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c, server)
		}
	}()
	return p
}

func (p *Proxy) serve(c net.Conn, server string) {
	defer c.Close()
	s, err := (&net.Dialer{}).DialContext(p.t.Context(), "tcp", server)
	if err != nil {
		return
	}
	defer s.Close()
	var cut atomic.Bool
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, err := c.Read(buf)
			if p.sent(buf[:n]) && p.Armed.CompareAndSwap(true, false) {
				cut.Store(true)
			}
			if _, werr := s.Write(buf[:n]); err != nil || werr != nil {
				s.Close()
				return
			}
		}
	}()
	buf := make([]byte, 1<<16)
	for {
		n, err := s.Read(buf)
		if err != nil {
			return
		}
		if cut.Load() && p.answered(buf[:n]) {
			p.Lost.Add(1)
			return // the server has committed; nobody hears of it
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

// URL is the server's URL by way of the proxy.
func (p *Proxy) URL(server string) secret.String {
	p.t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		p.t.Fatal(err)
	}
	u.Host = p.addr
	return secret.New(u.String())
}
