package mysql

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	gorepl "github.com/go-mysql-org/go-mysql/replication"

	"cdc/replication"
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

// TestAnotherOfItsNumber: after a crash a server numbers the next transaction as it
// did the one that it lost, or that is left without its end.
func TestAnotherOfItsNumber(t *testing.T) {
	begin := func(r *reader, offset uint32) error {
		e := eventOf(gorepl.MARIADB_GTID_EVENT, append(binary.LittleEndian.AppendUint64(nil, 5), make([]byte, 11)...)) // sequence, domain and flags
		binary.LittleEndian.PutUint32(e[5:], 1)                                                                        // server
		binary.LittleEndian.PutUint32(e[13:], offset+uint32(len(e)))
		return r.take(t.Context(), e)
	}
	for _, c := range []struct {
		server, file string
		offset       uint32
		another      bool
	}{
		{"1", "binlog.000001", 400, false},
		{"1", "binlog.000002", 400, true},
		{"1", "binlog.000001", 500, true},
		{"2", "binlog.000002", 500, false}, // of another server nothing is known
		{"", "binlog.000002", 500, false},
	} {
		r, _ := offlineReader(t)
		r.done = place{form: placeMaria, maria: mariaSet{0: {server: 1, seq: 4}}}
		r.server, r.file = "1", "binlog.000001"
		if err := begin(r, 400); err != nil {
			t.Fatal(err)
		}
		r.tx.index = 3 // were handed out
		r.restart()
		r.server, r.file = c.server, c.file
		err := begin(r, c.offset)
		if c.another != replication.IsRefusal(err) || !c.another && (err != nil || r.tx.pass != 3) {
			t.Errorf("%+v: %v, passes over %d", c, err, r.tx.pass)
		}
	}
}
