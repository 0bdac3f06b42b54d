//go:build !linux

package embedded

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// directChild says that the process we start is the server itself.
const directChild = false

// bindToParent runs the command under a shell that sends it a signal when the
// pipe from this program closes, as it does however this program ends.
func bindToParent(cmd *exec.Cmd, end syscall.Signal) (release func(), err error) {
	return bindByPipe(cmd, end)
}

// launcher gives commands the user that PostgreSQL is to run as.
type launcher struct{ attr syscall.SysProcAttr }

func newLauncher(context.Context, Programs, string) (launcher, error) {
	if os.Geteuid() == 0 {
		return launcher{}, fmt.Errorf("PostgreSQL does not run as root: run this as an ordinary user")
	}
	return launcher{}, nil
}

func (l launcher) apply(cmd *exec.Cmd) {
	attr := l.attr
	cmd.SysProcAttr = &attr
}

func (l launcher) own(string) error { return nil }

// clearLeftover leaves a postmaster.pid to PostgreSQL, which takes it over when
// its process is gone.
func clearLeftover(context.Context, string) error { return nil }
