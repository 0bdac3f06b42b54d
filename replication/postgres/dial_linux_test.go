package postgres

import (
	"context"
	"net"
	"syscall"
	"testing"
)

// TestConnectionKnowsWhenTheServerIsGone reads the options of the connections
// that a source has: the system's own take a quarter of an hour to give one up.
func TestConnectionKnowsWhenTheServerIsGone(t *testing.T) {
	d := newTestDB(t)
	cfg := d.config("public.t")
	repl, err := cfg.connectReplication(t.Context(), withLowWater)
	if err != nil {
		t.Fatal(err)
	}
	defer repl.Close(context.Background())
	ordinary := newSession(&cfg)
	conn, err := ordinary.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ordinary.close(context.Background())
	for name, c := range map[string]net.Conn{"replication": lowWaterOf(repl.Conn()).Conn, "ordinary": conn.PgConn().Conn()} {
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			t.Fatalf("%s connection: a %T", name, c)
		}
		raw, err := tcp.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		for name, option := range map[string]struct{ level, name, want int }{
			"user timeout": {syscall.IPPROTO_TCP, 0x12, 60_000}, // TCP_USER_TIMEOUT, tcp(7)
			"keep-alive":   {syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
			"idle":         {syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 30},
		} {
			var got int
			if ctlErr := raw.Control(func(fd uintptr) { got, err = syscall.GetsockoptInt(int(fd), option.level, option.name) }); ctlErr != nil {
				t.Fatal(ctlErr)
			}
			if err != nil || got != option.want {
				t.Errorf("%s: %d, %v; want %d", name, got, err, option.want)
			}
		}
	}
}
