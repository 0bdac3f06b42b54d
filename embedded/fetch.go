package embedded

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// fetchedVersion is the PostgreSQL that is fetched where the machine has none.
const fetchedVersion = embeddedpostgres.V18

// fetchedSums are the SHA-256 sums of the archives (.txz) inside the jars
// io.zonky.test.postgres:embedded-postgres-binaries-<key>:<fetchedVersion>, as
// they were published. What has another sum is not unpacked.
var fetchedSums = map[string]string{
	"linux-amd64":        "e09b13df10e9df257275d498b19b8c214a3e86d7a5d8cd263b0860e308e8b0b6",
	"linux-arm64v8":      "f9695b61cff9e5c9b8e02a938158740a711c7a55304dd49ca634c8b947bf6b27",
	"linux-amd64-alpine": "5e47f96951026dc460b876fa62379f7c7666eb6293d076900e2c71703e5a1de6",
	"darwin-amd64":       "2c5f22fa675ee78264a2ea8c7543310c32590465a4f72fb4287ca65ec484f7dd",
	"darwin-arm64v8":     "61f9b7026404f15abd4ec7e5724f672795c08cecc58ece212f85da3bf4de2b91",
}

// platform names this machine as the jars do.
func platform() string {
	name := runtime.GOOS + "-" + runtime.GOARCH
	if runtime.GOARCH == "arm64" {
		name += "v8"
	}
	if _, err := os.Stat("/etc/alpine-release"); err == nil && runtime.GOOS == "linux" {
		name += "-alpine"
	}
	return name
}

// fetchPostgres returns the programs in the cache, and puts them there when
// they are not.
func fetchPostgres(ctx context.Context, cfg FetchConfig, sums map[string]string) (Programs, error) {
	p, err := fetchInto(ctx, cfg, sums)
	if err != nil {
		return Programs{}, fmt.Errorf("this machine has no PostgreSQL %d or later, and fetching one did not work: %w; "+
			"install one, name its folder in $%s, or name a Maven repository that answers in $%s",
			minMajor, err, EnvPostgresBin, EnvPostgresRepository)
	}
	return p, nil
}

func fetchInto(ctx context.Context, cfg FetchConfig, sums map[string]string) (Programs, error) {
	cache := cfg.Cache
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return Programs{}, fmt.Errorf("find the user's cache: %w", err)
		}
		cache = filepath.Join(user, "cdc", "postgres")
	}
	sum, known := sums[platform()]
	if !known {
		return Programs{}, fmt.Errorf("there is none to fetch for %s", platform())
	}
	home := filepath.Join(cache, string(fetchedVersion)+"-"+platform())
	if p, err := probe(ctx, filepath.Join(home, "bin")); err == nil {
		return p, nil
	}
	lock, err := waitLock(ctx, cache)
	if err != nil {
		return Programs{}, err
	}
	defer lock.Close()
	if p, err := probe(ctx, filepath.Join(home, "bin")); err == nil {
		return p, nil // another process was first
	}
	work, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return Programs{}, fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(work)
	cfg.Logger.Info("fetching PostgreSQL, once", "version", string(fetchedVersion), "into", home)
	repository := cmp.Or(cfg.Repository, os.Getenv(EnvPostgresRepository), mavenMirror())
	archive, err := download(ctx, repository, work)
	if err != nil {
		return Programs{}, err
	}
	if err := verify(archive, sum); err != nil {
		return Programs{}, err
	}
	fresh := filepath.Join(work, "unpacked")
	if err := unpack(ctx, work, fresh); err != nil {
		return Programs{}, err
	}
	if _, err := probe(ctx, filepath.Join(fresh, "bin")); err != nil {
		return Programs{}, fmt.Errorf("use what was fetched: %w", err)
	}
	if err := os.RemoveAll(home); err != nil { // an unusable one
		return Programs{}, fmt.Errorf("clear %s: %w", home, err)
	}
	if err := os.Rename(fresh, home); err != nil {
		return Programs{}, fmt.Errorf("install: %w", err)
	}
	return probe(ctx, filepath.Join(home, "bin"))
}

