// Command cdc turns a database's log into Kafka topics, and topics into tables.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/alecthomas/kong"

	"cdc/pipeline"
	"cdc/replication"
	"cdc/sink"
)

// The exit codes; `cdc --help` and docs/configuration.md list them.
const (
	exitOK        = 0
	exitFailed    = 1 // an error while running; a check that found one; a demo whose target differs
	exitUsage     = 2 // bad flags, or a bad configuration
	exitRefused   = 3 // something a person must mend; the message says how
	exitUnclean   = 4 // stopped, but not all in flight could be finished in time: it is repeated at the next start
	exitInterrupt = 130
)

type cli struct {
	Run     runCmd     `cmd:"" help:"Run all that the configuration names: the capture and every sink."`
	Capture captureCmd `cmd:"" help:"Run the capture alone: database → Kafka."`
	Sink    sinkCmd    `cmd:"" help:"Run the sinks alone: Kafka → tables."`
	Check   checkCmd   `cmd:"" help:"Connect to everything and say what is wrong and how to mend it."`
	Demo    demoCmd    `cmd:"" help:"Show it all on this machine, without any set-up."`
	Tail    tailCmd    `cmd:"" help:"Print a topic's records as JSON lines, decoded."`
	Outbox  outboxCmd  `cmd:"" help:"About outboxes."`
	Drop    dropCmd    `cmd:"" help:"Remove the replication slot and the publication."`
	Config  configCmd  `cmd:"" help:"About the configuration file."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// app is what every command gets: its streams, and a context that ends at the
// first SIGINT or SIGTERM. A second signal ends the program at once.
type app struct {
	ctx            context.Context
	stdout, stderr io.Writer
}

func main() {
	ctx, stop := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		s := <-signals
		first := time.Now()
		stop(fmt.Errorf("stopped by %s", s))
		// timeout(1) and others signal the process and then its group: that is one wish.
		for time.Since(first) < 500*time.Millisecond {
			<-signals
		}
		fmt.Fprintln(os.Stderr, "cdc: second signal, stopping at once")
		os.Exit(exitInterrupt)
	}()
	os.Exit(execute(&app{ctx: ctx, stdout: os.Stdout, stderr: os.Stderr}, os.Args[1:]))
}

// execute runs one command line and returns its exit code.
func execute(a *app, args []string) (code int) {
	var c cli
	exited := -1
	parser, err := kong.New(&c, kong.Name("cdc"), kong.Writers(a.stdout, a.stderr),
		kong.Description("One binary beside your database: its log becomes Kafka topics, and topics become tables.\n\n"+
			"Exit codes: 0 all is well; 1 an error; 2 bad flags or configuration; 3 something a person must mend first "+
			"(the message says how); 4 stopped before all in flight was finished (it is repeated at the next start)."),
		kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Exit(func(code int) { exited = code; panic(exitPanic{}) }))
	if err != nil {
		fmt.Fprintln(a.stderr, "cdc:", err)
		return exitFailed
	}
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exitPanic); !ok {
				panic(r)
			}
			code = exited
		}
	}()
	k, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintln(a.stderr, "cdc:", err)
		fmt.Fprintln(a.stderr, "Run \"cdc --help\", or \"cdc COMMAND --help\" for one command with an example.")
		return exitUsage
	}
	err = k.Run(a)
	if _, told := errors.AsType[toldError](err); err != nil && !told && !errors.Is(err, errSilent) {
		fmt.Fprintln(a.stderr, "cdc:", printable(err.Error()))
	}
	return exitCode(err)
}

// printable makes a text safe for a terminal: names and values in it may come
// from a topic. Line feeds and tabs stay.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.IsControl(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// exitPanic unwinds out of kong when --help has printed and asks to exit.
type exitPanic struct{}

// errSilent ends a command with code 1 when it has already said why.
var errSilent = errors.New("failed")

// toldError ends a command that has already told of it.
type toldError struct{ error }

func (t toldError) Unwrap() error { return t.error }

// usageError is a mistake in flags or configuration.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func exitCode(err error) int {
	switch {
	case err == nil:
		return exitOK
	case isUsage(err):
		return exitUsage
	case replication.IsRefusal(err):
		return exitRefused
	case isDrain(err):
		return exitUnclean
	default:
		return exitFailed
	}
}

// isDrain reports whether a stop left something in flight.
func isDrain(err error) bool {
	return errors.Is(err, pipeline.ErrDrain) || errors.Is(err, sink.ErrDrain)
}

func isUsage(err error) bool {
	_, ok := errors.AsType[usageError](err)
	return ok
}
