// Package embedded starts what a capture needs besides itself, on this machine
// and without any set-up: a broker (franz-go's kfake), a schema registry and a
// PostgreSQL server. It serves the demo, development on one machine and tests.
//
// None of it is for production. The broker is one process without replication
// or failover, the registry answers to anybody, all listen on loopback only,
// and each holds a lock on its folder so that no second one opens it.
package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// loopback is the only address that anything here listens on by default.
const loopback = "127.0.0.1"

// ErrInUse says that another process has the folder of a service.
var ErrInUse = errors.New("in use by another process")

// lockDir makes the folder when it is not there and takes its lock, which lasts
// until the file is closed or the process ends, however it ends.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("folder %s: %w", dir, ErrInUse)
		}
		return nil, fmt.Errorf("lock folder %s: %w", dir, err)
	}
	return f, nil
}

// keptPort returns the port that a former start left in the file, or 0.
func keptPort(file string) (int, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read port: %w", err)
	}
	port, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || port < 1 || port > 65535 {
		return 0, fmt.Errorf("read port: %s holds %q", file, text)
	}
	return port, nil
}

// keepPort leaves the port for the next start.
func keepPort(file string, port int) error {
	if err := os.WriteFile(file, []byte(strconv.Itoa(port)+"\n"), 0o600); err != nil {
		return fmt.Errorf("keep port: %w", err)
	}
	return nil
}

// freePort returns a port of loopback that is free now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