// waitLock takes the folder's lock, waiting for others who fetch.
func waitLock(ctx context.Context, dir string) (*os.File, error) {
	for {
		lock, err := lockDir(dir)
		if err == nil || !strings.Contains(err.Error(), "in use") {
			return lock, err
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return nil, fmt.Errorf("wait for another process that fetches into %s: %w", dir, err)
		}
	}
}

// library makes the library that knows where the archives are. It cannot fetch
// without starting a server, but does one step after the other: it is given
// paths at which the step after the wanted one cannot succeed.
func library(work, binaries, run string) (embeddedpostgres.Config, error) {
	port, err := freePort() // it looks whether the port is free
	return embeddedpostgres.DefaultConfig().Version(fetchedVersion).Port(uint32(port)).Logger(io.Discard).
		CachePath(work).BinariesPath(binaries).RuntimePath(run).DataPath(filepath.Join(run, "data")), err
}

// nowhere makes a path below which nothing can be made, and which is not there.
func nowhere(work string) (string, error) {
	link := filepath.Join(work, "nowhere")
	if err := os.Symlink(filepath.Join(work, "missing", "target"), link); err != nil && !os.IsExist(err) {
		return "", fmt.Errorf("make link: %w", err)
	}
	return link, nil
}

// download fetches the archive into the folder. The library follows the proxy
// settings of the environment, and compares the jar with its published sum.
func download(ctx context.Context, repository, work string) (archive string, err error) {
	void, err := nowhere(work)
	if err != nil {
		return "", err
	}
	// Unpacking fails: its folder cannot be made.
	cfg, err := library(work, filepath.Join(void, "binaries"), filepath.Join(work, "run"))
	if err != nil {
		return "", err
	}
	if repository != "" {
		cfg = cfg.BinaryRepositoryURL(strings.TrimSuffix(repository, "/"))
	}
	said := attempt(ctx, cfg)
	archive = filepath.Join(work, fmt.Sprintf("embedded-postgres-binaries-%s-%s.txz", platform(), fetchedVersion))
	if _, err := os.Stat(archive); err != nil {
		return "", fmt.Errorf("fetch archive: %w", said)
	}
	return archive, nil
}

// unpack unpacks the archive that download left in work.
func unpack(ctx context.Context, work, into string) error {
	void, err := nowhere(work)
	if err != nil {
		return err
	}
	// Making the data fails: its folder cannot be made.
	cfg, err := library(work, into, filepath.Join(void, "run"))
	if err != nil {
		return err
	}
	said := attempt(ctx, cfg)
	if _, err := os.Stat(filepath.Join(into, "bin", "postgres")); err != nil {
		return fmt.Errorf("unpack archive: %w", said)
	}
	return nil
}

// attempt runs the library until it fails, as it must, or ctx ends; a download
// then runs out by itself.
func attempt(ctx context.Context, cfg embeddedpostgres.Config) error {
	failed := make(chan error, 1)
	go func() {
		server := embeddedpostgres.NewDatabase(cfg)
		err := server.Start()
		if err == nil {
			err = fmt.Errorf("it started a server: %v", server.Stop()) //nolint:errorlint // it may be nil
		}
		failed <- err
	}()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func verify(archive, want string) error {
	f, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("verify archive: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("verify archive: %w", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("verify archive: its checksum is %s, it should be %s", got, want)
	}
	return nil
}

// mavenMirror returns the mirror of the public repository that the user's Maven
// settings name, or "".
func mavenMirror() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	text, err := os.ReadFile(filepath.Join(home, ".m2", "settings.xml"))
	if err != nil {
		return ""
	}
	return mirrorIn(text)
}

func mirrorIn(settings []byte) string {
	var s struct {
		Mirrors []struct {
			Of      string `xml:"mirrorOf"`
			URL     string `xml:"url"`
			Blocked bool   `xml:"blocked"`
		} `xml:"mirrors>mirror"`
	}
	if err := xml.Unmarshal(settings, &s); err != nil {
		return "" // Maven's own to complain about
	}
	for _, m := range s.Mirrors {
		if m.Blocked {
			continue
		}
		for of := range strings.SplitSeq(m.Of, ",") {
			switch strings.TrimSpace(of) {
			case "*", "external:*", "central":
				return strings.TrimSpace(m.URL)
			}
		}
	}
	return ""
}
