package embedded

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// testdata/postgres.txz stands for an archive of programs: bin/postgres and
// bin/initdb are scripts, of which the first prints a version. Made by
// tar -cJf postgres.txz bin lib.

// mavenRepository serves one jar, as a Maven repository does.
func mavenRepository(t *testing.T) (repository string, requests *atomic.Int32, sums map[string]string) {
	t.Helper()
	archive, err := os.ReadFile(filepath.Join("testdata", "postgres.txz"))
	if err != nil {
		t.Fatal(err)
	}
	var jar bytes.Buffer
	z := zip.NewWriter(&jar)
	w, err := z.Create("postgres.txz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(archive); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("/m2/io/zonky/test/postgres/embedded-postgres-binaries-%[1]s/%[2]s/embedded-postgres-binaries-%[1]s-%[2]s.jar", platform(), fetchedVersion)
	requests = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		switch r.URL.Path {
		case path:
			_, _ = w.Write(jar.Bytes())
		case path + ".sha256":
			sum := sha256.Sum256(jar.Bytes())
			fmt.Fprint(w, hex.EncodeToString(sum[:]))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	sum := sha256.Sum256(archive)
	return server.URL + "/m2", requests, map[string]string{platform(): hex.EncodeToString(sum[:])}
}

func TestFetch(t *testing.T) {
	repository, requests, sums := mavenRepository(t)
	cfg := FetchConfig{Cache: t.TempDir(), Repository: repository, Logger: slog.New(slog.DiscardHandler)}
	p, err := fetchPostgres(t.Context(), cfg, sums)
	if err != nil {
		t.Fatal(err)
	}
	if p.Version != "18.3" || p.Major != 18 || !strings.HasPrefix(p.Bin, cfg.Cache) {
		t.Errorf("found %+v", p)
	}
	asked := requests.Load()
	again, err := fetchPostgres(t.Context(), cfg, sums)
	if err != nil || again != p {
		t.Errorf("the second time: %+v, %v", again, err)
	}
	if requests.Load() != asked {
		t.Error("what is in the cache was fetched again")
	}
	left, err := filepath.Glob(filepath.Join(cfg.Cache, "fetch-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	// Half an installation is none.
	if err := os.Remove(filepath.Join(p.Bin, "initdb")); err != nil {
		t.Fatal(err)
	}
	if again, err = fetchPostgres(t.Context(), cfg, sums); err != nil || again != p {
		t.Errorf("after damage: %+v, %v", again, err)
	}
}

func TestFetchRefusesOtherBytes(t *testing.T) {
	repository, _, _ := mavenRepository(t)
	cfg := FetchConfig{Cache: t.TempDir(), Repository: repository, Logger: slog.New(slog.DiscardHandler)}
	_, err := fetchPostgres(t.Context(), cfg, fetchedSums)
	if err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("error %v, want one about the checksum", err)
	}
	entries, err := os.ReadDir(cfg.Cache)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "lock" {
			t.Errorf("%s was left in the cache", e.Name())
		}
	}
}

func TestFetchFromNowhere(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	t.Setenv(EnvPostgresRepository, server.URL)
	t.Setenv("PATH", t.TempDir())
	_, err := FindPostgres(t.Context(), FetchConfig{Search: []string{filepath.Join(t.TempDir(), "*")}, Cache: t.TempDir()})
	if err == nil {
		t.Fatal("found one in an empty folder")
	}
	for _, part := range []string{EnvPostgresBin, EnvPostgresRepository, "no version found"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error lacks %q: %v", part, err)
		}
	}
}

// fakePrograms makes a folder with programs of a version.
func fakePrograms(t *testing.T, dir, version string, module bool) string {
	t.Helper()
	bin := filepath.Join(dir, "bin")
	for _, d := range []string{bin, filepath.Join(dir, "lib")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"postgres", "initdb"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\necho '"+name+" (PostgreSQL) "+version+"'\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if module {
		if err := os.WriteFile(filepath.Join(dir, "lib", "pgoutput.so"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

func TestFindPostgres(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	fakePrograms(t, filepath.Join(dir, "a"), "13.9", true)                  // too old
	want := fakePrograms(t, filepath.Join(dir, "b"), "16.2 (Debian)", true) // the newest that will do
	fakePrograms(t, filepath.Join(dir, "c"), "14.1", true)
	lacking := fakePrograms(t, filepath.Join(dir, "d"), "17.1", false)
	cfg := FetchConfig{Search: []string{filepath.Join(dir, "*", "bin")}, NoFetch: true}
	p, err := FindPostgres(t.Context(), cfg)
	if err != nil || p.Bin != want || p.Major != 16 || p.Version != "16.2" {
		t.Errorf("found %+v, %v, want 16.2 in %s", p, err, want)
	}
	t.Setenv(EnvPostgresBin, lacking)
	if _, err := FindPostgres(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "pgoutput") {
		t.Errorf("error %v, want one about pgoutput", err)
	}
	t.Setenv(EnvPostgresBin, "")
	cfg.Search = []string{filepath.Join(dir, "a", "bin")}
	if _, err := FindPostgres(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), EnvPostgresBin) {
		t.Errorf("error %v, want one that names %s", err, EnvPostgresBin)
	}
}

func TestMavenMirror(t *testing.T) {
	const settings = `<?xml version="1.0"?><settings xmlns="http://maven.apache.org/SETTINGS/1.2.0"><mirrors>
<mirror><id>b</id><mirrorOf>external:http:*</mirrorOf><url>http://0.0.0.0/</url><blocked>true</blocked></mirror>
<mirror><id>o</id><mirrorOf>other</mirrorOf><url>https://other.example/m2</url></mirror>
<mirror><id>m</id><mirrorOf>x, central</mirrorOf><url> https://mirror.example/m2 </url></mirror></mirrors></settings>`
	if got := mirrorIn([]byte(settings)); got != "https://mirror.example/m2" {
		t.Errorf("mirror %q", got)
	}
	for _, none := range []string{"", "<settings/>", "<sett"} {
		if got := mirrorIn([]byte(none)); got != "" {
			t.Errorf("mirror %q of %q", got, none)
		}
	}
}
