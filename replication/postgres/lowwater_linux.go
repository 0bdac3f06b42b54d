package postgres

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const lowWaterWorks = true

func setLowWater(raw syscall.RawConn, n int) error {
	var err error
	if ctlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, n)
	}); ctlErr != nil {
		return ctlErr
	}
	return err
}

func setReceiveBuffer(raw syscall.RawConn, n int) error {
	var err error
	if ctlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, n)
	}); ctlErr != nil {
		return ctlErr
	}
	return err
}

// growReceiveBuffer asks for a large receive buffer. Setting one ends the
// kernel's own tuning of it, and is silently cut to net.core.rmem_max, which is
// smaller than the tuning goes on many machines: there it is left alone.
func growReceiveBuffer(raw syscall.RawConn) {
	text, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	if err != nil {
		return
	}
	if limit, err := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || limit < receiveBuffer {
		return
	}
	setReceiveBuffer(raw, receiveBuffer) //nolint:errcheck // a smaller buffer works too
}
