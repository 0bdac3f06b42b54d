package embedded

import (
	"os/exec"
	"runtime"
	"syscall"
)

// process is a running server. One goroutine waits for it.
type process struct {
	cmd  *exec.Cmd
	pid  func() int    // what the server itself says that its process id is
	done chan struct{} // closed when it has ended
	err  error         // why; read after done
}

// startProcess starts the command in a process group of its own, so that a
// Ctrl-C in the terminal reaches only this program, which ends the server when
// it is time, and so that it gets the signal end when this program ends.
func startProcess(cmd *exec.Cmd, end syscall.Signal, pid func() int) (*process, error) {
	p := &process{cmd: cmd, pid: pid, done: make(chan struct{})}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	release, err := bindToParent(cmd, end)
	if err != nil {
		return nil, err
	}
	started := make(chan error)
	go func() {
		// Linux sends the signal for a parent's death when the thread ends that
		// started the child: this one stays until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			release()
			return
		}
		p.err = cmd.Wait()
		release()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// server returns the server's process id.
func (p *process) server() int {
	if directChild {
		return p.cmd.Process.Pid
	}
	return p.pid()
}

// signal sends the server a signal, unless it has ended.
func (p *process) signal(s syscall.Signal) {
	select {
	case <-p.done:
		return
	default:
	}
	if directChild {
		_ = p.cmd.Process.Signal(s) // the error is that it has ended just now
	} else if pid := p.server(); pid > 0 {
		_ = syscall.Kill(pid, s)
	}
}
