// Package integration runs the built binary against real services: PostgreSQL,
// Apache Kafka and a registry, whose addresses stand in the environment (see
// `make test`).
package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"cdc/internal/services"
)

// The binary under test: with the race detector, and as it is shipped, for the
// tests that measure memory.
var binary, shippedBinary string

func TestMain(m *testing.M) {
	code, err := build(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func build(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "cdc-integration-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	root, err := services.Root()
	if err != nil {
		return 1, err
	}
	binary, shippedBinary = filepath.Join(dir, "cdc-race"), filepath.Join(dir, "cdc")
	for _, args := range [][]string{{"build", "-race", "-o", binary}, {"build", "-o", shippedBinary}} {
		cmd := exec.Command("go", append(args, "./cmd/cdc")...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("go build ./cmd/cdc: %w\n%s", err, out)
		}
	}
	code := m.Run()
	return code, stopDebezium()
}
