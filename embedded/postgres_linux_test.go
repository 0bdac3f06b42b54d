package embedded

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPostgresOrdinaryUser runs everything again as a user without privileges.
func TestPostgresOrdinaryUser(t *testing.T) {
	cmd, out := helper(t, nobody, "TestHelperExercise")
	text, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(string(text), "--- PASS: TestHelperExercise") {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestPostgresRootWithoutNamespace runs it as root where the kernel forbids
// user namespaces.
func TestPostgresRootWithoutNamespace(t *testing.T) {
	t.Setenv("CDC_EMBEDDED_NO_USERNS", "1")
	dir := filepath.Join(socketDir(t), "pg")
	exercise(t, dir)
	if os.Geteuid() != 0 {
		return // an ordinary user runs it as they are
	}
	info, err := os.Stat(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != nobody {
		t.Errorf("the data belong to user %d, want %d", uid, nobody)
	}
}

// TestHelperExercise does its work only in the process of the test above.
func TestHelperExercise(t *testing.T) {
	home := os.Getenv("EMBEDDED_HELPER")
	if home == "" {
		return
	}
	if os.Geteuid() == 0 {
		t.Error("this should run as an ordinary user")
	}
	exercise(t, filepath.Join(home, "pg"))
}

// TestPostgresEndsWithParent kills a process that started a server: the server
// must end too, and a start in its folder must find the data.
func TestPostgresEndsWithParent(t *testing.T) {
	cmd, out := helper(t, 0, "TestHelperParent")
	pid, dir := 0, ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "server "); ok {
			number, folder, _ := strings.Cut(rest, " ")
			pid, _ = strconv.Atoi(number)
			dir = folder
			break
		}
	}
	if pid == 0 {
		t.Fatalf("the helper started no server: %v", cmd.Wait())
	}
	data := filepath.Join(dir, "data")
	if !runsIn(pid, data) {
		t.Errorf("no server %d in %s", pid, data)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	for deadline := time.Now().Add(2 * time.Minute); runsIn(pid, data); {
		if time.Now().After(deadline) {
			t.Fatalf("server %d outlives its parent", pid)
		}
		if err := pause(t.Context(), 5*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	p := startPostgres(t, dir)
	if got := query(t, p.URL("postgres"), `SELECT n FROM kept`); got != "7" {
		t.Errorf("the table holds %q", got)
	}
}

// TestHelperParent starts a server, says so, and waits to be killed.
func TestHelperParent(t *testing.T) {
	home := os.Getenv("EMBEDDED_HELPER")
	if home == "" {
		return
	}
	dir := filepath.Join(home, "pg")
	p := startPostgres(t, dir)
	query(t, p.URL("postgres"), `CREATE TABLE kept AS SELECT 7 AS n`)
	fmt.Printf("server %d %s\n", p.PID(), dir)
	select {}
}
