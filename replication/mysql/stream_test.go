package mysql

import (
	"net"
	"testing"
	"time"
)

// TestHalfPacket: whoever takes batches, or asks for the state, does not wait for
// the rest of a packet that is on its way.
func TestHalfPacket(t *testing.T) {
	t.Parallel()
	server, client := net.Pipe()
	defer server.Close()
	r, _ := offlineReader(t)
	s := &stream{cfg: r.cfg, pool: newBatchPool(1<<20, 4), reader: r, ready: make(chan struct{}, 1), space: make(chan struct{}, 1), handedAt: time.Now()}
	ended := make(chan error, 1)
	go func() { ended <- s.receive(t.Context(), &packets{conn: client, buf: make([]byte, 1024)}) }()
	// The length, the number, then 0xff: an error of the server's. A write returns
	// when the other side has read it all.
	for _, part := range []string{"\x04", "\x00\x00\x00\xff", "\x01"} {
		if _, err := server.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
		if !s.mu.TryLock() {
			t.Fatal("the stream is locked while a packet is on its way")
		}
		s.mu.Unlock()
	}
	if _, err := server.Write([]byte("\x02x")); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; errorCode(err) != 0x201 {
		t.Errorf("receive ended with %v", err)
	}
}
