//go:build !linux

package postgres

import (
	"errors"
	"syscall"
)

const lowWaterWorks = false

func setLowWater(syscall.RawConn, int) error { return errors.ErrUnsupported }

func setReceiveBuffer(syscall.RawConn, int) error { return errors.ErrUnsupported }

func growReceiveBuffer(syscall.RawConn) {}
