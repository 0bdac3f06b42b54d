package postgres

import (
	"net"
	"syscall"
	"testing"
)

// TestConnectionKnowsWhenTheServerIsGone reads the options of the connection
// that a Writer really has.
func TestConnectionKnowsWhenTheServerIsGone(t *testing.T) {
	tg := newTarget(t, Config{})
	tcp, ok := tg.w.conn.Conn().(*net.TCPConn)
	if !ok {
		t.Fatalf("a %T", tg.w.conn.Conn())
	}
	raw, err := tcp.SyscallConn()
	tg.Must(err)
	for name, option := range map[string]struct{ level, name, want int }{
		"user timeout": {syscall.IPPROTO_TCP, 0x12, 60_000}, // TCP_USER_TIMEOUT, tcp(7)
		"keep-alive":   {syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		"idle":         {syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 30},
	} {
		var got int
		tg.Must(raw.Control(func(fd uintptr) { got, err = syscall.GetsockoptInt(int(fd), option.level, option.name) }))
		if err != nil || got != option.want {
			t.Errorf("%s: %d, %v; want %d", name, got, err, option.want)
		}
	}
}
