package embedded

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// directChild says that the process we start is the server itself.
const directChild = true

// nobody is the user that PostgreSQL sees itself as when we are root.
const nobody = 65534

// bindToParent makes the kernel send the server a signal when this program
// ends, however it ends.
func bindToParent(cmd *exec.Cmd, end syscall.Signal) (release func(), err error) {
	cmd.SysProcAttr.Pdeathsig = end
	return func() {}, nil
}

// launcher gives commands the user that PostgreSQL is to run as.
type launcher struct{ attr syscall.SysProcAttr }

// newLauncher settles how. An ordinary user runs it as they are. For root a
// user namespace in which root appears as nobody is the better way: root's
// files stay readable and nothing changes owner. Where the kernel forbids
// that, it runs as nobody and the folder becomes nobody's.
func newLauncher(ctx context.Context, programs Programs, dir string) (launcher, error) {
	if os.Geteuid() != 0 {
		return launcher{}, nil
	}
	ways := []launcher{
		{syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: nobody, HostID: 0, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Getegid(), Size: 1}},
		}},
		{syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}},
	}
	if os.Getenv("CDC_EMBEDDED_NO_USERNS") != "" { // to try the second way where the first one works
		ways = ways[1:]
	}
	var last error
	for _, way := range ways {
		if err := way.own(dir); err != nil {
			return launcher{}, err
		}
		// In the folder: a user that may not enter it cannot start there.
		cmd := exec.CommandContext(ctx, filepath.Join(programs.Bin, "postgres"), "--version")
		cmd.Dir = dir
		way.apply(cmd)
		if last = cmd.Run(); last == nil {
			return way, nil
		}
	}
	return launcher{}, fmt.Errorf("run PostgreSQL as another user than root, in a user namespace or as user %d: %w; "+
		"use a folder that every user may enter, or run as an ordinary user", nobody, last)
}

// apply prepares a command.
func (l launcher) apply(cmd *exec.Cmd) {
	attr := l.attr
	cmd.SysProcAttr = &attr
}

// own makes a file or folder the server's user's.
func (l launcher) own(path string) error {
	if l.attr.Credential == nil {
		return nil
	}
	if err := os.Chown(path, nobody, nobody); err != nil {
		return fmt.Errorf("give %s to the server's user: %w", path, err)
	}
	return nil
}

// clearLeftover ends a server that still runs in the data folder: we hold the
// folder's lock, so whoever started it is gone. It removes a postmaster.pid
// whose process is another one, or an ended one that init has not collected,
// since PostgreSQL takes both for a running server.
func clearLeftover(ctx context.Context, data string) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	signalled := 0
	for {
		pid, _ := pidFile(data)
		if pid == 0 {
			return nil
		}
		if !runsIn(pid, data) {
			if err := os.Remove(filepath.Join(data, "postmaster.pid")); err != nil && !os.IsNotExist(err) {
				return fmt.Errorf("remove leftover: %w", err)
			}
			return nil
		}
		if pid != signalled {
			signalled = pid
			if err := syscall.Kill(pid, syscall.SIGINT); err != nil && err != syscall.ESRCH {
				return fmt.Errorf("end the server %d left over in %s: %w", pid, data, err)
			}
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("wait for the server %d left over in %s: %w", pid, data, err)
		}
	}
}

// runsIn reports whether the process is a live one whose folder is data, as a
// PostgreSQL server's is.
func runsIn(pid int, data string) bool {
	proc := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(proc + "/stat")
	if err != nil {
		return false
	}
	// pid (name) state …
	if i := bytes.LastIndexByte(stat, ')'); i < 0 || i+2 >= len(stat) || stat[i+2] == 'Z' || stat[i+2] == 'X' {
		return false
	}
	cwd, err := os.Readlink(proc + "/cwd")
	if err != nil {
		return false
	}
	want, err := filepath.EvalSymlinks(data)
	return err == nil && cwd == want
}
