//go:build !linux

package dial

import "time"

// setUserTimeout does nothing: keep-alive alone has to do.
func setUserTimeout(uintptr, time.Duration) error { return nil }
