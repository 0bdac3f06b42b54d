package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"cdc/config"
	"cdc/pipeline"
	"cdc/replication"
	"cdc/sink"
)

func TestExitCodes(t *testing.T) {
	refusal := &replication.Refusal{Problem: "a", Remedy: "b"}
	for want, errs := range map[int][]error{
		0: {nil},
		1: {errors.New("x"), errSilent},
		2: {usageError{errors.New("x")}, errors.Join(refusal, usageError{errors.New("x")})},
		3: {fmt.Errorf("capture: %w", refusal), errors.Join(errors.New("x"), refusal)},
		4: {fmt.Errorf("capture: %w", pipeline.ErrDrain), fmt.Errorf("sink a: %w: %w", sink.ErrDrain, errors.New("x"))},
	} {
		for _, err := range errs {
			if got := exitCode(err); got != want {
				t.Errorf("%v: exit code %d, want %d", err, got, want)
			}
		}
	}
}

// TestToldOnce: what ends a part is told once, when it happens, in the form that
// the log has; so is a stop that was asked for while a part began.
func TestToldOnce(t *testing.T) {
	adm, err := startAdmin(config.Admin{Listen: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer adm.close()
	refusal := &replication.Refusal{Problem: "table \"a\" is absent", Remedy: "CREATE TABLE \"a\""}
	for format, want := range map[string]string{
		"text": "cdc: sink: table \"a\" is absent\n  to mend it: CREATE TABLE \"a\"\n",
		"json": `"part":"sink","error":"sink: table \"a\" is absent\n  to mend it: CREATE TABLE \"a\""}`,
	} {
		var out bytes.Buffer
		told := make(chan struct{})
		tell := failures(newLogger(config.Log{Format: format, Level: "info"}, &out), format, &out)
		err := runParts(t.Context(), []part{
			{"sink", func(context.Context, func(func() health)) error { return refusal }},
			{"capture", func(ctx context.Context, _ func(func() health)) error {
				<-told // while this part goes on
				return stopped(ctx, fmt.Errorf("load: %w", context.Cause(ctx)))
			}},
		}, adm, func(part string, err error) { tell(part, err); close(told) })
		if n := strings.Count(out.String(), "is absent"); n != 1 || !strings.Contains(out.String(), want) || strings.Contains(out.String(), "load") {
			t.Errorf("%s: told %d times, not once as %q:\n%s", format, n, want, &out)
		}
		if code := exitCode(toldError{err}); code != exitRefused {
			t.Errorf("%s: exit code %d", format, code)
		}
	}
}

// TestProbesBeforeTheStart: a process that has not begun is live, not ready.
func TestProbesBeforeTheStart(t *testing.T) {
	a, err := startAdmin(config.Admin{Listen: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	status := func(path string) int {
		resp, err := http.Get("http://" + a.listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	expect := func(live, ready int) {
		t.Helper()
		if l, r := status("/livez"), status("/readyz"); l != live || r != ready {
			t.Errorf("/livez %d, /readyz %d; want %d, %d", l, r, live, ready)
		}
	}
	expect(200, 503)
	a.watch("one", func() health { return health{Live: true, Ready: true} })
	expect(200, 200)
	a.watch("two", startState{"starting"}.health)
	expect(200, 503)
	a.watch("two", func() health { return health{Ready: true} })
	expect(503, 200)
	if got := status("/debug/pprof/goroutine"); got != 200 {
		t.Errorf("pprof on loopback: %d", got)
	}
}

// TestSecondProcessOfOneFile: `cdc capture` and `cdc sink` beside each other.
func TestSecondProcessOfOneFile(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	first, err := startAdmin(config.Admin{Listen: "127.0.0.1:0"}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer first.close()
	at := config.Admin{Listen: first.listener.Addr().String()}
	second, err := startAdmin(at, quiet)
	if err != nil {
		t.Fatalf("by default: %v", err)
	}
	second.close()
	at.Chosen = true
	if _, err := startAdmin(at, quiet); !isUsage(err) || !strings.Contains(err.Error(), "or off") {
		t.Errorf("chosen: %v", err)
	}
}

// TestNoHeapDumpsForOthers: on another address than loopback there is no pprof.
func TestNoHeapDumpsForOthers(t *testing.T) {
	for text, want := range map[string]bool{"127.0.0.1": true, "127.8.0.1": true, "::1": true, "0.0.0.0": false, "::": false, "10.0.0.1": false} {
		if got := private(&net.TCPAddr{IP: net.ParseIP(text), Port: 1}); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestNothingForTheTerminal(t *testing.T) {
	for _, text := range []string{"plain é \u00a0 ÿ", "\x1b[2J", "a\u009b31mb\u007f", "\u0080\u009f", "\u2028", ""} {
		encoded, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		w := bufio.NewWriter(&out)
		if err := writeSafe(w, encoded); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		if strings.ContainsFunc(out.String(), func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
			t.Errorf("%q comes out as %q", text, out.String())
		}
		var back string
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back != text {
			t.Errorf("%q comes back as %q, %v", text, back, err)
		}
	}
	if got := printable("a\x1b[1m\n\tb\u009b"); got != "a\ufffd[1m\n\tb\ufffd" {
		t.Errorf("%q", got)
	}
}
