package embedded

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// watchdog runs its arguments but the first, which is the number of a signal that
// it sends them when its standard input closes.
const watchdog = `exec 3<&0
end=$1; shift
"$@" 3<&- </dev/null &
server=$!
{ read -r x; kill -"$end" "$server"; } <&3 2>/dev/null &
reader=$!
exec 3<&-
wait "$server"; status=$?
kill "$reader" 2>/dev/null
exit "$status"`

// bindByPipe puts the command under the watchdog, whose standard input is a pipe
// that this program holds open: it closes when the program ends, on every
// system and however it ends.
func bindByPipe(cmd *exec.Cmd, end syscall.Signal) (release func(), err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	cmd.Args = append([]string{"sh", "-c", watchdog, "watchdog", strconv.Itoa(int(end)), cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.Stdin = r
	return func() { r.Close(); w.Close() }, nil
}
