package postgres

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"
)

// tcpPair returns both ends of a connection, the first wrapped: as it is on
// loopback, or with the low-water mark.
func tcpPair(t *testing.T, gather bool) (*lowWaterConn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := newLowWaterConn(a)
	if lowWaterWorks && !c.gather {
		t.Fatal("a loopback connection does not gather")
	}
	if !gather && c.gather {
		c.gather = false
		growReceiveBuffer(c.raw)
	}
	c.enable()
	t.Cleanup(func() { c.Close(); b.Close() })
	return c, b
}

func write(t *testing.T, c net.Conn, n int) {
	t.Helper()
	if _, err := c.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
}

// TestLowWater sends a burst, its tail, and nothing: the reader turns fast, gets
// the tail, and turns slow.
func TestLowWater(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // there is nothing to adapt
	}
	for _, gather := range []bool{true, false} {
		c, peer := tcpPair(t, gather)
		buf := make([]byte, 1<<20)
		read := func() int {
			t.Helper()
			n, err := c.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		write(t, peer, 10)
		if n := read(); n != 10 || c.fast {
			t.Fatalf("gather %v: read %d, fast %v", gather, n, c.fast)
		}
		for !c.fast { // the window may end in between on a slow machine
			sent := make(chan struct{})
			go func() { // the peer cannot send it all before we read
				defer close(sent)
				write(t, peer, lowWater)
			}()
			for got := 0; got < lowWater; {
				got += read()
			}
			<-sent
		}
		began := time.Now()
		write(t, peer, 100)
		if n := read(); n != 100 {
			t.Fatalf("gather %v: the tail has %d bytes", gather, n)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("gather %v: the tail took %s", gather, took)
		}
		turnsSlow(t, c, buf)
	}
}

// turnsSlow has nothing come any more: the reader turns slow, and waits for any
// byte. On a busy machine a deadline may have passed before it was looked at.
func turnsSlow(t *testing.T, c *lowWaterConn, buf []byte) {
	t.Helper()
	for deadline := time.Now().Add(patience); c.fast || c.low != 1; {
		c.SetReadDeadline(time.Now().Add(4 * lowWaterCalm))
		if n, err := c.Read(buf); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("gather %v: read %d of nothing, %v", c.gather, n, err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("gather %v: still fast: %v, low-water mark %d", c.gather, c.fast, c.low)
		}
	}
	c.SetReadDeadline(time.Time{})
}

// TestLowWaterTrickle has a fast reader get a few bytes all the time: it must
// turn slow, or each of them would wait.
func TestLowWaterTrickle(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // there is nothing to adapt
	}
	for _, gather := range []bool{true, false} {
		c, peer := tcpPair(t, gather)
		c.fast, c.windowStart = true, time.Now()
		buf := make([]byte, 1<<20)
		for deadline := time.Now().Add(patience); c.fast; {
			write(t, peer, 100)
			if n, err := c.Read(buf); n == 0 || err != nil {
				t.Fatalf("gather %v: read %d, %v", gather, n, err)
			}
			if time.Now().After(deadline) {
				t.Fatalf("gather %v: still fast", gather)
			}
		}
	}
}

// TestLowWaterReview is the rule that turns slow.
func TestLowWaterReview(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		past  time.Duration
		bytes int
		fast  bool
	}{
		{lowWaterCalm - 1, 0, true}, // too early to tell
		{lowWaterCalm, lowWaterStay, true},
		{lowWaterCalm, lowWaterStay - 1, false},
		{2 * lowWaterCalm, 2 * lowWaterStay, true},
		{2 * lowWaterCalm, lowWaterStay, false},
		{time.Hour, 1 << 30, false},
	} {
		c := &lowWaterConn{fast: true, windowStart: now.Add(-tt.past), windowBytes: tt.bytes}
		if c.review(now); c.fast != tt.fast {
			t.Errorf("%d bytes in %s: fast is %v", tt.bytes, tt.past, c.fast)
		}
	}
}

// TestLowWaterDeadlines holds a caller's deadline and a wake against the
// deadlines of the connection's own, slow and fast.
func TestLowWaterDeadlines(t *testing.T) {
	for mode := range 4 {
		fast := mode&1 != 0
		c, peer := tcpPair(t, mode&2 != 0)
		turn := func() { c.fast, c.windowStart, c.windowBytes = fast && c.raw != nil, time.Now(), 0 }
		turn()
		buf := make([]byte, 1<<20)
		began := time.Now()
		c.SetReadDeadline(began.Add(30 * time.Millisecond))
		if n, err := c.Read(buf); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read %d, %v", n, err)
		}
		if took := time.Since(began); took < 30*time.Millisecond {
			t.Errorf("the deadline came after %s", took)
		}
		c.SetReadDeadline(time.Time{})
		turn()
		c.wake()
		if _, err := c.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("woken before: %v", err)
		}
		go c.wake()
		for !c.woken.Load() {
			runtime.Gosched()
		}
		if _, err := c.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("woken: %v", err)
		}
		// Afterwards it reads as ever. A wake may show twice.
		write(t, peer, 5)
		n, err := c.Read(buf)
		for errors.Is(err, os.ErrDeadlineExceeded) {
			n, err = c.Read(buf)
		}
		if n != 5 || err != nil {
			t.Fatalf("read %d, %v", n, err)
		}
		peer.Close()
		if _, err := c.Read(buf); err != io.EOF {
			t.Fatalf("closed: %v", err)
		}
	}
}

