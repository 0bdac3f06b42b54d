// Command services starts the real servers that the tests need, and stops them.
//
//	services start               starts what is needed, prints export lines for the shell
//	services stop                stops all servers of this checkout
//	services run -- COMMAND …    starts, runs the command with the addresses in its
//	                             environment, stops what it started (KEEP=1: leaves it)
//
// An address that stands in the environment already is only asked whether it
// answers.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"cdc/integration/servers"
	"cdc/internal/services"
	"cdc/internal/servicetest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "services:", err)
		code = 1
	}
	stop()
	os.Exit(code)
}

func command(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	if len(args) == 0 {
		args = []string{""}
	}
	switch args[0] {
	case "start":
		env, _, err := start(ctx, stderr)
		if err != nil {
			return 1, err
		}
		for _, kv := range env {
			fmt.Fprintf(stdout, "export %s='%s'\n", kv[0], kv[1])
		}
		return 0, nil
	case "stop":
		p, _, err := servers.Open(ctx, stderr)
		if err != nil {
			return 1, err
		}
		return 0, p.StopAll(ctx)
	case "run":
		args = args[1:]
		if len(args) > 0 && args[0] == "--" {
			args = args[1:]
		}
		if len(args) > 0 {
			return within(ctx, args, stdout, stderr)
		}
	}
	return 2, errors.New("usage: services start | stop | run -- COMMAND …")
}

// start starts what the environment does not name, and returns the environment
// for the tests and what it started.
func start(ctx context.Context, stderr io.Writer) (env [][2]string, started []servers.Server, err error) {
	p, home, err := servers.Open(ctx, stderr)
	if err != nil {
		return nil, nil, err
	}
	type service struct {
		variable string
		server   servers.Server
		ping     func(context.Context, string) error
	}
	wanted := []service{
		{"CDC_TEST_POSTGRES_URL", p.Postgres("postgres", 0, map[string]string{"fsync": "off"}), servers.PingPostgres},
		{"CDC_TEST_KAFKA_BROKERS", p.Kafka("kafka"), servers.PingKafka},
		{"CDC_TEST_REGISTRY_URL", p.Registry("registry"), servers.PingRegistry},
	}
	for _, major := range services.PostgresMajors() {
		wanted = append(wanted, service{
			fmt.Sprintf("CDC_TEST_POSTGRES_%d_URL", major),
			p.Postgres(fmt.Sprintf("postgres-%d", major), major, map[string]string{"fsync": "off"}), servers.PingPostgres,
		})
	}
	env = make([][2]string, len(wanted)+1)
	errs := make([]error, len(env))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, w := range wanted {
		env[i] = [2]string{w.variable, os.Getenv(w.variable)}
		wg.Go(func() {
			if env[i][1] != "" {
				ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
				defer cancel()
				if err := w.ping(ctx, env[i][1]); err != nil {
					errs[i] = fmt.Errorf("%s is set, but does not answer (unset it to have one started): %w", w.variable, err)
				}
				return
			}
			fresh, err := w.server.Start(ctx)
			if fresh {
				mu.Lock()
				started = append(started, w.server)
				mu.Unlock()
			}
			env[i][1], errs[i] = w.server.Address(), err
		})
	}
	wg.Go(func() {
		last := len(wanted)
		env[last] = [2]string{"CDC_TEST_PYTHON", os.Getenv("CDC_TEST_PYTHON")}
		if env[last][1] == "" {
			env[last][1], errs[last] = home.Python(ctx)
		}
	})
	wg.Wait()
	return env, started, errors.Join(errs...)
}

// noteStarted makes the file in which tests note the servers that they started,
// and returns it with what stops those and removes it.
func noteStarted(ctx context.Context, stderr io.Writer) (file string, stop func(), err error) {
	home, err := services.Find(stderr)
	if err != nil {
		return "", nil, err
	}
	f, err := os.CreateTemp("", "cdc-services-*")
	if err != nil {
		return "", nil, err
	}
	file = f.Name()
	return file, func() {
		names, err := os.ReadFile(file)
		for name := range strings.FieldsSeq(string(names)) {
			err = errors.Join(err, home.StopNamed(context.WithoutCancel(ctx), name))
		}
		if err = errors.Join(err, os.Remove(file)); err != nil {
			fmt.Fprintln(stderr, "services:", err)
		}
	}, f.Close()
}

// within runs a command with the services' addresses, and returns its exit code.
func within(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	env, started, err := start(ctx, stderr)
	if os.Getenv("KEEP") != "1" {
		list, stop, err := noteStarted(ctx, stderr)
		if err != nil {
			return 1, err
		}
		env = append(env, [2]string{servicetest.EnvStarted, list})
		defer stop()
		defer func() {
			for _, s := range slices.Backward(started) {
				if err := s.Stop(context.WithoutCancel(ctx)); err != nil {
					fmt.Fprintln(stderr, "services:", err)
				}
			}
		}()
	}
	if err != nil {
		return 1, err
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdin, stdout, stderr, os.Environ()
	for _, kv := range env {
		cmd.Env = append(cmd.Env, kv[0]+"="+kv[1])
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}
