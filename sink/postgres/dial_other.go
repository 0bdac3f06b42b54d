//go:build !linux

package postgres

import "time"

// setUserTimeout does nothing: keep-alive alone has to do.
func setUserTimeout(uintptr, time.Duration) error { return nil }