// TestLowWaterSmallReads reads in small pieces, as TLS does.
func TestLowWaterSmallReads(t *testing.T) {
	c, peer := tcpPair(t, true)
	want := make([]byte, 300_000)
	for i := range want {
		want[i] = byte(i * 7)
	}
	go func() {
		peer.Write(want)
		peer.Close()
	}()
	var got bytes.Buffer
	if _, err := io.CopyBuffer(&got, struct{ io.Reader }{c}, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Error("the bytes differ")
	}
}

// chunks returns its bytes n at a time, with a timeout before each.
type chunks struct {
	data []byte
	n    int
	fail bool
}

func (c *chunks) Read(p []byte) (int, error) {
	if c.fail = !c.fail; c.fail {
		return 0, os.ErrDeadlineExceeded
	}
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.n)], c.data)
	c.data = c.data[n:]
	return n, nil
}

// TestExpect: a reader that is told that much comes gathers at once, one that
// is told so no more, and gets nothing, turns slow; the end of the connection is
// told in both states.
func TestExpect(t *testing.T) {
	if runtime.GOOS != "linux" {
		return
	}
	c, peer := tcpPair(t, true)
	c.expect(true)
	if !c.fast {
		t.Fatal("it waits for traffic first")
	}
	buf := make([]byte, 1<<20)
	began := time.Now()
	write(t, peer, 10)
	if n, err := c.Read(buf); n != 10 || err != nil || !c.patient {
		t.Fatalf("read %d, %v, patient %v", n, err, c.patient)
	}
	if took := time.Since(began); took < gatherLong {
		t.Errorf("read after %s, without a pause", took)
	}
	c.expect(false)
	turnsSlow(t, c, buf)
	c.expect(true)
	peer.Close()
	if n, err := c.Read(buf); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %d, %v", n, err)
	}
}

// TestWireReader cuts messages of all sizes out of chunks of all sizes.
func TestWireReader(t *testing.T) {
	sizes := []int{0, 1, 300, readBuffer - 5, readBuffer - 4, readBuffer, 3 * readBuffer, 7, 200_000, 0}
	var data []byte
	for i, n := range sizes {
		m := msg(byte('a'+i), uint32(n+4))
		data = append(append(data, m...), bytes.Repeat([]byte{byte(i)}, n)...)
	}
	for _, chunk := range []int{4099, 65536, 1 << 30} {
		w := newWireReader(&chunks{data: data, n: chunk})
		for i := 0; i < len(sizes); {
			kind, body, owned, ok, err := w.next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				if err := w.fill(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal(err)
				}
				continue
			}
			if kind != byte('a'+i) || len(body) != sizes[i] || bytes.Count(body, []byte{byte(i)}) != sizes[i] {
				t.Fatalf("chunks of %d, message %d: %q of %d bytes", chunk, i, kind, len(body))
			}
			if wantOwned := sizes[i]+5 > readBuffer; owned != wantOwned {
				t.Errorf("message of %d bytes: owned %v", sizes[i], owned)
			}
			i++
		}
		for {
			if err := w.fill(); err == io.ErrUnexpectedEOF {
				break
			} else if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("at the end: %v", err)
			}
		}
	}
	small := msg('a', uint32(6), byte(1), byte(2))
	w := newWireReader(&chunks{data: small, n: 1})
	for range 2*len(small) - 1 {
		if _, _, _, ok, err := w.next(); ok || err != nil {
			t.Fatal("a message that is not there", err)
		}
		w.fill()
	}
	w.fill()
	if kind, body, _, ok, err := w.next(); !ok || kind != 'a' || !bytes.Equal(body, []byte{1, 2}) {
		t.Errorf("byte by byte: %q %v %v %v", kind, body, ok, err)
	}
	for _, size := range []uint32{0, 3, maxMessage + 1, 0xffffffff} {
		w := newWireReader(bytes.NewReader(msg('d', size)))
		w.fill()
		if _, _, _, _, err := w.next(); err == nil {
			t.Errorf("length %d is no error", size)
		}
	}
}
