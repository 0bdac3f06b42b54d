package services

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// unpackDebs unpacks Debian packages of a suite into dir with all they depend
// on, libc and loader included, from the mirror of the machine's own apt
// sources. Nothing of the machine's package state is touched.
func unpackDebs(ctx context.Context, dir, suite string, packages ...string) error {
	mirror, err := debianMirror(ctx)
	if err != nil {
		return err
	}
	apt := filepath.Join(dir, ".apt")
	for _, sub := range []string{"lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(apt, sub), 0o755); err != nil {
			return err
		}
	}
	keys := "/usr/share/keyrings/debian-archive-keyring.gpg"
	signed := ""
	if _, err := os.Stat(keys); err == nil {
		signed = "[signed-by=" + keys + "] "
	}
	sources := filepath.Join(apt, "sources.list")
	err = errors.Join(
		os.WriteFile(sources, []byte("deb "+signed+mirror+" "+suite+" main\n"), 0o644),
		os.WriteFile(filepath.Join(apt, "status"), nil, 0o644))
	if err != nil {
		return err
	}
	options := []string{"-q"}
	for _, o := range []string{
		"Dir::Etc::sourcelist=" + sources, "Dir::Etc::sourceparts=-", "Dir::State=" + apt, "Dir::State::status=" + filepath.Join(apt, "status"),
		"Dir::State::Lists=" + filepath.Join(apt, "lists"), "Dir::Cache=" + apt, "APT::Sandbox::User=", "Debug::NoLocking=1",
		"Acquire::Languages=none", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
	} {
		options = append(options, "-o", o)
	}
	if err := run(ctx, dir, "apt-get", append(slices.Clone(options), "update")...); err != nil {
		return err
	}
	get := append(slices.Clone(options), "-y", "--no-install-recommends", "--download-only", "install")
	if err := run(ctx, dir, "apt-get", append(get, packages...)...); err != nil {
		return err
	}
	debs, _ := filepath.Glob(filepath.Join(apt, "archives", "*.deb"))
	for _, deb := range debs {
		if err := run(ctx, dir, "dpkg-deb", "-x", deb, "."); err != nil {
			return err
		}
	}
	for _, unneeded := range []string{".apt", "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var"} {
		if err := os.RemoveAll(filepath.Join(dir, unneeded)); err != nil {
			return err
		}
	}
	return nil
}

// debianMirror is the first mirror of the machine's apt sources that holds the
// suites themselves.
func debianMirror(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		return "", fmt.Errorf("find a Debian mirror (this needs a Debian machine, or the server's address in the environment): %w", err)
	}
	for line := range bytes.Lines(out) {
		if uri := strings.TrimSpace(string(line)); uri != "" && !strings.Contains(uri, "security") {
			return uri, nil
		}
	}
	return "", errors.New("find a Debian mirror: the machine's apt sources name none")
}

// inDebs returns the command that runs a program which unpackDebs put below
// dir, with the loader and the libraries that came with it.
func inDebs(ctx context.Context, dir, program string, args ...string) (*exec.Cmd, error) {
	var loaders, libs []string
	for _, pattern := range []string{"usr/lib/*-linux-gnu", "lib/*-linux-gnu"} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern))
		libs = append(libs, found...)
		found, _ = filepath.Glob(filepath.Join(dir, pattern, "ld-linux-*.so.*"))
		loaders = append(loaders, found...)
	}
	if len(loaders) == 0 {
		return nil, fmt.Errorf("find the loader below %s", dir)
	}
	all := append([]string{"--argv0", program, "--library-path", strings.Join(libs, ":"), program}, args...)
	return exec.CommandContext(ctx, loaders[0], all...), nil
}
